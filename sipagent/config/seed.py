"""The seed of the draws, in a file beside the database: made once, read at each start, never replaced.

A draw can be repeated only with the seed that it was made with. The file is one line, `sipagent-seed-1 SECRET
NAME`: the secret and the seed's name, both in hexadecimal. The name shows whether the secret is damaged.
"""

import re
import secrets
from pathlib import Path

from retention.storage.files import make_folder, write_whole
from sipagent.config.sampling import SECRET_BYTES, Seed

_LINE = re.compile(rb"sipagent-seed-1 ([0-9a-f]{%d}) ([0-9a-f]{8})\n" % (2 * SECRET_BYTES))
_LIMIT = 256  # bytes: no more is read


class SeedError(Exception):
    """The file has no seed; `str()` is one line."""


def read_seed(path: Path) -> Seed:
    """Read it. Raises SeedError, OSError; FileNotFoundError if it is missing."""
    with path.open("rb") as file:
        found = _LINE.fullmatch(file.read(_LIMIT))
    seed = Seed(bytes.fromhex(found[1].decode())) if found else None
    if found is None or seed is None or seed.name != found[2].decode():
        raise SeedError(f"{path} is damaged: put back a copy, or remove it for a new one")
    return seed


def keep_seed(path: Path) -> Seed:
    """Read it, or make it (mode 0600) if it is missing: only with the database's lock.

    After a crash it is whole or missing. Raises SeedError, OSError.
    """
    try:
        return read_seed(path)
    except FileNotFoundError:
        seed = Seed(secrets.token_bytes(SECRET_BYTES))
        make_folder(path.parent)
        write_whole(path, f"sipagent-seed-1 {seed.secret.hex()} {seed.name}\n".encode())
        return seed

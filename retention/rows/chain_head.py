"""The chain's head in a file beside the database, so that a tail cut off the chain shows.

Anyone who can rewrite the database can rewrite this file too: only copies kept elsewhere, and time stamps,
prove anything. It is one line of JSON, padded to a fixed length, in one write under a lock. Processes may
write in any order; a crash in between leaves an older head, which is still in the chain.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from retention.rows.chain import ChainHead
from retention.storage.files import share_owner, write_whole

DAMAGED = (
    "could not be read, so a tail cut off before then would not show: look with a copy kept elsewhere "
    "(`sipagent verify --head`), then move it away"
)
_LENGTH = 160  # bytes: a seq of up to 19 digits fits
_LIMIT = 4096  # bytes: no more is read, even of a damaged file
_LAST = 2**63 - 1  # the last number that the database has
_HASH = re.compile("[0-9a-f]{64}")


class ChainHeadError(Exception):
    """The file says nothing usable; `str()` is one line."""


def damaged_path(path: Path) -> Path:
    """`retention.head.damaged`: where an unreadable head is kept, for a person to look at."""
    return path.with_name(path.name + ".damaged")


def export_head(path: Path, head: ChainHead, knows: Callable[[ChainHead], bool]) -> None:
    """Write the head, unless the file has a later one, or one that the chain does not know.

    `knows(head)`: whether it is part of the chain; if not, a tail was cut off, and the file is what shows it.
    A file that cannot be read is kept at `damaged_path`. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = os.pread(descriptor, _LIMIT, 0)
        if not content:
            share_owner(path)
        if not content or _gives_way(path, content, head, knows):
            line = json.dumps({"seq": head.seq, "hash": head.hash}).ljust(_LENGTH - 1) + "\n"
            os.ftruncate(descriptor, min(len(content), _LENGTH))
            os.pwrite(descriptor, line.encode(), 0)
    finally:
        os.close(descriptor)


def read_head(path: Path) -> ChainHead | None:
    """None if the file is missing, or a crash left it empty. Raises ChainHeadError, OSError."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # not between two halves of what another process writes
            content = file.read(_LIMIT)
    except FileNotFoundError:
        return None
    return _read(content, path.name) if content else None


def _gives_way(path: Path, content: bytes, head: ChainHead, knows: Callable[[ChainHead], bool]) -> bool:
    """Whether the file may be replaced: an earlier head of this chain, or unreadable, and then kept
    beside."""
    try:
        exported = _read(content, "")
    except ChainHeadError:
        write_whole(damaged_path(path), content)
        return True
    return exported.seq < head.seq and knows(exported)


def _read(content: bytes, name: str) -> ChainHead:
    try:
        fields = json.loads(content)
        seq, hash = fields["seq"], fields["hash"]
        if type(seq) is not int or not 0 <= seq <= _LAST or not _HASH.fullmatch(hash):
            raise ValueError("no number, or no hash")
        return ChainHead(seq, hash)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChainHeadError(f"{name}: not the head of a chain") from error

"""Whether recordings can be sealed and opened, and no private key is where they are made.

And who else may read a file that is a secret.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retention.rows.rows import StoreError, TryAgain
from retention.texts import Reason
from retention.vault import KeysError, PublicKey, read_identity, read_public
from retention.verify import Orphan, orphans
from sipagent.agent.admission import VAULT, obstacles
from sipagent.agent.stored import archive_of, is_here, is_there, store_of
from sipagent.config.errors import Finding, error, ok, warning

if TYPE_CHECKING:
    from sipagent.config.load import Config


def others_may_read(found: os.stat_result) -> bool:
    """Whether anybody but its owner may; or, of a file of root's, anybody but one group.

    So `init` hands a password over: root owns it, and the service's group reads it.
    """
    ours = 0o740 if found.st_uid == 0 else 0o700
    return bool(found.st_mode & 0o777 & ~ours)


def readable(
    what: str, path: Path | None, others: Callable[[os.stat_result], bool] = others_may_read
) -> Iterator[Finding]:
    """The warning that `others` may read a file, if it is there."""
    if path is not None and path.exists() and others(found := path.stat()):
        yield warning(
            what, "others on this machine may read it (mode {0:04o}); chmod 0600", found.st_mode & 0o777
        )


_SHOWN = 3  # names of a long list


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """An identity on this machine. `public` is null if only its passphrase would tell."""

    path: Path
    public: PublicKey | None
    protected: bool  # by a passphrase, as far as we can see
    mode: int  # of the file


def private_keys(config: "Config") -> list[PrivateKey]:
    """The private keys beside a recipient's public key, beside the configuration, and in `keys/`."""
    folders = {path.parent for path in config.recording.recipients} | {config.base, config.base / "keys"}
    files = {path for folder in folders for path in folder.glob("*.key") if path.is_file()}
    return [found for path in sorted(files) if (found := _private_key(path))]


def _private_key(path: Path) -> PrivateKey | None:
    """The private key in a file; None for a `*.key` of another kind, such as TLS keys."""

    class AskedFor(Exception):
        pass

    def passphrase() -> str:
        raise AskedFor

    mode, other_half = path.stat().st_mode & 0o777, _other_half(path)
    try:
        public = read_identity(path, passphrase).public
        return PrivateKey(path=path, public=public, protected=False, mode=mode)
    except AskedFor:
        pass
    except KeysError:
        if other_half is None or os.access(path, os.R_OK):
            return None  # else it belongs to another user
    return PrivateKey(path=path, public=other_half, protected=True, mode=mode)


def _other_half(path: Path) -> PublicKey | None:
    try:
        return read_public(path.with_suffix(".pub"))
    except KeysError:
        return None


def key_findings(config: "Config") -> Iterator[Finding]:
    """Look at the recipients' keys, at private keys that have not left, and at the vault."""
    for path in config.recording.recipients:
        try:
            yield ok("recording.recipients", "{0}: {1}", path, read_public(path))
        except KeysError as problem:
            yield error("recording.recipients", "{0}; calls go unrecorded without it", problem)
    for key in private_keys(config):
        yield from _private(key)
    yield from (error("vault", one.problem) for one in obstacles(config) if one.key == VAULT)
    try:
        yield from _vault(config)
    except TryAgain as problem:
        if is_here(config):  # else that it does not answer has been said
            yield error("vault", str(problem))
    except (OSError, StoreError) as problem:
        yield error("vault", str(problem))


def _private(key: PrivateKey) -> Iterator[Finding]:
    what = Reason("private key")
    yield warning(what, "{0} lies on this machine; move it to where somebody listens", key.path)
    if not key.protected:
        yield warning(what, "{0} has no passphrase: whoever has the file can listen", key.path)
    if key.mode & 0o077:
        yield error(
            what, "others on this machine may read {0} (mode {1:04o}); chmod 0600", key.path, key.mode
        )


def _vault(config: "Config") -> Iterator[Finding]:
    """The differences between the vault and the recordings."""
    if not is_there(config):
        return
    with store_of(config) as store:
        found = orphans(archive_of(config, store))
        keys = [orphan for orphan in found if orphan.in_vault]
        # sealed files with a row, but without a key in the vault
        sealed = (orphan for orphan in found if orphan.name.endswith(".sealed"))
        keyless = [orphan for orphan in sealed if not orphan.rowless and not orphan.forbidden]
    if keys:
        yield warning("vault", "{0}: keys without a recording; see `sipagent purge --dry-run`", _names(keys))
    if keyless:
        yield warning("vault", "{0}: without a key nobody can listen to them", _names(keyless))


def _names(found: list[Orphan]) -> str:
    names = ", ".join(orphan.name for orphan in found[:_SHOWN])
    return names if len(found) <= _SHOWN else Reason("{0} and {1} more", names, len(found) - _SHOWN)

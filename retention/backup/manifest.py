"""What a backup holds: each file with its hash, each recording with its dates, and until when it may be kept.

`manifest.json` is written last, so a folder without it is no backup. `README` beside it is for people.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from retention.recording import Json, RecordError, from_text, is_id, parse_json, to_text
from retention.storage.files import sha256
from retention.storage.marks import ArchiveError
from retention.storage.places import Places

MANIFEST = "manifest.json"
README = "README"
CONFIGURATION = "configuration"  # the folder of config.toml, and of what that names beside it
DATABASE = "retention.db"  # in a backup, whatever it is called elsewhere
RECORDINGS = "recordings"
CONFIG = "config.toml"  # there, whatever it is called elsewhere
UNFINISHED = re.compile(r"\.sipagent-\d{8}T\d{6}Z\.unfinished")  # its name before it is one
_VERSION = "sipagent-backup-1"
_LIMIT = 1 << 30  # bytes; a manifest is not larger
_BLOCK = 1 << 20  # bytes


class BackupError(ArchiveError):
    """A backup cannot be made, or not be put back; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One file: its name below the backup, with slashes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A recording whose sound is in the backup. `held`: it does not expire."""

    id: str
    started_at: datetime
    expires_at: datetime
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`head`: the last entry of the chain in it. `keep_until`: the first recording in it expires then; null
    where it has none. `left_out`: recordings that are purged in it alone: they expire before it goes."""

    made_at: datetime
    program: str
    head: Json
    keep_until: datetime | None
    files: tuple[Copied, ...]
    recordings: tuple[Taken, ...]
    left_out: tuple[str, ...]

    def text(self) -> str:
        """As it is written."""
        told = {
            "version": _VERSION,
            "made_at": to_text(self.made_at),
            "program": self.program,
            "head": self.head,
            "keep_until": self.keep_until and to_text(self.keep_until),
            "recordings": [
                [one.id, to_text(one.started_at), to_text(one.expires_at), one.held]
                for one in self.recordings
            ],
            "left_out": [*self.left_out],
            "files": [[one.name, one.bytes, one.sha256] for one in self.files],
        }
        return json.dumps(told | {"sum": _sum(told)}, indent=1) + "\n"


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup. Raises BackupError, OSError."""
    path = backup / MANIFEST
    if UNFINISHED.fullmatch(backup.resolve().name):
        raise BackupError(f"{backup}: was not finished; accepted: one that has its name")
    try:
        if not _is_regular(path):
            raise BackupError(f"{path}: is no regular file")
        with path.open("rb") as file:
            told = parse_json(file.read(_LIMIT).decode())
        found = told.pop("sum", None)
    except FileNotFoundError as missing:
        raise BackupError(
            f"{backup}: is not a backup, or was not finished: it has no {MANIFEST}"
        ) from missing
    except (ValueError, RecordError, AttributeError) as error:
        raise BackupError(f"{path}: is damaged") from error
    if found != _sum(told):
        raise BackupError(f"{path}: is damaged")
    if told.get("version") != _VERSION:
        raise BackupError(f"{path}: is of another version than {_VERSION}")
    try:
        return Manifest(
            made_at=from_text(told["made_at"]),
            program=str(told["program"]),
            head={"seq": int(told["head"]["seq"]), "hash": str(told["head"]["hash"])},
            keep_until=from_text(told["keep_until"]) if told["keep_until"] else None,
            files=tuple(Copied(_safe(str(name)), int(size), str(sum)) for name, size, sum in told["files"]),
            recordings=tuple(
                Taken(_id(id), from_text(started), from_text(expires), bool(held))
                for id, started, expires, held in told["recordings"]
            ),
            left_out=tuple(_id(id) for id in told["left_out"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BackupError(f"{path}: is damaged") from error


def _sum(told: Json) -> str:
    """Of all its other fields: a damaged date would have something come back."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def wrong_with(backup: Path, manifest: Manifest) -> Iterator[tuple[int, str]]:
    """Compare every file with the manifest; after each how many are done, and what is wrong with it, if
    anything. Raises OSError."""
    named = {one.name for one in manifest.files} | {MANIFEST}
    for path in sorted(backup.rglob("*")):
        name = path.relative_to(backup).as_posix()
        if path.is_symlink() or not (path.is_dir() or name in named):
            yield 0, f"{name}: is not in {MANIFEST}"
    for done, one in enumerate(manifest.files, 1):
        yield done, _wrong(backup / one.name, one)


def _wrong(path: Path, one: Copied) -> str:
    try:
        if not _is_regular(path):
            return f"{one.name}: is no regular file"
        return "" if sha256(path) == one.sha256 else f"{one.name}: is not what was copied"
    except FileNotFoundError:
        return f"{one.name}: is missing"


def _is_regular(path: Path) -> bool:
    """To read a FIFO or a device may never end. Raises FileNotFoundError, OSError."""
    return stat.S_ISREG(path.lstat().st_mode)


def beside(there: Places, here: Places) -> Iterator[tuple[Path, Path]]:
    """What lies beside a database and belongs to it: each file there, and where it is here."""
    yield there.head, here.head
    yield from ((one, its) for one, its in ((there.seed, here.seed), (there.rota, here.rota)) if one.exists())
    yield from ((path, here.reserve(owner)) for owner, path in there.reserves().items())
    if there.stamps.is_dir():
        yield from ((path, here.stamps / path.name) for path in sorted(there.stamps.glob("*.tsr")))


def copy(source: BinaryIO | BufferedIOBase, target: BinaryIO) -> tuple[int, str]:
    """Copy from where they are to the end; how many bytes, and their SHA-256 in hexadecimal."""
    sum, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK):
        target.write(block)
        sum.update(block)
        size += len(block)
    return size, sum.hexdigest()


def _safe(name: str) -> str:
    """A name that leads out of no folder. Raises ValueError."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or PurePosixPath(name).as_posix() != name:
        raise ValueError("elsewhere")
    return name


def _id(text: object) -> str:
    if not isinstance(text, str) or not is_id(text):
        raise ValueError("id")
    return text

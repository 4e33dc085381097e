"""The only access to what is kept of recordings besides their rows: sound, metadata, sealed keys.

Code that needs bytes asks a `RecordingFiles`; no other code joins a path, lists a folder or unlinks. There
are two: files of this machine (`LocalFiles`), and objects of a store (`retention.objects`), whose `spool` is
the spool: what goes up lies there first.

`archive` decides when a row says what, `erase` what goes, and when. A refusal's mark does not wait for a
store and is always a file of this machine: see `marks`.

Of this machine: `ID.flac` is in one folder, `vault/ID.key` in another. Both folders are made (0700) when
first needed. Nothing is ever written outside them: a name is made of an id, and an id cannot have a `/`.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol

from retention import files as disk
from retention import marks
from retention.files import Naming
from retention.marks import ArchiveError
from retention.records import is_id


class FileKind(StrEnum):
    """What is kept of a recording; its name is `ID.` and this."""

    PART = "part"  # while the call is on
    SEALED = "sealed"
    FLAC = "flac"
    WAV = "wav"
    METADATA = "json"
    KEY = "key"  # sealed, in the vault


FORMATS = (FileKind.SEALED, FileKind.FLAC, FileKind.WAV)  # of a finished recording


class Area(Enum):
    """What is listed together, and made to last together."""

    VAULT = auto()
    RECORDINGS = auto()


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says of an object. `sha256`: of what it has, as it has computed itself; null where it
    doesn't. `held`: whether it refuses to remove it."""

    bytes: int
    sha256: str | None
    held: bool


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells the bytes of a file from all that were ever there; `at`: when they were written (UTC)."""

    at: datetime
    identity: tuple[object, ...]


class RecordingFiles(Protocol):
    """What is kept, by the id of its recording and its kind. Any thread, any process.

    Everything raises ArchiveError for an id that is not valid, and OSError if the disk, or the store, fails.
    """

    at_once: int
    """How many may be asked for at a time."""

    @property
    def spool(self) -> "LocalFiles":
        """Those of this machine: all, or those that have yet to go to a store. Sound is made there, and a
        refusal erases there without waiting."""

    # names

    def name(self, id: str, kind: FileKind) -> str:
        """The name as people see it, `ID.flac`, `vault/ID.key`, for any id."""

    def where(self, id: str, kind: FileKind) -> str:
        """The full path, or the URL."""

    def names(self, area: Area) -> Iterator[tuple[str, str | None]]:
        """Every name there with the id it belongs to, in any order, while others come and go; no id: not a
        file of ours."""

    def is_there(self, name: str) -> bool:
        """Whether one of `names` still is."""

    # bytes

    def exists(self, id: str, kind: FileKind) -> bool:
        """Whether anything has that name."""

    def version(self, id: str, kind: FileKind) -> FileVersion:
        """Which bytes it has. Raises FileNotFoundError."""

    def stored(self, id: str, kind: FileKind) -> Stored | None:
        """What a store says of its object, without the bytes; None: only the bytes tell, which are here.

        Raises FileNotFoundError.
        """

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        """For reading, from any place; for the caller to close. Raises FileNotFoundError."""

    def fetch(self, id: str, kind: FileKind) -> AbstractContextManager[Path]:
        """A file on this machine with these bytes, for reading; where they lie elsewhere, a private copy that
        goes away again. Raises FileNotFoundError; where they lie here the file itself may be missing."""

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        """Have this content ready to be kept, for a transaction that begins inside: no store is waited for
        in it. What is given replaces what was there, durably; where it is not called, or anything is raised,
        that stays, and the content goes.

        A crash leaves what the rows say. Each name appears inside the context `naming`, which may refuse it
        by raising.
        """

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        """Keep what was made in `spool` and is whole, readable by its owner only; its size in bytes.

        It may leave this machine for it. After a crash it is asked for again, also where all was kept before.
        `naming` as in `replacing`.
        """

    # what lies elsewhere

    def learn(self) -> None:
        """Find what is kept where its rows are lost: the only time that anything but a folder is listed."""

    def hold(self, id: str, *, held: bool) -> None:
        """Have whatever keeps the recording refuse to remove it, or let it go; rows say so by themselves."""

    def erase_stored(self, ids: Sequence[str] | None = None, *, anyhow: bool = False) -> dict[str, OSError]:
        """Erase all that is kept of these recordings elsewhere, keys first; without `ids` what could not be
        erased before. What went wrong, by id.

        `anyhow`: also what is held: a caller has refused.
        """

    def erase_name(self, name: str) -> bool:
        """Erase one of `names`, also a file that is not ours, durably; whether it was still there."""


def finished(files: RecordingFiles, id: str) -> FileKind | None:
    """Which finished sound there is, if any: one of FORMATS."""
    return next((kind for kind in FORMATS if files.exists(id, kind)), None)


def in_row(files: RecordingFiles, id: str, kind: FileKind) -> str:
    """Where it is, as in rows: a URL, or a path relative to the configuration."""
    where = files.where(id, kind)
    return where if "://" in where else Path(os.path.relpath(where, files.spool.base)).as_posix()


def write(
    files: RecordingFiles, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
) -> None:
    """Replace it by `content`: see `replacing`."""
    with files.replacing(id, kind, content, naming) as replace_it:
        replace_it()


def format_of(text: str) -> FileKind:
    """One of FORMATS by its name. Raises ArchiveError."""
    if text not in FORMATS:
        raise ArchiveError("format {0!r} is not one of {1}", text, ", ".join(FORMATS))
    return FileKind(text)


def sha256(files: RecordingFiles, id: str, kind: FileKind) -> str:
    """The SHA-256 of its bytes, in hexadecimal. Raises FileNotFoundError, OSError."""
    with files.open(id, kind) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_metadata(files: RecordingFiles) -> bool:
    """Whether any recording has its metadata there: then a database existed, even if it is gone. Raises
    OSError."""
    there = files.names(Area.RECORDINGS)
    return any(id is not None and name == files.name(id, FileKind.METADATA) for name, id in there)


def copy(source: RecordingFiles, target: RecordingFiles, id: str, kind: FileKind) -> None:
    """Copy one file, in place of one that may be there: it has its name once it is whole. Raises OSError."""
    with source.open(id, kind) as reading:
        if kind not in FORMATS:
            write(target, id, kind, reading.read(_BLOCK))
            return
        path = target.spool.path(id, kind)
        disk.make_folder(path.parent)
        with disk.replacing(path) as writing:
            shutil.copyfileobj(reading, writing, _BLOCK)
    target.keep(id, kind)


_BLOCK = 1 << 20  # bytes; neither metadata of ours nor a sealed key is longer
FETCHED = ".fetched"
"""The folder among the recordings for copies of what lies elsewhere: private, and gone after use."""

ROW_KEYS = "rows"
"""The folder in the vault with the keys of rows that hosts share: see `retention.postgres.row_keys`."""

# in the order in which they are erased: sound must never outlive the file that says when it must be erased
_SOUND = (".part", ".sealed.tmp", ".flac.tmp", ".wav.tmp", ".sealed", ".flac", ".wav")
_SUFFIXES = {Area.VAULT: (".key.tmp", ".key"), Area.RECORDINGS: (*_SOUND, ".json.tmp", ".json")}
_ENDS = {kind: f".{kind}" for kind in FileKind}
_OURS = {
    Area.VAULT: _SUFFIXES[Area.VAULT],
    Area.RECORDINGS: (*_SUFFIXES[Area.RECORDINGS], marks.SUFFIX),
}


class LocalFiles:
    """A `RecordingFiles`: those in `recordings`, their keys in `vault`; paths in rows begin at `base`, the
    folder of the configuration."""

    at_once = 1

    def __init__(self, recordings: Path, vault: Path, base: Path) -> None:
        self.recordings = recordings
        self.vault = vault
        self.base = base
        self._folders = {Area.VAULT: vault, Area.RECORDINGS: recordings}
        self._shown = {Area.VAULT: f"{vault.name}/", Area.RECORDINGS: ""}  # what names begin with

    @property
    def spool(self) -> "LocalFiles":
        return self

    @property
    def fetched(self) -> Path:
        """The folder for copies of what lies elsewhere, which is no part of what is kept."""
        return self.recordings / FETCHED

    def path(self, id: str, kind: FileKind) -> Path:
        """Where it is, or would be."""
        return self._folders[area_of(kind)] / f"{checked(id)}{_ENDS[kind]}"

    def prepare(self) -> None:
        """Make a place for a recording that begins now."""
        disk.make_folder(self.recordings)

    def erase(self, ids: Sequence[str]) -> dict[str, OSError]:
        """Erase all files of these recordings, durably, also unfinished ones; waits for nothing else. Keys
        first, metadata last. What went wrong, by id."""
        wrong: dict[str, OSError] = {}
        for area in (Area.VAULT, Area.RECORDINGS):
            gone = False
            for id in ids:
                paths = [self._folders[area] / f"{checked(id)}{suffix}" for suffix in _SUFFIXES[area]]
                try:
                    gone |= disk.unlink(paths)
                except OSError as error:
                    wrong[id] = error
            if gone:
                disk.sync_folder(self._folders[area])
        return wrong

    # what a store does as well

    def name(self, id: str, kind: FileKind) -> str:
        return f"{self._shown[area_of(kind)]}{id}{_ENDS[kind]}"

    def where(self, id: str, kind: FileKind) -> str:
        return str(self.path(id, kind))

    def names(self, area: Area) -> Iterator[tuple[str, str | None]]:
        try:
            with os.scandir(self._folders[area]) as there:
                for entry in there:
                    if entry.name == (ROW_KEYS if area is Area.VAULT else FETCHED):
                        continue
                    yield f"{self._shown[area]}{entry.name}", _owner(entry.name, _OURS[area])
        except FileNotFoundError:
            return

    def is_there(self, name: str) -> bool:
        return os.path.lexists(self._named(name))

    def exists(self, id: str, kind: FileKind) -> bool:
        return os.path.lexists(self.path(id, kind))

    def version(self, id: str, kind: FileKind) -> FileVersion:
        found = self.path(id, kind).stat()
        at = datetime.fromtimestamp(found.st_mtime, UTC)
        return FileVersion(at, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))

    def stored(self, id: str, kind: FileKind) -> Stored | None:
        return None

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        return self.path(id, kind).open("rb")

    def fetch(self, id: str, kind: FileKind) -> AbstractContextManager[Path]:
        return nullcontext(self.path(id, kind))

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        path = self.path(id, kind)
        disk.make_folder(path.parent)
        return nullcontext(partial(disk.write_whole, path, content, naming))

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        path = self.path(id, kind)
        path.chmod(0o600)
        return path.stat().st_size

    def learn(self) -> None:
        """Nothing to do: a folder tells what is in it."""

    def hold(self, id: str, *, held: bool) -> None:
        """Nothing to do: whoever can remove a file here can do so anyhow."""

    def erase_stored(self, ids: Sequence[str] | None = None, *, anyhow: bool = False) -> dict[str, OSError]:
        return {}

    def erase_name(self, name: str) -> bool:
        path = self._named(name)
        gone = disk.unlink([path])
        if gone:
            disk.sync_folder(path.parent)
        return gone

    def _named(self, name: str) -> Path:
        """Where one of `names` is."""
        folder, slash, inside = name.rpartition("/")
        if inside in ("", ".", "..") or (slash and folder != self.vault.name):
            raise ArchiveError("{0!r} is not a name among the recordings", name)
        return (self.vault if slash else self.recordings) / inside


def area_of(kind: FileKind) -> Area:
    """Where a file lies, and an object is listed."""
    return Area.VAULT if kind is FileKind.KEY else Area.RECORDINGS


def checked(id: str) -> str:
    """The id. Raises ArchiveError for one that is not valid."""
    if not is_id(id):
        raise ArchiveError("{0!r} is not the id of a recording", id)
    return id


def _owner(name: str, suffixes: tuple[str, ...]) -> str | None:
    id, dot, suffix = name.partition(".")
    return id if dot + suffix in suffixes and is_id(id) else None

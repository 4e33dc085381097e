"""The only access to what is kept of recordings besides their rows: sound, metadata, sealed keys.

Code that needs bytes asks a `RecordingFiles`; no other code joins a path, lists a folder or unlinks. The
files of this machine are one implementation (`local_files`), objects of a store the other
(`retention.objects`): it uses the same ids and kinds, takes sound from `spool` and gives it back by `fetch`.

`archive` decides when a row says what, and in which order files are removed (key, sound, metadata). A
refusal's mark does not wait for a store and is always a file of this machine: see `marks`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol

from retention.storage.files import Naming
from retention.storage.marks import ArchiveError


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


class RecordingFiles(Protocol):
    """What is kept, by the id of its recording and its kind. Any thread, any process.

    Everything raises ArchiveError for an id that is not valid, and OSError if the disk, or the store, fails.
    """

    at_once: int
    """How many may be asked for at a time."""
    base: Path
    """The folder of the configuration, which paths in rows are relative to."""

    # names

    def name(self, id: str, kind: FileKind) -> str:
        """The name as people see it, `ID.flac`, `vault/ID.key`, for any id."""

    def where(self, id: str, kind: FileKind) -> str:
        """The full path, for messages."""

    def in_row(self, id: str, kind: FileKind) -> str:
        """The path as in rows: relative to `base`."""

    def each_name(self, area: Area) -> Iterator[tuple[str, str | None]]:
        """Like `names`, but in any order, while others come and go; however many there are."""

    def names(self, area: Area) -> list[tuple[str, str | None]]:
        """Every name there, sorted, with the id it belongs to; no id: not a file of ours."""

    def is_there(self, name: str) -> bool:
        """Whether one of `names` still is."""

    # bytes

    def is_here(self, id: str, kind: FileKind) -> bool:
        """Whether this machine has it: then reading it waits for nothing."""

    def exists(self, id: str, kind: FileKind) -> bool:
        """Whether anything has that name."""

    def finished(self, id: str) -> FileKind | None:
        """Which finished sound there is, if any: one of FORMATS."""

    def written_at(self, id: str, kind: FileKind) -> datetime:
        """When it was last written to (UTC). Raises FileNotFoundError."""

    def identity(self, id: str, kind: FileKind) -> tuple[object, ...]:
        """What tells these bytes from all that were ever there. Raises FileNotFoundError."""

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        """For reading, from any place; for the caller to close. Raises FileNotFoundError."""

    def write(self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext) -> None:
        """Replace it by `content`, durably: a crash leaves either the old or the new content.

        Each name appears inside the context `naming`, which may refuse it by raising.
        """

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        """Have this content ready to be kept, for a transaction that begins inside: no store is waited for
        in it. What is given replaces what was there; where it is not called, or anything is raised, that
        stays, and the content goes.

        A crash leaves what the rows say. `naming` as in `write`.
        """

    def stored(self, id: str, kind: FileKind) -> "Stored | None":
        """What a store says of its object, without the bytes; None: only the bytes tell, which are here.

        Raises FileNotFoundError.
        """

    def learn(self) -> None:
        """Find what is kept where its rows are lost: the only time that anything but a folder is listed."""

    # sound, which is made and read as files of this machine

    def prepare(self) -> None:
        """Make a place for a recording that begins now."""

    def spool(self, id: str, kind: FileKind) -> Path:
        """Where this machine makes it: the tap writes PART there, and one of FORMATS is made of that."""

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        """Keep what was made in `spool` and is whole, readable by its owner only; its size in bytes.

        It may leave the spool for it. After a crash it is asked for again, also where all was kept before.
        `naming` as in `write`.
        """

    def fetch(self, id: str, kind: FileKind) -> AbstractContextManager[Path]:
        """A file on this machine with these bytes, for reading; where they lie elsewhere, a private copy that
        goes away again. Raises FileNotFoundError; where they lie here the file itself may be missing."""

    # holds

    def hold(self, id: str, *, held: bool) -> None:
        """Have whatever keeps the recording refuse to remove it, or let it go; rows say so by themselves."""

    def differs(self, id: str, *, held: bool) -> bool:
        """Whether anything of it that is kept elsewhere is not known to be held so."""

    # removal

    def remove(self, area: Area, id: str) -> bool:
        """Remove all files of a recording there, its metadata last; whether there was any.

        Also removes unfinished ones. A crash of the machine may undo it.
        """

    def remove_all(self, area: Area, ids: Sequence[str], *, anyhow: bool = False) -> Mapping[str, OSError]:
        """Remove all files of these recordings there, durably; what went wrong, by id.

        `anyhow`: also what is held: a caller has refused.
        """

    def remove_rest(self) -> Mapping[str, OSError]:
        """Try again what could not be removed elsewhere; what still can't be, by id."""

    def remove_here(self, area: Area, ids: Sequence[str]) -> Mapping[str, OSError]:
        """Remove what lies on this machine alone, without waiting for anything else; what went wrong."""

    def remove_name(self, name: str) -> bool:
        """Remove one of `names`, also a file that is not ours, durably; whether it was still there."""


def format_of(text: str) -> FileKind:
    """One of FORMATS by its name. Raises ArchiveError."""
    if text not in FORMATS:
        raise ArchiveError(f"format {text!r} is not one of {', '.join(FORMATS)}")
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

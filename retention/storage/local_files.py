"""What is kept of recordings as files of this machine: `ID.flac` in one folder, `vault/ID.key` in another.

Both folders are made (0700) when first needed. Nothing is ever written outside them: a name is made of an id,
and an id cannot have a `/`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from io import BufferedIOBase
from pathlib import Path

from retention.recording import is_id
from retention.storage import files, marks
from retention.storage.files import Naming
from retention.storage.marks import ArchiveError
from retention.storage.recording_files import FORMATS, Area, FileKind, Stored

FETCHED = ".fetched"
"""The folder among the recordings for copies of what lies elsewhere: private, and gone after use."""

ROW_KEYS = "rows"
"""The folder in the vault with the keys of rows that hosts share: see `retention.postgres.blobs`."""

# in the order of removal: sound must never outlive the file that says when it must be erased
_SUFFIXES = {
    Area.VAULT: (".key.tmp", ".key"),
    Area.RECORDINGS: (*(".part", ".flac.tmp", ".wav.tmp", ".sealed", ".flac", ".wav", ".json.tmp", ".json"),),
}
_ENDS = {kind: f".{kind}" for kind in FileKind}
_OURS = {
    Area.VAULT: _SUFFIXES[Area.VAULT],
    Area.RECORDINGS: (*_SUFFIXES[Area.RECORDINGS], marks.SUFFIX),
}


class LocalFiles:
    """A `RecordingFiles`: those in `recordings`, their keys in `vault`; paths in rows begin at `base`."""

    at_once = 1

    def __init__(self, recordings: Path, vault: Path, base: Path) -> None:
        self.recordings = recordings
        self.vault = vault
        self.base = base
        self._keys = f"{vault.name}/"

    @property
    def fetched(self) -> Path:
        """The folder for copies of what lies elsewhere, which is no part of what is kept."""
        return self.recordings / FETCHED

    def path(self, id: str, kind: FileKind) -> Path:
        """Where it is, or would be."""
        return self._folder(_area(kind)) / f"{_checked(id)}{_ENDS[kind]}"

    # names

    def name(self, id: str, kind: FileKind) -> str:
        return f"{self._shown(_area(kind))}{id}{_ENDS[kind]}"

    def where(self, id: str, kind: FileKind) -> str:
        return str(self.path(id, kind))

    def in_row(self, id: str, kind: FileKind) -> str:
        return Path(os.path.relpath(self.path(id, kind), self.base)).as_posix()

    def each_name(self, area: Area) -> Iterator[tuple[str, str | None]]:
        try:
            with os.scandir(self._folder(area)) as there:
                for entry in there:
                    if entry.name == (ROW_KEYS if area is Area.VAULT else FETCHED):
                        continue
                    yield f"{self._shown(area)}{entry.name}", _owner(entry.name, _OURS[area])
        except FileNotFoundError:
            return

    def names(self, area: Area) -> list[tuple[str, str | None]]:
        return sorted(self.each_name(area))

    def is_there(self, name: str) -> bool:
        return os.path.lexists(self._named(name))

    # bytes

    def is_here(self, id: str, kind: FileKind) -> bool:
        return True

    def exists(self, id: str, kind: FileKind) -> bool:
        return os.path.lexists(self.path(id, kind))

    def finished(self, id: str) -> FileKind | None:
        return next((kind for kind in FORMATS if self.path(id, kind).is_file()), None)

    def written_at(self, id: str, kind: FileKind) -> datetime:
        return datetime.fromtimestamp(self.path(id, kind).stat().st_mtime, UTC)

    def identity(self, id: str, kind: FileKind) -> tuple[object, ...]:
        found = self.path(id, kind).stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        return self.path(id, kind).open("rb")

    def write(self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext) -> None:
        path = self.path(id, kind)
        files.make_folder(path.parent)
        files.write_whole(path, content, naming)

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        return nullcontext(partial(self.write, id, kind, content, naming))

    def learn(self) -> None:
        """Nothing to do: a folder tells what is in it."""

    def stored(self, id: str, kind: FileKind) -> Stored | None:
        """Files say nothing of themselves."""
        return None

    # sound

    def prepare(self) -> None:
        files.make_folder(self.recordings)

    def spool(self, id: str, kind: FileKind) -> Path:
        return self.path(id, kind)

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        path = self.path(id, kind)
        path.chmod(0o600)
        return path.stat().st_size

    def fetch(self, id: str, kind: FileKind) -> AbstractContextManager[Path]:
        return nullcontext(self.path(id, kind))

    # holds

    def hold(self, id: str, *, held: bool) -> None:
        """Nothing to do: whoever can remove a file here can do so anyhow."""

    def differs(self, id: str, *, held: bool) -> bool:
        return False

    # removal

    def remove(self, area: Area, id: str) -> bool:
        folder, stem = self._folder(area), _checked(id)
        return files.unlink(folder / f"{stem}{suffix}" for suffix in _SUFFIXES[area])

    def remove_all(self, area: Area, ids: Sequence[str], *, anyhow: bool = False) -> Mapping[str, OSError]:
        return self.remove_here(area, ids)

    def remove_rest(self) -> Mapping[str, OSError]:
        return {}

    def remove_here(self, area: Area, ids: Sequence[str]) -> Mapping[str, OSError]:
        wrong: dict[str, OSError] = {}
        gone = False
        for id in ids:
            try:
                gone |= self.remove(area, id)
            except OSError as error:
                wrong[id] = error
        if gone:
            files.sync_folder(self._folder(area))
        return wrong

    def remove_name(self, name: str) -> bool:
        path = self._named(name)
        gone = files.unlink([path])
        if gone:
            files.sync_folder(path.parent)
        return gone

    # steps

    def _folder(self, area: Area) -> Path:
        return self.vault if area is Area.VAULT else self.recordings

    def _shown(self, area: Area) -> str:
        """The folder that names begin with."""
        return self._keys if area is Area.VAULT else ""

    def _named(self, name: str) -> Path:
        """The inverse of `_shown`."""
        folder, slash, inside = name.rpartition("/")
        if inside in ("", ".", "..") or (slash and folder != self.vault.name):
            raise ArchiveError(f"{name!r} is not a name among the recordings")
        return (self.vault if slash else self.recordings) / inside


def _area(kind: FileKind) -> Area:
    return Area.VAULT if kind is FileKind.KEY else Area.RECORDINGS


def _checked(id: str) -> str:
    if not is_id(id):
        raise ArchiveError(f"{id!r} is not the id of a recording")
    return id


def _owner(name: str, suffixes: tuple[str, ...]) -> str | None:
    id, dot, suffix = name.partition(".")
    return id if dot + suffix in suffixes and is_id(id) else None

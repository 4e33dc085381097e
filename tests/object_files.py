"""What is kept of recordings as objects in memory: a second `RecordingFiles`, whose spool is a folder.

As a store in the network would be, it knows no folder, lists by prefix and gives sound back by a copy.
"""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from io import BufferedIOBase, BytesIO
from pathlib import Path

from retention.recording import is_id
from retention.storage import files
from retention.storage.files import Naming
from retention.storage.marks import ArchiveError
from retention.storage.recording_files import FORMATS, Area, FileKind

_PREFIXES = {Area.VAULT: "keys/", Area.RECORDINGS: "sounds/"}


class ObjectFiles:
    """`objects`: bytes by name. What is being made lies in `folder`, until it is kept."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.base = base
        self.objects: dict[str, bytes] = {}
        self.removed: list[str] = []  # in their order
        self._folder, self._fetched = folder, folder.with_name("fetched")
        self._times: dict[str, datetime] = {}
        self._lock = threading.Lock()

    # names

    def name(self, id: str, kind: FileKind) -> str:
        return f"{_PREFIXES[_area(kind)]}{id}.{kind}"

    def where(self, id: str, kind: FileKind) -> str:
        return f"memory://{self._checked(id, kind)}"

    def in_row(self, id: str, kind: FileKind) -> str:
        return self.where(id, kind)

    def names(self, area: Area) -> list[tuple[str, str | None]]:
        with self._lock:
            there = {name for name in self.objects if name.startswith(_PREFIXES[area])}
        if area is Area.RECORDINGS and self._folder.is_dir():
            there |= {f"{_PREFIXES[area]}{path.name}" for path in self._folder.iterdir()}
        return [(name, _owner(name.rpartition("/")[2])) for name in sorted(there)]

    def each_name(self, area: Area) -> Iterator[tuple[str, str | None]]:
        return iter(self.names(area))

    def is_there(self, name: str) -> bool:
        return name in self.objects or (self._folder / name.rpartition("/")[2]).exists()

    # bytes

    def exists(self, id: str, kind: FileKind) -> bool:
        return self.is_there(self._checked(id, kind))

    def finished(self, id: str) -> FileKind | None:
        return next((kind for kind in FORMATS if self.exists(id, kind)), None)

    def written_at(self, id: str, kind: FileKind) -> datetime:
        made = self.spool(id, kind)
        if made.exists():
            return datetime.fromtimestamp(made.stat().st_mtime, UTC)
        return self._times[self._checked(id, kind)]

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        made = self.spool(id, kind)
        if made.exists():
            return made.open("rb")
        try:
            return BytesIO(self.objects[self._checked(id, kind)])
        except KeyError:
            raise FileNotFoundError(2, "No such object", self.where(id, kind)) from None

    def write(self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext) -> None:
        name = self._checked(id, kind)
        with naming(), self._lock:
            self.objects[name] = content
            self._times[name] = datetime.now(UTC)

    # sound

    def prepare(self) -> None:
        files.make_folder(self._folder)

    def spool(self, id: str, kind: FileKind) -> Path:
        self._checked(id, kind)
        return self._folder / f"{id}.{kind}"

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        made = self.spool(id, kind)
        if made.exists():
            self.write(id, kind, made.read_bytes(), naming)
            made.unlink()
        return len(self.objects[self._checked(id, kind)])

    def fetch(self, id: str, kind: FileKind) -> Path:
        files.make_folder(self._fetched)
        copy = self._fetched / f"{id}.{kind}"
        copy.write_bytes(self.objects[self._checked(id, kind)])
        return copy

    # removal

    def remove(self, area: Area, id: str) -> bool:
        kinds = [kind for kind in FileKind if _area(kind) is area]  # the metadata is the last of them
        return any([self.remove_name(self._checked(id, kind)) for kind in kinds])

    def remove_name(self, name: str) -> bool:
        gone = files.unlink([self._folder / name.rpartition("/")[2]])
        with self._lock:
            gone |= self.objects.pop(name, None) is not None
        self.removed += [name] if gone else []
        return gone

    def sync(self, area: Area) -> None:
        pass  # an object that is removed is removed

    def _checked(self, id: str, kind: FileKind) -> str:
        if not is_id(id):
            raise ArchiveError(f"{id!r} is not the id of a recording")
        return self.name(id, kind)


def _area(kind: FileKind) -> Area:
    return Area.VAULT if kind is FileKind.KEY else Area.RECORDINGS


def _owner(name: str) -> str | None:
    id, _, suffix = name.partition(".")
    return id if suffix in (*FileKind, "flac.tmp", "wav.tmp") and is_id(id) else None

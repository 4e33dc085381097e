"""What is kept of recordings as objects: a `RecordingFiles` whose spool are files of this host.

It is for commands, page and purge: what it writes is in the store when it returns, what it removes is gone
from there or is told of. Who carries calls has `spooled_files`.

Which objects there are is known by their rows (`retention.object_rows`), so nothing is ever listed.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from retention.object_rows import ObjectRow, ObjectRows, State, new_put
from retention.objects.client import PARALLEL, Bucket, CannotHold, NoSuchObject, ObjectError
from retention.objects.gathering import gather
from retention.objects.learning import learn
from retention.objects.names import (
    PIECE,
    any_name,
    area_of,
    file_of,
    object_name,
    shown,
    without_number,
)
from retention.objects.reading import open_object
from retention.objects.removals import Wrong, remove_name, remove_rows
from retention.rows.faults import StoreError
from retention.storage import files
from retention.storage.files import Naming
from retention.storage.local_files import LocalFiles
from retention.storage.recording_files import FORMATS, Area, FileKind, Stored

_PIECE = 1 << 20  # bytes of a copy
_KINDS = {area: [kind for kind in FileKind if area_of(kind) is area] for area in Area}


class ObjectFiles:
    """Objects in `bucket`, known by `rows`; `spool` are files of this host. Any thread."""

    at_once = PARALLEL // 2

    def __init__(
        self,
        bucket: Bucket,
        rows: ObjectRows,
        spool: LocalFiles,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.bucket = bucket
        self.rows = rows
        self.local = spool
        self.base = spool.base
        self._clock = clock

    # names

    def name(self, id: str, kind: FileKind) -> str:
        return any_name(id, kind)

    def where(self, id: str, kind: FileKind) -> str:
        return self.bucket.url(object_name(id, kind))

    def in_row(self, id: str, kind: FileKind) -> str:
        return self.where(id, kind)

    def names(self, area: Area) -> list[tuple[str, str | None]]:
        return sorted(self.each_name(area))

    def each_name(self, area: Area) -> Iterator[tuple[str, str | None]]:
        here = {shown(area, name.rpartition("/")[2]): id for name, id in self.local.each_name(area)}
        yield from here.items()
        # pieces are no one's to name: they go with the call, or once the finished file is up
        kinds = [kind for kind in _KINDS[area] if kind is not PIECE]
        yield from ((name, id) for name, id in self.rows.names(kinds) if name not in here)

    def is_there(self, name: str) -> bool:
        area, file = file_of(name)
        return self.local.is_there(self._in_spool(area, file)) or bool(self._rows_of_name(name))

    # bytes

    def is_here(self, id: str, kind: FileKind) -> bool:
        return self.local.exists(id, kind)

    def exists(self, id: str, kind: FileKind) -> bool:
        return self.local.exists(id, kind) or self._newest(id, kind) is not None

    def finished(self, id: str) -> FileKind | None:
        if kind := self.local.finished(id):
            return kind
        there = {row.kind for row in self._there(id)}
        return next((kind for kind in FORMATS if kind in there), None)

    def written_at(self, id: str, kind: FileKind) -> datetime:
        try:
            return self.local.written_at(id, kind)
        except FileNotFoundError:
            if (row := self._newest(id, kind)) is None:
                raise
            return row.at

    def identity(self, id: str, kind: FileKind) -> tuple[object, ...]:
        try:
            return self.local.identity(id, kind)
        except FileNotFoundError:
            if (row := self._newest(id, kind)) is None:
                raise
            return row.name, row.version, row.put, row.bytes

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        try:
            return self.local.open(id, kind)
        except FileNotFoundError:
            row = self._newest(id, kind)
        if row is not None:
            return open_object(self.bucket, row.name, row.version or None, row.bytes)
        return self._open_unknown(object_name(id, kind))

    def write(self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext) -> None:
        with self.replacing(id, kind, content, naming) as replace_it:
            replace_it()

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        return self._replacing(id, kind, content, naming)

    def learn(self) -> None:
        learn(self.bucket, self.rows, self._clock)

    def stored(self, id: str, kind: FileKind) -> Stored | None:
        if self.local.exists(id, kind):
            return None
        name = object_name(id, kind)
        row = self._newest(id, kind)
        seen = self.bucket.look(name, None if row is None else row.version or None)
        if seen is None:
            raise NoSuchObject(errno.ENOENT, "there is no such object", self.bucket.url(name))
        return Stored(seen.bytes, seen.sha256, seen.held)

    # sound

    def prepare(self) -> None:
        self.local.prepare()

    def spool(self, id: str, kind: FileKind) -> Path:
        return self.local.spool(id, kind)

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        made = self.local.path(id, kind)
        if not made.exists():
            if (kept := self._newest(id, kind)) is None:
                raise NoSuchObject(errno.ENOENT, "there is no such object", self.where(id, kind))
            return kept.bytes
        size = self.local.keep(id, kind, naming)
        row = self._begun(id, kind, size, files.sha256(made))
        with made.open("rb") as file, naming():
            version = self.bucket.put(row.name, file, row.sha256 or "", held=row.held)
        self._remove_listed(self._put(row, version))
        self._replace_pieces(id)
        files.unlink([made])
        return size

    @contextmanager
    def fetch(self, id: str, kind: FileKind) -> Iterator[Path]:
        if (made := self.local.path(id, kind)).exists():
            yield made
            return
        folder = self.local.fetched
        files.make_folder(folder)
        sweep(folder)
        copy, writing = _new_copy(folder)
        try:
            with writing, self.open(id, kind) as reading:
                while piece := reading.read(_PIECE):
                    writing.write(piece)
                writing.flush()
                yield copy
        finally:
            files.unlink([copy])

    def gather(self, id: str) -> bool:
        """Put the pieces that another host had sent up together in the spool, as PART; whether any was.

        What is between them and their end is missing: that shows in the part itself.
        """
        return gather(self.bucket, [row for row in self._there(id) if row.kind == PIECE], self.local, id)

    # holds

    def hold(self, id: str, *, held: bool) -> None:
        # a row may say so before it is so: a process that died in between is made good by the next
        rows = [row for row in self._there(id) if held or row.held]
        try:
            if held:
                self.rows.set_held(
                    (row.put for row in rows), held=True
                )  # before it is so, not to be forgotten
            for row in rows:
                self.bucket.hold(row.name, row.version or None, on=held)
            if not held:
                self.rows.set_held((row.put for row in rows), held=False)
        except CannotHold:  # the row holds it; `check` says that the bucket does not
            self.rows.set_held((row.put for row in rows), held=False)

    def differs(self, id: str, *, held: bool) -> bool:
        return any(row.held is not held for row in self._there(id))

    # removal

    def remove(self, area: Area, id: str) -> bool:
        there = self.local.remove(area, id) | bool(self._of_area(area, [id]))
        for fault in self.remove_all(area, [id]).values():
            raise fault
        return there

    def remove_all(self, area: Area, ids: Sequence[str], *, anyhow: bool = False) -> Wrong:
        """What the store doesn't remove now stays on its list."""
        wrong = self.remove_here(area, ids)
        rows = self._of_area(area, ids)
        stays = [row for row in rows if row.held and row.state is not State.REMOVING and not anyhow]
        for row in stays:
            problem = "the store holds it, though its row does not: see `sipagent verify`"
            wrong[row.id] = ObjectError(errno.EACCES, problem, self.bucket.url(row.name))
        going = [row for row in rows if row not in stays]
        self.rows.remove_puts(row.put for row in going if row.state is not State.REMOVING)
        return wrong | remove_rows(self.bucket, self.rows, going, self._clock())

    def remove_here(self, area: Area, ids: Sequence[str]) -> Wrong:
        return dict(self.local.remove_here(area, ids))

    def remove_rest(self) -> Wrong:
        """Try again what the store did not remove."""
        wrong: Wrong = {}
        ids = self.rows.removing()
        for some in (ids[start : start + 250] for start in range(0, len(ids), 250)):
            rows = [row for row in self.rows.of(some) if row.state is State.REMOVING]
            wrong |= remove_rows(self.bucket, self.rows, rows, self._clock())
        return wrong

    def remove_name(self, name: str) -> bool:
        area, file = file_of(name)
        gone = self.local.remove_name(self._in_spool(area, file))
        rows = self._rows_of_name(name)
        if not rows:
            return remove_name(self.bucket, name, through_hold=False) or gone
        self.rows.remove_puts(row.put for row in rows)
        for fault in remove_rows(self.bucket, self.rows, rows, self._clock()).values():
            raise fault
        return True

    # steps

    def _open_unknown(self, name: str) -> BufferedIOBase:
        """What has no row here: it may be in another host's journal still."""
        seen = self.bucket.look(name)
        if seen is None:
            raise NoSuchObject(errno.ENOENT, "there is no such object", self.bucket.url(name))
        return open_object(self.bucket, name, seen.version, seen.bytes)

    @contextmanager
    def _replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming
    ) -> Iterator[Callable[[], None]]:
        row = self._begun(id, kind, len(content), hashlib.sha256(content).hexdigest())
        with naming():
            version = self.bucket.put(row.name, content, row.sha256 or "", held=row.held)
        older: list[ObjectRow] | None = None

        def put_in_place() -> None:
            nonlocal older
            older = self._put(row, version)

        try:
            yield put_in_place
        except BaseException:
            older = None
            raise
        finally:
            if older is None:
                with suppress(StoreError):  # its row stays without an answer, and is looked after
                    self.rows.give_up(row, version)
        if older is not None:
            files.unlink([self.local.path(id, kind)])  # what had waited there is older, too
            self._remove_listed(older)

    def _begun(self, id: str, kind: FileKind, size: int, sha256: str) -> ObjectRow:
        """The row of a put, which is written by now."""
        row = ObjectRow(
            put=new_put(),
            name=object_name(id, kind),
            id=id,
            kind=kind,
            state=State.PUTTING,
            at=self._clock(),
            bytes=size,
            sha256=sha256,
            held=any(one.held for one in self._there(id)),
        )
        self.rows.intend([replace(row, held=False)])  # while it is not there it holds nothing
        return row

    def _put(self, row: ObjectRow, version: str | None) -> list[ObjectRow]:
        """It is there; what had that name before must go: once the transaction says so, if there is one."""
        self.rows.done([(row, version)])
        older = [one for one in self._there(row.id) if one.name == row.name and one.put != row.put]
        if not version:
            self.rows.forget(one.put for one in older)  # it was replaced in place
            return []
        self.rows.remove_puts(one.put for one in older)
        return older

    def _remove_listed(self, rows: list[ObjectRow]) -> None:
        """Now, if that can be: they are on the list."""
        with suppress(StoreError):
            remove_rows(self.bucket, self.rows, rows, self._clock())

    def _replace_pieces(self, id: str) -> None:
        pieces = [row for row in self.rows.of([id]) if row.kind == PIECE]
        self.rows.remove_puts(row.put for row in pieces)
        self._remove_listed(pieces)

    def _there(self, id: str) -> list[ObjectRow]:
        return [row for row in self.rows.of([id]) if row.state is State.THERE]

    def _newest(self, id: str, kind: FileKind) -> ObjectRow | None:
        name = object_name(id, kind)
        return max((row for row in self._there(id) if row.name == name), key=lambda row: row.at, default=None)

    def _of_area(self, area: Area, ids: Sequence[str]) -> list[ObjectRow]:
        return [row for row in self.rows.of(ids) if row.kind in _KINDS[area]]

    def _rows_of_name(self, name: str) -> list[ObjectRow]:
        id = file_of(name)[1].partition(".")[0]
        return [row for row in self.rows.of([id]) if without_number(row.name) == name]

    def _in_spool(self, area: Area, file: str) -> str:
        return f"{self.local.vault.name}/{file}" if area is Area.VAULT else file


def _new_copy(folder: Path) -> tuple[Path, BinaryIO]:
    """Begin a file (mode 0600) that is locked as long as it is open."""
    while True:
        handle, name = mkstemp(dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return Path(name), os.fdopen(handle, "wb")
        os.close(handle)  # another process took it for one that was left


def sweep(folder: Path) -> None:
    """Remove the copies of processes that ended before they did it."""
    for path in folder.iterdir():
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                files.unlink([path])
        except (BlockingIOError, FileNotFoundError):
            continue

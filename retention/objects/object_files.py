"""What is kept of recordings as objects: a `RecordingFiles` whose spool are files of this host.

`ObjectFiles` is for commands, page and purge: what it writes is in the store when it returns, what it
removes is gone from there or is told of. `SpooledFiles` is for whoever carries calls: files of the spool
alone, and no network. What lies there goes up, and what must go is removed from the store, by threads of
the host: see `uploads` and `erase`.

Which objects there are is known by their rows (`rows.object_rows`), so nothing is ever listed; but for
`learn`, which finds them where their rows are lost.

`ObjectFiles.gather` brings what is up of another host's recording into the spool of this one, to be closed
there. Its caller may refuse meanwhile, where that host lives after all: so what is not gathered whole does
not stay.

`ObjectBlobs` are small secret things as objects, each put once under a name of its own: bundles of keys.
"""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, Protocol

from retention import files
from retention.files import Naming
from retention.marks import ArchiveError
from retention.objects.bucket import (
    PARALLEL,
    PIECE,
    Bucket,
    CannotHold,
    NoSuchObject,
    ObjectError,
    any_name,
    file_of,
    object_name,
    open_object,
    piece_name,
    shown,
    without_number,
)
from retention.objects.erase import Wrong, erase_object, erase_puts
from retention.objects.uploads import row_of_put
from retention.recording_files import Area, FileKind, FileVersion, LocalFiles, Stored, area_of
from retention.records import Status, host_of, is_id
from retention.rows.object_rows import ObjectRow, ObjectRows, State
from retention.rows.pages import BATCH, Row, batches
from retention.rows.rows import StoreError
from retention.texts import Reason

_PIECE = 1 << 20  # bytes of a copy


def forget_gathered(
    spool: LocalFiles, host: str | None, states: Callable[[Sequence[str]], Mapping[str, Row]]
) -> list[str]:
    """Remove what a process of this host that died had gathered of others' recordings, once these have an
    end; ids. `states`: what rows say of them."""
    parts = [id for name, id in spool.names(Area.RECORDINGS) if id and name.endswith(f".{PIECE}")]
    known = states([id for id in parts if host_of(id) != host])
    over = [id for id, row in known.items() if row["status"] != Status.OPEN.value]
    files.unlink([spool.path(id, PIECE) for id in over])
    return over


def _learnt(bucket: Bucket, name: str, version: str, now: datetime) -> ObjectRow | None:
    """One version that is there; None for what is no recording's, and for a marker of deletion."""
    try:
        id, _, kind = file_of(without_number(name))[1].partition(".")
    except ArchiveError:
        return None
    if not is_id(id) or kind not in {*FileKind} or (seen := bucket.look(name, version)) is None:
        return None
    row = row_of_put(id, FileKind(kind), now, seen.bytes, seen.sha256)
    return replace(row, name=name, version=version, held=seen.held)


_KINDS = {area: [kind for kind in FileKind if area_of(kind) is area] for area in Area}


class ObjectFiles:
    """Objects in `bucket`, known by `rows`; `spool` is the spool of this host. Any thread."""

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
        self.spool = spool
        self._clock = clock

    def name(self, id: str, kind: FileKind) -> str:
        return any_name(id, kind)

    def where(self, id: str, kind: FileKind) -> str:
        return self.bucket.url(object_name(id, kind))

    def names(self, area: Area) -> Iterator[tuple[str, str | None]]:
        here = {shown(area, name.rpartition("/")[2]): id for name, id in self.spool.names(area)}
        yield from here.items()
        # pieces are no one's to name: they go with the call, or once the finished file is up
        kinds = [kind for kind in _KINDS[area] if kind is not PIECE]
        yield from ((name, id) for name, id in self.rows.names(kinds) if name not in here)

    def is_there(self, name: str) -> bool:
        return self.spool.is_there(self._in_spool(name)) or bool(self._rows_of_name(name))

    def exists(self, id: str, kind: FileKind) -> bool:
        return self.spool.exists(id, kind) or self._newest(id, kind) is not None

    def version(self, id: str, kind: FileKind) -> FileVersion:
        try:
            return self.spool.version(id, kind)
        except FileNotFoundError:
            if (row := self._newest(id, kind)) is None:
                raise
            return FileVersion(row.at, (row.name, row.version, row.put, row.bytes))

    def stored(self, id: str, kind: FileKind) -> Stored | None:
        if self.spool.exists(id, kind):
            return None
        name, row = object_name(id, kind), self._newest(id, kind)
        seen = self.bucket.look(name, None if row is None else row.version or None)
        if seen is None:
            raise self._missing(name)
        return Stored(seen.bytes, seen.sha256, seen.held)

    def open(self, id: str, kind: FileKind) -> BufferedIOBase:
        try:
            return self.spool.open(id, kind)
        except FileNotFoundError:
            row = self._newest(id, kind)
        if row is not None:
            return open_object(self.bucket, row.name, row.version or None, row.bytes)
        return self._open_unknown(object_name(id, kind))

    @contextmanager
    def fetch(self, id: str, kind: FileKind) -> Iterator[Path]:
        if (made := self.spool.path(id, kind)).exists():
            yield made
            return
        folder = self.spool.fetched
        files.make_folder(folder)
        sweep(folder)
        copy, writing = _new_copy(folder)
        try:
            with writing, self.open(id, kind) as reading:
                shutil.copyfileobj(reading, writing, _PIECE)
                writing.flush()
                yield copy
        finally:
            files.unlink([copy])

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        return self._replacing(id, kind, content, naming)

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        made = self.spool.path(id, kind)
        if not made.exists():
            if (kept := self._newest(id, kind)) is None:
                raise self._missing(object_name(id, kind))
            return kept.bytes
        size = self.spool.keep(id, kind, naming)
        row = self._begun(id, kind, size, files.sha256(made))
        with made.open("rb") as file, naming():
            version = self.bucket.put(row.name, file, row.sha256 or "", held=row.held)
        self._remove_listed(self._put(row, version))
        pieces = [one for one in self.rows.of([id]) if one.kind == PIECE]
        self.rows.remove_puts(one.put for one in pieces)
        self._remove_listed(pieces)
        files.unlink([made])
        return size

    def gather(self, id: str) -> bool:
        """Put the pieces that another host had sent up together in the spool, as PART; whether any was.

        What is between them and their end is missing: that shows in the part itself.
        """
        known = {row.name: row for row in self._there(id) if row.kind == PIECE}
        part = self.spool.path(id, PIECE)
        self.spool.prepare()
        found = 0
        try:
            with files.private_file(part) as writing:
                found = self._gathered(known, writing, id)
                writing.flush()
                os.fsync(writing.fileno())
        finally:
            if not found:
                files.unlink([part])
        files.sync_folder(part.parent)
        return found > 0

    def learn(self) -> None:
        """Write a row for each version that has none; of each name, only the newest stays."""
        found = self.bucket.versions("")
        if found is None:
            problem = Reason("may not be listed, and its rows are lost")
            raise ObjectError(errno.EACCES, problem, self.bucket.url(""))
        rows: dict[str, list[ObjectRow]] = {}
        for name, version in found:  # of each name, the newest first
            row = _learnt(self.bucket, name, version, self._clock())
            if row is not None:
                rows.setdefault(name, []).append(row)
        ids = {one[0].id for one in rows.values()}
        known = {(row.name, row.version) for row in self.rows.of([*ids])}
        new = [row for one in rows.values() for row in one if (row.name, row.version) not in known]
        self.rows.intend(new)
        self.rows.done((row, row.version) for row in new)
        self.rows.remove_puts(row.put for one in rows.values() for row in one[1:] if row in new)

    def hold(self, id: str, *, held: bool) -> None:
        # a row says so before it is so, and until it no longer is: the next process makes good what is not
        rows = [row for row in self._there(id) if held or row.held]
        puts = [row.put for row in rows]
        if held:
            self.rows.set_held(puts, held=True)
        with suppress(CannotHold):  # the row holds it; `check` says that the bucket does not
            for row in rows:
                self.bucket.hold(row.name, row.version or None, on=held)
            if held:
                return
        self.rows.set_held(puts, held=False)

    def erase_stored(self, ids: Sequence[str] | None = None, *, anyhow: bool = False) -> Wrong:
        """What the store doesn't erase now stays on its list."""
        wrong: Wrong = {}
        for some in batches(self.rows.removing() if ids is None else ids, BATCH):
            rows = [row for row in self.rows.of(some) if row.state is State.REMOVING or ids is not None]
            wrong |= self._erase_rows(rows, anyhow=anyhow)
        return wrong

    def erase_name(self, name: str) -> bool:
        gone = self.spool.erase_name(self._in_spool(name))
        rows = self._rows_of_name(name)
        if not rows:
            return erase_object(self.bucket, name, through_hold=False) or gone
        for fault in self._erase_rows(rows, anyhow=True).values():
            raise fault
        return True

    # steps

    def _gathered(self, known: Mapping[str, ObjectRow], writing: BinaryIO, id: str) -> int:
        """How many pieces, also those of which no row came."""
        number = 0
        while True:
            name = piece_name(id, number + 1)
            row = known.get(name)
            if row is None and self.bucket.look(name) is None:
                return number
            with self.bucket.read(name, version=None if row is None else row.version or None) as stream:
                while piece := self.bucket.next_bytes(name, stream, _PIECE):
                    writing.write(piece)
            number += 1

    def _erase_rows(self, rows: Sequence[ObjectRow], *, anyhow: bool) -> Wrong:
        stays = [row for row in rows if row.held and row.state is not State.REMOVING and not anyhow]
        problem = Reason("the store holds it, though its row does not: see `sipagent verify`")
        wrong: Wrong = {
            row.id: ObjectError(errno.EACCES, problem, self.bucket.url(row.name)) for row in stays
        }
        going = [row for row in rows if row not in stays]
        self.rows.remove_puts(row.put for row in going if row.state is not State.REMOVING)
        for kinds in (_KINDS[Area.VAULT], _KINDS[Area.RECORDINGS]):  # the latter also where a key stays
            some = [row for row in going if row.kind in kinds]
            wrong |= erase_puts(self.bucket, self.rows, some, self._clock())
        return wrong

    def _missing(self, name: str) -> NoSuchObject:
        return NoSuchObject(errno.ENOENT, Reason("there is no such object"), self.bucket.url(name))

    def _open_unknown(self, name: str) -> BufferedIOBase:
        """What has no row here: it may be in another host's journal still."""
        seen = self.bucket.look(name)
        if seen is None:
            raise self._missing(name)
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
            files.unlink([self.spool.path(id, kind)])  # what had waited there is older, too
            self._remove_listed(older)

    def _begun(self, id: str, kind: FileKind, size: int, sha256: str) -> ObjectRow:
        """The row of a put, which is written by now."""
        row = row_of_put(id, kind, self._clock(), size, sha256)
        self.rows.intend([row])  # while it is not there it holds nothing
        return replace(row, held=any(one.held for one in self._there(id)))

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
            erase_puts(self.bucket, self.rows, rows, self._clock())

    def _there(self, id: str) -> list[ObjectRow]:
        return [row for row in self.rows.of([id]) if row.state is State.THERE]

    def _newest(self, id: str, kind: FileKind) -> ObjectRow | None:
        name = object_name(id, kind)
        return max((row for row in self._there(id) if row.name == name), key=lambda row: row.at, default=None)

    def _rows_of_name(self, name: str) -> list[ObjectRow]:
        id = file_of(name)[1].partition(".")[0]
        return [row for row in self.rows.of([id]) if without_number(row.name) == name]

    def _in_spool(self, name: str) -> str:
        """The name that this machine's file of it has."""
        area, file = file_of(name)
        return f"{self.spool.vault.name}/{file}" if area is Area.VAULT else file


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


class SpooledFiles(ObjectFiles):
    """For who may not wait for a network: it writes to the spool, and removes from there.

    The store follows: a thread of the host sends up what lies in the spool, and removes what rows and marks
    say must go.
    """

    def replacing(
        self, id: str, kind: FileKind, content: bytes, naming: Naming = nullcontext
    ) -> AbstractContextManager[Callable[[], None]]:
        return self.spool.replacing(id, kind, content, naming)

    def keep(self, id: str, kind: FileKind, naming: Naming = nullcontext) -> int:
        if self.spool.exists(id, kind):
            return self.spool.keep(id, kind, naming)
        return super().keep(id, kind, naming)

    def hold(self, id: str, *, held: bool) -> None:
        """Nothing to do: a command does it, or the next purge."""

    def erase_stored(self, ids: Sequence[str] | None = None, *, anyhow: bool = False) -> Wrong:
        return {}  # the list says so: see `retention.rows.object_rows`

    def erase_name(self, name: str) -> bool:
        return self.spool.erase_name(self._in_spool(name))

    def _open_unknown(self, name: str) -> BufferedIOBase:
        raise self._missing(name)


class ObjectBlobs:
    """A `Blobs`: bytes by name. Everything raises ObjectError, an OSError."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, name: str, content: bytes) -> str:
        """Keep it; its version, empty where the bucket keeps none."""
        return self._bucket.put(name, content, hashlib.sha256(content).hexdigest()) or ""

    def get(self, name: str, version: str = "") -> bytes:
        """Raises FileNotFoundError."""
        return self._bucket.content(name, version or None)

    def remove(self, name: str, version: str = "") -> None:
        """Remove that version, or without one each, also where its put was never answered; it may be gone."""
        if version:
            self._bucket.remove(name, version)
        else:
            erase_object(self._bucket, name)

    def where(self, name: str) -> str:
        """Its URL."""
        return self._bucket.url(name)


class Files(Protocol):
    """Where they lay before there was a store of objects."""

    def get(self, name: str, version: str = "") -> bytes: ...

    def remove(self, name: str, version: str = "") -> None: ...


class RisingBlobs(ObjectBlobs):
    """Some of which are still files of this host: what is put goes up."""

    def __init__(self, bucket: Bucket, files: Files) -> None:
        super().__init__(bucket)
        self._files = files

    def get(self, name: str, version: str = "") -> bytes:
        """Raises FileNotFoundError where it is neither."""
        try:
            return self._files.get(name)
        except FileNotFoundError:
            return super().get(name, version)

    def remove(self, name: str, version: str = "") -> None:
        """Remove both."""
        self._files.remove(name)
        super().remove(name, version)

"""Sends up what lies in the spool of this host, while it grows, and tells the hosts that share a database of
it.

    STEP_S   a recording in progress goes up in pieces, so that a host that vanishes loses 10 s at most
    then     the finished file, once its row is closed, with its metadata; its pieces go, then the files
    here
    first    its key, without which no piece could ever be opened

It only reads files that others write, so it is in no call's way: no call waits for it, and the store may
be slow or away for as long as the disk has room; `RetryPace` says when one that has failed is asked again.
Every put has its row first (`rows.object_rows`), and only a recording that is open or closed gets one:
what was refused before that gets none, what is refused later is on the list by then. Another thread
removes (`erase`), so that no removal waits for a put.

The database that hosts share is told which objects there are, so that all remove, hold and read them. A
host's own rows come first, before anything is put. Until they are told, only this host removes what they
name; once they are told, the call is over and all of it is up, they leave the journal.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from retention import files
from retention.marks import Marks
from retention.objects.bucket import PARALLEL, PIECE, WHOLE, Bucket, ObjectError, object_name, piece_name
from retention.recording_files import Area, FileKind, LocalFiles
from retention.records import Recording, Status
from retention.rows.object_rows import ObjectRow, State, new_put
from retention.rows.pages import PAGE
from retention.rows.rows import Rows, StoreError, UnknownId
from retention.rows.selection import Selection

_AGAIN_S = 1.0


@dataclass(slots=True)
class RetryPace:
    """When the store is asked again after it has failed: after a second, then after twice that, up to
    `most_s`."""

    most_s: float = 30.0
    since: float | None = None  # it fails
    due: float = 0.0
    pause_s: float = _AGAIN_S

    @property
    def fails(self) -> bool:
        """Whether it did at the last attempt."""
        return self.since is not None

    def may(self, now: float) -> bool:
        return now >= self.due

    def failed(self, now: float) -> None:
        self.since = now if self.since is None else self.since
        self.due, self.pause_s = now + self.pause_s, min(2 * self.pause_s, self.most_s)

    def succeeded(self) -> None:
        self.since, self.due, self.pause_s = None, 0.0, _AGAIN_S


STEP_S = 7.0  # with a second until it is looked at, and one for the put, within 10 s
LARGEST = 4 << 20  # bytes of a piece: two minutes, where the store was away

Now = Callable[[], datetime]
Known = Callable[[str], Recording | None]
"""The row of a recording where all hosts have theirs; None if there is none, or nobody answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoringHost:
    """A host that keeps recordings as objects: its own rows, files and marks, and the store they go to."""

    bucket: Bucket
    store: Rows
    here: LocalFiles
    marks: Marks
    clock: Now
    known: Known = lambda id: None
    rewrite: Callable[[str], None] = lambda id: None
    """Makes the metadata of a recording anew of the row that all hosts have. Raises ObjectError."""


def row_of_put(id: str, kind: FileKind, at: datetime, size: int, sha256: str | None) -> ObjectRow:
    """The row of an object that is to be put now, under its usual name."""
    return ObjectRow(
        put=new_put(),
        name=object_name(id, kind),
        id=id,
        kind=kind,
        state=State.PUTTING,
        at=at,
        bytes=size,
        sha256=sha256,
    )


@dataclass(slots=True)
class _Growing:
    """A recording in progress. `sent` bytes are up in `pieces`; one may be on its way, or its answer lost."""

    sent: int = 0
    pieces: int = 0
    looked_at: float = 0.0
    pending: ObjectRow | None = None


@dataclass(frozen=True, slots=True)
class UploadFigures:
    """`behind_s`: how long what is not up yet has waited; `waiting`: bytes of it; `away`: no answer now."""

    behind_s: float = 0.0
    waiting: int = 0
    sent: int = 0
    failures: int = 0
    away: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """One put: bytes `first` to `first + row.bytes` of a file of the spool, or all of it."""

    row: ObjectRow
    first: int = 0


class Uploads:
    """Sends up. `turn` does all that is due; one thread calls it."""

    def __init__(self, host: StoringHost, step_s: float = STEP_S) -> None:
        self.figures = UploadFigures()
        self.pace = RetryPace()
        self._host = host
        self._rows = host.store.objects
        self._step_s = step_s
        self._growing: dict[str, _Growing] = {}
        self._keyed: set[str] = set()  # whose key is up
        self._sent = 0
        self._failures = 0
        self._pool = ThreadPoolExecutor(PARALLEL // 2, "uploads")

    def close(self) -> None:
        """End its threads, after what is on its way."""
        self._pool.shutdown()

    def turn(self) -> list[ObjectError]:
        """Send what is due; what the store did not take. Raises StoreError, OSError."""
        now = time.monotonic()
        opened = {
            row.id: row for row in self._host.store.each_recording(Selection(status=Status.OPEN), _skip)
        }
        finished = self._finished(opened)
        self._growing = {id: known for id, known in self._growing.items() if id in opened}
        self._keyed &= {*opened, *finished}
        faults: list[ObjectError] = []
        if self.pace.may(now):
            faults = self._send(self._keys([*opened, *finished]))
            if not faults:
                faults = self._send(self._pieces(opened, now))
            for id in [] if faults else finished:
                faults += self._finish(id)
        if faults:
            self.pace.failed(now)
            self._failures += len(faults)
        elif self.pace.may(now):
            self.pace.succeeded()
        self._count(opened, finished, now)
        return faults

    # what is due

    def _finished(self, opened: Iterable[str]) -> list[str]:
        """Those whose sound or metadata lies in the spool, and whose row is not open any more."""
        found = {
            id
            for name, id in self._host.here.names(Area.RECORDINGS)
            if id is not None and name.endswith(_FINISHED) and not name.endswith(".tmp")
        }
        return sorted(id for id in found if id not in opened and not self._host.marks.forbidden(id))

    def _keys(self, ids: Iterable[str]) -> list[_Job]:
        jobs = []
        for id in ids:
            if id in self._keyed or self._host.marks.forbidden(id):
                continue
            path = self._host.here.path(id, FileKind.KEY)
            if self._is_up(id, FileKind.KEY):
                self._keyed.add(id)
            elif path.exists():
                jobs.append(_Job(self._row(id, FileKind.KEY, path.read_bytes())))
        return jobs

    def _pieces(self, opened: Iterable[str], now: float) -> list[_Job]:
        jobs = []
        for id in opened:
            path = self._host.here.path(id, PIECE)
            if self._host.marks.forbidden(id) or not path.exists():
                continue
            known = self._growing.get(id) or self._resumed(id)
            self._growing[id] = known
            if known.pending is not None:
                jobs.append(_Job(self._anew(known.pending), known.sent))
            elif now - known.looked_at >= self._step_s:
                known.looked_at = now
                with path.open("rb") as file:
                    file.seek(known.sent)
                    content = file.read(LARGEST)
                if content:
                    name = piece_name(id, known.pieces + 1)
                    jobs.append(_Job(replace(self._row(id, PIECE, content), name=name), known.sent))
        return jobs

    def _resumed(self, id: str) -> _Growing:
        """What the process before this one had sent of it."""
        rows: dict[str, list[ObjectRow]] = {}
        for row in self._rows.of([id]):
            if row.kind == PIECE:
                rows.setdefault(row.name, []).append(row)
        known = _Growing()
        while tries := rows.get(piece_name(id, known.pieces + 1)):
            there = next((row for row in tries if row.state is State.THERE), None)
            if there is None:
                known.pending = tries[-1]
                break
            known.sent, known.pieces = known.sent + there.bytes, known.pieces + 1
        return known

    # how it is sent

    def _send(self, jobs: list[_Job]) -> list[ObjectError]:
        """Intend all in one transaction, put them side by side, and say in one more what came of it."""
        jobs = self._intended(jobs)
        if not jobs:
            return []
        answers, faults, unsent = [], [], []
        for job, answer in zip(jobs, self._pool.map(self._put, jobs), strict=True):
            if answer is None:
                unsent.append(job.row.put)
            elif isinstance(answer, ObjectError):
                faults.append(answer)
                if job.row.kind == PIECE and (growing := self._growing.get(job.row.id)) is not None:
                    growing.pending = job.row
            else:
                answers.append(answer)
        self._rows.done(answers)
        self._rows.forget(unsent)
        for row, _ in answers:
            self._sent += row.bytes
            if row.kind == PIECE and (known := self._growing.get(row.id)) is not None:
                known.sent, known.pieces, known.pending = known.sent + row.bytes, known.pieces + 1, None
        return faults

    def _intended(self, jobs: list[_Job]) -> list[_Job]:
        """Those of recordings that may have any, with their rows."""
        with self._host.store.write():
            kept = [job for job in jobs if self._may_be_kept(job.row.id)]
            self._rows.intend(job.row for job in kept)
        return kept

    def _may_be_kept(self, id: str) -> bool:
        """Also one whose row is in the shared database by now, and no more here."""
        if self._host.marks.forbidden(id):
            return False
        try:
            return self._host.store.recording(id).status in (Status.OPEN, Status.CLOSED)
        except UnknownId:
            row = self._host.known(id)
            return row is None or row.status is Status.CLOSED
        except StoreError:
            return False

    def _put(self, job: _Job) -> tuple[ObjectRow, str | None] | ObjectError | None:
        """Its row and version; None: it was not even sent, for it has gone meanwhile, or must go."""
        row = job.row
        if self._host.marks.forbidden(row.id):
            return None
        try:
            if row.kind == FileKind.SEALED:
                with self._host.here.path(row.id, FileKind.SEALED).open("rb") as whole:
                    version = self._host.bucket.put(row.name, whole, row.sha256 or "", held=row.held)
            else:
                with self._host.here.path(row.id, FileKind(row.kind)).open("rb") as file:
                    file.seek(job.first)
                    content = file.read(row.bytes)
                version = self._host.bucket.put(row.name, content, row.sha256 or "", held=row.held)
        except ObjectError as fault:
            return fault
        except FileNotFoundError:
            return None
        return row, version

    def _anew(self, row: ObjectRow) -> ObjectRow:
        """Bytes and name as before, so that it does not matter which of both puts arrives last."""
        return replace(
            row, put=new_put(), state=State.PUTTING, at=self._host.clock(), version=None, since=None
        )

    # the end of a recording

    def _finish(self, id: str) -> list[ObjectError]:
        """Its finished file and its metadata go up, then its pieces go, then the files here."""
        row = self._row_of(id)
        if row is not None and row.status in _GONE:
            self._forget_here(id)
            return []
        held = row is not None and row.hold is not None
        for kind in (FileKind.SEALED, FileKind.METADATA):
            if faults := self._send_file(id, kind, held=held):
                return faults
        if self._host.marks.forbidden(id) or not self._is_up_or_absent(id):
            return []
        if faults := self._key_again(id):
            return faults
        self._rows.remove_puts(one.put for one in self._rows.of([id]) if one.kind == PIECE)
        self._forget_here(id)
        return []

    def _send_file(self, id: str, kind: FileKind, *, held: bool) -> list[ObjectError]:
        """Unless it is up as it is here; what had its name before must go."""
        path = self._host.here.path(id, kind)
        if not path.exists():
            return []
        digest, size = files.sha256(path), path.stat().st_size
        name = object_name(id, kind)
        there = [one for one in self._rows.of([id]) if one.name == name and one.state is State.THERE]
        if any(one.sha256 == digest for one in there):
            return []
        try:
            if self._is_written_elsewhere(kind, there, name):
                self._have_rewritten(id)
                return []
        except ObjectError as fault:
            return [fault]
        row = replace(self._row(id, kind, b""), bytes=size, sha256=digest, held=held)
        faults = self._send([_Job(row)])
        if not faults:
            self._rows.remove_puts(one.put for one in there)
        return faults

    def _is_written_elsewhere(self, kind: FileKind, there: list[ObjectRow], name: str) -> bool:
        """Whether another host has written later metadata meanwhile, of which nothing is known here."""
        if self._host.store.whole or there or kind is not FileKind.METADATA:
            return False
        return self._host.bucket.look(name) is not None

    def _key_again(self, id: str) -> list[ObjectError]:
        """Another host that took this one for lost may have removed it: then it goes up once more."""
        path = self._host.here.path(id, FileKind.KEY)
        try:
            if (
                self._host.store.whole
                or not path.exists()
                or self._host.bucket.look(object_name(id, FileKind.KEY))
            ):
                return []
        except ObjectError as fault:
            return [fault]
        return self._send([_Job(self._row(id, FileKind.KEY, path.read_bytes()))])

    def _have_rewritten(self, id: str) -> None:
        """What this host has of it need not be what the row says, once both hosts have told theirs."""
        if self._host.store.some_recordings([id]):
            return  # this host's word is still on its way
        row = self._host.known(id)
        if row is not None and row.status is Status.CLOSED:
            self._host.rewrite(id)

    def _forget_here(self, id: str) -> None:
        for kind in WHOLE:
            files.unlink([self._host.here.path(id, kind)])

    # steps

    def _row_of(self, id: str) -> Recording | None:
        here = self._host.store.some_recordings([id]).get(id)
        shared = self._host.known(id)
        if here is not None and shared is not None and shared.status is Status.FAILED:
            return here  # to others, who took this host for lost; it is yet to tell
        if shared is None or (here is not None and shared.status not in _GONE and shared.hold is None):
            return here or shared
        return shared

    def _row(self, id: str, kind: FileKind, content: bytes) -> ObjectRow:
        sha256 = hashlib.sha256(content).hexdigest()
        return row_of_put(id, kind, self._host.clock(), len(content), sha256)

    def _is_up_or_absent(self, id: str) -> bool:
        """Whether nothing here is more than what is up."""
        return all(self._is_up(id, kind) or not self._host.here.path(id, kind).exists() for kind in WHOLE)

    def _is_up(self, id: str, kind: FileKind) -> bool:
        return any(row.kind == kind and row.state is State.THERE for row in self._rows.of([id]))

    def _count(self, opened: Iterable[str], finished: Iterable[str], now: float) -> None:
        waiting = 0
        for id in opened:
            path = self._host.here.path(id, PIECE)
            if path.exists() and (known := self._growing.get(id)) is not None:
                waiting += max(0, path.stat().st_size - known.sent)
        for id in finished:
            path = self._host.here.path(id, FileKind.SEALED)
            waiting += path.stat().st_size if path.exists() else 0
        late = 0.0 if self.pace.since is None else now - self.pace.since
        self.figures = UploadFigures(
            behind_s=late + (self._step_s if waiting else 0.0),
            waiting=waiting,
            sent=self._sent,
            failures=self._failures,
            away=self.pace.since is not None,
        )


_GONE = (Status.ERASED, Status.FAILED, Status.PURGING, Status.PURGED)
_FINISHED = tuple(f".{kind}" for kind in (FileKind.SEALED, FileKind.METADATA))


def _skip(id: str, problem: str) -> None:
    """A row that cannot be read: `verify` tells of it."""


_WITHOUT_OBJECTS = (Status.ERASED, Status.FAILED, Status.PURGED)


def tell_objects(journal: Rows, shared: Rows) -> int:
    """Tell what is new; how many rows that were.

    What is told of a recording that is gone by now must go. A crash in between tells it again. Raises
    StoreError.
    """
    count = 0
    while rows := journal.objects.untold():
        with shared.write():
            states = shared.states([*{row.id for row in rows}])
            gone = frozenset(id for id, row in states.items() if row["status"] in _WITHOUT_OBJECTS)
            shared.objects.take_over(rows, gone)
        journal.objects.were_told(rows)
        count += len(rows)
        if len(rows) < PAGE:
            break
    return count

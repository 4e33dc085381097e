"""Writes rows into the database, off all threads that must not wait for it, and keeps them until then.

    rows       one job after the other, in order for each call; a write that fails is tried again
    reserve    a row that has waited for a second goes into the process's reserve, so that the process may
               die without losing it

Of a receipt that waits only the newest state is kept. One that allows the recording may wait for half a
second, to be written in one transaction with the recording's row, where that begins or is closed.

The queue is bounded: a call for which neither memory nor the reserve has room
leaves no receipt, is counted, and the count is written (`LOST` of retention/rows/counts.py). Recordings
are never among those: without a durable row, in the database or in the reserve, none begins.

`Worker` is a thread that does jobs in order: each failure is reported, and the next job is done.
"""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog

from media.recording.assemble import AssemblyError
from media.recording.tap import TapError
from retention.marks import ArchiveError, MustGo
from retention.records import Receipt, Recording, Sum
from retention.reserve import Record, Reserve, ReserveFull
from retention.rows.counts import LOST, CallSpan, PendingRejections
from retention.rows.rows import Busy, HeadNotWritten, Rows, StoreError, TryAgain
from retention.vault import KeysError
from sipagent.config.errors import counted

FAULTS = (OSError, StoreError, ArchiveError, KeysError, TapError, AssemblyError)

Job = Callable[[], object]


@dataclass(eq=False, slots=True)
class Task:
    """One job about the call `id`; `done` once it is, or has failed for good, of `fault` then.

    It was put at `since`, and may wait for others of its call until `due` (monotonic s); `joins`: it is done
    in one transaction with the receipt that waits.
    """

    id: str
    job: Job
    since: float
    due: float
    joins: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None


class Worker:
    """One thread. `alert` is called on it; `faults` counts the jobs that it has failed of."""

    def __init__(self, name: str, alert: Callable[[str], None]) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._later: list[tuple[float, Job]] = []  # the thread's own: when each is due
        self._alert = alert
        self.faults = 0
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        self._thread.start()

    def put(self, job: Job) -> None:
        self._jobs.put(job)

    def again(self, job: Job, after_s: float) -> None:
        """Do one that has failed once more, after so long; on this thread alone. The end waits for none."""
        self._later.append((time.monotonic() + after_s, job))

    def stop(self) -> None:
        """Do all that was put, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except FAULTS as fault:
                self.tell(str(fault))
            except Exception as fault:  # noqa: BLE001 - a thread that died would erase no more
                self.tell(f"{fault!r}, which nobody foresaw")

    def _next(self) -> Job | None:
        while True:
            due, job = min(self._later, default=(None, None), key=lambda one: one[0])
            try:
                return self._jobs.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except queue.Empty:
                assert due is not None and job is not None
                self._later.remove((due, job))
                return job

    def tell(self, fault: str) -> None:
        """Count a fault, and have it told."""
        self.faults += 1
        self._alert(f"{self._thread.name}: {fault}")


def write_what_fits(reserve: Reserve, records: list[Record]) -> list[Receipt]:
    """As much as fits: of calls that were not recorded, rather those that came first; returns the others.

    Raises ReserveFull where there is no room for the rest, OSError.
    """
    spare = [one for one in records if isinstance(one, Receipt) and one.recording_id is None]
    needed = [one for one in records if not isinstance(one, Receipt) or one.recording_id is not None]
    fits = len(spare)
    while True:
        try:
            reserve.write([*needed, *spare[:fits]])
        except ReserveFull:
            if not fits:
                raise
            fits //= 2
        else:
            return spare[fits:]


def why_reserve_took_nothing(fault: OSError | ReserveFull) -> str:
    """Why it took nothing."""
    return "it has no room" if isinstance(fault, ReserveFull) else fault.strerror or str(fault)


RETRY_S = 1.0  # between two attempts
WITHOUT_S = 15.0  # that a row is waited for where there is no reserve
SECURE_S = 1.0  # that something may wait in memory alone
JOIN_S = 0.5  # of it, for what else is to be written of the call
WAITING = 1000  # receipts in memory; those of calls that were recorded have as much room again
COUNTED_S = 60.0  # after which a sum is due

log = structlog.get_logger(__name__)


class RowWriter:
    """`alert` is called on its threads. Any thread may put; none waits here but in `secure`."""

    def __init__(self, store: Rows, reserve: Reserve | None, alert: Callable[[str], None]) -> None:
        self.faults = 0
        self.lost = 0  # receipts, since the start
        self._store = store
        self._reserve = reserve
        self._alert = alert
        self._changed = threading.Condition()  # guards all that follows
        self._tasks: dict[int, Task] = {}
        self._numbers = itertools.count()
        self._receipts: dict[str, Receipt] = {}
        self._recordings: dict[str, Recording] = {}  # their rows, `open`, are yet to be written
        self.rejected = PendingRejections()
        self._lost: CallSpan | None = None  # not yet told
        self._version = 0
        self._failing = False
        self._told: set[str] = set()
        self._over = False
        self._disk = threading.Lock()  # held while the reserve is written; taken before the other
        self._secured = 0  # the version that the reserve has
        self._left_out: list[Receipt] = []  # that had no room in it
        self._writer = threading.Thread(target=self._write_on, name="rows")
        self._keeper = threading.Thread(target=self._secure_on, name="reserve")

    @property
    def waiting(self) -> int:
        """Receipts that the database does not have yet."""
        return len(self._receipts)

    def start(self) -> None:
        """Begin, with an allocated reserve; if that fails, log it and begin without."""
        if self._reserve is not None:
            try:
                self._reserve.allocate()
            except OSError as fault:
                self._tell(f"{self._reserve.path.name} cannot be allocated: {fault.strerror}")
                self._reserve = None
        self._writer.start()
        self._keeper.start()

    def stop(self) -> None:
        """Write what can be written, have the rest in the reserve, then end."""
        self.secure()
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._writer.join()
        self._keeper.join()
        self._give_up()
        if self._reserve is not None:
            self._reserve.close()

    def _give_up(self) -> None:
        """A row for which the reserve has no room is lost with this process."""
        count = 0
        while not self.secure() or self._left_out:
            with self._changed:
                lost = self._left_out or list(self._receipts.values())
                for receipt in lost:
                    del self._receipts[receipt.id]
                    self._lose(CallSpan(1, receipt.started_at, receipt.ended_at or receipt.started_at))
                self._left_out = []
                self._version += 1
            count += len(lost)
            if not lost:
                break
        if count:
            self._tell(f"{counted(count, 'receipt')} could not be kept")
        if not self.secure() and (rejected := sum(one.count for one in self.rejected.all())):
            self._tell(f"{counted(rejected, 'rejected call')} could not be written down")

    # --- any thread ---

    def keep_receipt(self, receipt: Receipt, *, may_wait: bool = False) -> None:
        """Write this state of it, unless a newer one comes before that; `may_wait`: where it allows."""
        with self._changed:
            if self._has_room(receipt):
                self._receipts[receipt.id] = receipt
                wait_s = JOIN_S if may_wait and receipt.decision == "allowed" else 0.0
                self._put(receipt.id, partial(self._write_receipt, receipt.id), wait_s)
            elif receipt.ended_at is not None:
                self._tell_once("there is no room for more receipts: those of further calls are lost")
                self._lose(CallSpan(1, receipt.started_at, receipt.ended_at))

    def keep_rejected(self, receipt: Receipt) -> None:
        """The call was rejected: a receipt, or one more in a sum."""
        self.rejected.keep(receipt)
        self.look()

    def look(self) -> None:
        """Something is new in `rejected`."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def open(self, recording: Recording, job: Job) -> Task:
        """Write the row of a recording that begins, by `job`; until then it is among what waits."""
        with self._changed:
            self._recordings[recording.id] = recording
            return self._put(recording.id, partial(self._open, recording.id, job), joins=True)

    def put(self, id: str, job: Job) -> Task:
        """Do something about a call in the database, after what was put before about it."""
        with self._changed:
            return self._put(id, job)

    def join(self, id: str, job: Job) -> Task:
        """Do it in one transaction with the receipt that waits, if one does."""
        with self._changed:
            return self._put(id, partial(self._write_receipt, id, job), joins=True)

    def is_durable(self, task: Task, patience_s: float) -> bool:
        """Whether a row is written within that time, counted from when the oldest of all began to wait.

        If not, it is in the reserve when this returns; false where that has no room either. Without a reserve
        there is nothing but to wait for longer.
        """
        if self._reserve is None:
            return task.done.wait(WITHOUT_S)
        with self._changed:
            since = min((one.since for one in self._tasks.values()), default=task.since)
        return task.done.wait(max(0.0, since + patience_s - time.monotonic())) or self.secure()

    def secure(self) -> bool:
        """Have all that waits in the reserve; whether it is."""
        if self._reserve is None:
            with self._changed:
                return not self._records()
        with self._disk:
            with self._changed:
                version, records = self._version, self._records()
            if not records or version == self._secured:
                return True
            try:
                self._left_out = write_what_fits(self._reserve, records)
            except (OSError, ReserveFull) as fault:
                self._tell_once(f"the reserve takes nothing: {why_reserve_took_nothing(fault)}")
                return False
            self._secured = version
            return True

    # --- the thread `rows` ---

    def _write_on(self) -> None:
        while True:
            with self._changed:
                while not (self._over or self._due()):
                    self._changed.wait(self._patience_s())
                over = self._over
            if self.turn(over):
                self._settle()
                if over:
                    return
            elif over:
                return
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._over, RETRY_S)

    def turn(self, over: bool = False) -> bool:
        """Do all that there is to do, each call's in its order; false where something waits on."""
        stuck: set[str] = set()
        with self._changed:
            tasks = self._ready(over)
        for number, task in tasks:
            if task.id in stuck:
                continue
            try:
                self._do(task.job)
            except TryAgain as fault:
                self._fails(fault)
                if isinstance(fault, Busy):
                    return False
                stuck.add(task.id)
                continue
            except MustGo as fault:  # it was refused meanwhile
                task.fault = fault
            except FAULTS as fault:
                task.fault = fault
                self._tell(str(fault))
            except Exception as fault:  # noqa: BLE001 - a thread that died would write no more
                task.fault = fault
                self._tell(f"{fault!r}, which nobody foresaw")
            with self._changed:
                del self._tasks[number]
                self._version += 1
            task.done.set()
        return not stuck and self._count(over)

    def _count(self, over: bool) -> bool:
        """Write what was rejected, and how many receipts were lost."""
        now = datetime.now(UTC)
        try:
            while self.rejected.due(now, over=over):
                self._do(lambda: self.rejected.write(self._store, now, over=over))
                with self._changed:
                    self._version += 1
            self._tell_lost()
        except TryAgain as fault:
            self._fails(fault)
            return False
        except StoreError as fault:
            self._tell_once(str(fault))
            return False
        return True

    def _tell_lost(self) -> None:
        with self._changed:
            lost, self._lost = self._lost, None
        if lost is None:
            return
        try:
            self._do(lambda: self._store.add_sum(_lost(lost)))
        except StoreError:
            with self._changed:
                self._lost = lost if self._lost is None else self._lost + lost
            raise

    def _do(self, job: Callable[[], object]) -> None:
        """Done, too, if only the head could not be written, which is logged."""
        try:
            job()
        except HeadNotWritten as fault:
            self._tell(str(fault))

    def _settle(self) -> None:
        """All is written."""
        self._told.clear()
        if self._failing:
            self._failing = False
            log.info("written", detail="what had waited for the database")
        if self._reserve is None:
            return
        with self._disk:
            with self._changed:
                waits = bool(self._records())
            if not waits and not self._reserve.is_empty:
                try:
                    self._reserve.empty()
                except OSError as fault:
                    self._tell(f"the reserve cannot be emptied: {fault.strerror}")

    def _fails(self, fault: TryAgain) -> None:
        """Told once, until it goes well again."""
        if not self._failing:
            self._failing = True
            self._tell(f"{fault}; what is to be written waits")
        with self._changed:
            self._changed.notify_all()

    def _write_receipt(self, id: str, job: Job | None = None) -> None:
        """The waiting states of a receipt, and the job that joins them; the receipt also if that fails for
        good."""
        with self._changed:
            receipt = self._receipts.get(id)
            joined = any(task.joins and task.id == id for task in self._tasks.values())
        if receipt is None and job is not None:
            job()
        if receipt is None or (joined and job is None):  # a later one took its turn, or a job takes it along
            return
        over = False
        faults: list[Exception] = []
        try:
            self._do(lambda: self._write_both(receipt, job, faults))
            over = True
        except StoreError as wrong:
            if over := not isinstance(wrong, TryAgain):
                with self._changed:
                    self._lose(CallSpan(1, receipt.started_at, receipt.ended_at or receipt.started_at))
            raise
        finally:
            with self._changed:
                if over and self._receipts.get(id) is receipt:
                    del self._receipts[id]
        for fault in faults:
            raise fault

    def _write_both(self, receipt: Receipt, job: Job | None, faults: list[Exception]) -> None:
        with self._store.write():
            self._store.keep_receipt(receipt)
            try:
                if job is not None:
                    job()
            except FAULTS as fault:
                if isinstance(fault, TryAgain):
                    raise
                faults.append(fault)

    def _open(self, id: str, job: Job) -> None:
        waits = False
        try:
            self._write_receipt(id, job)
        except TryAgain:
            waits = True
            raise
        finally:
            if not waits:
                with self._changed:
                    self._recordings.pop(id, None)

    # --- the thread `reserve` ---

    def _secure_on(self) -> None:
        while self._reserve is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._over or bool(self._records()))
                if self._over or self._changed.wait_for(lambda: self._over, SECURE_S):
                    return
                late = time.monotonic() - SECURE_S
                waits = any(task.since < late for task in self._tasks.values())
            if waits or self._failing:
                self.secure()

    # --- steps, under the lock ---

    def _put(self, id: str, job: Job, wait_s: float = 0.0, *, joins: bool = False) -> Task:
        now = time.monotonic()
        task = Task(id, job, now, now + wait_s, joins)
        self._tasks[next(self._numbers)] = task
        self._version += 1
        self._changed.notify_all()
        return task

    def _ready(self, over: bool = False) -> list[tuple[int, Task]]:
        """All tasks of the calls of which one is due, by number."""
        now = time.monotonic()
        due = {task.id for task in self._tasks.values() if over or task.due <= now}
        return [(number, task) for number, task in self._tasks.items() if task.id in due]

    def _due(self) -> bool:
        return bool(self._ready()) or self._lost is not None or self.rejected.due(datetime.now(UTC))

    def _patience_s(self) -> float | None:
        """Until somebody says something, a task has waited for others, or what is counted is due."""
        waits = [task.due - time.monotonic() for task in self._tasks.values()]
        return min([*waits, *([COUNTED_S] if self.rejected.counts else [])], default=None)

    def _has_room(self, receipt: Receipt) -> bool:
        most = WAITING if receipt.recording_id is None else 2 * WAITING
        return receipt.id in self._receipts or len(self._receipts) < most

    def _lose(self, span: CallSpan) -> None:
        self.lost += span.count
        self._lost = span if self._lost is None else self._lost + span

    def _records(self) -> list[Record]:
        counts = [*self.rejected.all(), *([_lost(self._lost)] if self._lost else [])]
        return [*counts, *self._receipts.values(), *self._recordings.values()]

    def _tell_once(self, fault: str) -> None:
        """Until all is written again."""
        if fault not in self._told:
            self._told.add(fault)
            self._tell(fault)

    def _tell(self, fault: str) -> None:
        self.faults += 1
        self._alert(f"rows: {fault}")


def _lost(span: CallSpan) -> Sum:
    return Sum(what=LOST, count=span.count, from_at=span.first, until_at=span.last)

"""Jobs, and a thread that does them in order; whatever one fails of is told, and the next one is done."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from media.recording.assemble import AssemblyError
from media.recording.tap import TapError
from retention.archive.archive import ArchiveError
from retention.rows.store import StoreError
from retention.storage.keys import KeysError

FAULTS = (OSError, StoreError, ArchiveError, KeysError, TapError, AssemblyError)

Job = Callable[[], None]


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

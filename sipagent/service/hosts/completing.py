"""Does for hosts that are lost what they cannot do themselves, and for this one what others have decided.

The thread `lost`: calls of a host whose lease has ended get their receipts, its recordings are closed or
erased. And where another host took this one for lost, what it erased is erased here, what it holds is held.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from retention.archive.archive import Archive, ArchiveError
from retention.archive.erasure import allows, finish
from retention.journal.hosts import RENEWALS
from retention.journal.lost import ONLY, Completed, LostHosts
from retention.journal.shipping import Sent
from retention.objects.gathering import forget_gathered
from retention.objects.object_files import ObjectFiles
from retention.recording import Status
from retention.rows.faults import TryAgain
from retention.rows.store import StoreError, UnknownId
from retention.storage.marks import Mark
from sipagent.agent.recorder.reached import ReachedRecordings
from sipagent.agent.recorder.stored import archive_of, journal_of, shared_of
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables.cluster import LEASE_S
from sipagent.service.hosts.shipping import SILENT_S, Shipping

if TYPE_CHECKING:
    from retention.postgres.store import SharedStore

FAULTS = (OSError, StoreError, ArchiveError, ConfigError)
AGAIN_S = 60.0  # after which what failed is told again

log = structlog.get_logger(__name__)


class Completing:
    """The thread `lost`. `alert` is called on it."""

    def __init__(self, config: Config, alert: Callable[[str], None]) -> None:
        self._config = config
        self._alert = alert
        self._host = config.host or ONLY
        self._lease_s = LEASE_S if config.cluster is None else config.cluster.lease_s
        self._every_s = self._lease_s / RENEWALS
        self._answers_since: float | None = None  # monotonic s
        self._answered_at = 0.0
        self._shared: SharedStore | None = None
        self._told: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        self._failed: dict[str, float] = {}
        self._over = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lost", daemon=True)

    def start(self) -> None:
        """Look now, and again several times in a lease."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait for what it is at; not for a database that stands still: all may be repeated."""
        self._over.set()
        self._due.set()
        self._thread.join(SILENT_S)
        if self._shared is not None and not self._thread.is_alive():
            self._shared.close()

    def heed(self, sent: Sent) -> None:
        """Do to the files of this host what others have decided; from any thread."""
        self._told.put(sent)
        self._due.set()

    # --- the thread ---

    def _run(self) -> None:
        while not self._over.is_set():
            self._try(self._turn)
            self._due.wait(self._every_s)
            self._due.clear()  # before `_over` is looked at: `stop` sets it first

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except TryAgain:
            self._answers_since = None
            return  # `shipping` tells of it
        except FAULTS as fault:
            self._fails("lost hosts", str(fault))
        except Exception as fault:  # noqa: BLE001 - a thread that died would look after no host
            self._fails("lost hosts", f"{fault!r}, which nobody foresaw")

    def _turn(self) -> None:
        shared = self._connected()
        while not self._told.empty():
            self._obey(shared, self._told.get())
        if not self._could_renew(shared):
            return
        archive = archive_of(self._config, shared)
        objects = archive.files if isinstance(archive.files, ObjectFiles) else None
        gather = _nothing if objects is None else objects.gather
        reached = ReachedRecordings(archive, self._config.recording.format, gather)
        for done in LostHosts(shared, reached, self._host, self._fails).complete():
            self._tell(done)
            for id in done.closed:
                self._file(archive, id)
        if objects is not None:
            forget_gathered(objects.local, self._config.host, shared.states)
        self._answered_at = time.monotonic()

    def _could_renew(self, shared: "SharedStore") -> bool:
        """Whether the database has answered for a whole lease: else the others could not renew theirs."""
        shared.now()
        before, self._answered_at = self._answered_at, time.monotonic()
        if self._answers_since is None or self._answered_at - before > self._lease_s / 2:
            self._answers_since = self._answered_at
        return self._answered_at - self._answers_since >= self._lease_s

    def _connected(self) -> "SharedStore":
        if self._shared is None:
            self._shared = shared_of(self._config)
        return self._shared

    def _tell(self, done: Completed) -> None:
        if done.receipts or done.closed or done.erased:
            kept = {"receipts": len(done.receipts), "closed": len(done.closed), "erased": len(done.erased)}
            log.warning("host_lost", host=done.host, **kept)
        for id, reason in done.failed:
            self._fails(id, reason)

    def _file(self, archive: Archive, id: str) -> None:
        """Write the metadata beside a recording that was closed."""
        try:
            row = archive.store.recording(id)
            if row.status is Status.CLOSED:
                archive.change(row)
        except FAULTS as fault:
            self._fails(id, str(fault))

    def _obey(self, shared: "SharedStore", sent: Sent) -> None:
        """Again is no error: what fails is found by its rows, or by its mark."""
        of_all = archive_of(self._config, shared)
        for id in sent.held:
            of_all.files.hold(id, held=True)
        receipts = shared.some_receipts(sent.gone)
        with journal_of(self._config) as journal:
            archive = archive_of(self._config, journal)
            now = datetime.now(UTC)
            for id in sent.gone:
                receipt = receipts.get(id)
                if receipt is None or allows(receipt):  # purged, or deleted by a person
                    for error in archive.remove([id]).values():
                        self._fails(id, str(error))
                    continue
                mark = Mark.of(receipt, now)
                archive.marks.sync(archive.marks.make(mark))
                try:
                    finish(archive, id, now, mark)
                except UnknownId:  # its rows have left the journal
                    archive.marks.remove(id)
                log.info("erased", id=id, detail="another host had been told to")

    def _fails(self, name: str, fault: str) -> None:
        now = time.monotonic()
        if now - self._failed.get(name, -AGAIN_S) >= AGAIN_S:
            self._failed[name] = now
            self._alert(f"{name}: {fault}")


def _nothing(id: str) -> bool:
    """Files of another machine cannot be reached."""
    return False


@contextmanager
def among_hosts(config: Config, alert: Callable[[str], None]) -> Iterator[Shipping | None]:
    """Where hosts share a database: ship what is written here, and look after the others."""
    if config.shared is None:
        yield None
        return
    with ExitStack() as stack:
        completing = Completing(config, alert)
        shipping = Shipping(config, alert, completing.heed)
        completing.start()
        stack.callback(completing.stop)
        shipping.start()
        stack.callback(shipping.stop)
        yield shipping

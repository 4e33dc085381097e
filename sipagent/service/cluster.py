"""This host among others that share a database: the operators' board, shipping, and lost hosts' calls.

`HostBoard`: the board of this host, its own or the one that all hosts share. It has something to
start, stop and report only if `cluster` names this host.

`Shipping` copies the rows of this host's calls to the database that hosts share, and renews the host's lease
there. The thread `shipping` is woken by each writer (`wakes`), waits a moment for rows that belong together,
and ships them. While the database is away, all waits in the journal: no call waits for it.

`Completing` finishes the calls of lost hosts, and obeys here what others have decided. The thread `lost`
writes the receipts of a host whose lease has ended, and closes or erases its recordings. If another host
took this one for lost, recordings that it erased are erased here, and those it holds are held.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import structlog

from retention import shortfall
from retention.archive import Archive
from retention.erase import allows, erase, erase_files
from retention.journal import BATCH, Journal
from retention.marks import ArchiveError, Mark
from retention.objects.object_files import ObjectFiles, forget_gathered
from retention.records import Status
from retention.rows.rows import StoreError, TryAgain, UnknownId
from retention.shipping import ONLY, RENEWALS, Completed, LostHosts, Presence, Sent, Shipper
from sipagent import __version__
from sipagent.agent.operators import LocalBoardClient
from sipagent.agent.recorder import ReachedRecordings
from sipagent.agent.stored import archive_of, journal_of, shared_of
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables import LEASE_S
from sipagent.logs import alert
from sipagent.service.control import Alarms, attempt

if TYPE_CHECKING:
    from retention.postgres.database import SharedStore
    from sipagent.agent.shared_board import BoardThread, SharedBoardClient


class HostBoard:
    """`client` belongs to the thread that asks. Used as a context, in which it is shared."""

    def __init__(self, config: Config, own: LocalBoardClient) -> None:
        """Raises ConfigError: the database's password cannot be read."""
        self._thread: BoardThread | None = None
        self._shared: SharedBoardClient | None = None
        if made := _shared(config, own):
            self._thread, self._shared = made
        self.client: LocalBoardClient | SharedBoardClient = self._shared or own

    def wake(self, heard: Callable[[], None]) -> None:
        """Have `heard` called when the client has to look; it must not wait."""
        if self._thread:
            self._thread.woken = heard

    def __enter__(self) -> Self:
        """Begin to share it, where it is shared."""
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take leave: what is still this host's own is free for the others."""
        if self._thread:
            self._thread.stop()

    @property
    def shared(self) -> bool | None:
        """Whether all hosts have one board just now; None where there is one host. Any thread."""
        return None if self._shared is None else not self._shared.alone

    @property
    def losses(self) -> int:
        """How often the shared one did not answer. Any thread."""
        return 0 if self._shared is None else self._shared.losses

    def lacks(self) -> list[str]:
        """The missing parts, in words of a status."""
        return ["the shared board of operators is away"] if self.shared is False else []


def _shared(config: Config, own: LocalBoardClient) -> "tuple[BoardThread, SharedBoardClient] | None":
    """The way to the board of all hosts; None where there is one host."""
    if config.shared is None or config.cluster is None:
        return None
    # slow to import, and for several hosts alone
    from retention.postgres.board_rows import BoardRows
    from sipagent.agent.shared_board import BoardThread, SharedBoardClient

    url, password, cluster = config.shared, config.shared_password(), config.cluster
    thread = BoardThread(lambda: BoardRows(url, password))
    now = time.monotonic()
    return thread, SharedBoardClient(own, cluster.host, cluster.lease_s, thread, now=now, alert=alert)


GATHER_S = 0.25  # that a call's next rows are waited for: most of them come together
CONNECT_AGAIN_S = (1.0, 5.0)  # after which a database that was away is asked again, doubling between them
END_S = 5.0  # that what waits may take at the end
SILENT_S = 15.0  # without an answer: the database stands still
LATE_S = 60.0  # of lag, or
FULL = 0.5  # of the journal: an alarm
SHIPPING_FAULTS = (StoreError, ConfigError, OSError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingFigures:
    """Whether the shared database answers; how many rows wait, the first for how long; which part of what it
    may take the journal takes; the others have been counted since the start."""

    shared_database_up: bool = False
    journal_rows_waiting: int = 0
    journal_lag_seconds: float = 0.0
    journal_used_ratio: float = 0.0
    shipped: int = 0
    shipping_failures: int = 0


class Shipping:
    """The thread `shipping`. It calls `alert`, `presence`, and `after` with the effects of others' changes on
    this host's files."""

    def __init__(
        self,
        config: Config,
        alert: Callable[[str], None],
        after: Callable[[Sent], None],
    ) -> None:
        """Raises StoreError: there can be no journal."""
        self.presence: Callable[[], Presence] = Presence
        self._seen = ShippingFigures()
        self._asked: float | None = None  # since when an answer of the database is waited for
        self._config = config
        self._alarms = Alarms(alert)
        self._after = after
        self._lease_s = LEASE_S if config.cluster is None else config.cluster.lease_s
        self._host = config.host or ONLY
        journal = journal_of(config)
        assert isinstance(journal, Journal) and journal.wakes is not None
        self._journal, self._wakes = journal, journal.wakes
        self._shared: SharedStore | None = None
        self._shipper: Shipper | None = None
        self._renews_at = 0.0
        self._again_s = 0.0  # after a failed attempt
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)

    @property
    def figures(self) -> ShippingFigures:
        """The latest state; a database that makes us wait is not up. Any thread."""
        asked = self._asked
        silent = asked is not None and time.monotonic() - asked > SILENT_S
        return replace(self._seen, shared_database_up=False) if silent else self._seen

    def start(self) -> None:
        """Ship now, and whenever something is written."""
        self._thread.start()

    def stop(self) -> None:
        """Ship the rest, if that is possible now, and say that the host has ended.

        A database that stands still is not waited for: what waits stays in the journal.
        """
        self._over.set()
        self._wakes.tell()
        self._thread.join(END_S + SILENT_S)
        if self._thread.is_alive():
            log.warning("left_in_the_journal", rows=self.figures.journal_rows_waiting)
            return
        if self._shared is not None:
            self._shared.close()
        self._journal.close()

    # --- the thread ---

    def _run(self) -> None:
        while not self._over.is_set():
            self._try(self._turn)
            wait_s = self._again_s or max(0.0, self._renews_at - time.monotonic())
            if self._wakes.wait(wait_s) and not self._over.is_set():
                self._over.wait(max(GATHER_S, self._again_s))
        self._try(self._leave)

    def _try(self, step: Callable[[], None]) -> None:
        self._asked = time.monotonic()
        if attempt(step, SHIPPING_FAULTS, self._fails):
            self._goes_well()
        self._asked = None
        self._look()

    def _turn(self) -> None:
        shipper = self._connected()
        while not self._over.is_set() and (sent := shipper.ship(self.presence())) is not None:
            self._heed(sent)
            if 0 < sent.entries < BATCH:
                break  # rows written meanwhile go along
            self._look()
        if time.monotonic() >= self._renews_at:
            self._heed(shipper.renew(self.presence()))
            self._renews_at = time.monotonic() + self._lease_s / RENEWALS

    def _leave(self) -> None:
        shipper, until = self._connected(), time.monotonic() + END_S
        while time.monotonic() < until and (sent := shipper.ship(self.presence())) is not None:
            self._heed(sent)
        if not shipper.leave():
            self._look()
            log.warning("left_in_the_journal", rows=self._seen.journal_rows_waiting)

    def _connected(self) -> Shipper:
        if self._shipper is None:
            self._shared = shared_of(self._config)
            self._shipper = Shipper(self._journal, self._shared, self._host, __version__, self._lease_s)
        return self._shipper

    def _heed(self, sent: Sent) -> None:
        self._asked = time.monotonic()
        self._seen = replace(self._seen, shipped=self._seen.shipped + sent.rows)
        for name, problem in sent.damaged:
            self._alarms.tell(f"{name} stays in the journal, for it cannot be read: {problem}")
        if sent.missing:
            self._alarms.tell(
                f"an older state of the shared database came back: {sent.missing} entries of this host are "
                "not in it any more; see `sipagent verify`"
            )
        if sent.gone or sent.held:
            self._after(sent)

    # --- how it goes ---

    def _fails(self, fault: str) -> None:
        first, most = CONNECT_AGAIN_S
        self._again_s = min(2 * self._again_s, most) if self._again_s else first
        failures = self._seen.shipping_failures + 1
        self._seen = replace(self._seen, shared_database_up=False, shipping_failures=failures)
        self._alarms.tell(f"{fault}; what calls write waits in the journal", name="away")

    def _goes_well(self) -> None:
        if self._again_s:
            log.info("shared_database_back", detail="what had waited in the journal is there")
        self._again_s = 0.0
        self._alarms.end("away")
        self._seen = replace(self._seen, shared_database_up=True)

    def _look(self) -> None:
        """How much waits, and whether that is worth an alarm."""
        try:
            lag, used = self._journal.lag(), self._journal.used()
        except StoreError as fault:
            self._alarms.tell(f"the journal: {fault}", name="journal")
            return
        lag_s = lag.seconds(datetime.now(UTC))
        self._seen = replace(
            self._seen,
            journal_rows_waiting=lag.rows,
            journal_lag_seconds=lag_s,
            journal_used_ratio=used,
        )
        if lag_s > LATE_S:
            self._alarms.tell(f"the journal is {lag_s:.0f} s behind: {lag.rows} rows wait in it", name="late")
        if used > FULL:
            self._alarms.tell(
                f"the journal is full to {used:.0%}: beyond that no row can be kept", name="full"
            )


COMPLETING_FAULTS = (OSError, StoreError, ArchiveError, ConfigError)
TELL_AGAIN_S = 60.0  # after which a failure is logged again


class Completing:
    """The thread `lost`. `alert` is called on it."""

    def __init__(self, config: Config, alert: Callable[[str], None]) -> None:
        self._config = config
        self._alarms = Alarms(alert, TELL_AGAIN_S)
        self._host = config.host or ONLY
        self._lease_s = LEASE_S if config.cluster is None else config.cluster.lease_s
        self._every_s = self._lease_s / RENEWALS
        self._answers_since: float | None = None  # monotonic s
        self._answered_at = 0.0
        self._shared: SharedStore | None = None
        self._told: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        self._over = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lost", daemon=True)

    def start(self) -> None:
        """Look now, and again several times in a lease."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it once its present job is done; do not wait for a database that hangs: all may be
        repeated."""
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
            attempt(self._turn_unless_away, COMPLETING_FAULTS, partial(self._fails, "lost hosts"))
            self._due.wait(self._every_s)
            self._due.clear()  # before `_over` is looked at: `stop` sets it first

    def _turn_unless_away(self) -> None:
        try:
            self._turn()
        except TryAgain:
            self._answers_since = None  # `shipping` logs it

    def _turn(self) -> None:
        shared = self._connected()
        while not self._told.empty():
            self._obey(shared, self._told.get())
        if not self._could_renew(shared):
            return
        archive = archive_of(self._config, shared)
        objects = archive.files if isinstance(archive.files, ObjectFiles) else None
        # files of another machine cannot be reached
        gather = (lambda id: False) if objects is None else objects.gather
        reached = ReachedRecordings(archive, self._config.recording.format, gather)
        for done in LostHosts(shared, reached, self._host, self._fails).complete():
            self._tell(done)
            for id, receipt in shared.some_receipts([*{*done.receipts, *done.closed}]).items():
                if why := receipt.not_recorded_because:
                    log.error("alert", call=id, reason=shortfall.told(why))
            for id in done.closed:
                self._file(archive, id)
        if objects is not None:
            forget_gathered(objects.spool, self._config.host, shared.states)
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
        except COMPLETING_FAULTS as fault:
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
                    for error in erase_files(archive, [id]).values():
                        self._fails(id, str(error))
                    continue
                mark = Mark.of(receipt, now)
                archive.marks.sync(archive.marks.make(mark))
                try:
                    erase(archive, id, now, mark)
                except UnknownId:  # its rows have left the journal
                    archive.marks.remove(id)
                log.info("erased", id=id, detail="another host had been told to")

    def _fails(self, name: str, fault: str) -> None:
        self._alarms.tell(f"{name}: {fault}", name=name)


@contextmanager
def among_hosts(config: Config, alert: Callable[[str], None]) -> Iterator[Shipping | None]:
    """If hosts share a database: ship the rows written here, and look after the others."""
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

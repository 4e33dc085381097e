"""Takes what the calls of this host write to the database that hosts share, and says there that it lives.

The thread `shipping` waits for a word of whoever writes (`wakes`), lets what belongs together come together,
ships it, and renews the lease. Where the database is away, all waits in the journal: no call waits for it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from retention.journal.hosts import RENEWALS
from retention.journal.journal import BATCH, Journal
from retention.journal.lost import ONLY
from retention.journal.shipping import Presence, Sent, Shipper
from retention.rows.store import StoreError
from sipagent import __version__
from sipagent.agent.recorder.stored import journal_of, shared_of
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables.cluster import LEASE_S

if TYPE_CHECKING:
    from retention.postgres.store import SharedStore

GATHER_S = 0.25  # that a call's next rows are waited for: most of them come together
AGAIN_S = (1.0, 5.0)  # after which a database that was away is asked again, doubling between them
END_S = 5.0  # that what waits may take at the end
SILENT_S = 15.0  # without an answer: the database stands still
LATE_S = 60.0  # of lag, or
FULL = 0.5  # of the journal: an alarm
EVERY_S = 3600.0  # and again
FAULTS = (StoreError, ConfigError, OSError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingFigures:
    """`up`: whether the shared database answers; `rows` wait, the first for `lag_s`; `used`: which part of
    what it may take the journal takes; the others have been counted since the start."""

    up: bool = False
    rows: int = 0
    lag_s: float = 0.0
    used: float = 0.0
    shipped: int = 0
    failures: int = 0


class Shipping:
    """The thread `shipping`. `alert` and `after`, which is told what others' changes mean for this host's
    files, are called on it; so is `presence`."""

    def __init__(
        self,
        config: Config,
        alert: Callable[[str], None],
        after: Callable[[Sent], None] = lambda sent: None,
        presence: Callable[[], Presence] = Presence,
    ) -> None:
        self.presence = presence
        self._seen = ShippingFigures()
        self._asked: float | None = None  # since when an answer of the database is waited for
        self._config = config
        self._alert = alert
        self._after = after
        self._lease_s = LEASE_S if config.cluster is None else config.cluster.lease_s
        self._host = config.host or ONLY
        self._journal: Journal | None = None
        self._shared: SharedStore | None = None
        self._shipper: Shipper | None = None
        self._renews_at = 0.0
        self._again_s = 0.0  # where the last attempt failed
        self._told: dict[str, float] = {}  # alarms, and when
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)

    @property
    def figures(self) -> ShippingFigures:
        """What was seen last; a database that lets one wait is not up. Any thread."""
        asked = self._asked
        silent = asked is not None and time.monotonic() - asked > SILENT_S
        return replace(self._seen, up=False) if silent else self._seen

    def start(self) -> None:
        """Ship now, and whenever something is written. Raises StoreError: there can be no journal."""
        journal = journal_of(self._config)
        assert isinstance(journal, Journal)
        self._journal = journal
        self._thread.start()

    def stop(self) -> None:
        """Ship the rest, if that is possible now, and say that the host has ended.

        A database that stands still is not waited for: what waits stays in the journal.
        """
        assert self._journal is not None and self._journal.wakes is not None
        self._over.set()
        self._journal.wakes.tell()
        self._thread.join(END_S + SILENT_S)
        if self._thread.is_alive():
            log.warning("left_in_the_journal", rows=self.figures.rows)
            return
        if self._shared is not None:
            self._shared.close()
        self._journal.close()

    # --- the thread ---

    def _run(self) -> None:
        assert self._journal is not None and self._journal.wakes is not None
        while not self._over.is_set():
            self._try(self._turn)
            wait_s = self._again_s or max(0.0, self._renews_at - time.monotonic())
            if self._journal.wakes.wait(wait_s) and not self._over.is_set():
                self._over.wait(max(GATHER_S, self._again_s))
        self._try(self._leave)

    def _try(self, step: Callable[[], None]) -> None:
        self._asked = time.monotonic()
        try:
            step()
        except FAULTS as fault:
            self._fails(str(fault))
        except Exception as fault:  # noqa: BLE001 - a thread that died would ship no more
            self._fails(f"{fault!r}, which nobody foresaw")
        else:
            self._goes_well()
        self._asked = None
        self._look()

    def _turn(self) -> None:
        shipper = self._connected()
        while not self._over.is_set() and (sent := shipper.ship(self.presence())) is not None:
            self._heed(sent)
            if 0 < sent.entries < BATCH:
                break  # what is written meanwhile comes together first
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
            log.warning("left_in_the_journal", rows=self._seen.rows)

    def _connected(self) -> Shipper:
        if self._shipper is None:
            assert self._journal is not None
            self._shared = shared_of(self._config)
            self._shipper = Shipper(self._journal, self._shared, self._host, __version__, self._lease_s)
        return self._shipper

    def _heed(self, sent: Sent) -> None:
        self._asked = time.monotonic()
        self._seen = replace(self._seen, shipped=self._seen.shipped + sent.rows)
        for name, problem in sent.damaged:
            self._tell(f"{name} stays in the journal, for it cannot be read: {problem}")
        if sent.missing:
            self._tell(
                f"an older state of the shared database came back: {sent.missing} entries of this host are "
                "not in it any more; see `sipagent verify`"
            )
        if sent.gone or sent.held:
            self._after(sent)

    # --- how it goes ---

    def _fails(self, fault: str) -> None:
        first, most = AGAIN_S
        self._again_s = min(2 * self._again_s, most) if self._again_s else first
        self._seen = replace(self._seen, up=False, failures=self._seen.failures + 1)
        self._tell(f"{fault}; what calls write waits in the journal", name="away")

    def _goes_well(self) -> None:
        if self._again_s:
            log.info("shared_database_back", detail="what had waited in the journal is there")
        self._again_s = 0.0
        self._told.pop("away", None)
        self._seen = replace(self._seen, up=True)

    def _look(self) -> None:
        """How much waits, and whether that is worth an alarm."""
        assert self._journal is not None
        try:
            lag, used = self._journal.lag(), self._journal.used()
        except StoreError as fault:
            self._tell(f"the journal: {fault}", name="journal")
            return
        lag_s = lag.seconds(datetime.now(UTC))
        self._seen = replace(self._seen, rows=lag.rows, lag_s=lag_s, used=used)
        if lag_s > LATE_S:
            self._tell(f"the journal is {lag_s:.0f} s behind: {lag.rows} rows wait in it", name="late")
        if used > FULL:
            self._tell(f"the journal is full to {used:.0%}: beyond that no row can be kept", name="full")

    def _tell(self, problem: str, name: str | None = None) -> None:
        """Once, and again every hour."""
        now, name = time.monotonic(), name or problem
        if now - self._told.get(name, -EVERY_S) >= EVERY_S:
            self._told[name] = now
            self._alert(problem)

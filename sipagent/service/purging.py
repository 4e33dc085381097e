"""The automatic purge: at the start of the service, and every hour after that.

Each turn reports obstacles to recording, and checks the clock: with a wrong clock it would remove recordings
that must be kept. Then it purges, writes the root of the day before, reports matters that need a person
(files that should be gone, holds whose review is overdue), and has the chain's head stamped. Every error is
reported, and the next turn tries again.

A recording that should have been erased in its call, and could not be, is tried again every minute, without
looking at the clock.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import structlog

from media.hearing.embedding import HeadError
from retention.clock import ClockReading, look, read_clock, suspended
from retention.holds import reviews_overdue
from retention.marks import ArchiveError
from retention.purge import PurgeReport, ahead_of, erase_pending, overdue, purge
from retention.rebuild import BEGUN_ANEW, is_lost
from retention.roots import RootError, make_root, stamp_roots
from retention.rows.rows import Rows, StoreError, TryAgain
from retention.stamps import StampedElsewhere, StampError, proven, stamp_head
from retention.texts import Reason
from sipagent.agent.admission import obstacles
from sipagent.agent.stored import archive_of, journal_of, store_of, terms_of
from sipagent.config.load import Config
from sipagent.edge.files import forget_old_dialogs
from sipagent.enrol.keeping import expire
from sipagent.service.control import attempt

PURGING = "purge"  # one host at a time does this
EVERY_S = 3600.0
ERASE_S = 60.0
SHARE = 20  # at most one part in this many of the time is spent looking for what must be erased
RESUMES = Reason("once it is right: sipagent purge --clock-ok --by WHO")  # or what confirms the clock does
FAULTS = (OSError, StoreError, ArchiveError, StampError, RootError, HeadError)

log = structlog.get_logger(__name__)


class Purging:
    """The thread `purge`, with its own connection to the store. `alert` is called on it and on `stamp`."""

    def __init__(
        self,
        config: Config,
        alert: Callable[[str], None],
        read_clock: Callable[[], ClockReading] = read_clock,
    ) -> None:
        # failures: of `purge`, with what was not removed; of `erase`, each attempt; of `stamp`, `root`, …
        self.failures: Counter[str] = Counter()
        self.last_success = 0.0  # when a purge last ended, in s since the epoch; 0: none yet
        self._config = config
        self._place = config  # database and directory stay the same until the service restarts
        self._alert = alert
        self._read_clock = read_clock
        self._suspended = False
        self._unerased: dict[str, float] = {}  # files that cannot be removed, and when that was reported
        self._over = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="purge")

    @property
    def config(self) -> Config:
        """The configuration in use now."""
        return self._config

    def start(self) -> None:
        """Purge now, then every hour."""
        self._thread.start()

    def reload(self, config: Config) -> None:
        """Use other terms from now on: a shortened period counts at once."""
        self._config = config
        self._due.set()

    def stop(self) -> None:
        """End it, even in the middle of a long purge: the next start continues it."""
        self._over.set()
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self._do("obstacles", self._tell_obstacles)
            self._do("purge", self._turn)
            self._stamp()
            until = time.monotonic() + EVERY_S
            while (left_s := until - time.monotonic()) > 0 and not self._due.is_set():
                began = time.monotonic()
                self._do("erase", self._erase)
                pause_s = max(ERASE_S, SHARE * (time.monotonic() - began))
                self._due.wait(min(left_s, pause_s))
            self._due.clear()  # before `_over` is looked at: `stop` sets it first

    def _do(self, name: str, step: Callable[[], object]) -> None:
        attempt(step, FAULTS, partial(self._fails, name))

    def _fails(self, name: str, fault: str) -> None:
        self.failures[name] += 1
        self._alert(f"{name}: {fault}")

    def _turn(self) -> None:
        kept = self._config.retention
        terms = terms_of(self._config)
        with store_of(self._place) as store, store.alone(PURGING) as alone:
            reading = self._read_clock()
            archive = archive_of(self._place, store)
            if is_lost(archive):
                self._alert(str(BEGUN_ANEW))
            if not alone:
                log.info("purged_elsewhere", detail="another host is at it")
                if suspended(store, reading, proven(store, kept.timestamp_ca)) is None:
                    self._do("voices", partial(self._forget_voices, reading.wall))  # this host's own
                    self._do("root", partial(make_root, store, reading.wall))
                return
            why = look(store, reading, proven(store, kept.timestamp_ca))
            self._suspended = why is not None
            if why is not None:
                self._alert(f"purging is suspended: {why}; {RESUMES}")
                return
            report = purge(archive, reading.wall, terms, over=self._over.is_set)
            tell(report)
            self.failures["purge"] += len(report.failed)
            for table in forget_old_dialogs(self._place, terms.receipts_period, reading.wall):
                log.info("forgotten", dialogs=str(table))
            self._do("voices", partial(self._forget_voices, reading.wall))
            self._do("root", partial(make_root, store, reading.wall))
            if not self._over.is_set():
                self.last_success = reading.wall.timestamp()
                self._look_after(store, reading.wall)

    def _forget_voices(self, now: datetime) -> None:
        """Of colleagues, and the heads that learnt from them. The log names nobody."""
        config = self._config
        gone = expire(config.voices, config.refusal.heads, now, config.voices_days)
        if gone:
            log.info("forgotten", voices=len(gone))
        for head in sorted({head for one in gone for head in one.heads}):
            self._alert(f"{head} is removed: it learnt from a voice that has expired; train it again")

    def _tell_obstacles(self) -> None:
        for obstacle in obstacles(self._config):
            self._alert(f"no call can be recorded: {obstacle}")

    def _erase(self) -> None:
        """Erase without looking at the clock; what cannot be removed is reported at once, and then every
        hour."""
        failed: list[tuple[str, str]] = []
        with journal_of(self._place) as store:
            archive = archive_of(self._place, store)
            for id in erase_pending(archive, datetime.now(UTC), failed):
                log.info("erased", id=id)
        if self._place.shared is not None:
            with suppress(TryAgain):  # of which `shipping` tells
                self._erase_shared(failed)
        now = time.monotonic()
        self._unerased = {id: at for id, at in self._unerased.items() if id in dict(failed)}
        for id, reason in failed:
            self.failures["erase"] += 1
            if now - self._unerased.get(id, -EVERY_S) >= EVERY_S:
                self._unerased[id] = now
                self._alert(f"{id} must be erased, and is not: {reason}; it is tried again every minute")

    def _erase_shared(self, failed: list[tuple[str, str]]) -> None:
        """Erase the recordings that lost hosts have left to be erased; a living host erases its own, too."""
        with store_of(self._place) as store, store.alone(PURGING) as alone:
            if alone:
                for id in erase_pending(archive_of(self._place, store), datetime.now(UTC), failed):
                    log.info("erased", id=id)

    def _look_after(self, store: Rows, now: datetime) -> None:
        zone = self._config.service.timezone
        if late := overdue(store, now, self._config.retention.period):
            self._alert(f"recordings that should have gone more than a day ago: {late}")
        if early := ahead_of(store, now):
            self._alert(f"recordings that began after now, by a wrong clock, and will stay too long: {early}")
        if late := reviews_overdue(store, now.astimezone(zone).date()):
            self._alert(f"holds whose review is overdue: {late}; see `sipagent holds`")

    def _stamp(self) -> None:
        """Stamp in a thread that is not waited for: a silent authority delays neither the purge nor the
        end."""
        url, ca = self._config.retention.timestamp_url, self._config.retention.timestamp_ca
        if url is None or ca is None or self._over.is_set():
            return
        place = self._place

        def stamp() -> None:
            with store_of(place) as store:
                with suppress(StampedElsewhere):  # so that it is stamped
                    if (made := stamp_head(store, url, ca)) is not None:
                        log.info("stamped", seq=made.seq, at=made.at.isoformat())
                        if self._suspended:  # the stamp may confirm the clock
                            self._due.set()
                stamp_roots(store, url, ca)

        threading.Thread(target=self._do, args=("stamp", stamp), name="stamp", daemon=True).start()


def tell(report: PurgeReport) -> None:
    """Log what was removed, and what a person should look at."""
    for id in report.erased:
        log.info("erased", id=id)
    for removal in report.removed:
        log.info("purged", id=removal.id, why=removal.why)
        for copy in removal.copies:
            log.warning("copy_remains", id=removal.id, path=copy.path)
    for call in report.copies:
        log.warning("copy_remains", id=call.id, path=call.path)
    if report.receipts or report.notes or report.uses:
        log.info("forgotten", receipts=report.receipts, notes=report.notes, uses=report.uses)
    for id, reason in report.failed:
        log.error("purge_failed", id=id, reason=reason)
    for orphan in report.unlinked:
        log.warning("orphan_purged", file=orphan.name, problem=orphan.problem)
    for orphan in report.orphans:
        log.warning("orphan_found", file=orphan.name, problem=orphan.problem)

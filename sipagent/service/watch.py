"""Looks at the store and the disk every minute, for metrics that must answer at once.

A look reads the store in pages, over its own connection: it blocks no one, however many rows there are. If
that takes long, it is done less often.
"""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from retention.archive.erasure import pending
from retention.recording import RecordError, Status
from retention.rows.store import StoreError
from retention.rules import counts
from retention.rules.clock import ClockReading, read_clock, suspended
from retention.rules.hold import reviews_overdue
from retention.rules.purge import overdue
from retention.stamps.stamp import proven
from sipagent.agent.recorder.recordable import obstacles
from sipagent.agent.recorder.stored import archive_of, store_of
from sipagent.config.load import Config

EVERY_S = 60.0
SHARE = 20  # at most one part in this many of the time is spent looking

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look, `at` s since the epoch. `overdue`: by more than a day; `head`: seq of the last entry.

    `unerased`: recordings that should have been erased in their call, and were not. `obstacles`: how many
    things keep every call from being recorded.
    """

    at: float
    kept: int
    held: int
    overdue: int
    unerased: int
    reviews_overdue: int
    suspended: bool
    head: int
    free_bytes: int
    obstacles: int


class Watch:
    """The thread `watch`. `latest` is what it saw last; None if it could not look, or has not yet.

    `config` gives the present configuration; the places of files stay as they were at the start.
    """

    def __init__(
        self, config: Callable[[], Config], read_clock: Callable[[], ClockReading] = read_clock
    ) -> None:
        self.latest: Observation | None = None
        self.failures = 0
        self._config = config
        self._place = config()
        self._read_clock = read_clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        """Look now, and then every minute."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait for a look in progress."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self._try()
                self._over.wait(max(EVERY_S, SHARE * (time.monotonic() - began)))
        finally:
            self.latest = None  # it no longer looks: no figure is better than an old one

    def _try(self) -> None:
        try:
            self.latest = self.look()
        except (OSError, StoreError, RecordError) as fault:
            if self.latest is not None or not self.failures:
                log.error("watch_failed", reason=str(fault))
            self.latest = None
            self.failures += 1

    def look(self) -> Observation:
        """Raises OSError, StoreError, RecordError."""
        config, now = self._config(), self._read_clock()
        database = self._place.database
        if not database.exists():  # opening it would create a new database
            raise StoreError(f"{database}: is missing")
        with store_of(self._place) as store:
            return Observation(
                at=now.wall.timestamp(),
                kept=counts.recordings(store, Status.CLOSED),
                held=counts.held(store),
                overdue=overdue(store, now.wall, config.retention.period),
                unerased=len(pending(archive_of(self._place, store))),
                reviews_overdue=reviews_overdue(store, now.wall.astimezone(config.service.timezone).date()),
                suspended=suspended(store, now, proven(store, config.retention.timestamp_ca)) is not None,
                head=store.head().seq,
                free_bytes=_free(self._place.recording.directory),
                obstacles=len(obstacles(config)),
            )


def _free(directory: Path) -> int:
    """Free bytes where the recordings lie, or will."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    return shutil.disk_usage(there).free

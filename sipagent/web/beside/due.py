"""What must be done and is not: looked at beside the answers, for it takes a while among many recordings."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from retention.archive.archive import Archive, ArchiveError
from retention.archive.erasure import stuck
from retention.recording import Access, from_text
from retention.rows.store import StoreError
from retention.rules.clock import read_clock, suspended
from retention.rules.hold import reviews_overdue
from retention.rules.purge import overdue
from retention.stamps.stamp import proven
from sipagent.config.load import Config
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.beside.commands import Answer, Commands

FRESH = timedelta(minutes=1)
_FAILED = Reason(N_("this could not be looked at; the log of the page says why"))
_LOOKED_AT = 2000  # of the newest lines of the trace, for a purge among them


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What must be done, and whether it is; as it was `at`, or the `problem` that kept it from being seen.

    `purged`: when the last purge ended, as the running agent says, or `unknown`: why nobody knows. `removed`:
    the last line of the trace that tells of one. `suspended`: why purging waits. `late`: recordings that
    should have been gone for a day. `unerased`: ids of what its call had wanted erased.
    """

    at: datetime
    purged: datetime | None = None
    unknown: str | None = None
    removed: Access | None = None
    suspended: str | None = None
    late: int = 0
    unerased: tuple[str, ...] = ()
    reviews: int = 0
    problem: str | None = None


class DueLook:
    """Any thread asks; one of its own looks, when what it saw last is older than a minute."""

    def __init__(self, look: Callable[[], Due], clock: Callable[[], datetime]) -> None:
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._seen: Due | None = None

    def seen(self) -> Due | None:
        """What was seen last, while somebody looks again where that is long ago; None: nothing yet."""
        with self._lock:
            seen = self._seen
            stale = seen is None or self._clock() - seen.at > FRESH
            if stale and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="due", daemon=True)
                self._thread.start()
            return seen

    def wait(self, timeout_s: float) -> bool:
        """Whether nobody looks any more, after so long at most."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self._thread is None

    def _run(self) -> None:
        seen = None
        try:
            seen = self._look()
        finally:
            self._seen = seen or Due(at=self._clock(), problem=_FAILED)
            self._thread = None


def due_of(archive: Archive, config: Config, commands: Commands, now: datetime) -> Due:
    """Look at all of it; a fault of the database or a disk is its problem."""
    try:
        return _due_of(archive, config, commands, now)
    except (StoreError, ArchiveError, OSError) as error:
        return Due(at=now, problem=str(error))


def _due_of(archive: Archive, config: Config, commands: Commands, now: datetime) -> Due:
    store, kept = archive.store, config.retention
    status = commands.recent("status", "--json")
    purged = status.json and status.json["last_purge"]
    newest = islice(store.each_access(newest=True), _LOOKED_AT)
    return Due(
        at=now,
        purged=from_text(purged) if purged else None,
        unknown=_unknown(config, status),
        removed=next((use for use in newest if use.action == "purge" and use.outcome == "done"), None),
        suspended=suspended(store, read_clock(), proven(store, kept.timestamp_ca)),
        late=overdue(store, now, kept.period),
        unerased=tuple(stuck(archive)),
        reviews=reviews_overdue(store, now.astimezone(config.service.timezone).date()),
    )


def _unknown(config: Config, status: Answer) -> str | None:
    """Why nobody knows how the agent is; None: it has said it."""
    if config.metrics.listen is None:
        return Reason(N_("not known: the agent tells nobody (metrics.listen is absent)"))
    return None if status.problem is None else Reason(N_("not known: the agent does not answer"))

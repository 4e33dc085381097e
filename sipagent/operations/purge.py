"""Remove what has expired, as a person asks for it; the running agent does it every hour (`service.purging`).

What a call had wanted erased goes first, whatever the clock says. Then the clock must be believed. Then goes
all that has expired and is not held: recordings, what leads to a person in old rows, tables of the edge's
dialogs, voices that colleagues had lent.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retention.archive import Archive
from retention.clock import ClockReading, look, resume, suspended
from retention.files import Places, kept_free
from retention.purge import CallCopy, Removal, Stay, Terms, erase_pending, preview, purge
from retention.records import Access, Record, RuleError
from retention.reserve import ReserveError, left_behind, take_in
from retention.rows.rows import Rows
from retention.stamps import proven
from retention.texts import Reason, reason_of
from sipagent.config.load import Config
from sipagent.edge.files import forget_old_dialogs
from sipagent.enrol.keeping import expire

_TOLERANCE = timedelta(seconds=1)  # a moment typed as the present is not the future


class PurgeRefused(RuleError):
    """Nothing that has expired is removed."""


class PurgeSuspended(PurgeRefused):
    """The clock may be wrong: `why`, as it is kept."""

    def __init__(self, why: str) -> None:
        super().__init__("purging is suspended: {0}", why)
        self.why = why


@dataclass(frozen=True, kw_only=True)
class PurgeWanted:
    """`at`: as if it were then. `dry_run`: change nothing. `force`: also where `at` is to come. `clock_ok`: a
    person says that the clock is right. `by`: who, for the trace."""

    at: datetime
    dry_run: bool = False
    force: bool = False
    clock_ok: bool = False
    by: Access | None = None

    def require(self, now: datetime) -> None:
        """Raises PurgeRefused."""
        if self.at > now + _TOLERANCE and not self.dry_run and not (self.force and self.by):
            raise PurgeRefused(
                "--now is in the future: what has not expired would go; accepted with --dry-run, or "
                "--force --by"
            )


@dataclass(frozen=True, kw_only=True)
class NotRemoved(Record):
    """A recording or a file that could not be removed; the next purge tries again."""

    id: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class StrayFile(Record):
    """A file that rows know nothing of, or say should not be there."""

    name: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class ExpiredVoice(Record):
    """A colleague's folder that has gone, or would go, with the heads that learnt from it."""

    voice: str
    heads: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Purged(Record):
    """What a purge did, or would do. `suspended`: why a real one would wait."""

    now: datetime
    dry_run: bool
    purged: tuple[Removal, ...]
    erased: tuple[str, ...]
    held: tuple[Stay, ...]
    failed: tuple[NotRemoved, ...]
    receipts: int
    copies: tuple[CallCopy, ...]
    notes: int
    uses: int
    unlinked: tuple[StrayFile, ...]
    orphans: tuple[StrayFile, ...]
    voices: tuple[ExpiredVoice, ...]
    suspended: str | None


@dataclass(frozen=True, kw_only=True)
class PurgeDesk:
    """Where it is done.

    `begins`: called once something goes, or would go. `tell` and `warn` get lines that are no part of the
    result. `steps`: opened while recordings are removed, gives what `retention.purge.purge` tells of each.
    """

    config: Config
    archive: Archive
    terms: Terms
    clock: ClockReading
    now: Callable[[], datetime]
    begins: Callable[[], object]
    tell: Callable[[str], object]
    warn: Callable[[str], object]
    steps: Callable[[], AbstractContextManager[Callable[[int, int], None]]]


def purge_now(desk: PurgeDesk, wanted: PurgeWanted) -> Purged:
    """Raises PurgeRefused, StoreError, OSError; HeadError for a head that cannot be read."""
    wanted.require(desk.now())
    config, archive, store = desk.config, desk.archive, desk.archive.store
    proof = proven(store, config.retention.timestamp_ca)
    why = None
    if wanted.dry_run:
        why = suspended(store, desk.clock, proof)
        desk.begins()
        report = preview(archive, wanted.at, desk.terms)
    else:
        for error in take_in_left(store, config.places):
            desk.warn(reason_of(error))
        erased = erase_pending(archive, desk.now(), [])  # which waits for no date; what fails is tried again
        _require_clock(desk, wanted, proof, erased)
        desk.begins()
        with desk.steps() as step:
            report = purge(archive, wanted.at, desk.terms, step, wanted.by, at=desk.now())
        report = replace(report, erased=(*erased, *report.erased))
        for path in forget_old_dialogs(config, desk.terms.receipts_period, wanted.at):
            desk.tell(Reason("{0} removed: it named callers", path))
    lent = expire(config.voices, config.refusal.heads, wanted.at, config.voices_days, dry=wanted.dry_run)
    voices = tuple(ExpiredVoice(voice=one.voice, heads=tuple(map(str, one.heads))) for one in lent)
    return Purged.of(
        report,
        now=wanted.at,
        dry_run=wanted.dry_run,
        purged=report.removed,
        failed=tuple(NotRemoved(id=id, problem=problem) for id, problem in report.failed),
        unlinked=tuple(map(StrayFile.of, report.unlinked)),
        orphans=tuple(map(StrayFile.of, report.orphans)),
        voices=voices,
        suspended=why,
    )


def _require_clock(
    desk: PurgeDesk, wanted: PurgeWanted, proof: Callable[[], datetime | None], erased: Sequence[str]
) -> None:
    """The clock is believed, or a person says that it is right. Raises PurgeSuspended."""
    store = desk.archive.store
    if wanted.clock_ok and wanted.by:
        resumed = resume(store, desk.clock, wanted.by)
        desk.tell(Reason("purging resumes") if resumed else Reason("purging was not suspended"))
    elif (why := look(store, desk.clock, proof)) is not None:
        if erased:
            desk.begins()
        for id in erased:
            desk.tell(Reason("{0} erased", id))
        raise PurgeSuspended(why)


def take_in_left(store: Rows, places: Places) -> Sequence[ReserveError]:
    """Write what a dead agent left in its reserve: it expires like the rest, once it has rows.

    An agent that starts meanwhile waits: the reserve is its own from then on. Gives what cannot be taken in.
    """
    wrong: list[ReserveError] = []
    if places.reserves():
        with kept_free(places.lock) as nobody_runs:
            for path in (*left_behind(places), places.reserve("edge")) if nobody_runs else ():
                try:
                    take_in(store, path)
                except ReserveError as error:
                    wrong.append(error)
    return wrong

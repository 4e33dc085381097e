"""Removes what has expired: first the sound, then what leads to a person; a tombstone stays.

Each recording takes four steps, each safe to repeat: the row becomes `purging`, its key is unlinked, then its
files, then the row becomes `purged`. What a crash left half done, the next run finds by its row and finishes.
On a full disk, where no row can be written, the files are removed first. What is on hold stays. What should
have been erased in its call, and was not, is tried again first. (GDPR article 5(1)(e): kept no longer than
necessary.)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retention import outbox, records
from retention.archive import Archive, whys_held
from retention.erase import erase, erase_expired, leftovers, to_erase
from retention.holds import agree
from retention.marks import ArchiveError
from retention.recording_files import FileKind
from retention.rows.chain import is_personal
from retention.rows.pages import BATCH, COUNT, PAGE, Listing, batches, breathing
from retention.rows.rows import Damaged, DamagedRow, NoRoom, Rows, StoreError, UnknownId
from retention.texts import Reason, reason_of
from retention.use import KnownCopy, copies_of
from retention.verify import Orphan, orphans

_SLACK = timedelta(days=4)  # calendar months counted back and forth differ by up to 3 days
_TICK = timedelta(milliseconds=1)  # the precision of times in rows
OVERDUE = timedelta(days=1)  # after this delay it is an alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long things are kept, by the present configuration; texts such as `6 months`. `events`: whether any
    are told to other programs."""

    period: str
    receipts_period: str
    analysis_period: str
    events: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal(records.Record):
    """One recording that was, or would be, removed; `copies` were exported, and still exist."""

    id: str
    started_at: datetime
    due_at: datetime
    bytes: int
    why: str
    copies: tuple[KnownCopy, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CallCopy(KnownCopy):
    """A copy of a call that has no recording, and whose receipt forgets its person; it may still exist."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay(records.Record):
    """One recording that has expired and stays, and why."""

    id: str
    due_at: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeReport:
    """What a purge did, or a preview would do."""

    removed: tuple[Removal, ...]
    erased: tuple[str, ...] = ()  # should have been erased after a refusal or an operator's key, and were not
    held: tuple[Stay, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()  # id or file, what went wrong; the next purge tries again
    receipts: int = 0  # that lost their personal fields
    copies: tuple[CallCopy, ...] = ()  # of these, where no removal tells of them
    notes: int = 0  # analyses that lost their text
    uses: int = 0  # lines in the trace of uses, and of what was asked for, that lost their names
    unlinked: tuple[Orphan, ...] = ()  # files that must not be there
    orphans: tuple[Orphan, ...] = ()  # left alone, for a person to look at


def due(recording: records.Recording, period: str | None) -> datetime:
    """When it must be removed. A period shortened since then counts; a lengthened one does not."""
    if period is None:
        return recording.expires_at
    return min(recording.expires_at, records.due_date(recording.started_at, period))


def plan(
    store: Rows, now: datetime, period: str | None = None, damaged: Damaged | None = None
) -> Iterator[records.Recording]:
    """Recordings that have expired, also held ones, and those half purged.

    `period` is the configured one. Includes rows without a file (erased, failed): they lose what leads to a
    person. `damaged(id, problem)` is told of rows that cannot be read; without it such a row ends the
    listing.
    """
    started = now if period is None else now - records.parse_period(period) + _SLACK
    candidates = store.perhaps_due(now + _TICK, started, damaged)
    return (row for row in candidates if row.status is records.Status.PURGING or due(row, period) <= now)


def overdue(store: Rows, now: datetime, period: str | None = None) -> int:
    """How many should have been removed more than a day ago, and are not held: no purge has run, or it
    fails."""
    late = now - OVERDUE
    return sum(row.hold is None and due(row, period) <= late for row in plan(store, late, period))


def ahead_of(store: Rows, now: datetime) -> int:
    """How many kept recordings began more than a day after `now`: by a clock that was wrong.

    Their dates of removal are wrong, too. Raises StoreError.
    """
    late = Listing(
        table="recordings",
        columns=COUNT,
        order=("started_at", "id"),
        indexed="purged_at IS NULL",
        start=records.to_text(now + OVERDUE),
    )
    return sum(page["n"] for page in store.each(late))


def preview(archive: Archive, now: datetime, terms: Terms) -> PurgeReport:
    """What `purge` would do now; changes nothing."""
    store, analysed = archive.store, now - records.parse_period(terms.analysis_period)
    failed: list[tuple[str, str]] = []
    erased = to_erase(archive, _into(failed))
    removed, held = _planned(archive, now, terms, failed)
    found = orphans(archive)
    forbidden = [orphan for orphan in found if _has_no_right(archive, orphan, now, terms)]
    receipts, copies = 0, list[CallCopy]()
    for old in batches(_old_receipts(store, now, terms, failed), PAGE):
        receipts += len(old)
        copies += _copies_of_calls(store, old)
    return PurgeReport(
        removed=tuple(gone for some in batches(removed, BATCH) for gone in _with_copies(store, some)),
        erased=tuple(erased),
        held=held,
        receipts=receipts,
        copies=tuple(copies),
        failed=tuple(failed),
        notes=store.count_expired_notes(now, analysed),
        uses=store.count_old_names(analysed),
        unlinked=tuple(forbidden),
        orphans=tuple(orphan for orphan in found if orphan not in forbidden),
    )


def purge(
    archive: Archive,
    now: datetime,
    terms: Terms,
    progress: Callable[[int, int], None] = lambda done, total: None,
    by: records.Access | None = None,
    *,
    over: Callable[[], bool] = lambda: False,
    at: datetime | None = None,
) -> PurgeReport:
    """Remove all that has expired and is not held; `progress(done, total)` after each few recordings.

    `by` is written into the trace of each recording, with its id, where a person asked for the purge; `at` is
    the time that the tombstone tells, if it is not `now`. A file that cannot be removed, and a row that
    cannot be read, are reported, and tried again by the next purge; so is what was left when `over()` became
    true, which ends the purge after the present few. The caller must know whether the clock may be believed:
    `retention.clock`. Raises StoreError.
    """
    store, analysed = archive.store, now - records.parse_period(terms.analysis_period)
    failed: list[tuple[str, str]] = []
    store.objects.remove_puts(row.put for row in leftovers(archive))
    erased = erase_pending(archive, at or now, failed)
    uses = _forget_uses(store, analysed, failed)  # before this purge leaves its own
    planned, stays = _planned(archive, now, terms, failed)
    held = list(stays)
    removed: list[Removal] = []
    done = 0
    there = {gone.id: gone for gone in planned}
    for batch in erase_expired(archive, breathing(there, over), at or now, by):
        failed += [(id, reason_of(error)) for id, error in batch.wrong.items()]
        removed += _with_copies(store, [there[id] for id in batch.ended])
        held += _held_meanwhile(archive, [there[id] for id in batch.left])
        done += len(batch.asked)
        progress(done, len(planned))
    receipts, copies = _forget_callers(store, now, terms, over, failed)
    tidied, left, stuck = ((), (), []) if over() else _tidy(archive, now, terms)
    try:
        agree(archive)  # at the end: what was held by mistake stays until the next purge
    except OSError as error:
        failed.append(("holds", reason_of(error)))
    notes = store.forget_notes(now, analysed)
    outbox.sweep(store, at or now, now - records.parse_period(terms.receipts_period), told=terms.events)
    _forget_keys(store, over, failed)
    return PurgeReport(
        removed=tuple(removed),
        erased=tuple(erased),
        held=tuple(held),
        failed=(*failed, *stuck),
        receipts=receipts,
        copies=tuple(copies),
        notes=notes,
        uses=uses,
        unlinked=tidied,
        orphans=left,
    )


def erase_pending(archive: Archive, now: datetime, failed: list[tuple[str, str]]) -> list[str]:
    """Try again to erase what should be erased by now; ids of what was. Raises StoreError, OSError."""
    erased = []
    failed += [(id, reason_of(error)) for id, error in archive.files.erase_stored().items()]
    for id in to_erase(archive, _into(failed)):
        try:
            erase(archive, id, now)
            erased.append(id)
        except UnknownId:
            continue  # its rows may come later; its files are gone
        except (OSError, StoreError, ArchiveError) as error:
            failed.append((id, reason_of(error)))
    return erased


def _forget_uses(store: Rows, before: datetime, failed: list[tuple[str, str]]) -> int:
    """How many uses it emptied. Without room on the disk, the next purge does it: this one makes room."""
    try:
        return store.forget_names(before)
    except NoRoom as error:
        failed.append(("uses", reason_of(error)))
        return 0


def _planned(
    archive: Archive, now: datetime, terms: Terms, failed: list[tuple[str, str]]
) -> tuple[list[Removal], tuple[Stay, ...]]:
    removed, held = [], []
    for rows in batches(plan(archive.store, now, terms.period, _into(failed)), PAGE):
        whys = whys_held(archive, rows)
        removed += [_removal(row, terms.period) for row in rows if row.id not in whys]
        stay = (row for row in rows if row.id in whys)
        held += [Stay(id=row.id, due_at=due(row, terms.period), why=whys[row.id]) for row in stay]
    removed.sort(key=lambda gone: (gone.started_at, gone.id))
    held.sort(key=lambda stay: (stay.due_at, stay.id))
    return removed, tuple(held)


def _held_meanwhile(archive: Archive, left: Sequence[Removal]) -> Iterator[Stay]:
    """Recordings that were put on hold between the plan and the transaction that would have begun the
    purge."""
    due_at = {gone.id: gone.due_at for gone in left}
    rows = [*archive.store.some_recordings([*due_at]).values()]
    for id, why in whys_held(archive, rows).items():
        yield Stay(id=id, due_at=due_at[id], why=why)


def _with_copies(store: Rows, removed: Sequence[Removal]) -> list[Removal]:
    copies = copies_of(store, [gone.id for gone in removed])
    return [
        replace(gone, copies=tuple(KnownCopy.of(copy) for copy in copies.get(gone.id, ()) if copy.may_remain))
        for gone in removed
    ]


def _removal(row: records.Recording, period: str) -> Removal:
    expiry = due(row, period)
    if row.status is records.Status.PURGING:
        why = Reason("a purge that was interrupted, finished")
    elif expiry < row.expires_at:
        why = Reason("the period was shortened to {0}", period)
    elif row.status in (records.Status.ERASED, records.Status.FAILED):
        why = Reason("expired ({0}: the row only)", row.status.value)
    else:
        why = Reason("expired")
    return Removal(id=row.id, started_at=row.started_at, due_at=expiry, bytes=row.bytes or 0, why=why)


def _into(failed: list[tuple[str, str]]) -> Damaged:
    """One damaged row must not keep all others from being purged."""
    return lambda id, problem: failed.append((id, problem))


def _old_receipts(
    store: Rows, now: datetime, terms: Terms, failed: list[tuple[str, str]]
) -> Iterator[records.Receipt]:
    """Receipts that are old by the period of the call's time or the present one: the shorter counts."""
    started = now - records.parse_period(terms.receipts_period) + _SLACK
    candidates = store.personal_receipts(now + _TICK, started, _into(failed))
    return (row for row in candidates if _forgotten_at(row, terms.receipts_period) <= now)


def _forgotten_at(receipt: records.Receipt, period: str) -> datetime:
    due_at = records.due_date(receipt.started_at, period)
    return due_at if receipt.expires_at is None else min(receipt.expires_at, due_at)


def _forget_callers(
    store: Rows, now: datetime, terms: Terms, over: Callable[[], bool], failed: list[tuple[str, str]]
) -> tuple[int, list[CallCopy]]:
    """Empty in old receipts what leads to a person: how many receipts, and the copies that remain."""
    count, copies = 0, list[CallCopy]()
    for receipts in breathing(_old_receipts(store, now, terms, failed), over):
        with store.write():
            there = store.some_receipts([receipt.id for receipt in receipts]).values()
            # another purge may have done it
            personal = [one.anonymous() for one in there if is_personal("receipt", one.to_json())]
            store.keep_many(personal, (), ())
        count += len(personal)
        copies += _copies_of_calls(store, personal)
    return count, copies


def _copies_of_calls(store: Rows, receipts: Sequence[records.Receipt]) -> Iterator[CallCopy]:
    """Of those without a recording; a recording that is removed tells of its own."""
    found = copies_of(store, [one.id for one in receipts if one.recording_id is None])
    for id, copies in found.items():
        yield from (CallCopy.of(copy, id=id) for copy in copies if copy.may_remain)


def _forget_keys(store: Rows, over: Callable[[], bool], failed: list[tuple[str, str]]) -> None:
    """End what opens rows that are forgotten, also what an earlier purge has left."""
    forgotten = store.forget_keys()
    if problem := forgotten.problem:
        failed.append(
            ("vault", Reason("{0} keys of what was forgotten are still there: {1}", forgotten.left, problem))
        )
    try:
        store.renew_words(over)
    except DamagedRow as error:
        failed.append(("search", reason_of(error)))


def _tidy(
    archive: Archive, now: datetime, terms: Terms
) -> tuple[tuple[Orphan, ...], tuple[Orphan, ...], list[tuple[str, str]]]:
    """Unlink files that must not be there: the removed, those left for a person, and those that failed."""
    unlinked, left, stuck = [], [], list[tuple[str, str]]()
    for orphan in orphans(archive):
        if not _has_no_right(archive, orphan, now, terms):
            left.append(orphan)
            continue
        try:
            archive.files.erase_name(orphan.name)
            unlinked.append(orphan)
        except OSError as error:
            stuck.append((orphan.name, reason_of(error)))
    return tuple(unlinked), tuple(left), stuck


def _has_no_right(archive: Archive, orphan: Orphan, now: datetime, terms: Terms) -> bool:
    """Whether it belongs to a purged row, or to an unknown one whose id says that it has expired.

    What is on hold by its JSON stays, for `rebuild`; so does everything beside an unreadable JSON.
    """
    if orphan.forbidden or orphan.id is None or not orphan.rowless:
        return orphan.forbidden
    begun = records.begun_at(orphan.id)
    if begun is None or records.due_date(begun, terms.period) > now:
        return False
    if not archive.files.exists(orphan.id, FileKind.METADATA):
        return True
    told = archive.told(orphan.id)
    return told is not None and told.get("hold") is None

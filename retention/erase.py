"""What must go, and how it goes: one order for all. Each step can be repeated after a crash.

    mark        `ID.refused`, where a call wants it erased: from then on no file of it gets a name (`marks`)
    key         without it no copy of the sound can be opened
    sound       part, what the assembler was making, finished file
    metadata    which says when the sound must go, so it never goes before it
    rows        the receipt, then the recording, with which all of it in a store is on the list of what goes
    store       its objects and all their versions, in the same order (`objects.erase`)
    mark

`erase_now` is the one pass over the files of this host: each is looked for where its id says. It waits for
no database. **Where sound can lie**, and who erases it there: see FORMATS.md.

It is done once its last writer has let go. The tap and the assembler let go with the mark, or had done so
when the row was closed. A command that writes key or metadata anew does so within a transaction, and so:

- **Refused** in the call, or not closed yet: no hold can keep it. So it goes at once (`erase_now`), whatever
  the database is at, which on a full disk makes room for the rows; then `erase_rows`. The pass within the
  transaction of its row finds what a command of another process had been writing anew just then.
- **Erased by an operator** when it was closed: in the transaction of its row, which a hold refuses.
- **Expired**: a batch at a time (`erase_expired`). The rows become `purging`, in one transaction that looks
  at what holds them; then nobody writes to the files any more, and they go; the rows become tombstones.

What cannot be erased now (a read-only folder, a disk or a store that fails) is found by its mark (refused,
erased), by its row (`purging`) or by the store's list, and is tried again every minute, by each purge and at
each start (`to_erase`). A legal hold keeps what an operator wanted erased; never what the caller refused.

**Asked for** by a person: one call is deleted before its date, and that is proved (GDPR article 17). What
goes: the recording with its key and its metadata, what leads to a person in its row and in the
call's receipt, the text of every analysis. What stays: the exact times, the number that was dialled, how
the call ended and what was decided, the length and hash of the file, and the line in the trace that says
who removed it and why. That has no name or number of the caller; but anyone with other records of the
call can match them.

**Left over**: what rows name, and closed recordings do not need: pieces beside the whole, versions that
others replaced. Mostly a host that others took for lost, and that lived on, has put them up: what it
sends after another had closed the recording, and the file that the other one made. Nothing of it is taken
for the recording, which goes by the hash in its row; but it would stay for as long as that. Only what is
not needed whatever its host may still tell is one: while anything waits in that host's journal, all of it
stays.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from errno import EAGAIN
from functools import cache

from retention.archive import Archive, require, why_held
from retention.marks import REFUSED, Mark, says_erased
from retention.recording_files import FileKind
from retention.records import Access, Receipt, Record, Recording, RuleError, Status, host_of
from retention.reserve import lasting
from retention.rows.chain import ChainHead, is_personal
from retention.rows.object_rows import ObjectRow, State
from retention.rows.pages import BATCH, Listing, batches
from retention.rows.rows import Damaged, HeadNotWritten, NoRoom, Rows, StoreError, UnknownId
from retention.texts import Reason
from retention.use import KnownCopy, already_purged, discreet, remaining_copies


def leftovers(archive: Archive) -> list[ObjectRow]:
    """Those that may go. Raises StoreError."""
    store, found = archive.store, []
    heard_until = cache(store.heard_until)  # of each host
    for ids in batches(store.objects.crowded(), BATCH):
        states = store.states(ids)
        rows: dict[str, list[ObjectRow]] = {}
        for row in store.objects.of(ids):
            rows.setdefault(row.id, []).append(row)
        for id, some in rows.items():
            state = states.get(id)
            if state is None or state["status"] != Status.CLOSED.value:
                continue
            until = heard_until(host_of(id))
            found += [row for row in replaced(some, state["sha256"]) if until is not None and row.at < until]
    return found


def replaced(rows: Iterable[ObjectRow], sha256: str | None) -> list[ObjectRow]:
    """Which objects of a closed recording have others in their place; none, where its own sound is not there.

    `sha256`: of its sound, as its row has it. Pure.
    """
    by_age = sorted(rows, key=lambda row: (row.at, row.put))
    there = [row for row in by_age if row.state is State.THERE]
    own = [row for row in there if row.kind == FileKind.SEALED and row.sha256 == sha256]
    if not own:
        return []
    counts = {row.name: row for row in there} | {own[-1].name: own[-1]}
    older = [row for row in there if row.kind != FileKind.PART and row is not counts[row.name]]
    # a piece whose put has no answer may have come all the same: it is looked for by its name
    return older + [row for row in by_age if row.kind == FileKind.PART and row.state is not State.REMOVING]


_STEPS = 2  # that write
_FORBIDS = "receipts.id = recordings.id AND receipts.decision IN ('refused', 'not_allowed')"
_FORBIDDEN = Listing(
    table="recordings",
    order=("started_at", "id"),
    columns="id",
    indexed="purged_at IS NULL",
    where=["status = 'closed'", f"EXISTS (SELECT 1 FROM receipts WHERE {_FORBIDS})"],
)


def allows(receipt: Receipt) -> bool:
    """Whether what was recorded may stay: it was allowed to its end, and no key has erased it since."""
    allowed = receipt.decision == "allowed" or receipt.decided_by == "recorder_fault"
    return allowed and not says_erased(receipt)


def to_erase(archive: Archive, damaged: Damaged = lambda id, problem: None) -> list[str]:
    """Recordings that must be erased and are not completely, sorted; without those that a hold keeps.

    `damaged(id, problem)` is told of rows that cannot be read. Raises StoreError, OSError.
    """
    found = set(archive.marks.ids())
    for row in archive.unfinished(damaged):
        if _must_go(archive, row.id, damaged):
            found.add(row.id)
    found |= {id for id in _forbidden(archive) if _must_go(archive, id, damaged)}
    return sorted(id for id in found if not _is_kept_by_hold(archive, id))


def stuck(archive: Archive) -> list[str]:
    """What is `pending` and stays so: not what a running agent is working on. Raises StoreError, OSError."""

    def is_pending(id: str) -> bool:
        if archive.marks.forbidden(id):
            return True
        row = _row(archive.store, id)
        return row is not None and row.status in (Status.OPEN, Status.CLOSED)

    return lasting(to_erase(archive), lambda found: [*filter(is_pending, found)])


def erase_now(archive: Archive, ids: Iterable[str]) -> dict[str, OSError]:
    """Erase all that this host has of these recordings, durably, and touch no row; what went wrong, by id."""
    with archive.marks.erasing():
        return archive.files.spool.erase([*ids])


def erase_files(archive: Archive, ids: Iterable[str], *, anyhow: bool = False) -> dict[str, OSError]:
    """Erase all that this host has of these recordings, then what a store has; what went wrong, by id.

    `anyhow`: also what the store holds, for the caller has refused. Raises StoreError.
    """
    ids = [*ids]  # gone through twice
    return erase_now(archive, ids) | archive.files.erase_stored(ids, anyhow=anyhow)


def erase(archive: Archive, id: str, at: datetime, mark: Mark | None = None) -> None:
    """Erase a recording: what no hold can keep at once, then as `erase_rows`, which says what this raises."""
    mark = mark or archive.marks.read(id)
    if _no_hold_keeps(archive, id, mark):
        erase_now(archive, [id])  # what does not go is met again below
    erase_rows(archive, id, at, mark)


def erase_rows(archive: Archive, id: str, at: datetime, mark: Mark | None) -> None:
    """Have receipt and row say that it is erased, see that it is, and remove its mark, if there is one.

    Raises UnknownId for a call that the database does not know, whose mark stays: its rows may come later;
    StoreError, ArchiveError; OSError for a file that cannot be erased; by then the receipt says that it must
    be.
    """
    try:
        _tell(archive, id, at, mark)
    except UnknownId:
        _raise(erase_files(archive, [id], anyhow=True))
        raise
    archive.marks.remove(id)


def erase_row(
    archive: Archive, id: str, at: datetime, decision: str | None = None, status: Status = Status.ERASED
) -> None:
    """Erase what a row names, and have the row say so, with the decision that led to it. Twice is no error.

    In one transaction: no hold can be placed in between, and an existing one refuses before a file is gone.
    What lies in a store is on its list by then, and goes after it. Before calling it, commit the refusal in
    the receipt: a crash in between is then finished from there.
    """
    with archive.store.write():
        row = archive.store.recording(id)
        require(row, Status.OPEN, Status.CLOSED, Status.ERASED, Status.FAILED)
        # a tombstone stays as it is, and a refusal is never turned into a mere failure
        if row.purged_at is None and row.status is not Status.ERASED:
            erased = replace(
                row, status=status, decision=decision or row.decision, ended_at=row.ended_at or at
            )
            archive.store.update_recording(replace(erased, path=None, bytes=None, sha256=None, hold=None))
        archive.store.objects.remove([id], anyhow=True)
        _raise(erase_now(archive, [id]))
    _raise(archive.files.erase_stored([id], anyhow=True))


def fail(archive: Archive, id: str, at: datetime) -> None:
    """The recorder failed: erase all there is, and have the row say `failed`."""
    erase_row(archive, id, at, status=Status.FAILED)


def _tell(archive: Archive, id: str, at: datetime, mark: Mark | None) -> None:
    """Do each step, even if the chain's head cannot be written. Raises UnknownId if there is no row at
    all."""
    for _ in range(_STEPS):
        with suppress(HeadNotWritten):
            _tell_once(archive, id, at, mark)
            return
    _tell_once(archive, id, at, mark)


def _tell_once(archive: Archive, id: str, at: datetime, mark: Mark | None) -> None:
    """The receipt first, then the row."""
    store = archive.store
    decision = None if mark is None else mark.decision
    with store.write():
        receipt, row = _receipt(store, id), _row(store, id)
        if receipt is not None:
            told = receipt if mark is None else mark.onto(receipt)
            decision = told.decision
            if told != receipt:
                store.update_receipt(told)
        elif row is None:
            raise UnknownId("{0}: no such id", id)
    if row is None or row.status in (Status.PURGING, Status.PURGED):
        store.objects.remove([id], anyhow=True)
        _raise(erase_files(archive, [id], anyhow=True))
    else:
        erase_row(archive, id, at, decision)


def _no_hold_keeps(archive: Archive, id: str, mark: Mark | None) -> bool:
    """Whether the caller refused, or it was not closed yet. Raises StoreError."""
    if mark is not None and mark.decision == REFUSED:
        return True
    receipt = _receipt(archive.store, id)
    if receipt is not None and receipt.decision == REFUSED:
        return True
    row = _row(archive.store, id)
    return row is None or row.status is Status.OPEN


def _raise(wrong: dict[str, OSError]) -> None:
    for error in wrong.values():
        raise error


def _forbidden(archive: Archive) -> Iterator[str]:
    """Closed, but their receipts may say that they must go."""
    return (str(row["id"]) for row in archive.store.each(_FORBIDDEN))


def _must_go(archive: Archive, id: str, damaged: Damaged) -> bool:
    try:
        receipt = _receipt(archive.store, id)
    except StoreError as problem:
        damaged(id, str(problem))
        return False
    # without one the next start decides, as for what was never decided: see `recover` of the agent's recorder
    return receipt is not None and receipt.decision != "undecided" and not allows(receipt)


def _is_kept_by_hold(archive: Archive, id: str) -> bool:
    """Never against the caller: see the database's own triggers."""
    try:
        row = archive.store.recording(id)
        if row.hold is None:
            return False
        mark = archive.marks.read(id)
        return REFUSED not in (archive.store.receipt(id).decision, mark.decision if mark else None)
    except StoreError:
        return False


def _row(store: Rows, id: str) -> Recording | None:
    return store.some_recordings([id]).get(id)


def _receipt(store: Rows, id: str) -> Receipt | None:
    return store.some_receipts([id]).get(id)


_IN_FLIGHT = 2  # batches that a store of objects erases, while others are begun and ended


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the ids that were `asked` for: `wrong` has what could not be erased.

    `left` were purged, or put on hold, in the meantime.
    """

    asked: Sequence[str]
    left: Sequence[str]
    wrong: dict[str, OSError]
    ended: Sequence[str]


def erase_expired(
    archive: Archive, batches: Iterable[Sequence[str]], at: datetime, trace: Access | None
) -> Iterator[Batch]:
    """Erase recordings whose time has come, but what is held; `trace` is written down for each, with its id.

    A store of objects is slower than a database: while it erases some, others are begun and ended. Raises
    StoreError.
    """
    begun = ((ids, _begun(archive, ids, trace)) for ids in batches)
    for (asked, going), wrong in _erased(archive, begun):
        there = frozenset(going)
        ended = end_purge(archive, [id for id in going if id not in wrong], at)
        yield Batch(asked, [id for id in asked if id not in there], wrong, ended)


def erase_begun(archive: Archive, id: str, now: datetime) -> ChainHead:
    """Erase one recording whose purge has begun, and end that; the entry of the chain about it.

    Raises OSError for what cannot be erased: the next purge tries again; StoreError.
    """
    _raise(erase_files(archive, [id]))
    with archive.store.write():
        end_purge(archive, [id], now)
        return archive.store.head()


def begin_purge(archive: Archive, ids: Sequence[str]) -> list[str]:
    """Make these rows `purging`, up to a batch; those that nobody has purged, or put on hold, in the
    meantime."""
    with archive.store.write():
        free = _free(archive, ids)
        going = [row for row in free if row.status in (Status.OPEN, Status.CLOSED)]
        archive.store.keep_many((), [replace(row, status=Status.PURGING) for row in going], ())
        archive.store.objects.remove(row.id for row in free)
        return [row.id for row in free]


def end_purge(archive: Archive, ids: Sequence[str], at: datetime) -> list[str]:
    """The rows become tombstones, up to a batch: `purged`, or for one without file `erased` or `failed` as it
    was; those that no other purge had done."""
    with archive.store.write():
        rows = _unpurged(archive, ids)
        states = {Status.PURGING: Status.PURGED}
        ended = [row.tombstone(states.get(row.status, row.status), at) for row in rows]
        archive.store.keep_many((), ended, ())
        return [row.id for row in ended]


def _free(archive: Archive, ids: Sequence[str]) -> list[Recording]:
    """Those of these recordings that are still there, and that nothing holds."""
    rows = _unpurged(archive, ids)
    holds = archive.holds_of(rows)
    return [row for row in rows if row.id not in holds]


def _unpurged(archive: Archive, ids: Sequence[str]) -> list[Recording]:
    there = archive.store.some_recordings(ids)
    return [there[id] for id in ids if id in there and there[id].purged_at is None]


def _begun(archive: Archive, ids: Sequence[str], trace: Access | None) -> Sequence[str]:
    try:
        return _begun_rows(archive, ids, trace)
    except NoRoom:
        with archive.store.write():  # needs no room itself: the files that go make room for the rows
            erase_now(archive, [row.id for row in _free(archive, ids)])
            return _begun_rows(archive, ids, trace)


def _begun_rows(archive: Archive, ids: Sequence[str], trace: Access | None) -> Sequence[str]:
    if trace is not None:
        archive.store.expect(len(ids))
    with archive.store.write():
        began = begin_purge(archive, ids)
        if trace is not None:
            archive.store.add_accesses([replace(trace, recording_id=id) for id in began])
    return began


_Begun = tuple[Sequence[str], Sequence[str]]
"""Ids that were asked for, and of these those whose rows are `purging`."""


def _erased(archive: Archive, begun: Iterable[_Begun]) -> Iterator[tuple[_Begun, dict[str, OSError]]]:
    """What was begun, each with what could not be erased of it."""
    if archive.files.at_once == 1:  # nobody waits for a disk
        yield from ((some, erase_files(archive, some[1])) for some in begun)
        return
    waiting: deque[tuple[_Begun, Future[dict[str, OSError]]]] = deque()
    with ThreadPoolExecutor(_IN_FLIGHT, "erasing") as aside:
        for some in begun:
            waiting.append((some, aside.submit(erase_files, archive, some[1])))
            if len(waiting) > _IN_FLIGHT:
                first, job = waiting.popleft()
                yield first, job.result()
        yield from ((some, job.result()) for some, job in waiting)


class NotDeleted(RuleError):
    """The call is not deleted; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What is kept of a call: a recording, a receipt, or both."""

    id: str
    started_at: datetime
    recording: Recording | None
    receipt: Receipt | None

    @classmethod
    def find(cls, store: Rows, id: str) -> "KeptCall":
        """What is kept of this call. Raises UnknownId if there is nothing."""
        recording, receipt = _row(store, id), _receipt(store, id)
        row = recording or receipt
        if row is None:
            raise UnknownId("{0}: no such id", id)
        return cls(id, row.started_at, recording, receipt)

    def discreet(self, trace: Access) -> Access:
        """The trace without caller and operator: one row may still name them when the other no longer
        does."""
        for row in (self.recording, self.receipt):
            trace = trace if row is None else discreet(trace, row)
        return trace


@dataclass(frozen=True, kw_only=True)
class RemovedRecording(Record):
    """What a recording was, before it was deleted."""

    ended_at: datetime | None
    duration_s: float | None
    status: Status
    bytes: int | None
    sha256: str | None
    purged_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Deletion(Record):
    """A call that was forgotten before its time, and what proves it: `delete --json`.

    `deleted_at`: when it was asked for. `receipt`: whether the call's receipt led to a person until now.
    `notes`: analyses that lost their text. `copies` were exported and still exist. `chain`: the entry that
    tells of the deletion.
    """

    id: str
    deleted_at: datetime
    by: str | None
    reason: str | None
    started_at: datetime
    recording: RemovedRecording | None
    receipt: bool
    notes: int
    copies: tuple[KnownCopy, ...]
    chain: ChainHead


def delete(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete this call now; after a crash the next purge finishes it.

    `clock` tells when the sound is gone. Raises NotDeleted, UnknownId, StoreError; OSError for a file or a
    key that cannot be erased: the next purge tries again.
    """
    store = archive.store
    with store.write():
        call = KeptCall.find(store, id)
        receipt = call.receipt is not None and is_personal("receipt", call.receipt.to_json())
        notes = store.forget_notes_of(id)
        if (reason := _held(archive, call) or _why_not(call, receipt or notes > 0)) is not None:
            raise NotDeleted(reason)
        trace = call.discreet(replace(trace, action="delete", recording_id=id))
        store.add_access(trace)
        going = call.recording is not None and begin_purge(archive, [id])
        if call.receipt is not None:
            store.update_receipt(call.receipt.anonymous())
        entry = store.head()
    if going:
        entry = erase_begun(archive, id, clock())
    if problem := store.forget_keys().problem:
        raise OSError(EAGAIN, problem, id)
    row = call.recording
    return Deletion(
        id=id,
        deleted_at=trace.at,
        by=trace.by,
        reason=trace.detail,
        started_at=call.started_at,
        recording=None if row is None else RemovedRecording.of(row),
        receipt=receipt,
        notes=notes,
        copies=remaining_copies(store, id),
        chain=entry,
    )


def why_stays(archive: Archive, call: KeptCall) -> str | None:
    """Why `delete` would leave this call as it is, in one line; None if it would go. Raises StoreError."""
    receipt = call.receipt is not None and is_personal("receipt", call.receipt.to_json())
    notes = any(is_personal("note", note.to_json()) for note in archive.store.notes(call.id))
    return _held(archive, call) or _why_not(call, receipt or notes)


def _held(archive: Archive, call: KeptCall) -> str | None:
    why = None if call.recording is None else why_held(archive, call.recording)
    return why and Reason("it is {0}; see `release`", why)


def _why_not(call: KeptCall, more: bool) -> str | None:
    """Why it is kept; `more`: whether anything besides the recording leads to a person."""
    recording, receipt = call.recording, call.receipt
    open_recording = recording is not None and recording.status is Status.OPEN
    if open_recording or (receipt is not None and receipt.ended_at is None):
        return "the call is still in progress"
    if recording is None:
        return None if more else "this call has no recording, and its receipt leads to nobody"
    return already_purged(recording) if recording.purged_at is not None and not more else None

"""What people do with a recording, each with a line in the trace: hold, release, delete, file an analysis;
and what another has to agree to first. For commands, page and interface alike.

**Attempts.** What is refused or fails leaves a line in the trace. What is done leaves its own, in the
transaction that does it.

**An analysis** is of a call that somebody listened to; once it is filed, the audio may be erased. A
recording that serves only quality need not outlive its analysis: if the configuration says so, it is
erased then (the French regulator calls this a buffer; CNIL, deliberation 2014-474). The note is filed and
the row becomes `purging` in one transaction, so that no crash erases what was not analysed, and the next
purge finishes what a crash left.

**Four eyes**, as two logins: one asks for a hold, its release or an export for a court, another agrees to
it. What was asked for is done in the transaction that approves it, if it still can be. Who asked can only
withdraw it. An export is good for one use, by who asked. Each step leaves a line in the trace, also one
that is refused. The database refuses by itself that anybody approves what they asked for, or decides
twice (`sqlite`, `postgres.schema`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime

from retention import holds
from retention.archive import Archive, why_held
from retention.erase import Deletion, KeptCall, NotDeleted, delete, finish_purge
from retention.holds import Hold, HoldError, place, release, same_person, why_no_hold
from retention.marks import ArchiveError
from retention.purge import due
from retention.records import Access, Approval, ApprovalState, Asked, Note, Recording, due_date
from retention.rows.rows import Rows
from retention.use import (
    Copy,
    UseRefused,
    allowed,
    discreet,
    known_copies,
    nothing_to_use,
    plain,
    what_goes,
    without_person,
)
from retention.use import why_not as why_not_used

LISTENED = ("export", "play")


class NotFiled(Exception):
    """The note is not filed; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """What was done. `note` as it is kept; `recording` as it was before.

    `erased`: the audio is erased now; `copies` of it were exported, and still exist. `held`: why it is kept
    although it should be erased.
    """

    note: Note
    recording: Recording
    erased: bool
    held: str | None
    copies: tuple[Copy, ...]


def file_note(archive: Archive, id: str, text: str, trace: Access, period: str, *, erase: bool) -> Filed:
    """File an analysis by `trace.by` for `period`; then erase the audio, if asked to and nothing holds it.

    What leads to caller or operator is cut out: a note outlives the recording. Raises NotFiled, UnknownId,
    StoreError; OSError for a file that cannot be removed: the next purge tries again.
    """
    store = archive.store
    with store.write():
        recording = store.recording(id)
        if (reason := why_no_analysis(recording, store.each_access(id))) is not None:
            raise NotFiled(reason)
        trace = discreet(replace(trace, action="note", recording_id=id), recording)
        note = Note(
            recording_id=id,
            at=trace.at,
            by=trace.by,
            text=without_person(text, recording),
            expires_at=due_date(trace.at, period),
        )
        store.add_note(note)
        erased = erase and archive.begin_purge(id)
        held = why_held(archive, recording) if erase else None
        store.add_access(replace(trace, detail="the audio goes" if erased else _stays(held)))
        if erased:
            store.add_access(replace(trace, action="purge", detail="analysed"))
    if erased:
        finish_purge(archive, id, trace.at)
    copies = known_copies(store, id) if erased else []
    return Filed(
        note=note,
        recording=recording,
        erased=erased,
        held=held,
        copies=tuple(copy for copy in copies if copy.exists),
    )


def why_no_analysis(recording: Recording, uses: Iterable[Access]) -> str | None:
    """Why there is nothing to analyse, in one line; None if there is something."""
    if (reason := nothing_to_use(recording)) is not None:
        return reason
    if any(use.action in LISTENED and use.outcome == "done" for use in uses):
        return None
    return "nobody has listened to it: an analysis comes after an export or a play"


def _stays(held: str | None) -> str | None:
    return held and f"the audio stays, it is {held}"


Discreet = Callable[[Access], Access]


class NamesPerson(NotFiled):
    """The analysis names the caller or the operator, and nobody has agreed to cut that out.

    `going`: what would be cut out, each in its line.
    """

    def __init__(self, going: list[str]) -> None:
        super().__init__("its text names the caller or the operator")
        self.going = going


def attempt_hold(
    archive: Archive,
    recording: Recording,
    hold: Hold,
    trace: Access,
    *,
    grounds: Collection[str],
    today: date,
    renew: bool = False,
) -> Recording:
    """Put a recording on hold, or renew the hold.

    `grounds` are those that are configured; `today` is the day in the service's zone. Raises HoldError,
    UnknownId, StoreError, ArchiveError, OSError.
    """
    trace = replace(trace, action="hold", by=trace.by or hold.by, reference=hold.reference)
    with _traced(archive, trace, recording.id, lambda told: discreet(told, recording)):
        if (reason := why_no_hold(hold, grounds, today)) is not None:
            raise HoldError(reason)
        return place(archive, recording.id, hold, trace, renew=renew)


def attempt_release(archive: Archive, recording: Recording, trace: Access) -> Recording:
    """Release a hold; `trace.detail` says why. Raises the errors of `attempt_hold`."""
    trace = replace(trace, action="release")
    with _traced(archive, trace, recording.id, lambda told: discreet(told, recording)):
        return release(archive, recording.id, trace)


def attempt_delete(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete a call now; `trace.detail` says why. See `erase.delete`, with its errors."""
    call = KeptCall.find(archive.store, id)
    trace = replace(trace, action="delete")
    with _traced(archive, trace, id, call.discreet):
        return delete(archive, id, trace, clock)


def what_would_go(archive: Archive, recording: Recording, text: str) -> list[str]:
    """What of an analysis would be cut out, each in its line; nothing of one that would not be filed."""
    uses = archive.store.each_access(recording.id)
    return [] if why_no_analysis(recording, uses) else what_goes(text, recording)


def attempt_note(
    archive: Archive,
    recording: Recording,
    text: str,
    trace: Access,
    *,
    period: str,
    erase: bool,
    agreed: bool,
) -> Filed:
    """File an analysis: see `file_note`, with its errors. `agreed`: to what would be cut out of it.

    Raises NamesPerson, too.
    """
    trace = replace(trace, action="note")
    with _traced(archive, trace, recording.id, lambda told: discreet(told, recording)):
        if not agreed and (going := what_would_go(archive, recording, text)):
            raise NamesPerson(going)
        return file_note(archive, recording.id, text, trace, period, erase=erase)


@contextmanager
def _traced(archive: Archive, trace: Access, id: str, without_person: Discreet) -> Iterator[None]:
    """Leave a line in the trace for what is refused or fails, and raise it again."""

    def tell(outcome: str, why: Exception) -> None:
        told = replace(trace, recording_id=id, outcome=outcome, detail=str(why))
        archive.store.add_access(without_person(told))

    try:
        yield
    except (HoldError, NotDeleted, NotFiled) as refusal:
        tell("refused", refusal)
        raise
    except (ArchiveError, OSError) as error:
        tell("failed", error)
        raise


APPROVER = "(another)"  # who is not known yet, in place of a name


class ApprovalError(Exception):
    """It cannot be asked for, approved, refused or withdrawn; `str()` is one line, and is in the trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration allows: grounds of holds, purposes, the period. `today` is the service's day."""

    grounds: Collection[str]
    purposes: Collection[str]
    period: str
    today: date


def needs_approval(use: Access, grounds: Collection[str]) -> bool:
    """Whether another has to agree to this use: an export for a court, that is on the ground of a hold."""
    return use.action == "export" and use.purpose in grounds


def ask_approval(archive: Archive, wanted: Approval, trace: Access, rules: Rules) -> Approval:
    """Ask for it; as it is kept, with its number. `trace` says who is logged in, and when.

    Raises ApprovalError, UnknownId, StoreError.
    """
    with _tracing(archive, wanted.recording_id, replace(trace, action="ask"), wanted.action) as tell:
        with archive.store.write():
            recording = archive.store.recording(wanted.recording_id)
            asked = _plain(replace(wanted, at=trace.at, by=_login(trace)), recording)
            if (reason := why_not_asked(archive.store, recording, asked, rules)) is not None:
                raise ApprovalError(reason)
            asked = archive.store.add_approval(asked)
            tell(asked)
        return asked


def approve(
    archive: Archive, number: int, trace: Access, rules: Rules, answer: str | None = None
) -> Approval:
    """Agree, and do what was asked for; an export can be used then. What no longer can be done stays undone.

    Raises ApprovalError, UnknownId, StoreError.
    """
    asked = archive.store.approval(number)
    with _tracing(archive, asked.recording_id, replace(trace, action="approve"), _told(asked)) as tell:
        with archive.store.write():
            asked, recording = _pending(archive, number)
            by = _login(trace)
            if asked.by is None:
                raise ApprovalError("who asked for it is forgotten")
            if same_person(by, asked.by):
                raise ApprovalError(f"{by!r} asked for it; accepted: somebody else")
            decided = replace(
                asked, state=ApprovalState.APPROVED.value, decided_at=trace.at, decided_by=by, answer=answer
            )
            if (reason := _why_not_done(recording, decided, by, rules, trace.at)) is not None:
                raise ApprovalError(reason)
            decided = _plain(decided, recording)
            archive.store.update_approval(decided)
            tell(decided)
            _do(archive, decided, trace)
        return decided


def refuse_approval(archive: Archive, number: int, trace: Access, answer: str | None) -> Approval:
    """Do not agree. Raises ApprovalError, UnknownId, StoreError."""
    return _end(archive, number, replace(trace, action="refuse"), ApprovalState.REFUSED, answer)


def withdraw_approval(archive: Archive, number: int, trace: Access, answer: str | None = None) -> Approval:
    """Who asked asks no longer. Raises ApprovalError, UnknownId, StoreError."""
    return _end(archive, number, replace(trace, action="withdraw"), ApprovalState.WITHDRAWN, answer)


def pending_approvals(store: Rows) -> list[Approval]:
    """What waits for somebody, the longest first. Raises StoreError."""
    return list(store.each_approval(pending=True))[::-1]


def begin_approved(
    archive: Archive,
    recording: Recording,
    use: Access,
    number: int,
    rules: Rules,
    *,
    channel: str,
    since: datetime,
    obstacle: Callable[[], str | None] = lambda: None,
) -> int:
    """Commit the one use of an export that was approved; its number in the trace.

    `since`: when the account was made, for an earlier one of that name is another person's. Raises UseRefused
    with its line in the trace, also for another person, purpose, recording or side than was approved;
    UnknownId; StoreError.
    """
    due_at = due(recording, rules.period)
    found = allowed(archive, recording, use, rules.purposes, due_at, obstacle=obstacle)
    try:
        with archive.store.write():
            approved = archive.store.approval(number)
            if (reason := _not_for(approved, recording, use, channel, since)) is not None:
                raise UseRefused(reason)
            archive.store.update_approval(replace(approved, state=ApprovalState.USED.value))
            return found.begin(use.outcome, use.detail)
    except UseRefused as refusal:
        found.tell("refused", str(refusal))
        raise


def why_not_asked(store: Rows, recording: Recording, asked: Approval, rules: Rules) -> str | None:
    """Why this cannot be asked for, or done any more, in one line; None if it can. Raises StoreError."""
    others = (one for one in store.approvals(recording.id) if one.id != asked.id)
    for one in others:
        if one.state == ApprovalState.PENDING and _is_same(one, asked):
            return f"the same is asked for already, as number {one.id}"
    return _why_not_done(recording, asked, asked.decided_by or APPROVER, rules, asked.at)


def _why_not_done(
    recording: Recording, asked: Approval, approved_by: str, rules: Rules, at: datetime
) -> str | None:
    match asked.action:
        case Asked.HOLD | Asked.RENEW:
            return _not_held(recording, asked, approved_by, rules)
        case Asked.RELEASE:
            if recording.hold is None:
                return nothing_to_use(recording) or "it is not on hold"
            return None if asked.reason else "a reason is needed"
        case Asked.EXPORT:
            return _not_exported(recording, asked, rules, at)
        case _:
            return f"{asked.action!r} cannot be asked for; accepted: {', '.join(Asked)}"


def _not_held(recording: Recording, asked: Approval, approved_by: str, rules: Rules) -> str | None:
    try:
        wanted = _hold(asked, approved_by)
    except ValueError:
        return f"{asked.review!r} is not a day; accepted: 2027-05-31"
    if (reason := holds.why_no_hold(wanted, rules.grounds, rules.today)) is not None:
        return reason
    return holds.why_not_placed(recording, renew=asked.action == Asked.RENEW)


def _not_exported(recording: Recording, asked: Approval, rules: Rules, at: datetime) -> str | None:
    if asked.purpose not in rules.grounds:
        accepted = ", ".join(rules.grounds)
        return f"an export for {asked.purpose!r} needs nobody's approval; accepted: {accepted}"
    if not asked.channel:
        return "the side is needed: caller, operator or both"
    use = Access(at=at, action="export", purpose=asked.purpose, by=asked.by, reference=asked.reference)
    return why_not_used(recording, use, rules.purposes, due(recording, rules.period))


def _do(archive: Archive, decided: Approval, trace: Access) -> None:
    """Raises ApprovalError, ArchiveError, OSError."""
    id, done = decided.recording_id, replace(trace, by=decided.by, outcome="done")
    try:
        match decided.action:
            case Asked.HOLD | Asked.RENEW:
                wanted = _hold(decided, str(decided.decided_by))
                place(archive, id, wanted, done, renew=decided.action == Asked.RENEW)
            case Asked.RELEASE:
                told = f"{decided.reason}, approved by {decided.decided_by}"
                release(archive, id, replace(done, detail=told))
    except HoldError as error:
        raise ApprovalError(str(error)) from error


def _end(archive: Archive, number: int, trace: Access, state: ApprovalState, answer: str | None) -> Approval:
    asked = archive.store.approval(number)
    with _tracing(archive, asked.recording_id, trace, _told(asked)) as tell:
        with archive.store.write():
            asked, recording = _pending(archive, number)
            by = _login(trace)
            theirs = same_person(by, asked.by)
            if theirs and state is ApprovalState.REFUSED:
                raise ApprovalError(f"{by!r} asked for it; accepted: to withdraw it")
            if not theirs and state is ApprovalState.WITHDRAWN:
                raise ApprovalError("only who asked for it can withdraw it; accepted: to refuse it")
            ended = replace(asked, state=state.value, decided_at=trace.at, decided_by=by, answer=answer)
            ended = _plain(ended, recording)
            archive.store.update_approval(ended)
            tell(ended)
        return ended


def _pending(archive: Archive, number: int) -> tuple[Approval, Recording]:
    """Raises ApprovalError for what is decided."""
    asked = archive.store.approval(number)
    if asked.state != ApprovalState.PENDING:
        raise ApprovalError(_decided(asked))
    return asked, archive.store.recording(asked.recording_id)


def _decided(asked: Approval) -> str:
    match asked.state:
        case ApprovalState.REFUSED:
            return f"number {asked.id} is refused already"
        case ApprovalState.WITHDRAWN:
            return f"number {asked.id} is withdrawn already"
        case ApprovalState.USED:
            return f"number {asked.id} is used already"
        case _:
            return f"number {asked.id} is approved already"


def _login(trace: Access) -> str:
    if not trace.login:
        raise ApprovalError("a login is needed")
    return trace.login


def _hold(asked: Approval, approved_by: str) -> Hold:
    """Raises ValueError for a review that is no day."""
    return Hold(
        ground=asked.ground or "",
        reference=asked.reference or "",
        by=asked.by or "",
        approved_by=approved_by,
        review=date.fromisoformat(asked.review or ""),
    )


def _is_same(one: Approval, other: Approval) -> bool:
    """An export may be asked for by several people, each for their own use."""
    if one.action != other.action:
        return False
    return one.action != Asked.EXPORT or (
        same_person(one.by, other.by) and (one.purpose, one.channel) == (other.purpose, other.channel)
    )


def _not_for(
    approved: Approval, recording: Recording, use: Access, channel: str, since: datetime
) -> str | None:
    """Why an approval is not for this use."""
    if approved.state != ApprovalState.APPROVED or approved.action != Asked.EXPORT:
        if approved.state == ApprovalState.USED:
            return _decided(approved)
        return f"number {approved.id} is not an approved export; accepted: one that somebody else approved"
    if not same_person(approved.by, use.login) or approved.at < since:
        return f"number {approved.id} was asked for by somebody else"
    if (approved.recording_id, approved.purpose, approved.channel) != (recording.id, use.purpose, channel):
        return f"number {approved.id} is for another export"
    return None


def _plain(asked: Approval, recording: Recording) -> Approval:
    """As it is kept: nothing of caller and operator, and only what a database can take."""
    return replace(
        asked,
        reference=plain(asked.reference, recording),
        reason=plain(asked.reason, recording),
        answer=plain(asked.answer, recording),
    )


def _told(asked: Approval) -> str:
    """What the trace says: `hold, number 7`."""
    return f"{asked.action}, number {asked.id}"


@contextmanager
def _tracing(archive: Archive, id: str, trace: Access, what: str) -> Iterator[Callable[[Approval], None]]:
    """Gives what leaves a line for what was done; leaves one for what is refused or fails.

    Raises ApprovalError; StoreError.
    """
    recording = archive.store.recording(id)
    trace = replace(trace, recording_id=id)

    def told(outcome: str, detail: str) -> None:
        archive.store.add_access(discreet(replace(trace, outcome=outcome, detail=detail), recording))

    try:
        yield lambda asked: told("done", _told(asked))
    except ApprovalError as refusal:
        told("refused", f"{what}: {refusal}")
        raise
    except (ArchiveError, OSError) as error:
        told("failed", f"{what}: {error}")
        raise

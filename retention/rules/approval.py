"""Four eyes, as two logins: one asks for a hold, its release or an export for a court, another agrees to it.

What was asked for is done in the transaction that approves it, if it still can be. Who asked can only
withdraw it. An export is good for one use, by who asked. Each step leaves a line in the trace, also one that
is refused. The database refuses by itself that anybody approves what they asked for, or decides twice
(`rows.schema`).
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime

from retention.approval import Approval, Asked, State
from retention.archive.archive import Archive, ArchiveError
from retention.recording import Access, Recording
from retention.rows.rows import Rows
from retention.rules import hold as holds
from retention.rules.hold import Hold, HoldError, place, release, same_person
from retention.rules.purge import due
from retention.rules.use import discreet, nothing_to_use, plain
from retention.rules.use import why_not as why_not_used
from retention.rules.using import UseRefused, allowed

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


def is_needed(use: Access, grounds: Collection[str]) -> bool:
    """Whether another has to agree to this use: an export for a court, that is on the ground of a hold."""
    return use.action == "export" and use.purpose in grounds


def ask(archive: Archive, wanted: Approval, trace: Access, rules: Rules) -> Approval:
    """Ask for it; as it is kept, with its number. `trace` says who is logged in, and when.

    Raises ApprovalError, UnknownId, StoreError.
    """
    with _traced(archive, wanted.recording_id, replace(trace, action="ask"), wanted.action) as tell:
        with archive.store.write():
            recording = archive.store.recording(wanted.recording_id)
            asked = _plain(replace(wanted, at=trace.at, by=_login(trace)), recording)
            if (reason := why_not(archive.store, recording, asked, rules)) is not None:
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
    with _traced(archive, asked.recording_id, replace(trace, action="approve"), _told(asked)) as tell:
        with archive.store.write():
            asked, recording = _pending(archive, number)
            by = _login(trace)
            if asked.by is None:
                raise ApprovalError("who asked for it is forgotten")
            if same_person(by, asked.by):
                raise ApprovalError(f"{by!r} asked for it; accepted: somebody else")
            decided = replace(
                asked, state=State.APPROVED.value, decided_at=trace.at, decided_by=by, answer=answer
            )
            if (reason := _why_not_done(recording, decided, by, rules, trace.at)) is not None:
                raise ApprovalError(reason)
            decided = _plain(decided, recording)
            archive.store.update_approval(decided)
            tell(decided)
            _do(archive, decided, trace)
        return decided


def refuse(archive: Archive, number: int, trace: Access, answer: str | None) -> Approval:
    """Do not agree. Raises ApprovalError, UnknownId, StoreError."""
    return _end(archive, number, replace(trace, action="refuse"), State.REFUSED, answer)


def withdraw(archive: Archive, number: int, trace: Access, answer: str | None = None) -> Approval:
    """Who asked asks no longer. Raises ApprovalError, UnknownId, StoreError."""
    return _end(archive, number, replace(trace, action="withdraw"), State.WITHDRAWN, answer)


def pending(store: Rows) -> list[Approval]:
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
            archive.store.update_approval(replace(approved, state=State.USED.value))
            return found.begin(use.outcome, use.detail)
    except UseRefused as refusal:
        found.tell("refused", str(refusal))
        raise


def why_not(store: Rows, recording: Recording, asked: Approval, rules: Rules) -> str | None:
    """Why this cannot be asked for, or done any more, in one line; None if it can. Raises StoreError."""
    others = (one for one in store.approvals(recording.id) if one.id != asked.id)
    for one in others:
        if one.state == State.PENDING and _is_same(one, asked):
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
    if (reason := holds.why_not(wanted, rules.grounds, rules.today)) is not None:
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


def _end(archive: Archive, number: int, trace: Access, state: State, answer: str | None) -> Approval:
    asked = archive.store.approval(number)
    with _traced(archive, asked.recording_id, trace, _told(asked)) as tell:
        with archive.store.write():
            asked, recording = _pending(archive, number)
            by = _login(trace)
            theirs = same_person(by, asked.by)
            if theirs and state is State.REFUSED:
                raise ApprovalError(f"{by!r} asked for it; accepted: to withdraw it")
            if not theirs and state is State.WITHDRAWN:
                raise ApprovalError("only who asked for it can withdraw it; accepted: to refuse it")
            ended = replace(asked, state=state.value, decided_at=trace.at, decided_by=by, answer=answer)
            ended = _plain(ended, recording)
            archive.store.update_approval(ended)
            tell(ended)
        return ended


def _pending(archive: Archive, number: int) -> tuple[Approval, Recording]:
    """Raises ApprovalError for what is decided."""
    asked = archive.store.approval(number)
    if asked.state != State.PENDING:
        raise ApprovalError(_decided(asked))
    return asked, archive.store.recording(asked.recording_id)


def _decided(asked: Approval) -> str:
    match asked.state:
        case State.REFUSED:
            return f"number {asked.id} is refused already"
        case State.WITHDRAWN:
            return f"number {asked.id} is withdrawn already"
        case State.USED:
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
    if approved.state != State.APPROVED or approved.action != Asked.EXPORT:
        if approved.state == State.USED:
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
def _traced(archive: Archive, id: str, trace: Access, what: str) -> Iterator[Callable[[Approval], None]]:
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

"""Holds, and what needs four eyes: one login asks for a hold, its release or an export for a court, another
agrees to it. At a shell two names do (`hold`, `end_hold`).

What was asked for is done in the transaction that approves it, if it still can be. Who asked can only
withdraw it. An export is good for one use, by who asked. Each step leaves a line in the trace, also one
that is refused. The database refuses by itself that anybody approves what they asked for, or decides
twice (`sqlite`, `postgres.schema`).
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from retention import holds
from retention.archive import Archive
from retention.purge import due
from retention.records import (
    Access,
    Approval,
    ApprovalState,
    Asked,
    Hold,
    HoldTerms,
    Recording,
    RuleError,
    terms,
)
from retention.rows.rows import Rows
from retention.texts import Reason
from retention.use import discreet, nothing_to_use, plain
from retention.use import why_not as why_not_used
from sipagent.operations import UNCHANGED, traced

if TYPE_CHECKING:
    from sipagent.config.load import Config

APPROVER = "(another)"  # who is not known yet, in place of a name


class ApprovalError(RuleError):
    """It cannot be asked for, approved, refused or withdrawn; `others_may`: another person could decide."""

    def __init__(self, why: str, *values: object, others_may: bool = False) -> None:
        super().__init__(why, *values)
        self.others_may = others_may


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration allows: grounds of holds, purposes, the period. `today` is the service's day."""

    grounds: Collection[str]
    purposes: Collection[str]
    period: str
    today: date


def rules_of(config: "Config", present: datetime) -> Rules:
    """What may be asked for, and approved, at that moment."""
    kept = config.retention
    return Rules(
        grounds=kept.hold_grounds,
        purposes=kept.purposes,
        period=kept.period,
        today=present.astimezone(config.service.timezone).date(),
    )


def needs_approval(use: Access, grounds: Collection[str]) -> bool:
    """Whether another has to agree to this use: an export for a court, that is on the ground of a hold."""
    return use.action == "export" and use.purpose in grounds


def ask_approval(archive: Archive, wanted: Approval, trace: Access, rules: Rules) -> Approval:
    """Ask for it; as it is kept, with its number. `trace` says who is logged in, and when.

    Raises ApprovalError, UnknownId, StoreError.
    """
    trace = replace(trace, action="ask")
    with _tracing(archive, wanted.recording_id, trace, wanted.action) as tell, archive.store.write():
        recording = archive.store.recording(wanted.recording_id)
        asked = _plain(replace(wanted, at=trace.at, by=_login(trace)), recording)
        if (reason := _why_not_asked(archive.store, recording, asked, rules)) is not None:
            raise ApprovalError(reason)
        asked = archive.store.add_approval(asked)
        tell(asked)
    return asked


_STATES = {
    "approve": ApprovalState.APPROVED,
    "refuse": ApprovalState.REFUSED,
    "withdraw": ApprovalState.WITHDRAWN,
}


def decide(
    archive: Archive, how: str, number: int, trace: Access, rules: Rules, *, answer: str | None = None
) -> Approval:
    """`approve`, which does what was asked for (an export can be used then); `refuse`; or `withdraw`.

    What no longer can be done stays undone. Raises ApprovalError, UnknownId, StoreError; Unfinished for a
    file that cannot be written: then nothing has changed.
    """
    asked = archive.store.approval(number)
    trace = replace(trace, action=how)
    with _tracing(archive, asked.recording_id, trace, _told(asked)) as tell, archive.store.write():
        asked = archive.store.approval(number)
        if asked.state != ApprovalState.PENDING:
            raise ApprovalError(decided_already(asked))
        recording, by = archive.store.recording(asked.recording_id), _login(trace)
        _require_theirs(how, asked, by)
        decided = replace(asked, state=_STATES[how].value, decided_at=trace.at, decided_by=by, answer=answer)
        approved = decided.state == ApprovalState.APPROVED
        if approved and (reason := _why_not_done(recording, decided, by, rules, trace.at)) is not None:
            raise ApprovalError(reason)
        decided = _plain(decided, recording)
        archive.store.update_approval(decided)
        tell(decided)
        if approved:
            _do(archive, decided, trace)
    return decided


def pending_approvals(store: Rows) -> list[Approval]:
    """What waits for somebody, the longest first. Raises StoreError."""
    return list(store.each_approval(pending=True))[::-1]


def _why_not_asked(store: Rows, recording: Recording, asked: Approval, rules: Rules) -> str | None:
    others = (one for one in store.approvals(recording.id) if one.id != asked.id)
    for one in others:
        if one.state == ApprovalState.PENDING and _is_same(one, asked):
            return Reason("the same is asked for already, as number {0}", one.id)
    return _why_not_done(recording, asked, APPROVER, rules, asked.at)


def _why_not_done(
    recording: Recording, asked: Approval, approved_by: str, rules: Rules, at: datetime
) -> str | None:
    match asked.action:
        case Asked.HOLD | Asked.RENEW:
            return _not_held(recording, asked, approved_by, rules)
        case Asked.RELEASE:
            if recording.hold is None:
                return nothing_to_use(recording) or Reason("it is not on hold")
            return None if asked.reason else Reason("a reason is needed")
        case Asked.EXPORT:
            return _not_exported(recording, asked, rules, at)
        case _:
            return Reason("{0!r} cannot be asked for; accepted: {1}", asked.action, ", ".join(Asked))


def _not_held(recording: Recording, asked: Approval, approved_by: str, rules: Rules) -> str | None:
    if (reason := holds.why_no_hold(_hold(asked, approved_by), rules.grounds, rules.today)) is not None:
        return reason
    return holds.why_not_placed(recording, renew=asked.action == Asked.RENEW)


def _not_exported(recording: Recording, asked: Approval, rules: Rules, at: datetime) -> str | None:
    if asked.purpose not in rules.grounds:
        accepted = ", ".join(rules.grounds)
        return Reason("an export for {0!r} needs nobody's approval; accepted: {1}", asked.purpose, accepted)
    if not asked.channel:
        return Reason("the side is needed: caller, operator or both")
    use = Access(at=at, action="export", purpose=asked.purpose, by=asked.by, reference=asked.reference)
    return why_not_used(recording, use, rules.purposes, due(recording, rules.period))


def _do(archive: Archive, decided: Approval, trace: Access) -> None:
    """Raises HoldError, ArchiveError, OSError."""
    id, done = decided.recording_id, replace(trace, by=decided.by, outcome="done")
    match decided.action:
        case Asked.HOLD | Asked.RENEW:
            wanted = _hold(decided, str(decided.decided_by))
            holds.place(archive, id, wanted, done, renew=decided.action == Asked.RENEW)
        case Asked.RELEASE:
            told = Reason("{0}, approved by {1}", decided.reason, decided.decided_by)
            holds.release(archive, id, replace(done, detail=told))


def _require_theirs(how: str, asked: Approval, by: str) -> None:
    """Who asked can only withdraw it, and nobody else can."""
    if how == "approve" and asked.by is None:
        raise ApprovalError("who asked for it is forgotten")
    theirs = holds.same_person(by, asked.by)
    if theirs and how == "approve":
        raise ApprovalError("{0!r} asked for it; accepted: somebody else", by, others_may=True)
    if theirs and how == "refuse":
        raise ApprovalError("{0!r} asked for it; accepted: to withdraw it", by, others_may=True)
    if not theirs and how == "withdraw":
        said = "only who asked for it can withdraw it; accepted: to refuse it"
        raise ApprovalError(said, others_may=True)


def decided_already(asked: Approval) -> str:
    """`number 7 is refused already`."""
    match asked.state:
        case ApprovalState.REFUSED:
            return Reason("number {0} is refused already", asked.id)
        case ApprovalState.WITHDRAWN:
            return Reason("number {0} is withdrawn already", asked.id)
        case ApprovalState.USED:
            return Reason("number {0} is used already", asked.id)
        case _:
            return Reason("number {0} is approved already", asked.id)


def _login(trace: Access) -> str:
    if not trace.login:
        raise ApprovalError("a login is needed")
    return trace.login


def _hold(asked: Approval, approved_by: str) -> Hold:
    said = {name: getattr(asked, name) for name in terms(HoldTerms)}
    return Hold(**said, by=asked.by or "", approved_by=approved_by)


def _is_same(one: Approval, other: Approval) -> bool:
    """An export may be asked for by several people, each for their own use."""
    if one.action != other.action:
        return False
    return one.action != Asked.EXPORT or (
        holds.same_person(one.by, other.by) and (one.purpose, one.channel) == (other.purpose, other.channel)
    )


def _plain(asked: Approval, recording: Recording) -> Approval:
    """As it is kept: nothing of caller and operator, and only what a database can take."""
    names = ("reason", "answer", *(name for name, term in terms(HoldTerms).items() if not term.open))
    kept: dict[str, Any] = {name: plain(getattr(asked, name), recording) for name in names}
    return replace(asked, **kept)


def _told(asked: Approval) -> str:
    """What the trace says: `hold, number 7`."""
    return Reason("{0}, number {1}", asked.action, asked.id)


@contextmanager
def _tracing(archive: Archive, id: str, trace: Access, what: str) -> Iterator[Callable[[Approval], object]]:
    """Gives what leaves the line for what was done; `what` was asked for. Raises StoreError."""
    recording = archive.store.recording(id)
    trace = replace(trace, recording_id=id)
    with traced(archive, trace, recording, f"{what}: ", left=UNCHANGED):
        yield lambda asked: archive.store.add_access(
            discreet(replace(trace, outcome="done", detail=_told(asked)), recording)
        )


# --- at a shell, by two names ---


@dataclass(frozen=True, kw_only=True)
class HeldRecording(Recording):
    """A recording on hold: an item of `holds --json`."""

    review_overdue: bool


def held(store: Rows, today: date) -> list[HeldRecording]:
    """What is on hold, overdue reviews first; `today` in the service's time zone. Raises StoreError."""
    return [HeldRecording.of(row, review_overdue=holds.is_overdue(row, today)) for row in holds.holds(store)]


def hold(
    archive: Archive, recording: Recording, wanted: Hold, trace: Access, rules: Rules, *, renew: bool = False
) -> Recording:
    """Put a recording on hold, or renew the hold; as it is now.

    Raises HoldError, UnknownId, StoreError, ArchiveError; Unfinished for a file that cannot be written.
    """
    trace = replace(
        trace,
        action="hold",
        recording_id=recording.id,
        by=trace.by or wanted.by,
        reference=wanted.reference,
    )
    with traced(archive, trace, recording, left=UNCHANGED):
        if (reason := holds.why_no_hold(wanted, rules.grounds, rules.today)) is not None:
            raise holds.HoldError(reason)
        return holds.place(archive, recording.id, wanted, trace, renew=renew)


def end_hold(archive: Archive, recording: Recording, trace: Access) -> Recording:
    """Release a recording; `trace.detail` says why. Raises HoldError, UnknownId, StoreError, ArchiveError,
    OSError."""
    trace = replace(trace, action="release", recording_id=recording.id)
    with traced(archive, trace, recording):
        return holds.release(archive, recording.id, trace)

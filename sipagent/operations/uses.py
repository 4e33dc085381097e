"""Use a recording: play it, or copy it, for a purpose; file the analysis of what was heard.

A use is checked, then its line is written into the trace, and only then comes the sound. What is refused or
fails leaves a line, too. No sound is handed out whose use is not committed, and none whose recording was
purged a moment before.

    using      at a shell: the sound is opened here, and the trace says how it ended
    begin_use  for a login: the trace says that it was handed out; an export for a court is asked for first,
               and is good for one use once another login has approved it (`approvals`)
    file_note  by who has listened: a recording that serves only quality need not outlive its analysis; if the
               configuration says so, its audio is erased then (the French regulator calls this a buffer;
               CNIL, deliberation 2014-474). The note is filed and the row becomes `purging` in one
               transaction, so that no crash erases what was not analysed, and the next purge finishes what a
               crash left.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from media import MediaError
from retention.archive import Archive, why_held
from retention.erase import KeptCall, begin_purge, erase_begun
from retention.holds import same_person
from retention.purge import due
from retention.recording_files import FileKind, finished
from retention.records import (
    Access,
    Approval,
    ApprovalState,
    Asked,
    MissingSound,
    Note,
    Pause,
    Record,
    Recording,
    RuleError,
    Status,
    due_date,
)
from retention.rows.rows import StoreError, UnknownId
from retention.texts import Reason, WithReason
from retention.use import (
    ACCESS_REQUEST,
    KnownCopy,
    discreet,
    gives_sound,
    nothing_to_use,
    purposes_of,
    remaining_copies,
    told_of_download,
    what_goes,
    why_not,
    why_not_told,
    without_person,
)
from retention.vault import KeysError, PublicKey, encode
from sipagent.languages.labels import N_
from sipagent.operations import traced
from sipagent.operations.approvals import Rules, ask_approval, decided_already, needs_approval


class UseRefused(RuleError):
    """The use is refused."""

    def __init__(self, why: str, *values: object, others_may: bool = False, gone: bool = False) -> None:
        super().__init__(why, *values)
        self.others_may, self.gone = others_may, gone


@contextmanager
def using(
    archive: Archive,
    of: Recording | KeptCall,
    use: Access,
    rules: Rules,
    obstacle: Callable[[], str | None] = lambda: None,
) -> Iterator[Callable[[str, str], None]]:
    """Gives what writes a line of the trace, outcome and detail: the first one before any sound.

    `of`: the sound of a recording, or all that is told of a call, with or without any. `obstacle` says what
    else is in its way. Raises UseRefused, StoreError; what the caller raises is in the trace, as a refusal
    where what is used has gone meanwhile.
    """
    kept, begun = _as_kept(of, use, rules), False

    def tell(outcome: str, detail: str) -> None:
        nonlocal begun
        with archive.store.write():
            if not begun:
                _require_there(archive, of)
            _write(archive, of, replace(kept, outcome=outcome, detail=detail))
        begun = True

    with traced(archive, kept, of if isinstance(of, Recording) else of.discreet):
        _require_allowed(of, use, rules)
        if (reason := obstacle()) is not None:
            raise UseRefused(reason)
        try:
            yield tell
        except (RuleError, StoreError):
            raise
        except (WithReason, MediaError, OSError):
            if not begun:
                _require_there(archive, of)
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class UseWanted:
    """What a login wants to use a recording for, and how.

    `file`: how a copy is named. `approval`: the number of an export that somebody else has approved.
    """

    purpose: str | None
    reference: str | None
    action: Literal["play", "export"]
    channel: str
    file: str | None
    approval: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """What a login may.

    `any_purpose`: not only to answer a person's request. `may_ask`: for an approval, as the roles of
    `askers` may. `key`: what they open recordings with. `since`: an earlier account of that name was another
    person's.
    """

    any_purpose: bool
    may_ask: bool
    askers: Sequence[str]
    key: PublicKey | None
    since: datetime


@dataclass(frozen=True, kw_only=True)
class SealedKey(Record):
    """The key of a recording, sealed to the asker's public key: a SealedBox of libsodium, in base64."""

    public: str
    sealed: str


@dataclass(frozen=True, kw_only=True)
class BegunUse(Record):
    """A use that is in the trace, and what is needed to hear it."""

    id: int
    recording: str
    action: Literal["play", "export"]
    purpose: str
    sealed: bool
    key: SealedKey | None
    bytes: int | None
    sha256: str | None
    sample_rate: int | None
    channels: int | None
    duration_s: float | None
    pauses: tuple[Pause, ...]
    missing: tuple[MissingSound, ...]
    incomplete: bool


def begin_use(
    archive: Archive,
    recording: Recording,
    wanted: UseWanted,
    trace: Access,
    *,
    rules: Rules,
    user: User,
    sound_problem: Callable[[Recording], str | None],
) -> BegunUse | Approval:
    """Commit a use whose sound is handed out; or ask for it, where another login has to approve it first.

    `trace` says who is logged in, and when; `sound_problem` why there is no sound to give. Raises UseRefused,
    ApprovalError, StoreError, OSError.
    """
    use = replace(trace, action=wanted.action, purpose=wanted.purpose, reference=wanted.reference or None)
    use = _as_kept(recording, use, rules)
    court = needs_approval(use, rules.grounds)
    with traced(archive, use, recording):
        _require_allowed(recording, replace(use, purpose=wanted.purpose), rules)
        if not court or wanted.approval is not None:
            _require_role(wanted, user)
            sealed = finished(archive.files, recording.id) is FileKind.SEALED
            key = _sealed_key(archive, recording, user.key) if sealed else None
            if (reason := sound_problem(recording)) is not None:
                raise UseRefused(reason)
            with archive.store.write():
                _require_there(archive, recording)  # a purge, or a refusal, may have come first
                if court:
                    _spend(archive, recording, wanted, use, user.since)
                number = _write(archive, recording, replace(use, detail=_detail(wanted, recording)))
            own = {"id": number, "recording": recording.id, "sealed": sealed, "key": key}
            return BegunUse.of(recording, action=wanted.action, purpose=wanted.purpose, **own)
        if not user.may_ask:
            said = N_("an export for {purpose} has to be approved; accepted: to be asked for by {roles}")
            roles = ", ".join(user.askers)
            raise UseRefused(Reason(said, purpose=repr(wanted.purpose), roles=roles), others_may=True)
    asked = Approval(
        at=use.at,
        action=Asked.EXPORT.value,
        recording_id=recording.id,
        by=None,
        purpose=wanted.purpose,
        reference=use.reference,
        channel=wanted.channel,
    )
    return ask_approval(archive, asked, trace, rules)


def _require_role(wanted: UseWanted, user: User) -> None:
    if wanted.purpose != ACCESS_REQUEST and not user.any_purpose:
        raise UseRefused(role_lacks(wanted.purpose), others_may=True)


def role_lacks(purpose: str | None) -> Reason:
    """What is said to who may use nothing for this purpose."""
    said = N_("purpose {purpose} is not for your role; accepted: {accepted}")
    return Reason(said, purpose=repr(purpose), accepted=ACCESS_REQUEST)


def _detail(wanted: UseWanted, recording: Recording) -> str:
    """What the trace says of it besides."""
    if wanted.action == "play":
        return wanted.channel
    return told_of_download(wanted.channel, wanted.file or f"{recording.id}-{wanted.channel}", recording)


def _sealed_key(archive: Archive, recording: Recording, own: PublicKey | None) -> SealedKey:
    try:
        recipients = archive.vault.recipients(recording.id)
        who = " or ".join(map(str, recipients))
        if own is None:
            said = N_("it is sealed, and this login has no key; accepted: one with the public key of {who}")
            raise UseRefused(Reason(said, who=who))
        if own not in recipients:
            said = N_("it is not sealed to the key of this login, {own}; accepted: the key of {who}")
            raise UseRefused(Reason(said, own=str(own), who=who))
        return SealedKey(public=encode(own.raw), sealed=encode(archive.vault.box(recording.id, own)))
    except KeysError as error:
        raise UseRefused(*error.args) from error


def _spend(archive: Archive, recording: Recording, wanted: UseWanted, use: Access, since: datetime) -> None:
    """Use up the approval. Raises UseRefused for one of another person, purpose, recording or side."""
    try:
        approved = archive.store.approval(wanted.approval or 0)
    except UnknownId as unknown:
        raise UseRefused("{0}: {1}", "approval", unknown) from unknown
    if approved.state == ApprovalState.USED:
        raise UseRefused(decided_already(approved))
    if approved.state != ApprovalState.APPROVED or approved.action != Asked.EXPORT:
        said = "number {0} is not an approved export; accepted: one that somebody else approved"
        raise UseRefused(said, approved.id)
    if not same_person(approved.by, use.login) or approved.at < since:
        raise UseRefused("number {0} was asked for by somebody else", approved.id)
    if (approved.recording_id, approved.purpose, approved.channel) != (
        recording.id,
        wanted.purpose,
        wanted.channel,
    ):
        raise UseRefused("number {0} is for another export", approved.id)
    archive.store.update_approval(replace(approved, state=ApprovalState.USED.value))


def row_of(of: Recording | KeptCall) -> Recording | None:
    """The recording of what is used."""
    return of if isinstance(of, Recording) else of.recording


def _as_kept(of: Recording | KeptCall, use: Access, rules: Rules) -> Access:
    """A purpose stays in the chain forever, so only a listed one is kept as such: any other text goes into
    the detail, which is emptied later."""
    row = row_of(of)
    listed = use.purpose in purposes_of(row, rules.purposes)
    return replace(use, recording_id=of.id, purpose=use.purpose if listed else None)


def _require_allowed(of: Recording | KeptCall, use: Access, rules: Rules) -> None:
    row = row_of(of)
    if row is not None and (isinstance(of, Recording) or _is_in_use(row)):
        reason, gone = why_not(row, use, rules.purposes, due(row, rules.period)), nothing_to_use(row)
    else:
        assert isinstance(of, KeptCall)
        reason, gone = why_not_told(of.receipt, row, use, rules.purposes), None
    if reason is not None:
        raise UseRefused(reason, others_may=True, gone=reason == gone)


def _is_in_use(row: Recording) -> bool:
    """Whether it has sound, or is just getting or losing it."""
    return row.status in (Status.OPEN, Status.CLOSED, Status.PURGING)


def _require_there(archive: Archive, of: Recording | KeptCall) -> None:
    """Raises UseRefused where a purge, a deletion or a refusal came first."""
    if isinstance(of, Recording):
        if (gone := nothing_to_use(archive.store.recording(of.id))) is not None:
            raise UseRefused(gone, gone=True)
    elif (now := KeptCall.find(archive.store, of.id)) != of:
        gone = nothing_to_use(now.recording) if now.recording else None
        raise UseRefused(gone or "it has changed meanwhile: try again", gone=gone is not None)


def _write(archive: Archive, of: Recording | KeptCall, use: Access) -> int:
    return archive.store.add_access(discreet(use, of) if isinstance(of, Recording) else of.discreet(use))


class NotFiled(RuleError):
    """The note is not filed."""


@dataclass(frozen=True, kw_only=True)
class FiledAnalysis(Record):
    """What was done: the note as it is kept.

    `erased`: the audio is erased now; `copies` of it were exported, and may still exist. `held`: why it is
    kept although it should be erased.
    """

    note: Note
    erased: bool
    held: str | None
    copies: tuple[KnownCopy, ...]


def file_note(
    archive: Archive, id: str, text: str, trace: Access, period: str, *, erase: bool
) -> FiledAnalysis:
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
        erased = erase and bool(begin_purge(archive, [id]))
        held = why_held(archive, recording) if erase else None
        store.add_access(replace(trace, detail="the audio goes" if erased else _stays(held)))
        if erased:
            store.add_access(replace(trace, action="purge", detail="analysed"))
    if erased:
        erase_begun(archive, id, trace.at)
    copies = remaining_copies(store, id) if erased else ()
    return FiledAnalysis(note=note, erased=erased, held=held, copies=copies)


def why_no_analysis(recording: Recording, uses: Iterable[Access]) -> str | None:
    """Why there is nothing to analyse, in one line; None if there is something."""
    if (reason := nothing_to_use(recording)) is not None:
        return reason
    if any(map(gives_sound, uses)):
        return None
    return "nobody has listened to it: an analysis comes after an export or a play"


def _stays(held: str | None) -> str | None:
    return held and Reason("the audio stays, it is {0}", held)


class NamesPerson(NotFiled):
    """The analysis names the caller or the operator, and nobody has agreed to cut that out.

    `more`: what is `going` then, each in its line.
    """

    def __init__(self, going: list[str]) -> None:
        super().__init__("its text names the caller or the operator")
        self.more = {"going": going}


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
) -> FiledAnalysis:
    """File an analysis: see `file_note`. `agreed`: to what would be cut out of it.

    Raises NamesPerson, NotFiled, UnknownId, StoreError; Unfinished for audio that cannot be erased.
    """
    trace = replace(trace, action="note", recording_id=recording.id)
    with traced(archive, trace, recording, left=N_("{0}; the note is filed, the next purge erases")):
        if not agreed and (going := what_would_go(archive, recording, text)):
            raise NamesPerson(going)
        return file_note(archive, recording.id, text, trace, period, erase=erase)

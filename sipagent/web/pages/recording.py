"""The page of one call: all that is known of it, its sound for who may hear it, and what can be done with
it.

By forms of this page an analysis is filed, the call is deleted; a hold, or its end, is asked for, which
somebody else then approves or not.

`Listening` is what the player needs to know (templates/player.html).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.archive import is_nameless
from retention.holds import is_overdue, same_person
from retention.purge import due
from retention.recording_files import FileKind, finished
from retention.records import (
    Approval,
    ApprovalState,
    Asked,
    Event,
    Hold,
    HoldTerms,
    Receipt,
    Recording,
    Status,
    is_id,
    reference_of,
    seconds_between,
    terms,
)
from retention.rows.rows import UnknownId, ids_meant
from retention.texts import Reason
from retention.use import ACCESS_REQUEST, nothing_to_use, purposes_of
from retention.vault import encode
from sipagent.languages import spoken
from sipagent.languages.labels import N_, detail_of, length
from sipagent.languages.labels import label as label_of
from sipagent.languages.spoken import gettext, shown
from sipagent.languages.spoken import gettext as _
from sipagent.operations.approvals import ask_approval, may_see, rules_of
from sipagent.operations.deletion import delete_call
from sipagent.operations.notes import FiledAnalysis, attempt_note, what_would_go
from sipagent.operations.notes import why_no_analysis as why_no_note
from sipagent.operations.parsing import note_text
from sipagent.operations.show import Shown, show
from sipagent.text.certificate import certificate
from sipagent.web.guard import Entry, Form, form_of
from sipagent.web.pages.calls import RECORDINGS, marks
from sipagent.web.pages.holds import asked_in_words
from sipagent.web.problems import Problem
from sipagent.web.rights import Right, Role
from sipagent.web.site import Papers, Person, Site, site_of, someone, trace_of
from sipagent.web.templating import label, number, operators, render, size

_SPEEDS = (0.5, 0.75, 1, 1.25, 1.5, 1.75, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One recording for one person.

    `purposes`: what this person may listen for, each with its name; `key`: the public key that they listen
    with, in base64, and `key_name` how it is called, both empty without one; `approval`: the number of an
    export that was approved for them.
    """

    id: str
    sealed: bool
    key: str
    key_name: str
    purposes: tuple[tuple[str, str], ...]
    may_export: bool = True
    approval: int | None = None

    @property
    def speeds(self) -> tuple[tuple[float, str], ...]:
        """How fast it can be heard, each with its name."""
        mark = "," if spoken.language() == "fr" else "."
        return tuple((speed, f"{speed}×".replace(".", mark)) for speed in _SPEEDS)


def listening_to(
    recording: Recording, person: Person, site: Site, approval: int | None = None
) -> Listening | None:
    """None for who may not listen, or where there is nothing to hear. Raises OSError."""
    kind = finished(site.archive.files, recording.id)
    accepted = purposes_of(recording, site.config.retention.purposes)
    if not person.may(Right.USE):
        accepted = [ACCESS_REQUEST] if person.may(Right.ACCESS_REQUEST) else []
    if kind is None or not accepted:
        return None
    return Listening(
        id=recording.id,
        sealed=kind is FileKind.SEALED,
        key="" if person.key is None else encode(person.key.raw),
        key_name=str(person.key or ""),
        purposes=tuple((code, label_of("purpose", code)) for code in accepted),
        approval=approval,
    )


EMPTY = dict.fromkeys(("reason", "text", *terms(HoldTerms)), "")  # the fields of all forms
USES = 100  # that are shown, the latest

NO_SUCH = Reason(N_("there is no such call"))

Facts = list[tuple[str, str]]


def recording(request: Request) -> Response:
    """All that is known of one id; a reference, or the beginning of an id, leads there."""
    try:
        return shown_call(request)
    except UnknownId as unknown:
        id = request.path_params["id"]
        meant = ids_meant(site_of(request).store, id, 2) if is_id(id) else []
        if len(meant) == 1:
            return RedirectResponse(f"{RECORDINGS}/{meant[0]}", HTTPStatus.SEE_OTHER)
        if meant:
            raise Problem(
                HTTPStatus.NOT_FOUND, Reason(N_("several calls are meant; accepted: a whole id"))
            ) from unknown
        raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH) from unknown


def shown_call(
    request: Request,
    status: HTTPStatus = HTTPStatus.OK,
    **more: Any,
) -> Response:
    """The page of the call in the address. `fault` and `typed` tell what went wrong with a form of it.

    Raises UnknownId, StoreError.
    """
    site, person, id = site_of(request), someone(request), request.path_params["id"]
    known = show(site.archive, id, site.terms.period)
    row = known.recording
    approvals = site.store.approvals(id)
    listening = None if row is None else listening_to(row, person, site, _approved(approvals, person))
    silent = None if row is None else why_silent(known, row, person, listening)
    values: dict[str, Any] = {
        "fault": None,
        "faulty": "",
        "typed": EMPTY,
        "going": None,
        "seen": "",
        "here": RECORDINGS,
        "known": known,
        "reference": reference_of(id),
        "call": _CallPage(site, known),
        "listening": None if silent else listening,
        "silent": silent,
        "limits": None if row is None or listening is None else _limits(site, row),
        "uses": known.accesses[: -USES - 1 : -1],
        "uses_left_out": max(0, len(known.accesses) - USES),
        "no_note": None if row is None else why_no_note(row, known.accesses),
        "overdue": row is not None and is_overdue(row, site.local(site.clock()).date()),
        "pending": [
            one
            for one in approvals
            if one.state == ApprovalState.PENDING
            and may_see(one, person.name, decides=person.may(Right.APPROVE))
        ],
        "asked_in_words": asked_in_words,
        "may_ask": row is not None and row.status is Status.CLOSED and person.may(Right.ASK),
        "erases": site.config.retention.erase_after_note,
        "grounds": site.config.retention.hold_grounds,
        "hold_terms": terms(Hold),
        "asked_terms": terms(HoldTerms),
        "detail_of": detail_of,
        "marks": marks,
    }
    return render(request, "recording.html", status, **values | more)


def _approved(approvals: list[Approval], person: Person) -> int | None:
    """The number of an export that this person asked for, and can have now."""
    theirs = [
        one.id
        for one in approvals
        if (one.action, one.state) == (Asked.EXPORT, ApprovalState.APPROVED)
        and same_person(one.by, person.name)
    ]
    return theirs[-1] if theirs else None


@dataclass(frozen=True, slots=True)
class _CallPage:
    """What a page tells of one call, in words."""

    site: Site
    known: Shown

    def when(self, at: datetime | None) -> str:
        return "" if at is None else f"{self.site.local(at):%Y-%m-%d %H:%M:%S}"

    @property
    def began(self) -> datetime:
        row = self.known.recording or self.known.receipt
        assert row is not None
        return row.started_at

    @property
    def recording(self) -> Facts:
        """Of the recording, those that are known."""
        row = self.known.recording
        return [] if row is None else [(name, value) for name, value in self._recording(row) if value]

    def _recording(self, row: Recording) -> Facts:
        due_at = due(row, self.site.config.retention.period)
        sooner = _("the period was shortened") if due_at < row.expires_at else ""
        gone = row.status not in (Status.OPEN, Status.CLOSED)
        sealed = self.known.sealed_to is not None and row.status is Status.CLOSED
        return [
            (_("Status"), label("status", row.status.value)),
            (_("Length"), "" if row.duration_s is None else length(row.duration_s)),
            (_("Caller"), row.caller or ""),
            (_("Called"), row.called or ""),
            (_("Operator"), operators(row) if row.operator else ""),
            (_("People"), _("still sealed since the rebuild") if sealed and is_nameless(row) else ""),
            (_("Paused"), ", ".join(self._span(one.from_s, one.to_s) for one in row.pauses) or _("never")),
            (_("Sealed for"), ", ".join(self.known.sealed_to or []) if sealed else ""),
            (_("Size"), "" if row.bytes is None else size(row.bytes)),
            (_("Kept until"), "" if gone else ", ".join(filter(None, (self.when(due_at), sooner)))),
            (_("Removed on"), self.when(row.purged_at)),
        ]

    @property
    def technical(self) -> Facts:
        """What few ask for."""
        row, receipt = self.known.recording, self.known.receipt
        call_id = (row and row.call_id) or (receipt and receipt.call_id)
        notice = row and row.notice
        found = [
            ("ID", self.known.id),
            ("Call-ID", call_id),
            (_("SHA-256 of the file"), row and row.sha256),
            (_("Notice"), notice and notice.file),
            (_("SHA-256 of the notice"), notice and notice.sha256),
        ]
        return [(name, value) for name, value in found if value]

    def _span(self, first: float, last: float) -> str:
        return _("{first} to {last}").format(first=length(first), last=length(last))

    @property
    def receipt(self) -> Facts:
        """Of the call, those that are known."""
        row = self.known.receipt
        return [] if row is None else [(name, value) for name, value in self._receipt(row) if value]

    def _receipt(self, row: Receipt) -> Facts:
        whole = self.known.recording is None
        played = row.notice_played_ms
        return [
            (_("How it ended"), label("outcome", row.outcome or "in_progress")),
            (_("Decision"), self._decision(row)),
            (_("How"), self._how(row)),
            (_("Notice played"), "" if played is None else length(played / 1000)),
            (_("Waited"), self._between(row, "answered_at", "connected_at")),
            (_("Talked"), self._between(row, "connected_at", "ended_at")),
            *([(_("Caller"), row.caller or "")] if whole else []),
            *([(_("Called"), row.called or "")] if whole else []),
            *([(_("Operator"), operators(row) if row.operator else "")] if whole else []),
        ]

    def _between(self, row: Receipt, first: str, last: str) -> str:
        seconds = seconds_between(row, first, last)
        return "" if seconds is None else length(seconds)

    def _decision(self, row: Receipt) -> str:
        decided = label("decision", row.decision)
        return f"{decided} ({label('by', row.decided_by)})" if row.decided_by else decided

    def _how(self, row: Receipt) -> str:
        phase = row.phase and _("in the {phase}").format(phase=row.phase)
        if row.phase and (named := label("moment", row.phase)) != row.phase:
            phase = named
        words = [word for word in (phase, row.dtmf_method, row.keyword) if word]
        if row.confidence is not None:
            sure = number(round(row.confidence * 100))
            words.append(_("confidence {amount} %").format(amount=sure))
        return ", ".join(words)

    @property
    def story(self) -> list[tuple[Event, str]]:
        """What happened, in order, each with how long after the beginning."""
        row = self.known.receipt
        if row is None:
            return []
        ends = [] if row.ended_at is None else [Event(at=row.ended_at, what="", by=None)]
        return [(one, length((one.at - row.started_at).total_seconds())) for one in (*row.events, *ends)]


def why_silent(
    known: Shown, row: Recording, person: Person, listening: Listening | None
) -> tuple[str, str] | None:
    """Why this person cannot hear it, and what would help, if anything; None where they can."""
    if (nothing := nothing_to_use(row)) is not None:
        return shown(nothing), ""
    if (barred := _barred(person)) is not None:
        return barred
    if listening is None:
        return _("Its file is not where it should be."), _("“Compliance” says what is missing.")
    return None if known.sealed_to is None else _locked(known.sealed_to, person)


def _barred(person: Person) -> tuple[str, str] | None:
    if Role.ADMINISTRATOR in person.roles:
        helps = _("Somebody with the role of a listener can, or you by another account.")
        return _("An administrator never listens, whatever else their role."), helps
    if not person.may(Right.USE) and not person.may(Right.ACCESS_REQUEST):
        return _("Your role does not listen."), _("Somebody with the role of a listener can.")
    return None


def _locked(sealed_to: Sequence[str], person: Person) -> tuple[str, str] | None:
    if person.key is None:
        helps = _(
            "Have an administrator give your account the public half of your key, and the service seal "
            "for it."
        )
        return _("It is sealed, and your account has no key that opens it."), helps
    if str(person.key) not in sealed_to:
        said = _("It is sealed, but not for your key ({key}).").format(key=person.key)
        helps = _(
            "Whoever has a key that opens it can seal all recordings for yours, too: `sipagent keys rotate`."
        )
        return said, helps
    return None


def _limits(site: Site, row: Recording) -> str | None:
    """What it can be used for alone, where its time is over."""
    if site.clock() < due(row, site.config.retention.period):
        return None
    if row.hold is None:
        return _(
            "Its time is over, and the next purge removes it: it can only be heard for the person concerned."
        )
    ground = label("ground", str(row.hold.get("ground")))
    said = _(
        "Its time is over, and only its hold keeps it: it can be heard for {ground}, or the person concerned."
    )
    return said.format(ground=ground)


def note(request: Request, form: Form) -> Response:
    """File an analysis, once what would be cut out of it was shown and agreed to."""
    site, recording = site_of(request), found(request)
    kept = site.config.retention
    text = note_text(form.get("text", "").encode("utf-8", "surrogatepass"))
    seen = sha256(text.encode()).hexdigest()  # who agreed to another text has not seen what goes of this one
    agreed = "agreed" in form and form.get("seen") == seen
    if not agreed and (going := what_would_go(site.archive, recording, text)):
        return shown_call(
            request, HTTPStatus.CONFLICT, faulty="note", typed=typed_of(form), going=going, seen=seen
        )
    done = attempt_note(
        *(site.archive, recording, text, trace_of(request, "note")),
        period=kept.analysis_period,
        erase=kept.erase_after_note,
        agreed=agreed,
    )
    site.tell(someone(request), filed(site, done))
    return back(recording.id)


def filed(site: Site, done: FiledAnalysis) -> str:
    """What was done, in words."""
    day = f"{site.local(done.note.expires_at):%Y-%m-%d}"
    said = _("The analysis is filed, and kept until {day}.").format(day=day)
    if done.erased:
        said += " " + _("The sound is erased.")
    elif done.held is not None:
        said += " " + _("The sound stays: it is {held}.").format(held=shown(done.held))
    if done.copies:
        said += " " + _("Copies of it were exported, and are still there.")
    return said


def delete(request: Request, form: Form) -> Response:
    """Ask once more, then delete the call; its certificate is on the page behind."""
    site, id = site_of(request), request.path_params["id"]
    reason = form.line("reason", _("Reason"))
    if "agreed" not in form:
        known = show(site.archive, id, site.terms.period)
        return render(request, "deletion.html", here=RECORDINGS, known=known, reason=reason)
    trace = replace(trace_of(request, "delete"), detail=reason)
    done = delete_call(site.archive, id, trace, site.clock)
    papers = Papers(done.deleted_at, someone(request).name, (certificate(done, site.config.service),), ())
    return RedirectResponse(f"/requests/erased/{site.papers.put(papers)}", HTTPStatus.SEE_OTHER)


def hold(request: Request, form: Form) -> Response:
    """Ask that the recording be held, or held on where it is on hold."""
    action = Asked.HOLD if found(request).hold is None else Asked.RENEW
    said = {
        name: form.line(name, gettext(term.form or term.label)) for name, term in terms(HoldTerms).items()
    }
    return _asked(request, action, **said)


def release(request: Request, form: Form) -> Response:
    """Ask that the hold end."""
    held = found(request).hold
    reason = form.line("reason", _("Why, such as how the case ended"))
    return _asked(request, Asked.RELEASE, reason=reason, reference=held and str(held.get("reference")))


def _asked(request: Request, action: Asked, **said: Any) -> Response:
    site, trace = site_of(request), trace_of(request, "ask")
    id = request.path_params["id"]
    wanted = Approval(at=trace.at, action=action.value, recording_id=id, by=trace.by, **said)
    ask_approval(site.archive, wanted, trace, rules_of(site.config, trace.at))
    site.tell(someone(request), _("It is asked for. Somebody else must approve it."))
    return back(id)


def found(request: Request) -> Recording:
    """The recording in the address. Raises UnknownId."""
    return site_of(request).store.recording(request.path_params["id"])


def typed_of(form: Form) -> dict[str, str]:
    """What stands in the fields again."""
    return EMPTY | {name: text.replace("\r\n", "\n") for name, text in form.items()}


def back(id: str) -> Response:
    """To the page of the call, as it is now."""
    return RedirectResponse(f"{RECORDINGS}/{id}", HTTPStatus.SEE_OTHER)


def _form(name: str, act: Callable[[Request, Form], Response]) -> Entry:
    def answer(request: Request) -> Response:
        return act(request, form_of(request))

    def again(request: Request, problem: Problem) -> Response:
        typed = typed_of(form_of(request))
        return shown_call(request, problem.status, faulty=name, fault=shown(problem.detail), typed=typed)

    return Entry(f"POST {RECORDINGS}/{{id}}/{name}", answer, again)


ENTRIES = (
    Entry("GET /recordings/{id}", recording),
    *(_form("note", note), _form("hold", hold), _form("release", release), _form("delete", delete)),
)

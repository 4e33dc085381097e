"""The page of one call: all that is known of it, its sound for who may hear it, and what can be done with
it.

By forms of this page an analysis is filed, the call is deleted; a hold, or its end, is asked for, which
somebody else then approves or not.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention import records
from retention.archive import is_nameless
from retention.holds import is_overdue, same_person
from retention.purge import due
from retention.recording_files import FileKind, finished
from retention.rows.rows import UnknownId, ids_meant
from retention.texts import Reason
from retention.use import ACCESS_REQUEST, nothing_to_use, purposes_of
from sipagent.languages.labels import N_, marks
from sipagent.languages.labels import label as label_of
from sipagent.languages.spoken import gettext, shown
from sipagent.languages.spoken import gettext as _
from sipagent.operations.approvals import ask_approval, rules_of
from sipagent.operations.parsing import note_text
from sipagent.operations.persons import Shown, delete_call, show
from sipagent.operations.uses import FiledAnalysis, attempt_note, what_would_go, why_no_analysis
from sipagent.text.papers import certificate
from sipagent.web.guard import Entry, Form, form_of
from sipagent.web.pages.calls import RECORDINGS
from sipagent.web.pages.holds import asked_in_words
from sipagent.web.problems import Problem
from sipagent.web.rights import Right, Role
from sipagent.web.site import Papers, Person, Site, site_of, someone, trace_of
from sipagent.web.templating import day, render

EMPTY = dict.fromkeys(("reason", "text", *records.terms(records.HoldTerms)), "")  # the fields of all forms
USES = 100  # that are shown, the latest

NO_SUCH = Reason(N_("there is no such call"))


def recording(request: Request) -> Response:
    """All that is known of one id; a reference, or the beginning of an id, leads there."""
    try:
        return shown_call(request)
    except UnknownId as unknown:
        id = request.path_params["id"]
        meant = ids_meant(site_of(request).store, id, 2) if records.is_id(id) else []
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
    kind = None if row is None else finished(site.archive.files, id)
    silent = None if row is None else why_silent(known, row, person, kind)
    purposes = [ACCESS_REQUEST]
    if row is not None and person.may(Right.USE):
        purposes = purposes_of(row, site.config.retention.purposes)
    values: dict[str, Any] = {
        "fault": None,
        "faulty": "",
        "typed": EMPTY,
        "going": None,
        "seen": "",
        "here": RECORDINGS,
        "known": known,
        "reference": records.reference_of(id),
        "began": next(one.started_at for one in (row, known.receipt) if one is not None),
        "due_at": None if row is None else due(row, site.config.retention.period),
        "nameless": row is not None and is_nameless(row),
        "between": records.seconds_between,
        "silent": silent,
        "over": row is not None and site.clock() >= due(row, site.config.retention.period),
        "sealed": kind is FileKind.SEALED,
        "purposes": [(code, label_of("purpose", code)) for code in purposes],
        "approval": _approved(approvals, person),
        "uses": known.accesses[: -USES - 1 : -1],
        "uses_left_out": max(0, len(known.accesses) - USES),
        "no_note": None if row is None else why_no_analysis(row, known.accesses),
        "overdue": row is not None and is_overdue(row, site.local(site.clock()).date()),
        "pending": [
            one for one in approvals if one.state == records.ApprovalState.PENDING and person.may_see(one)
        ],
        "asked_in_words": asked_in_words,
        "may_ask": row is not None and row.status is records.Status.CLOSED and person.may(Right.ASK),
        "erases": site.config.retention.erase_after_note,
        "grounds": site.config.retention.hold_grounds,
        "hold_terms": records.terms(records.Hold),
        "asked_terms": records.terms(records.HoldTerms),
        "marks": marks,
    }
    return render(request, "recording.html", status, **values | more)


def _approved(approvals: list[records.Approval], person: Person) -> int | None:
    """The number of an export that this person asked for, and can have now."""
    theirs = [
        one.id
        for one in approvals
        if (one.action, one.state) == (records.Asked.EXPORT, records.ApprovalState.APPROVED)
        and same_person(one.by, person.name)
    ]
    return theirs[-1] if theirs else None


def why_silent(
    known: Shown, row: records.Recording, person: Person, kind: FileKind | None
) -> tuple[str, str] | None:
    """Why this person cannot hear it: a code of the template's, and more for `gone`; None where they can."""
    if (gone := nothing_to_use(row)) is not None:
        return "gone", shown(gone)
    for code, bars in (
        ("administrator", Role.ADMINISTRATOR in person.roles),
        ("role", not person.may(Right.USE) and not person.may(Right.ACCESS_REQUEST)),
        ("file", kind is None),
        ("no_key", known.sealed_to is not None and person.key is None),
        ("other_key", known.sealed_to is not None and str(person.key) not in known.sealed_to),
    ):
        if bars:
            return code, ""
    return None


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
    said = _("The analysis is filed, and kept until {day}.").format(day=day(site.local(done.note.expires_at)))
    if done.erased:
        said += " " + _("The sound is erased.")
    elif done.held is not None:
        said += " " + _("The sound stays: it is {held}.").format(held=shown(done.held))
    if done.copies:
        said += " " + _("Copies of it went out; they remain to be deleted where they are.")
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
    action = records.Asked.HOLD if found(request).hold is None else records.Asked.RENEW
    said = {
        name: form.line(name, gettext(term.form or term.label))
        for name, term in records.terms(records.HoldTerms).items()
    }
    return _asked(request, action, **said)


def release(request: Request, form: Form) -> Response:
    """Ask that the hold end."""
    held = found(request).hold
    reason = form.line("reason", _("Why, such as how the case ended"))
    return _asked(
        request, records.Asked.RELEASE, reason=reason, reference=held and str(held.get("reference"))
    )


def _asked(request: Request, action: records.Asked, **said: Any) -> Response:
    site, trace = site_of(request), trace_of(request, "ask")
    id = request.path_params["id"]
    wanted = records.Approval(at=trace.at, action=action.value, recording_id=id, by=trace.by, **said)
    ask_approval(site.archive, wanted, trace, rules_of(site.config, trace.at))
    site.tell(someone(request), _("It is asked for. Somebody else must approve it."))
    return back(id)


def found(request: Request) -> records.Recording:
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

"""What is done with one call by forms of its page: an analysis is filed, the call is deleted; a hold, or its
end, is asked for, which somebody else then approves or not."""

from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.approval import Approval, Asked
from retention.recording import Recording
from retention.rows.store import UnknownId
from retention.rules.approval import ApprovalError, ask
from retention.rules.attempts import attempt_delete, attempt_note, what_would_go
from retention.rules.deletion import KeptCall, NotDeleted
from retention.rules.note import Filed, NotFiled
from sipagent.article30.certificate import certificate
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.languages.spoken import gettext as _
from sipagent.lookup.note_text import note_text
from sipagent.lookup.terms import rules_of
from sipagent.lookup.whole import whole_record
from sipagent.web.forms import Form, form_of
from sipagent.web.guard import Entry
from sipagent.web.pages.recording import EMPTY, NO_SUCH, shown_call
from sipagent.web.pages.recordings import RECORDINGS
from sipagent.web.persons.papers import Papers
from sipagent.web.problems import Problem
from sipagent.web.site import Site, site_of, someone, trace_of
from sipagent.web.templating import render


def note(request: Request) -> Response:
    """File an analysis, once what would be cut out of it was shown and agreed to."""
    form, site, recording = form_of(request), site_of(request), found(request)
    try:
        text = note_text(form.get("text", "").encode("utf-8", "surrogatepass"))
    except ValueError as wrong:
        return again(request, "note", form, HTTPStatus.BAD_REQUEST, wrong)
    seen = sha256(text.encode()).hexdigest()  # who agreed to another text has not seen what goes of this one
    agreed = "agreed" in form and form.get("seen") == seen
    if not agreed and (going := what_would_go(site.archive, recording, text)):
        return shown_call(
            request, HTTPStatus.CONFLICT, faulty="note", typed=typed_of(form), going=going, seen=seen
        )
    kept = site.config.retention
    try:
        done = attempt_note(
            site.archive,
            recording,
            text,
            trace_of(request, "note"),
            period=kept.analysis_period,
            erase=kept.erase_after_note,
            agreed=agreed,
        )
    except NotFiled as refusal:
        return again(request, "note", form, HTTPStatus.CONFLICT, refusal)
    except OSError:
        site.tell(someone(request), _("The analysis is filed; the next purge erases the sound."))
    else:
        site.tell(someone(request), filed(site, done))
    return back(recording.id)


def filed(site: Site, done: Filed) -> str:
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


def delete(request: Request) -> Response:
    """Ask once more, then delete the call; its certificate is on the page behind."""
    form, site, id = form_of(request), site_of(request), request.path_params["id"]
    try:
        KeptCall.find(site.store, id)
        reason = form.line("reason", _("Reason"))
    except UnknownId as unknown:
        raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH) from unknown
    except ValueError as wrong:
        return again(request, "delete", form, HTTPStatus.BAD_REQUEST, wrong)
    if "agreed" not in form:
        known = whole_record(site.archive, id)
        return render(request, "deletion.html", here=RECORDINGS, known=known, reason=reason)
    try:
        done = attempt_delete(
            site.archive, id, replace(trace_of(request, "delete"), detail=reason), site.clock
        )
    except NotDeleted as refusal:
        return again(request, "delete", form, HTTPStatus.CONFLICT, refusal)
    except OSError:
        said = Reason(N_("a file cannot be removed; the next purge tries again"))
        return again(request, "delete", form, HTTPStatus.INTERNAL_SERVER_ERROR, said)
    papers = Papers(done.trace.at, someone(request).name, (certificate(done, site.config.service),), ())
    return RedirectResponse(f"/requests/erased/{site.papers.put(papers)}", HTTPStatus.SEE_OTHER)


def hold(request: Request) -> Response:
    """Ask that the recording be held, or held on where it is on hold."""
    form, recording = form_of(request), found(request)
    try:
        ground = form.line("ground", _("Ground"))
        reference = form.line("reference", _("Reference of the file that it serves, not a name"))
        review = form.line("review", _("To be looked at again on"))
    except ValueError as wrong:
        return again(request, "hold", form, HTTPStatus.BAD_REQUEST, wrong)
    wanted = _wanted(request, Asked.HOLD if recording.hold is None else Asked.RENEW)
    wanted = replace(wanted, ground=ground, reference=reference, review=review)
    return _asked(request, "hold", form, wanted)


def release(request: Request) -> Response:
    """Ask that the hold end."""
    form, recording = form_of(request), found(request)
    try:
        reason = form.line("reason", _("Why, such as how the case ended"))
    except ValueError as wrong:
        return again(request, "release", form, HTTPStatus.BAD_REQUEST, wrong)
    reference = None if recording.hold is None else str(recording.hold.get("reference"))
    wanted = replace(_wanted(request, Asked.RELEASE), reason=reason, reference=reference)
    return _asked(request, "release", form, wanted)


def _wanted(request: Request, action: Asked) -> Approval:
    id, at = request.path_params["id"], site_of(request).clock()
    return Approval(at=at, action=action.value, recording_id=id, by=someone(request).name)


def _asked(request: Request, name: str, form: Form, wanted: Approval) -> Response:
    site = site_of(request)
    rules = rules_of(site.config, site.clock())
    try:
        ask(site.archive, wanted, trace_of(request, "ask"), rules)
    except ApprovalError as refusal:
        return again(request, name, form, HTTPStatus.CONFLICT, refusal)
    site.tell(someone(request), _("It is asked for. Somebody else must approve it."))
    return back(wanted.recording_id)


def found(request: Request) -> Recording:
    """The recording in the address. Raises Problem."""
    try:
        return site_of(request).store.recording(request.path_params["id"])
    except UnknownId as unknown:
        raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH) from unknown


def again(request: Request, name: str, form: Form, status: HTTPStatus, why: Exception | str) -> Response:
    """The page of the call once more, with what was typed into one of its forms, and what is wrong."""
    return shown_call(request, status, faulty=name, fault=shown(why), typed=typed_of(form))


def typed_of(form: Form) -> dict[str, str]:
    """What stands in the fields again."""
    return EMPTY | {name: text.replace("\r\n", "\n") for name, text in form.items()}


def back(id: str) -> Response:
    """To the page of the call, as it is now."""
    return RedirectResponse(f"{RECORDINGS}/{id}", HTTPStatus.SEE_OTHER)


ENTRIES = (
    Entry("POST /recordings/{id}/note", note),
    Entry("POST /recordings/{id}/hold", hold),
    Entry("POST /recordings/{id}/release", release),
    Entry("POST /recordings/{id}/delete", delete),
)

"""The page of persons' requests: what is kept of somebody, a package of it, and its erasure.

The number comes and goes in the body of a form, never in an address.
"""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from retention.recording import Access
from retention.rules.attempts import attempt_delete
from retention.rules.deletion import Deletion, KeptCall, NotDeleted
from retention.rules.use import ACCESS_REQUEST
from retention.storage.keys import encode
from sipagent.article30.certificate import certificate
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.languages.spoken import gettext as _
from sipagent.web.forms import Form, form_of
from sipagent.web.guard import Entry
from sipagent.web.persons.kept import MOST, Asked, PersonCall, all_of, asked_for, chosen, story
from sipagent.web.persons.package import Package, parts, zipped
from sipagent.web.persons.papers import Papers
from sipagent.web.persons.words import in_words, word
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Site, site_of, someone, trace_of
from sipagent.web.templating import render

CHANNELS = ("both", "caller")
_PAGE = "\f"  # between two certificates: each on a separate page


def search_page(request: Request) -> Response:
    """Where a number or a reference is typed."""
    return _shown(request, Form(), Asked())


def found_page(request: Request) -> Response:
    """All that is kept of who was asked for."""
    form = form_of(request)
    return _shown(request, form, _asked(form))


def package(request: Request) -> Response:
    """The package of the calls that are ticked: a ZIP, or with `parts` its files in JSON, for who adds
    sounds."""
    form, site = form_of(request), site_of(request)
    asked = _asked(form)
    try:
        reference = form.line("request", _("Reference of the request"))
        channel = _one_of(form, "channel", CHANNELS, _("Whose voice"))
        names = _one_of(form, "names", ("yes", "no"), _("Names"))
        calls = [all_of(site, call) for call in _ticked(site, form, asked)]
    except ValueError as error:
        return _shown(request, form, asked, fault=error)
    told = replace(trace_of(request, "answer"), purpose=ACCESS_REQUEST, reference=reference)
    made = Package(
        calls=calls,
        reference=reference,
        channel=channel,
        names=names == "yes",
        made=told.at,
        sounds=_copied(calls, told, set(form.all("sound"))),
    )
    files = parts(site, made)
    with site.store.write():
        for call in calls:
            kept = KeptCall(call.id, call.started_at, call.whole.recording, call.whole.receipt)
            site.store.add_access(kept.discreet(replace(told, recording_id=call.id)))
    if form.get("parts"):
        return JSONResponse({"name": made.name, "files": files})
    content = zipped(files, site.local(made.made))
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"'}
    return Response(content, headers=headers, media_type="application/zip")


def erase_page(request: Request) -> Response:
    """What would go, and what stays: to be confirmed."""
    form, site = form_of(request), site_of(request)
    asked = _asked(form)
    try:
        reason = form.line("reason", _("Reason"))
        calls = [all_of(site, call) for call in _ticked(site, form, asked)]
    except ValueError as error:
        return _shown(request, form, asked, fault=error)
    return render(
        request,
        "erase.html",
        asked=asked,
        reason=reason,
        going=[call for call in calls if call.stays is None],
        staying=[call for call in calls if call.stays is not None],
    )


def erase(request: Request) -> Response:
    """Erase what was confirmed; the certificates are on the page behind."""
    form, site, person = form_of(request), site_of(request), someone(request)
    asked = _asked(form)
    try:
        reason = form.line("reason", _("Reason"))
        calls = _ticked(site, form, asked)
    except ValueError as error:
        return _shown(request, form, asked, fault=error)
    trace = replace(trace_of(request, "delete"), detail=reason)
    certificates: list[str] = []
    stays: list[tuple[str, str]] = []
    for call in calls:
        done = _erased(site, call, trace)
        if isinstance(done, Deletion):
            certificates.append(certificate(done, site.config.service))
        else:
            stays.append((call.id, done))
    papers = Papers(trace.at, person.name, tuple(certificates), tuple(stays))
    return RedirectResponse(f"/requests/erased/{site.papers.put(papers)}", HTTPStatus.SEE_OTHER)


def _erased(site: Site, call: KeptCall, trace: Access) -> Deletion | str:
    """What was done, or why it was not, with a line in the trace."""
    try:
        return attempt_delete(site.archive, call.id, trace, site.clock)
    except NotDeleted as refusal:
        return str(refusal)
    except OSError:
        return Reason(N_("it could not be removed; the next purge tries again"))


def erased_page(request: Request) -> Response:
    """The certificates of an erasure, each on a page of paper."""
    return render(request, "erased.html", papers=_papers(request))


def certificates(request: Request) -> Response:
    """The certificates as a text."""
    text = _PAGE.join(_papers(request).certificates)
    headers = {"Content-Disposition": 'attachment; filename="certificates.txt"'}
    return Response(text, headers=headers, media_type="text/plain")


def _papers(request: Request) -> Papers:
    """Raises Problem."""
    site, person = site_of(request), someone(request)
    papers = site.papers.find(request.path_params["token"], person.name, site.clock())
    if papers is None:
        said = N_("these certificates are no longer here; the trace of each call says what was done")
        raise Problem(HTTPStatus.NOT_FOUND, Reason(said))
    return papers


ENTRIES = (
    Entry("GET /requests", search_page),
    Entry("POST /requests", found_page),
    Entry("POST /requests/package", package),
    Entry("POST /requests/erase", erase_page),
    Entry("POST /requests/erased", erase),
    Entry("GET /requests/erased/{token}", erased_page),
    Entry("GET /requests/erased/{token}/certificates.txt", certificates),
)


def _shown(request: Request, form: Form, asked: Asked, fault: ValueError | None = None) -> Response:
    """The page with what was found, if anything was asked for, and what was typed."""
    site, person = site_of(request), someone(request)
    calls: list[KeptCall] = []
    if asked:
        try:
            calls = asked_for(site, asked)
        except ValueError as error:
            fault = fault or error
    elif form and fault is None:
        fault = ValueError(Reason(N_("neither is given; accepted: a number, or the reference of a call")))
    shown: list[PersonCall] = [all_of(site, call) for call in calls[:MOST]]
    ticked = set(form.all("id")) if "ticked" in form else {call.id for call in shown if asked.caller}
    values: dict[str, Any] = {
        "typed": form,
        "asked": asked,
        "calls": shown,
        "found": len(calls),
        "ticked": ticked,
        "fault": fault and fault.args[0],
        "may_copy": person.may(Right.ACCESS_REQUEST),
        "story": story,
        "word": word,
        "in_words": in_words,
        "key": "" if person.key is None else encode(person.key.raw),
        "key_name": str(person.key or ""),
        "searched": bool(form),
    }
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return render(request, "requests.html", status, **values)


def _asked(form: Form) -> Asked:
    caller, reference, day = (form.get(name, "").strip() for name in ("caller", "reference", "day"))
    return Asked(caller=caller, reference=reference, day=day)


def _ticked(site: Site, form: Form, asked: Asked) -> list[KeptCall]:
    """The calls of the person that are ticked, newest first. Raises ValueError."""
    calls = chosen(asked_for(site, asked), set(form.all("id")))
    if not calls:
        raise ValueError(Reason(N_("no call is ticked; accepted: at least one")))
    return calls


def _one_of(form: Form, name: str, accepted: tuple[str, ...], label: str) -> str:
    """Raises ValueError."""
    if form.get(name) not in accepted:
        raise ValueError(Reason(N_("“{name}” is not decided; accepted: one of the choices"), name=label))
    return form[name]


def _copied(calls: list[PersonCall], told: Access, sounds: set[str]) -> set[str]:
    """Those of which this person has copied the sound for this request, as the trace says."""
    return {
        call.id
        for call in calls
        if call.id in sounds
        and any(
            (use.action, use.outcome, use.login, use.reference)
            == ("export", "done", told.login, told.reference)
            for use in call.whole.accesses
        )
    }

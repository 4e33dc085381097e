"""The page of persons' requests: what is kept of somebody, a package of it, and its erasure
(GDPR articles 15 and 17).

The number comes and goes in the body of a form, never in an address. A person reads words in the place of
codes, and nothing of how a draw is made. English people who work with the commands read the codes
themselves (`labels`); a letter has to say more. In French all codes have words.

The package has a letter to read, the same for programs, and the sounds beside them. The sounds are put in
by the browser of who answers: there alone is the key that opens them.
"""

import io
import json
import re
import zipfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from retention.erase import Deletion, KeptCall, why_stays
from retention.records import Access, Event, Json, Record, to_text
from retention.texts import Reason
from retention.use import ACCESS_REQUEST, nothing_to_use
from retention.vault import KeysError, read_public
from sipagent.config.sampling import Draw
from sipagent.languages import spoken
from sipagent.languages.labels import N_, Kind, happening
from sipagent.languages.spoken import answering, ngettext
from sipagent.languages.spoken import gettext as _
from sipagent.operations.parsing import FieldError
from sipagent.operations.persons import PersonSearch, Stays, answer_person, calls_of_person, delete_calls
from sipagent.operations.show import Shown, show
from sipagent.text import language_of_papers, template
from sipagent.text.certificate import certificate
from sipagent.text.statistics_words import StatisticsWords
from sipagent.web.guard import Entry, Form, WrongField, form_of
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Papers, Site, site_of, someone, trace_of
from sipagent.web.templating import label, render, written

_DECIDED = re.compile(r"decision: (\w+) \((\w+)\)")
_CHOSEN = re.compile(r"language: (\w+)")


def word(kind: Kind, code: str) -> str:
    """The words for a code."""
    if (kind, code) == ("who", "agent"):
        return _("the service")  # a French agent is a person
    english = template("letter.en.txt").words if spoken.language() == "en" else {}
    return english.get(f"{kind}.{code}") or label(kind, code)


def in_words(what: str) -> str:
    """A line of the call's story."""
    if (draw := Draw.read(what)) is not None:
        return _("drawn: it might be recorded") if draw.drawn else _("not drawn: it was not to be recorded")
    if found := _DECIDED.fullmatch(what):
        decision, by = word("decision", found[1]), word("by", found[2])
        return _("decision: {decision} ({by})").format(decision=decision, by=by)
    if found := _CHOSEN.fullmatch(what):
        names = {"fr": _("French"), "en": _("English"), "de": _("German"), "es": _("Spanish")}
        return _("language: {language}").format(language=names.get(found[1], found[1]))
    return happening(what)


MOST_CALLS = 500  # calls that a page shows
_ADDRESS = re.compile(r"\bsips?:\S*[^\s:]")
_LEARNT = ("export", "play", "note", "answer")  # by which somebody learnt of it
_ROW = (
    *("ended_at", "duration_s", "status", "incomplete", "decision", "channels", "sample_rate", "bytes"),
    *("sha256", "pauses", "missing", "purged_at"),
)
_RECEIPT = (
    *("answered_at", "connected_at", "ended_at", "caller", "called", "outcome", "decision", "decided_by"),
    *("decided_at", "phase", "dtmf_method", "keyword", "confidence", "notice_played_ms", "call_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonCall:
    """One call: all that is known of it, and what may become of it.

    `hold`: what keeps its recording beyond its date; `sound`: whether there is one to hear; `stays`: why an
    erasure would leave it, None if it would go.
    """

    whole: Shown
    started_at: datetime
    hold: Json | None
    sound: bool
    stays: str | None

    @property
    def id(self) -> str:
        """The call's own."""
        return self.whole.id

    @property
    def sealed(self) -> bool:
        """Whether a key is needed to hear it."""
        return self.sound and self.whole.sealed_to is not None

    @property
    def caller(self) -> str | None:
        """The number, while anything has it."""
        rows = (self.whole.recording, self.whole.receipt)
        return next((row.caller for row in rows if row and row.caller), None)

    @property
    def uses(self) -> list[Access]:
        """Those by which somebody heard it, copied it or told of it."""
        return [use for use in self.whole.accesses if use.action in _LEARNT and use.outcome == "done"]


def all_of(site: Site, call: KeptCall) -> PersonCall:
    """What is kept of a call. Raises UnknownId, StoreError."""
    whole = show(site.archive, call.id, site.terms.period)
    row = whole.recording
    return PersonCall(
        whole=whole,
        started_at=call.started_at,
        hold=site.archive.hold_of(row) if row else None,
        sound=row is not None and nothing_to_use(row) is None,
        stays=why_stays(site.archive, call),
    )


def story(call: PersonCall, *, names: bool) -> list[Event]:
    """The events of a call, oldest first; without `names` they lead to no operator."""
    events = call.whole.receipt.events if call.whole.receipt else ()
    return [event if names else replace(event, what=_ADDRESS.sub("…", event.what)) for event in events]


def call_json(call: PersonCall, *, names: bool, sound: str | None) -> Json:
    """A call for programs; `names`: of those who answered and used it; `sound`: the file beside it."""
    row, receipt = call.whole.recording, call.whole.receipt
    answered = next((one for one in (receipt, row) if one and one.operator), None) if names else None
    return {
        "id": call.id,
        "reference": call.whole.reference,
        "started_at": to_text(call.started_at),
        "operator": answered and answered.operator,
        "operators": [*answered.each_operator] if answered else [],
        "call": receipt and _some(receipt, _RECEIPT),
        "events": [event.to_json() for event in story(call, names=names)],
        "recording": row and _some(row, _ROW),
        "kept_until": call.whole.due_at and to_text(call.whole.due_at),
        "held_as_evidence": call.hold and {name: call.hold.get(name) for name in ("ground", "review")},
        "analyses": [{"at": to_text(note.at), "text": note.text} for note in call.whole.notes],
        "uses": [
            {"at": to_text(use.at), "action": use.action, "purpose": use.purpose}
            | ({"by": use.by} if names else {})
            for use in call.uses
        ],
        "sound": sound,
    }


def _some(row: Record, names: Collection[str]) -> Json:
    json = row.to_json()
    return {name: json[name] for name in names}


LETTER, DATA = "letter.html", "data.json"
_PERIOD = re.compile(r"(\d+) (day|week|month|year)s?")
FORMAT = "sipagent-access-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is answered: under which `reference` of the request, with whose voice (`channel`) and `names`.

    `sounds`: the ids whose sound is beside the letter.
    """

    calls: Sequence[PersonCall]
    reference: str
    channel: str
    names: bool
    made: datetime
    sounds: Collection[str] = ()

    @property
    def name(self) -> str:
        """Of its file."""
        told = re.sub(r"[^A-Za-z0-9._-]+", "-", self.reference).strip("-._")
        return f"access-{told or 'request'}.zip"

    def sound_of(self, id: str) -> str | None:
        """The file of a call's sound in it."""
        return f"sounds/{id}.wav" if id in self.sounds else None


def letter(site: Site, package: Package) -> str:
    """A page of its own, in the service's language: it loads nothing, and runs nothing."""
    service = site.config.service
    language = language_of_papers(service.language)
    words, recipients = StatisticsWords(language), list[str]()
    with suppress(KeysError):  # then nobody knows who can listen
        recipients = [str(read_public(path)) for path in site.config.recording.recipients]
    with answering(language):
        return written(
            "letter.html",
            service=service.name,
            when=lambda at: words.second(site.local(at)),
            package=package,
            config=site.config,
            story=story,
            word=word,
            in_words=in_words,
            recipients=recipients,
            period=period_in_words,
            data=DATA,
        )


def package_json(site: Site, package: Package) -> Json:
    """What the letter says, for programs."""
    service, kept = site.config.service, site.config.retention
    return {
        "format": FORMAT,
        "made_at": to_text(package.made),
        "request": package.reference,
        "service": service.name,
        "controller": service.controller,
        "controller_contact": service.controller_contact,
        "dpo_contact": service.dpo_contact,
        "legal_basis": service.legal_basis,
        "purposes": list(kept.purposes),
        "periods": {
            "recordings": kept.period,
            "receipts": kept.receipts_period,
            "analyses": kept.analysis_period,
        },
        "voices": package.channel,
        "calls": [
            call_json(call, names=package.names, sound=package.sound_of(call.id)) for call in package.calls
        ],
    }


def zipped(files: dict[str, str], made: datetime) -> bytes:
    """A ZIP of these texts."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, made.timetuple()[:6])
            entry.external_attr = 0o600 << 16
            file.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def period_in_words(period: str) -> str:
    """`6 months`, `6 mois`."""
    found = _PERIOD.fullmatch(period.strip())
    if found is None:
        return period
    n = int(found[1])
    said = {
        "day": ngettext("{n} day", "{n} days", n),
        "week": ngettext("{n} week", "{n} weeks", n),
        "month": ngettext("{n} month", "{n} months", n),
        "year": ngettext("{n} year", "{n} years", n),
    }
    return said[found[2]].format(n=n)


CHANNELS = ("both", "caller")
_NEW_PAGE = "\f"  # between two certificates: each on a separate page


def search_page(request: Request) -> Response:
    """Where a number or a reference is typed."""
    return _shown(request, Form(), ())


def found_page(request: Request) -> Response:
    """All that is kept of who was asked for."""
    form = form_of(request)
    return _shown(request, form, _found(request, form))


def package(request: Request) -> Response:
    """The package of the calls that are ticked: a ZIP, or with `parts` its files in JSON, for who adds
    sounds."""
    form, site = form_of(request), site_of(request)
    reference = form.line("request", _("Reference of the request"))
    channel = _one_of(form, "channel", CHANNELS, _("Whose voice"))
    names = _one_of(form, "names", ("yes", "no"), _("Names"))
    ticked = _ticked(request, form)
    calls = [all_of(site, call) for call in ticked]
    told = replace(trace_of(request, "answer"), purpose=ACCESS_REQUEST, reference=reference)
    made = Package(
        calls=calls,
        reference=reference,
        channel=channel,
        names=names == "yes",
        made=told.at,
        sounds=_copied(calls, told, set(form.all("sound"))),
    )
    data = json.dumps(package_json(site, made), indent=2, ensure_ascii=False) + "\n"
    files = {LETTER: letter(site, made), DATA: data}
    answer_person(site.archive, ticked, told)
    if form.get("parts"):
        return JSONResponse({"name": made.name, "files": files})
    content = zipped(files, site.local(made.made))
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"'}
    return Response(content, headers=headers, media_type="application/zip")


def erase_page(request: Request) -> Response:
    """What would go, and what stays: to be confirmed."""
    form = form_of(request)
    reason = form.line("reason", _("Reason"))
    calls = [all_of(site_of(request), call) for call in _ticked(request, form)]
    return render(
        request,
        "erase.html",
        asked=_asked(form),
        reason=reason,
        going=[call for call in calls if call.stays is None],
        staying=[call for call in calls if call.stays is not None],
    )


def erase(request: Request) -> Response:
    """Erase what was confirmed; the certificates are on the page behind."""
    form, site = form_of(request), site_of(request)
    trace = replace(trace_of(request, "delete"), detail=form.line("reason", _("Reason")))
    ids = [call.id for call in _ticked(request, form)]
    done = [*delete_calls(site.archive, ids, trace, site.clock)]
    papers = Papers(
        trace.at,
        someone(request).name,
        tuple(certificate(one, site.config.service) for one in done if isinstance(one, Deletion)),
        tuple((one.id, one.why) for one in done if isinstance(one, Stays)),
    )
    return RedirectResponse(f"/requests/erased/{site.papers.put(papers)}", HTTPStatus.SEE_OTHER)


def erased_page(request: Request) -> Response:
    """The certificates of an erasure, each on a page of paper."""
    return render(request, "erased.html", papers=_papers(request))


def certificates(request: Request) -> Response:
    """The certificates as a text."""
    text = _NEW_PAGE.join(_papers(request).certificates)
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


def _again(request: Request, problem: Problem) -> Response:
    form = form_of(request)
    try:
        calls = _found(request, form)
    except FieldError:
        calls = []
    return _shown(request, form, calls, problem)


def _shown(
    request: Request, form: Form, found: Sequence[KeptCall], problem: Problem | None = None
) -> Response:
    """The page with what was found, if anything was asked for, and what was typed."""
    site, person, asked = site_of(request), someone(request), _asked(form)
    shown = [all_of(site, call) for call in found[:MOST_CALLS]]
    values: dict[str, Any] = {
        "typed": form,
        "asked": asked,
        "calls": shown,
        "found": len(found),
        "ticked": set(form.all("id")) if "ticked" in form else {call.id for call in shown if asked.caller},
        "fault": problem and problem.detail,
        "may_copy": person.may(Right.ACCESS_REQUEST),
        "story": story,
        "word": word,
        "in_words": in_words,
        "searched": bool(form),
    }
    status = HTTPStatus.OK if problem is None else problem.status
    return render(request, "requests.html", status, **values)


def _asked(form: Form) -> PersonSearch:
    return PersonSearch(**{name: form.get(name, "").strip() for name in ("caller", "reference", "day")})


def _found(request: Request, form: Form) -> list[KeptCall]:
    """The calls that are meant, newest first. Raises FieldError."""
    site = site_of(request)
    return calls_of_person(site.store, _asked(form), site.config.service)[::-1]


def _ticked(request: Request, form: Form) -> list[KeptCall]:
    """Those of them that are ticked. Raises FieldError, WrongField."""
    ticked = set(form.all("id"))
    calls = [call for call in _found(request, form) if call.id in ticked]
    if not calls:
        raise WrongField(Reason(N_("no call is ticked; accepted: at least one")))
    return calls


def _one_of(form: Form, name: str, accepted: tuple[str, ...], label: str) -> str:
    """Raises WrongField."""
    if form.get(name) not in accepted:
        raise WrongField(Reason(N_("“{name}” is not decided; accepted: one of the choices"), name=label))
    return form[name]


def _copied(calls: list[PersonCall], told: Access, sounds: set[str]) -> set[str]:
    """Those of which this person has copied the sound for this request, as the trace says."""
    copied = ("export", "done", told.login, told.reference)
    return {
        call.id
        for call in calls
        if call.id in sounds
        and any((use.action, use.outcome, use.login, use.reference) == copied for use in call.whole.accesses)
    }


ENTRIES = (
    Entry("GET /requests", search_page),
    Entry("POST /requests", found_page, _again),
    Entry("POST /requests/package", package, _again),
    Entry("POST /requests/erase", erase_page, _again),
    Entry("POST /requests/erased", erase, _again),
    Entry("GET /requests/erased/{token}", erased_page),
    Entry("GET /requests/erased/{token}/certificates.txt", certificates),
)

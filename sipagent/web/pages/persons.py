"""The page of persons' requests: what is kept of somebody, a package of it, and its erasure
(GDPR articles 15 and 17).

The number comes and goes in the body of a form, never in an address. A person reads words in the place of
codes (`text/letter.fr.txt`), and how a draw is made stands folded, behind all else. What others have a right
to, such as names, holds and marks, is told as the officer decides: see `Chosen`.

The package has a letter to read, the same for programs, and the sounds beside them. The sounds are put in
by the browser of who answers: there alone is the key that opens them.
"""

import io
import json
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from retention.erase import Deletion, KeptCall, why_stays
from retention.records import Access, Event, Json, Record, to_text
from retention.texts import Reason
from retention.use import ACCESS_REQUEST, CUT, nothing_to_use
from retention.vault import KeysError, read_public
from sipagent.call.machines import FLAGGED
from sipagent.languages import spoken
from sipagent.languages.labels import N_, Kind, happening, line_of
from sipagent.languages.spoken import answering, ngettext
from sipagent.languages.spoken import gettext as _
from sipagent.languages.typography import set_french
from sipagent.operations import persons
from sipagent.operations.parsing import FieldError
from sipagent.operations.vcon import VCON_KIND, give_vcon
from sipagent.operations.verify import give_receipt
from sipagent.text import language_of_papers, template
from sipagent.text.papers import StatisticsWords, certificate
from sipagent.web.guard import Entry, Form, WrongField, form_of
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Papers, Site, site_of, someone, trace_of, user_of
from sipagent.web.templating import day_shown, label, render, user, written


def word(kind: Kind, code: str) -> str:
    """The words for a code, as the letter has them: the caller is “you”."""
    return _words().get(f"{kind}.{code}") or label(kind, code)


def _words() -> Mapping[str, str]:
    return template(f"letter.{language_of_papers(spoken.language())}.txt").words


def in_words(event: Event) -> str:
    """A line of the call's story, and who of the two did it."""
    text = _words().get(f"line.{event.what}/{event.by}", "")
    if not text and (text := _line(event.what)) and event.by in _PEOPLE and line_of(event.what) is None:
        text = _("{what} (by {who})").format(what=text, who=word("who", event.by))
    return set_french(text) if spoken.language() == "fr" else text


_PEOPLE = ("caller", "operator")


def _line(what: str) -> str:
    if (line := line_of(what)) is None:
        return _words().get(f"line.{what}") or happening(what)
    message, found = line
    if message == "decision: {decision} ({by})":
        found = {name: word(cast(Kind, name), value) for name, value in found.items()}
    elif message == "language: {language}":
        names = {"fr": _("French"), "en": _("English"), "de": _("German"), "es": _("Spanish")}
        found["language"] = names.get(found["language"], found["language"])
    elif "who" in found:
        found["who"] = _("somebody of the service") if found["who"] == CUT else user(found["who"])
    elif "what" in found:
        found["what"] = _line(found["what"])
    said = _words().get(f"line.{message.replace(': ', ':')}")
    return (said or _(message)).format(**found)


MOST_CALLS = 500  # calls that a page shows
_ADDRESS = re.compile(r"\bsips?:\S*[^\s:]")
_LEARNT = ("export", "play", "note", "answer", "receipt")  # by which somebody learnt of it
_ROW = (
    *("ended_at", "duration_s", "status", "incomplete", "decision", "channels", "sample_rate", "bytes"),
    *("sha256", "pauses", "missing", "purged_at"),
)
_RECEIPT = (
    *("answered_at", "connected_at", "ended_at", "caller", "called", "outcome", "decision", "decided_by"),
    *("decided_at", "phase", "dtmf_method", "keyword", "confidence", "notice_played_ms", "call_id"),
    "caller_identity",
    "quality",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonCall:
    """One call: all that is known of it, and what may become of it.

    `hold`: what keeps its recording beyond its date; `sound`: whether there is one to hear; `stays`: why an
    erasure would leave it, None if it would go.
    """

    whole: persons.Shown
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
    whole = persons.show(site.archive, call.id, site.terms.period)
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
    return [event if names else replace(event, what=_ADDRESS.sub(CUT, event.what)) for event in events]


EVIDENCE = ("ground", "held", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the letter tells of others, as the officer decides (GDPR articles 15(4), 23).

    `channel`: whose voice is in the sounds; `because`: that the letter says why, where it is the caller's
    alone. `names`: of those who answered and used a call. `evidence`: of a hold, and of uses for it, the
    `ground`, or that the call is `held`, or `nothing`. `marks`: that the operator marked it. `remark`: the
    officer's own words.
    """

    channel: str
    because: bool
    names: bool
    evidence: str
    marks: bool
    remark: str = ""

    def __str__(self) -> str:
        """For the trace."""
        yes = ("no", "yes")
        return (
            f"voices {self.channel}, names {yes[self.names]}, evidence {self.evidence}, "
            f"marks {yes[self.marks]}"
        )

    def told(self, call: PersonCall, purposes: Collection[str]) -> PersonCall:
        """The call as the letter tells it; `purposes`: of every call's use, all others are of a hold."""
        hold, accesses, whole = call.hold, call.whole.accesses, call.whole
        if self.evidence != "ground":
            hold = {"review": hold["review"]} if hold and self.evidence == "held" else None
            accesses = tuple(
                replace(use, purpose="evidence") if _for_hold(use, purposes) else use
                for use in accesses
                if self.evidence == "held" or not _for_hold(use, purposes)
            )
        receipt = whole.receipt
        if receipt and not self.marks:
            events = tuple(event for event in receipt.events if event.what not in _MARKS)
            receipt = replace(receipt, events=events)
        whole = replace(whole, accesses=accesses, receipt=receipt)  # type: ignore[arg-type]
        if isinstance(whole, persons.ShownRecording) and not self.marks:
            whole = replace(whole, flagged=False)
        return replace(call, whole=whole, hold=hold)


_MARKS = (FLAGGED, "flag code, and nothing is recorded")


def _is_marked(call: PersonCall) -> bool:
    row = call.whole.recording
    return bool(row and row.flagged) or any(event.what in _MARKS for event in story(call, names=True))


def _for_hold(use: Access, purposes: Collection[str]) -> bool:
    return use.purpose not in (*purposes, ACCESS_REQUEST, None)


def _is_evidence(call: PersonCall, purposes: Collection[str]) -> bool:
    return call.hold is not None or any(_for_hold(use, purposes) for use in call.uses)


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
        "flagged": bool(row and row.flagged),
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
    """What is answered under the `reference` of the request: the calls as they are told, as `chosen`.

    `sounds`: the ids whose sound is beside the letter.
    """

    calls: Sequence[PersonCall]
    reference: str
    chosen: Chosen
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
            when=lambda at: words.moment(site.local(at)),
            clock=lambda at: f"{site.local(at):%H:%M:%S}",
            day=words.written_day,
            package=package,
            chosen=package.chosen,
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
        "voices": package.chosen.channel,
        "remark": package.chosen.remark or None,
        "calls": [
            call_json(call, names=package.chosen.names, sound=package.sound_of(call.id))
            for call in package.calls
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


CHANNELS, YES_NO = ("both", "caller"), ("yes", "no")
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
    made, told, ticked = _made(request, form)
    data = json.dumps(package_json(site, made), indent=2, ensure_ascii=False) + "\n"
    files = {LETTER: letter(site, made), DATA: data}
    persons.answer_person(site.archive, ticked, told)
    if form.get("parts"):
        return JSONResponse({"name": made.name, "files": files})
    content = zipped(files, site.local(made.made))
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"'}
    return Response(content, headers=headers, media_type="application/zip")


def letter_page(request: Request) -> Response:
    """The letter as it would be, to be read before it goes; nothing is answered yet."""
    made, _told, _ticked = _made(request, form_of(request))
    return HTMLResponse(letter(site_of(request), made), headers={"Content-Security-Policy": _LETTER_CSP})


_LETTER_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
REMARK = 2000  # characters


def _made(request: Request, form: Form) -> tuple[Package, Access, list[KeptCall]]:
    """The package, the line that it was answered, and the calls. Raises FieldError, WrongField."""
    site = site_of(request)
    reference = form.line("request", _("Reference of the request"))
    channel = _one_of(form, "channel", CHANNELS, _("Whose voice"))
    names = _one_of(form, "names", YES_NO, _("Names"))
    ticked = _ticked(request, form)
    calls, purposes = [all_of(site, call) for call in ticked], site.config.retention.purposes
    evidence, marks = "ground", "yes"  # where there is nothing to decide
    if any(_is_evidence(call, purposes) for call in calls):
        evidence = _one_of(form, "evidence", EVIDENCE, _("Kept as evidence"))
    if any(map(_is_marked, calls)):
        marks = _one_of(form, "marks", YES_NO, _("Marked by an operator"))
    chosen = Chosen(
        channel=channel,
        because=form.get("because") == "yes",
        names=names == "yes",
        evidence=evidence,
        marks=marks == "yes",
        remark=form.get("remark", "").replace("\r\n", "\n").strip()[:REMARK],
    )
    trace = trace_of(request, "answer")
    told = replace(trace, purpose=ACCESS_REQUEST, reference=reference, detail=str(chosen))
    made = Package(
        calls=[chosen.told(call, purposes) for call in calls],
        reference=reference,
        chosen=chosen,
        made=told.at,
        sounds=_copied(calls, told, set(form.all("sound"))),
    )
    return made, told, ticked


def receipt(request: Request) -> Response:
    """The receipt of one call, which the caller can check: a file in JSON."""
    form, site = form_of(request), site_of(request)
    ids = [call.id for call in _found(request, form) if call.id == form.get("of")]
    if not ids:
        raise WrongField(Reason(N_("no call is ticked; accepted: at least one")))
    made = give_receipt(site.archive, ids[0], trace_of(request, "receipt"), site.clock())
    headers = {"Content-Disposition": f'attachment; filename="receipt-{ids[0]}.json"'}
    return JSONResponse(made.to_json(), headers=headers)


def vcon(request: Request) -> Response:
    """One call as a vCon, for this request: a file; its sound is in the package."""
    form, site = form_of(request), site_of(request)
    calls = [call for call in _found(request, form) if call.id == form.get("of")]
    if not calls:
        raise WrongField(Reason(N_("no call is ticked; accepted: at least one")))
    reference = form.line("request", _("Reference of the request"))
    channel = _one_of(form, "channel", CHANNELS, _("Whose voice"))
    trace = replace(trace_of(request, "export"), purpose=ACCESS_REQUEST, reference=reference)
    person = user_of(someone(request))
    told = give_vcon(site.archive, calls[0], channel, trace, config=site.config, user=person)
    headers = {"Content-Disposition": f'attachment; filename="{calls[0].id}.vcon"'}
    return Response(told, headers=headers, media_type=VCON_KIND)


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
    done = [*persons.delete_calls(site.archive, ids, trace, site.clock)]
    papers = Papers(
        trace.at,
        someone(request).name,
        tuple(certificate(one, site.config.service) for one in done if isinstance(one, Deletion)),
        tuple((one.id, one.why) for one in done if isinstance(one, persons.Stays)),
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
        "day": day_shown,
        "evidence": any(_is_evidence(call, site.config.retention.purposes) for call in shown),
        "marked": any(map(_is_marked, shown)),
        "remark_most": REMARK,
        "searched": bool(form),
    }
    status = HTTPStatus.OK if problem is None else problem.status
    return render(request, "requests.html", status, **values)


def _asked(form: Form) -> persons.PersonSearch:
    return persons.PersonSearch(
        **{name: form.get(name, "").strip() for name in ("caller", "reference", "day")}
    )


def _found(request: Request, form: Form) -> list[KeptCall]:
    """The calls that are meant, newest first. Raises FieldError."""
    site = site_of(request)
    return persons.calls_of_person(site.store, _asked(form), site.config.service, site.clock())[::-1]


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
    Entry("POST /requests/letter", letter_page, _again),
    Entry("POST /requests/receipt", receipt, _again),
    Entry("POST /requests/vcon", vcon, _again),
    Entry("POST /requests/erase", erase_page, _again),
    Entry("POST /requests/erased", erase, _again),
    Entry("GET /requests/erased/{token}", erased_page),
    Entry("GET /requests/erased/{token}/certificates.txt", certificates),
)

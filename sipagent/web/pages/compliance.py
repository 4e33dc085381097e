"""The page of compliance: what must be done and is not, register, notice, `verify`, `check`; and the trace.

An administrator sees what `check` says, an officer all of it. The trace has every use of every recording,
and all else that was done: newest first, a page at a time.
"""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.texts import Reason
from sipagent.config.hours import days_shown
from sipagent.languages import spoken
from sipagent.languages.labels import N_
from sipagent.languages.spoken import gettext as _
from sipagent.languages.spoken import shown
from sipagent.web.background import STARTED, CommandOutcome
from sipagent.web.guard import Entry, form_of
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import site_of, someone
from sipagent.web.templating import markdown_html, render

_SHOWN = 100  # erasures, problems
_REGISTER = {"md": "text/markdown; charset=utf-8", "json": "application/json"}


def compliance_page(request: Request) -> Response:
    """What of it who asks may see."""
    site, person = site_of(request), someone(request)
    all_of_it = person.may(Right.COMPLIANCE)
    running = site.commands.running  # first: what has ended since is in `last`
    return render(
        request,
        "compliance.html",
        all_of_it=all_of_it,
        due=site.due.seen() if all_of_it else None,
        running=running,
        commands=[
            (name, title, site.commands.last(name))
            for name, title, right in (
                ("verify", _("Is what is kept as it was written?"), Right.COMPLIANCE),
                ("check", _("Can the service run well?"), Right.CHECK),
            )
            if person.may(right)
        ],
        most=_SHOWN,
        translated=spoken.gettext,
    )


def start_command(request: Request) -> Response:
    """Begin `check` or `verify`, unless one of them runs."""
    form_of(request)
    site, person = site_of(request), someone(request)
    name = request.url.path.rpartition("/")[2]
    assert name in STARTED, name
    if not site.commands.start(name, person.name):
        site.tell(person, _("One of them runs already; try again when it has ended."))
    return RedirectResponse(f"/compliance#{name}", HTTPStatus.SEE_OTHER)


def register_page(request: Request) -> Response:
    """The register's entry, in the language of who reads."""
    answer = _register(request, "md")
    said = answer.aside if answer.problem is None else None
    return render(
        request, "register.html", entry=markdown_html(answer.text), to_complete=said, problem=answer.problem
    )


def register_file(request: Request) -> Response:
    """The register's entry as a file: Markdown or JSON."""
    form = request.url.path.rpartition(".")[2]
    answer = _register(request, form)
    if answer.problem is not None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, answer.problem)
    headers = {"Content-Disposition": f'attachment; filename="register.{form}"'}
    return Response(answer.text, headers=headers, media_type=_REGISTER[form])


def _register(request: Request, form: str) -> CommandOutcome:
    language = spoken.language()
    words = ("register", "--json") if form == "json" else ("register", "--lang", language)
    return site_of(request).commands.recent(*words, language=language)


def notice_page(request: Request) -> Response:
    """What callers hear, in each language, and whether it says what it must."""
    commands, access = site_of(request).commands, site_of(request).config.access
    return render(
        request,
        "notice.html",
        languages={"fr": _("French"), "en": _("English"), "de": _("German"), "es": _("Spanish")},
        notices=commands.recent("notice", "--json"),
        lint=commands.recent("notice", "--lint", "--json"),
        relay=access.relay,
        relay_hours=", ".join(map(shown, days_shown(access.relay_hours))) if access.relay_hours else None,
    )


_LINES = 50  # lines of a page
_DIGITS = 18


def accesses_page(request: Request) -> Response:
    """`?after=NUMBER`: those before this line."""
    text = request.query_params.get("after", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise Problem(HTTPStatus.BAD_REQUEST, Reason(N_("after: this is no number of a line")))
    rows = site_of(request).store.numbered_accesses(before=int(text) if text else None, limit=_LINES + 1)
    return render(
        request,
        "accesses.html",
        rows=rows[:_LINES],
        next=rows[_LINES - 1][0] if len(rows) > _LINES else None,
        first=not text,
    )


ENTRIES = (
    Entry("GET /compliance", compliance_page),
    *(Entry(f"POST /compliance/{name}", start_command) for name in STARTED),
    Entry("GET /compliance/register", register_page),
    *(Entry(f"GET /compliance/register.{form}", register_file) for form in _REGISTER),
    Entry("GET /compliance/notice", notice_page),
    Entry("GET /accesses", accesses_page),
)

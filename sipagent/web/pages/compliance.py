"""The page of compliance: what must be done and is not, the register, the notice, `verify` and `check`.

An administrator sees what `check` says, an officer all of it.
"""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import islice

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.archive.erasure import stuck
from retention.recording import Access, from_text
from retention.rules.clock import read_clock, suspended
from retention.rules.hold import reviews_overdue
from retention.rules.purge import overdue
from retention.stamps.stamp import proven
from sipagent.languages import spoken
from sipagent.languages.spoken import gettext as _
from sipagent.web.commands import STARTED, Answer
from sipagent.web.forms import form_of
from sipagent.web.guard import Entry
from sipagent.web.markdown import html
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Site, site_of, someone
from sipagent.web.templating import render

_LOOKED_AT = 2000  # of the newest lines of the trace, for a purge among them
_SHOWN = 100  # erasures, problems
_REGISTER = {"md": "text/markdown; charset=utf-8", "json": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What must be done, and whether it is.

    `purged`: when the last purge ended, as the running agent says, or `unknown`: why nobody knows. `removed`:
    the last line of the trace that tells of one. `suspended`: why purging waits. `late`: recordings that
    should have been gone for a day. `unerased`: ids of what its call had wanted erased.
    """

    purged: datetime | None
    unknown: str | None
    removed: Access | None
    suspended: str | None
    late: int
    unerased: tuple[str, ...]
    reviews: int


def compliance_page(request: Request) -> Response:
    """What of it who asks may see."""
    site, person = site_of(request), someone(request)
    all_of_it = person.may(Right.COMPLIANCE)
    running = site.commands.running  # first: what has ended since is in `last`
    return render(
        request,
        "compliance.html",
        all_of_it=all_of_it,
        due=due_of(site) if all_of_it else None,
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


def due_of(site: Site) -> Due:
    """Raises StoreError, OSError."""
    now = site.clock()
    store, kept = site.store, site.config.retention
    status = site.commands.recent("status", "--json")
    purged = status.json and status.json["last_purge"]
    newest = islice(store.each_access(newest=True), _LOOKED_AT)
    return Due(
        purged=from_text(purged) if purged else None,
        unknown=_unknown(site, status),
        removed=next((use for use in newest if use.action == "purge" and use.outcome == "done"), None),
        suspended=suspended(store, read_clock(), proven(store, kept.timestamp_ca)),
        late=overdue(store, now, kept.period),
        unerased=tuple(stuck(site.archive)),
        reviews=reviews_overdue(store, site.local(now).date()),
    )


def _unknown(site: Site, status: Answer) -> str | None:
    """Why nobody knows how the agent is; None: it has said it."""
    if site.config.metrics.listen is None:
        return _("not known: the agent tells nobody (metrics.listen is absent)")
    if status.problem is None:
        return None
    return _("not known: the agent does not answer")


def start(request: Request) -> Response:
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
    return render(request, "register.html", entry=html(answer.text), to_complete=said, problem=answer.problem)


def register_file(request: Request) -> Response:
    """The register's entry as a file: Markdown or JSON."""
    form = request.url.path.rpartition(".")[2]
    answer = _register(request, form)
    if answer.problem is not None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, answer.problem)
    headers = {"Content-Disposition": f'attachment; filename="register.{form}"'}
    return Response(answer.text, headers=headers, media_type=_REGISTER[form])


def _register(request: Request, form: str) -> Answer:
    language = spoken.language()
    words = ("register", "--json") if form == "json" else ("register", "--lang", language)
    return site_of(request).commands.recent(*words, language=language)


def notice_page(request: Request) -> Response:
    """What callers hear, in each language, and whether it says what it must."""
    commands = site_of(request).commands
    return render(
        request,
        "notice.html",
        languages={"fr": _("French"), "en": _("English"), "de": _("German"), "es": _("Spanish")},
        notices=commands.recent("notice", "--json"),
        lint=commands.recent("notice", "--lint", "--json"),
    )


ENTRIES = (
    Entry("GET /compliance", compliance_page),
    *(Entry(f"POST /compliance/{name}", start) for name in STARTED),
    Entry("GET /compliance/register", register_page),
    *(Entry(f"GET /compliance/register.{form}", register_file) for form in _REGISTER),
    Entry("GET /compliance/notice", notice_page),
)

"""The pages of many calls: those of the moment (`/`), the lists (`/recordings`, `/calls`), the statistics.

The browser is told of what changes at the moment by server-sent events. A list has recordings, or all
calls whether recorded or not, newest first, a page at a time. What is searched for stands in fields of an
address, or of a form that a number may stand in: a number never stands in an address. The statistics are
what `stats --html` draws, of a period that is chosen, and by operator.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple, get_args
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from retention.records import Receipt, Recording, Status, has_sound, reference_of, seconds_between
from retention.rows.rows import StoreError
from retention.rows.selection import Selection
from retention.statistics import DECISIONS, OUTCOMES
from retention.texts import Reason
from sipagent.call.machines import DecidedBy
from sipagent.languages import spoken
from sipagent.languages.choice import LANGUAGES
from sipagent.languages.labels import N_, marks, of_them_there
from sipagent.languages.spoken import answering, ngettext, pgettext, shown
from sipagent.languages.spoken import gettext as _
from sipagent.operations.parsing import FieldError, Unreadable, parse_day, selection
from sipagent.operations.today import SpecialWanted, end_special, set_special
from sipagent.web.background import CountedFigures
from sipagent.web.guard import Entry, form_of
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Site, language_of, person_of, site_of, someone, trace_of
from sipagent.web.templating import label, render, size, user

BEAT_S = 10.0  # after which who watches is looked at again, and told that we are there
AGAIN_MS = 3000  # after which a browser tries again
MOST_WATCHERS = 200  # who watch at a time


def now_page(request: Request, problem: Problem | None = None) -> Response:
    """The calls of the moment, as it was when the page was asked for, and what is different today; once more,
    with why its form is refused."""
    coded = {f"decision {code}": label("decision", code) for code in DECISIONS}
    coded |= {f"by {code}": label("by", code) for code in get_args(DecidedBy)}
    site = site_of(request)
    zone = site.config.service.timezone.key
    moment, may_set = site.look(), someone(request).may(Right.TODAY)
    return render(
        request,
        "now.html",
        HTTPStatus.OK if problem is None else problem.status,
        moment=moment,
        different=next((one for one in moment.today if one.in_force), None),
        coded=coded,
        zone=zone,
        messages=_messages(site) if may_set else None,
        fault=problem and problem.detail,
        typed=form_of(request) if problem else {},
        here="/",
    )


def _messages(site: Site) -> dict[str, str]:
    """The words of each message, by its name; none where they cannot be read."""
    if not site.config.prompts.messages:
        return {}
    from media.prompt import PromptError, inspect_prompt  # with numpy, which stays in memory

    found = {}
    for name, path in site.config.prompts.messages.items():
        try:
            found[name] = inspect_prompt(path).words or ""
        except (PromptError, OSError):
            found[name] = ""
    return found


_CLOSED, _MESSAGE = "closed", "message "


def set_today(request: Request) -> Response:
    """Close for a while, or have callers hear a message."""
    form, site = form_of(request), site_of(request)
    what = form.line("what", _("What"))
    wanted = SpecialWanted(
        message=None if what == _CLOSED else what.removeprefix(_MESSAGE),
        since=form.get("from") or None,
        until=form.line("until", pgettext("clock", "Until")),
    )
    trace = trace_of(request, "today")
    special = set_special(site.config, site.store, wanted, trace)
    said = (
        _("It is set: callers notice it within seconds.") if special.from_at <= trace.at else _("It is set.")
    )
    site.tell(someone(request), said)
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)


def end_today(request: Request) -> Response:
    """Take one back."""
    form, site = form_of(request), site_of(request)
    end_special(site.config, site.store, form.number("number"), trace_of(request, "today"))
    site.tell(someone(request), _("It is taken back: callers notice it within seconds."))
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)


def wall_page(request: Request) -> Response:
    """A screen on the wall, which asks for its figures: in the service's language, where nobody is logged
    in."""
    language = language_of(request)
    if person_of(request) is None:
        service = site_of(request).config.service.language
        language = service if service in LANGUAGES else "en"
    with answering(language):
        return render(request, "wall.html")


def events(request: Request) -> Response:
    """The moment as JSON, with every change of it, for as long as who asks may see it."""
    site = site_of(request)
    if site.watching.count >= MOST_WATCHERS:
        most = Reason("{n} watch already; accepted: fewer", n=MOST_WATCHERS)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, most, headers={"Retry-After": "60"})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # no proxy keeps it back
    return StreamingResponse(stream(request, site, BEAT_S), media_type="text/event-stream", headers=headers)


async def stream(request: Request, site: Site, beat_s: float) -> AsyncIterator[str]:
    """Server-sent events: `now` with the moment, at last `ended` where the session is over."""
    who = someone(request).name
    yield f"retry: {AGAIN_MS}\n\n"
    with site.watching.watcher() as watcher:
        try:
            while await run_in_threadpool(_may_see, request, site, who):
                moment = await watcher.next(beat_s)
                yield ": nothing new\n\n" if moment is None else event("now", moment.to_json())
        except StoreError:  # nobody knows who asks: the browser asks again
            return
    yield event("ended", {})


def event(name: str, told: object) -> str:
    """One server-sent event; JSON has no line end in it."""
    return f"event: {name}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"


def _may_see(request: Request, site: Site, who: str) -> bool:
    person = site.identify(request)
    return person is not None and person.name == who and person.may(Right.NOW)


PAGE = 50  # rows
LONGEST_FIELD = 256  # characters of a field
STATUSES = tuple(status.value for status in Status)

_OF_RECORDINGS = ("since", "until", "reference", "operator", "status", "held", "flagged")
_OF_CALLS = ("since", "until", "reference", "operator", "outcome", "decision", "held", "flagged")
_NUMBER = ("caller", "number")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchForm:
    """`typed`: what was asked for, by field; `faults`: what is wrong with a field, in words.

    `selection` has one row more than a page, which tells whether there is another page.
    """

    typed: Mapping[str, str]
    faults: Mapping[str, str]
    selection: Selection

    def __getitem__(self, name: str) -> str:
        """What was typed into a field."""
        return self.typed.get(name, "")

    def fault(self, name: str) -> str:
        """What is wrong with a field, in words."""
        return self.faults.get(name, "")

    @property
    def by_number(self) -> bool:
        """Whether it may not stand in an address."""
        return bool(self["caller"])

    @property
    def whole(self) -> Selection:
        """All that is meant, on whatever page."""
        return replace(self.selection, after=None, limit=None)

    @property
    def is_narrow(self) -> bool:
        """Whether anything is asked for at all."""
        return any(name != "after" for name in self.typed)

    def fields(self, **changes: str) -> dict[str, str]:
        """What a form repeats that asks for another page of it."""
        return {name: text for name, text in ({**self.typed, "after": ""} | changes).items() if text}

    def address(self, path: str, **changes: str) -> str:
        """The address of that other page. Without a number."""
        asked = {name: text for name, text in self.fields(**changes).items() if name not in _NUMBER}
        return f"{path}?{urlencode(asked)}" if asked else path


def search_of(request: Request, *, calls: bool = False) -> SearchForm:
    """What an address, or a form with a number, asks for. Raises Problem."""
    posted = request.method == "POST"
    given = form_of(request) if posted else request.query_params
    if not posted and any(name in given for name in _NUMBER):
        said = N_("a number never stands in an address; accepted: the form on this page")
        raise Problem(HTTPStatus.BAD_REQUEST, Reason(said))
    names = ("after", *(_OF_CALLS if calls else _OF_RECORDINGS), *(("caller",) if posted else ()))
    fields = {name: given.get(name, "").strip()[:LONGEST_FIELD] for name in names}
    typed, site = {name: text for name, text in fields.items() if text}, site_of(request)
    found = Selection(limit=PAGE + 1)
    days, wrong = _days(typed, site)
    typed |= {name: f"{day}" for name, day in days.items()}
    faults = {name: shown(why) for name, why in wrong.items()}
    asked: dict[str, Any] = typed | {name: name in typed for name in ("held", "flagged")}
    if not faults:
        try:
            found = selection(site.config, site.clock(), limit=PAGE + 1, **asked)
        except FieldError as wrong:
            faults[wrong.name] = shown(wrong.problem)
    return SearchForm(typed=typed, faults=faults, selection=found)


def _days(typed: Mapping[str, str | None], site: Site) -> tuple[dict[str, date], dict[str, str]]:
    """The days `since` and `until`, as far as they are typed and are some; what is wrong with the others.

    A day has one before and one behind it in the calendar.
    """
    days: dict[str, date] = {}
    faults: dict[str, str] = {}
    for name in ("since", "until"):
        if text := typed.get(name):
            try:
                days[name] = parse_day(text, site.clock(), site.config.service.timezone)
            except Unreadable as wrong:
                faults[name] = wrong.args[0]
    if len(days) == 2 and days["since"] > days["until"]:
        faults["until"] = Reason(N_("it is before the first day"))
    return days, faults


UNRECORDED = 1000  # calls that are counted at most
RECORDINGS, CALLS = "/recordings", "/calls"


def recordings(request: Request) -> Response:
    """A page of the recordings that are meant."""
    search, site = search_of(request), site_of(request)
    rows: list[Recording] = []
    others = 0
    if not search.faults:
        rows, others = site.store.recordings(search.selection), _unrecorded(site, search)
    return _list(request, search, rows, RECORDINGS, in_all=in_all(rows[:PAGE]), others=others)


def calls(request: Request) -> Response:
    """A page of the calls that are meant."""
    search, site = search_of(request, calls=True), site_of(request)
    rows: list[Receipt] = [] if search.faults else site.store.receipts(search.selection)
    count = len(rows[:PAGE])
    said = ngettext("{n} call on this page", "{n} calls on this page", count).format(n=count)
    return _list(request, search, rows, CALLS, in_all=said, others=0)


def in_all(rows: Sequence[Recording]) -> str:
    """`50 recordings on this page, 48 of them there: 4:20:11, 120.5 MB`."""
    said = ngettext("{n} recording on this page", "{n} recordings on this page", len(rows))
    return of_them_there(said.format(n=len(rows)), rows, size, _("{in_all}: {amount}"))


def _unrecorded(site: Site, search: SearchForm) -> int:
    """How many calls that are meant have no recording: where a person is meant, they concern them, too."""
    if search["after"] or not (search.by_number or search["reference"]):
        return 0  # it was told on the first page
    found = site.store.each_receipt(replace(search.whole, unrecorded=True))
    return sum(1 for _ in islice(found, UNRECORDED))


def _list(
    request: Request,
    search: SearchForm,
    rows: Sequence[Any],
    address: str,
    *,
    in_all: str,
    others: int,
) -> Response:
    site = site_of(request)
    today = site.local(site.clock()).date()
    last = rows[PAGE - 1].id if len(rows) > PAGE else None
    return render(
        request,
        "recordings.html",
        HTTPStatus.BAD_REQUEST if search.faults else HTTPStatus.OK,
        search=search,
        rows=rows[:PAGE],
        in_all=in_all,
        others=others,
        last=last,
        address=address,
        here=RECORDINGS,
        operators=sorted({user(uri) for uri in site.config.operators.extensions}),
        statuses=STATUSES,
        outcomes=OUTCOMES,
        decisions=DECISIONS,
        periods=[
            (name, {"since": f"{today - timedelta(days=first)}", "until": f"{today - timedelta(days=last)}"})
            for name, first, last in (
                *((_("Today"), 0, 0), (_("Yesterday"), 1, 1)),
                *((_("7 days"), 6, 0), (_("30 days"), 29, 0)),
            )
        ],
        is_there=has_sound,
        marks=marks,
        between=seconds_between,
        reference_of=reference_of,
    )


_DAYS = 30  # that are shown where nothing is chosen


class DayRange(NamedTuple):
    """Whole days in the service's time zone, both included; None: from the first, to the last."""

    since: date | None
    until: date | None


def statistics_page(request: Request) -> Response:
    """`?since=2026-11-01&until=2026-11-30`; without them the last 30 days."""
    site = site_of(request)
    today = site.local(site.clock()).date()
    typed = {name: request.query_params.get(name) for name in ("since", "until")}
    days, faults = _days(typed, site)
    if typed["since"] is None and typed["until"] is None:
        days = {"since": today - timedelta(days=_DAYS - 1), "until": today}
    period = DayRange(days.get("since"), days.get("until"))
    first, last = (None if day is None else str(day) for day in period)
    chosen = None if faults else selection(site.config, site.clock(), since=first, until=last)
    found = None if chosen is None else site.counting.of(chosen)
    counted = found if isinstance(found, CountedFigures) else None
    by_operator = someone(request).may(Right.OPERATORS)
    return render(
        request,
        "statistics.html",
        HTTPStatus.BAD_REQUEST if faults else HTTPStatus.OK,
        typed=typed if faults else {"since": period.since, "until": period.until},
        faults=faults,
        period=period,
        choices=list(_choices(today)),
        progress=None if counted is not None else found,
        problem=counted and counted.problem,
        drawn=chosen and counted and counted.problem is None and _drawn(site, counted, chosen),
        operators=sorted(counted.figures.operators.items()) if counted and by_operator else None,
    )


def _choices(today: date) -> tuple[tuple[str, DayRange], ...]:
    month = today.replace(day=1)
    before = month - timedelta(days=1)
    return (
        (_("Today"), DayRange(today, today)),
        (_("7 days"), DayRange(today - timedelta(days=6), today)),
        (_("30 days"), DayRange(today - timedelta(days=29), today)),
        (_("This month"), DayRange(month, today)),
        (_("Last month"), DayRange(before.replace(day=1), before)),
        (_("This year"), DayRange(today.replace(month=1, day=1), today)),
        (_("All"), DayRange(None, None)),
    )


def _drawn(site: Site, counted: CountedFigures, period: Selection) -> Markup:
    """The part of `stats --html`, drawn once for each language."""
    from sipagent.text.statistics import heading_of, part  # slow to import

    language = spoken.language()
    if language not in counted.parts:
        heading = heading_of(site.config.service, language, period, counted.at, counted.tally)
        counted.parts[language] = part(counted.figures, heading)
    return Markup(counted.parts[language])  # it has escaped what is not its own


ENTRIES = (
    Entry("GET /wall", wall_page),
    Entry("GET /", now_page),
    Entry("POST /today", set_today, now_page),
    Entry("POST /today/remove", end_today, now_page),
    Entry("GET /recordings", recordings),
    Entry("POST /recordings", recordings),
    Entry("GET /calls", calls),
    Entry("POST /calls", calls),
    Entry("GET /statistics", statistics_page),
)

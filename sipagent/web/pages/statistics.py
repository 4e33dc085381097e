"""The page of statistics: what `stats --html` draws, of a period that is chosen, and by operator."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from http import HTTPStatus

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from retention.rows.selection import Selection
from sipagent.languages import spoken
from sipagent.languages.spoken import gettext as _
from sipagent.web.beside.counting import Counted
from sipagent.web.guard import Entry
from sipagent.web.rights import Right
from sipagent.web.site import Site, site_of, someone
from sipagent.web.templating import render

_DAYS = 30  # that are shown where nothing is chosen


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days in the service's time zone, both included; None: from the first, to the last."""

    since: date | None
    until: date | None

    def selection(self, site: Site) -> Selection:
        """The calls begun in it."""
        zone = site.config.service.timezone
        end = None if self.until is None else self.until + timedelta(days=1)
        since, until = (
            None if day is None else datetime.combine(day, time(), zone) for day in (self.since, end)
        )
        return Selection(since=since, until=until)


def statistics_page(request: Request) -> Response:
    """`?since=2026-11-01&until=2026-11-30`; without them the last 30 days."""
    site = site_of(request)
    today = site.local(site.clock()).date()
    typed = {name: request.query_params.get(name) for name in ("since", "until")}
    faults = {name for name, text in typed.items() if text and _day(text) is None}
    if typed["since"] is None and typed["until"] is None:
        period = Period(today - timedelta(days=_DAYS - 1), today)
    else:
        period = Period(_day(typed["since"]), _day(typed["until"]))
    if period.since and period.until and period.since > period.until:
        faults.add("until")
    found = None if faults else site.counting.of(period.selection(site))
    counted = found if isinstance(found, Counted) else None
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
        drawn=counted and counted.problem is None and _drawn(site, counted, period),
        operators=sorted(counted.figures.operators.items()) if counted and by_operator else None,
    )


ENTRIES = (Entry("GET /statistics", statistics_page),)


def _choices(today: date) -> tuple[tuple[str, Period], ...]:
    month = today.replace(day=1)
    before = month - timedelta(days=1)
    return (
        (_("Today"), Period(today, today)),
        (_("7 days"), Period(today - timedelta(days=6), today)),
        (_("30 days"), Period(today - timedelta(days=29), today)),
        (_("This month"), Period(month, today)),
        (_("Last month"), Period(before.replace(day=1), before)),
        (_("This year"), Period(today.replace(month=1, day=1), today)),
        (_("All"), Period(None, None)),
    )


def _day(text: str | None) -> date | None:
    """A day that a calendar has before and behind it a day, too."""
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if date.min.year < day.year < date.max.year else None


def _drawn(site: Site, counted: Counted, period: Period) -> Markup:
    """The part of `stats --html`, drawn once for each language."""
    from sipagent.stats.page import Heading, part  # slow to import

    language = spoken.language()
    if language not in counted.parts:
        selection = period.selection(site)
        heading = Heading(
            service=site.config.service.name,
            language=language,
            zone=str(site.config.service.timezone),
            made=site.local(counted.at),
            since=selection.since,
            until=selection.until,
            tally=counted.tally,
        )
        counted.parts[language] = part(counted.figures, heading)
    return Markup(counted.parts[language])  # it has escaped what is not its own

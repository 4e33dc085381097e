"""Lists, newest first, a page at a time: the recordings, and all calls whether recorded or not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Receipt, Recording, Status, reference_of
from retention.rows.store import UnknownId
from sipagent.languages.spoken import gettext as _
from sipagent.languages.spoken import ngettext
from sipagent.lookup.amounts import length
from sipagent.web.guard import Entry
from sipagent.web.pages.search import DECISIONS, OUTCOMES, PAGE, STATUSES, Search, asked_of
from sipagent.web.problems import Problem
from sipagent.web.site import Site, site_of
from sipagent.web.templating import render, size, user

UNRECORDED = 1000  # calls that are counted at most
RECORDINGS, CALLS = "/recordings", "/calls"


def recordings(request: Request) -> Response:
    """A page of the recordings that are meant."""
    search, site = asked_of(request), site_of(request)
    rows: list[Recording] = []
    others = 0
    if not search.faults:
        try:
            rows = site.store.recordings(search.selection)
        except UnknownId as unknown:
            raise Problem(HTTPStatus.NOT_FOUND, str(unknown)) from unknown
        others = _unrecorded(site, search)
    return _list(request, search, rows, RECORDINGS, in_all=in_all(rows[:PAGE]), others=others)


def calls(request: Request) -> Response:
    """A page of the calls that are meant."""
    search, site = asked_of(request, calls=True), site_of(request)
    rows: list[Receipt] = []
    if not search.faults:
        try:
            rows = site.store.receipts(search.selection)
        except UnknownId as unknown:
            raise Problem(HTTPStatus.NOT_FOUND, str(unknown)) from unknown
    count = len(rows[:PAGE])
    said = ngettext("{n} call on this page", "{n} calls on this page", count).format(n=count)
    return _list(request, search, rows, CALLS, in_all=said, others=0)


def in_all(rows: Sequence[Recording]) -> str:
    """`50 recordings on this page, 48 of them there: 4:20:11, 120.5 MB`."""
    sounding = [row for row in rows if is_there(row)]
    said = ngettext("{n} recording on this page", "{n} recordings on this page", len(rows)).format(
        n=len(rows)
    )
    seconds, count = (sum(getattr(row, name) or 0 for row in sounding) for name in ("duration_s", "bytes"))
    amount = f"{length(seconds)}, {size(count)}"
    if len(sounding) == len(rows):
        return _("{in_all}: {amount}").format(in_all=said, amount=amount)
    if not sounding:
        return _("{in_all}, none there: {amount}").format(in_all=said, amount=amount)
    there = ngettext(
        "{in_all}, {n} of them there: {amount}", "{in_all}, {n} of them there: {amount}", len(sounding)
    )
    return there.format(in_all=said, n=len(sounding), amount=amount)


def is_there(row: Recording) -> bool:
    """Whether its sound exists, whole or still growing."""
    return row.status in (Status.OPEN, Status.CLOSED)


def marks(row: Recording) -> list[str]:
    """The codes of what is special of a recording."""
    special = {"held": row.hold is not None, "flagged": row.flagged, "incomplete": row.incomplete}
    return [name for name, true in special.items() if true]


def between(row: Receipt, first: str, last: str) -> float | None:
    """Seconds between two of a receipt's times; None where one of them is not known."""
    start, end = getattr(row, first), getattr(row, last)
    return (end - start).total_seconds() if start and end else None


def _unrecorded(site: Site, search: Search) -> int:
    """How many calls that are meant have no recording: where a person is meant, they concern them, too."""
    if search["after"] or not (search.by_number or search["reference"]):
        return 0  # it was told on the first page
    found = site.store.each_receipt(replace(search.whole, unrecorded=True))
    return sum(1 for _ in islice(found, UNRECORDED))


def _list(
    request: Request,
    search: Search,
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
        periods=(
            (_("Today"), {"since": f"{today}", "until": f"{today}"}),
            (
                _("Yesterday"),
                {"since": f"{today - timedelta(days=1)}", "until": f"{today - timedelta(days=1)}"},
            ),
            (_("7 days"), {"since": f"{today - timedelta(days=6)}", "until": f"{today}"}),
            (_("30 days"), {"since": f"{today - timedelta(days=29)}", "until": f"{today}"}),
        ),
        is_there=is_there,
        marks=marks,
        between=between,
        reference_of=reference_of,
    )


ENTRIES = (
    Entry("GET /recordings", recordings),
    Entry("POST /recordings", recordings),
    Entry("GET /calls", calls),
    Entry("POST /calls", calls),
)

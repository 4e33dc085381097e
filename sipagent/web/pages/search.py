"""What is searched for in a list: fields of an address, or of a form that a number may stand in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from retention.recording import Status
from retention.rows.selection import Selection
from retention.rules.statistics import DECISIONS, OUTCOMES
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.lookup.filters import FilterError, selection
from sipagent.web.forms import form_of
from sipagent.web.problems import Problem
from sipagent.web.site import Site, site_of

__all__ = ["DECISIONS", "OUTCOMES", "PAGE", "STATUSES", "Search", "asked_of"]

PAGE = 50  # rows
LONGEST = 256  # characters of a field
STATUSES = tuple(status.value for status in Status)

_OF_RECORDINGS = ("since", "until", "reference", "operator", "status", "held", "flagged")
_OF_CALLS = ("since", "until", "reference", "operator", "outcome", "decision", "held", "flagged")
_NUMBER = ("caller", "number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
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


def asked_of(request: Request, *, calls: bool = False) -> Search:
    """What an address, or a form with a number, asks for. Raises Problem."""
    posted = request.method == "POST"
    given = form_of(request) if posted else request.query_params
    if not posted and any(name in given for name in _NUMBER):
        said = N_("a number never stands in an address; accepted: the form on this page")
        raise Problem(HTTPStatus.BAD_REQUEST, Reason(said))
    names = ("after", *(_OF_CALLS if calls else _OF_RECORDINGS), *(("caller",) if posted else ()))
    typed = {name: given.get(name, "").strip()[:LONGEST] for name in names}
    return read({name: text for name, text in typed.items() if text}, site_of(request))


def read(typed: Mapping[str, str], site: Site) -> Search:
    """What is meant by the fields; no field is empty."""
    asked: dict[str, Any] = dict(typed)
    faults: dict[str, str] = {}
    found = Selection(limit=PAGE + 1)
    days: list[date] = []
    for name in ("since", "until"):
        if name in typed:
            try:
                days.append(day(typed[name]))
            except ValueError as wrong:
                faults[name] = shown(wrong)
    if len(days) == 2 and days[0] > days[1]:
        faults["until"] = shown(Reason(N_("it is before the first day")))
    asked |= {name: name in typed for name in ("held", "flagged")}
    if not faults:
        try:
            found = selection(site.config, site.clock(), limit=PAGE + 1, **asked)
        except FilterError as wrong:
            faults[wrong.name] = wrong.problem
    return Search(typed=typed, faults=faults, selection=found)


def day(text: str) -> date:
    """`2026-11-24`, with a day before and behind it in the calendar. Raises ValueError."""
    wrong = Reason(N_("{text!r} is not a day; accepted: 2026-11-24"), text=text)
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError(wrong) from None
    if not date.min.year < found.year < date.max.year:
        raise ValueError(wrong)
    return found

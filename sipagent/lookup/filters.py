"""The filters of recordings and calls, as people type them → a Selection."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from retention.recording import Status, is_id
from retention.rows.selection import Selection
from retention.rules.statistics import DECISIONS, OUTCOMES
from sipagent.config.identity import to_e164
from sipagent.languages.spoken import gettext as _
from sipagent.lookup.moments import parse_moment
from sipagent.lookup.numbers import call_reference, caller_forms

if TYPE_CHECKING:
    from sipagent.config.load import Config

Value = TypeVar("Value")


class FilterError(ValueError):
    """A filter cannot be read. `name` is its field, such as `since`; `problem` is what is wrong, one line."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


def selection(
    config: "Config",
    present: datetime,
    *,
    since: str | None = None,
    until: str | None = None,
    caller: str | None = None,
    reference: str | None = None,
    operator: str | None = None,
    status: str | None = None,
    outcome: str | None = None,
    decision: str | None = None,
    after: str | None = None,
    held: bool = False,
    flagged: bool = False,
    limit: int | None = None,
) -> Selection:
    """What is meant; a text without an offset is a time of the service. Raises FilterError."""
    service = config.service
    forms = _read("caller", caller, lambda text: caller_forms(text, service.country)) or ()
    number = forms[0] if len(forms) == 1 and to_e164(forms[0], service.country) == forms[0] else None
    return Selection(
        since=_read("since", since, lambda text: parse_moment(text, present, service.timezone)),
        until=_read("until", until, lambda text: parse_moment(text, present, service.timezone, end=True)),
        number=number,
        caller=() if number else forms,
        reference=_read("reference", reference, call_reference),
        operator=operator,
        status=_read("status", status, lambda text: Status(_one_of(text, tuple(Status)))),
        outcome=_read("outcome", outcome, lambda text: _one_of(text, OUTCOMES)),
        decision=_read("decision", decision, lambda text: _one_of(text, DECISIONS)),
        after=_read("after", after, _id),
        held=held,
        flagged=flagged,
        limit=limit,
    )


def _read(name: str, text: str | None, read: Callable[[str], Value]) -> Value | None:
    if text is None:
        return None
    try:
        return read(text)
    except ValueError as error:
        raise FilterError(name, str(error)) from error


def _one_of(text: str, accepted: tuple[str, ...]) -> str:
    if text not in accepted:
        said = _("{typed!r} is none of these: {accepted}")
        raise ValueError(said.format(typed=text, accepted=", ".join(accepted)))
    return text


def _id(text: str) -> str:
    if not is_id(text):
        raise ValueError(_("{typed!r} is not an id").format(typed=text))
    return text

"""Which rows to list: a `Selection`, and the listings that it becomes.

Of the conditions of a selection one leads: an index has exactly its rows, in the order of the listing. So 50
of a million come as fast as 50 of a hundred, and a rare row too. The others are looked at row by row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Protocol

from retention.recording import Status, to_text
from retention.rows.dialect import Dialect
from retention.rows.pages import Listing, Query, Row

_REFERENCE = 6  # characters: what a call's reference has, and an index
_OF_RECORDING = "receipts.recording_id = recordings.id"
# the index of a condition has few rows, or more: the first that there is leads
_LEADING = ("reference", "number", "held", "caller", "operator", "flagged", "status", "outcome", "decision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows to list, newest first. Absent: any.

    `number` is a caller's whole number, as in the rows. `caller` has several forms of a part of a number; a
    row matches if its number begins or ends with one of them. `operator` is a whole address, or its user
    part. `reference` is a call's reference, as a person tells it. `until` is exclusive. `after` is the id
    behind which the listing begins: the last one of the page before.
    """

    since: datetime | None = None
    until: datetime | None = None
    number: str | None = None
    caller: tuple[str, ...] = ()
    operator: str | None = None
    reference: str | None = None
    status: Status | None = None
    held: bool = False
    flagged: bool = False
    outcome: str | None = None  # receipts only
    unrecorded: bool = False  # receipts only
    decision: str | None = None
    after: str | None = None
    limit: int | None = None


Key = tuple[str, str]  # beginning and id of a row


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL, empty for none. `name`: which index has it; `of_recording`: it is about the call's
    recording. `accepts`: what else the row must meet, once it is opened. `span`: only of calls that began
    then, from the first time on and before the second. `few`: few rows meet it, see `found_first`."""

    text: str = ""
    values: Sequence[object] = ()
    name: str = ""
    of_recording: bool = False
    accepts: Callable[[Row], bool] | None = None
    span: tuple[str, str] | None = None
    few: bool = False


@dataclass(frozen=True, slots=True)
class Sought:
    """What a selection says about a person: its name, as in the selection, and a condition for each row.

    `leading`: conditions that an index has, no two for the same row, and all of its rows meet one of them;
    None if no index helps. Those with a span come in the order of the list: the newest first.
    """

    name: str
    condition: Condition
    leading: Sequence[Condition] | None = None


class Searching(Protocol):
    """How persons are found in the rows of one kind of database."""

    def sought(self, query: Query, table: str, selection: Selection) -> Iterable[Sought]:
        """What a selection says about persons: `number`, `caller`, `operator`."""
        ...


def listings(
    table: str, selection: Selection, behind: Key | None, sought: Iterable[Sought], dialect: Dialect
) -> list[Listing]:
    """What to read of `recordings` or `receipts`, each listing newest first, with no row in common.

    `behind` is the key of `selection.after`; `sought` is what the selection says about persons.
    """
    others = [*_conditions(table, selection, dialect), *_of_recording(selection)]
    named = [(one.name, one, [one]) for one in others if one.name]
    persons = [(one.name, one.condition, one.leading) for one in sought]
    conditions = [*others, *(condition for _, condition, _ in persons)]
    led = [(condition, leads) for _, condition, leads in _in_order([*named, *persons]) if leads is not None]
    if not led:
        return [_listing(table, selection, behind, (Condition(), *conditions), dialect)]
    condition, leads = led[0]
    rest = [one for one in conditions if one is not condition]
    of_time = [lead for lead in leads if behind is None or lead.span is None or lead.span[0] <= behind[0]]
    return [_listing(table, selection, behind, (leading, *rest), dialect) for leading in of_time]


def follow_each_other(listings: Sequence[Listing]) -> bool:
    """Whether all rows of each listing are newer than those of the next."""
    spans = [(str(one.start or ""), str(one.stop or "")) for one in listings]
    return all(stop and start >= stop for (start, _), (_, stop) in pairwise(spans))


def _in_order(
    leading: list[tuple[str, Condition, Sequence[Condition] | None]],
) -> list[tuple[str, Condition, Sequence[Condition] | None]]:
    return sorted(leading, key=lambda one: _LEADING.index(one[0]))


def _listing(
    table: str, selection: Selection, behind: Key | None, conditions: Sequence[Condition], dialect: Dialect
) -> Listing:
    """The first condition leads. Calls by the state of their recordings are read from the recordings, which
    begin when they do."""
    leading, *rest = conditions
    joined = table == "receipts" and leading.of_recording
    first = "recordings" if joined else table
    start = None if selection.since is None else to_text(selection.since)
    stop = None if selection.until is None else to_text(selection.until)
    if leading.span is not None:
        since, until = leading.span
        start, stop = max(start or since, since), min(stop or until, until)
    if behind is not None and stop is not None and behind[0] >= stop:
        behind = None
    where = [one if first == "recordings" else _of_receipt(one) for one in rest if one.text]
    accepts = [one.accepts for one in (leading, *rest) if one.accepts is not None]
    return Listing(
        table=f"recordings {dialect.join} receipts ON {_OF_RECORDING}" if joined else table,
        of=table,
        columns=f"{table}.*",
        order=(f"{first}.started_at", f"{first}.id"),
        where=[one.text for one in where],
        values=[value for one in where for value in one.values],
        indexed=leading.text,
        indexed_values=[*leading.values],
        start=start,
        stop=stop,
        behind=behind,
        descending=True,
        limit=selection.limit,
        accepts=accepts,
        found_first=leading.few,
    )


def _conditions(table: str, selection: Selection, dialect: Dialect) -> Iterator[Condition]:
    """Those about the table's own columns."""
    if selection.reference is not None:
        end = f"-{selection.reference}"
        name = "reference" if len(selection.reference) == _REFERENCE else ""
        yield Condition(f"{dialect.ending(f'{table}.id', len(end))} = ?", (end,), name)
    of_calls = table == "receipts"
    if selection.outcome is not None and of_calls:
        yield Condition("receipts.outcome = ?", (selection.outcome,), "outcome")
    if selection.unrecorded and of_calls:
        yield Condition("receipts.recording_id IS NULL")
    if selection.decision is not None:
        name = "decision" if of_calls or dialect.decisions else ""
        yield Condition(f"{table}.decision = ?", (selection.decision,), name)


def _of_recording(selection: Selection) -> Iterator[Condition]:
    if selection.held:
        yield Condition("recordings.hold IS NOT NULL", (), "held", of_recording=True)
    if selection.flagged:
        yield Condition("recordings.flagged = 1", (), "flagged", of_recording=True)
    if selection.status is not None:
        yield Condition("recordings.status = ?", (selection.status.value,), "status", of_recording=True)


def _of_receipt(condition: Condition) -> Condition:
    """The condition for a receipt: the state of a recording is that of the call's own, if it has one."""
    if not condition.of_recording:
        return condition
    its = "SELECT 1 FROM recordings WHERE recordings.id = receipts.recording_id"
    return replace(condition, text=f"EXISTS ({its} AND {condition.text})")

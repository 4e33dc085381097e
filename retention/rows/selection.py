"""Which rows to list: a `Selection`, and the listings that it becomes.

Of the conditions of a selection one leads: an index has exactly its rows, in the order of the listing. So 50
of a million come as fast as 50 of a hundred, and a rare row too. The others are looked at row by row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice

from retention.recording import Status, to_text
from retention.rows.pages import Listing, Query

_REFERENCE = 6  # characters: what a call's reference has, and an index
_JOINED = "recordings CROSS JOIN receipts ON receipts.recording_id = recordings.id"  # in this order
# the index of a condition has few rows, or more: the first that there is leads
_LEADING = ("reference", "number", "held", "caller", "operator", "flagged", "status", "outcome", "decision")
_MANY = 400  # callers or operators that match: as many rows are found soon, whatever else is read
_READ = 100  # of them in one read
_END = 4  # digits of a number by which an index has its end


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
Meant = Mapping[str, Sequence[str]]  # of a column, by its name
_PARTS = ("caller", "operator")  # whose values are looked up first: each is a listing of its own


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition in SQL. `name`: which index has it; `of_recording`: it is about the call's recording."""

    text: str
    values: Sequence[object] = ()
    name: str = ""
    of_recording: bool = False


def values_meant(query: Query, table: str, selection: Selection) -> Meant:
    """The callers and operators in a table that the parts in a selection mean, where they are few.

    Found by indexes, in short reads.
    """
    meant: dict[str, list[str]] = {}
    if selection.operator is not None:
        condition, values = _is_operator(selection.operator, "value")
        found = _each_value(query, table, "operator", condition=condition, values=values)
        meant["operator"] = list(islice(found, _MANY + 1))
    if selection.caller and all(len(form) >= _END for form in selection.caller):
        callers = chain(*(_callers(query, table, form) for form in selection.caller))
        meant["caller"] = list(dict.fromkeys(islice(callers, _MANY + 1)))
    return {name: values for name, values in meant.items() if len(values) <= _MANY}


def _callers(query: Query, table: str, form: str) -> Iterator[str]:
    """Those that begin with it, and those that end with it."""
    behind = form[:-1] + chr(ord(form[-1]) + 1)
    yield from _each_value(query, table, "caller", first=form, behind=behind)
    ending = f"SELECT DISTINCT caller FROM {table} WHERE caller IS NOT NULL AND substr(caller, -{_END}) = ?"
    last = ""
    while True:
        sql = f"{ending} AND caller > ? ORDER BY caller LIMIT {_READ}"
        rows = query(sql, [form[-_END:], last])
        yield from (row["caller"] for row in rows if row["caller"].endswith(form))
        if len(rows) < _READ:
            return
        last = rows[-1]["caller"]


def _each_value(
    query: Query,
    table: str,
    column: str,
    *,
    first: str = "",
    behind: str | None = None,
    condition: str = "1",
    values: Sequence[object] = (),
) -> Iterator[str]:
    """The different values of an indexed column that meet a condition, from `first` on, up to `behind`."""
    least = f"SELECT min({column}) AS value FROM {table} WHERE {column}"
    following = f"SELECT ({least} > named.value) FROM named WHERE value IS NOT NULL LIMIT {_READ}"
    sign, last = ">=", first
    while True:
        every = f"WITH RECURSIVE named AS ({least} {sign} ? UNION ALL {following})"
        rows = query(f"{every} SELECT value, {condition} AS meant FROM named", [last, *values])
        for row in rows:
            if row["value"] is None or (behind is not None and row["value"] >= behind):
                return
            if row["meant"]:
                yield row["value"]
        sign, last = ">", rows[-1]["value"]


def _is_operator(operator: str, column: str) -> tuple[str, tuple[object, ...]]:
    """The condition, with its values, that a column has an operator's whole address, or the user part."""
    return f"({column} = ? OR instr({column}, ':' || ? || '@') > 0)", (operator, operator)


def listings(table: str, selection: Selection, behind: Key | None, meant: Meant) -> list[Listing]:
    """What to read of `recordings` or `receipts`, each listing newest first, with no row in common.

    `behind` is the key of `selection.after`; `meant`: see `values_meant`.
    """
    conditions = [*_conditions(table, selection), *_of_recording(selection)]
    leading = min(
        (one for one in conditions if one.name and (one.name not in _PARTS or one.name in meant)),
        key=lambda one: _LEADING.index(one.name),
        default=None,
    )
    rest = [one for one in conditions if one is not leading]
    whole = _listing(table, selection, behind, leading, rest)
    if leading is None or leading.name not in _PARTS:
        return [whole]
    each = replace(whole, indexed=f"{table}.{leading.name} = ?")
    return [replace(each, indexed_values=[value]) for value in meant[leading.name]]


def _listing(
    table: str, selection: Selection, behind: Key | None, leading: _Condition | None, rest: list[_Condition]
) -> Listing:
    """Calls by the state of their recordings are read from the recordings, which begin when they do."""
    joined = table == "receipts" and leading is not None and leading.of_recording
    first = "recordings" if joined else table
    stop = None if selection.until is None else to_text(selection.until)
    if behind is not None and stop is not None and behind[0] >= stop:
        behind = None
    where = [one if first == "recordings" else _of_receipt(one) for one in rest]
    return Listing(
        table=_JOINED if joined else table,
        columns=f"{table}.*",
        order=(f"{first}.started_at", f"{first}.id"),
        where=[one.text for one in where],
        values=[value for one in where for value in one.values],
        indexed=leading.text if leading else "",
        indexed_values=[*leading.values] if leading else [],
        start=selection.since and to_text(selection.since),
        stop=stop,
        behind=behind,
        descending=True,
        limit=selection.limit,
    )


def _conditions(table: str, selection: Selection) -> Iterator[_Condition]:
    """Those about the table's own columns."""
    if selection.reference is not None:
        end = f"-{selection.reference}"
        if len(selection.reference) == _REFERENCE:
            yield _Condition(f"substr({table}.id, -{_REFERENCE + 1}) = ?", (end,), "reference")
        else:
            yield _Condition(f"substr({table}.id, -length(?)) = ?", (end, end))
    if selection.number is not None:
        yield _Condition(f"{table}.caller = ?", (selection.number,), "number")
    if selection.caller:
        part = f"substr({table}.caller, 1, length(?)) = ? OR substr({table}.caller, -length(?)) = ?"
        parts = " OR ".join([part] * len(selection.caller))
        yield _Condition(f"({parts})", [form for form in selection.caller for _ in range(4)], "caller")
    if selection.operator is not None:
        yield _Condition(*_is_operator(selection.operator, f"{table}.operator"), "operator")
    of_calls = table == "receipts"
    if selection.outcome is not None and of_calls:
        yield _Condition("receipts.outcome = ?", (selection.outcome,), "outcome")
    if selection.unrecorded and of_calls:
        yield _Condition("receipts.recording_id IS NULL")
    if selection.decision is not None:
        yield _Condition(f"{table}.decision = ?", (selection.decision,), "decision" if of_calls else "")


def _of_recording(selection: Selection) -> Iterator[_Condition]:
    if selection.held:
        yield _Condition("recordings.hold IS NOT NULL", (), "held", of_recording=True)
    if selection.flagged:
        yield _Condition("recordings.flagged = 1", (), "flagged", of_recording=True)
    if selection.status is not None:
        yield _Condition("recordings.status = ?", (selection.status.value,), "status", of_recording=True)


def _of_receipt(condition: _Condition) -> _Condition:
    """The condition for a receipt: the state of a recording is that of the call's own, if it has one."""
    if not condition.of_recording:
        return condition
    its = "SELECT 1 FROM recordings WHERE recordings.id = receipts.recording_id"
    return replace(condition, text=f"EXISTS ({its} AND {condition.text})")

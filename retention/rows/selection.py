"""Which rows to list: a `Selection`, and the listings that it becomes; rows of a person; rows that may be
due.

Of the conditions of a selection one leads: an index has exactly its rows, in the order of the listing. So
50 of a million come as fast as 50 of a hundred, and a rare row too. The others are looked at row by row.

`InColumns` says how persons are found where their numbers and addresses stand in columns of their own.

Which rows may be due is asked by listings that an index answers: no read goes through rows that are not.
If a function gives several listings, they have no row in common.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice, pairwise
from typing import Protocol

from retention.records import Status, to_text
from retention.rows.chain import json_text
from retention.rows.pages import SQLITE, Dialect, Listing, Query, Row

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
    named: list[tuple[str, Condition, Sequence[Condition] | None]] = [
        (one.name, one, [one]) for one in others if one.name
    ]
    persons = [(one.name, one.condition, one.leading) for one in sought]
    conditions = [*others, *(condition for _, condition, _ in persons)]
    in_order = sorted([*named, *persons], key=lambda one: _LEADING.index(one[0]))
    led = [(condition, leads) for _, condition, leads in in_order if leads is not None]
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


_MANY = 400  # callers or operators that match: as many rows are found soon, whatever else is read
_READ = 100  # of them in one read
_END = 4  # digits of a number by which an index has its end


class InColumns:
    """A `Searching`. Callers and operators that parts of a number or an address mean are looked up first, by
    indexes, in short reads; where they are few, each becomes a listing of its own."""

    def sought(self, query: Query, table: str, selection: Selection) -> Iterator[Sought]:
        """What a selection says about persons."""
        if selection.number is not None:
            number = Condition(f"{table}.caller = ?", (selection.number,))
            yield Sought("number", number, (number,))
        if selection.caller:
            yield Sought("caller", _parts(table, selection.caller), _callers(query, table, selection.caller))
        if selection.operator is not None:
            text, values = _is_operator(selection.operator, f"{table}.operator")
            among = f"instr({table}.operators, ?) > 0 OR instr({table}.operators, ':' || ? || '@') > 0"
            values = (*values, json_text(selection.operator), selection.operator)
            operators = _operators(query, table, selection.operator)
            yield Sought("operator", Condition(f"({text} OR {among})", values), operators)


def _parts(table: str, forms: Sequence[str]) -> Condition:
    caller = f"{table}.caller"
    each = [
        f"substr({caller}, 1, {len(form)}) = ? OR {SQLITE.ending(caller, len(form))} = ?" for form in forms
    ]
    return Condition(f"({' OR '.join(each)})", [form for form in forms for _ in range(2)])


def _callers(query: Query, table: str, forms: Sequence[str]) -> Sequence[Condition] | None:
    if any(len(form) < _END for form in forms):
        return None
    callers = chain(*(_callers_of(query, table, form) for form in forms))
    return _each(table, "caller", list(dict.fromkeys(islice(callers, _MANY + 1))))


def _operators(query: Query, table: str, operator: str) -> Sequence[Condition] | None:
    """Those of whom it was the last, and those whom it gave to others: no row is in both."""
    condition, values = _is_operator(operator, "value")
    found = _each_value(query, table, "operator", condition=condition, values=values)
    lasts = _each(table, "operator", list(islice(found, _MANY + 1)))
    several = (
        text for text in _each_value(query, table, "operators") if _gave_away(operator, json.loads(text))
    )
    givers = _each(table, "operators", list(islice(several, _MANY + 1)))
    return None if lasts is None or givers is None else [*lasts, *givers]


def _gave_away(operator: str, operators: Sequence[str]) -> bool:
    """Whether it is among them, and not the last."""
    *earlier, last = (is_address_of(operator, one) for one in operators)
    return any(earlier) and not last


def is_address_of(operator: str, address: str) -> bool:
    """Whether an operator, a whole address or its user part, has this address."""
    return address == operator or f":{operator}@" in address


def _each(table: str, column: str, values: Sequence[str]) -> Sequence[Condition] | None:
    if len(values) > _MANY:
        return None
    return [Condition(f"{table}.{column} = ?", (value,)) for value in values]


def _callers_of(query: Query, table: str, form: str) -> Iterator[str]:
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


_BY_TIME = ("started_at", "id")


def expiring_recordings(expired: datetime, started: datetime) -> Iterator[Listing]:
    """Not purged, and begun before `started`, or expired before `expired`, or half purged."""
    began, others = _either("recordings", "purged_at IS NULL", expired, started)
    yield from (began, others)
    yield replace(
        others,
        order=_BY_TIME,
        indexed=f"status = '{Status.PURGING.value}'",
        stop=None,
        where=["purged_at IS NULL", "started_at >= ?", "expires_at >= ?"],
        values=[to_text(started), to_text(expired)],
    )


def expiring_receipts(expired: datetime, started: datetime, dialect: Dialect) -> Iterator[Listing]:
    """Receipts that still lead to a person, and began before `started`, or expired before `expired`."""
    yield from _either("receipts", dialect.personal, expired, started)


def personal_notes(dialect: Dialect) -> Listing:
    """Notes that have a text."""
    return Listing(table="notes", order=("id",), indexed=dialect.personal)


def expiring_notes(expired: datetime, written: datetime | None, dialect: Dialect) -> Listing:
    """Notes that have a text, and expired at `expired`, or are older than `written`."""
    values = [to_text(expired), to_text(written or datetime.min.replace(tzinfo=UTC))]
    return replace(personal_notes(dialect), where=["expires_at <= ? OR at < ?"], values=values)


def old_names(before: datetime, dialect: Dialect) -> Iterator[Listing]:
    """Uses with a name, and what names somebody who asked for it, made before `before`, but not of recordings
    still kept."""
    kept = "SELECT 1 FROM recordings WHERE id = recording_id AND purged_at IS NULL"
    where = ["at < ?", f"NOT EXISTS ({kept})"]
    for table in ("accesses", "approvals"):
        old = Listing(table=table, order=("id",), indexed=dialect.personal)
        yield replace(old, where=where, values=[to_text(before)])


def _either(table: str, indexed: str, expired: datetime, started: datetime) -> tuple[Listing, Listing]:
    began = Listing(table=table, order=_BY_TIME, indexed=indexed, stop=to_text(started))
    others = replace(
        began,
        order=("expires_at", "id"),
        stop=to_text(expired),
        where=["started_at >= ?"],
        values=[to_text(started)],
    )
    return began, others

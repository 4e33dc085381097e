"""How persons are found where their numbers and addresses stand in columns of their own."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from retention.rows.columns import json_text
from retention.rows.dialect import SQLITE
from retention.rows.pages import Query
from retention.rows.selection import Condition, Selection, Sought

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

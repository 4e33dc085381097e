"""How persons are found in the shared database, which has neither numbers nor addresses in clear.

What the words of a period answer is found by its hashes. Where a period's key went with the first of its
rows, and where a part of a number is too short for a word, rows are opened page by page within the other
filters.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from retention.postgres.sealed.row_keys import RowKeys
from retention.postgres.sealed.words import (
    NUMBER,
    OPERATOR,
    SEVERAL,
    hash_of,
    periods,
    span_of,
    user_part,
    words_for,
)
from retention.rows.pages import Query, Row
from retention.rows.searching import is_address_of
from retention.rows.selection import Condition, Selection, Sought

_FIRST = 8  # periods: of two days
Words = Sequence[dict[str, str]]  # each by the column that has its hash


class InHashes:
    """A `Searching`."""

    def __init__(self, keys: RowKeys) -> None:
        self._keys = keys

    def sought(self, query: Query, table: str, selection: Selection) -> Iterator[Sought]:
        """What a selection says about persons."""
        if (number := selection.number) is not None:
            of_number = _accepting("caller", lambda caller: caller == number)
            words = [{NUMBER: number}]
            yield Sought("number", of_number, self._leading(query, table, selection, words, of_number))
        if forms := selection.caller:
            of_part = _accepting("caller", lambda caller: caller.startswith(forms) or caller.endswith(forms))
            parts = [words_for(form) for form in forms]
            known = [words for words in parts if words is not None]
            leading = None
            if len(known) == len(parts):
                leading = self._leading(query, table, selection, known, of_part)
            yield Sought("caller", of_part, leading)
        if (operator := selection.operator) is not None:

            def of_row(row: Row) -> bool:
                last, several = row["operator"], json.loads(row["operators"] or "[]")
                return any(is_address_of(operator, one) for one in (last, *several) if one is not None)

            of_operator = Condition(accepts=of_row)
            words = [{OPERATOR: user_part(operator)}, {OPERATOR: SEVERAL}]
            yield Sought("operator", of_operator, self._leading(query, table, selection, words, of_operator))

    def _leading(
        self, query: Query, table: str, selection: Selection, words: Words, accepts: Condition
    ) -> list[Condition]:
        """Rows of whole periods by their hashes, and those of each run of other periods by its time.

        The newest periods first, a few at a time, and more of them the longer nothing is found.
        """
        there = [*periods(query, selection.since, selection.until)]
        found = self._keys.get(row["key"] for row in there if row["whole"] and row["key"] is not None)
        keys = {row["period"]: found.keys[row["key"]] for row in there if row["key"] in found.keys}
        conditions = []
        for hashed, run in groupby((row["period"] for row in there), lambda period: period in keys):
            for some in _more_and_more([*run]) if hashed else [[*run]]:
                condition = Condition(f"{table}.sealed IS NOT NULL")
                if hashed:
                    condition = _hashed(table, [keys[period] for period in some], words)
                span = span_of(some[-1]).since, span_of(some[0]).until
                conditions.append(replace(condition, accepts=accepts.accepts, span=span, few=hashed))
        return conditions


def _more_and_more(periods: Sequence[str]) -> Iterator[Sequence[str]]:
    first, size = 0, _FIRST
    while first < len(periods):
        yield periods[first : first + size]
        first, size = first + size, 4 * size


def _hashed(table: str, keys: Sequence[bytes], words: Words) -> Condition:
    by_column: dict[str, list[str]] = {}
    for one in words:
        for column, word in one.items():
            by_column.setdefault(column, []).append(word)
    values = [
        [hash_of(key, column, word) for key in keys for word in its] for column, its in by_column.items()
    ]
    return Condition(f"({' OR '.join(f'{table}.{column} = ANY(?)' for column in by_column)})", values)


def _accepting(column: str, accepts: Callable[[str], bool]) -> Condition:
    def row_accepts(row: Row) -> bool:
        return row[column] is not None and accepts(row[column])

    return Condition(accepts=row_accepts)

"""The tables in PostgreSQL, as the ledger writes them. What leads to a person is not in their columns.

It is in `sealed` instead, as a `Seals` makes it. Of a hold its ground and review stay in a column: triggers
and lists ask for them.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Protocol, cast

from retention.approval import Approval
from retention.postgres.connection import Connection
from retention.recording import Access, Note, Receipt, Recording, Sum
from retention.rows.chain import PERSONAL, TABLES, open_hold
from retention.rows.columns import OF_THE_CHAIN, json_text
from retention.rows.pages import Query, Row
from retention.sqlite.tables import inserting, updating

_RECORDS: dict[str, type] = {
    "receipts": Receipt,
    "recordings": Recording,
    "accesses": Access,
    "notes": Note,
    "sums": Sum,
    "approvals": Approval,
}
# of each table, the columns of a row as it goes in and comes out, and those of them that are sealed
COLUMNS = {
    table: tuple(dict.fromkeys(("id", *(one.name for one in fields(cast(Any, kind))), *OF_THE_CHAIN)))
    for table, kind in _RECORDS.items()
}
SEALED = {table: (*PERSONAL[kind], "salt") for kind, table in TABLES.items() if PERSONAL[kind]}
_EMPTY = {"events": "[]"}  # what a column has where nothing is sealed


class Seals(Protocol):
    """What keeps what leads to a person. Methods raise StoreError."""

    def seal(self, query: Query, table: str, rows: list[Row]) -> list[Row]:
        """The columns that keep the sealed ones of each row, for the transaction in which `query` asks.

        Among them `sealed`, and of an approval `by_proof` and `decided_by_proof`, alike if the same person is
        in both.
        """
        ...

    def unseal(self, table: str, rows: list[Row]) -> list[Row]:
        """Of each row that is kept, what was sealed; empty for one whose `sealed` is null, or forgotten."""
        ...


class SharedTables:
    """The tables over one connection."""

    def __init__(self, connection: Connection, seals: Seals) -> None:
        self._connection = connection
        self._seals = seals

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        return self._connection.read(sql, values)

    read_anyhow = read  # there are no damaged ones: columns have types

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._connection.execute(sql, values)

    def opened(self, table: str, rows: list[Row]) -> list[Row]:
        """Rows as they went in; those that have not all columns stay as they are."""
        if table not in COLUMNS or not rows or "chain_seq" not in rows[0]:
            return rows
        if table not in SEALED:
            return [{name: row[name] for name in COLUMNS[table]} for row in rows]
        every = zip(rows, self._seals.unseal(table, rows), strict=True)
        return [_opened(table, row, personal) for row, personal in every]

    def insert(self, table: str, row: Row) -> None:
        """Add a whole row."""
        (kept,) = self._kept(table, [row])
        self.execute(inserting(table, kept), list(kept.values()))

    def update(self, table: str, id: str | int, row: Row) -> None:
        """Write a row that is there."""
        (kept,) = self._kept(table, [{"id": id} | row])
        del kept["id"]
        self.execute(updating(table, kept), [*kept.values(), id])

    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values."""
        if every:
            self._connection.execute_many(sql, every)

    def insert_many(self, table: str, rows: Sequence[Row]) -> None:
        """Add whole rows, all with the same columns."""
        if kept := self._kept(table, [*rows]):
            self.execute_many(inserting(table, kept[0]), [[*row.values()] for row in kept])

    def update_many(self, table: str, rows: Sequence[Row]) -> None:
        """Write whole rows that are there, by their ids."""
        if kept := self._kept(table, [*rows]):
            ids = [row.pop("id") for row in kept]
            every = [[*row.values(), id] for id, row in zip(ids, kept, strict=True)]
            self.execute_many(updating(table, kept[0]), every)

    def _kept(self, table: str, rows: list[Row]) -> list[Row]:
        if table not in SEALED or not rows:
            return [dict(row) for row in rows]
        sealed = self._seals.seal(self.read, table, rows)
        return [_in_clear(table, row) | its for row, its in zip(rows, sealed, strict=True)]


def _in_clear(table: str, row: Row) -> Row:
    kept = {name: value for name, value in row.items() if name not in SEALED[table]}
    if table == "recordings":
        kept["hold"] = _open_part(row["hold"])
    return kept


def _opened(table: str, row: Row, personal: Row) -> Row:
    whole = {name: row.get(name, _EMPTY.get(name)) for name in COLUMNS[table]} | personal
    if table == "recordings" and _open_part(whole["hold"]) != row["hold"]:
        whole["hold"] = row["hold"]  # what triggers and lists go by; `verify` sees that it isn't the same
    return whole


def _open_part(hold: str | None) -> str | None:
    return None if hold is None else json_text(open_hold(json.loads(hold)))

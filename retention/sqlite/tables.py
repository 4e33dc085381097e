"""Tables in SQLite, as a ledger writes them: whole rows, kept as they are."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

Row = dict[str, Any]


class SqliteTables:
    """Tables that keep rows as they are."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        cursor = self._db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def read_anyhow(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query, also with bytes that are not UTF-8."""
        try:
            return self.read(sql, values)
        except sqlite3.OperationalError:
            self._db.text_factory = _legible
            try:
                return self.read(sql, values)
            finally:
                self._db.text_factory = str

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._db.execute(sql, values)

    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values."""
        self._db.executemany(sql, every)

    def opened(self, table: str, rows: list[Row]) -> list[Row]:
        """They are as they went in."""
        return rows

    def insert(self, table: str, row: Row) -> None:
        """Add a whole row."""
        self.execute(inserting(table, row), list(row.values()))

    def update(self, table: str, id: str | int, row: Row) -> None:
        """Write these columns of a row."""
        self.execute(updating(table, row), [*row.values(), id])

    def insert_many(self, table: str, rows: Sequence[Row]) -> None:
        """Add whole rows, all with the same columns."""
        for row in rows:
            self.insert(table, row)

    def update_many(self, table: str, rows: Sequence[Row]) -> None:
        """Write whole rows that are there, by their ids."""
        for row in rows:
            self.update(table, row["id"], row)


def inserting(table: str, columns: Collection[str]) -> str:
    """The statement that adds a row with these columns."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"


def updating(table: str, columns: Collection[str]) -> str:
    """The statement that writes these columns of the row with an id, the last value."""
    changes = ", ".join(f'"{name}" = ?' for name in columns)
    return f"UPDATE {table} SET {changes} WHERE id = ?"


def _legible(text: bytes) -> str:
    return text.decode(errors="replace")

"""A database while the rows of another come into it, as they are there: with their ids, salts and entries.

No program may use it before all is there: where it is a file, it has another name; a table `moving` says
whose rows come. Nothing is made here, least of all an entry of the chain: see `retention.moving`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from retention.approval import Approval, State
from retention.recording import Access, Json, Note, Receipt, Recording, Sum, parse_json
from retention.rows.chain import SEGMENT, TABLES, ChainHead, canonical
from retention.rows.columns import OF_THE_CHAIN
from retention.rows.faults import StoreError, named
from retention.rows.ledger import ENTRY
from retention.rows.pages import Row
from retention.rows.schema import MIGRATIONS
from retention.rows.store import Store

_RECORDS = (Receipt, Recording, Access, Note, Sum, Approval)
COLUMNS: dict[str, tuple[str, ...]] = {  # of each table, the chain's first
    "chain": ENTRY,
    **{
        table: tuple(dict.fromkeys(("id", *(f.name for f in fields(cast(Any, record))), *OF_THE_CHAIN)))
        for table, record in zip(TABLES.values(), _RECORDS, strict=True)
    },
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose rows come: how people name that database, and the last entry of its chain."""

    name: str
    head: ChainHead

    def text(self) -> str:
        """As it is kept."""
        return canonical({"name": self.name, "seq": self.head.seq, "hash": self.head.hash})

    @classmethod
    def read(cls, text: str) -> "Origin":
        """The inverse. Raises RecordError, KeyError."""
        told = parse_json(text)
        return cls(str(told["name"]), ChainHead(int(told["seq"]), str(told["hash"])))


class Arriving(Store):
    """A file of this machine that is filled, made if it is missing."""

    def origin(self) -> Origin | None:
        """Whose rows come; None where it was not begun, or is done."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'moving'", []):
            return None
        rows = self._read("SELECT origin FROM moving", [])
        return Origin.read(rows[0]["origin"]) if rows else None

    def begin(self, origin: Origin) -> None:
        """Say whose rows come from now on."""
        with self.write():
            self._db.execute("CREATE TABLE IF NOT EXISTS moving (origin TEXT NOT NULL)")
            self._db.execute("DELETE FROM moving")
            self._db.execute("INSERT INTO moving (origin) VALUES (?)", [origin.text()])

    def is_empty(self) -> bool:
        """Whether it has no row, and no chain."""
        return not any(self._read(f"SELECT 1 FROM {table} LIMIT 1", []) for table in COLUMNS)

    def clear(self) -> None:
        """Remove all that has come."""
        with self.write():
            triggers = self._read("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'", [])
            for trigger in triggers:  # rows are never deleted, but these were never in use
                self._db.execute(f"DROP TRIGGER {trigger['name']}")
            for table in (*COLUMNS, "clock", "rejected", "in_progress"):
                self._db.execute(f"DELETE FROM {table}")
            for trigger in triggers:
                self._db.execute(trigger["sql"])

    def take(self, table: str, rows: Sequence[Row]) -> int:
        """Add rows as they are; how many were not there. Raises StoreError for one that is there, and
        another."""
        names, key = COLUMNS[table], COLUMNS[table][0]
        with self.write():
            marks = ", ".join("?" * len(rows))
            sql = f"SELECT * FROM {table} WHERE {key} IN ({marks})"
            there = {row[key]: row for row in self._ledger.read_anyhow(sql, [row[key] for row in rows])}
            new = []
            for row in rows:
                if row[key] not in there:
                    new.append(row)
                elif of_columns(table, there[row[key]]) != of_columns(table, row):
                    raise StoreError(f"{self.path}: {table} {row[key]} is another than where it comes from")
            self._add(table, names, new)
        return len(new)

    def finish(self, trace: Access) -> None:
        """All is there: from now on it is a database like any other, and its trace says where it is from."""
        with self.write():
            self.add_access(trace)
            self._db.execute("DROP TABLE moving")

    def export(self) -> None:
        """Write the file of the chain's head, also where a crash came before it. Raises StoreError."""
        with self._lock, named(self.path):
            if self.places is not None:
                self._export(self.places.head, self._ledger.head())

    def _add(self, table: str, names: Sequence[str], rows: Sequence[Row]) -> None:
        columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
        asked = [row | {"state": State.PENDING.value} if table == "approvals" else row for row in rows]
        self._db.conn.executemany(sql, [[row[name] for name in names] for row in asked])
        if table == "approvals":  # nothing is decided before it was asked for
            decided = [[row["state"], row["id"]] for row in rows]
            self._db.conn.executemany("UPDATE approvals SET state = ? WHERE id = ?", decided)

    def _migrate(self) -> None:
        """Make the tables alone: the chain comes."""
        MIGRATIONS.apply(self._db)


def of_columns(table: str, row: Row) -> Json:
    """What counts of a row: the columns that every database has."""
    return {name: row.get(name) for name in COLUMNS[table]}


def is_beginning(entry: Row) -> bool:
    """Whether an entry is the one that begins the chain of a new database."""
    return bool(entry["seq"] == 1 and entry["kind"] == SEGMENT and entry["subject"] == "a new database")

"""A database while the rows of another come into it, as they are there: with their ids, salts and entries.

No program may use it before all is there: where it is a file, it has another name; a table `moving` says
whose rows come. Nothing is made here, least of all an entry of the chain: see `retention.moving`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, cast

from retention.approval import Approval, State
from retention.recording import Access, Json, Note, Receipt, Recording, Sum, parse_json
from retention.rows.chain import SEGMENT, TABLES, ChainHead, canonical
from retention.rows.columns import OF_THE_CHAIN
from retention.rows.faults import StoreError
from retention.rows.ledger import ENTRY
from retention.rows.pages import Row, batches
from retention.rows.rows import Rows
from retention.rows.store import Store

_RECORDS = (Receipt, Recording, Access, Note, Sum, Approval)
COLUMNS: dict[str, tuple[str, ...]] = {  # of each table, the chain's first
    "chain": ENTRY,
    **{
        table: tuple(dict.fromkeys(("id", *(f.name for f in fields(cast(Any, record))), *OF_THE_CHAIN)))
        for table, record in zip(TABLES.values(), _RECORDS, strict=True)
    },
}
_AT_ONCE = 250  # entries in one statement
BESIDE = ("clock", "rejected", "in_progress")  # which the chain does not tell of


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


class Arrivals(Rows):
    """What rows come into, whichever database it is."""

    def begin(self, origin: Origin) -> None:
        """Say whose rows come from now on."""
        with self.write():
            self._say(origin)

    @abstractmethod
    def clear(self) -> None:
        """Remove all that has come, and every key of it. Raises StoreError."""

    @abstractmethod
    def _is_begun(self) -> bool:
        """Whether there is a table `moving`."""

    def origin(self) -> Origin | None:
        """Whose rows come; None where it was not begun, or is done."""
        if not self._is_begun():
            return None
        rows = self._read("SELECT origin FROM moving", [])
        return Origin.read(rows[0]["origin"]) if rows else None

    def is_empty(self) -> bool:
        """Whether no program has made a row in it; it may have begun a chain."""
        if any(self._read(f"SELECT 1 FROM {table} LIMIT 1", []) for table in TABLES.values()):
            return False
        entries = self._read("SELECT kind FROM chain ORDER BY seq LIMIT 2", [])
        return [entry["kind"] for entry in entries] in ([], [SEGMENT])

    def take(self, table: str, rows: Sequence[Row]) -> int:
        """Add rows of a table, or of the chain, as they are; how many were not there. Raises StoreError for
        one that is there, and another."""
        key = COLUMNS[table][0]
        with self._filling():
            marks = ", ".join("?" * len(rows))
            sql = f"SELECT * FROM {table} WHERE {key} IN ({marks})"
            found = self._opened(table, self._read(sql, [row[key] for row in rows], anyhow=True))
            there = {row[key]: row for row in found}
            for row in rows:
                if row[key] in there and of_columns(table, there[row[key]]) != of_columns(table, row):
                    raise StoreError(f"{self.path}: {table} {row[key]} is another than where it comes from")
            new = [of_columns(table, row) for row in rows if row[key] not in there]
            self._add(table, new)
        return len(new)

    def finish(self, trace: Access) -> None:
        """All is there: from now on it is a database like any other, and its trace says where it is from."""
        with self._filling():
            self.add_access(trace)
            self._end()

    def export(self) -> None:
        """Write the file of the chain's head, also where a crash came before it. Raises StoreError."""
        with self._asking():
            self._export(self._ledger.head())

    def _filling(self) -> AbstractContextManager[None]:
        """A transaction of who may add rows that come."""
        return self.write()

    def _end(self) -> None:
        self._ledger.tables.execute("DROP TABLE moving")

    def _add(self, table: str, rows: Sequence[Row]) -> None:
        tables = self._ledger.tables
        if table == "chain":
            for some in batches(rows, _AT_ONCE):
                marks = f"({', '.join('?' * len(ENTRY))})"
                sql = f"INSERT INTO chain ({', '.join(ENTRY)}) VALUES {', '.join([marks] * len(some))}"
                tables.execute(sql, [row[name] for row in some for name in ENTRY])
            return
        for row in rows:
            if table == "approvals":  # nothing is decided before it was asked for
                tables.insert(table, row | {"state": State.PENDING.value})
                tables.update(table, row["id"], row)
            else:
                tables.insert(table, row)

    def _say(self, origin: Origin) -> None:
        tables = self._ledger.tables
        tables.execute("CREATE TABLE IF NOT EXISTS moving (origin TEXT NOT NULL)")
        tables.execute("DELETE FROM moving")
        tables.execute("INSERT INTO moving (origin) VALUES (?)", [origin.text()])

    def _begin_chain(self) -> None:
        """It comes."""


class Arriving(Arrivals, Store):
    """A file of this machine that is filled, made if it is missing."""

    def clear(self) -> None:
        """Remove all that has come. Rows are never deleted, but these were never in use."""
        tables = self._ledger.tables
        with self.write():
            triggers = self._read("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'", [])
            for trigger in triggers:
                tables.execute(f"DROP TRIGGER {trigger['name']}")
            for table in (*COLUMNS, *BESIDE):
                tables.execute(f"DELETE FROM {table}")
            for trigger in triggers:
                tables.execute(trigger["sql"])

    def _is_begun(self) -> bool:
        return bool(self._read("SELECT 1 FROM sqlite_master WHERE name = 'moving'", []))


def of_columns(table: str, row: Row) -> Json:
    """What counts of a row: the columns that every database has."""
    return {name: row.get(name) for name in COLUMNS[table]}

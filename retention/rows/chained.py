"""What every database of ours has, whichever engine it is: rows by table, and the chain that tells of them.

Transactions, turns and connections are the business of each engine: `write` and `_read`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from retention.recording import Json
from retention.rows.chain import TABLES, ChainEntry, ChainHead, Lost
from retention.rows.chain_head import ChainHeadError, export_head, read_head
from retention.rows.dialect import Dialect
from retention.rows.faults import HeadNotWritten, UnknownId
from retention.rows.ledger import Ledger
from retention.rows.pages import Listing, Row, breathing, each_row
from retention.rows.selection import Searching
from retention.storage.moved import Moved
from retention.storage.places import Places

COUNTED = 20_000  # entries in one read


class Chained(ABC):
    """The tables of one database, and their chain. Safe from several threads.

    `path` names it in messages. `places`: where this host has what belongs to it; none for tests.
    """

    path: Path | str
    places: Places | None
    dialect: Dialect
    searching: Searching
    _ledger: Ledger

    def heard_until(self, host: str | None) -> datetime | None:
        """Up to when all is here that this host has written, by its clock; None if that is not known."""
        return datetime.max.replace(tzinfo=UTC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    @abstractmethod
    def write(self) -> AbstractContextManager[None]:
        """One transaction for all that is written inside; an exception undoes it.

        Can be nested: each block that an exception leaves is undone, even if it is caught later. At the end
        the chain's new head is exported; raises StoreError if that fails, with the rows written.
        """

    @abstractmethod
    def still(self) -> AbstractContextManager[ChainHead]:
        """The last entry of the chain. Nobody writes a row until the end. Raises StoreError."""

    @abstractmethod
    def tell_moved(self, moved: Moved) -> None:
        """Keep a note of where the rows go; once that is `done`, no row is written here any more."""

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether no other host does `what` now; none can until the end. Of a single host, always."""
        yield True

    @abstractmethod
    def missing_guards(self) -> list[str]:
        """Triggers that the database should have, but that are missing or different."""

    @abstractmethod
    def _asking(self) -> AbstractContextManager[None]:
        """Ask the database, alone among the threads of this process; its errors become ours."""

    # the chain

    def head(self) -> ChainHead:
        """The last entry of the chain."""
        with self._asking():
            return self._ledger.head()

    def hash_of(self, seq: int) -> str | None:
        """The hash (hex) of one entry of the chain, if there is one."""
        with self._asking():
            return self._ledger.hash_of(seq)

    def knows(self, head: ChainHead) -> bool:
        """Whether an exported head is in the chain, or the chain says that it was lost."""
        with self._asking():
            return self._ledger.knows(head)

    def entries(self, seqs: Sequence[int]) -> dict[int, ChainEntry]:
        """The entries of the chain with these seqs, as far as they exist; up to a page."""
        if not seqs:
            return {}
        marks = ", ".join("?" * len(seqs))
        rows = self._read(f"SELECT * FROM chain WHERE seq IN ({marks})", seqs, anyhow=True)
        return {row["seq"]: ChainEntry(**row) for row in rows}

    def tally(self) -> dict[str, int]:
        """How many rows of each table the chain knows of."""
        return {table: self._count_firsts(kind) for kind, table in TABLES.items()}

    def begin_segment(self, reason: str) -> None:
        """Mark in the chain that what follows was written after a loss, continuing from the exported head."""
        with self.write():
            self._ledger.begin_segment(reason, self._lost_head())

    # rows

    def each(self, listing: Listing) -> Iterator[Row]:
        """Raw rows, also damaged ones, for `verify` and sums; a read blocks others only briefly."""
        return self._listed(listing, anyhow=True)

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Rows of a table that the chain does not tell of."""
        return self._read(sql, values)

    def change(self, sql: str, values: Sequence[object] = ()) -> None:
        """Change such a table, inside `write`."""
        self._ledger.tables.execute(sql, values)

    def change_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Change such a table once for each of these values, inside `write`."""
        self._ledger.tables.execute_many(sql, every)

    def _listed(self, listing: Listing, *, anyhow: bool = False) -> Iterator[Row]:
        led = self.dialect.led(listing)
        return each_row(partial(self._read, anyhow=anyhow), led, partial(self._opened, listing.rows_of))

    def _insert(self, table: str, record: Json) -> str | int:
        with self.write():
            return self._ledger.insert(table, record)

    def _update(self, table: str, record: Json) -> None:
        with self.write():
            if not self._ledger.update(table, record["id"], record):
                raise UnknownId(f"{record['id']}: no such id")

    def _row(self, table: str, id: str | int) -> Row:
        rows = self._rows(table, f"SELECT * FROM {table} WHERE id = ?", [id])
        if not rows:
            raise UnknownId(f"{id}: no such id")
        return rows[0]

    def _rows(self, table: str, sql: str, values: Sequence[object]) -> list[Row]:
        """Whole rows of one table."""
        return self._opened(table, self._read(sql, values))

    def _opened(self, table: str, rows: list[Row]) -> list[Row]:
        return self._ledger.tables.opened(table, rows)

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Row]:
        with self._asking():
            tables = self._ledger.tables
            return tables.read_anyhow(sql, values) if anyhow else tables.read(sql, values)

    def _only_row(self, table: str) -> Row | None:
        return next(iter(self._read(f"SELECT * FROM {table}", [])), None)

    def _keep(self, table: str, row: Row) -> None:
        """Add a row of a table that the chain doesn't tell of, or replace it. The first column is its key."""
        with self.write():
            self._put(table, row)

    def _put(self, table: str, row: Row) -> None:
        """Replace the one row of a table, within a transaction that there is."""
        key, *others = row
        changes = ", ".join(f"{name} = excluded.{name}" for name in others)
        sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        self._ledger.tables.execute(f"{sql} ON CONFLICT ({key}) DO UPDATE SET {changes}", [*row.values()])

    def _forget(self, listing: Listing) -> int:
        count = 0
        for rows in breathing(self._listed(listing)):
            with self.write():
                count += self._ledger.forget_many(listing.table, [row["id"] for row in rows])
        return count

    def _count_firsts(self, kind: str) -> int:
        """Some thousands at a time: they come from an index alone."""
        part = f"SELECT seq FROM chain WHERE kind = ? AND was = 0 AND seq > ? ORDER BY seq LIMIT {COUNTED}"
        sql = f"SELECT count(*) AS n, max(seq) AS last FROM ({part}) AS part"
        count, behind = 0, 0
        while behind is not None:
            (row,) = self._read(sql, [kind, behind])
            count, behind = count + row["n"], row["last"]
        return count

    # the exported head

    def _begin_chain(self) -> None:
        """Begin the chain of a new database; it continues from an exported head."""
        if (nothing := self._ledger.head()).seq == 0:
            lost = self._lost_head()
            if lost is None:
                self._export(nothing)  # so that no crash leaves a chain without its file
            self._ledger.begin_segment("a new database" if lost is None else "the database was lost", lost)

    def _lost_head(self) -> Lost:
        """The exported head, if the chain does not have it: its database is gone, or an older one was
        restored."""
        try:
            exported = None if self.places is None else read_head(self.places.head)
        except ChainHeadError:
            return "unknown"
        return None if exported is None or self._ledger.knows(exported) else exported

    def _export(self, head: ChainHead) -> None:
        if self.places is None:
            return
        path = self.places.head
        try:
            export_head(path, head, self._ledger.knows)
        except OSError as error:
            raise HeadNotWritten(f"{path}: {error.strerror}") from error

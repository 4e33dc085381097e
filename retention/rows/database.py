"""One SQLite database that several processes share: its transactions, the turns of who writes, its chain.

Every write is one short `BEGIN IMMEDIATE` transaction, which also appends to the chain; who comes second
waits for his turn (`turn`), up to `TURN_S`. Reads are short, too: `pages`. One connection behind a lock
serves all threads of a process. What the rows mean is in `store`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlite_utils import Database

from retention.recording import (
    Json,
)
from retention.rows.chain import TABLES, ChainEntry, ChainHead, Lost
from retention.rows.chain_head import ChainHeadError, export_head, read_head
from retention.rows.connection import connect, copy_to
from retention.rows.faults import (
    Busy,
    HeadNotWritten,
    StoreError,
    TryAgain,
    UnknownId,
    named,
)
from retention.rows.ledger import Ledger
from retention.rows.pages import Listing, Row, breathing, each_row
from retention.rows.schema import GUARDS, MIGRATIONS, unknown_migrations
from retention.rows.turn import TurnError, Turns
from retention.storage.places import Places

BUSY_S = 15.0  # how long to wait for another process's transaction
TURN_S = 60.0  # and for those of all processes before this one: on a slow disk, fifty of them take a while
COUNTED = 20_000  # entries in one read


class ChainedDatabase:
    """The database at `path`, created if missing; `:memory:` for tests. Safe from several threads.

    `clock` tells the chain when. Raises StoreError: not a database, not writable, made by a newer version, or
    busy for too long.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self.places = None if str(path) == ":memory:" else Places(Path(path))
        self._turns = None if self.places is None else Turns(self.places.turn, TURN_S)
        self._lock = threading.RLock()
        with named(self.path):
            self._db = self._connected()
            self._ledger = Ledger(self._db.conn, clock)
            newer = unknown_migrations(self._db)
            if newer:
                self._db.close()
                raise StoreError(f"{path}: written by a newer sipagent (it has {newer[-1]}); update sipagent")
            if MIGRATIONS.pending(self._db):
                with self.write():  # taken first, so that two processes do not both migrate
                    if MIGRATIONS.pending(self._db):
                        self._migrate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside; an exception undoes it.

        Can be nested: each block that an exception leaves is undone, even if it is caught later. At the end
        the chain's new head is exported; raises StoreError if that fails, with the rows written.
        """
        with self._lock, named(self.path):
            connection = self._db.conn
            if connection.in_transaction:
                with self._part():
                    yield
                return
            with self._turn():
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    connection.commit()  # can fail, too, if a reader does not end: nothing may stay open
                except BaseException:
                    self._ledger.appended = None
                    connection.rollback()
                    raise
                head, self._ledger.appended = self._ledger.appended, None
                if head is not None and self.places is not None:
                    self._export(self.places.head, head)

    @contextmanager
    def copied_to(self, path: Path) -> Iterator[ChainHead]:
        """Copy the whole database into a new file; its head. Nobody writes a row until the end.

        Writers wait as they do for each other. Raises StoreError.
        """
        with self._lock, named(self.path), self._turn():
            copy_to(self._db.conn, path)
            yield self._ledger.head()

    # the chain

    def head(self) -> ChainHead:
        """The last entry of the chain."""
        with self._lock, named(self.path):
            return self._ledger.head()

    def hash_of(self, seq: int) -> str | None:
        """The hash (hex) of one entry of the chain, if there is one."""
        with self._lock, named(self.path):
            return self._ledger.hash_of(seq)

    def knows(self, head: ChainHead) -> bool:
        """Whether an exported head is in the chain, or the chain says that it was lost."""
        with self._lock, named(self.path):
            return self._ledger.knows(head)

    def entries(self, seqs: Sequence[int]) -> dict[int, ChainEntry]:
        """The entries of the chain with these seqs, as far as they exist; up to a page."""
        marks = ", ".join("?" * len(seqs))
        rows = self._read(f"SELECT * FROM chain WHERE seq IN ({marks})", seqs, anyhow=True)
        return {row["seq"]: ChainEntry(**row) for row in rows}

    def tally(self) -> dict[str, int]:
        """How many rows of each table the chain knows of."""
        return {table: self._count_firsts(kind) for kind, table in TABLES.items()}

    def missing_guards(self) -> list[str]:
        """Triggers that the database should have, but that are missing or different."""
        there = {row["sql"] for row in self._read("SELECT sql FROM sqlite_master WHERE type = 'trigger'", [])}
        return [guard.split()[2] for guard in GUARDS if guard not in there]

    def begin_segment(self, reason: str) -> None:
        """Mark in the chain that what follows was written after a loss, continuing from the exported head."""
        with self.write():
            self._ledger.begin_segment(reason, self._lost_head())

    # rows

    def each(self, listing: Listing) -> Iterator[Row]:
        """Raw rows, also damaged ones, for `verify` and sums; a read blocks others only briefly."""
        return each_row(partial(self._read, anyhow=True), listing)

    def read(self, sql: str, values: Sequence[object]) -> list[Row]:
        """Rows of a table that the chain does not know."""
        return self._read(sql, values)

    def change(self, sql: str, values: Sequence[object]) -> None:
        """Change such a table, inside `write`."""
        self._db.execute(sql, values)

    def _insert(self, table: str, record: Json) -> str | int:
        with self.write():
            return self._ledger.insert(table, record)

    def _update(self, table: str, record: Json) -> None:
        with self.write():
            if not self._ledger.update(table, record["id"], record):
                raise UnknownId(f"{record['id']}: no such id")

    def _row(self, table: str, id: str | int) -> Row:
        rows = self._read(f"SELECT * FROM {table} WHERE id = ?", [id])
        if not rows:
            raise UnknownId(f"{id}: no such id")
        return rows[0]

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Row]:
        with self._lock, named(self.path):
            return self._ledger.read_anyhow(sql, values) if anyhow else self._ledger.read(sql, values)

    def _only_row(self, table: str) -> Row | None:
        return next(iter(self._read(f"SELECT * FROM {table}", [])), None)

    def _keep_only_row(self, table: str, row: Row) -> None:
        with self.write():
            named_values = ", ".join(f":{column}" for column in row)
            sql = f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({named_values})"
            self._db.execute(sql, row)

    def _forget(self, listing: Listing) -> int:
        count = 0
        for rows in breathing(each_row(self._read, listing)):
            with self.write():
                count += sum(self._ledger.forget(listing.table, row["id"]) for row in rows)
        return count

    def _count_firsts(self, kind: str) -> int:
        """Some thousands at a time: they come from an index alone."""
        part = f"SELECT seq FROM chain WHERE kind = ? AND was = 0 AND seq > ? ORDER BY seq LIMIT {COUNTED}"
        count, behind = 0, 0
        while behind is not None:
            (row,) = self._read(f"SELECT count(*) AS n, max(seq) AS last FROM ({part})", [kind, behind])
            count, behind = count + row["n"], row["last"]
        return count

    # steps

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until other processes have written, in their order."""
        if self._turns is None:
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(self._turns.turn())
            except (TurnError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise (Busy if isinstance(error, TurnError) else TryAgain)(
                    f"{self.path}: {reason}"
                ) from error
            yield

    @contextmanager
    def _part(self) -> Iterator[None]:
        """A part of a transaction; if it is undone, the chain continues from where it was before."""
        appended = self._ledger.appended
        try:
            with self._db.atomic():
                yield
        except BaseException:
            self._ledger.appended = appended
            raise

    def _connected(self) -> Database:
        try:
            return connect(self.path, BUSY_S)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def _migrate(self) -> None:
        """Bring the tables up to date. A new chain continues from an exported head."""
        MIGRATIONS.apply(self._db)
        if (nothing := self._ledger.head()).seq == 0:
            lost = self._lost_head()
            if lost is None and self.places is not None:
                self._export(self.places.head, nothing)  # so that no crash leaves a chain without its file
            self._ledger.begin_segment("a new database" if lost is None else "the database was lost", lost)
            self._ledger.adopt()

    def _lost_head(self) -> Lost:
        """The exported head, if the chain does not have it: its database is gone, or an older one was
        restored."""
        try:
            exported = None if self.places is None else read_head(self.places.head)
        except ChainHeadError:
            return "unknown"
        return None if exported is None or self._ledger.knows(exported) else exported

    def _export(self, path: Path, head: ChainHead) -> None:
        try:
            export_head(path, head, self._ledger.knows)
        except OSError as error:
            raise HeadNotWritten(f"{path}: {error.strerror}") from error

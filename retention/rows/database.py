"""One SQLite database that several processes share: its transactions, and the turns of who writes.

Every write is one short `BEGIN IMMEDIATE` transaction, which also appends to the chain; who comes second
waits for his turn (`turn`), up to `TURN_S`. Reads are short, too: `pages`. One connection behind a lock
serves all threads of a process. What the rows mean is in `rows`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from retention.rows.chain import ChainHead
from retention.rows.chained import Chained
from retention.rows.dialect import SQLITE
from retention.rows.faults import Busy, StoreError, TryAgain, named
from retention.rows.ledger import Ledger
from retention.rows.searching import InColumns
from retention.sqlite.connection import connect, copy_to, unknown_steps
from retention.sqlite.schema import GUARDS, MIGRATIONS
from retention.sqlite.tables import SqliteTables
from retention.sqlite.turn import TurnError, Turns
from retention.storage.moved import Moved, read_moved
from retention.storage.places import Places

BUSY_S = 15.0  # how long to wait for another process's transaction
TURN_S = 60.0  # and for those of all processes before this one: on a slow disk, fifty of them take a while


class ChainedDatabase(Chained):
    """The database at `path`, created if missing; `:memory:` for tests. Safe from several threads.

    `clock` tells the chain when. Raises StoreError: not a database, not writable, made by a newer version, or
    busy for too long.
    """

    dialect = SQLITE
    searching = InColumns()

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
            self._ledger = Ledger(SqliteTables(self._db.conn), clock)
            if newer := unknown_steps(MIGRATIONS, self._db):
                self._db.close()
                raise StoreError(f"{path}: written by a newer sipagent (it has {newer[-1]}); update sipagent")
            if MIGRATIONS.pending(self._db):
                with self.write():  # taken first, so that two processes do not both migrate
                    if MIGRATIONS.pending(self._db):
                        MIGRATIONS.apply(self._db)
                        self._begin_chain()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside."""
        with self._asking():
            connection = self._db.conn
            if connection.in_transaction:
                with self._part():
                    yield
                return
            with self._turn():
                self._refuse_moved()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    connection.commit()  # can fail, too, if a reader does not end: nothing may stay open
                except BaseException:
                    self._ledger.appended = None
                    connection.rollback()
                    raise
                head, self._ledger.appended = self._ledger.appended, None
                if head is not None:
                    self._export(head)

    @contextmanager
    def still(self) -> Iterator[ChainHead]:
        """The last entry of the chain; writers wait as they do for each other."""
        with self._asking(), self._turn():
            yield self._ledger.head()

    @contextmanager
    def copied_to(self, path: Path) -> Iterator[ChainHead]:
        """Copy the whole database into a new file; its head. It is `still` to the end. Raises StoreError."""
        with self.still() as head:
            copy_to(self._db.conn, path)
            yield head

    def tell_moved(self, moved: Moved) -> None:
        """Keep a note beside the database: see `storage.moved`. Raises OSError."""
        if self.places is not None:
            replace(moved, database=self.places.database.name).keep(self.places.moved)

    def missing_guards(self) -> list[str]:
        """Triggers that are not there, or not as this program makes them."""
        there = {row["sql"] for row in self._read("SELECT sql FROM sqlite_master WHERE type = 'trigger'", [])}
        return [guard.split()[2] for guard in GUARDS if guard not in there]

    # steps

    def _refuse_moved(self) -> None:
        """What is written here would be told of nowhere else. Raises StoreError."""
        if self.places is None:
            return
        try:
            moved = read_moved(self.places.moved)
        except OSError as error:
            raise StoreError(f"{self.places.moved}: {error.strerror}") from error
        if moved is not None and moved.done:
            raise StoreError(
                f"{self.path}: its rows have moved to {moved.to}; accepted: a configuration that names that, "
                f"or none of it there any more, and {self.places.moved.name} removed"
            )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._lock, named(self.path):
            yield

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

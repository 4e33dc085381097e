"""One PostgreSQL that several hosts share: its transactions, the turn of who writes, its tables.

Every write is one transaction, which also appends to the chain. One is at work at a time, in the order in
which they came: an advisory lock is the turn, and the server ends it with the transaction, whatever becomes
of who had it. Reads wait for nobody. One connection behind a lock serves all threads of a `SharedDatabase`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psycopg

from retention.postgres.connection import Connection
from retention.postgres.dialect import POSTGRES
from retention.postgres.faults import is_lost, named
from retention.postgres.guards import MOVED_AWAY
from retention.postgres.schema import GUARDS, SCHEMA
from retention.postgres.tables import Seals, SharedTables
from retention.rows.chain import ChainHead
from retention.rows.chained import Chained
from retention.rows.faults import TryAgain
from retention.rows.ledger import Ledger
from retention.rows.selection import Searching
from retention.storage.moved import Moved
from retention.storage.places import Places

NAME = "the shared database"
TURN = 7_364_001  # the advisory lock of who writes


class SharedDatabase(Chained):
    """The database that `conninfo` leads to; its tables are made if they are missing. Safe from several
    threads.

    `clock` tells the chain when; `places` is where this host keeps the chain's head. Raises StoreError: no
    such database, made by a newer version; TryAgain: it does not answer, or takes no writes.
    """

    dialect = POSTGRES

    def __init__(
        self,
        conninfo: str,
        password: str | None,
        *,
        seals: Seals,
        searching: Searching,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        places: Places | None = None,
    ) -> None:
        self.path = NAME
        self.places = places
        self.searching = searching
        self._lock = threading.RLock()
        self._has_turn = False
        self._part_number = 0
        with named(NAME):
            self._connection = Connection(conninfo, password, self._look_at)
            self._ledger = Ledger(SharedTables(self._connection, seals), clock)
            if SCHEMA.pending(self._connection):
                self._migrate()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside, in its turn.

        Raises TryAgain where the server does not answer: then nothing is written, unless it says that this
        is not known.
        """
        with self._transaction(turn=True):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One that writes nothing of which the chain tells, and waits for no turn."""
        with self._transaction(turn=False):
            yield

    @contextmanager
    def still(self) -> Iterator[ChainHead]:
        """The last entry of the chain; other hosts' writers wait. The turn is the session's, so that it lasts
        as long as this takes, whatever else is done. Raises TryAgain where it was lost meanwhile.
        """
        with self._asking():
            with self._transaction(turn=True):
                self._connection.execute(f"SELECT pg_advisory_lock({TURN})")
            try:
                yield self._ledger.head()
            except BaseException:
                with suppress(psycopg.Error):
                    self._connection.execute(f"SELECT pg_advisory_unlock({TURN})")
                raise
            (kept,) = self._connection.read(f"SELECT pg_advisory_unlock({TURN}) AS turn")
            if not kept["turn"]:
                raise TryAgain(f"{NAME} was away meanwhile, and others may have written: try again")

    def tell_moved(self, moved: Moved) -> None:
        """Keep a note in a table; a trigger keeps every host from writing what nobody would find."""
        with self.write():
            execute = self._connection.execute
            execute("CREATE TABLE IF NOT EXISTS moved (note text NOT NULL)")
            execute("DELETE FROM moved")
            execute("INSERT INTO moved (note) VALUES (?)", [moved.text()])
            if moved.done:
                for text in MOVED_AWAY.texts_anew:
                    execute(text)

    def missing_guards(self) -> list[str]:
        """Triggers that are not there, off, or not as this program makes them."""
        sql = """SELECT tgname AS name, tgrelid::regclass::text AS of, prosrc AS body FROM pg_trigger
            JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"""
        there = {(row["name"], row["of"], row["body"]) for row in self._read(sql, [])}
        return [guard.name for guard in GUARDS if (guard.name, guard.table, guard.body) not in there]

    # steps

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._lock, named(NAME):
            yield

    @contextmanager
    def _transaction(self, *, turn: bool) -> Iterator[None]:
        with self._asking():
            if self._connection.within:
                with self._part(turn):
                    yield
                return
            self._connection.begin(TURN if turn else None)
            self._has_turn = turn
            try:
                yield
                head, self._ledger.appended = self._ledger.appended, None
                self._commit(head)
            except BaseException:
                self._ledger.appended = None
                self._connection.roll_back()
                raise
            finally:
                self._has_turn = False
            if head is not None:
                self._export(head)

    @contextmanager
    def _part(self, turn: bool) -> Iterator[None]:
        """A part of a transaction; if it is undone, the chain continues from where it was before."""
        appended, had_turn = self._ledger.appended, self._has_turn
        self._part_number += 1
        name = f"part{self._part_number}"
        begun = f"SAVEPOINT {name}"
        self._connection.later(begun)
        try:
            if turn and not had_turn:
                self._connection.execute(f"SELECT pg_advisory_xact_lock({TURN})")
                self._has_turn = True
            yield
            if not self._connection.unsaid(begun):
                self._connection.later(f"RELEASE {name}")
        except BaseException:
            self._ledger.appended, self._has_turn = appended, had_turn
            if not self._connection.unsaid(begun):
                self._connection.forget_later()
                with suppress(psycopg.Error):  # the transaction is lost, and its end will say so
                    self._connection.execute(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        finally:
            self._part_number -= 1

    def _commit(self, head: ChainHead | None) -> None:
        """Where the answer is lost, ask whether it was done: the chain has the entry, or not.

        Asked in a turn of one's own: then what was begun before has ended.
        """
        try:
            self._connection.commit()
        except psycopg.OperationalError as error:
            if head is None or not is_lost(error):
                raise
            self._connection.begin(TURN)
            done = self._ledger.hash_of(head.seq) == head.hash
            self._connection.roll_back()
            if not done:
                raise

    def _look_at(self, connection: Connection) -> None:
        """Whether this program knows the tables: another may have changed them since."""
        SCHEMA.refuse_newer(connection, NAME)

    def _migrate(self) -> None:
        """Bring the tables up to date; whoever comes second finds them done."""
        with self.write():
            SCHEMA.take(self._connection)
            self._begin_chain()

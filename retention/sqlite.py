"""The rows of one host, in SQLite: whose turn it is to write, the connection, the tables as steps, and the
store.

**Turns.** A queue of processes, kept by the kernel. SQLite's own waiters sleep and look again, longer
each time, so that among fifty writers some never get a turn. Here they wait in `flock(2)`, which wakes
them; a process that dies releases its lock. A program that does not use this queue is still kept apart by
SQLite's locks.

**Connection.** Set up so that deleted bytes are gone and written ones are durable: `journal_mode=DELETE`
and `secure_delete=ON`, because what a purge removes must not survive in a write-ahead log or a free page;
`synchronous=EXTRA`, because what was reported as done must survive a power cut.

**Tables**, as a list of numbered steps. A released step never changes: a new one is added below it. The
library that takes steps, and has the parts of a transaction, is slow to import: reading needs none of it.

**Database.** Several processes share it. Every write is one short `BEGIN IMMEDIATE` transaction, which
also appends to the chain; who comes second waits for his turn, up to `TURN_S`. Reads are short, too:
`rows.pages`. One connection behind a lock serves all threads of a process. What the rows mean is in
`rows.rows`.
"""

import errno
import fcntl
import os
import queue
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from retention.files import Moved, Places, read_moved, share_owner
from retention.records import LATER_TERMS
from retention.rows import tables
from retention.rows.chain import ChainHead, Ledger
from retention.rows.pages import SQLITE, SqliteTables
from retention.rows.rows import (
    Busy,
    Rows,
    StoreError,
    TryAgain,
    sqlite_errors_of,
)
from retention.rows.selection import InColumns
from retention.texts import strerror

if TYPE_CHECKING:
    from sqlite_utils import Database


class Turns:
    """The turns at `path` of one connection to a database, whose owner asks for one turn at a time. `wait_s`:
    how long to wait for it."""

    def __init__(self, path: Path, wait_s: float, database: Path | str = "") -> None:
        self._path = path
        self._wait_s = wait_s
        self._database = database

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn. Raises Busy: it did not come in time; TryAgain."""
        try:
            handle = self._taken()
        except OSError as error:
            raise TryAgain("{0}: {1}", self._database, strerror(error)) from error
        try:
            yield
        finally:
            os.close(handle)

    def _taken(self) -> int:
        handle = self._opened()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle = self._awaited(handle)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _opened(self) -> int:
        """Open the file again each time: a lock belongs to the open file, which a fork would share."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags)
        except FileNotFoundError:
            handle = os.open(self._path, flags | os.O_CREAT, 0o600)
            share_owner(self._path)
            return handle

    def _awaited(self, handle: int) -> int:
        """The lock has no time limit: a thread waits for it, and closes a lock that comes too late."""
        come: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
        given_up = threading.Lock()  # held by the side that decides: the thread, or we when the time is over

        def wait() -> None:
            failure = None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                failure = error
            if given_up.acquire(blocking=False):
                come.put(failure)
            else:
                os.close(handle)

        threading.Thread(target=wait, name="turn", daemon=True).start()
        try:
            failure = come.get(timeout=self._wait_s)
        except queue.Empty:
            if given_up.acquire(blocking=False):
                raise Busy("{0}: {1}", self._database, "database is locked") from None
            failure = come.get()
        if failure:
            os.close(handle)
            raise failure
        return handle


_SETTINGS = ("journal_mode=DELETE", "synchronous=EXTRA", "secure_delete=ON", "temp_store=MEMORY")


def connect(path: Path | str, busy_s: float) -> sqlite3.Connection:
    """A connection that waits up to `busy_s` for others; makes the file if it is missing.

    Raises OSError, sqlite3.Error.
    """
    if str(path) != ":memory:":
        _make(Path(path).resolve())
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def of_library(connection: sqlite3.Connection) -> "Database":
    """With what the library adds to a connection."""
    from sqlite_utils import Database

    return Database(connection, execute_plugins=False)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one kind of database, each by its name, in order."""

    kind: str
    every: Mapping[str, Callable[[sqlite3.Connection], None]]

    def are_taken(self, connection: sqlite3.Connection, path: Path | str) -> bool:
        """Whether none is pending. Raises StoreError where a newer program has taken more; sqlite3.Error."""
        taken = []
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [_TAKEN]).fetchone():
            sql = f"SELECT name FROM {_TAKEN} WHERE migration_set = ? ORDER BY rowid"
            taken = [str(name) for (name,) in connection.execute(sql, [self.kind])]
        if newer := [name for name in taken if name not in self.every]:
            said = "{0}: written by a newer sipagent (it has {1}); update sipagent"
            raise StoreError(said, path, newer[-1])
        return len(taken) == len(self.every)

    def take(self, connection: sqlite3.Connection, *, in_memory: bool = False) -> bool:
        """Take those that are pending, if any; a database `in_memory` is never upgraded, so nothing is kept
        of them there. Raises sqlite3.Error."""
        if in_memory:
            for step in self.every.values():
                step(connection)
            return True
        from sqlite_utils.migrations import Migrations

        known, database = Migrations(self.kind), of_library(connection)
        for name, step in self.every.items():
            known(name=name)(lambda database, step=step: step(database.conn))
        pending = bool(known.pending(database))
        if pending:
            known.apply(database)
        return pending


_TAKEN = "_sqlite_migrations"  # the library's own table


def copy_to(source: sqlite3.Connection, path: Path) -> None:
    """Copy all that is committed into a new file, mode 0600, durably: in one step, so it is of one moment.

    Raises OSError, sqlite3.Error.
    """
    os.mknod(path, stat.S_IFREG | 0o600)
    with closing(sqlite3.connect(path)) as target:
        source.backup(target, pages=-1)


def fault_in(path: Path) -> str:
    """Read a whole database: what is wrong with it, or nothing.

    Not read-only: that would fail if a crash left something to undo. Changes nothing else.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as database:
            rows = database.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error as problem:
        return str(problem)
    return "" if rows == [("ok",)] else str(rows[0][0]).splitlines()[-1]


def _make(path: Path) -> None:
    """Make a new file that only its owner can read; SQLite would let everybody read it.

    An existing file is never opened here: closing a file ends all locks that the process has on it
    (fcntl(2)). SQLite's other connections would lose theirs, and write at the same time as another process.
    """
    try:
        os.mknod(path, stat.S_IFREG | 0o600)
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    else:
        share_owner(path)


_TYPES = {"text": "TEXT", "integer": "INTEGER", "flag": "INTEGER", "real": "REAL"}


def _table(name: str) -> str:
    def text(one: tables.SqlColumn) -> str:
        key = " PRIMARY KEY" if one.key else ""
        needed = " NOT NULL" if one.needed or (one.key and one.kind == "text") else ""
        return f'"{one.name}" {_TYPES[one.kind]}{key}{needed}'

    return f"CREATE TABLE {name} ({', '.join(text(one) for one in tables.columns(name))})"


_TIME = "started_at, id"
_SEARCHES = (  # what leads to a person stands in clear
    *(
        index
        for table in ("receipts", "recordings")
        for index in (
            tables.Index(f"{table}_by_caller", table, f"caller, {_TIME}", "caller IS NOT NULL"),
            tables.Index(f"{table}_by_end", table, "substr(caller, -4), caller", "caller IS NOT NULL"),
            tables.Index(f"{table}_by_operator", table, f"operator, {_TIME}", "operator IS NOT NULL"),
            tables.Index(f"{table}_by_operators", table, f"operators, {_TIME}", "operators IS NOT NULL"),
        )
    ),
    tables.Index("objects_untold", "objects", "at", "told = 0"),
)


def _refuses(rule: tables.Rule) -> str:
    condition = f"WHEN {rule.condition.format(proof='')} " if rule.condition else ""
    return (
        f"CREATE TRIGGER {rule.name} BEFORE {rule.what} ON {rule.table} {condition}"
        f"BEGIN SELECT RAISE(ABORT, '{rule.message}'); END"
    )


def _comes_once(table: str, key: str) -> tables.Rule:
    """INSERT OR REPLACE removes a row without firing the triggers of DELETE and UPDATE."""
    there = f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
    message = f"rows of {table} are never replaced: this one is there"
    return tables.Rule(f"{table}_come_once", table, "INSERT", message, there)


def _ends(one: tables.Ending) -> str:
    return (
        f"CREATE TRIGGER {one.name} AFTER UPDATE ON {one.table} WHEN {one.condition} "
        f"BEGIN {one.statement}; END"
    )


_FIRST_GUARDS = (
    *(
        _refuses(rule)
        for rule in (*tables.RULES, *(_comes_once(table, tables.names(table)[0]) for table in tables.KEPT))
    ),
    *map(_ends, tables.ENDINGS),
)
_OF_EVENTS = tuple(map(_ends, tables.outbox_endings(SQLITE)))
GUARDS = (*_FIRST_GUARDS, *_OF_EVENTS)


def _first(connection: sqlite3.Connection) -> None:
    every = (*tables.KEPT, "clock", "in_progress", "rejected", "objects")
    indexes = tables.index_texts((*tables.INDEXES, *_SEARCHES), SQLITE, led=False)
    for statement in (*map(_table, every), *indexes, *_FIRST_GUARDS):
        connection.execute(statement)


def _adding(table: str, *added: str) -> Callable[[sqlite3.Connection], None]:
    """A step that adds columns, of text, to a table from before them."""

    def add(connection: sqlite3.Connection) -> None:
        there = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
        for name in added:
            if name not in there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} TEXT")

    return add


def _today(connection: sqlite3.Connection) -> None:
    connection.execute(_table("today"))


def _line(connection: sqlite3.Connection) -> None:
    _adding("receipts", *tables.LINE)(connection)
    for text in tables.index_texts((tables.NOT_RECORDED,), SQLITE, led=False):
        connection.execute(text.replace("INDEX", "INDEX IF NOT EXISTS", 1))


def _events(connection: sqlite3.Connection) -> None:
    indexes = tables.OUTBOX_ID, *tables.index_texts(tables.OUTBOX_INDEXES, SQLITE, led=False)
    for text in (*map(_table, tables.OUTBOX), *indexes, *_OF_EVENTS):
        connection.execute(text)


STEPS = Steps(
    "sipagent",
    {
        "0001_tables": _first,
        "0002_missing": _adding("recordings", "missing"),
        "0003_today": _today,
        "0004_line": _line,
        "0005_events": _events,
        **{f"hold_{name}": _adding("approvals", name) for name in LATER_TERMS},
    },
)

BUSY_S = 15.0  # how long to wait for another process's transaction
TURN_S = 60.0  # and for those of all processes before this one: on a slow disk, fifty of them take a while


class Store(Rows):
    """The tables of what is kept, in the database at `path`, created if missing; `:memory:` for
    tests. Safe from several threads.

    `clock` tells the chain when. Raises StoreError: not a database, not writable, made by a newer version, or
    busy for too long.
    """

    dialect = SQLITE
    searching = InColumns()

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        worker: int | None = None,
    ) -> None:
        self.path = path
        self.worker = worker
        self.places = None if str(path) == ":memory:" else Places(Path(path))
        self._turns = None if self.places is None else Turns(self.places.turn, TURN_S, path)
        self._lock = threading.RLock()
        with sqlite_errors_of(self.path):
            self._connection = self._connected()
            self._ledger = Ledger(SqliteTables(self._connection), clock)
            try:
                taken = STEPS.are_taken(self._connection, path)
            except StoreError:
                self._connection.close()
                raise
            if not taken:
                with self.write():  # taken first, so that two processes do not both migrate
                    if STEPS.take(self._connection, in_memory=self.places is None):
                        self._begin_chain()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside."""
        with self._asking():
            connection = self._connection
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
            copy_to(self._connection, path)
            yield head

    def tell_moved(self, moved: Moved) -> None:
        """Keep a note beside the database: see `storage.moved`. Raises OSError."""
        if self.places is not None:
            replace(moved, database=self.places.database.name).keep(self.places.moved)

    def missing_guards(self) -> list[str]:
        """Triggers that are not there, or not as this program makes them."""
        rows = self._read("SELECT sql FROM sqlite_master WHERE type = 'trigger'", [])
        there = {" ".join(str(row["sql"]).split()) for row in rows}
        return [guard.split()[2] for guard in GUARDS if " ".join(guard.split()) not in there]

    # steps

    def _refuse_moved(self) -> None:
        """What is written here would be told of nowhere else. Raises StoreError."""
        if self.places is None:
            return
        try:
            moved = read_moved(self.places.moved)
        except OSError as error:
            raise StoreError("{0}: {1}", self.places.moved, strerror(error)) from error
        if moved is not None and moved.done:
            raise StoreError(
                "{0}: its rows have moved to {1}; accepted: a configuration that names that, or none "
                "of it there any more, and {2} removed",
                self.path,
                moved.to,
                self.places.moved.name,
            )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._lock, sqlite_errors_of(self.path):
            yield

    def _turn(self) -> AbstractContextManager[None]:
        """Wait until other processes have written, in their order."""
        return nullcontext() if self._turns is None else self._turns.turn()

    @contextmanager
    def _part(self) -> Iterator[None]:
        """A part of a transaction; if it is undone, the chain continues from where it was before."""
        appended, connection = self._ledger.appended, self._connection
        connection.execute("SAVEPOINT part")  # one name: SQLite means the innermost, and compiles it once
        try:
            yield
            connection.execute("RELEASE part")
        except BaseException:
            self._ledger.appended = appended
            if connection.in_transaction:  # else the fault has undone all of it
                connection.execute("ROLLBACK TO part")
                connection.execute("RELEASE part")
            raise

    def _connected(self) -> sqlite3.Connection:
        try:
            return connect(self.path, BUSY_S)
        except OSError as error:
            raise StoreError("{0}: {1}", self.path, strerror(error)) from error

"""One PostgreSQL that several hosts share: its transactions, the turn of who writes, its tables, what it
says of itself.

Every write is one transaction, which also appends to the chain. One is at work at a time, in the order in
which they came: an advisory lock is the turn, and the server ends it with the transaction, whatever
becomes of who had it. Reads wait for nobody. One connection behind a lock serves all threads of a
`SharedStore`.

**Tables**, as the ledger writes them. What leads to a person is not in their columns: it is in `sealed`
instead, as a `Seals` makes it. Of a hold its ground and review stay in a column: triggers and lists ask
for them.

**The table `hosts`** says which hosts share the database, and how they are. It is not part of the chain.
Whether one lives is told by the database's own clock: those of the hosts may differ.

**A server** says of itself whether it takes writes, what it logs, how its clock goes.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zlib import crc32

import psycopg
from psycopg import conninfo as libpq

from retention.files import Moved, Places
from retention.postgres.connection import NAME, POSTGRES, Connection, is_lost, postgres_errors
from retention.postgres.schema import GUARDS, MOVED_AWAY, SCHEMA, SEALED, STEPS
from retention.records import Host
from retention.rows.chain import KINDS, ChainHead, Ledger, json_text, open_hold
from retention.rows.pages import Query, Row, Tables
from retention.rows.rows import Rows, TryAgain
from retention.rows.selection import Searching
from retention.rows.tables import names

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


class SharedTables(Tables):
    """The tables over one connection."""

    def __init__(self, connection: Connection, seals: Seals) -> None:
        self._connection = connection
        self._seals = seals

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        return self._connection.read(sql, values)

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._connection.execute(sql, values)

    def opened(self, table: str, rows: list[Row]) -> list[Row]:
        """Rows as they went in; those that have not all columns stay as they are."""
        if table not in KINDS or not rows or "chain_seq" not in rows[0]:
            return rows
        if table not in SEALED:
            return [{name: row[name] for name in names(table)} for row in rows]
        every = zip(rows, self._seals.unseal(table, rows), strict=True)
        return [_opened(table, row, personal) for row, personal in every]

    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values."""
        if len(every) == 1:
            self.execute(sql, every[0])
        elif every:
            self._connection.execute_many(sql, every)

    def kept(self, table: str, rows: Sequence[Row]) -> list[Row]:
        """With what leads to a person sealed."""
        if table not in SEALED or not rows:
            return super().kept(table, rows)
        sealed = self._seals.seal(self.read, table, [*rows])
        return [_in_clear(table, row) | its for row, its in zip(rows, sealed, strict=True)]


def _in_clear(table: str, row: Row) -> Row:
    kept = {name: value for name, value in row.items() if name not in SEALED[table]}
    if table == "recordings":
        kept["hold"] = _open_part(row["hold"])
    return kept


def _opened(table: str, row: Row, personal: Row) -> Row:
    whole = {name: row.get(name, _EMPTY.get(name)) for name in names(table)} | personal
    if table == "recordings" and _open_part(whole["hold"]) != row["hold"]:
        whole["hold"] = row["hold"]  # what triggers and lists go by; `verify` sees that it isn't the same
    return whole


def _open_part(hold: str | None) -> str | None:
    return None if hold is None else json_text(open_hold(json.loads(hold)))


TURN = 7_364_001  # the advisory lock of who writes
_ALONE = 7_364_002  # the first half of the advisory locks of `alone`
_APART = timedelta(minutes=1)  # by which the clocks of a host and of the database may differ, as `check` says


class SharedStore(Rows):
    """The tables of what is kept, for all hosts, in the database that `conninfo` leads to; made if they are
    missing. Safe from several threads.

    `clock` tells the chain when; `places` is where this host keeps the chain's head. Raises StoreError: no
    such database, made by a newer version; TryAgain: it does not answer, or takes no writes.
    """

    dialect = POSTGRES
    shared = True

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
        with postgres_errors():
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
                raise TryAgain("{0} was away meanwhile, and others may have written: try again", NAME)

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
        with self._lock, postgres_errors():
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
        SCHEMA.refuse_newer(connection)

    def _migrate(self) -> None:
        """Bring the tables up to date; whoever comes second finds them done."""
        with self.write():
            SCHEMA.take(self._connection)
            self._begin_chain()

    # what goes by the database's clock and locks

    def now(self) -> datetime:
        """By the database's clock."""
        (row,) = self._read("SELECT clock_timestamp() AS now", [])
        now: datetime = row["now"]
        return now

    def hosts(self) -> list[Host]:
        """By their names."""
        return [Host.from_json(row) for row in self._read("SELECT * FROM hosts ORDER BY host", [])]

    def host(self, name: str) -> Host | None:
        """One of them; within a transaction, nobody else changes it until the end."""
        locked = " FOR UPDATE" if self._connection.within else ""
        rows = self._read(f"SELECT * FROM hosts WHERE host = ?{locked}", [name])
        return Host.from_json(rows[0]) if rows else None

    def keep_host(self, host: Host) -> None:
        """Add it, or replace its row."""
        with self.transaction():
            self._put("hosts", host.to_json())

    def heard_until(self, host: str | None) -> datetime | None:
        """By what its journal said when it was last seen; not known while anything waits there."""
        seen = None if host is None else self.host(host)
        return None if seen is None or seen.lag_rows else seen.seen_at - _APART

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether no other process does `what` now; none can until the end, or until the server restarts."""
        key = [_ALONE, crc32(what.encode()) - (1 << 31)]
        (row,) = self._read("SELECT pg_try_advisory_lock(?, ?) AS alone", key)
        try:
            yield row["alone"]
        finally:
            if row["alone"]:
                self._read("SELECT pg_advisory_unlock(?, ?)", key)


OLDEST = 150_000  # PostgreSQL 15
_SETTINGS = (
    *("log_statement", "log_min_duration_statement", "log_min_duration_sample", "log_parameter_max_length"),
    *("log_parameter_max_length_on_error", "synchronous_standby_names", "synchronous_commit"),
    *("fsync", "full_page_writes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`now`: by its clock. `steps`: those that the tables have taken, by number with their names; None where
    there are no tables. `standbys`: how many read from it."""

    version: int
    standby: bool
    now: datetime
    encrypted: bool
    settings: dict[str, str]
    steps: dict[int, str] | None
    standbys: int

    @property
    def release(self) -> str:
        """`17.4`."""
        return f"{self.version // 10_000}.{self.version % 10_000}"

    @property
    def is_old(self) -> bool:
        """Whether it is older than what the tables need."""
        return self.version < OLDEST

    @property
    def unknown_steps(self) -> list[str]:
        """What another program has changed in the tables, and this one does not know."""
        known = {step.number for step in STEPS}
        return [name for number, name in (self.steps or {}).items() if number not in known]

    @property
    def logs_values(self) -> str | None:
        """The setting by which values of statements are written into its log; None: it writes none."""
        of = self.settings
        if of["log_parameter_max_length_on_error"] != "0":
            return "log_parameter_max_length_on_error"
        if of["log_parameter_max_length"] == "0":
            return None
        if of["log_statement"] in ("mod", "all"):
            return "log_statement"
        slow = ("log_min_duration_statement", "log_min_duration_sample")
        return next((name for name in slow if of[name] != "-1"), None)

    @property
    def may_lose(self) -> str | None:
        """The setting by which what it has acknowledged may be lost; None: it may not."""
        of = self.settings
        for name in ("fsync", "full_page_writes"):
            if of[name] == "off":
                return name
        if of["synchronous_commit"] in ("off",):
            return "synchronous_commit"
        alone = not of["synchronous_standby_names"] or of["synchronous_commit"] == "local"
        return "synchronous_standby_names" if self.standbys and alone else None


def look_at_server(conninfo: str, password: str | None) -> Server:
    """What the server says. Raises TryAgain, StoreError."""
    with postgres_errors():
        connection = Connection(conninfo, password)
        try:
            return _seen(connection)
        finally:
            connection.close()


def _seen(connection: Connection) -> Server:
    (row,) = connection.read(
        "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby, "
        "clock_timestamp() AS now, to_regclass('schema_steps') IS NOT NULL AS there, "
        "coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted, "
        "(SELECT count(*) FROM pg_stat_replication) AS standbys"
    )
    steps = connection.read("SELECT number, name FROM schema_steps ORDER BY number") if row["there"] else None
    settings = connection.read(
        "SELECT name, current_setting(name) AS value FROM unnest(?::text[]) AS name", [[*_SETTINGS]]
    )
    return Server(
        version=row["version"],
        standby=row["standby"],
        now=row["now"],
        encrypted=row["encrypted"],
        settings={one["name"]: one["value"] for one in settings},
        steps=None if steps is None else {step["number"]: step["name"] for step in steps},
        standbys=row["standbys"],
    )


def is_local(conninfo: str) -> bool:
    """Whether it is reached by a socket of this machine, or by its own loopback."""
    hosts = str(libpq.conninfo_to_dict(conninfo).get("host") or "").split(",")
    here = ("", "localhost", "127.0.0.1", "::1")
    return all(host.startswith("/") or host in here for host in hosts)

"""One connection to a PostgreSQL that may go away: no wait without an end, and a new one when it is needed.

What only reads, and the begin of a transaction, are tried once more where the connection has turned out
to be dead. Nothing else is: whoever began a transaction is told that it is lost.

Before it stand what its errors mean, and its SQL where that differs; and how any text of ours becomes one
that PostgreSQL takes: all but NUL, which callers' devices and people can send. U+E000, a character for
private use, says that the next one stands for something: `0` for NUL, `1` for U+E000. All other texts
stay as they are, so they are compared and sorted as ever.

`SchemaSteps` are changes of tables, numbered, and kept track of in a table of their own. A step says whether
programs that don't know it may go on (`gentle`: it only adds what they need not fill).
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import conninfo as libpq
from psycopg import errors
from psycopg.abc import AdaptContext, Buffer
from psycopg.rows import dict_row
from psycopg.types.string import StrDumper, TextLoader

from retention.records import RecordError
from retention.rows.pages import SQLITE, Dialect, Listing, Row
from retention.rows.rows import Busy, NoRoom, StoreError, TryAgain
from retention.texts import Reason

GONE = Reason("does not answer")
_READ_ONLY = Reason("takes no writes now: it is a standby, or read-only")
# classes of SQLSTATE, or whole ones, that pass by themselves or with an administrator's help
_MAY_PASS = {
    **dict.fromkeys(("08", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "58", "XX"), GONE),
    **dict.fromkeys(("57014", "25P04"), Reason("was too slow")),
    **dict.fromkeys(("40001", "40P01", "40003"), Reason("is busy")),
    "25006": _READ_ONLY,
    "53": Reason("has no room for this"),
}
_BUSY = ("55P03",)  # a lock was not to be had in time
_FULL = ("53100",)


NAME = Reason("the shared database")  # what a person calls it


@contextmanager
def postgres_errors() -> Iterator[None]:
    """An error about the database, as one of ours."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error) from error
    except RecordError as error:
        raise StoreError("{0}: {1}", NAME, error) from error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is of no more use: it is gone, or leads to a server that takes no writes."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return _told(state) in (GONE, _READ_ONLY)


def _ours(error: psycopg.Error) -> StoreError:
    reason, state = _line(error), error.sqlstate or ""
    if state in _FULL:
        return NoRoom(Reason("{0} is full: {1}", NAME, reason))
    if state in _BUSY:
        return Busy(Reason("{0} is locked: others have been writing for too long", NAME))
    told = _told(state) if state else GONE if isinstance(error, psycopg.OperationalError) else None
    if told is not None:
        return TryAgain("{0} {1}; {2}: wait, nothing is lost", NAME, told, reason)
    if isinstance(error, errors.UniqueViolation):
        return StoreError(
            "{0}: rows of {1} are never replaced: this one is there", NAME, error.diag.table_name
        )
    return StoreError("{0}: {1}", NAME, reason)


def _told(state: str) -> str | None:
    return _MAY_PASS.get(state) or _MAY_PASS.get(state[:2])


def _line(error: psycopg.Error) -> str:
    """What it says, on one line."""
    text = error.diag.message_primary or str(error)
    return " ".join(text.partition("\n")[0].split()) or type(error).__name__


_ESCAPE = "\ue000"
_NUL, _ITSELF = f"{_ESCAPE}0", f"{_ESCAPE}1"


def put_in(text: str) -> str:
    """As it is kept."""
    if _ESCAPE in text:
        text = text.replace(_ESCAPE, _ITSELF)
    return text.replace("\0", _NUL) if "\0" in text else text


def taken_out(text: str) -> str:
    """The inverse."""
    return text.replace(_NUL, "\0").replace(_ITSELF, _ESCAPE) if _ESCAPE in text else text


class _Dumper(StrDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(put_in(obj))


class _Loader(TextLoader):
    def load(self, data: Buffer) -> str | bytes:
        text = super().load(data)
        return taken_out(text) if isinstance(text, str) else text


def any_text(context: AdaptContext) -> None:
    """Have all texts that go over a connection put in and taken out like this."""
    adapters: Any = context.adapters
    adapters.register_dumper(str, _Dumper)
    adapters.register_loader("text", _Loader)


# conditions that have an index in the order of time or number; this begins with the condition itself
LED = ("purged_at IS NULL", "sealed IS NOT NULL", "ended_at IS NULL", "hold IS NOT NULL", "flagged = 1")
_VALUE = re.compile(r"((?:\w+\.)?(?:status|outcome|decision)) = (?:\?|'(\w+)')")


def led(listing: Listing) -> Listing:
    """Which rows are new and which old, no planner knows: of purged recordings it would go through all others
    first, by time. So the order says what the index begins with, and only that index has it."""
    if listing.found_first or listing.order[0].rpartition(".")[2] not in ("started_at", "id"):
        return listing
    if listing.indexed.rpartition(".")[2] in LED:
        return replace(listing, led_by=f"({listing.indexed})", led_value=True)
    if (match := _VALUE.fullmatch(listing.indexed)) is not None:
        value = match[2] if match[2] is not None else listing.indexed_values[0]
        return replace(listing, led_by=match[1], led_value=value, indexed="", indexed_values=())
    return listing


POSTGRES = Dialect(
    personal="sealed IS NOT NULL",
    ending=lambda column, length: f"right({column}, {length})",
    join="JOIN",
    numbers=SQLITE.numbers,  # receipts and recordings have a column of this name
    decisions=True,
    led=led,
)


@lru_cache(maxsize=1000)
def with_marks(sql: str) -> str:
    """A statement with psycopg's placeholders. No text of ours has a question mark in a literal."""
    return sql.replace("%", "%%").replace("?", "%s")


CONNECT_S = 3  # for each host
ANSWER_S = 10.0  # for a statement, by the server's clock
TURN_S = 60.0  # for the turn to write
_LATE_S = 3.0  # how much later this side gives up
_IDLE_S = 45.0  # for the next statement of a transaction: else others would wait for their turn in vain
_DEAD_S = 9  # after which a peer that acknowledges nothing is gone
_ALWAYS = {
    "client_encoding": "utf8",
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": _DEAD_S * 1000,
    "application_name": "sipagent",
}
# of the session in the server, which must not wait for us for ever, either
_SETTINGS = {
    "client_connection_check_interval": "2000",  # ms; while it waits for a lock or computes
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": f"{_DEAD_S * 1000}",
    "default_transaction_isolation": r"read\ committed",
    "enable_seqscan": "off",  # where an index answers, and that is everywhere, no guess of a planner counts
    "jit": "off",
    "TimeZone": "UTC",
    "log_parameter_max_length_on_error": "0",
}


class TimedConnection(psycopg.Connection[Any]):
    """A connection that ends where no answer has come in time: `answer_s`, None for ever."""

    answer_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Raises OperationalError; then nobody knows what the server has done."""
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(Reason("no answer in {0:g} s", self.answer_s)) from error


class Connection:
    """For one thread at a time. Methods raise psycopg.Error.

    `opened(query)` is called with each new connection. `within` is true from `begin` to the end.
    """

    def __init__(
        self, conninfo: str, password: str | None, opened: Callable[["Connection"], None] = lambda new: None
    ) -> None:
        self._parameters = _parameters(conninfo, password)
        self._opened = opened
        self._there: TimedConnection | None = None
        self._is_new = False
        self._most_s: float | None = None  # that a statement may take, where that is not as ever
        self._later: list[str] = []
        self.within = False

    def close(self) -> None:
        """Let go of it; what was begun is undone."""
        there, self._there = self._there, None
        if there is not None:
            there.close()

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a query. It is planned for its values: what few rows have is found by its index."""
        return self._run(sql, values, prepare=False, again=True).fetchall()

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._run(sql, values, prepare=None if values else False)

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement; how many rows it has changed."""
        return self._run(sql, values, prepare=None if values else False).rowcount

    def later(self, sql: str) -> None:
        """Send a statement together with the next one, so that nobody waits for it alone.

        It has no values, no rows, and means nothing where the transaction ends before.
        """
        self._later.append(sql)

    def unsaid(self, sql: str) -> bool:
        """Whether the last statement for `later` was this one and is not sent yet; then it never is."""
        if self._later[-1:] != [sql]:
            return False
        self._later.pop()
        return True

    def forget_later(self) -> None:
        """What was for `later` and is not sent yet is not needed any more."""
        self._later.clear()

    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values, within a transaction, without waiting in between."""
        if self._later:
            self._run(self._later.pop())
        try:
            self._connected().cursor().executemany(with_marks(sql).encode(), every)
        except psycopg.Error as error:
            if is_lost(error) and self._there is not None:
                self._there.close()  # but stays: what follows in this transaction fails, too
            raise

    def begin(self, lock: int | None = None) -> None:
        """Begin a transaction; wait for an advisory lock, which its end releases."""
        turn = ""
        if lock is not None:
            self._most_s = TURN_S
            turn = (
                f"; SET LOCAL lock_timeout = {TURN_S * 1000:.0f}; SET LOCAL statement_timeout = 0"
                f"; SELECT pg_advisory_xact_lock({lock})"
                f"; SET LOCAL statement_timeout = {ANSWER_S * 1000:.0f}; SET LOCAL lock_timeout = 0"
            )
        try:
            self._run("BEGIN" + turn, again=True)
            self.within = True
        except BaseException:
            self.roll_back()
            raise
        finally:
            self._most_s = None

    def take_as_long_as_it_takes(self) -> None:
        """Until the end of the transaction no statement is too slow: for changes of the tables."""
        self._run("SET LOCAL statement_timeout = 0")
        self._most_s = math.inf

    def commit(self) -> None:
        """End it; where a statement had failed, it is undone, and that is an error."""
        self._later.clear()
        try:
            cursor = self._run("COMMIT")
        finally:
            self._ended()
        if cursor.statusmessage != "COMMIT":
            raise psycopg.InternalError(Reason("the transaction was undone: a part of it had failed"))

    def roll_back(self) -> None:
        """Undo it. Raises nothing: where the server can't be told, it finds out."""
        self._later.clear()
        try:
            if self._there is not None and not self._there.closed:
                self._run("ROLLBACK")
        except psycopg.Error:
            self.close()
        finally:
            self._ended()

    def _ended(self) -> None:
        self.within, self._most_s = False, None
        if self._there is not None and self._there.closed:
            self.close()

    def _run(
        self,
        sql: str,
        values: Sequence[object] = (),
        *,
        prepare: bool | None = False,
        again: bool = False,
    ) -> psycopg.Cursor[Row]:
        again = again and self._there is not None and not self.within and not self._is_new
        try:
            return self._once(sql, values, prepare)
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            self._lose()
            if not again:
                raise
        return self._once(sql, values, prepare)

    def _once(self, sql: str, values: Sequence[object], prepare: bool | None) -> psycopg.Cursor[Row]:
        text = with_marks(sql) if values else sql
        there = self._connected()
        most_s = ANSWER_S if self._most_s is None or self._is_new else self._most_s
        there.answer_s = None if most_s == math.inf else most_s + _LATE_S
        if not self._later:
            return there.execute(text.encode(), values or None, prepare=prepare)
        before, self._later = self._later, []
        with there.pipeline():
            for one in before:
                there.execute(one.encode(), prepare=False)
            return there.execute(text.encode(), values or None, prepare=prepare)

    def _lose(self) -> None:
        """Close what is of no more use. Within a transaction it stays: what follows there fails, too."""
        if not self.within:
            self.close()
        elif self._there is not None:
            self._there.close()

    def _connected(self) -> TimedConnection:
        if self._there is None:
            self._there = TimedConnection.connect(**self._parameters, autocommit=True, row_factory=dict_row)
            any_text(self._there)
            self._is_new = True
            try:
                self._opened(self)
            except BaseException:
                self.close()
                raise
            finally:
                self._is_new = False
        return self._there


def _parameters(conninfo: str, password: str | None) -> dict[str, Any]:
    """What the URL says comes first; of several hosts the one that takes writes."""
    told = libpq.conninfo_to_dict(conninfo)
    of_time = {
        "statement_timeout": f"{ANSWER_S * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{_IDLE_S * 1000:.0f}",
    }
    settings = " ".join(f"-c {name}={value}" for name, value in (_SETTINGS | of_time).items())
    several = "," in str(told.get("host", "")) or "," in str(told.get("hostaddr", ""))
    parameters = _ALWAYS | ({"target_session_attrs": "read-write"} if several else {}) | told
    parameters["options"] = f"{settings} {told.get('options', '')}".rstrip()
    return parameters if password is None else parameters | {"password": password}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStep:
    """One change of the tables."""

    number: int
    name: str
    gentle: bool
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaSteps:
    """All that this program knows, and the table of those that were taken. Methods raise psycopg.Error."""

    table: str
    every: tuple[SchemaStep, ...]

    def taken(self, connection: Connection) -> list[dict[str, object]] | None:
        """Those that were taken; None where there are no tables yet."""
        (found,) = connection.read(f"SELECT to_regclass('{self.table}') IS NOT NULL AS there")
        sql = f"SELECT number, name, gentle FROM {self.table} ORDER BY number"
        return connection.read(sql) if found["there"] else None

    def refuse_newer(self, connection: Connection) -> None:
        """Raises StoreError for tables that a program has changed which this one does not know."""
        known = {step.number for step in self.every}
        taken = self.taken(connection) or []
        newer = [step["name"] for step in taken if step["number"] not in known and not step["gentle"]]
        if newer:
            raise StoreError(
                "{0}: written by a newer sipagent (it has {1}); update sipagent", NAME, newer[-1]
            )

    def pending(self, connection: Connection) -> list[SchemaStep]:
        """Those that are still to be taken."""
        taken = {step["number"] for step in self.taken(connection) or []}
        return [step for step in self.every if step.number not in taken]

    def take(self, connection: Connection) -> None:
        """Bring the tables up to date, within a transaction in which nobody else does."""
        connection.take_as_long_as_it_takes()
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} (number integer PRIMARY KEY, name text NOT NULL, "
            "gentle boolean NOT NULL, taken_at timestamptz NOT NULL DEFAULT now())"
        )
        for step in self.pending(connection):
            for statement in step.statements:
                connection.execute(statement)
            sql = f"INSERT INTO {self.table} (number, name, gentle) VALUES (?, ?, ?)"
            connection.execute(sql, [step.number, step.name, step.gentle])

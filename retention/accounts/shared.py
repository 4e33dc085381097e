"""Accounts of several hosts: tables in the database that these share, under a key that each has in a file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from retention.accounts.accounts import Accounts
from retention.accounts.database import Row
from retention.accounts.hiding import AccountsKey, new_key, read_key
from retention.accounts.shared_memory import SharedMemory
from retention.accounts.shared_rows import SharedRows
from retention.accounts.shared_schema import ACCOUNTS_SCHEMA
from retention.postgres.connection import Connection
from retention.postgres.database import NAME
from retention.recording import parse_json
from retention.rows.faults import StoreError

TURN = 7_364_002  # the advisory lock of who changes accounts
_THERE = "SELECT to_regclass('accounts_key') IS NOT NULL AS there"
_FINGERPRINT = "SELECT fingerprint FROM accounts_key"
_MOVED = "SELECT to_regclass('moved') IS NOT NULL AS there"


class SharedAccounts(Accounts):
    """The accounts in the database that `conninfo` leads to, under the key in the file at `key`.

    Tables and key are made by the first host; any other needs a copy of its file. `seconds`: a clock in place
    of the database's.
    """

    def __init__(
        self,
        conninfo: str,
        password: str | None,
        key: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._key: AccountsKey | None = None
        self._shared = SharedRows(conninfo, password, self._look_at)
        try:
            found = self._begun(key)
        except BaseException:
            self._shared.close()
            raise
        self._key = found
        memory = SharedMemory(self._shared, found, seconds)
        super().__init__(NAME, clock, found, memory, found.derived("page"))

    def close(self) -> None:
        """Let go of the connection."""
        self._shared.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is changed inside, by one host at a time; an exception undoes all of
        it."""
        with self._shared.transaction(TURN):
            self._refuse_moved()
            yield

    def moved_to(self) -> str | None:
        """What the note in the database says."""
        if not self._shared.read(_MOVED)[0]["there"]:
            return None
        notes = [parse_json(row["note"]) for row in self._shared.read("SELECT note FROM moved")]
        return next((str(note["to"]) for note in notes if note["done"]), None)

    def _rows(self, sql: str, values: Sequence[object]) -> list[Row]:
        return self._shared.read(sql, values)

    def _run(self, sql: str, *values: object) -> int:
        return self._shared.run(sql, values)

    def _number_on(self) -> None:
        for table in ("accounts", "tokens", "passkeys"):
            last = f"(SELECT coalesce(max(id), 0) + 1 FROM {table})"
            self._shared.read(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {last}, false)")

    def _begun(self, path: Path) -> AccountsKey:
        """The key, once there are tables that it fits."""
        key = read_key(path)
        if (kept := self._fingerprint()) is None:
            with self._shared.transaction(TURN) as connection:
                ACCOUNTS_SCHEMA.take(connection)
                kept = self._fingerprint()
                if kept is None:
                    key = key or read_key(path) or new_key(path)
                    kept = key.fingerprint
                    connection.execute("INSERT INTO accounts_key (fingerprint) VALUES (?)", [kept])
        if (fault := _fault(path, key, kept)) is not None:
            raise StoreError(fault)
        assert key is not None
        return key

    def _fingerprint(self) -> str | None:
        """Of the key that accounts are under; None where nothing is ready yet."""
        with self._shared.asking() as connection:
            return None if ACCOUNTS_SCHEMA.pending(connection) else _fingerprint(connection)

    def _look_at(self, connection: Connection) -> None:
        """Whether this program knows the tables, and still has their key: another may have changed them."""
        ACCOUNTS_SCHEMA.refuse_newer(connection, NAME)
        kept = None if self._key is None else _fingerprint(connection)
        if self._key is not None and kept is not None and (fault := _fault(self._key.path, self._key, kept)):
            raise StoreError(fault)


def are_there(conninfo: str, password: str | None) -> bool:
    """Whether there are tables of accounts, with a key. Changes nothing. Raises StoreError."""
    return _asked(conninfo, password) is not None


def fault_of_key(conninfo: str, password: str | None, path: Path) -> str | None:
    """What is wrong with this host's key, in one line; None: it fits, or nothing is under a key yet. Changes
    nothing. Raises StoreError."""
    kept = _asked(conninfo, password)
    return None if kept is None else _fault(path, read_key(path), kept)


def _asked(conninfo: str, password: str | None) -> str | None:
    shared = SharedRows(conninfo, password, lambda new: None)
    try:
        with shared.asking() as connection:
            return _fingerprint(connection)
    finally:
        shared.close()


def _fingerprint(connection: Connection) -> str | None:
    """Of the key that accounts are under; None where there is none yet."""
    if not connection.read(_THERE)[0]["there"]:
        return None
    return next((row["fingerprint"] for row in connection.read(_FINGERPRINT)), None)


def _fault(path: Path, key: AccountsKey | None, kept: str) -> str | None:
    if key is not None and key.fingerprint == kept:
        return None
    copy = "accepted: a copy of that file from a host whose page works"
    if key is None:
        return f"{path}: is missing; the accounts in {NAME} are under the key in it; {copy}"
    return f"{path}: the accounts in {NAME} are under another key; {copy}"

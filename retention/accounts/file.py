"""Accounts of one host: a SQLite file of their own beside the database of calls.

Its tables are a list of numbered steps. A released step never changes.
"""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from retention.accounts.accounts import Accounts, Row
from retention.accounts.credentials import InClear
from retention.accounts.memory import InMemory
from retention.files import read_moved
from retention.records import RecordError
from retention.rows.rows import StoreError
from retention.sqlite import Steps, connect
from retention.texts import strerror


def _first(connection: sqlite3.Connection) -> None:
    """Ids are never given again (AUTOINCREMENT): a session knows its account by it.

    `subject` is who somebody is to an OpenID Connect issuer (`ISSUER SUBJECT`), which never changes, as a
    name may; `handle`, random, is what authenticators know an account by. In `strangers` logins of unknown
    names are counted, so that they cost what others do.
    """
    for statement in (
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "folded TEXT NOT NULL UNIQUE, roles TEXT NOT NULL, password TEXT, totp TEXT, totp_step INTEGER, "
        "key TEXT, language TEXT, created_at TEXT NOT NULL, last_login_at TEXT, "
        "failures INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0, "
        "subject TEXT UNIQUE, handle BLOB NOT NULL DEFAULT (randomblob(32)))",
        "CREATE TABLE codes (hash TEXT PRIMARY KEY, account_id INTEGER NOT NULL UNIQUE, until TEXT NOT NULL)",
        "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "folded TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, roles TEXT NOT NULL, key TEXT, "
        "created_at TEXT NOT NULL, until TEXT, last_used_at TEXT, revoked_at TEXT)",
        "CREATE UNIQUE INDEX tokens_in_use ON tokens (folded) WHERE revoked_at IS NULL",
        "CREATE TABLE passkeys (id INTEGER PRIMARY KEY AUTOINCREMENT, account_id INTEGER NOT NULL, "
        "credential BLOB NOT NULL UNIQUE, public_key BLOB NOT NULL, sign_count INTEGER NOT NULL, "
        "name TEXT NOT NULL, transports TEXT NOT NULL, created_at TEXT NOT NULL, last_used_at TEXT)",
        "CREATE INDEX passkeys_by_account ON passkeys (account_id)",
        "CREATE TABLE strangers (id INTEGER PRIMARY KEY, failures INTEGER NOT NULL)",
        "INSERT INTO strangers (id, failures) VALUES (1, 0)",
        "CREATE TRIGGER accounts_removed AFTER DELETE ON accounts BEGIN "
        "DELETE FROM codes WHERE account_id = OLD.id; DELETE FROM passkeys WHERE account_id = OLD.id; END",
    ):
        connection.execute(statement)


STEPS = Steps("sipagent-accounts", {"0001_accounts": _first})

BUSY_S = 15.0  # how long to wait for another process's transaction


class FileAccounts(Accounts):
    """The accounts in the file at `path`, mode 0600, made if missing.

    `moved`: the note that says that all has moved from here; then nothing is changed any more. `seconds`: a
    clock that never goes back.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        moved: Path | None = None,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(str(path), clock, InClear(), InMemory(seconds), secrets.token_bytes(32))
        self.path = path
        self._moved = moved
        self._lock = threading.RLock()
        with self._faults():
            try:
                self._db = connect(path, BUSY_S)
            except OSError as error:
                raise StoreError("{0}: {1}", path, strerror(error)) from error
            try:
                taken = STEPS.are_taken(self._db, path)
            except StoreError:
                self._db.close()
                raise
            if not taken:
                with self.write():  # taken first, so that two processes do not both migrate
                    STEPS.take(self._db)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is changed inside; an exception undoes all of it."""
        with self._lock, self._faults():
            if self._db.in_transaction:
                yield
                return
            self._refuse_moved()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    def moved_to(self) -> str | None:
        """The target in the note beside the file."""
        try:
            note = None if self._moved is None else read_moved(self._moved)
        except (OSError, RecordError) as wrong:
            raise StoreError("{0}: {1}", self._moved, wrong) from wrong
        return note.to if note is not None and note.done else None

    def _rows(self, sql: str, values: Sequence[object]) -> list[Row]:
        with self._lock, self._faults():
            found = self._db.execute(sql, values)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def _run(self, sql: str, *values: object) -> int:
        return self._db.execute(sql, values).rowcount

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """SQLite's errors, as one that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError("{0}: {1}", self.path, error) from error

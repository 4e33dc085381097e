"""What can be wrong with the database, and which of SQLite's errors means what."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retention.recording import RecordError


class StoreError(Exception):
    """The database cannot be used; `str()` is one line that says why."""


class DamagedRow(StoreError):
    """The row exists, but cannot be read."""


class TryAgain(StoreError):
    """The database cannot be written now: it is locked, out of reach, or damaged as a whole."""


class Busy(TryAgain):
    """Another process has been writing for too long."""


class NoRoom(TryAgain):
    """The disk is full."""


class HeadNotWritten(StoreError):
    """The rows are written, but the file of the chain's head still has an earlier one."""


class UnknownId(StoreError):
    """There is no such row."""


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """SQLite's error about the database at `path`, as one of ours."""
    try:
        yield
    except (sqlite3.Error, RecordError) as error:
        reason, _, _ = str(error).partition(" with text ")  # of a value that is damaged
        raise _kind(error)(f"{path}: {reason}{_cure(error)}") from error


_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_MAY_PASS = (
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
)


def _kind(error: Exception) -> type[StoreError]:
    """The kind of an error, by SQLite's primary result code: the last byte of the extended one."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return NoRoom
    return Busy if code in _BUSY else TryAgain if code in _MAY_PASS else StoreError


def _cure(error: Exception) -> str:
    """What can be done about a file that is damaged."""
    if getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ""
    return "; accepted: a backup in its place, or `sipagent rebuild` once it is moved away"

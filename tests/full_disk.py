"""A disk on which no row can be written for as long as something is not gone."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from psycopg.errors import DiskFull

from retention.rows.chain import ChainEntry, Ledger
from retention.rows.pages import SqliteTables


def full_error() -> sqlite3.OperationalError:
    """As SQLite says it."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def _full_error(ledger: Ledger) -> Exception:
    """As its database says it."""
    if isinstance(ledger.tables, SqliteTables):
        return full_error()
    return DiskFull("could not extend file: No space left on device")


def fill(monkeypatch: pytest.MonkeyPatch, full: Callable[[], bool]) -> None:
    """Let the database have no room while `full()`."""
    next_entry = Ledger._next

    def make(ledger: Ledger, *entry: Any) -> ChainEntry:
        if full():
            raise _full_error(ledger)
        return next_entry(ledger, *entry)

    monkeypatch.setattr(Ledger, "_next", make)

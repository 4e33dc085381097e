"""A database that another program has for its own, and threads that soon look again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sipagent.agent import row_writer


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else reads it or writes into it meanwhile."""
    with closing(sqlite3.connect(folder / "retention.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def hurry(patch: pytest.MonkeyPatch, busy_s: float = 0.05) -> None:
    """Whoever waits for the database from here on, of a store that is opened after this, waits so long."""
    patch.setattr("retention.sqlite.BUSY_S", busy_s)
    patch.setattr(row_writer, "RETRY_S", 0.05)
    patch.setattr(row_writer, "SECURE_S", 0.05)

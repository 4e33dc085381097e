"""A connection to the database, set up so that deleted bytes are gone and written ones are durable.

`journal_mode=DELETE` and `secure_delete=ON`, because what a purge removes must not survive in a write-ahead
log or a free page. `synchronous=EXTRA`, because what was reported as done must survive a power cut.
"""

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from retention.storage.files import share_owner

_SETTINGS = ("journal_mode=DELETE", "synchronous=EXTRA", "secure_delete=ON", "temp_store=MEMORY")


def connect(path: Path | str, busy_s: float) -> Database:
    """A connection that waits up to `busy_s` for others; makes the file if it is missing.

    Raises OSError, sqlite3.Error.
    """
    if str(path) != ":memory:":
        _make(Path(path).resolve())
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}").fetchall()
    return Database(connection, execute_plugins=False)


def unknown_steps(known: Migrations, database: Database) -> list[str]:
    """The names of steps that a newer program has taken there. Raises sqlite3.Error."""
    with Database(memory=True, execute_plugins=False) as empty:  # where all that are known are still pending
        names = {step.name for step in known.pending(empty)}
    return [step.name for step in known.applied(database) if step.name not in names]


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

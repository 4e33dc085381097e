"""What SQLite itself has to do with: its file, its locks, its plans."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention import sqlite as database_module
from retention.files import Places
from retention.records import Event
from retention.rows.chain import ChainHead, read_head
from retention.rows.rows import StoreError
from retention.rows.selection import Selection
from retention.sqlite import Store
from tests.kept import CALLER, START, receipt, recording


@pytest.fixture
def store() -> Store:
    return Store(":memory:")


def test_a_whole_number_is_found_without_reading_what_others_said(store: Store) -> None:
    """By its index, in whatever order: among a million rows this is the difference."""
    for table in ("receipts", "recordings"):
        for order in ("", " DESC"):
            sql = f"SELECT id FROM {table} WHERE caller = ? ORDER BY started_at{order}, id{order} LIMIT 1"
            (search, *_) = store._db.conn.execute(f"EXPLAIN QUERY PLAN {sql}", [CALLER]).fetchall()
            assert f"INDEX {table}_by_caller (caller=?" in search[3]
    rows = [recording(n % 7, caller=CALLER if n % 3 else "+33699999999") for n in range(60)]
    with store.write():
        for row in rows:
            store.add_recording(row)
    asked: list[str] = []
    store._db.conn.set_trace_callback(asked.append)
    found = store.recordings(Selection(number=CALLER))
    assert len(found) == 40 and found == sorted(found, key=lambda row: (row.started_at, row.id), reverse=True)
    assert asked and all(f"WHERE recordings.caller = '{CALLER}'" in sql for sql in asked)


def test_a_commit_that_fails_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all that is written afterwards would be part of a transaction that nobody ends."""
    monkeypatch.setattr(database_module, "BUSY_S", 0.05)
    path = tmp_path / "retention.db"
    with Store(path) as store, closing(sqlite3.connect(path)) as reader:
        cursor = reader.execute("SELECT name FROM sqlite_master")  # a reader that does not go on
        with pytest.raises(StoreError, match="locked"):
            store.add_recording(recording())
        cursor.close()
        store.add_recording(recording(1))
        with Store(path) as other:
            assert [row.started_at for row in other.recordings()] == [START + timedelta(minutes=1)]
            assert read_head(Places(path).head) == other.head() == ChainHead(2, other.head().hash)


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "retention.db"
    with Store(path) as store:
        store.add_recording(recording())
        settings = {
            name: store._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    assert path.stat().st_mode & 0o777 == 0o600
    assert settings == {"journal_mode": "delete", "synchronous": 3, "secure_delete": 1}
    with Store(path) as store:
        assert len(store.recordings()) == 1


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "retention.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('sipagent', '9999_x')"
        )
    with pytest.raises(StoreError, match=r"newer sipagent .*9999_x"):
        Store(path)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "retention.db"
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"retention\.db: .*`sipagent rebuild` once it is moved away$"
    ) as error:
        Store(path)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content


def test_a_database_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        Store(tmp_path / "nowhere" / "retention.db")


def test_many_processes(tmp_path: Path) -> None:
    """Also the very first opening: only one of them makes the tables."""
    path = tmp_path / "retention.db"
    program = (
        "import sys; from datetime import UTC, datetime; from retention.records import Access;"
        "from retention.sqlite import Store; store = Store(sys.argv[1]);"
        "[store.add_access(Access(at=datetime.now(UTC), action='play')) for _ in range(20)]"
    )
    root = Path(__file__).parent.parent
    running = [subprocess.Popen([sys.executable, "-c", program, path], cwd=root) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len(Store(path).accesses()) == 80


def test_what_is_removed_from_rows_is_not_in_the_bytes(tmp_path: Path) -> None:
    """Rows that grow, move between pages and are cut, in random order."""
    chance = random.Random(7)
    store = Store(tmp_path / "retention.db")
    store._db.execute("PRAGMA synchronous=OFF")
    numbers: dict[str, str] = {}
    personal: list[str] = []
    for n in range(300):
        number = f"+336{chance.randrange(10**8):08}"
        call = receipt(recording(chance.randrange(10**5)), caller=number)
        store.add_receipt(call)
        events = (Event(at=START, what="w" * chance.randrange(40), by=number),) * chance.randrange(12)
        store.update_receipt(replace(call, events=events))
        numbers[call.id] = number
        personal.append(call.id)
        if n % 2:
            old = personal.pop(chance.randrange(len(personal)))
            store.update_receipt(store.receipt(old).anonymous())
    for id in personal:
        store.update_receipt(store.receipt(id).anonymous())
    left = (tmp_path / "retention.db").read_bytes()
    assert [number for number in numbers.values() if number.encode() in left] == []


OTHER = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error, end="")
"""


def test_a_connection_that_comes_and_goes_ends_no_lock_of_the_process(tmp_path: Path) -> None:
    """The purge and the watch have their own, in the process whose recorder may be in a transaction."""
    path = tmp_path / "retention.db"
    with Store(path) as store, store.write():
        Store(path).close()
        other = subprocess.run(
            [sys.executable, "-c", OTHER, str(path)], capture_output=True, text=True, check=True
        )
        assert other.stdout == "database is locked"


def test_a_database_behind_a_link_is_private_too(tmp_path: Path) -> None:
    path, there = tmp_path / "retention.db", tmp_path / "elsewhere.db"
    path.symlink_to(there)
    Store(path).close()
    assert there.stat().st_mode & 0o777 == 0o600

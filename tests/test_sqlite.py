"""What SQLite itself has to do with: its file, its locks, its plans; and what lies beside the file."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.files import Places
from retention.records import Event
from retention.rows.chain import ChainHead, read_head
from retention.rows.rows import StoreError
from retention.sqlite import Store
from tests.configured import SMALL, read
from tests.kept import START, receipt, recording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "retention.db"


def test_all_of_it_lies_beside_the_database_and_no_two_things_have_one_place(tmp_path: Path) -> None:
    places = Places(tmp_path / "office.db")
    names = {
        **{name: f"office.{name}" for name in ("head", "turn", "lock", "seed")},
        **{name: name for name in ("vault", "stamps", "edge")},
        "rota": "round_robin.json",
        "accounts": "accounts.db",
        "accounts_key": "accounts.key",
    }
    for name, there in names.items():
        assert getattr(places, name) == tmp_path / there
    assert places.lock_of(3) == tmp_path / "office.worker-3.lock"
    named = [getattr(places, name) for name in names]
    named += [of(worker) for worker in (0, 1) for of in (places.lock_of, places.reserve)]
    named += [places.reserve(), places.reserve("edge"), places.database]
    assert len(set(named)) == len(named)
    assert read(SMALL).places == Places(Path("/etc/sipagent/retention.db"))


def test_the_file_is_private_and_durable_also_behind_a_link(path: Path, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere.db"
    path.symlink_to(there)
    with Store(path) as store:
        store.add_recording(recording())
        names = ("journal_mode", "synchronous", "secure_delete")
        settings = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    assert there.stat().st_mode & 0o777 == 0o600
    assert settings == ["delete", 3, 1]
    with Store(path) as store:
        assert len(store.recordings()) == 1


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_what_is_no_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    said = r"retention\.db: .*`sipagent rebuild` once it is moved away$"
    with pytest.raises(StoreError, match=said) as error:
        Store(path)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content
    with pytest.raises(StoreError, match="No such file or directory"):
        Store(path.parent / "nowhere" / "retention.db")


def test_a_commit_that_fails_leaves_nothing_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retention.sqlite.BUSY_S", 0.05)
    with Store(path) as store, closing(sqlite3.connect(path)) as reader:
        cursor = reader.execute("SELECT name FROM sqlite_master")  # a reader that does not go on
        with pytest.raises(StoreError, match="locked"):
            store.add_recording(recording())
        cursor.close()
        store.add_recording(recording(1))
        with Store(path) as other:
            assert [row.started_at for row in other.recordings()] == [START + timedelta(minutes=1)]
            assert read_head(Places(path).head) == other.head() == ChainHead(2, other.head().hash)


OTHER = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error, end="")
"""


def test_a_connection_that_comes_and_goes_ends_no_lock_of_the_process(path: Path) -> None:
    """The purge and the watch have their own, in the process whose recorder may be in a transaction."""
    with Store(path) as store, store.write():
        Store(path).close()
        other = [sys.executable, "-c", OTHER, str(path)]
        assert subprocess.run(other, capture_output=True, check=True).stdout == b"database is locked"


def test_what_is_removed_from_rows_is_not_in_the_bytes(path: Path) -> None:
    chance = random.Random(7)
    store = Store(path)
    store._connection.execute("PRAGMA synchronous=OFF")
    numbers: list[str] = []
    personal: list[str] = []
    for n in range(300):
        numbers.append(number := f"+336{chance.randrange(10**8):08}")
        call = receipt(recording(chance.randrange(10**5)), caller=number)
        store.add_receipt(call)
        events = (Event(at=START, what="w" * chance.randrange(40), by=number),) * chance.randrange(12)
        store.update_receipt(replace(call, events=events))
        personal.append(call.id)
        if n % 2:
            old = personal.pop(chance.randrange(len(personal)))
            store.update_receipt(store.receipt(old).anonymous())
    for id in personal:
        store.update_receipt(store.receipt(id).anonymous())
    left = path.read_bytes()
    assert [number for number in numbers if number.encode() in left] == []

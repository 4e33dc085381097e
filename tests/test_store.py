import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.archive.verify import verify
from retention.recording import Access, Event, Status
from retention.rows import database as database_module
from retention.rows.chain import TABLES, ChainHead
from retention.rows.chain_head import read_head
from retention.rows.selection import Selection
from retention.rows.store import Store, StoreError, UnknownId
from retention.storage.places import Places
from tests.kept import CALLER, OPERATOR, START, archive_of, receipt, recording


@pytest.fixture
def store() -> Store:
    return Store(":memory:")


def test_rows_come_back_as_they_went_in(store: Store) -> None:
    row = recording(flagged=True)
    call = receipt(row, events=(Event(at=START, what="invited", by="caller"),), confidence=0.5)
    store.add_recording(row)
    store.add_receipt(call)
    assert store.recording(row.id) == row
    assert store.receipt(row.id) == call


def test_a_row_is_replaced(store: Store) -> None:
    row = recording()
    store.add_recording(row)
    store.update_recording(replace(row, status=Status.ERASED, caller=None))
    assert store.recording(row.id) == replace(row, status=Status.ERASED, caller=None)
    call = receipt(row)
    store.add_receipt(call)
    store.update_receipt(replace(call, decision="refused"))
    assert store.receipt(row.id).decision == "refused"


def test_unknown_ids(store: Store) -> None:
    row = recording()
    for action in (
        lambda: store.recording(row.id),
        lambda: store.receipt(row.id),
        lambda: store.update_recording(row),
        lambda: store.update_receipt(receipt(row)),
    ):
        with pytest.raises(UnknownId, match=row.id):
            action()


def test_an_id_is_taken_once(store: Store) -> None:
    row = recording()
    store.add_recording(row)
    with pytest.raises(StoreError):
        store.add_recording(row)


@pytest.fixture
def three(store: Store) -> Store:
    """An old one from a mobile, a flagged one from a landline, an erased one from abroad."""
    store.add_recording(recording(0))
    store.add_recording(recording(10, caller="+33323063001", operator="sip:201@pbx", flagged=True))
    store.add_recording(recording(20, caller="+4930123456", operator="201", status=Status.ERASED))
    for row in store.recordings():
        store.add_receipt(receipt(row))
    return store


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), [20, 10, 0]),
        (Selection(limit=2), [20, 10]),
        (Selection(since=START + timedelta(minutes=10)), [20, 10]),
        (Selection(until=START + timedelta(minutes=10)), [0]),
        (Selection(caller=(CALLER,)), [0]),
        (Selection(number=CALLER), [0]),
        (Selection(number=CALLER[:-1]), []),  # the whole number only
        (Selection(number="+33323063001", flagged=True, status=Status.CLOSED), []),
        (Selection(number="+33323063001", flagged=True), [10]),
        (Selection(number=CALLER, held=True), []),
        (Selection(number=CALLER, until=START), []),
        (Selection(caller=("+33",)), [10, 0]),
        (Selection(caller=("3456", "3001")), [20, 10]),
        (Selection(caller=("2345",)), []),  # neither its beginning nor its end
        (Selection(caller=("%",)), []),
        (Selection(operator="201"), [20, 10]),
        (Selection(operator="01"), []),
        (Selection(operator=OPERATOR), [0]),
        (Selection(status=Status.ERASED), [20]),
        (Selection(flagged=True), [10]),
        (Selection(held=True), []),
        (Selection(decision="refused"), []),
        (Selection(caller=("+33",), flagged=True, limit=5), [10]),
    ],
)
def test_selections(three: Store, selection: Selection, found: list[int]) -> None:
    expected = [START + timedelta(minutes=n) for n in found]
    assert [row.started_at for row in three.recordings(selection)] == expected
    assert [row.started_at for row in three.receipts(selection)] == expected  # through their recording


def test_a_call_is_found_by_its_reference(three: Store) -> None:
    old, flagged, _ = reversed(three.recordings())
    assert old in three.recordings(Selection(reference=old.id[-6:]))
    assert three.receipts(Selection(reference=flagged.id[-6:], flagged=True)) == [three.receipt(flagged.id)]
    assert three.recordings(Selection(reference=old.id[-5:])) == []


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


def test_receipts_by_outcome(three: Store) -> None:
    assert len(three.receipts(Selection(outcome="connected"))) == 3
    assert three.receipts(Selection(outcome="abandoned")) == []


def test_open_receipts(store: Store) -> None:
    open_call = receipt(recording(), ended_at=None)
    store.add_receipt(open_call)
    store.add_receipt(receipt(recording(1)))
    assert store.open_receipts() == [open_call]


def test_accesses_in_their_order(store: Store) -> None:
    uses = [
        Access(at=START, action=action, recording_id=id) for action, id in [("play", "a"), ("export", "b")]
    ]
    for use in uses:
        store.add_access(use)
    assert store.accesses() == uses
    assert store.accesses("b") == uses[1:]


def test_each_access_has_a_number(store: Store) -> None:
    uses = [Access(at=START, action="play", recording_id=id, login=id, via="web") for id in "abc"]
    numbers = [store.add_access(use) for use in uses]
    assert [store.access(number) for number in numbers] == uses
    assert store.numbered_accesses(limit=2) == [(numbers[2], uses[2]), (numbers[1], uses[1])]
    assert store.numbered_accesses(before=numbers[1], limit=2) == [(numbers[0], uses[0])]
    with pytest.raises(UnknownId):
        store.access(numbers[-1] + 1)


def test_a_transaction_is_undone_whole(store: Store) -> None:
    row = recording()
    with pytest.raises(ZeroDivisionError), store.write():
        store.add_recording(row)
        store.add_access(Access(at=START, action="play"))
        raise ZeroDivisionError
    assert store.recordings() == [] and store.accesses() == []


def test_a_part_of_a_transaction_is_undone_alone(store: Store, tmp_path: Path) -> None:
    """Its entries in the chain, too: whoever catches the error goes on with what was before it."""
    row = recording()
    with store.write():
        store.add_recording(row)
        with pytest.raises(StoreError, match="this one is there"), store.write():
            store.add_access(Access(at=START, action="play"))
            store.add_recording(row)
        store.add_recording(recording(1))
    assert len(store.recordings()) == 2 and store.accesses() == []
    assert store.tally() == dict.fromkeys(TABLES.values(), 0) | {"recordings": 2}
    assert verify(archive_of(store, tmp_path, tmp_path)).problems == []


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


def test_many_threads(tmp_path: Path) -> None:
    store = Store(tmp_path / "retention.db")

    def work(first: int) -> None:
        for n in range(first, first + 10):
            row = recording(n)
            store.add_recording(row)
            store.update_recording(replace(row, status=Status.CLOSED))

    threads = [threading.Thread(target=work, args=(10 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.recordings(Selection(status=Status.CLOSED))) == 60


def test_many_processes(tmp_path: Path) -> None:
    """Also the very first opening: only one of them makes the tables."""
    path = tmp_path / "retention.db"
    program = (
        "import sys; from datetime import UTC, datetime; from retention.recording import Access;"
        "from retention.rows.store import Store; store = Store(sys.argv[1]);"
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

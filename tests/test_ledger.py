"""Rows are written together with their entry in the chain, or neither is."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from retention.records import Access, RecordError
from retention.rows.chain import GENESIS, ChainEntry, ChainHead, commitment, differences, public_text
from retention.rows.pages import Listing, SqliteTables
from retention.rows.rows import Rows, StoreError
from retention.sqlite import Store
from tests.both import BOTH, by_hand, opened
from tests.kept import CALLER, START, receipt, recording
from tests.tampering import HOLD, note_on, use_of

DATABASES = BOTH


class Clock:
    """A second later each time."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> object:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def store() -> Iterator[Rows]:
    with opened(None, Clock()) as store:  # type: ignore[arg-type]
        yield store


def last(store: Rows) -> ChainEntry:
    seq = store.head().seq
    return store.entries([seq])[seq]


def row_of(store: Rows, table: str) -> dict[str, object]:
    sql = f"SELECT * FROM {table} ORDER BY {store.dialect.numbers[table]} DESC LIMIT 1"
    return store._rows(table, sql, [])[0]


def test_a_new_chain_begins_with_a_segment_and_each_row_has_its_entry(store: Rows) -> None:
    first = last(store)
    assert (first.seq, first.kind, first.subject, first.was) == (1, "segment", "a new database", 0)
    assert first.public == '{"previous":null,"reason":"a new database"}'
    assert first.follows(GENESIS) and store.head() == ChainHead(1, first.hash)
    row = recording(hold=HOLD)
    store.add_recording(row)
    entry, kept = last(store), row_of(store, "recordings")
    assert (entry.seq, entry.kind, entry.subject, entry.was) == (2, "recording", row.id, 0)
    assert entry.at.startswith("2026-11-24T22:20:0") and entry.at.endswith(".123Z")  # by the store's clock
    assert entry.public == public_text("recording", row.to_json())
    assert store.entries_of(row.id) == {"recording": entry} and store.entries_of("x") == {}
    store.add_receipt(receipt(row))
    assert store.entries_of(row.id) == {"recording": entry, "receipt": last(store)}
    assert entry.personal == commitment("recording", row.to_json(), str(kept["salt"]))
    assert entry.follows(first.hash) and kept["chain_seq"] == entry.seq


def test_each_change_names_the_entry_before_it_and_the_salt_goes_with_what_it_is_for(store: Rows) -> None:
    call = receipt(recording())
    store.add_receipt(call)
    first, seen = row_of(store, "receipts")["salt"], last(store).seq
    assert first is not None
    for decision in ("refused", "allowed", "refused"):
        store.update_receipt(replace(call, decision=decision))
        entry, row = last(store), row_of(store, "receipts")
        assert (entry.kind, entry.subject, entry.was) == ("receipt", call.id, seen)
        assert (row["salt"], row["chain_seq"]) == (first, entry.seq)
        seen = entry.seq
    store.update_receipt(call.anonymous())
    assert row_of(store, "receipts")["salt"] is None and last(store).personal == ""
    store.update_receipt(call)  # another: with the first one, who had noted it could try numbers
    assert row_of(store, "receipts")["salt"] not in (None, first)


def test_each_row_has_a_salt_of_its_own_and_many_in_one_transaction_follow_each_other(store: Rows) -> None:
    before = store.head().hash
    with store.write():
        for number in range(20):
            store.add_recording(recording(number))
    rows = store._rows("recordings", "SELECT * FROM recordings", [])
    assert len({row["salt"] for row in rows}) == 20
    entries = store.entries(range(2, 22))
    assert len({entry.personal for entry in entries.values()}) == 20  # of the same caller
    for _, entry in sorted(entries.items()):
        assert entry.follows(before)
        before = entry.hash
    assert store.head() == ChainHead(21, before)


def test_rows_without_an_id_are_numbered_and_what_is_forgotten_of_them_leaves_the_rest(store: Rows) -> None:
    row = recording()
    store.add_access(replace(use_of(row), reference="2026/7", detail="both to x"))
    store.add_note(note_on(row))
    assert (last(store).kind, last(store).subject) == ("note", "1") and '"id"' not in last(store).public
    assert store.forget_names(START) == 0
    assert store.forget_names(START + timedelta(days=1)) == 1
    assert store.forget_notes(START + timedelta(days=364)) == 0
    assert store.forget_notes(START + timedelta(days=365)) == 1
    (use,), (note,) = store.accesses(), store.notes(row.id)
    assert use == Access(at=START, action="play", recording_id=row.id, purpose="quality")
    assert (note.text, note.by, note.recording_id, note.at) == (None, None, row.id, START)
    assert store.forget_names(START + timedelta(days=1)) == 0
    assert store.forget_notes(START + timedelta(days=365)) == 0
    store.add_access(use_of(row))
    assert (last(store).kind, last(store).subject) == ("access", "2")


def test_uses_of_what_is_still_kept_are_remembered(store: Rows) -> None:
    row = recording()
    store.add_recording(row)
    store.add_access(use_of(row))
    later = START + timedelta(days=900)
    assert store.count_old_names(later) == store.forget_names(later) == 0
    store.update_recording(row.tombstone(row.status, later))
    assert store.count_old_names(later) == store.forget_names(later) == 1


def test_notes_of_one_recording(store: Rows) -> None:
    for number in (0, 0, 1):
        store.add_note(note_on(recording(number, id=f"call-{number}")))
    assert store.forget_notes_of("call-0") == 2
    assert [note.text for note in store.notes("call-0")] == [None, None]
    assert [note.text for note in store.notes("call-1")] == ["a good call"]


FULL = ("CREATE TRIGGER full BEFORE INSERT ON chain BEGIN SELECT RAISE(ABORT, 'full'); END",)
FULL_SHARED = (
    "CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full'; END $$",
    "CREATE TRIGGER full_up BEFORE INSERT ON chain FOR EACH ROW EXECUTE FUNCTION full_up()",
)


def test_neither_without_the_other(store: Rows) -> None:
    row = recording()
    store.add_recording(row)
    head = store.head()
    with pytest.raises(StoreError, match="this one is there"):
        store.add_recording(row)
    with pytest.raises(StoreError, match=r"(?i)not.null"):
        store._insert("receipts", receipt(row).to_json() | {"started_at": None})
    with store.write():  # nor does what is not there
        assert not store._ledger.update("receipts", "nobody", receipt(row, id="nobody").to_json())
    assert store.head() == head
    for statement in FULL if isinstance(store, Store) else FULL_SHARED:
        by_hand(store, statement)
    with pytest.raises(StoreError, match="full"):
        store.add_receipt(receipt(row))
    assert store.receipts() == [] and store.head() == head


def test_many_that_are_kept_at_once_are_as_if_one_by_one(store: Store) -> None:
    rows = [recording(minutes) for minutes in range(3)]
    told = [receipt(row) for row in rows]
    store.add_receipt(told[1])
    store.keep_many(told, rows[:2], ())
    ended = replace(told[0], outcome="failed")
    store.keep_many([ended], rows[1:], ())
    assert {row.id: row for row in store.receipts()} == {row.id: row for row in [ended, *told[1:]]}
    assert {row.id: row for row in store.recordings()} == {row.id: row for row in rows}
    entries = [ChainEntry(**row) for row in store.each(Listing(table="chain", order=("seq",)))]
    assert all(after.follows(before.hash) for before, after in pairwise(entries))
    assert [(entry.kind, entry.was) for entry in entries[2:]] == [
        *(("receipt", was) for was in (0, 2, 0)),
        *[("recording", 0)] * 2,
        ("receipt", 3),
        *(("recording", was) for was in (7, 0)),
    ]
    for kind, table in (("receipt", "receipts"), ("recording", "recordings")):
        for row in store.each(Listing(table=table, order=("id",))):
            assert differences(kind, row, entries[row["chain_seq"] - 1]) == []


def test_many_that_are_kept_at_once_cover_nothing_that_was_altered(store: Rows) -> None:
    row = recording()
    store.add_receipt(receipt(row))
    by_hand(store, "UPDATE receipts SET called = 'another'")
    store.keep_many([receipt(row)], (), ())
    assert [entry.kind for entry in store.entries([3, 4]).values()] == ["altered", "receipt"]


@pytest.mark.in_sqlite
def test_what_is_damaged_is_read_by_who_says_so() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (text TEXT)")
    connection.execute("INSERT INTO t VALUES (CAST(x'61ff62' AS TEXT)), ('é')")
    tables = SqliteTables(connection)
    with pytest.raises(sqlite3.OperationalError, match="decode"):
        tables.read("SELECT * FROM t")
    assert tables.read_anyhow("SELECT * FROM t") == [{"text": "a\ufffdb"}, {"text": "é"}]
    with pytest.raises(sqlite3.OperationalError):  # and nobody else
        tables.read("SELECT * FROM t")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        tables.read_anyhow("SELECT * FROM nowhere")


@pytest.mark.in_sqlite
def test_an_update_writes_what_is_new_and_what_was_damaged() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (id TEXT, kept TEXT, damaged TEXT, new REAL)")
    connection.execute("INSERT INTO t VALUES ('a', 'é', CAST(x'61ff62' AS TEXT), 1)")
    tables, said = SqliteTables(connection), list[str]()
    (before,) = tables.read_anyhow("SELECT * FROM t")
    after = before | {"new": 2.0}
    connection.set_trace_callback(said.append)
    tables.update_many("t", [after], {"a": before})
    (change,) = (one for one in said if one.startswith("UPDATE"))
    assert '"damaged"' in change and '"kept"' not in change
    assert tables.read("SELECT * FROM t") == [after]


@pytest.mark.in_sqlite
def test_a_damaged_row_is_an_error_in_one_line_that_names_it_and_no_value(store: Rows) -> None:
    row = recording()
    store.add_recording(row)
    store.add_receipt(receipt(row))
    by_hand(store, "UPDATE recordings SET status = 'melted'")
    by_hand(store, "UPDATE receipts SET events = '[x'")
    for read in (lambda: store.recording(row.id), store.recordings, store.receipts):
        with pytest.raises(StoreError, match=f"^:memory:: {row.id}: ") as error:
            read()
        assert "\n" not in str(error.value) and isinstance(error.value.__cause__, RecordError)
        assert CALLER not in str(error.value)
    by_hand(store, "UPDATE recordings SET caller = CAST(caller || x'ff' AS TEXT)")
    with pytest.raises(StoreError, match=r"column 'caller'$") as error:
        store.recordings()
    assert "612345678" not in str(error.value)


@pytest.mark.in_sqlite
def test_a_damaged_head_keeps_nobody_from_writing(store: Rows) -> None:
    store.add_recording(recording())
    by_hand(store, "DROP TRIGGER chain_grows")
    by_hand(store, "UPDATE chain SET hash = CAST(x'61ff62' AS TEXT) WHERE seq = 2")
    store.add_recording(recording(1))
    assert last(store).follows("a\ufffdb") and store.hash_of(2) == "a\ufffdb"

"""What the shared database itself keeps: its tables, their steps, and what it refuses."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retention.files import Places
from retention.postgres import schema
from retention.postgres.connection import SchemaStep, SchemaSteps
from retention.postgres.database import SharedStore
from retention.postgres.schema import GUARDS_OF_ROWS
from retention.rows.chain import TABLES
from retention.rows.rows import StoreError, TryAgain
from retention.rows.selection import Selection
from retention.verify import verify
from tests.both import by_hand, raw
from tests.kept import archive_of, receipt, recording
from tests.postgres import LOCKED, PASSWORD, Server, database_of, fresh
from tests.shared import ClearSeals, ClearSearching, prepare, shared_store
from tests.tampering import HOLD, asked_of, note_on, sum_of, use_of

OURS = (*TABLES.values(), "chain")


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    with fresh(postgres, prepare) as conninfo:
        yield conninfo


@pytest.fixture
def store(conninfo: str) -> Iterator[SharedStore]:
    with shared_store(conninfo) as store:
        yield store


def fill(store: SharedStore) -> str:
    row = recording(hold=HOLD)
    store.add_recording(row)
    store.add_receipt(receipt(row))
    store.add_access(use_of(row))
    store.add_note(note_on(row))
    store.add_sum(sum_of(3))
    store.add_approval(asked_of(row))
    return row.id


@pytest.mark.parametrize("table", OURS)
def test_no_row_is_ever_deleted_and_each_keeps_its_id(store: SharedStore, table: str) -> None:
    fill(store)
    for statement in ("DELETE FROM {}", "TRUNCATE {} CASCADE"):
        with pytest.raises(StoreError, match=f"rows of {table} are never deleted"):
            by_hand(store, statement.format(table))
    assert raw(store, f"SELECT count(*) AS n FROM {table}")[0]["n"] > 0
    if table != "chain":
        other = "'other'" if table in ("receipts", "recordings") else "7"
        with pytest.raises(StoreError, match=f"rows of {table} keep their ids"):
            by_hand(store, f"UPDATE {table} SET id = {other}")


def test_what_is_on_hold_stays_and_no_row_is_replaced_in_passing(store: SharedStore) -> None:
    """What SQLite's REPLACE would do, an upsert does by an update, which the rules see."""
    id = fill(store)
    for change in ("status = 'purging'", "purged_at = '2027-01-01T00:00:00.000Z'"):
        with pytest.raises(StoreError, match="the recording is on hold"):
            by_hand(store, f"UPDATE recordings SET {change}")
    sql = "INSERT INTO recordings SELECT * FROM recordings ON CONFLICT (id) DO UPDATE SET status = 'purged'"
    with pytest.raises(StoreError, match=r"on hold|cannot insert"):
        by_hand(store, sql)
    assert store.recording(id).hold == HOLD


@pytest.mark.parametrize("name", [guard.name for guard in GUARDS_OF_ROWS])
def test_a_missing_rule_is_told(store: SharedStore, name: str) -> None:
    assert store.missing_guards() == []
    (table,) = {guard.table for guard in GUARDS_OF_ROWS if guard.name == name}
    by_hand(store, f"ALTER TABLE {table} DISABLE TRIGGER {name}")
    assert store.missing_guards() == [name]
    by_hand(store, f"ALTER TABLE {table} ENABLE TRIGGER {name}")
    body = "BEGIN RETURN coalesce(NEW, OLD); END"
    by_hand(store, f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $f${body}$f$")
    assert store.missing_guards() == [name]


def test_a_rule_that_0_1_0_wrote_is_there(store: SharedStore) -> None:
    """Letter by letter, and nothing makes it again."""
    body = """ BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); RETURN NULL; END """
    sql = (
        "CREATE OR REPLACE FUNCTION receipts_end_calls() RETURNS trigger LANGUAGE plpgsql AS $guard${}$guard$"
    )
    by_hand(store, sql.format(body))
    assert store.missing_guards() == []
    by_hand(store, sql.format(body.replace("'refused'", "'allowed'")))
    assert store.missing_guards() == ["receipts_end_calls"]


def test_verify_sees_what_was_altered_past_the_rules(
    store: SharedStore, conninfo: str, postgres: Server, tmp_path: Path
) -> None:
    """By a superuser, whom no trigger holds."""
    store.places = Places(tmp_path / "retention.db")
    id = fill(store)
    archive = archive_of(store, tmp_path / "recordings", tmp_path)
    before = {finding.where for finding in verify(archive).problems}
    with postgres.connect(database_of(conninfo), "postgres") as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE receipts SET decision = 'refused'")
        connection.execute("""UPDATE recordings SET hold = '{"ground":"other","review":"2020-01-01"}'""")
        connection.execute("UPDATE approvals SET state = 'approved'")
        connection.execute("DELETE FROM notes")
        connection.execute("DELETE FROM chain WHERE seq = (SELECT max(seq) FROM chain)")
    found = [(finding.where, finding.problem) for finding in verify(archive).problems]
    assert {where for where, _ in found} - before >= {f"receipt {id}", "approval 1", "note 1"}
    assert any(where == f"recording {id}" and problem.startswith("hold is") for where, problem in found)
    assert any("its tail was cut off" in problem for _, problem in found)


def test_texts_sort_by_their_bytes_and_numbers_come_back_as_they_went_in(store: SharedStore) -> None:
    ids = ["Zebra", "a-1", "A-1", "a1", "b", "10", "2"]
    rows = {id: recording(id=id, duration_s=0.1 + 0.2, bytes=2**62, channels=1) for id in ids}
    for row in rows.values():
        store.add_recording(row)
    assert store.recordings() == [rows[id] for id in sorted(ids, reverse=True)]
    (found,) = raw(store, "SELECT min(id) AS first, max(id) AS last FROM recordings")
    assert found == {"first": "10", "last": "b"}


def test_many_at_once_make_the_tables_once(database: str) -> None:
    with ThreadPoolExecutor(6) as programs:
        made = list(programs.map(shared_store, [database] * 6))
    assert [row["kind"] for row in raw(made[0], "SELECT kind FROM chain")] == ["segment"]
    assert made[0].missing_guards() == []
    for store in made:
        store.close()


NEWER = SchemaStep(
    number=99,
    name="what_comes",
    gentle=True,
    statements=("ALTER TABLE receipts ADD COLUMN weather text", "CREATE TABLE forecasts (id bigint)"),
)


def test_a_step_is_taken_once_and_those_of_before_go_on(
    store: SharedStore, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recording()
    store.add_recording(before)
    steps = SchemaSteps("schema_steps", (*schema.STEPS, NEWER))
    monkeypatch.setattr("retention.postgres.database.SCHEMA", steps)
    with shared_store(conninfo) as upgraded, shared_store(conninfo):
        monkeypatch.undo()
        store.add_receipt(receipt(before))
        upgraded.add_receipt(receipt(recording(1)))
        assert len(store.receipts()) == len(upgraded.receipts()) == 2
        taken = raw(store, "SELECT number FROM schema_steps ORDER BY number")
        assert [step["number"] for step in taken] == [step.number for step in (*schema.STEPS, NEWER)]
    with shared_store(conninfo) as restarted:  # it doesn't know the step, and need not
        assert len(restarted.receipts(Selection())) == 2


def test_a_step_that_is_not_for_those_of_before_is_refused(
    store: SharedStore, conninfo: str, postgres: Server
) -> None:
    sql = "INSERT INTO schema_steps (number, name, gentle) VALUES (99, 'what_breaks', false)"
    by_hand(store, sql)
    with pytest.raises(StoreError, match=r"newer sipagent .*what_breaks.*update sipagent"):
        shared_store(conninfo)
    store.add_recording(recording())  # under way; with the next connection it sees it, too
    ended = f"datname = '{database_of(conninfo)}'"
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ended}")
    with pytest.raises(StoreError, match="update sipagent"):
        store.recordings()


def test_a_step_that_fails_changes_nothing(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = SchemaStep(
        number=99, name="x", gentle=True, statements=(*NEWER.statements, "ALTER TABLE nowhere")
    )
    steps = SchemaSteps("schema_steps", (*schema.STEPS, broken))
    monkeypatch.setattr("retention.postgres.database.SCHEMA", steps)
    with pytest.raises(StoreError):
        shared_store(conninfo)
    monkeypatch.undo()
    with shared_store(conninfo) as store:
        assert raw(store, "SELECT to_regclass('forecasts') AS there") == [{"there": None}]


def open_as(conninfo: str, user: str, password: str | None) -> SharedStore:
    other = conninfo.replace("//sipagent@", f"//{user}@")
    return SharedStore(other, password, seals=ClearSeals(), searching=ClearSearching())


def test_a_password_comes_apart_from_the_address(conninfo: str) -> None:
    with open_as(conninfo, LOCKED, PASSWORD) as store:
        store.add_recording(recording())
    for wrong in (None, "wrong"):
        with pytest.raises(TryAgain) as error:
            open_as(conninfo, LOCKED, wrong)
        assert "password" in str(error.value) and "\n" not in str(error.value)


def test_what_an_error_says_has_no_value_in_it(store: SharedStore) -> None:
    row = recording(caller="+33612345678")
    store.add_recording(row)
    for action in (lambda: store.add_recording(row), lambda: raw(store, "SELECT 1 / length(?::text)", [""])):
        with pytest.raises(StoreError) as error:
            action()
        assert "\n" not in str(error.value) and "612345678" not in str(error.value)


def test_a_part_of_a_transaction_may_wait_for_its_turn(store: SharedStore, conninfo: str) -> None:
    with store.transaction(), shared_store(conninfo) as other:
        other.add_recording(recording())
        with store.write():
            store.add_recording(recording(1))
    assert len(store.recordings()) == 2 and store.head().seq == 3

"""An upgrade: a database as the version before wrote it, and a made-up step that this one takes in it.

Each test runs as the version that knows the step, unless it says otherwise. How hosts that share a database
are upgraded is in `test_shared_database`.
"""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from retention import sqlite as schema
from retention.accounts.shared import ACCOUNTS_SCHEMA, SharedAccounts
from retention.archive import Archive
from retention.erase import erase_row
from retention.postgres.connection import SchemaStep, SchemaSteps
from retention.records import MissingSound
from retention.rows.chain import TABLES
from retention.rows.rows import StoreError
from retention.sqlite import Store
from retention.verify import verify
from tests.crashing import deaths
from tests.kept import archive, keep, receipt, recording, sqlite
from tests.office import make_office
from tests.postgres import Server, fresh
from tests.shared import prepare
from tests.tampering import lived_in

Rows = dict[str, list[dict[str, Any]]]
MADE_UP = "9999_made_up"
STATEMENTS = ("ALTER TABLE receipts ADD COLUMN weather TEXT", "CREATE TABLE forecasts (id INTEGER)")
OF_ACCOUNTS = ("ALTER TABLE accounts ADD COLUMN weather TEXT", "CREATE TABLE forecasts (id INTEGER)")


def with_step(known: schema.Steps, *statements: str) -> schema.Steps:
    """What the next version knows: one step more."""

    def made_up(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return schema.Steps(known.kind, {**known.every, MADE_UP: made_up})


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with rows of every kind, and the files that they name."""
    folder = tmp_path / "old"
    folder.mkdir()
    lived_in(folder).store.close()
    return folder


@pytest.fixture
def knows_the_step(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retention.sqlite.STEPS", with_step(schema.STEPS, *STATEMENTS))


@pytest.fixture
def upgraded(old: Path, knows_the_step: None) -> Iterator[Archive]:
    opened = archive(old)
    yield opened
    opened.store.close()


def rows_in(database: Path) -> Rows:
    """Every table's, as SQLite has them, without what the step adds."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [
                {name: row[name] for name in row.keys() if name != "weather"}  # noqa: SIM118 - no mapping
                for row in connection.execute(f"SELECT * FROM {table}")
            ]
            for table in (*TABLES.values(), "chain", "clock", "in_progress", "rejected", "objects", "today")
        }


def has_step(database: Path) -> bool:
    """Whether all of it is there; AssertionError for a half of it."""
    with closing(sqlite3.connect(database)) as connection:
        asked = (
            f"SELECT count(*) FROM _sqlite_migrations WHERE name = '{MADE_UP}'",
            "SELECT count(*) FROM sqlite_master WHERE name = 'forecasts'",
            "SELECT count(*) FROM pragma_table_info('receipts') WHERE name = 'weather'",
        )
        (found,) = {connection.execute(sql).fetchone()[0] for sql in asked}
    return bool(found)


def upgrade(folder: Path) -> None:
    Store(folder / "retention.db").close()


def test_everything_is_kept_life_goes_on_and_a_step_is_taken_once(old: Path, upgraded: Archive) -> None:
    before = rows_in(old / "retention.db")
    assert has_step(old / "retention.db") and all(before[table] for table in TABLES.values())
    assert (verify(upgraded).problems, verify(upgraded).lost) == ([], [])
    row = keep(upgraded, recording(500))
    assert row in upgraded.store.recordings()
    (open_row,) = upgraded.unfinished()
    erase_row(upgraded, open_row.id, row.started_at)
    assert verify(upgraded).problems == []
    assert len(sqlite(upgraded.store).execute("SELECT * FROM _sqlite_migrations").fetchall()) == len(
        schema.STEPS.every
    )
    with Store(old / "retention.db") as again:  # a second time it would fail
        assert again.head() == upgraded.store.head()


def test_rows_from_before_a_column_are_as_they_were(tmp_path: Path) -> None:
    made = archive(tmp_path)
    row = keep(made, recording(1))
    call = receipt(row, caller_identity=None, quality=None)
    made.store.keep_receipt(call)
    for table, column, step in (
        ("recordings", "missing", "0002_missing"),
        ("receipts", "quality", "0004_line"),
        ("receipts", "caller_identity", "0004_line"),
    ):
        sqlite(made.store).execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        sqlite(made.store).execute("DELETE FROM _sqlite_migrations WHERE name = ?", [step])
    made.store.close()
    upgraded = archive(tmp_path)
    assert upgraded.store.recordings() == [row] and row.missing == ()
    assert call in upgraded.store.receipts() and call.quality is None
    assert verify(upgraded).problems == []
    told = keep(upgraded, recording(2, missing=(MissingSound(from_s=1.0, to_s=1.5),)))
    measured = receipt(told)
    upgraded.store.keep_receipt(measured)
    assert told in upgraded.store.recordings() and measured in upgraded.store.receipts()
    assert verify(upgraded).problems == []
    # its number stands in the one column that forgetting empties
    asked = "SELECT caller_identity FROM receipts UNION ALL SELECT public FROM chain"
    (*_, (attested,)) = kept = sqlite(upgraded.store).execute(asked).fetchall()
    assert "verified" in str(attested) and measured.caller and measured.caller not in str(kept)
    upgraded.store.close()


def test_an_upgrade_that_is_killed_is_done_by_the_next(old: Path, knows_the_step: None) -> None:
    before = rows_in(old / "retention.db")
    for done in deaths(old, partial(upgrade, old)):
        has_step(old / "retention.db")
        opened = archive(old)
        assert verify(opened).problems == [] and verify(opened).lost == [], done
        opened.store.close()
        assert has_step(old / "retention.db") and rows_in(old / "retention.db") == before, done
    assert done


def test_several_who_open_it_at_once_upgrade_it_once(old: Path, knows_the_step: None) -> None:
    barrier = threading.Barrier(6)

    def open_it(folder: Path) -> None:
        barrier.wait()
        upgrade(folder)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_it, [old] * 6))
    assert has_step(old / "retention.db")


@pytest.mark.parametrize("command", ["check", "backup", "list"])
def test_the_version_before_takes_none_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    office = make_office(tmp_path, capsys)
    office.call()
    office.archive.store.close()
    with monkeypatch.context() as patched:
        patched.setattr("retention.sqlite.STEPS", with_step(schema.STEPS, *STATEMENTS))
        upgrade(tmp_path)
    before = (tmp_path / "retention.db").read_bytes()
    result = office.run(command, *([tmp_path / "backups"] if command == "backup" else []))
    said = f"written by a newer sipagent (it has {MADE_UP}); update sipagent"
    assert result.code == 1 and said in result.out + result.err
    assert (tmp_path / "retention.db").read_bytes() == before and not (tmp_path / "backups").exists()


@pytest.mark.parametrize("gentle", [True, False])
def test_accounts_that_hosts_share_are_kept(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gentle: bool
) -> None:
    step = SchemaStep(number=99, name=MADE_UP, gentle=gentle, statements=OF_ACCOUNTS)
    newer = SchemaSteps(ACCOUNTS_SCHEMA.table, (*ACCOUNTS_SCHEMA.every, step))
    with fresh(postgres, prepare) as conninfo:
        with SharedAccounts(conninfo, None, tmp_path / "accounts.key") as before:
            added, _ = before.add("Ann", ["listener"])
        with monkeypatch.context() as patched:
            patched.setattr("retention.accounts.shared.ACCOUNTS_SCHEMA", newer)
            for _ in range(2):
                with SharedAccounts(conninfo, None, tmp_path / "accounts.key") as upgraded:
                    assert upgraded.all() == [added]
        if gentle:
            with SharedAccounts(conninfo, None, tmp_path / "accounts.key") as before:
                assert before.all() == [added]
        else:
            with pytest.raises(StoreError, match=rf"newer sipagent \(it has {MADE_UP}\)"):
                SharedAccounts(conninfo, None, tmp_path / "accounts.key")

"""The upgrade from every earlier schema: a database as it was then, opened by the store there is now.

`tests/schemas/N.sql` is the dump of one that the release with schema N has written, with rows of every kind.
"""

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from retention.archive.archive import Archive
from retention.archive.verify import verify
from retention.recording import Access, Status, due_date
from retention.rows.chain import TABLES, ChainHead
from retention.rows.chain_head import export_head, read_head
from retention.rows.columns import OF_THE_CHAIN
from retention.rows.store import Store, StoreError
from retention.rules.hold import holds, release, review_of
from retention.rules.purge import Terms, purge
from retention.sqlite.schema import MIGRATIONS
from tests.crashing import killed_before, steps
from tests.kept import CALLER, SOUND, START, Paths, archive, bytes_under, keep, recording, sqlite
from tests.tampering import as_if

LATER = {
    "receipts": ("expires_at", "operators"),
    "recordings": ("operators",),
    "accesses": ("login", "via"),
}
SCHEMAS = sorted(Path(__file__).with_name("schemas").glob("*.sql"))
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
WITHOUT_A_CHAIN = pytest.mark.parametrize("old", SCHEMAS[:1], ids=["0001"], indirect=True)
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the database of then, and the files that its rows name."""
    with closing(sqlite3.connect(tmp_path / "retention.db")) as connection:
        connection.executescript(request.param.read_text(encoding="utf-8"))
        there = rows_in(tmp_path / "retention.db")["recordings"]
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain'").fetchone():
            (head,) = connection.execute("SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1")
            export_head(tmp_path / "retention.head", ChainHead(*head), lambda _: True)
    folder = tmp_path / "recordings"
    folder.mkdir()
    for row in there:
        if row["path"] is not None:
            (tmp_path / row["path"]).write_bytes(SOUND)
            (folder / f"{row['id']}.json").write_text(json.dumps(as_json(row)))
        elif row["status"] == "open":
            (folder / f"{row['id']}.part").write_bytes(SOUND)
    return tmp_path


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    nested = ("notice", "pauses", "hold")
    flags = {name: bool(row[name]) for name in ("incomplete", "flagged")}
    return row | {name: row[name] and json.loads(row[name]) for name in nested} | flags


def rows_in(database: Path) -> Rows:
    """Every table's, as SQLite has them, without what came later."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        there = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        return {
            table: [
                {
                    name: value
                    for name, value in dict(row).items()
                    if name not in (*OF_THE_CHAIN, *LATER.get(table, ()))
                }
                for row in connection.execute(f"SELECT * FROM {table} ORDER BY id")
            ]
            for table in TABLES.values()
            if table in there
        }


@pytest.fixture
def upgraded(old: Path) -> Iterator[Archive]:
    opened = archive(old)
    yield opened
    opened.store.close()


def test_there_is_one_for_each_step_but_the_last() -> None:
    names = [step.name.partition("_")[0] for step in MIGRATIONS.pending(Database(memory=True))]
    assert [path.stem for path in SCHEMAS] == names[:-1]


def test_everything_is_kept(old: Path) -> None:
    before = rows_in(old / "retention.db")
    with Store(old / "retention.db") as store:
        assert MIGRATIONS.pending(store._db) == []
    after = rows_in(old / "retention.db")
    assert sum(map(len, before.values())) > 15
    assert {table: after[table] for table in before} == before
    assert all(after[table] == [] for table in after.keys() - before.keys())
    with Store(old / "retention.db") as store:  # and every row is read
        assert len(store.recordings()) == len(before["recordings"])
        assert len(store.receipts()) == len(before["receipts"])
        assert len(store.accesses()) == len(before["accesses"])


def test_its_shape_is_that_of_a_new_one(upgraded: Archive) -> None:
    new = Store(":memory:")
    sql = "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE '_sqlite%' ORDER BY name"
    assert upgraded.store._read(sql, []) == new._read(sql, [])
    for table in (*TABLES.values(), "chain", "clock"):
        columns = f"PRAGMA table_info({table})"
        assert upgraded.store._read(columns, []) == new._read(columns, [])


def test_the_chain_adopts_every_row(upgraded: Archive, old: Path) -> None:
    found = verify(upgraded)
    assert (found.problems, found.lost) == ([], [])
    rows = sum(map(len, rows_in(old / "retention.db").values()))
    assert found.head.seq == rows + 1 and read_head(old / "retention.head") == found.head
    first = upgraded.store.entries([1])[1]
    assert (first.kind, first.subject) == ("segment", "a new database")
    for kind, table in TABLES.items():
        for row in upgraded.store._read(f"SELECT * FROM {table}", []):
            entry = upgraded.store.entries([row["chain_seq"]])[row["chain_seq"]]
            assert (entry.kind, entry.subject, entry.was) == (kind, str(row["id"]), 0)


def test_a_change_afterwards_is_found(upgraded: Archive) -> None:
    sqlite(upgraded.store).execute("UPDATE accesses SET purpose = 'quality' WHERE id = 3")
    (problem,) = verify(upgraded).problems
    assert problem.problem == 'purpose is "quality", the chain says "curiosity"'


def test_who_was_logged_in_is_added_to_no_old_row(upgraded: Archive) -> None:
    """An entry of before says nothing of it; so there must be nothing."""
    with as_if(upgraded, "UPDATE accesses SET via = 'web' WHERE id = 1"):
        (problem,) = verify(upgraded).problems
    assert problem.problem == 'via is "web", the chain says nothing of it'
    with as_if(upgraded, "UPDATE accesses SET login = 'a.roux' WHERE id = 1"):
        (problem,) = verify(upgraded).problems
    assert problem.problem == "what leads to a person was changed in it, or taken without a trace"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("via = 'cli'", 'via is "cli", the chain says "web"'),
        ("via = NULL", 'via is null, the chain says "web"'),
        *(
            (f"login = {value}", "what leads to a person was changed in it, or taken without a trace")
            for value in ("'b.petit'", "NULL")
        ),
    ],
)
def test_who_was_logged_in_is_in_the_chain_from_now_on(upgraded: Archive, change: str, told: str) -> None:
    use = Access(at=START, action="play", by="A. Roux", login="a.roux", via="web")
    number = upgraded.store.add_access(use)
    assert verify(upgraded).problems == []
    with as_if(upgraded, f"UPDATE accesses SET {change} WHERE id = {number}"):
        assert [found.problem for found in verify(upgraded).problems] == [told]
    assert upgraded.store.forget_accesses(START + timedelta(days=1)) > 0
    assert verify(upgraded).problems == [] and upgraded.store.access(number).login is None
    assert upgraded.store.access(number).via == "web"


def test_old_holds_hold(upgraded: Archive) -> None:
    """Also one that says less than they do now: it is overdue for review, so that somebody looks."""
    held = holds(upgraded.store)
    assert [(row.hold or {})["ground"] for row in held] == ["disciplinary", "criminal"]
    assert review_of(held[0]).year == 1
    report = purge(upgraded, due_date(START, "5 years"), TERMS)
    assert {stay.id for stay in report.held} == {row.id for row in held}
    assert upgraded.store.recordings()[-1].purged_at is not None
    for row in held:
        assert Paths(upgraded).file(row.id) is not None and upgraded.store.recording(row.id).caller == CALLER
        with pytest.raises(StoreError, match="on hold"):
            upgraded.store.update_recording(row.tombstone(Status.PURGED, START))
        release(upgraded, row.id, Access(at=START, action="release", by="A. Roux"))
    assert {gone.id for gone in purge(upgraded, due_date(START, "5 years"), TERMS).removed} == {
        row.id for row in held
    }
    assert verify(upgraded).problems == []


def test_the_purge_goes_on_where_it_was(upgraded: Archive) -> None:
    half = next(row for row in upgraded.store.recordings() if row.status is Status.PURGING)
    (removal,) = purge(upgraded, START + timedelta(days=1), TERMS).removed
    assert (removal.id, removal.why) == (half.id, "a purge that was interrupted, finished")


def test_what_is_due_leaves_no_byte(upgraded: Archive, old: Path) -> None:
    by = Access(at=START, action="release", by="B. Petit")
    assert b"612345678" in bytes_under(old) and b"A. Roux" in bytes_under(old)
    for row in holds(upgraded.store):
        release(upgraded, row.id, by)
    for years in (2, 3):
        purge(upgraded, due_date(START, f"{years} years"), TERMS)
    left = bytes_under(old)
    assert [
        word
        for word in (b"612345678", b"marie", b"192.0.2.7", SOUND, b"A. Roux", b"B. Petit")
        if word in left
    ] == []
    assert verify(upgraded).problems == []


def test_life_goes_on(upgraded: Archive) -> None:
    row = keep(upgraded, recording(500))
    assert upgraded.store.recordings()[0] == row
    assert verify(upgraded).problems == []
    (open_row,) = upgraded.unfinished()
    upgraded.erase(open_row.id, START)
    assert verify(upgraded).problems == []


def upgrade(folder: Path) -> None:
    Store(folder / "retention.db").close()


def test_an_upgrade_that_is_killed_is_done_by_the_next(
    old: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At every step: it is as it was, or as it will be."""
    before = rows_in(old / "retention.db")
    place = tmp_path_factory.mktemp("killed")
    whole = shutil.copytree(old, place / "whole")
    taken = steps(partial(upgrade, whole))
    for number, step in enumerate(taken):
        folder = shutil.copytree(old, place / f"{number}")
        killed_before(number, partial(upgrade, folder))
        with closing(sqlite3.connect(folder / "retention.db")) as connection:
            has_chain = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain'").fetchone()
            entries = connection.execute("SELECT count(*) FROM chain").fetchone()[0] if has_chain else None
        assert entries in (None, 1 + sum(map(len, before.values()))), step
        opened = archive(folder)
        assert verify(opened).problems == [] and verify(opened).lost == [], step
        opened.store.close()
        assert {table: rows_in(folder / "retention.db")[table] for table in before} == before, step
        shutil.rmtree(folder)


def test_several_who_open_it_at_once_upgrade_it_once(old: Path) -> None:
    barrier = threading.Barrier(6)
    failed: list[BaseException] = []

    def open_it() -> None:
        barrier.wait()
        try:
            upgrade(old)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    opened = archive(old)
    assert verify(opened).problems == []
    assert len(opened.store._read("SELECT * FROM chain WHERE kind = 'segment'", [])) == 1
    opened.store.close()


@WITHOUT_A_CHAIN
def test_many_rows_are_adopted_in_parts(old: Path) -> None:
    columns = "call_id, started_at, caller, called, decision, events"
    with closing(sqlite3.connect(old / "retention.db")) as connection, connection:
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1234) "
            f"INSERT INTO receipts (id, {columns}) SELECT 'r' || i, {columns} FROM receipts, n "
            f"WHERE id = (SELECT max(id) FROM receipts)"
        )
    opened = archive(old)
    assert verify(opened).problems == [] and verify(opened).counts["receipts"] > 1234
    opened.store.close()


@WITHOUT_A_CHAIN
def test_an_old_row_that_cannot_be_read_is_named(old: Path) -> None:
    """And nothing is half upgraded; the release of then still opens it."""
    with closing(sqlite3.connect(old / "retention.db")) as connection, connection:
        connection.execute("UPDATE receipts SET events = '[x' WHERE id = (SELECT max(id) FROM receipts)")
    before = rows_in(old / "retention.db")
    with pytest.raises(
        StoreError, match=r"retention\.db: receipt 20261124T222700123-00002c: events: not readable"
    ):
        Store(old / "retention.db")
    assert rows_in(old / "retention.db") == before

"""Whatever is done to what is kept, `verify` finds it, says where, and goes on to the end."""

import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.holds import place
from retention.purge import purge
from retention.records import Access, Hold, due_date
from retention.rows.chain import TABLES
from retention.sqlite import Store
from retention.verify import Verified, verify
from tests.kept import CALLER, START, Paths, archive, keep, receipt, recording, sqlite
from tests.tampering import HOLD, TERMS, as_if, lived_in, note_on, sql, use_of

COLUMNS = {
    table: [row["name"] for row in Store(":memory:")._read(f"PRAGMA table_info({table})", [])]
    for table in (*TABLES.values(), "chain")
}
ANOTHER = """CASE typeof("{0}") WHEN 'null' THEN '7' WHEN 'text' THEN "{0}" || 'x'
    ELSE CASE WHEN '{0}' IN ('flagged', 'incomplete') THEN 1 - "{0}" ELSE "{0}" + 1 END END"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    lived_in(folder).store.close()
    return folder


@pytest.fixture
def kept(original: Path, tmp_path: Path) -> Iterator[Archive]:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    kept = archive(tmp_path)
    yield kept
    kept.store.close()


def problems(found: Verified) -> list[str]:
    return [f"{finding.where}: {finding.problem}" for finding in found.problems]


def fullest(kept: Archive, kind: str) -> str | int:
    """The id of the row with the most in it."""
    rows = kept.store._read(f"SELECT * FROM {TABLES[kind]}", [])
    id: str | int = max(rows, key=lambda row: sum(value not in (None, "[]") for value in row.values()))["id"]
    return id


def value_of(kept: Archive, table: str, column: str, id: str | int) -> object:
    (row,) = kept.store._read(f'SELECT "{column}" AS value FROM {table} WHERE id = ?', [id])
    return row["value"]


COUNTS = dict(receipts=4, recordings=7, accesses=2, notes=1, sums=1, approvals=2, files=3)


def test_all_is_well_and_progress_comes_to_its_end(kept: Archive) -> None:
    seen: dict[str, tuple[int, int]] = {}
    found = verify(kept, lambda what, done, total: seen.update({what: (done, total)}))
    assert (found.problems, found.lost) == ([], [])
    assert found.head == kept.store.head() and found.counts == {"chain": found.head.seq} | COUNTS
    assert seen == {what: (count, count) for what, count in (COUNTS | {"names": 12}).items()}


@pytest.mark.parametrize("kind", TABLES)
def test_a_changed_value_in_each_column(kept: Archive, kind: str) -> None:
    table, id = TABLES[kind], fullest(kept, kind)
    for column in COLUMNS[table]:
        with as_if(kept, f"""UPDATE {table} SET "{column}" = {ANOTHER.format(column)} WHERE id = '{id}'"""):
            wheres = [finding.where for finding in verify(kept).problems]
        assert any(where.startswith(f"{kind} ") for where in wheres), (column, wheres)
        assert column == "id" or f"{kind} {id}" in wheres


@pytest.mark.parametrize("value", ["x'ff00'", "CAST(x'ff80' AS TEXT)", "'[x'", "'5'", "NULL", "1e999", "''"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_value_that_cannot_be(kept: Archive, kind: str, value: str) -> None:
    table, id = TABLES[kind], fullest(kept, kind)
    other = "UPDATE accesses SET purpose = 'curiosity' WHERE id = 1"
    tried = 0
    for column in COLUMNS[table]:
        before = value_of(kept, table, column, id)
        try:
            with as_if(kept, other, f"""UPDATE {table} SET "{column}" = {value} WHERE id = '{id}'"""):
                found = problems(verify(kept))
        except sqlite3.IntegrityError:  # the table itself refuses it
            continue
        tried += 1
        assert 'access 1: purpose is "curiosity", the chain says "quality"' in found
        if value != "NULL" or before is not None:
            assert any(line.startswith(f"{kind} ") and "curiosity" not in line for line in found), column
    assert tried > 3


def test_what_differs_is_named(kept: Archive) -> None:
    row = kept.store.recordings()[-2]
    sql(
        kept,
        f"UPDATE recordings SET expires_at = '2036-01-01T00:00:00.000Z' WHERE id = '{row.id}'",
        "UPDATE accesses SET purpose = 'curiosity' WHERE id = 1",
    )
    differs = [
        f'recording {row.id}: expires_at is "2036-01-01T00:00:00.000Z", '
        'the chain says "2027-05-24T22:20:00.123Z"',
        'access 1: purpose is "curiosity", the chain says "quality"',
    ]
    assert problems(verify(kept)) == differs
    with as_if(kept, "UPDATE accesses SET via = 'web' WHERE id = 1"):  # of what is null it says nothing
        assert 'access 1: via is "web", the chain says nothing of it' in problems(verify(kept))
    with as_if(kept, "UPDATE accesses SET login = 'a.roux' WHERE id = 1"):
        changed = "access 1: what leads to a person was changed in it, or taken without a trace"
        assert changed in problems(verify(kept))
    sql(kept, "ALTER TABLE receipts ADD COLUMN mood TEXT")  # a later version's, which old entries do not name
    assert problems(verify(kept)) == differs
    sql(kept, "UPDATE receipts SET mood = 'good' WHERE id = (SELECT max(id) FROM receipts)")
    assert problems(verify(kept))[0].endswith('mood is "good", the chain says nothing of it')


def test_no_finding_leads_to_a_person(kept: Archive) -> None:
    sql(
        kept,
        "UPDATE receipts SET caller = '+33699999999', operator = 'sip:paul@x'",
        "UPDATE accesses SET by = 'P. Durand'",
        """UPDATE recordings SET hold = '{"ground":"criminal","by":"P. Durand"}'""",
    )
    found = verify(kept)
    assert len(found.problems) > 10
    text = "\n".join(problems(found))
    assert not any(word in text for word in (CALLER, "99999", "paul", "Durand", "Roux", "Petit"))


def test_names_taken_by_hand_and_names_added(kept: Archive) -> None:
    id = fullest(kept, "receipt")
    sql(kept, f"UPDATE receipts SET caller = NULL, operator = NULL, salt = NULL WHERE id = '{id}'")
    sql(kept, "UPDATE recordings SET caller = '+33699999999' WHERE purged_at IS NOT NULL")
    gone = kept.store._read("SELECT id FROM recordings WHERE purged_at IS NOT NULL", [])[0]["id"]
    assert problems(verify(kept)) == [
        f"receipt {id}: what leads to a person was added to it",  # the Call-ID is there without a salt
        f"recording {gone}: what leads to a person was added to it",
    ]
    sql(kept, f"UPDATE receipts SET call_id = NULL, keyword = NULL, events = '[]' WHERE id = '{id}'")
    assert f"receipt {id}: what leads to a person was changed in it, or taken without a trace" in problems(
        verify(kept)
    )


def test_a_bit_that_turned_over_anywhere_in_a_value(kept: Archive) -> None:
    """In the file, as a disk does it."""
    chance = random.Random(3)
    database = Path(kept.store.path)
    values = {value.encode() for value in rows_in(database) if isinstance(value, str) and len(value) > 11}
    kept.store.close()
    whole, before = database.read_bytes(), rows_in(database)
    changed = 0
    for value in chance.sample(sorted(values), 100):
        damaged = bytearray(whole)
        place = whole.rindex(value) + chance.randrange(len(value))
        damaged[place] ^= 1 << chance.randrange(8)
        database.write_bytes(damaged)
        if rows_in(database) != before:  # else it is in an index, or in what a page no longer uses
            changed += 1
            assert is_found(database.parent), (value, place)
    assert changed > 50


def rows_in(database: Path) -> list[object]:
    """All values in all tables, read without any index."""
    with closing(sqlite3.connect(database)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        tables = (*TABLES.values(), "chain")
        rows = (row for table in tables for row in connection.execute(f"SELECT * FROM {table} NOT INDEXED"))
        return [value for row in rows for value in row]


def is_found(folder: Path) -> bool:
    kept = archive(folder)
    try:
        return verify(kept).problems != []
    finally:
        kept.store.close()


@pytest.mark.parametrize("kind", TABLES)
def test_a_row_that_is_gone(kept: Archive, kind: str) -> None:
    id = fullest(kept, kind)
    seq = value_of(kept, TABLES[kind], "chain_seq", id)
    sql(kept, f"DELETE FROM {TABLES[kind]} WHERE id = '{id}'")
    assert f"{kind} {id}: gone; entry {seq} of the chain tells of it" in problems(verify(kept))


def test_a_row_nobody_told_of(kept: Archive) -> None:
    columns = ", ".join(f'"{name}"' for name in COLUMNS["receipts"] if name != "id")
    sql(kept, f"INSERT INTO receipts (id, {columns}) SELECT 'another', {columns} FROM receipts LIMIT 1")
    sql(kept, "INSERT INTO accesses (at, action, outcome) VALUES ('x', 'play', 'done')")
    found = problems(verify(kept))
    assert any("receipt another: entry" in line and "tells of another" in line for line in found)
    assert "access 3: no entry of the chain tells of it" in found


def test_a_row_put_back_to_what_it_was(kept: Archive) -> None:
    row = recording(20)
    kept.store.add_receipt(receipt(row))
    (before,) = kept.store._read("SELECT * FROM receipts WHERE id = ?", [row.id])
    kept.store.update_receipt(receipt(row, decision="refused", decided_by="dtmf"))
    changes = ", ".join(f'"{name}" = :{name}' for name in before)
    sql(kept)
    sqlite(kept.store).conn.execute(f"UPDATE receipts SET {changes} WHERE id = :id", before)
    assert problems(verify(kept)) == [
        f"receipt {row.id}: put back to an earlier state, that of entry {before['chain_seq']}",
        f"receipt {row.id}: gone; entry {before['chain_seq'] + 1} of the chain tells of it",
    ]


def test_files_that_are_not_what_was_kept(kept: Archive) -> None:
    changed, lost, bare = (row for row in kept.store.recordings() if row.status == "closed")
    Paths(kept).final(changed.id, "flac").write_bytes(b"another sound!")
    Paths(kept).final(lost.id, "flac").unlink()
    Paths(kept).metadata(bare.id).unlink()
    Paths(kept).part("stranger").touch()
    (Paths(kept).recordings / "notes.txt").touch()
    assert set(problems(verify(kept))) == {
        f"{changed.id}.flac: its hash is not that of the file that was recorded",
        f"{lost.id}: the file of a closed recording is missing",
        f"{bare.id}.json: the metadata of a closed recording is missing",
        "stranger.part: no row in the database",
        "notes.txt: not a file of the agent",
    }


def test_what_was_forgotten_is_no_loss(kept: Archive) -> None:
    far = due_date(START, "2 years")
    report = purge(kept, far, TERMS)
    assert (report.receipts, report.notes, purge(kept, far, TERMS).uses) == (3, 1, 3)
    assert [stay.why for stay in report.held] == ["on hold (criminal), to be reviewed 2027-01-01"]
    assert problems(verify(kept)) == []
    for table in ("receipts", "accesses", "notes"):
        rows = kept.store._read(f"SELECT * FROM {table}", [])
        assert {row["salt"] for row in rows} == {None}
        entries = kept.store.entries([row["chain_seq"] for row in rows])
        assert {entry.personal for entry in entries.values()} == {""}
        assert all(entry.was > 0 for entry in entries.values())


def test_a_service_that_writes_meanwhile_is_no_problem(kept: Archive) -> None:
    other = archive(Path(kept.store.path).parent)
    over = threading.Event()
    hold = Hold(**HOLD | {"review": f"{due_date(START, '1 year'):%Y-%m-%d}"})

    def live() -> None:
        minute = 100
        while not over.is_set():
            minute += 1
            row = keep(other, recording(minute))
            place(other, row.id, hold, Access(at=START, action="hold"))
            past = keep(other, recording(minute - 60 * 24 * 300))
            other.store.add_access(use_of(past))
            other.store.add_note(note_on(past))
            purge(other, START, TERMS)

    service = threading.Thread(target=live)
    service.start()
    found: list[Verified] = []
    try:
        while len({one.head.seq for one in found}) < 10 and len(found) < 2_000:  # some come between writes
            found.append(verify(kept))
    finally:
        over.set()
        service.join()
    assert [problems(one) for one in found] == [[]] * len(found)
    assert found[-1].head.seq > found[0].head.seq
    assert verify(other).problems == []
    other.store.close()

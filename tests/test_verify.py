"""Whatever is done to what is kept, `verify` finds it, says where, and goes on to the end."""

import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.holds import place
from retention.purge import purge
from retention.records import Access, Hold, Status, due_date
from retention.roots import make_root
from retention.rows.chain import DAMAGED, TABLES, ChainEntry, ChainHead, damaged_path, read_head
from retention.rows.selection import Selection
from retention.sqlite import Store
from retention.verify import Verified, verify
from tests.kept import CALLER, START, TERMS, Paths, archive, keep, receipt, recording, sqlite
from tests.tampering import HOLD, as_if, lived_in, make_anew, note_on, sql, use_of

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
    changed, lost, _ = (row for row in kept.store.recordings() if row.status == "closed")
    Paths(kept).final(changed.id, "flac").write_bytes(b"another sound!")
    Paths(kept).final(lost.id, "flac").unlink()
    assert set(problems(verify(kept))) == {
        f"{changed.id}.flac: its hash is not that of the file that was recorded",
        f"{lost.id}: the file of a closed recording is missing",
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


# --- the chain itself; what is done to all of it, hashes and all, shows by its head ---


FAR = 10**15
WRONG_HASH = "its hash is not that of its content behind the one before"


@pytest.fixture
def copy(kept: Archive, tmp_path: Path) -> Path:
    """Of the head as it is now."""
    return Path(shutil.copy(tmp_path / "retention.head", tmp_path / "elsewhere"))


def entries(kept: Archive) -> list[ChainEntry]:
    return [ChainEntry(**row) for row in kept.store._read("SELECT * FROM chain ORDER BY seq", [])]


def cut_off(head: ChainHead, where: object = "retention.head") -> str:
    return f"{where}: the chain has no entry {head.seq} with this hash: its tail was cut off"


def test_a_changed_byte_in_each_column(kept: Archive) -> None:
    for column in COLUMNS["chain"]:
        for value in ("'x'", "x'ff'", "1000", "''", "CAST(x'ff80' AS TEXT)"):
            if column == "seq" and value != "1000":
                continue  # what is no number, the table refuses
            with as_if(kept, f"UPDATE chain SET {column} = {value} WHERE seq = 9"):
                found = problems(verify(kept))
            assert any(line.startswith("chain entry ") for line in found), (column, value)
    with as_if(kept, "UPDATE chain SET at = at || ' ' WHERE seq = 5"):
        assert problems(verify(kept)) == [f"chain entry 5: {WRONG_HASH}"]  # and no other is named


@pytest.mark.parametrize(("statements", "told"), [
    (["DELETE FROM chain WHERE seq = 5"], ["chain entry 6: entry 5 before it is missing"]),
    (["DELETE FROM chain WHERE seq < 4"], ["chain entry 4: entries 1 to 3 before it are missing"]),
    (["UPDATE chain SET seq = -1 WHERE seq = 5", "UPDATE chain SET seq = 5 WHERE seq = 6",
      "UPDATE chain SET seq = 6 WHERE seq = -1"], ["chain entry 5: ", "chain entry 6: "]),
    ([f"UPDATE chain SET seq = {FAR}, was = {FAR} WHERE seq = 5",  # nothing hangs
      f"UPDATE receipts SET chain_seq = {FAR}", "UPDATE chain SET seq = -4 WHERE seq = 6"],
     ["its number cannot be"]),
    *(([f"DELETE FROM chain WHERE seq > (SELECT max(seq) - {n} FROM chain)"], [""]) for n in (1, 2, 5)),
])  # fmt: skip
def test_entries_that_are_gone_or_elsewhere(kept: Archive, statements: list[str], told: list[str]) -> None:
    head = cut_off(kept.store.head())
    with as_if(kept, *statements):
        found = problems(verify(kept))
    for one in told:
        assert any((one or head) in line for line in found), found


def test_a_guard_that_is_gone_or_another(kept: Archive) -> None:
    connection = sqlite(kept.store).conn
    connection.execute("DROP TRIGGER held_recordings_stay")
    connection.execute("DROP TRIGGER chain_stay")
    connection.execute("CREATE TRIGGER chain_stay BEFORE DELETE ON chain BEGIN SELECT 1; END")
    assert problems(verify(kept)) == [
        f"database: its trigger {name} is missing or another: what it refused is possible"
        for name in ("held_recordings_stay", "chain_stay")
    ]


@pytest.mark.parametrize("changes", [["operator = 'sip:999@x'", "salt = 'x'"], ["chain_seq = 1"]])
def test_what_was_altered_shows_after_the_program_has_written_the_row_again(
    kept: Archive, changes: list[str]
) -> None:
    """The new entry tells of the row as it is now; it must not cover what somebody had made of it."""
    row = next(iter(kept.store.recordings(Selection(status=Status.CLOSED))))
    for change in changes:
        sql(kept, f"UPDATE recordings SET {change} WHERE id = '{row.id}'")
    before = kept.store.head().seq
    kept.store.update_recording(replace(row, flagged=not row.flagged))
    kept.store.update_recording(row)
    told = f"recording {row.id}: had been altered when entry {before + 1} "
    assert [line for line in problems(verify(kept)) if line.startswith(told)] != []


def test_a_tail_cut_off_clean_shows_by_its_exported_head_alone_or_a_copy_of_it(
    kept: Archive, copy: Path, tmp_path: Path
) -> None:
    head, last = kept.store.head(), entries(kept)[-1]
    assert (last.kind, last.was) == ("note", 0)
    sql(kept, f"DELETE FROM chain WHERE seq = {last.seq}", f"DELETE FROM notes WHERE id = {last.subject}")
    assert problems(verify(kept)) == [cut_off(head)]
    kept.store.add_recording(recording(90))  # writing on neither helps, nor hides it
    keep(kept, recording(91))
    assert read_head(tmp_path / "retention.head") == head
    assert problems(verify(kept)) == [cut_off(head)]
    (tmp_path / "retention.head").unlink()
    assert problems(verify(kept)) == ["retention.head: missing: a tail cut off the chain would not show"]
    keep(kept, recording(92))
    assert problems(verify(kept)) == []
    assert problems(verify(kept, heads=(copy,))) == [cut_off(head, copy)]


def test_an_older_head_is_still_in_the_chain(kept: Archive, copy: Path) -> None:
    keep(kept, recording(91))
    assert problems(verify(kept, heads=(copy,))) == []
    copy.write_text("not a head")
    assert problems(verify(kept, heads=(copy,))) == [f"{copy}: not the head of a chain"]


def test_one_that_cannot_be_read_is_put_aside_and_told_until_somebody_takes_it_away(
    kept: Archive, tmp_path: Path
) -> None:
    file = tmp_path / "retention.head"
    file.write_text("not a head")
    assert problems(verify(kept)) == ["retention.head: not the head of a chain"]
    keep(kept, recording(91))
    assert read_head(file) == kept.store.head()
    assert damaged_path(file).read_text() == "not a head"
    for _ in range(2):
        assert problems(verify(kept)) == [f"retention.head.damaged: {DAMAGED}"]
    damaged_path(file).unlink()
    assert problems(verify(kept)) == []


def without_a_refusal(chain: list[ChainEntry]) -> Iterable[ChainEntry]:
    return [replace(entry, public=entry.public.replace('"fail', '"clos')) for entry in chain]


def in_another_order(chain: list[ChainEntry]) -> Iterable[ChainEntry]:
    first, second = chain[1].seq, chain[2].seq
    return [chain[0], replace(chain[2], seq=first), replace(chain[1], seq=second), *chain[3:]]


def one_less(chain: list[ChainEntry]) -> Iterable[ChainEntry]:
    return [replace(entry, seq=entry.seq - (entry.seq > 8)) for entry in chain if entry.seq != 8]


@pytest.mark.parametrize("change", [without_a_refusal, in_another_order, one_less])
def test_a_chain_made_anew_shows_by_its_head(
    kept: Archive, change: Callable[[list[ChainEntry]], Iterable[ChainEntry]]
) -> None:
    head = kept.store.head()
    make_anew(kept, change)
    found = problems(verify(kept))
    assert cut_off(head) in found and not [line for line in found if "its hash is not" in line]


def lost_line(found: Verified) -> list[str]:
    return [f"{one.where}: {one.problem.partition(':')[0]}" for one in found.lost]


def opened_again(kept: Archive, folder: Path, database: bytes | None = None) -> Archive:
    """With this database in place of its own."""
    kept.store.close()
    if database is not None:
        (folder / "retention.db").write_bytes(database)
    return archive(folder)


def test_a_database_that_was_lost(kept: Archive, copy: Path, tmp_path: Path) -> None:
    head = kept.store.head()
    root = make_root(kept.store, datetime.now(UTC) + timedelta(days=1))
    assert root is not None and root.size == head.seq
    shutil.rmtree(Paths(kept).recordings)
    (tmp_path / "retention.db").unlink()
    anew = opened_again(kept, tmp_path)
    keep(anew, recording(200))
    found = verify(anew, heads=(copy,))
    assert problems(found) == []
    assert lost_line(found) == [
        f"chain entry {head.seq + 1}: entries 1 to {head.seq} are lost",
        f"root {root.date}.json: its last entry is lost",
    ]
    segment = anew.store.entries([head.seq + 1])[head.seq + 1]
    assert (segment.kind, segment.subject, segment.was) == ("segment", "the database was lost", 0)
    assert segment.follows(head.hash)
    anew.store.close()


def test_an_older_database_that_came_back(kept: Archive, tmp_path: Path) -> None:
    kept = opened_again(kept, tmp_path)
    backup = (tmp_path / "retention.db").read_bytes()
    old, new = kept.store.head(), keep(kept, recording(200))
    head = kept.store.head()
    kept = opened_again(kept, tmp_path, backup)
    assert cut_off(head) in problems(verify(kept))
    kept.store.begin_segment("restored from a backup")
    found = verify(kept)
    assert problems(found) == [f"{new.id}.{kind}: no row in the database" for kind in ("flac", "json")]
    assert lost_line(found) == [f"chain entry {head.seq + 1}: entries {old.seq + 1} to {head.seq} are lost"]
    now = kept.store.head()
    assert read_head(tmp_path / "retention.head") == now == ChainHead(head.seq + 1, now.hash)
    kept.store.begin_segment("by hand")  # nothing is lost, and it says so
    assert lost_line(verify(kept)) == lost_line(found) and '"previous":null' in entries(kept)[-1].public
    kept.store.close()


def test_an_older_database_that_came_back_and_went_on_for_longer(kept: Archive, tmp_path: Path) -> None:
    kept = opened_again(kept, tmp_path)
    backup = (tmp_path / "retention.db").read_bytes()
    kept.store.add_recording(recording(200))
    lost = kept.store.head()
    kept = opened_again(kept, tmp_path, backup)
    for number in range(3):
        keep(kept, recording(300 + number))
    kept.store.begin_segment("restored from a backup")
    found = verify(kept)
    assert problems(found) == []
    last = kept.store.head().seq
    assert lost_line(found) == [f"chain entry {last}: entries of another copy, up to {lost.seq}, are lost"]
    assert kept.store.knows(lost)
    keep(kept, recording(400))
    assert read_head(tmp_path / "retention.head") == kept.store.head()
    kept.store.close()

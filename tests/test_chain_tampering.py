"""What is done to the chain itself shows; what is done to all of it, hashes and all, shows by its head."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.records import Status
from retention.rows.chain import DAMAGED, ChainEntry, ChainHead, damaged_path, read_head
from retention.rows.selection import Selection
from retention.verify import Verified, verify
from tests.kept import Paths, archive, keep, recording, sqlite
from tests.tampering import as_if, lived_in, make_anew, sql
from tests.test_verify import COLUMNS, problems

FAR = 10**15
WRONG_HASH = "its hash is not that of its content behind the one before"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    kept = lived_in(tmp_path)
    yield kept
    kept.store.close()


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
    shutil.rmtree(Paths(kept).recordings)
    (tmp_path / "retention.db").unlink()
    anew = opened_again(kept, tmp_path)
    keep(anew, recording(200))
    found = verify(anew, heads=(copy,))
    assert problems(found) == []
    assert lost_line(found) == [f"chain entry {head.seq + 1}: entries 1 to {head.seq} are lost"]
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

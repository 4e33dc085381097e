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


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    kept = lived_in(tmp_path)
    yield kept
    kept.store.close()


def entries(kept: Archive) -> list[ChainEntry]:
    return [ChainEntry(**row) for row in kept.store._read("SELECT * FROM chain ORDER BY seq", [])]


def test_a_changed_byte_in_each_column(kept: Archive) -> None:
    middle = 9
    for column in COLUMNS["chain"]:
        for value in ("'x'", "x'ff'", "1000", "''", "CAST(x'ff80' AS TEXT)"):
            if column == "seq" and value != "1000":
                continue  # what is no number, the table refuses
            with as_if(kept, f"UPDATE chain SET {column} = {value} WHERE seq = {middle}"):
                found = problems(verify(kept))
            assert any(line.startswith("chain entry ") for line in found), (column, value)


def test_the_first_wrong_hash_is_named_and_no_other(kept: Archive) -> None:
    with as_if(kept, "UPDATE chain SET at = at || ' ' WHERE seq = 5"):
        found = problems(verify(kept))
    assert found == ["chain entry 5: its hash is not that of its content behind the one before"]


def test_a_guard_that_is_gone_or_another(kept: Archive) -> None:
    """By a tool that copies tables and not what watches over them, say."""
    assert verify(kept).problems == []
    connection = sqlite(kept.store).conn
    connection.execute("DROP TRIGGER held_recordings_stay")
    connection.execute("DROP TRIGGER chain_stay")
    connection.execute("CREATE TRIGGER chain_stay BEFORE DELETE ON chain BEGIN SELECT 1; END")
    assert problems(verify(kept)) == [
        f"database: its trigger {name} is missing or another: what it refused is possible"
        for name in ("held_recordings_stay", "chain_stay")
    ]


def test_what_was_altered_shows_after_the_program_has_written_the_row_again(kept: Archive) -> None:
    """The new entry tells of the row as it is now; it must not cover what somebody had made of it."""
    row = next(iter(kept.store.recordings(Selection(status=Status.CLOSED))))
    altered = (
        "UPDATE recordings SET operator = 'sip:999@x' WHERE id = '{0}'",
        "UPDATE recordings SET salt = 'x' WHERE id = '{0}'",
    )
    for change in altered:
        sql(kept, change.format(row.id))
    before = kept.store.head().seq
    kept.store.update_recording(replace(row, flagged=not row.flagged))
    kept.store.update_recording(row)
    found = problems(verify(kept))
    assert len(found) == 1 and found[0].startswith(
        f"recording {row.id}: had been altered when entry {before + 1} "
    )


def test_a_row_whose_entry_was_taken_shows_after_it_was_written_again(kept: Archive) -> None:
    row = next(iter(kept.store.recordings(Selection(status=Status.CLOSED))))
    sql(kept, f"UPDATE recordings SET chain_seq = 1 WHERE id = '{row.id}'")
    kept.store.update_recording(row)
    assert any(
        line.startswith(f"recording {row.id}: had been altered when ") for line in problems(verify(kept))
    )


def test_a_dropped_entry(kept: Archive) -> None:
    with as_if(kept, "DELETE FROM chain WHERE seq = 5"):
        found = problems(verify(kept))
    assert "chain entry 6: entry 5 before it is missing" in found
    with as_if(kept, "DELETE FROM chain WHERE seq < 4"):
        assert "chain entry 4: entries 1 to 3 before it are missing" in problems(verify(kept))


def test_two_entries_in_each_other_s_place(kept: Archive) -> None:
    swap = [
        "UPDATE chain SET seq = -1 WHERE seq = 5",
        "UPDATE chain SET seq = 5 WHERE seq = 6",
        "UPDATE chain SET seq = 6 WHERE seq = -1",
    ]
    with as_if(kept, *swap):
        found = problems(verify(kept))
    assert {line.partition(":")[0] for line in found} >= {"chain entry 5", "chain entry 6"}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_tail_that_was_cut_off(kept: Archive, count: int) -> None:
    head = kept.store.head()
    last = head.seq - count
    with as_if(kept, f"DELETE FROM chain WHERE seq > {last}"):
        assert (
            f"retention.head: the chain has no entry {head.seq} with this hash: its tail was cut off"
            in problems(verify(kept))
        )


def cut_clean(kept: Archive) -> None:
    """The last use, with its entry, its row and its number: what is left is a whole chain."""
    last = entries(kept)[-1]
    assert (last.kind, last.was) == ("note", 0)
    sql(kept, f"DELETE FROM chain WHERE seq = {last.seq}", f"DELETE FROM notes WHERE id = {last.subject}")


def test_a_tail_cut_off_clean_shows_by_its_exported_head_alone(kept: Archive, tmp_path: Path) -> None:
    head = kept.store.head()
    cut_clean(kept)
    told = f"the chain has no entry {head.seq} with this hash: its tail was cut off"
    assert problems(verify(kept)) == [f"retention.head: {told}"]
    kept.store.add_recording(recording(90))  # writing on neither helps, nor hides it
    keep(kept, recording(91))
    assert read_head(tmp_path / "retention.head") == head
    assert problems(verify(kept)) == [f"retention.head: {told}"]


def test_with_the_head_s_file_gone_too_a_copy_of_it_shows_it(kept: Archive, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copy(tmp_path / "retention.head", copy)
    head = kept.store.head()
    cut_clean(kept)
    (tmp_path / "retention.head").unlink()
    assert problems(verify(kept)) == ["retention.head: missing: a tail cut off the chain would not show"]
    keep(kept, recording(91))
    assert problems(verify(kept)) == []
    assert problems(verify(kept, heads=(copy,))) == [
        f"{copy}: the chain has no entry {head.seq} with this hash: its tail was cut off"
    ]


def test_an_older_head_is_still_in_the_chain(kept: Archive, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copy(tmp_path / "retention.head", copy)
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
    return [
        entry if entry.seq < 8 else replace(entry, seq=entry.seq - 1) for entry in chain if entry.seq != 8
    ]


@pytest.mark.parametrize("change", [without_a_refusal, in_another_order, one_less])
def test_a_chain_made_anew_shows_by_its_head(
    kept: Archive, change: Callable[[list[ChainEntry]], Iterable[ChainEntry]]
) -> None:
    """Its hashes are right; the head that was exported, or stamped, is not its."""
    head = kept.store.head()
    make_anew(kept, change)
    found = problems(verify(kept))
    assert not [line for line in found if "its hash is not" in line]
    assert f"retention.head: the chain has no entry {head.seq} with this hash: its tail was cut off" in found


def test_a_number_that_cannot_be_ends_the_walk_and_nothing_hangs(kept: Archive) -> None:
    far = 10**15
    with as_if(
        kept,
        f"UPDATE chain SET seq = {far}, was = {far} WHERE seq = 5",
        f"UPDATE receipts SET chain_seq = {far}",
        "UPDATE chain SET seq = -4 WHERE seq = 6",
    ):
        found = problems(verify(kept))
    assert any("its number cannot be" in line for line in found)


# --- a chain that goes on ---


def lost_line(found: Verified) -> list[str]:
    return [f"{one.where}: {one.problem.partition(':')[0]}" for one in found.lost]


def test_a_database_that_was_lost(kept: Archive, tmp_path: Path) -> None:
    """Numbers and hashes go on behind its last head, so that copies of that still mean something."""
    copy = tmp_path / "elsewhere"
    shutil.copy(tmp_path / "retention.head", copy)
    head = kept.store.head()
    kept.store.close()
    shutil.rmtree(Paths(kept).recordings)
    (tmp_path / "retention.db").unlink()
    anew = archive(tmp_path)
    keep(anew, recording(200))
    found = verify(anew, heads=(copy,))
    assert problems(found) == []
    assert lost_line(found) == [f"chain entry {head.seq + 1}: entries 1 to {head.seq} are lost"]
    segment = anew.store.entries([head.seq + 1])[head.seq + 1]
    assert (segment.kind, segment.subject, segment.was) == ("segment", "the database was lost", 0)
    assert segment.follows(head.hash)
    anew.store.close()


def test_an_older_database_that_came_back(kept: Archive, tmp_path: Path) -> None:
    """From a backup; the head tells of what it never knew."""
    kept.store.close()
    backup = (tmp_path / "retention.db").read_bytes()
    kept = archive(tmp_path)
    old, new = kept.store.head(), keep(kept, recording(200))
    head = kept.store.head()
    kept.store.close()
    (tmp_path / "retention.db").write_bytes(backup)
    kept = archive(tmp_path)
    assert any("its tail was cut off" in line for line in problems(verify(kept)))
    kept.store.begin_segment("restored from a backup")
    found = verify(kept)
    assert problems(found) == [
        f"{new.id}.flac: no row in the database",
        f"{new.id}.json: no row in the database",
    ]
    assert lost_line(found) == [f"chain entry {head.seq + 1}: entries {old.seq + 1} to {head.seq} are lost"]
    assert (
        read_head(tmp_path / "retention.head")
        == kept.store.head()
        == ChainHead(head.seq + 1, kept.store.head().hash)
    )
    kept.store.close()


def test_an_older_database_that_came_back_and_went_on_for_longer(kept: Archive, tmp_path: Path) -> None:
    """Its own numbers go on then; nothing of what there is now is missing."""
    kept.store.close()
    backup = (tmp_path / "retention.db").read_bytes()
    kept = archive(tmp_path)
    kept.store.add_recording(recording(200))
    lost = kept.store.head()
    kept.store.close()
    (tmp_path / "retention.db").write_bytes(backup)
    kept = archive(tmp_path)
    for number in range(3):
        keep(kept, recording(300 + number))
    kept.store.begin_segment("restored from a backup")
    found = verify(kept)
    assert problems(found) == []
    assert lost_line(found) == [
        f"chain entry {kept.store.head().seq}: entries of another copy, up to {lost.seq}, are lost"
    ]
    assert kept.store.knows(lost)
    keep(kept, recording(400))
    assert read_head(tmp_path / "retention.head") == kept.store.head()
    kept.store.close()


def test_a_segment_with_nothing_lost_says_so(kept: Archive) -> None:
    kept.store.begin_segment("by hand")
    found = verify(kept)
    assert (problems(found), found.lost) == ([], [])
    assert '"previous":null' in entries(kept)[-1].public

"""What moves stays what it was: the same chain, the same rows, the same bytes; and it is there once."""

import os
import random
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.erase import begin_purge, erase_row
from retention.files import Moved, Places, read_moved
from retention.marks import Mark
from retention.move import MoveError, move
from retention.recording_files import Area, FileKind, sha256
from retention.records import Status
from retention.reserve import Reserve
from retention.rows.chain import read_head
from retention.rows.rows import StoreError
from retention.sqlite import Store
from tests.crashing import killed_before, steps
from tests.kept import Paths, archive, keep, receipt, recording
from tests.moving import NOW, TRACE, all_rows, entries, moved, problems, settled, there


@pytest.fixture
def here(tmp_path: Path) -> Archive:
    (tmp_path / "here").mkdir()
    return settled(tmp_path / "here")


def test_the_chain_is_the_same_entry_for_entry_and_goes_on(here: Archive, tmp_path: Path) -> None:
    before = entries(tmp_path / "here" / "retention.db")
    head = here.store.head()
    done = moved(here, tmp_path / "there")
    after = entries(tmp_path / "there" / "retention.db")
    assert after[:-1] == before and done.head == head
    assert after[-1][2] == "access"
    assert problems(tmp_path / "there") == []
    assert archive(tmp_path / "there").store.knows(head)
    assert read_head(tmp_path / "there" / "retention.head") == archive(tmp_path / "there").store.head()


def test_every_row_is_there_with_its_number_and_salt(here: Archive, tmp_path: Path) -> None:
    here.store.keep_rejected_row({"id": 1, "hour": "2026-11-24T22", "receipts": 7})
    here.store.keep_clock_row({"id": 1, "seen": "{}", "suspended": None})
    before = all_rows(tmp_path / "here" / "retention.db")
    assert all(before.values())
    moved(here, tmp_path / "there")
    after = all_rows(tmp_path / "there" / "retention.db")
    traced = after["accesses"].pop()
    assert after == before
    (access,) = [one for number, one in archive(tmp_path / "there").store.numbered_accesses(limit=1)]
    assert traced[0] == len(before["accesses"]) + 1
    assert (access.action, access.detail) == ("migrate", f"from {tmp_path / 'here' / 'retention.db'}")
    assert access.by == "A. Roux"


def test_files_and_keys_are_there_by_their_bytes(here: Archive, tmp_path: Path) -> None:
    moved(here, tmp_path / "there")
    theirs = archive(tmp_path / "there")
    found = 0
    for area in Area:
        assert theirs.files.names(area) == here.files.names(area)
    for row in here.store.recordings():
        for kind in FileKind:
            assert theirs.files.exists(row.id, kind) == here.files.exists(row.id, kind)
            if here.files.exists(row.id, kind):
                assert sha256(theirs.files, row.id, kind) == sha256(here.files, row.id, kind)
                found += 1
    assert found == 4 * 2 + 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "there").rglob("*"))


def test_what_is_here_stays_as_it_was_and_takes_nothing_more(here: Archive, tmp_path: Path) -> None:
    names = ("retention.moved", "retention.turn")
    before = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    moved(here, tmp_path / "there")
    after = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} <= {*names}
    assert {path: after[path] for path in before} == before
    with pytest.raises(StoreError, match=r"its rows have moved to there; accepted: a configuration that"):
        here.store.add_receipt(receipt(recording(9)))
    with pytest.raises(StoreError, match="its rows have moved to there"):
        archive(tmp_path / "here").store.add_access(TRACE)
    assert here.store.recordings()


def test_a_note_says_where_it_went_and_until_when_what_is_here_may_stay(
    here: Archive, tmp_path: Path
) -> None:
    done = moved(here, tmp_path / "there")
    closed = [row for row in here.store.recordings() if row.status is Status.CLOSED and row.hold is None]
    assert done.until == min(row.expires_at for row in closed)
    note = read_moved(tmp_path / "here" / "retention.moved")
    assert note == Moved(to="there", at=NOW, until=done.until, done=True, database="retention.db")


def test_it_can_come_back(here: Archive, tmp_path: Path) -> None:
    before = entries(tmp_path / "here" / "retention.db")
    moved(here, tmp_path / "there")
    moved(archive(tmp_path / "there"), tmp_path / "back")
    assert entries(tmp_path / "back" / "retention.db")[: len(before)] == before
    assert problems(tmp_path / "back") == []


# what must be over before


def test_a_call_that_is_on_keeps_it_from_moving(here: Archive, tmp_path: Path) -> None:
    here.store.add_receipt(receipt(recording(9), ended_at=None))
    with pytest.raises(MoveError, match=r"calls have not ended in it \(1\): start the agent once"):
        moved(here, tmp_path / "there")
    assert not (tmp_path / "here" / "retention.moved").exists()
    assert Store(tmp_path / "there" / "retention.arriving").head().seq == 0


def test_what_must_be_erased_keeps_it_from_moving(here: Archive, tmp_path: Path) -> None:
    row = keep(here, recording(9))
    os.close(here.marks.make(Mark(id=row.id, at=NOW)))
    with pytest.raises(MoveError, match=f"{row.id}: must be erased, and is not: see `sipagent purge`"):
        moved(here, tmp_path / "there")


def test_what_is_half_purged_keeps_it_from_moving(here: Archive, tmp_path: Path) -> None:
    assert begin_purge(here, [keep(here, recording(9)).id])
    with pytest.raises(MoveError, match=r"recordings are half purged \(1\)"):
        moved(here, tmp_path / "there")


def test_what_waits_for_the_database_keeps_it_from_moving(here: Archive, tmp_path: Path) -> None:
    assert here.store.places is not None
    reserve = Reserve(here.store.places.reserve(), calls=1)
    reserve.allocate()
    reserve.write([receipt(recording(9))])
    with pytest.raises(MoveError, match=r"retention\.reserve: calls wait in it for the database"):
        moved(here, tmp_path / "there")


def test_nothing_in_clear_goes_where_only_what_is_sealed_may(here: Archive, tmp_path: Path) -> None:
    target = replace(there(tmp_path / "there"), sealed_only=True)
    with pytest.raises(MoveError, match=r"recordings are stored in clear \(3, the last of them 2026"):
        move(here, target, TRACE, None)


# where something is already


def test_rows_of_others_are_left_alone(here: Archive, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with Store(tmp_path / "there" / "retention.arriving") as store:
        store.add_access(TRACE)
    with pytest.raises(MoveError, match="there: has other rows; accepted: a database without any"):
        moved(here, tmp_path / "there")
    assert not (tmp_path / "here" / "retention.moved").exists()


def test_what_another_move_has_begun_is_left_alone(here: Archive, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = settled(tmp_path / "other")
    target = there(tmp_path / "there")
    assert target.rows is not None
    with other.store.still() as head:
        from retention.move import Origin

        target.rows.begin(Origin(str(other.store.path), head))
    with pytest.raises(MoveError, match=r"what comes from .*other/retention\.db is not all there yet"):
        moved(here, tmp_path / "there")


def test_what_was_moved_is_not_moved_twice(here: Archive, tmp_path: Path) -> None:
    moved(here, tmp_path / "there")
    places = Places(tmp_path / "there" / "retention.db")
    before = places.database.read_bytes()
    places.database.rename(places.arriving)
    assert moved(here, tmp_path / "there").again
    assert places.database.read_bytes() == before


# killed


def test_it_is_killed_anywhere_and_goes_on(here: Archive, tmp_path: Path) -> None:
    """At random, and at each of the last steps, where it is done in one place and not yet in another."""
    before = entries(tmp_path / "here" / "retention.db")
    rows = all_rows(tmp_path / "here" / "retention.db")
    traced = len(rows.pop("accesses")) + 1
    count = len(steps(lambda: moved(archive(tmp_path / "here"), tmp_path / "whole")))
    assert count > 60
    for step in (*random.sample(range(count - 20), 20), *range(count - 20, count)):
        folder = tmp_path / f"there-{step}"
        (tmp_path / "here" / "retention.moved").unlink()
        assert killed_before(step, partial(_move_between, tmp_path / "here", folder))
        if not (folder / "retention.db").exists():
            moved(archive(tmp_path / "here"), folder)
        assert entries(folder / "retention.db")[:-1] == before, step
        after = all_rows(folder / "retention.db")
        assert len(after.pop("accesses")) == traced
        assert after == rows
        assert problems(folder) == [], step
        shutil.rmtree(folder)


def _move_between(here: Path, folder: Path) -> None:
    moved(archive(here), folder)


def test_rows_that_came_since_it_was_killed_come_too(here: Archive, tmp_path: Path) -> None:
    """And what went goes there: also the sound that was copied."""
    gone = keep(here, recording(8))
    count = len(steps(lambda: moved(archive(tmp_path / "here"), tmp_path / "whole")))
    (tmp_path / "here" / "retention.moved").unlink()
    assert killed_before(count - 8, partial(_move_between, tmp_path / "here", tmp_path / "there"))
    assert (tmp_path / "there" / "recordings" / f"{gone.id}.flac").exists()
    (tmp_path / "here" / "retention.moved").unlink()
    new = keep(here, recording(9))
    erase_row(here, gone.id, NOW)
    before = entries(tmp_path / "here" / "retention.db")
    moved(here, tmp_path / "there")
    assert entries(tmp_path / "there" / "retention.db")[:-1] == before
    theirs = archive(tmp_path / "there")
    assert theirs.store.recording(gone.id).status is Status.ERASED
    assert not Paths(theirs).final(gone.id, "flac").exists()
    assert Paths(theirs).final(new.id, "flac").exists()
    assert problems(tmp_path / "there") == []

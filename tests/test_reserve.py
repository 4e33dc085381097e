"""The reserve: what it holds, whatever it is torn by, and how the next start reads it in."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive import Archive
from retention.files import Places
from retention.records import Event, Receipt, Status
from retention.reserve import (
    BASE,
    PER_CALL,
    Record,
    Reserve,
    ReserveError,
    ReserveFull,
    at_work,
    is_allocated,
    is_later,
    left_behind,
    problems,
    read_reserve,
    take_in,
)
from retention.verify import orphans, verify
from tests import tiers
from tests.kept import START, Paths, keep, receipt, recording, sqlite
from tests.parts import no_more_than
from tests.raising import no_room
from tests.tampering import sum_of

ROW = recording()
RECORDS: list[Record] = [receipt(ROW), ROW, sum_of(41), replace(sum_of(3), what="lost", code=None, by=None)]


def allocated(path: Path, calls: int = 0) -> Reserve:
    reserve = Reserve(path, calls)
    reserve.allocate()
    return reserve


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "retention.db")


@pytest.fixture
def reserve(places: Places) -> Iterator[Reserve]:
    reserve = allocated(places.reserve(), 2)
    yield reserve
    reserve.close()


def test_it_has_its_room_before_it_is_needed_and_keeps_it(reserve: Reserve) -> None:
    """What is written is read, and what is emptied leaves no byte."""
    there = reserve.path.stat()
    assert stat.S_IMODE(there.st_mode) == 0o600 and there.st_size == 2 * (BASE + 2 * PER_CALL)
    for _ in range(2):
        assert read_reserve(reserve.path) == [] and reserve.is_empty and is_allocated(reserve.path)
        reserve.write(RECORDS)
        assert read_reserve(reserve.path) == RECORDS and not reserve.is_empty
        for number in range(3):
            reserve.write([receipt(ROW, notice_played_ms=number)])
            (found,) = read_reserve(reserve.path)
            assert isinstance(found, Receipt) and found.notice_played_ms == number
        reserve.empty()
        assert not any(reserve.path.read_bytes())
    reserve.empty()


def test_all_calls_of_a_process_have_room_and_hundreds_that_wait(reserve: Reserve) -> None:
    """What is too much changes nothing."""
    lines = tuple(Event(at=START, what=f"paused {number}", by="operator") for number in range(60))
    calls: list[Record] = [receipt(recording(minute), events=lines) for minute in range(400)]
    reserve.write([*calls, *(recording(minute) for minute in range(10))])
    assert len(read_reserve(reserve.path)) == 410
    with pytest.raises(ReserveFull):
        reserve.write([receipt(ROW, call_id=os.urandom(2000).hex()) for _ in range(400)])
    assert len(read_reserve(reserve.path)) == 410


def test_it_is_written_where_no_file_may_grow(reserve: Reserve) -> None:
    """As on a full disk."""
    reserve._size = 2000  # within what may be written
    with no_more_than(4096):
        with pytest.raises(OSError, match="too large"):
            (reserve.path.parent / "other").write_bytes(bytes(5000))
        reserve.write(RECORDS)
    assert read_reserve(reserve.path) == RECORDS


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_disk_that_has_no_room_for_it_is_told(
    places: Places, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(os, call, no_room())
    reserve = Reserve(places.reserve(), 2)
    with pytest.raises(OSError, match="No space"):
        reserve.allocate()
    with pytest.raises(OSError, match="not been allocated"):
        reserve.write(RECORDS)
    reserve.close()


@settings(deadline=None, max_examples=tiers.depth(25, 200))
@given(data=st.data())
def test_a_write_that_is_torn_anywhere_leaves_what_was_before(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    reserve = allocated(tmp_path_factory.mktemp("torn") / "retention.reserve")
    for number in range(data.draw(st.integers(1, 3))):
        reserve.write([receipt(ROW, notice_played_ms=number)])
    before, content = read_reserve(reserve.path), reserve.path.read_bytes()
    reserve.write(RECORDS)
    after = reserve.path.read_bytes()
    changed = np.flatnonzero(np.frombuffer(content, np.uint8) != np.frombuffer(after, np.uint8)).tolist()
    upto = data.draw(st.integers(0, len(changed)))
    torn = bytearray(content)
    for place in data.draw(st.permutations(changed[-64:]))[:upto] + changed[:-64][:upto]:
        torn[place] = after[place]
    reserve.path.write_bytes(torn)
    assert read_reserve(reserve.path) == (RECORDS if torn == after else before)
    reserve.close()


@pytest.mark.parametrize(
    "content", [b"x", b"sipagR\r\n" + b"\xff" * 100, b"\0" * 5000 + b"x" + b"\0" * 100, b"sipagR\r\n"]
)
def test_what_cannot_be_read_is_told(places: Places, content: bytes) -> None:
    path = places.reserve()
    path.write_bytes(content)
    with pytest.raises(ReserveError, match="cannot be read"):
        read_reserve(path)
    assert problems(places) == {path.name: "something is in it, and cannot be read"}


def test_each_process_has_its_own_and_whoever_starts_reads_those_of_the_dead(tmp_path: Path) -> None:
    places = Places(tmp_path / "office.db")
    for name in ("office.worker-x.reserve", "other.reserve"):
        (tmp_path / name).touch()
    found = {None: "office", 1: "office.worker-1", 2: "office.worker-2", "edge": "office.edge"}
    for owner, stem in found.items():
        assert places.reserve(owner) == tmp_path / f"{stem}.reserve"  # type: ignore[arg-type]
        (tmp_path / f"{stem}.reserve").touch()
    assert places.reserves() == {owner: tmp_path / f"{stem}.reserve" for owner, stem in found.items()}
    with at_work(places, 2):
        assert {path.name for path in left_behind(places)} == {"office.reserve", "office.worker-1.reserve"}


def into(archive: Archive, records: list[Record]) -> list[str]:
    assert archive.store.places is not None
    reserve = allocated(archive.store.places.reserve())
    reserve.write(records)
    reserve.close()
    ids = take_in(archive.store, reserve.path)
    assert not any(reserve.path.read_bytes()) and is_allocated(reserve.path)
    return ids


def test_rows_come_from_it_once_and_it_is_empty_then(archive: Archive, places: Places) -> None:
    """Twice where it was killed between the rows and the emptying."""
    assert (read_reserve(places.reserve()), take_in(archive.store, places.reserve())) == ([], [])
    for _ in range(2):
        assert into(archive, RECORDS) == [ROW.id]
        assert archive.store.receipts() == [receipt(ROW)] and archive.store.recordings() == [ROW]
        assert [(one.what, one.count) for one in archive.store.each_sum()] == [("rejected", 41), ("lost", 3)]
    found = verify(archive)
    assert [one.where for one in found.problems] == [] and len(found.lost) == 1


EARLY = receipt(ROW, ended_at=None, outcome=None, decision="undecided", decided_by=None)
LINE = Event(at=START, what="x")
REFUSED = replace(EARLY, decision="refused", events=(LINE,))


@pytest.mark.parametrize(
    ("told", "known", "later"),
    [
        (receipt(ROW), EARLY, True),
        (EARLY, receipt(ROW), False),
        (replace(EARLY, events=(LINE,)), EARLY, True),
        (EARLY, replace(EARLY, events=(LINE,)), False),
        (receipt(ROW), receipt(ROW), False),
        (REFUSED, receipt(ROW), True),
        (receipt(ROW), REFUSED, False),
        (replace(REFUSED, ended_at=START), REFUSED, True),
        (receipt(ROW), receipt(ROW).anonymous(), False),
    ],
)
def test_the_later_state_of_a_call_counts_and_a_refusal_always(
    archive: Archive, told: Receipt, known: Receipt, later: bool
) -> None:
    assert is_later(told, known) is later
    archive.store.add_receipt(known)
    into(archive, [told])
    assert archive.store.receipt(ROW.id) == (told if later else known)


def test_a_row_that_is_there_stays_and_a_damaged_one_keeps_nothing_else_out(archive: Archive) -> None:
    row, other = keep(archive, ROW), recording(1)
    sqlite(archive.store).execute("UPDATE receipts SET started_at = 'once'")
    into(archive, [EARLY, ROW, receipt(other)])
    assert archive.store.recording(ROW.id) == row and row.status is Status.CLOSED
    assert archive.store.receipt(other.id) == receipt(other)


def test_what_waits_is_told_and_is_no_orphan(archive: Archive, places: Places) -> None:
    reserve = allocated(places.reserve())
    Paths(archive).recordings.mkdir()
    Paths(archive).part(ROW.id).write_bytes(b"sound")
    assert [orphan.name for orphan in orphans(archive)] == [f"{ROW.id}.part"]
    reserve.write(RECORDS)
    assert orphans(archive) == []
    said = "what the database did not take of 1 call waits in it"
    assert [(one.where, one.problem) for one in verify(archive).problems] == [("retention.reserve", said)]
    reserve.write([sum_of(1)])
    with places.reserve(7).open("wb") as file:
        file.truncate(2 * BASE)
    assert problems(places) == {
        "retention.reserve": "counts of calls wait in it for the database",
        "retention.worker-7.reserve": "its room on the disk is not allocated",
    }
    reserve.close()

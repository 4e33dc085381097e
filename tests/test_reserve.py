"""The reserve: what it holds, whatever it is torn by, and how the next start reads it in."""

import os
import resource
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive import Archive
from retention.files import Owner, Places
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
from retention.sqlite import Store
from retention.verify import orphans, verify
from tests.kept import START, Paths, keep, receipt, recording, sqlite
from tests.tampering import sum_of

ROW = recording()
RECORDS: list[Record] = [receipt(ROW), ROW, sum_of(41), replace(sum_of(3), what="lost", code=None, by=None)]


@pytest.fixture
def reserve(tmp_path: Path) -> Iterator[Reserve]:
    reserve = Reserve(tmp_path / "retention.reserve", 2)
    reserve.allocate()
    yield reserve
    reserve.close()


# --- the file ---


def test_it_has_its_room_before_it_is_needed(reserve: Reserve) -> None:
    there = reserve.path.stat()
    assert stat.S_IMODE(there.st_mode) == 0o600 and is_allocated(reserve.path)
    assert there.st_size == 2 * (BASE + 2 * PER_CALL)
    assert read_reserve(reserve.path) == [] and reserve.is_empty


def test_what_is_written_is_read(reserve: Reserve) -> None:
    reserve.write(RECORDS)
    assert read_reserve(reserve.path) == RECORDS and not reserve.is_empty
    for number in range(5):
        reserve.write([receipt(ROW, notice_played_ms=number)])
        (found,) = read_reserve(reserve.path)
        assert isinstance(found, Receipt) and found.notice_played_ms == number
    assert is_allocated(reserve.path)


def test_what_is_emptied_leaves_no_byte(reserve: Reserve, tmp_path: Path) -> None:
    for _ in range(3):
        reserve.write(RECORDS)
    reserve.empty()
    assert not any(reserve.path.read_bytes()) and reserve.is_empty and is_allocated(reserve.path)
    reserve.empty()
    reserve.write(RECORDS)
    assert read_reserve(reserve.path) == RECORDS


def test_what_is_too_much_changes_nothing(reserve: Reserve) -> None:
    reserve.write(RECORDS)
    noise = [receipt(ROW, call_id=os.urandom(2000).hex()) for _ in range(400)]
    with pytest.raises(ReserveFull):
        reserve.write(noise)
    assert read_reserve(reserve.path) == RECORDS


def test_all_calls_of_a_process_have_room_and_hundreds_that_wait(reserve: Reserve) -> None:
    lines = tuple(Event(at=START, what=f"paused {number}", by="operator") for number in range(60))
    calls: list[Record] = [receipt(recording(minute), events=lines) for minute in range(1000)]
    reserve.write([*calls, *(recording(minute) for minute in range(10))])
    assert len(read_reserve(reserve.path)) == 1010


def test_it_is_written_where_no_file_may_grow(reserve: Reserve) -> None:
    """As on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                (reserve.path.parent / "other").write_bytes(bytes(5000))
            os.lseek(reserve._descriptor or 0, 0, 0)
            reserve._size = 2000  # within what may be written
            reserve.write(RECORDS)
        except BaseException:  # noqa: BLE001 - the parent tells
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert soft == hard or soft > 0


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_disk_that_has_no_room_for_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    reserve = Reserve(tmp_path / "retention.reserve", 2)
    with pytest.raises(OSError, match="No space"):
        reserve.allocate()
    with pytest.raises(OSError, match="not been allocated"):
        reserve.write(RECORDS)
    reserve.close()


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_write_that_is_torn_anywhere_leaves_what_was_before(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    reserve = Reserve(tmp_path_factory.mktemp("torn") / "retention.reserve", 0)
    reserve.allocate()
    for number in range(data.draw(st.integers(1, 3))):
        reserve.write([receipt(ROW, notice_played_ms=number)])
    before, content = read_reserve(reserve.path), reserve.path.read_bytes()
    reserve.write(RECORDS)
    after = reserve.path.read_bytes()
    changed = [place for place in range(len(content)) if content[place] != after[place]]
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
def test_what_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "retention.reserve"
    path.write_bytes(content)
    with pytest.raises(ReserveError, match="cannot be read"):
        read_reserve(path)
    assert problems(Places(tmp_path / "retention.db")) == {
        path.name: "something is in it, and cannot be read"
    }


def test_none_holds_nothing(tmp_path: Path) -> None:
    assert read_reserve(tmp_path / "retention.reserve") == []
    with Store(tmp_path / "retention.db") as store:
        assert take_in(store, tmp_path / "retention.reserve") == []


# --- whose it is ---


@pytest.mark.parametrize(
    ("owner", "name"),
    [(None, "office.reserve"), (3, "office.worker-3.reserve"), ("edge", "office.edge.reserve")],
)
def test_each_process_has_its_own(tmp_path: Path, owner: Owner, name: str) -> None:
    places = Places(tmp_path / "office.db")
    assert places.reserve(owner) == tmp_path / name
    places.reserve(owner).touch()
    (tmp_path / "office.worker-x.reserve").touch()
    (tmp_path / "other.reserve").touch()
    assert places.reserves() == {owner: tmp_path / name}


def test_whoever_starts_reads_those_of_the_dead(tmp_path: Path) -> None:
    places = Places(tmp_path / "retention.db")
    for owner in (None, 1, 2, "edge"):
        places.reserve(owner).touch()
    with at_work(places, 2):
        assert {path.name for path in left_behind(places)} == {
            "retention.reserve",
            "retention.worker-1.reserve",
        }


# --- reading in ---


def into(archive: Archive, tmp_path: Path, records: list[Record]) -> list[str]:
    reserve = Reserve(tmp_path / "retention.reserve", 0)
    reserve.allocate()
    reserve.write(records)
    reserve.close()
    ids = take_in(archive.store, reserve.path)
    assert not any(reserve.path.read_bytes()) and is_allocated(reserve.path)
    return ids


def test_rows_come_from_it_and_it_is_empty_then(archive: Archive, tmp_path: Path) -> None:
    assert into(archive, tmp_path, RECORDS) == [ROW.id]
    assert archive.store.receipt(ROW.id) == receipt(ROW)
    assert archive.store.recording(ROW.id) == ROW
    assert [(one.what, one.count) for one in archive.store.each_sum()] == [("rejected", 41), ("lost", 3)]
    found = verify(archive)
    assert [one.where for one in found.problems] == [] and len(found.lost) == 1


def test_twice_is_once(archive: Archive, tmp_path: Path) -> None:
    """Killed between the rows and the emptying."""
    for _ in range(2):
        into(archive, tmp_path, RECORDS)
    assert len(archive.store.receipts()) == 1 and len(list(archive.store.each_sum())) == 2


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
    archive: Archive, tmp_path: Path, told: Receipt, known: Receipt, later: bool
) -> None:
    assert is_later(told, known) is later
    archive.store.add_receipt(known)
    into(archive, tmp_path, [told])
    assert archive.store.receipt(ROW.id) == (told if later else known)


def test_a_row_that_is_there_stays(archive: Archive, tmp_path: Path) -> None:
    row = keep(archive, ROW)
    into(archive, tmp_path, [ROW])
    assert archive.store.recording(ROW.id) == row and row.status is Status.CLOSED


def test_what_is_damaged_in_the_database_keeps_nothing_else_out(archive: Archive, tmp_path: Path) -> None:
    archive.store.add_receipt(receipt(ROW))
    sqlite(archive.store).execute("UPDATE receipts SET started_at = 'once'")
    other = recording(1)
    into(archive, tmp_path, [EARLY, receipt(other)])
    assert archive.store.receipt(other.id) == receipt(other)


# --- who sees it ---


def test_what_waits_is_told_and_is_no_orphan(archive: Archive, tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "retention.reserve", 0)
    reserve.allocate()
    Paths(archive).recordings.mkdir()
    Paths(archive).part(ROW.id).write_bytes(b"sound")
    assert [orphan.name for orphan in orphans(archive)] == [f"{ROW.id}.part"]
    reserve.write(RECORDS)
    assert orphans(archive) == []
    (found,) = verify(archive).problems
    assert (found.where, found.problem) == (
        "retention.reserve",
        "what the database did not take of 1 call waits in it",
    )
    reserve.write([sum_of(1)])
    assert problems(Places(tmp_path / "retention.db")) == {
        "retention.reserve": "counts of calls wait in it for the database"
    }
    reserve.close()


def test_one_without_its_room_is_told(tmp_path: Path) -> None:
    path = Places(tmp_path / "retention.db").reserve(7)
    with path.open("wb") as file:
        file.truncate(2 * BASE)
    assert problems(Places(tmp_path / "retention.db")) == {path.name: "its room on the disk is not allocated"}

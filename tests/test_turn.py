"""Whose turn it is to write: everybody's in the end, nobody's twice, and never a dead process's."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from retention.files import Places
from retention.records import Status
from retention.rows.chain import read_head
from retention.rows.rows import Busy, StoreError, TryAgain
from retention.sqlite import Store, Turns
from retention.verify import verify
from tests.kept import Paths, archive, receipt, recording
from tests.tapping import PATIENCE_S

WRITERS, ROWS = 25, 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Places(tmp_path / "retention.db").turn


def test_one_at_a_time(path: Path) -> None:
    at_once: list[int] = []
    inside = threading.Semaphore(1)

    def work(_: int) -> None:
        turns = Turns(path, PATIENCE_S)
        for _ in range(20):
            with turns.turn():
                assert inside.acquire(blocking=False)
                at_once.append(1)
                inside.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(at_once) == 160
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_waits_too_long_gives_up_and_leaves_no_lock_behind(path: Path) -> None:
    with Turns(path, PATIENCE_S).turn():
        for _ in range(3):
            with pytest.raises(Busy, match=r": database is locked$"), Turns(path, 0.05).turn():
                pass
    with Turns(path, PATIENCE_S).turn():
        pass
    waiters = [thread for thread in threading.enumerate() if thread.name == "turn"]
    for waiter in waiters:
        waiter.join(PATIENCE_S)
        assert not waiter.is_alive()


def test_what_is_raised_within_ends_the_turn_and_none_is_taken_through_a_link(
    path: Path, tmp_path: Path
) -> None:
    turns = Turns(path, PATIENCE_S)
    with pytest.raises(ZeroDivisionError), turns.turn():
        raise ZeroDivisionError
    with turns.turn():
        pass
    path.unlink()
    path.symlink_to(tmp_path / "other")
    with pytest.raises(TryAgain, match="symbolic links"), Turns(path, 0.1).turn():
        pass


def test_a_process_that_dies_in_its_turn_holds_up_nobody(path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with Turns(path, PATIENCE_S).turn():
            os.write(writing, b".")
            signal.pause()
    assert os.read(reading, 1) == b"."
    with pytest.raises(Busy), Turns(path, 0.05).turn():
        pass
    threading.Timer(0.1, partial(os.kill, child, signal.SIGKILL)).start()
    with Turns(path, PATIENCE_S).turn():
        pass
    os.waitpid(child, 0)
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_store_says_that_others_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retention.sqlite.TURN_S", 0.05)
    with Store(tmp_path / "retention.db") as store:
        with Turns(Places(tmp_path / "retention.db").turn, PATIENCE_S).turn():
            with pytest.raises(StoreError, match=r"retention\.db: database is locked$"):
                store.add_recording(recording())
            assert store.recordings() == []
        store.add_recording(recording())
        assert len(store.recordings()) == 1


def write_as_a_worker(folder: Path, worker: int) -> None:
    """What a worker writes of its calls; a lock that does not come in time ends it."""
    opened = archive(folder, worker)
    for number in range(ROWS):
        row = recording(1000 * worker + number)
        first = receipt(row, ended_at=None, outcome=None, decision="undecided")
        opened.store.add_receipt(first)
        opened.store.update_receipt(replace(first, decision="allowed"))
        opened.open(row).write_bytes(b"sound")
        Paths(opened).part(row.id).rename(Paths(opened).final(row.id, "flac"))
        opened.store.update_receipt(receipt(row))
        opened.close(row)
    opened.store.close()


def test_many_workers_write_at_once_and_everybody_has_his_turn(tmp_path: Path) -> None:
    archive(tmp_path).store.close()
    children: list[int] = []
    for worker in range(WRITERS):
        child = os.fork()
        if child == 0:
            try:
                os.fsync = lambda descriptor: None  # type: ignore[assignment]
                write_as_a_worker(tmp_path, worker)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    reader = archive(tmp_path)
    for child in children:
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            assert verify(reader).lost == []
            reader.store.recordings()
    rows = reader.store.recordings()
    assert len(rows) == WRITERS * ROWS and {row.status for row in rows} == {Status.CLOSED}
    assert reader.store.in_progress() == {}
    found = verify(reader)
    assert (found.problems, found.lost) == ([], [])
    assert read_head(tmp_path / "retention.head") == reader.store.head()
    reader.store.close()

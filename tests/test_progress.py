"""Which worker has which call: told with the receipt, forgotten with the last of it, nobody else's affair."""

import fcntl
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from media.recording.tap import Tap
from retention.archive import Archive
from retention.erase import erase_row
from retention.files import Places, alone
from retention.marks import Mark
from retention.purge import erase_pending
from retention.records import Recording, Status
from retention.reserve import at_work, is_at_work, is_running, left_by, of_the_living
from retention.sqlite import Store
from retention.verify import verify
from sipagent.agent.recorder import Closing, Recorder, close, recover
from tests import kept
from tests.crashing import killed_before
from tests.kept import OPERATOR, Paths, receipt, recording
from tests.tapping import PATIENCE_S, RATE, feed
from tests.test_crash_steps import STORIES, Story, die, judge
from tests.tiers import depth

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)
MINE, OTHERS = 3, 4


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Archive]:
    opened = kept.archive(tmp_path, MINE)
    yield opened
    opened.store.close()


def sound(recorder: Recorder, row: Recording) -> Tap:
    """A tap that has been fed a second; what comes before its file is open would be let go."""
    tap, open_ = recorder.begin(row, lambda reason, _: pytest.fail(reason)), threading.Event()
    recorder.later(open_.set)
    assert open_.wait(PATIENCE_S)
    feed(tap, 0, RATE)
    return tap


def begun(archive: Archive, minutes: int = 0) -> Recording:
    """A call of that archive's worker with a second of sound, as a worker that died leaves it."""
    row = recording(minutes)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    recorder = Recorder(archive, "wav", pytest.fail)
    recorder.start()
    sound(recorder, row)
    recorder.stop()
    return row


@pytest.mark.parametrize("kept_first", [True, False])
def test_a_call_is_its_workers_from_its_receipt_to_the_last_of_it(mine: Archive, kept_first: bool) -> None:
    """Its recording may be kept before it ends, or its file is yet to be made then."""
    row = recording()
    mine.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    mine.open(row).write_bytes(b"sound")
    Paths(mine).part(row.id).rename(Paths(mine).final(row.id, "flac"))
    steps: list[Callable[[], object]] = [
        partial(mine.close, row),
        partial(mine.store.update_receipt, receipt(row)),
    ]
    for step in steps if kept_first else steps[::-1]:
        assert mine.store.in_progress() == {row.id: MINE} and left_by(mine.store, MINE) == (row.id,)
        step()
    assert mine.store.in_progress() == {}


@pytest.mark.parametrize("ends_first", ["receipt", "recording"])
def test_who_refused_is_in_progress_until_nothing_is_left(mine: Archive, ends_first: str) -> None:
    row = recording()
    mine.store.add_receipt(receipt(row, ended_at=None))
    mine.open(row)
    Paths(mine).final(row.id, "flac").write_bytes(b"sound")
    mine.close(row)
    refused = receipt(row, ended_at=None, decision="refused")
    mine.store.update_receipt(refused)
    ended = replace(refused, ended_at=NOW)
    steps: list[Callable[[], None]] = [
        partial(mine.store.update_receipt, ended),
        partial(erase_row, mine, row.id, NOW, "refused"),
    ]
    for step in steps if ends_first == "receipt" else steps[::-1]:
        assert left_by(mine.store, MINE) == (row.id,)
        step()
    assert mine.store.in_progress() == {}


def test_what_is_no_call_in_progress(mine: Archive, tmp_path: Path) -> None:
    """One without a recording ends with its receipt; who is turned away at once never was one; where there
    is one process, nothing is told; and it is told in the transaction of the receipt or not at all."""
    row = recording()
    mine.store.add_receipt(receipt(row, ended_at=None, recording_id=None))
    mine.store.update_receipt(receipt(row, recording_id=None))
    mine.store.add_receipt(receipt(recording(1)))
    alone = kept.archive(tmp_path)
    alone.store.add_receipt(receipt(recording(2), ended_at=None))
    with pytest.raises(ZeroDivisionError), mine.store.write():
        mine.store.add_receipt(receipt(recording(3), ended_at=None))
        raise ZeroDivisionError
    assert (mine.store.in_progress(), len(mine.store.receipts())) == ({}, 3)
    alone.store.close()


def test_whose_it_is_cannot_be_told_twice(mine: Archive, tmp_path: Path) -> None:
    """An id that is taken is refused by the receipts, and stays whose it was."""
    row = recording()
    mine.store.add_receipt(receipt(row, ended_at=None))
    with Store(tmp_path / "retention.db", worker=OTHERS) as other, pytest.raises(Exception, match="replaced"):
        other.add_receipt(receipt(row, ended_at=None))
    assert mine.store.in_progress() == {row.id: MINE}


def test_the_chain_knows_nothing_of_it_and_its_guards_are_missed(mine: Archive, tmp_path: Path) -> None:
    begun(mine)
    assert verify(mine).problems == []
    with closing(sqlite3.connect(tmp_path / "retention.db")) as hand:
        hand.execute("DROP TRIGGER receipts_end_calls")
        hand.commit()
    assert mine.store.missing_guards() == ["receipts_end_calls"]


def test_a_guard_that_an_earlier_version_wrote_in_other_lines_is_there(mine: Archive, tmp_path: Path) -> None:
    """As 0.1.0 wrote it, and nothing makes it again."""
    with closing(sqlite3.connect(tmp_path / "retention.db")) as hand:
        hand.executescript("""DROP TRIGGER receipts_end_calls;
        CREATE TRIGGER receipts_end_calls AFTER UPDATE ON receipts WHEN NEW.ended_at IS NOT NULL
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); END""")
    assert mine.store.missing_guards() == []


def test_only_one_process_at_a_time_is_a_worker_and_who_is_killed_is_it_no_longer(tmp_path: Path) -> None:
    places = Places(tmp_path / "retention.db")
    assert not is_at_work(places, MINE)
    with at_work(places, OTHERS):
        assert not is_at_work(places, MINE)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with at_work(places, MINE):
            os.write(writing, b".")
            signal.pause()
    assert os.read(reading, 1) == b"."
    assert is_at_work(places, MINE) and not is_at_work(places, OTHERS)
    with pytest.raises(BlockingIOError), at_work(places, MINE):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not is_at_work(places, MINE)
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_who_asks_whether_an_agent_runs_disturbs_neither_its_start_nor_others_who_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process stands still in the midst of asking, as a page, `purge` and `check` do it."""
    places = Places(tmp_path / "retention.db")
    places.lock.touch()
    with ExitStack() as asking:
        asking.enter_context(asked_by_another(places))
        monkeypatch.setattr(time, "sleep", lambda _: asking.close())
        assert not is_running(places)
        with alone(places.lock):
            assert is_running(places)


@contextmanager
def asked_by_another(places: Places) -> Iterator[None]:
    """A process of its own, in the midst of asking from here to the end."""
    reading, writing = os.pipe()
    locks, asker = fcntl.flock, os.fork()

    def stands_still(handle: Any, how: int) -> None:
        locks(handle, how)
        os.write(writing, b".")
        signal.pause()

    if asker == 0:
        fcntl.flock = stands_still
        is_running(places)
    try:
        assert os.read(reading, 1) == b"."
        yield
    finally:
        os.kill(asker, signal.SIGKILL)
        os.waitpid(asker, 0)
        for descriptor in (reading, writing):
            os.close(descriptor)


def test_the_start_recovers_all_but_what_somebody_is_at_work_on(
    mine: Archive, tmp_path: Path, alerts: list[str]
) -> None:
    """A supervisor died, and one of its workers still has a call."""
    alone = kept.archive(tmp_path)
    dead, of_one = begun(mine), begun(alone, 1)
    living = begun(orphan := kept.archive(tmp_path, OTHERS), 2)
    with at_work(Places(tmp_path / "retention.db"), OTHERS):
        assert of_the_living(alone.store) == {living.id}
        ended = recover(alone, "wav", NOW, alerts.append)
    assert {one.id for one in ended} == {dead.id, of_one.id}
    assert [row.id for row in alone.unfinished()] == [living.id]
    assert (alone.store.in_progress(), alerts) == ({living.id: OTHERS}, [])
    recover(alone, "wav", NOW, alerts.append)
    assert (alone.unfinished(), alone.store.in_progress(), alerts) == ([], {}, [])
    for one in (alone, orphan):
        one.store.close()


@pytest.mark.parametrize("marked", [False, True])
def test_what_must_go_goes_before_anything_is_made(
    mine: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    """A refusal doesn't wait until an hour of somebody else's has become a file."""
    allowed, refused = begun(mine), begun(mine, 1)
    told = receipt(refused, ended_at=None, decision="refused")
    if marked:
        mine.marks.sync(mine.marks.make(Mark.of(told, NOW)))
    else:
        mine.store.update_receipt(told)
    seen: list[bool] = []

    def closes(*work: Any) -> None:
        seen.append(Paths(mine).part(refused.id).exists())
        close(*work)

    monkeypatch.setattr("sipagent.agent.recorder.close", closes)
    for given in ((allowed.id, refused.id), None):
        recover(mine, "wav", NOW, alerts.append, given)
    assert (seen, alerts) == ([False], [])
    assert mine.store.recording(refused.id).status is Status.ERASED


def told_to_worker(story: Story) -> Story:
    """The steps of a story where a worker takes them: its own row with the receipt."""
    at = story.steps.index("insert receipts") + 1
    return replace(story, steps=[*story.steps[:at], "insert in_progress", *story.steps[at:]])


WORKERS = {name: told_to_worker(STORIES[name]) for name in ("clear", "sealed, refused", "sealed, taken back")}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (name, number)
        for name, story in WORKERS.items()
        for number in range(len(name) % 3, len(story.steps) + 1, depth(3, 1))
    ],
)
def test_killed_before_any_step_it_is_made_good_by_the_replacement(
    tmp_path: Path, name: str, number: int
) -> None:
    """Beside a worker that lives; and the replacement may be killed, too, in what it does first."""
    folder, story = tmp_path / "office", WORKERS[name]
    folder.mkdir()
    die(folder, story, number, MINE)
    killed_before(number % 7, partial(replace_worker, folder))
    replace_worker(folder)
    judge(folder, story, number)
    archive = kept.archive(folder)
    assert archive.store.in_progress() == {}
    archive.store.close()


def replace_worker(folder: Path) -> None:
    with at_work(Places(folder / "retention.db"), MINE):
        archive = kept.archive(folder, MINE)
        recover(archive, "flac", NOW, pytest.fail, left_by(archive.store, MINE))
        archive.store.close()


def recover_theirs(archive: Archive, left: tuple[str, ...]) -> None:
    recover(archive, "wav", NOW, lambda _: os._exit(9), left)


def record_on(folder: Path, worker: int, first: int, count: int) -> None:
    """A worker's life: what its predecessor left, then calls, some of which are refused."""
    with at_work(Places(folder / "retention.db"), worker):
        archive = kept.archive(folder, worker)
        left = left_by(archive.store, worker)
        recorder = Recorder(archive, "wav", lambda _: os._exit(9))
        recorder.start()
        recorder.slowly(lambda: recover_theirs(archive, left))
        for number in range(first, first + count):
            row = recording(number)
            undecided = receipt(row, ended_at=None, outcome=None, decision="undecided")
            recorder.keep_receipt(undecided)
            recorder.keep_receipt(replace(undecided, decision="allowed"))
            tap = sound(recorder, row)
            if number % 3:
                recorder.keep(tap, row, CLOSING)
                recorder.keep_receipt(receipt(row))
            else:
                recorder.erase(tap, receipt(row, ended_at=None, decision="refused"), NOW)
                recorder.keep_receipt(receipt(row, decision="refused"))
        recorder.stop()
        archive.store.close()


def test_a_worker_records_while_others_are_killed_and_replaced(tmp_path: Path) -> None:
    """Nothing of hers is touched, and of theirs nothing stays undone."""
    kept.archive(tmp_path).store.close()
    chance = random.Random(7)
    steady = os.fork()
    if steady == 0:
        record_on(tmp_path, 0, 0, 30)
        os._exit(0)
    for generation in range(6):
        killed_before(chance.randrange(20, 160), partial(record_on, tmp_path, 1, 1000 * (generation + 1), 10))
    assert os.waitpid(steady, 0)[1] == 0
    record_on(tmp_path, 1, 9000, 3)
    archive = kept.archive(tmp_path)
    assert (archive.store.in_progress(), archive.unfinished(), archive.store.open_receipts()) == ({}, [], [])
    mine = [row for row in archive.store.recordings() if row.started_at < recording(31).started_at]
    assert len(mine) == 30 and not [row.id for row in mine if row.incomplete]
    assert [row.status for row in mine].count(Status.CLOSED) == 20
    for one in archive.store.receipts():
        assert one.decision == "allowed" or Paths(archive).file(one.id) is None
    # one killed between the row and its mark leaves the mark, which the pass of each minute takes
    assert {archive.store.recording(id).status for id in archive.marks.ids()} <= {Status.ERASED}
    failed: list[tuple[str, str]] = []
    erase_pending(archive, NOW, failed)
    assert failed == []
    found = verify(archive)
    assert (found.problems, found.lost) == ([], [])
    archive.store.close()

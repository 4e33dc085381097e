"""kill -9 at every step of a recording: at the next start it is a valid file, or gone with its key. So it is
where the database takes no row from the first to the last, and the process's reserve has them all.

The real recorder takes the steps, in its order, but on one thread, so that each has its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from media.recording.assemble import read_sound
from media.recording.tap import Tap, TapWriter
from retention.archive import Archive
from retention.records import Receipt, Recording, Status
from retention.reserve import Reserve
from retention.vault import public_line
from retention.verify import orphans, verify
from sipagent.agent.recorder import Closing, Recorder, recover
from sipagent.agent.row_writer import Job, RowWriter, Task, Worker
from tests import kept
from tests.crashing import deaths, killed_before
from tests.full_disk import fill
from tests.kept import ANN, OPERATOR, Paths, receipt, recording
from tests.tapping import RATE, expected, feed

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
ROW = recording(decision="allowed", operator=None)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)
ALLOWED = receipt(ROW, ended_at=None, outcome=None)
REFUSED = replace(ALLOWED, decision="refused", decided_by="dtmf")


class AtOnce(Worker):
    """No thread: what is put is done."""

    def put(self, job: Job) -> None:
        job()


class RowsAtOnce(RowWriter):
    """No thread: what is to be written is written."""

    def keep_receipt(self, receipt: Receipt, *, may_wait: bool = False) -> None:
        super().keep_receipt(receipt, may_wait=may_wait)
        if not may_wait:
            self.turn()

    def open(self, recording: Recording, job: Job) -> Task:
        return self._turned(super().open(recording, job))

    def put(self, id: str, job: Job) -> Task:
        return self._turned(super().put(id, job))

    def join(self, id: str, job: Job) -> Task:
        return self._turned(super().join(id, job))

    def _turned(self, task: Task) -> Task:
        self.turn()
        return task


class ByHand(TapWriter):
    """No thread: the test writes."""

    def add(self, tap: Tap) -> None:
        pass

    def remove(self, tap: Tap) -> None:
        pass


def keep(recorder: Recorder, tap: Tap) -> None:
    recorder.keep(tap, ROW, CLOSING)
    recorder.keep_receipt(receipt(ROW))


def keep_joined(recorder: Recorder, tap: Tap) -> None:
    """The file is made within half a second of the call's end."""
    recorder.keep_receipt(receipt(ROW), may_wait=True)
    recorder.keep(tap, ROW, CLOSING)


def refuse(recorder: Recorder, tap: Tap) -> None:
    recorder.erase(tap, REFUSED, NOW)


def take_back(recorder: Recorder, tap: Tap) -> None:
    """Refused in the last second, when the recording was already kept."""
    recorder.keep(tap, ROW, CLOSING)
    recorder.erase_kept(REFUSED, NOW)


def row(change: str) -> list[str]:
    return ["insert chain", change, "commit", "head retention.head"]


def whole(name: str) -> list[str]:
    """As files are written that must be there whole or not at all."""
    return [f"{step} {name}.tmp" for step in ("create", "write", "half of", "sync", "replace")]


def closed(suffix: str) -> list[str]:
    return [f"chmod ID.{suffix}", CHANGE, UPDATE, *whole("ID.json"), "sync recordings", *COMMITTED]


CHANGE, UPDATE, *COMMITTED = row("update recordings")
RECEIPT = row("update receipts")
BEGIN = row("insert receipts")
OPEN = ["mkdir recordings", "sync office", *row("insert recordings")]
JOINED = RECEIPT[:2]  # with the receipt, in one transaction
KEY = ["mkdir vault", "sync office", *whole("ID.key"), "sync vault"]
CHUNK = ["write ID.part", "half of ID.part", "sync ID.part"]
TAP = ["create ID.part", *CHUNK, "sync recordings", *CHUNK]
FLAC = [
    "create ID.flac.tmp",
    *["encode ID.flac.tmp", "half of ID.flac.tmp"] * 2,
    *("sync ID.flac.tmp", "replace ID.flac.tmp", "sync recordings", "unlink ID.part", "sync recordings"),
]
SEAL = ["sync ID.part", "replace ID.part", "sync recordings"]
MARK = [*(f"{step} ID.refused" for step in ("create", "write", "half of", "sync")), "sync recordings"]
NO_PART = ["unlink ID.part", "sync recordings"]
NO_KEY = ["unlink ID.key", "sync vault"]
ERASED = [CHANGE, UPDATE, "update objects", *COMMITTED]  # of which there are none here
GONE = [*RECEIPT, *ERASED, "unlink ID.refused", "sync recordings", *RECEIPT]
CLEAR = [*BEGIN, *RECEIPT, *OPEN, *TAP]
SEALED = [*BEGIN, *RECEIPT, *OPEN, *KEY, *TAP]
HELD = ["head retention.reserve", "sync retention.reserve"]
WAITS = [
    *("create retention.reserve", "head retention.reserve", *HELD, "sync office"),
    *(*HELD, "mkdir recordings", "sync office"),
]


@dataclass(frozen=True)
class Story:
    """`full`: the disk has no room for a row, from before the receipt to the end."""

    sealed: bool
    end: Callable[[Recorder, Tap], None]
    steps: Sequence[str]
    full: bool = False

    def is_opened(self, done: Sequence[str]) -> bool:
        """Whether the recording's row was committed, or in the reserve."""
        if self.full:
            return done.count(HELD[0]) > WAITS.count(HELD[0]) - 1  # the others allocate it
        return "insert recordings" in done and "commit" in done[done.index("insert recordings") :]


STORIES = {
    "clear": Story(False, keep, [*CLEAR, *CHUNK, *FLAC, *closed("flac"), *RECEIPT]),
    "sealed": Story(True, keep, [*SEALED, *CHUNK, *SEAL, *closed("sealed"), *RECEIPT]),
    "clear, joined": Story(
        False, keep_joined, [*BEGIN, *JOINED, *OPEN, *TAP, *CHUNK, *FLAC, *JOINED, *closed("flac")]
    ),
    "sealed, joined": Story(
        True, keep_joined, [*BEGIN, *JOINED, *OPEN, *KEY, *TAP, *CHUNK, *SEAL, *JOINED, *closed("sealed")]
    ),
    "clear, refused": Story(False, refuse, [*CLEAR, *MARK, *NO_PART, *GONE]),
    "sealed, refused": Story(True, refuse, [*SEALED, *MARK, *NO_KEY, *NO_PART, *GONE]),
    "clear, taken back": Story(
        False,
        take_back,
        [
            *[*CLEAR, *CHUNK, *FLAC, *closed("flac"), *MARK],
            *["unlink ID.flac", "unlink ID.json", "sync recordings", *GONE],
        ],
    ),
    "sealed, taken back": Story(
        True,
        take_back,
        [
            *[*SEALED, *CHUNK, *SEAL, *closed("sealed"), *MARK, *NO_KEY],
            *["unlink ID.sealed", "unlink ID.json", "sync recordings", *GONE],
        ],
    ),
    "full, clear": Story(False, keep, [*WAITS, *TAP, *CHUNK, *FLAC, *HELD], True),
    "full, sealed": Story(True, keep, [*WAITS, *KEY, *TAP, *CHUNK, *SEAL, *HELD], True),
    "full, clear, refused": Story(False, refuse, [*WAITS, *TAP, *MARK, *NO_PART, *HELD], True),
    "full, sealed, refused": Story(True, refuse, [*WAITS, *KEY, *TAP, *MARK, *NO_KEY, *NO_PART, *HELD], True),
}


def call(folder: Path, story: Story, worker: int | None = None) -> None:
    """Two seconds of it, each on the disk before the next, from the first step to the last."""
    tell: Callable[[str], None] = (lambda _: None) if story.full else pytest.fail
    recipients = (folder / "ann.pub",) if story.sealed else ()
    archive, reserve = (
        kept.archive(folder, worker),
        Reserve(folder / "retention.reserve", 2) if story.full else None,
    )
    recorder = Recorder(archive, "flac", tell, recipients, reserve)
    recorder._rows = RowsAtOnce(archive.store, reserve, tell)
    recorder._quick = recorder._slow = AtOnce("", pytest.fail)
    recorder._erasing._mark = recorder._erasing._eraser = AtOnce("", pytest.fail)
    recorder._writer = ByHand()
    if reserve is None:
        recorder.keep_receipt(replace(ALLOWED, decision="undecided", decided_by=None))
    else:
        fill(pytest.MonkeyPatch(), lambda: True)
        reserve.allocate()
    recorder.keep_receipt(ALLOWED, may_wait=story.end is keep_joined)
    tap = recorder.begin(ROW, lambda reason, _: pytest.fail(reason))
    for second in range(2):
        feed(tap, second * RATE, (second + 1) * RATE)
        tap.write_out()
        tap.sync()
    story.end(recorder, tap)
    if reserve is not None:
        assert recorder._rows.secure()


@pytest.fixture
def office(tmp_path: Path) -> Path:
    return opened(tmp_path / "office")


def opened(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    kept.archive(folder).store.close()
    (folder / "ann.pub").write_text(public_line(ANN.public))
    return folder


def die(folder: Path, story: Story, number: int, worker: int | None = None) -> None:
    """In a new office, right before that step."""
    died = killed_before(number, partial(call, opened(folder), story, worker))
    assert died == (story.steps[number] if number < len(story.steps) else None)


def restart(folder: Path) -> None:
    archive = kept.archive(folder)
    recover(archive, "flac", NOW, pytest.fail)
    archive.store.close()


def judge(folder: Path, story: Story, number: int) -> None:
    """What was allowed is kept as far as it was written, what was refused is gone, nothing else is left."""
    archive, done = kept.archive(folder), story.steps[:number]
    chunks, rows = done.count("half of ID.part"), archive.store.recordings()
    if not story.is_opened(done):
        assert rows == []
    elif MARK[0] in done:
        assert [(row.status, row.decision) for row in rows] == [(Status.ERASED, "refused")]
        assert [one.decision for one in archive.store.receipts()] == ["refused"]
    elif chunks == 0:
        assert [row.status for row in rows] == [Status.FAILED]
    else:
        assert [(row.status, row.incomplete) for row in rows] == [(Status.CLOSED, chunks < 3)]
        assert [one.decision for one in archive.store.receipts()] == ["allowed"]
        check_sound(archive, story, min(chunks, 2), complete=chunks == 3)
    if not rows or rows[0].status is not Status.CLOSED:
        assert (archive.names(), archive.keys()) == ([], [])
    assert (archive.unfinished(), archive.store.open_receipts(), orphans(archive)) == ([], [], [])
    found = verify(archive)
    assert (found.problems, found.lost) == ([], [])
    archive.store.close()
    assert not any(any(reserve.read_bytes()) for reserve in folder.glob("*.reserve"))
    left = {path.suffix for path in folder.rglob("*")}
    assert not left & {".tmp", ".part", ".refused"}
    assert not rows or ".db-journal" not in left  # before any row it goes with the first one


def check_sound(archive: Archive, story: Story, seconds: int, *, complete: bool) -> None:
    file = Paths(archive).final(ROW.id, "sealed" if story.sealed else "flac")
    assert [name for name, _ in archive.names()] == sorted([file.name, f"{ROW.id}.json"])
    assert len(archive.keys()) == story.sealed
    reading = read_sound(file, archive.vault.key(ROW.id, ANN) if story.sealed else None)
    assert np.array_equal(np.concatenate(list(reading.blocks())), expected(seconds * RATE))
    assert reading.complete is complete
    assert archive.store.recording(ROW.id).duration_s == seconds


@pytest.mark.parametrize("name", STORIES)
def test_killed_before_any_step_it_is_made_good_at_the_next_start(office: Path, name: str) -> None:
    story = STORIES[name]
    for done in deaths(office, partial(call, office, story)):
        assert done == story.steps[: len(done)]
        restart(office)
        judge(office, story, len(done))
    assert done == story.steps


WORST = [
    ("clear", "write ID.part"),
    ("clear", "unlink ID.part"),
    ("clear", "commit"),
    ("clear, joined", "commit"),
    ("sealed", "half of ID.key.tmp"),
    ("sealed", "write ID.part"),
    ("sealed", "replace ID.part"),
    ("sealed", "replace ID.json.tmp"),
    ("sealed, refused", "write ID.refused"),
    ("sealed, refused", "sync ID.refused"),
    ("sealed, refused", "unlink ID.key"),
    ("sealed, refused", "unlink ID.part"),
    ("sealed, refused", "unlink ID.refused"),
    ("clear, taken back", "unlink ID.flac"),
    ("sealed, taken back", "unlink ID.sealed"),
    ("full, clear", "write ID.part"),
    ("full, sealed", "head retention.reserve"),
    ("full, sealed, refused", "unlink ID.key"),
]


@pytest.mark.parametrize(("name", "step"), WORST)
def test_killed_before_any_step_of_the_next_start_it_is_made_good_by_the_one_after(
    office: Path, name: str, step: str
) -> None:
    """From the last time that the story took this step; the next start works on what it left."""
    story = STORIES[name]
    number = len(story.steps) - 1 - story.steps[::-1].index(step)
    die(office, story, number)
    deaths_again = 0
    for _ in deaths(office, partial(restart, office)):
        restart(office)
        judge(office, story, number)
        deaths_again += 1
    assert deaths_again > 3

"""kill -9 at every step of a recording: at the next start it is a valid file, or gone with its key.

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
from retention.vault import Identity, public_line
from retention.verify import orphans, verify
from sipagent.agent.recorder import Closing, Recorder, recover
from sipagent.agent.row_writer import Job, RowWriter, Task, Worker
from tests import kept
from tests.crashing import killed_at_each_step, killed_before
from tests.kept import OPERATOR, Paths, receipt, recording
from tests.tapping import RATE, expected, feed

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
ANN = Identity(bytes([1]) * 32, "Ann")
ROW = recording(decision="allowed", operator=None)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)
ALLOWED = receipt(ROW, ended_at=None, outcome=None)
REFUSED = replace(ALLOWED, decision="refused", decided_by="dtmf")


# --- what happens ---


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
        task = super().open(recording, job)
        self.turn()
        return task

    def put(self, id: str, job: Job) -> Task:
        task = super().put(id, job)
        self.turn()
        return task

    def join(self, id: str, job: Job) -> Task:
        task = super().join(id, job)
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


def call(
    folder: Path,
    recipients: tuple[Path, ...],
    end: Callable[[Recorder, Tap], None],
    worker: int | None = None,
) -> None:
    """Two seconds of it, each on the disk before the next, from the first step to the last."""
    recorder = Recorder(kept.archive(folder, worker), "flac", pytest.fail, recipients)
    recorder._rows = RowsAtOnce(recorder.archive.store, None, pytest.fail)
    recorder._quick = recorder._slow = AtOnce("", pytest.fail)
    recorder._erasing._mark = recorder._erasing._eraser = AtOnce("", pytest.fail)
    recorder._writer = ByHand()
    recorder.keep_receipt(replace(ALLOWED, decision="undecided", decided_by=None))
    recorder.keep_receipt(ALLOWED, may_wait=end is keep_joined)
    tap = recorder.begin(ROW, pytest.fail)
    for second in range(2):
        feed(tap, second * RATE, (second + 1) * RATE)
        tap.write_out()
        tap.sync()
    end(recorder, tap)


# --- its steps ---


def row(change: str) -> list[str]:
    return ["insert chain", change, "commit", "head retention.head"]


def whole(name: str) -> list[str]:
    """As files are written that must be there whole or not at all."""
    return [
        f"create {name}.tmp",
        f"write {name}.tmp",
        f"half of {name}.tmp",
        f"sync {name}.tmp",
        f"replace {name}.tmp",
    ]


def closed(suffix: str) -> list[str]:
    change, update, *committed = row("update recordings")
    return [f"chmod ID.{suffix}", change, update, *whole("ID.json"), "sync recordings", *committed]


def closed_joined(suffix: str) -> list[str]:
    """With the receipt, in one transaction."""
    return [*row("update receipts")[:2], *closed(suffix)]


BEGIN = row("insert receipts")
ALLOW = [*BEGIN, *row("update receipts")]
OPEN = ["mkdir recordings", "sync office", *row("insert recordings")]
OPEN_JOINED = [*row("update receipts")[:2], *OPEN]
KEY = ["mkdir vault", "sync office", *whole("ID.key"), "sync vault"]
CHUNK = ["write ID.part", "half of ID.part", "sync ID.part"]
TAP = ["create ID.part", *CHUNK, "sync recordings", *CHUNK]
END = CHUNK
FLAC = [
    "create ID.flac.tmp",
    *["encode ID.flac.tmp", "half of ID.flac.tmp"] * 2,
    "sync ID.flac.tmp",
    "replace ID.flac.tmp",
    "sync recordings",
    "unlink ID.part",
    "sync recordings",
]
SEAL = ["sync ID.part", "replace ID.part", "sync recordings"]
RECEIPT = row("update receipts")
MARK = [
    "create ID.refused",
    "write ID.refused",
    "half of ID.refused",
    "sync ID.refused",
    "sync recordings",
]
NO_PART = ["unlink ID.part", "sync recordings"]
NO_KEY = ["unlink ID.key", "sync vault"]
CHANGE, UPDATE, *COMMITTED = row("update recordings")
ERASED = [CHANGE, UPDATE, "update objects", *COMMITTED]  # of which there are none here
GONE = [*row("update receipts"), *ERASED, "unlink ID.refused", "sync recordings"]


@dataclass(frozen=True)
class Story:
    sealed: bool
    end: Callable[[Recorder, Tap], None]
    steps: Sequence[str]

    def refused_by(self, number: int) -> bool:
        """Whether the refusal was on the disk when that step came."""
        return MARK[0] in self.steps[:number]

    def opened_by(self, number: int) -> bool:
        """Whether the recording's row was committed."""
        return "commit" in self.steps[self.steps.index("insert recordings") : number]

    def chunks_by(self, number: int) -> int:
        """How many whole ones were in the part."""
        return self.steps[:number].count("half of ID.part")


CLEAR_TAP, SEALED_TAP = [*ALLOW, *OPEN, *TAP], [*ALLOW, *OPEN, *KEY, *TAP]
STORIES = {
    "clear": Story(False, keep, [*CLEAR_TAP, *END, *FLAC, *closed("flac"), *RECEIPT]),
    "sealed": Story(True, keep, [*SEALED_TAP, *END, *SEAL, *closed("sealed"), *RECEIPT]),
    "clear, joined": Story(
        False, keep_joined, [*BEGIN, *OPEN_JOINED, *TAP, *END, *FLAC, *closed_joined("flac")]
    ),
    "sealed, joined": Story(
        True, keep_joined, [*BEGIN, *OPEN_JOINED, *KEY, *TAP, *END, *SEAL, *closed_joined("sealed")]
    ),
    "clear, refused": Story(False, refuse, [*CLEAR_TAP, *MARK, *NO_PART, *GONE, *RECEIPT]),
    "sealed, refused": Story(True, refuse, [*SEALED_TAP, *MARK, *NO_KEY, *NO_PART, *GONE, *RECEIPT]),
    "clear, taken back": Story(
        False,
        take_back,
        [
            *[*CLEAR_TAP, *END, *FLAC, *closed("flac"), *MARK],
            *["unlink ID.flac", "unlink ID.json", "sync recordings", *GONE, *RECEIPT],
        ],
    ),
    "sealed, taken back": Story(
        True,
        take_back,
        [
            *[*SEALED_TAP, *END, *SEAL, *closed("sealed"), *MARK, *NO_KEY],
            *["unlink ID.sealed", "unlink ID.json", "sync recordings", *GONE, *RECEIPT],
        ],
    ),
}
DEATHS = [
    pytest.param(story, number, id=f"{name}-{number}-{what}")
    for name, story in STORIES.items()
    for number, what in enumerate([*story.steps, "beyond the last"])
]


# --- what is found after it ---


def die(folder: Path, story: Story, number: int, worker: int | None = None) -> None:
    """In a new office, right before that step."""
    folder.mkdir(exist_ok=True)
    kept.archive(folder).store.close()
    public = folder / "ann.pub"
    public.write_text(public_line(ANN.public))
    recipients = (public,) if story.sealed else ()
    died = killed_before(number, partial(call, folder, recipients, story.end, worker))
    assert died == (story.steps[number] if number < len(story.steps) else None)


def restart(folder: Path) -> None:
    archive = kept.archive(folder)
    recover(archive, "flac", NOW, pytest.fail)
    archive.store.close()


def judge(folder: Path, story: Story, number: int) -> None:
    """What was allowed is kept as far as it was written, what was refused is gone, nothing else is left."""
    archive = kept.archive(folder)
    chunks = story.chunks_by(number)
    rows = archive.store.recordings()
    if not story.opened_by(number):
        assert rows == []
    elif story.refused_by(number):
        assert [row.status for row in rows] == [Status.ERASED]
        assert rows[0].decision == "refused"
    elif chunks == 0:
        assert [row.status for row in rows] == [Status.FAILED]
    else:
        assert [row.status for row in rows] == [Status.CLOSED]
        assert rows[0].incomplete is (chunks < 3)
        check_sound(archive, story, min(chunks, 2), complete=chunks == 3)
    if not rows or rows[0].status is not Status.CLOSED:
        assert (archive.names(), archive.keys()) == ([], [])
    assert (archive.unfinished(), archive.store.open_receipts()) == ([], [])
    assert orphans(archive) == []
    found = verify(archive)
    assert (found.problems, found.lost) == ([], [])
    archive.store.close()
    left = {path.suffix for path in folder.rglob("*")}
    assert not left & {".tmp", ".part"}
    assert not rows or ".db-journal" not in left  # before any row it goes with the first one


def check_sound(archive: Archive, story: Story, seconds: int, *, complete: bool) -> None:
    file = Paths(archive).final(ROW.id, "sealed" if story.sealed else "flac")
    assert [name for name, _ in archive.names()] == sorted([file.name, f"{ROW.id}.json"])
    assert len(archive.keys()) == story.sealed
    reading = read_sound(file, archive.vault.key(ROW.id, ANN) if story.sealed else None)
    assert np.array_equal(np.concatenate(list(reading.blocks())), expected(seconds * RATE))
    assert reading.complete is complete
    assert archive.store.recording(ROW.id).duration_s == seconds


@pytest.mark.parametrize(("story", "number"), DEATHS)
def test_killed_before_any_step_it_is_made_good_at_the_next_start(
    tmp_path: Path, story: Story, number: int
) -> None:
    folder = tmp_path / "office"
    die(folder, story, number)
    restart(folder)
    judge(folder, story, number)


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
]


@pytest.mark.parametrize(("name", "step"), WORST)
def test_killed_before_any_step_of_the_next_start_it_is_made_good_by_the_one_after(
    tmp_path: Path, name: str, step: str
) -> None:
    """From the last time that the story took this step; the next start works on what it left."""
    story = STORIES[name]
    number = len(story.steps) - 1 - story.steps[::-1].index(step)
    died = tmp_path / "died" / "office"
    died.parent.mkdir()
    die(died, story, number)
    again = killed_at_each_step(died, restart, lambda folder: judge(folder, story, number))
    assert again > 3

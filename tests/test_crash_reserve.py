"""kill -9 at every step of a call whose rows the database does not take: the next start loses nothing of it.

The disk has no room for a row from before the receipt to the end; the steps are the real recorder's, on one
thread, as in `test_crash_steps`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from media.recording.tap import Tap
from retention.archive import Archive
from retention.records import Status
from retention.reserve import Reserve
from retention.vault import public_line
from retention.verify import orphans, verify
from sipagent.agent.recorder import Recorder, recover
from tests import kept
from tests.crashing import killed_at_each_step, killed_before
from tests.full_disk import fill
from tests.kept import receipt
from tests.tapping import RATE, feed
from tests.test_crash_steps import (
    ALLOWED,
    ANN,
    CLOSING,
    END,
    FLAC,
    KEY,
    MARK,
    NO_KEY,
    NO_PART,
    NOW,
    REFUSED,
    ROW,
    SEAL,
    TAP,
    AtOnce,
    ByHand,
    RowsAtOnce,
    check_sound,
)
from tests.test_crash_steps import STORIES as PLAIN

HELD = ["head retention.reserve", "sync retention.reserve"]
ALLOCATED = [
    *["create retention.reserve", "head retention.reserve"],
    *["head retention.reserve", "sync retention.reserve", "sync office"],
]
FOLDER = ["mkdir recordings", "sync office"]


@dataclass(frozen=True)
class Story:
    """`refuses`: whether the caller does, in the end."""

    sealed: bool
    refuses: bool
    steps: Sequence[str]

    def held_by(self, number: int) -> bool:
        """Whether the row was in the reserve when that step came."""
        return self.steps[:number].count(HELD[0]) > ALLOCATED.count(HELD[0])

    def refused_by(self, number: int) -> bool:
        return MARK[0] in self.steps[:number]

    def chunks_by(self, number: int) -> int:
        return self.steps[:number].count("half of ID.part")


BEGUN = [*ALLOCATED, *HELD, *FOLDER]
STORIES = {
    "clear": Story(False, False, [*BEGUN, *TAP, *END, *FLAC, *HELD]),
    "sealed": Story(True, False, [*BEGUN, *KEY, *TAP, *END, *SEAL, *HELD]),
    "clear, refused": Story(False, True, [*BEGUN, *TAP, *MARK, *NO_PART, *HELD]),
    "sealed, refused": Story(True, True, [*BEGUN, *KEY, *TAP, *MARK, *NO_KEY, *NO_PART, *HELD]),
}
DEATHS = [
    pytest.param(story, number, id=f"{name}-{number}-{what}")
    for name, story in STORIES.items()
    for number, what in enumerate([*story.steps, "beyond the last"])
]


def call(folder: Path, recipients: tuple[Path, ...], refuses: bool) -> None:
    """Two seconds of it, on a disk without room for a row; at the end as when the process ends."""
    fill(pytest.MonkeyPatch(), lambda: True)
    reserve = Reserve(folder / "retention.reserve", 2)
    recorder = Recorder(kept.archive(folder), "flac", lambda _: None, recipients, reserve)
    recorder._rows = RowsAtOnce(recorder.archive.store, reserve, lambda _: None)
    recorder._quick = recorder._slow = AtOnce("", pytest.fail)
    recorder._erasing._mark = recorder._erasing._eraser = AtOnce("", pytest.fail)
    recorder._writer = ByHand()
    reserve.allocate()
    recorder.keep_receipt(ALLOWED)
    tap = recorder.begin(ROW, pytest.fail)
    for second in range(2):
        feed(tap, second * RATE, (second + 1) * RATE)
        tap.write_out()
        tap.sync()
    end(recorder, tap, refuses)
    assert recorder._rows.secure()


def end(recorder: Recorder, tap: Tap, refuses: bool) -> None:
    if refuses:
        recorder.erase(tap, REFUSED, NOW)
    else:
        recorder.keep(tap, ROW, CLOSING)
        recorder.keep_receipt(receipt(ROW))


def die(folder: Path, story: Story, number: int) -> None:
    folder.mkdir(exist_ok=True)
    kept.archive(folder).store.close()
    public = folder / "ann.pub"
    public.write_text(public_line(ANN.public))
    recipients = (public,) if story.sealed else ()
    died = killed_before(number, partial(call, folder, recipients, story.refuses))
    assert died == (story.steps[number] if number < len(story.steps) else None)


def restart(folder: Path) -> None:
    archive = kept.archive(folder)
    recover(archive, "flac", NOW, pytest.fail)
    archive.store.close()


def judge(folder: Path, story: Story, number: int) -> None:
    """What began is kept as far as it was written, unless it was refused; nothing else is left."""
    archive = kept.archive(folder)
    rows, calls = archive.store.recordings(), archive.store.receipts()
    chunks = story.chunks_by(number)
    if not story.held_by(number):
        assert (rows, calls) == ([], [])
    elif story.refused_by(number):
        assert [(row.status, row.decision) for row in rows] == [(Status.ERASED, "refused")]
        assert [one.decision for one in calls] == ["refused"]
    elif chunks == 0:
        assert [row.status for row in rows] == [Status.FAILED]
    else:
        assert [(row.status, row.incomplete) for row in rows] == [(Status.CLOSED, chunks < 3)]
        assert [one.decision for one in calls] == ["allowed"]
        check_sound(
            archive, PLAIN["sealed" if story.sealed else "clear"], min(chunks, 2), complete=chunks == 3
        )
    if not rows or rows[0].status is not Status.CLOSED:
        assert (archive.names(), archive.vault.ids()) == ([], [])
    nothing_is_undone(archive, folder)


def nothing_is_undone(archive: Archive, folder: Path) -> None:
    assert (archive.unfinished(), archive.store.open_receipts(), orphans(archive)) == ([], [], [])
    found = verify(archive)
    assert (found.problems, found.lost) == ([], [])
    archive.store.close()
    for reserve in folder.glob("*.reserve"):
        assert not any(reserve.read_bytes())
    assert not {path.suffix for path in folder.rglob("*")} & {".tmp", ".part", ".refused"}


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
    ("sealed", "head retention.reserve"),
    ("sealed, refused", "unlink ID.key"),
]


@pytest.mark.parametrize(("name", "step"), WORST)
def test_killed_before_any_step_of_the_next_start_it_is_made_good_by_the_one_after(
    tmp_path: Path, name: str, step: str
) -> None:
    story = STORIES[name]
    number = len(story.steps) - 1 - story.steps[::-1].index(step)
    died = tmp_path / "died" / "office"
    died.parent.mkdir()
    die(died, story, number)
    again = killed_at_each_step(died, restart, lambda folder: judge(folder, story, number))
    assert again > 10

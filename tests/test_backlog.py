"""What a tap keeps for its writer: in order, bounded, with what was lost counted."""

import numpy as np

from media.recording.tap import Backlog, Entry

FRAME = np.ones(800, dtype=np.int16)


def opened(capacity: int) -> Backlog:
    backlog = Backlog(capacity, 800)
    backlog.open()
    return backlog


def brief(entries: list[Entry]) -> list[object]:
    """Frames as (channel, size, "sound" or "silence"), marks as they are."""
    return [
        entry
        if isinstance(entry, bool)
        else (entry[0], entry[1], "silence")
        if isinstance(entry[1], int)
        else (entry[0], entry[1].size, "sound")
        for entry in entries
    ]


def test_nothing_is_kept_before_it_opens_or_after_it_closes() -> None:
    backlog = Backlog(16000, 800)
    assert backlog.put(0, FRAME, 0.0)
    assert backlog.take() == []
    backlog.open()
    assert backlog.put(0, FRAME, 0.1)
    backlog.close()
    assert backlog.put(0, FRAME, 0.2)
    assert brief(backlog.take()) == [(0, 800, "sound")]
    assert backlog.drops == 0


def test_entries_come_out_once_and_in_order() -> None:
    backlog = opened(16000)
    backlog.put(0, FRAME, 0.0)
    backlog.mark(True)
    backlog.put(1, FRAME[:0], 0.0)
    backlog.mark(True)
    backlog.mark(False)
    backlog.put(1, FRAME[:160], 0.1)
    assert brief(backlog.take()) == [(0, 800, "sound"), True, (1, 800, "silence"), False, (1, 160, "sound")]
    assert backlog.take() == []


def test_a_mark_before_the_first_frame_is_kept() -> None:
    backlog = Backlog(16000, 800)
    backlog.mark(True)
    backlog.open()
    assert backlog.take() == [True]


def test_what_does_not_fit_is_one_silence_per_channel() -> None:
    backlog = opened(3200)
    for step in range(4):
        for channel in (0, 1):
            assert backlog.put(channel, FRAME, step / 10)
    assert backlog.drops == 4
    entries = backlog.take()
    assert brief(entries) == [
        *[(0, 800, "sound"), (1, 800, "sound")] * 2,
        (0, 1600, "silence"),
        (1, 1600, "silence"),
    ]
    assert entries[-1] == (1, 1600, 0.3)


def test_once_something_is_lost_all_is_until_it_is_taken_from() -> None:
    backlog = opened(1000)
    backlog.put(0, FRAME, 0.0)
    backlog.put(1, FRAME, 0.0)
    backlog.put(0, FRAME[:100], 0.1)
    assert backlog.drops == 2
    backlog.take()
    backlog.put(0, FRAME, 0.2)
    assert brief(backlog.take()) == [(0, 800, "sound")]


def test_a_mark_stays_in_its_place_among_losses() -> None:
    backlog = opened(800)
    backlog.put(0, FRAME, 0.0)
    backlog.put(1, FRAME, 0.0)
    backlog.mark(True)
    backlog.put(0, FRAME, 0.1)
    assert brief(backlog.take())[:3] == [(0, 800, "sound"), (1, 800, "silence"), True]


def test_nobody_taking_is_noticed_once_as_much_is_lost_as_fits() -> None:
    backlog = opened(1600)
    assert all(backlog.put(0, FRAME, 0.0) for _ in range(4))
    assert not backlog.put(0, FRAME, 0.0)
    assert not backlog.put(1, FRAME[:0], 0.0)
    backlog.take()
    assert backlog.put(0, FRAME, 0.0)

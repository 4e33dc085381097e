"""What the benches make of what they hear: what was not heard must not look as if it were."""

from typing import Any

import numpy as np
import pytest

from sipagent.softphone.rtp import LEVELS
from tests.bench.load_mark import (
    FRAME,
    HALF,
    MARK,
    PACKET,
    PHASES,
    Heard,
    Kept,
    Stream,
    find_marks,
    first_marks,
    kept,
    marks,
)

MS = 1_000_000
DELAY_MS, PLACE = 30, 40
OPERATOR = 1
Payloads = np.ndarray[Any, np.dtype[np.uint8]]


def payloads(leg: int, frames: int) -> Payloads:
    """(frames, 160) bytes as the generator sends them."""
    said = np.random.default_rng(1).integers(0, 256, (frames, FRAME), dtype=np.uint8)
    for frame in range(frames):
        for half in (0, 1):
            at = half * HALF
            said[frame, at : at + MARK] = marks(np.array([leg], np.uint16), 2 * frame + half)
    return said


@pytest.mark.parametrize("shift", [0, 1, 40, 79])
def test_marks_are_found_wherever_they_begin_and_a_damaged_one_is_none(shift: int) -> None:
    said = payloads(leg=513, frames=136)
    moved = said.reshape(-1)[HALF - shift :][: FRAME * 100].reshape(-1, FRAME)
    valid, legs, halves, places = first_marks(moved[:, : HALF + MARK])
    assert valid.all() and (legs == 513).all() and (places == shift).all()
    assert (halves == 1 + 2 * np.arange(100)).all()
    moved[:, shift + 8] ^= 1
    valid, *_ = first_marks(moved[:, : HALF + MARK])
    assert not valid.any()


def test_marks_survive_the_way_through_linear_samples() -> None:
    found = find_marks(LEVELS[8][payloads(leg=7, frames=50).reshape(-1)])
    assert (found[:, 0] == np.arange(100) * HALF).all()
    assert (found[:, 1] == 7).all() and (found[:, 2] == np.arange(100)).all()


@pytest.fixture
def whole() -> Heard:
    """An operator who hears leg 3 for 6 s, each frame 30 ms late."""
    sent = np.array([(leg, frame, frame * 20 * MS) for frame in range(300) for leg in range(PHASES)])
    packets, count = np.zeros(300, PACKET), np.arange(300)
    packets["kind"], packets["port"], packets["type"], packets["ssrc"] = OPERATOR, 4000, 8, 99
    packets["sequence"] = (65_500 + count) & 0xFFFF
    packets["marked"], packets["leg"], packets["half"] = True, 3, 2 * count + 1
    packets["place"] = PLACE  # 5 ms
    packets["at_ns"] = (count * 20 + 10 - 5 + DELAY_MS) * MS
    return Heard(packets, sent.astype(np.int64), 0)


def only(heard: Heard) -> Stream:
    (stream,) = heard.streams()
    assert (stream.kind, stream.leg) == ("operator", 3)
    return stream


def test_a_stream_is_whole_or_tells_its_gaps_losses_and_holes(whole: Heard) -> None:
    stream = only(whole)
    assert stream.delays_ms == pytest.approx(np.full(len(stream.delays_ms), DELAY_MS))
    assert stream.gaps_ms.max() == pytest.approx(20) and stream.said_s > 3
    assert (stream.lost_packets, stream.skipped_s, stream.hole_ms) == (0, 0, 0)
    lossy = only(Heard(np.delete(whole.packets, [200, 201, 202, 220]), whole.sent, 0))
    assert lossy.gaps_ms.max() == pytest.approx(80)
    assert (lossy.lost_packets, lossy.hole_ms) == (4, 60) and lossy.skipped_s == pytest.approx(0.08)
    assert whole.between(0, 40 * MS).packets["half"].tolist() == [1]
    whole.packets["half"][200:] += 1  # left out by the jitter buffer: no packet is lost
    stream = only(whole)
    assert stream.lost_packets == 0 and stream.skipped_s == pytest.approx(0.01)
    whole.packets["marked"] = False  # a leg that hears nobody has no figures
    assert whole.streams() == []


@pytest.mark.parametrize(
    ("hole", "at_phone", "found"),
    [
        (0, (), (0.0, 0.0, True)),
        (5, range(199, 205), (100.0, 0.0, False)),  # the phone had it, too: the jitter buffer's
        (2, (), (40.0, 40.0, False)),  # the phone has heard it: lost by us
    ],
)
def test_a_recording_is_whole_or_tells_what_it_lacks(
    whole: Heard, hole: int, at_phone: Any, found: tuple[float, float, bool]
) -> None:
    """The caller is leg 3; the operator says the same as leg 7."""
    sound = np.stack([LEVELS[8][payloads(leg, 300).reshape(-1)] for leg in (3, 7)], axis=1)
    sound[200 * FRAME : (200 + hole) * FRAME, 0] = 0
    heard = Heard(np.delete(whole.packets, at_phone), whole.sent, 0)
    one = kept(sound, True, heard, heard.by_leg())
    assert (one.hole_ms, one.lost_ms, one.whole) == found
    assert not hole or one != Kept(6.0, True, 0.0, 0.0, 0.0)

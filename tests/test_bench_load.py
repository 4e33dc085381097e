"""The load generator's marks, and what is made of them: what was not heard must not look as if it were."""

from typing import Any

import numpy as np
import pytest

from sipagent.softphone.rtp import LEVELS
from tests.bench.load_heard import Heard, Stream
from tests.bench.load_kept import Kept, kept
from tests.bench.load_mark import FRAME, HALF, MARK, PACKET, PHASES, find_marks, first_marks, marks

MS = 1_000_000
DELAY_MS, PLACE = 30, 40
CALLER, OPERATOR = 0, 1


def payloads(leg: int, frames: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(frames, 160) bytes as the generator sends them."""
    said = np.random.default_rng(1).integers(0, 256, (frames, FRAME), dtype=np.uint8)
    for frame in range(frames):
        for half in (0, 1):
            at = half * HALF
            said[frame, at : at + MARK] = marks(np.array([leg], np.uint16), 2 * frame + half)
    return said


def test_marks_are_found_wherever_they_begin() -> None:
    said = payloads(leg=513, frames=70_000 // 512)
    for shift in (0, 1, 40, 79):
        moved = said.reshape(-1)[HALF - shift :][: FRAME * 100].reshape(-1, FRAME)
        valid, legs, halves, places = first_marks(moved[:, : HALF + MARK])
        assert valid.all() and (legs == 513).all() and (places == shift).all()
        assert (halves == 1 + 2 * np.arange(100)).all()


def test_marks_survive_the_way_through_linear_samples() -> None:
    said = payloads(leg=7, frames=50)
    found = find_marks(LEVELS[8][said.reshape(-1)])
    assert (found[:, 0] == np.arange(100) * HALF).all()
    assert (found[:, 1] == 7).all() and (found[:, 2] == np.arange(100)).all()


def test_a_damaged_mark_is_none() -> None:
    said = payloads(leg=7, frames=1)
    said[0, 8] ^= 1
    valid, *_ = first_marks(said[:, : HALF + MARK])
    assert not valid.any()


def heard(frames: int) -> Heard:
    """An operator who hears leg 3 for so many frames, each 30 ms late."""
    sent = np.array([(leg, frame, frame * 20 * MS) for frame in range(frames) for leg in range(PHASES)])
    packets = np.zeros(frames, PACKET)
    count = np.arange(frames)
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


def test_a_whole_stream() -> None:
    stream = only(heard(300))
    assert stream.delays_ms == pytest.approx(np.full(len(stream.delays_ms), DELAY_MS))
    assert stream.gaps_ms.max() == pytest.approx(20)
    assert (stream.lost_packets, stream.skipped_s) == (0, 0)
    assert stream.said_s > 3


def test_a_packet_that_is_lost_is_a_gap_and_a_loss() -> None:
    whole = heard(300)
    stream = only(Heard(np.delete(whole.packets, [200, 201, 202]), whole.sent, 0))
    assert stream.gaps_ms.max() == pytest.approx(80)
    assert stream.lost_packets == 3
    assert stream.skipped_s == pytest.approx(0.06)


def test_sound_that_is_left_out_is_no_loss_of_packets() -> None:
    whole = heard(300)
    whole.packets["half"][200:] += 1
    stream = only(whole)
    assert stream.lost_packets == 0
    assert stream.skipped_s == pytest.approx(0.01)


def test_a_leg_that_hears_nobody_has_no_figures() -> None:
    silent = heard(300)
    silent.packets["marked"] = False
    assert silent.streams() == []


def recorded(whole: Heard) -> np.ndarray[Any, np.dtype[np.int16]]:
    """What the caller (leg 3) said, for as long as it was heard; the operator says the same as leg 7."""
    frames = len(whole.packets)
    return np.stack([LEVELS[8][payloads(leg, frames).reshape(-1)] for leg in (3, 7)], axis=1)


def test_a_recording_that_is_whole() -> None:
    whole = heard(300)
    assert kept(recorded(whole), True, whole, whole.by_leg()) == Kept(6.0, True, 0.0, 0.0, 0.0)


def test_a_hole_that_the_phone_had_too_is_the_jitter_buffers() -> None:
    whole = heard(300)
    sound = recorded(whole)
    sound[200 * FRAME : 205 * FRAME, 0] = 0
    at_phone = Heard(np.delete(whole.packets, range(199, 205)), whole.sent, 0)
    one = kept(sound, True, at_phone, at_phone.by_leg())
    assert (one.hole_ms, one.lost_ms, one.whole) == (100.0, 0.0, False)


def test_what_a_recording_lacks_and_the_phone_has_heard_is_lost() -> None:
    whole = heard(300)
    sound = recorded(whole)
    sound[200 * FRAME : 202 * FRAME, 0] = 0
    one = kept(sound, True, whole, whole.by_leg())
    assert (one.hole_ms, one.lost_ms, one.whole) == (40.0, 40.0, False)


def test_a_mark_that_is_cut_in_two_is_no_hole() -> None:
    whole = heard(300)
    sound = recorded(whole)
    at = 200 * FRAME + 5
    sound = np.concatenate([sound[:at], np.zeros((FRAME, 2), np.int16), sound[at:]])
    one = kept(sound, True, whole, whole.by_leg())
    assert (one.hole_ms, one.lost_ms, one.whole) == (10.0, 0.0, True)


def test_the_longest_piece_that_a_phone_lacked() -> None:
    whole = heard(300)
    assert only(whole).hole_ms == 0
    assert only(Heard(np.delete(whole.packets, [200, 201, 202, 220]), whole.sent, 0)).hole_ms == 60

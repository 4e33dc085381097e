"""Speech in, utterances out: when they begin, go on and end, and how little is kept."""

import itertools
from typing import TypeVar

import numpy as np
import pytest
import webrtcvad

from media.frame import SAMPLE_RATE, Samples
from media.hearing.vad import SpeechGoesOn, SpeechStarted, Utterance, VoiceFact, VoiceGate

SLICE = SAMPLE_RATE // 50
Facts = list[tuple[int, VoiceFact]]
Kind = TypeVar("Kind", bound=VoiceFact)


class _Scripted:
    """A voice detector that calls a slice voiced if its first sample is not 0."""

    def __init__(self, mode: int) -> None:
        assert mode == 2

    def is_speech(self, pcm: bytes, rate: int) -> bool:
        assert (len(pcm), rate) == (2 * SLICE, SAMPLE_RATE)
        return bool(np.frombuffer(pcm, dtype=np.int16)[0])


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> VoiceGate:
    monkeypatch.setattr(webrtcvad, "Vad", _Scripted)
    return VoiceGate(100)


def _slices(pattern: str) -> Samples:
    """One slice of 20 ms for each character, voiced where it is `x`; its second sample numbers it from 1."""
    sound = np.zeros((len(pattern), SLICE), dtype=np.int16)
    sound[:, 0] = [character == "x" for character in pattern]
    sound[:, 1] = np.arange(1, len(pattern) + 1)
    return sound.reshape(-1)


def _numbers(samples: Samples) -> list[int]:
    return [int(number) for number in samples[1::SLICE]]


def _feed(gate: VoiceGate, sound: Samples, frame: int = SLICE) -> Facts:
    """(number of the last slice fed, fact)."""
    return [
        ((at + frame) // SLICE, fact)
        for at in range(0, len(sound), frame)
        for fact in gate.feed(sound[at : at + frame])
    ]


def _of(facts: Facts, kind: type[Kind]) -> list[tuple[int, Kind]]:
    return [(at, fact) for at, fact in facts if isinstance(fact, kind)]


def test_an_utterance_from_pre_roll_to_hang_over(gate: VoiceGate) -> None:
    facts = _feed(gate, _slices("." * 30 + "x" * 25 + "." * 30))
    assert [at for at, _ in _of(facts, SpeechStarted)] == [35]
    [(at, utterance)] = _of(facts, Utterance)
    assert (at, utterance.duration_ms) == (55 + 20, 500)
    numbers = _numbers(utterance.samples)
    assert numbers[numbers.index(1) :] == list(range(1, 76)), "zeros before the leg's first sound"
    assert len(numbers) - 75 <= 42


def test_context_and_pre_roll_come_before_the_first_voiced_slice(gate: VoiceGate) -> None:
    [(_, utterance)] = _of(_feed(gate, _slices("." * 60 + "x" * 25 + "." * 30)), Utterance)
    numbers = _numbers(utterance.samples)
    assert numbers == list(range(numbers[0], 106))
    assert 61 - 41 <= numbers[0] <= 61 - 35, "700 ms, and what it took to be sure of a voice"


@pytest.mark.parametrize("every_ms", [100, 500])
def test_speech_is_asked_about_while_it_goes_on(gate: VoiceGate, every_ms: int) -> None:
    """From 300 ms of it until it has ended, at the ends of the leg's tenths or halves of a second."""
    gate.every_ms = every_ms
    going = _of(_feed(gate, _slices("." * 32 + "x" * 25 + "." * 30)), SpeechGoesOn)
    assert [at for at, _ in going] == [at for at in range(47, 77) if at % (every_ms // 20) == 0]
    assert all(_numbers(fact.samples)[-1] == at for at, fact in going)


@pytest.mark.parametrize("silence", [0, 1, 2, 33, 80])
def test_each_question_lies_on_the_grid_where_it_says(gate: VoiceGate, silence: int) -> None:
    sound = _slices("." * silence + "x" * 333 + "." * 30)
    asked = [fact for _, fact in _feed(gate, sound, 800) if isinstance(fact, SpeechGoesOn | Utterance)]
    offset = asked[-1].at + len(asked[-1].samples) - SLICE * (silence + 333 + 20)
    before = np.concatenate([np.zeros(offset, dtype=np.int16), sound])
    for fact in asked:
        assert fact.at % 320 == 0
        assert (before[fact.at : fact.at + len(fact.samples)] == fact.samples).all()


def test_speech_begins_with_four_of_six_and_clicks_and_coughs_are_none(gate: VoiceGate) -> None:
    """Fewer than 4 of 6 slices, or less than 100 ms in all."""
    for pattern in ("xxx", "x..x..x..x..x..x", "xxxx", "xx..xx"):
        assert _feed(gate, _slices("." * 20 + pattern + "." * 60)) == []
    facts = _feed(VoiceGate(100), _slices("." * 20 + "x.x.xx" + "x" + "." * 40))
    assert [at for at, _ in _of(facts, SpeechStarted)] == [27]
    assert [fact.duration_ms for _, fact in _of(facts, Utterance)] == [140]


@pytest.mark.parametrize(("pause", "utterances"), [(19, 1), (20, 2)])
def test_a_pause_of_400_ms_parts_two_utterances(gate: VoiceGate, pause: int, utterances: int) -> None:
    facts = _feed(gate, _slices("x" * 20 + "." * pause + "x" * 20 + "." * 20))
    assert len(_of(facts, Utterance)) == len(_of(facts, SpeechStarted)) == utterances


def test_speech_without_end_is_handed_over_in_windows_and_no_more_is_kept(gate: VoiceGate) -> None:
    windows = _of(_feed(gate, _slices("x" * 2000)), SpeechGoesOn)
    assert {after - before for (before, _), (after, _) in itertools.pairwise(windows)} == {5}
    for at, window in windows[30:]:
        count = len(window.samples) // SLICE
        assert _numbers(window.samples) == list(range(at + 1 - count, at + 1))
        assert 149 <= count <= 150, "2.5 s, and the half second before"
    [(_, utterance)] = _of(_feed(gate, _slices("." * 20)), Utterance)
    assert 2980 * 8 <= len(utterance.samples) <= 3000 * 8 and utterance.duration_ms == 40_000


def test_the_present_utterance_can_be_had_and_cut_off(gate: VoiceGate) -> None:
    assert [*gate.present(), *gate.finish()] == []
    _feed(gate, _slices("." * 30 + "x" * 20 + "." * 3 + "xx"))
    (going,), (utterance,) = gate.present(), gate.finish()
    assert _numbers(going.samples)[-1] == _numbers(utterance.samples)[-1] == 55
    assert utterance.duration_ms == 25 * 20
    assert [*gate.present(), *gate.finish()] == []
    _feed(gate, _slices("." * 30 + "xxxx"))  # too little to be speech
    assert gate.finish() == []


@pytest.mark.parametrize("frame", [1, 100, SLICE, 333, 800, 10_000])
def test_frames_of_any_length_make_no_difference(gate: VoiceGate, frame: int) -> None:
    sound = _slices("." * 11 + "x" * 9 + "." * 25 + "x" * 30 + "." * 25)
    assert [fact.duration_ms for _, fact in _of(_feed(gate, sound, frame), Utterance)] == [180, 600]


def test_the_real_detector_tells_a_voice_from_noise() -> None:
    """The one test with webrtcvad itself: a buzz with formants between two silences of faint noise."""
    noise = np.random.default_rng(3).standard_normal(3 * SAMPLE_RATE) * 8
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * (130 * time + 8 * np.sin(2 * np.pi * 2 * time))
    for n in range(1, 20):
        gain = np.exp(-(((130 * n - 600) / 300) ** 2)) + 0.5 * np.exp(-(((130 * n - 1500) / 300) ** 2))
        noise[SAMPLE_RATE : 2 * SAMPLE_RATE] += 4000 * gain * np.sin(n * phase)
    facts = _feed(VoiceGate(100), noise.astype(np.int16), 800)
    [(at, _)], [(_, utterance)] = _of(facts, SpeechStarted), _of(facts, Utterance)
    assert 50 <= at <= 65 and 800 <= utterance.duration_ms <= 1200

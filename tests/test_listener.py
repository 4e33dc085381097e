"""One thread hears every leg; a fault on one is a fact, and no one else's trouble."""

import itertools
import math
import queue
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import webrtcvad

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.hearing import listener as worker
from media.hearing.dtmf import ToneDetector, ToneFact, ToneHeard, ToneStarted
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict
from media.hearing.listener import (
    AllHeard,
    Conclusion,
    KeywordSpotted,
    Listener,
    ListenerFailed,
    SpeechEnded,
)
from media.hearing.vad import SpeechStarted

OTHER = Verdict(Meaning.OTHER)
ACCEPT = Verdict(Meaning.ACCEPT, "oui", 0.9)
UNCLEAR = Verdict(Meaning.UNCLEAR, None, 0.5)
REFUSE = Verdict(Meaning.REFUSE, "je refuse", 0.8)
QUIET: Samples = np.zeros(FRAME_SAMPLES, dtype=np.int16)
VOICE: Samples = np.full(FRAME_SAMPLES, 900, dtype=np.int16)
"""For the voice detector below; no key for the other."""


def _key(low: float, high: float) -> Samples:
    """A whole frame of a key at -9 dBm0 for each tone."""
    time = np.arange(FRAME_SAMPLES) / SAMPLE_RATE
    wave = 8000 * (np.sin(2 * math.pi * low * time) + np.sin(2 * math.pi * high * time))
    return np.asarray(wave, dtype=np.int16)


NINE, FIVE = _key(852, 1477), _key(770, 1336)


class _Loud:
    """Voiced is what is loud: the gate is tested elsewhere."""

    def __init__(self, _: int) -> None: ...

    def is_speech(self, pcm: bytes, _: int) -> bool:
        return bool(np.frombuffer(pcm, dtype=np.int16).max() > 100)


class _Answers:
    """A detector that gives what it is told to, in turn, then OTHER; errors are raised."""

    every_ms = 100

    def __init__(self, *answers: Verdict | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.places: list[StreamPosition] = []

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        self.asked.append(len(samples))
        if place:
            self.places.append(place)
        answer = self.answers.pop(0) if self.answers else OTHER
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Reports:
    """Where the conclusions go, by leg."""

    def __init__(self) -> None:
        self.all: list[tuple[int, Conclusion]] = []

    def __call__(self, leg: int, conclusion: Conclusion) -> None:
        self.all.append((leg, conclusion))

    def of(self, leg: int) -> list[Conclusion]:
        return [conclusion for at, conclusion in self.all if at == leg]


Start = Callable[..., Listener]


@pytest.fixture
def reports() -> _Reports:
    return _Reports()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, reports: _Reports) -> Iterator[Start]:
    monkeypatch.setattr(webrtcvad, "Vad", _Loud)
    started: list[Listener] = []

    def _start(detector: _Answers | None = None) -> Listener:
        started.append(Listener(reports, detector))
        started[-1].start()
        return started[-1]

    yield _start
    for listener in started:
        listener.stop()


def _hear(listener: Listener, leg: int, *frames: Samples) -> None:
    for frame in frames:
        listener.feed(leg, frame)
    assert listener.flush(60)


def _say(listener: Listener, leg: int, tenths: int = 5) -> None:
    """Speech for so many tenths of a second and silence that ends it; frame by frame, so never busy."""
    for frame in [VOICE] * tenths + [QUIET] * 5:
        _hear(listener, leg, frame)


def test_keys_are_reported_for_their_leg(start: Start, reports: _Reports) -> None:
    listener = start()
    for leg in (1, 2):
        listener.open(leg, tones=True, voice=False)
    for one, two in [(NINE, QUIET), (QUIET, FIVE), (QUIET, QUIET)]:
        listener.feed(1, one)
        listener.feed(2, two)
    assert listener.flush(60)
    assert reports.of(1) == [ToneStarted(), ToneHeard("9")]
    assert reports.of(2) == [ToneStarted(), ToneHeard("5")]


def test_a_leg_that_is_not_open_costs_nothing(start: Start, reports: _Reports) -> None:
    listener = start()
    _hear(listener, 1, NINE)
    listener.open(1, tones=True, voice=False)
    listener.close(1)
    _hear(listener, 1, NINE)
    listener.open(1, tones=False, voice=False)
    _hear(listener, 1, NINE, VOICE)
    assert reports.of(1) == [AllHeard(), AllHeard()]
    assert listener.drops == 0


def test_closing_hears_out_what_was_fed(start: Start, reports: _Reports) -> None:
    listener = start()
    listener.open(1, tones=True, voice=False)
    listener.feed(1, NINE)
    listener.close(1)
    assert listener.flush(60)
    assert reports.of(1) == [ToneStarted(), ToneHeard("9"), AllHeard()]


def test_without_detector_no_voice_work_is_done(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def _forbidden() -> None:
        raise AssertionError("a gate was made")

    monkeypatch.setattr(worker, "VoiceGate", _forbidden)
    listener = start(None)
    listener.open(1, tones=True, voice=False)
    _say(listener, 1)


DEAF = ListenerFailed("voice: there is no detector")


@pytest.mark.parametrize("tones", [True, False])
def test_a_leg_whose_speech_is_wished_and_nobody_hears_says_so(
    start: Start, reports: _Reports, tones: bool
) -> None:
    """Its silence is no permission."""
    listener = start(None)
    listener.open(1, tones=tones, voice=True)
    _hear(listener, 1, NINE, QUIET)
    listener.close(1)
    assert listener.flush(60)
    keys = [ToneStarted(), ToneHeard("9")] if tones else [AllHeard()]
    assert reports.of(1) == [DEAF, *keys, AllHeard()]


def test_speech_is_reported_with_its_verdict(start: Start, reports: _Reports) -> None:
    listener = start(_Answers(OTHER, ACCEPT))
    listener.open(1, tones=False, voice=True)
    _say(listener, 1)
    assert reports.of(1) == [SpeechStarted(), SpeechEnded(ACCEPT)]


def test_a_keyword_is_spotted_before_the_utterance_ends(start: Start, reports: _Reports) -> None:
    """At the end of its frame; what is said later can't weaken it."""
    listener = start(_Answers(OTHER, REFUSE, ACCEPT))
    listener.open(1, tones=False, voice=True)
    for frame in [VOICE] * 4:
        _hear(listener, 1, frame)
    assert reports.of(1) == [SpeechStarted(), KeywordSpotted(REFUSE)]
    for frame in [VOICE, QUIET, QUIET, QUIET, QUIET]:
        _hear(listener, 1, frame)
    assert reports.of(1) == [SpeechStarted(), KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]


def test_a_refusal_in_speech_without_end(start: Start, reports: _Reports) -> None:
    detector = _Answers(*[OTHER] * 40, *[UNCLEAR] * 9, REFUSE)
    listener = start(detector)
    listener.open(1, tones=False, voice=True)
    for _ in range(60):
        _hear(listener, 1, VOICE)
    nothing = [SpeechStarted(), SpeechEnded(OTHER)]
    assert reports.of(1) == [*nothing, SpeechStarted(), KeywordSpotted(UNCLEAR), KeywordSpotted(REFUSE)]
    assert max(detector.asked) == 3000 * 8


@pytest.mark.parametrize("trouble", [DetectorError("no model"), UNCLEAR])
def test_speech_without_end_that_was_not_all_judged_has_no_verdict(
    start: Start, reports: _Reports, trouble: Verdict | Exception
) -> None:
    """What nobody could judge, or what may be a refusal, must not be taken for nothing."""
    listener = start(_Answers(trouble, *[OTHER] * 60))
    listener.open(1, tones=False, voice=True)
    for _ in range(50):
        _hear(listener, 1, VOICE)
    assert reports.of(1)[0] == SpeechStarted() and SpeechEnded(OTHER) not in reports.of(1)


@pytest.mark.parametrize("weak", [UNCLEAR, ACCEPT])
@pytest.mark.parametrize(("questions", "reported"), [(5, 0), (6, 1), (20, 1)])
def test_what_is_weaker_than_a_refusal_is_reported_after_half_a_second_without_more(
    start: Start, reports: _Reports, weak: Verdict, questions: int, reported: int
) -> None:
    """The beginning of "je refuse" is unclear, and "oui, je refuse" accepts nothing."""
    listener = start(_Answers(*[weak] * questions, REFUSE))
    listener.open(1, tones=False, voice=True)
    for _ in range(30):
        _hear(listener, 1, VOICE)
    assert reports.of(1) == [SpeechStarted(), *[KeywordSpotted(weak)] * reported, KeywordSpotted(REFUSE)]


def test_each_question_says_where_it_lies_and_the_last_that_it_is(start: Start) -> None:
    detector = _Answers()
    listener = start(detector)
    for leg in (1, 2):
        listener.open(leg, tones=False, voice=True)
        _say(listener, leg, 40)
    first, second = detector.places[: len(detector.places) // 2], detector.places[len(detector.places) // 2 :]
    assert len({place.stream for place in first}) == len({place.stream for place in second}) == 1
    assert first[0].stream != second[0].stream
    ends = [place.at + asked for place, asked in zip(detector.places, detector.asked, strict=True)]
    assert [after - before for before, after in itertools.pairwise(ends[: len(first)])] == [800] * (
        len(first) - 1
    )
    assert [place.last for place in first] == [place.last for place in second]
    assert [place.last for place in first] == [False] * (len(first) - 1) + [True]


def test_the_next_utterance_starts_afresh(start: Start, reports: _Reports) -> None:
    listener = start(_Answers(REFUSE))
    listener.open(1, tones=False, voice=True)
    _say(listener, 1)
    _say(listener, 1)
    refused = [SpeechStarted(), KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]
    assert reports.of(1) == [*refused, SpeechStarted(), SpeechEnded(OTHER)]


def test_opening_again_leaves_a_key_under_way_alone(start: Start, reports: _Reports) -> None:
    listener = start(_Answers())
    listener.open(1, tones=True, voice=True)
    _hear(listener, 1, NINE[:240])
    listener.open(1, tones=True, voice=False)
    _hear(listener, 1, NINE[240:], QUIET)
    assert reports.of(1) == [ToneStarted(), ToneHeard("9")]


def test_what_is_no_longer_wanted_is_no_longer_heard(start: Start, reports: _Reports) -> None:
    detector = _Answers()
    listener = start(detector)
    listener.open(1, tones=True, voice=True)
    _hear(listener, 1, VOICE, VOICE)
    listener.open(1, tones=False, voice=True)
    _hear(listener, 1, NINE, QUIET)
    listener.open(1, tones=True, voice=False)
    _hear(listener, 1, *[QUIET] * 9)
    assert reports.of(1) == [SpeechStarted(), SpeechEnded(OTHER)]


def test_what_is_being_said_when_listening_ends_is_judged_as_far_as_it_went(
    start: Start, reports: _Reports
) -> None:
    listener = start(_Answers(REFUSE))
    listener.open(1, tones=False, voice=True)
    _hear(listener, 1, VOICE, VOICE)
    listener.close(1)
    assert listener.flush(30)
    assert reports.of(1) == [SpeechStarted(), SpeechEnded(REFUSE), AllHeard()]


def test_during_the_call_other_words_count(reports: _Reports) -> None:
    before, in_call = _Answers(UNCLEAR), _Answers(REFUSE)
    listener = Listener(reports, before, in_call)
    listener.start()
    try:
        listener.open(1, tones=False, voice=True)
        _hear(listener, 1, VOICE, VOICE)
        listener.open(1, tones=False, voice=True, in_call=True)
        _hear(listener, 1, VOICE, QUIET, QUIET)
        _hear(listener, 1, QUIET, QUIET, QUIET)
        assert not before.asked  # there was too little to judge by the words before
        assert reports.of(1) == [SpeechStarted(), KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]
    finally:
        listener.stop()


@pytest.mark.parametrize(
    ("says", "reported"),
    [
        (REFUSE, [KeywordSpotted(REFUSE)]),
        (UNCLEAR, [KeywordSpotted(UNCLEAR)]),
        (ACCEPT, []),
        (OTHER, []),
        (DetectorError("no memory"), [ListenerFailed("voice: no memory")]),
    ],
)
def test_what_was_said_before_the_call_is_judged_by_its_words_when_others_begin_to_count(
    monkeypatch: pytest.MonkeyPatch,
    reports: _Reports,
    says: Verdict | Exception,
    reported: list[Conclusion],
) -> None:
    """A detector may not yet have said what it makes of speech that goes on."""
    monkeypatch.setattr(webrtcvad, "Vad", _Loud)
    before, in_call = _Answers(says), _Answers()
    listener = Listener(reports, before, in_call)
    listener.start()
    try:
        listener.open(1, tones=False, voice=True)
        _hear(listener, 1, VOICE, VOICE)
        listener.open(1, tones=False, voice=True, in_call=True)
        _hear(listener, 1, VOICE)
        assert reports.of(1) == [SpeechStarted(), *reported]
        assert [place.last for place in before.places] == [True]
    finally:
        listener.stop()


def test_without_a_detector_for_the_call_nobody_listens_during_it(start: Start, reports: _Reports) -> None:
    listener = start(_Answers(REFUSE))
    listener.open(1, tones=False, voice=True)
    listener.open(1, tones=True, voice=True, in_call=True)
    _hear(listener, 1, VOICE, VOICE, *[QUIET] * 9)
    assert reports.of(1) == [DEAF]


def test_a_detector_that_fails_on_an_utterance(start: Start, reports: _Reports) -> None:
    """A question meanwhile, or the last one, without which nobody knows what was said."""
    listener = start(_Answers(DetectorError("no memory")))
    listener.open(1, tones=False, voice=True)
    _hear(listener, 1, VOICE, VOICE, VOICE)
    assert reports.of(1) == [SpeechStarted(), ListenerFailed("voice: no memory")]
    _hear(listener, 1, *[QUIET] * 5)
    assert reports.of(1)[2:] == [SpeechEnded(OTHER)]
    listener = start(_Answers(DetectorError("no memory"), REFUSE))
    listener.open(2, tones=False, voice=True)
    _hear(listener, 2, VOICE, VOICE)
    listener.close(2)
    assert listener.flush(60)
    listener.open(2, tones=False, voice=True)
    _say(listener, 2)
    failed = [SpeechStarted(), ListenerFailed("voice: no memory"), SpeechEnded(None), AllHeard()]
    assert reports.of(2) == [*failed, SpeechStarted(), KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]


@pytest.mark.parametrize(("spotted", "ended"), [(REFUSE, REFUSE), (UNCLEAR, UNCLEAR), (ACCEPT, None)])
def test_a_refusal_once_spotted_outlives_a_failure(
    start: Start, reports: _Reports, spotted: Verdict, ended: Verdict | None
) -> None:
    listener = start(_Answers(spotted, DetectorError("no memory")))
    listener.open(1, tones=False, voice=True)
    _hear(listener, 1, VOICE, VOICE, VOICE)
    listener.close(1)
    assert listener.flush(60)
    assert reports.of(1)[-3:] == [
        ListenerFailed("voice: no memory"),
        SpeechEnded(ended),
        AllHeard(),
    ]


def test_a_detector_that_goes_on_failing_is_told_of_once_an_utterance(
    start: Start, reports: _Reports
) -> None:
    listener = start(_Answers(*[DetectorError("gone")] * 8, REFUSE))
    listener.open(1, tones=False, voice=True)
    _hear(listener, 1, *[VOICE] * 4)
    _hear(listener, 1, *[VOICE] * 4)
    _hear(listener, 1, *[VOICE] * 4)
    failed = ListenerFailed("voice: gone")
    assert reports.of(1) == [SpeechStarted(), failed, KeywordSpotted(REFUSE)]
    listener = start(_Answers(*[DetectorError("gone")] * 40))
    listener.open(2, tones=False, voice=True)
    for _ in range(2):
        _say(listener, 2)
    assert reports.of(2) == [SpeechStarted(), failed, failed, SpeechEnded(None)] * 2


def test_a_detector_that_breaks_deafens_neither_keys_nor_other_legs(start: Start, reports: _Reports) -> None:
    listener = start(_Answers(RuntimeError("segment 7")))
    for leg in (1, 2):
        listener.open(leg, tones=True, voice=True)
    _say(listener, 1)
    _hear(listener, 1, NINE, QUIET)
    _say(listener, 2)
    broken = ListenerFailed("voice: no longer listened for: RuntimeError: segment 7")
    assert reports.of(1) == [SpeechStarted(), broken, ToneStarted(), ToneHeard("9")]
    assert reports.of(2) == [SpeechStarted(), SpeechEnded(OTHER)]
    listener.open(1, tones=True, voice=True)  # asked for again: tried again
    _say(listener, 1)
    assert reports.of(1)[-2:] == [SpeechStarted(), SpeechEnded(OTHER)]


@pytest.mark.parametrize("where", ["VoiceGate", "Echo.plays"])
def test_a_fault_before_anything_is_heard_ends_no_thread(
    start: Start, reports: _Reports, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def _broken(*_: object) -> None:
        raise ValueError("no model")

    listener = start(_Answers())
    listener.open(2, tones=True, voice=True)
    assert listener.flush(60)
    monkeypatch.setattr(f"media.hearing.listener.{where}", _broken)
    listener.open(1 if where == "VoiceGate" else 2, tones=True, voice=True)
    listener.plays(2, VOICE)
    _hear(listener, 1, NINE, QUIET)
    _hear(listener, 2, FIVE, QUIET)
    broken = ListenerFailed("voice: no longer listened for: ValueError: no model")
    assert [leg for leg, said in reports.all if said == broken] == [1 if where == "VoiceGate" else 2]
    assert ToneHeard("5") in reports.of(2)


def test_a_fault_in_the_tone_detector_is_reported_too(
    start: Start, reports: _Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _broken(_: ToneDetector, samples: Samples) -> list[ToneFact]:
        raise FloatingPointError(f"{len(samples)} samples")

    monkeypatch.setattr(ToneDetector, "feed", _broken)
    listener = start(_Answers())
    listener.open(1, tones=True, voice=True)
    _say(listener, 1)
    broken = ListenerFailed("tones: no longer listened for: FloatingPointError: 800 samples")
    assert reports.of(1) == [broken, SpeechStarted(), SpeechEnded(OTHER)]


class _Stuck:
    """Holds the listener's thread until it is let go."""

    every_ms = 100

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self.asked = 0

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        self.asked += 1
        self.entered.set()
        assert self.go.wait(60)
        return OTHER


def test_a_full_queue_drops_counts_and_reports(start: Start, reports: _Reports) -> None:
    stuck = _Stuck()
    listener = start(stuck)
    listener.open(1, tones=False, voice=True)
    listener.open(2, tones=True, voice=False)
    for frame in [VOICE, VOICE, QUIET, QUIET]:
        listener.feed(1, frame)
    assert stuck.entered.wait(60)
    for _ in range(worker.QUEUE_FRAMES + 30):
        listener.feed(2, QUIET)
    assert listener.drops >= 30
    assert not listener.flush(0.0)
    stuck.go.set()
    assert listener.flush(60)
    _hear(listener, 2, NINE, QUIET)
    fell_behind = ListenerFailed("fell behind: frames of this leg were dropped")
    assert reports.of(2) == [fell_behind, ToneStarted(), ToneHeard("9")]


def test_provisional_judgements_wait_for_no_one(start: Start) -> None:
    """With half a second of frames waiting, only whole utterances are judged."""
    stuck = _Stuck()
    listener = start(stuck)
    listener.open(1, tones=False, voice=True)
    for frame in [VOICE] * 2 + [QUIET] * 2:
        listener.feed(1, frame)
    assert stuck.entered.wait(60)
    for frame in [QUIET] * 3 + [VOICE] * 40 + [QUIET] * 5 + [QUIET] * 10:
        listener.feed(1, frame)
    stuck.go.set()
    assert listener.flush(60)
    assert stuck.asked == 3, "the one it was stuck on, and two utterances"


def test_stop_hears_what_was_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: queue.SimpleQueue[Conclusion] = queue.SimpleQueue()
    listener = Listener(lambda _, conclusion: heard.put(conclusion), None)
    listener.open(1, tones=True, voice=False)
    listener.feed(1, NINE)
    listener.start()
    listener.stop()
    assert [heard.get(), heard.get()] == [ToneStarted(), ToneHeard("9")]


def test_the_queue_grows_with_the_legs_that_it_is_for(reports: _Reports) -> None:
    """Not started: nothing takes what is fed."""
    for legs, fours in ((2, 1), (4, 1), (50, 12.5)):
        listener = Listener(reports, None, legs=legs)
        listener.open(1, tones=True, voice=False)
        for _ in range(int(worker.QUEUE_FRAMES * fours) + 10):
            listener.feed(1, QUIET)
        assert listener.drops == 11, legs  # the wish is in the queue, too

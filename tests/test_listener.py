"""One thread hears every leg; a fault on one is a fact, and no one else's trouble."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import webrtcvad

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.hearing import listener as worker
from media.hearing.dtmf import ToneDetector, ToneFact, ToneHeard, ToneStarted
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict
from media.hearing.listener import AllHeard, Conclusion, KeywordSpotted, Listener, ListenerFailed, SpeechEnded
from media.hearing.vad import SpeechStarted
from tests.raising import raising

OTHER = Verdict(Meaning.OTHER)
ACCEPT = Verdict(Meaning.ACCEPT, "oui", 0.9)
UNCLEAR = Verdict(Meaning.UNCLEAR, None, 0.5)
REFUSE = Verdict(Meaning.REFUSE, "je refuse", 0.8)
QUIET: Samples = np.zeros(FRAME_SAMPLES, dtype=np.int16)
VOICE: Samples = np.full(FRAME_SAMPLES, 900, dtype=np.int16)
"""For the voice detector below; no key for the other."""
STARTED, DEAF = SpeechStarted(), ListenerFailed("voice: there is no detector")
FAILED = ListenerFailed("voice: no memory")
ERROR = DetectorError("no memory")


def _key(low: float, high: float) -> Samples:
    """A whole frame of a key at -9 dBm0 for each tone."""
    time = np.arange(FRAME_SAMPLES) / SAMPLE_RATE
    wave = 8000 * (np.sin(2 * math.pi * low * time) + np.sin(2 * math.pi * high * time))
    return np.asarray(wave, dtype=np.int16)


NINE, FIVE = _key(852, 1477), _key(770, 1336)
NINE_HEARD = [ToneStarted(), ToneHeard("9")]


class _Loud:
    """Voiced is what is loud: the gate is tested elsewhere."""

    def __init__(self, _: int) -> None: ...

    def is_speech(self, pcm: bytes, _: int) -> bool:
        return bool(np.frombuffer(pcm, dtype=np.int16).max() > 100)


class _Answers:
    """A detector that gives what it is told to, in turn, then OTHER; errors are raised.

    `held`: it does not answer before that is set; `entered`: it is asked.
    """

    every_ms = 100

    def __init__(self, *answers: Verdict | Exception, held: threading.Event | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.places: list[StreamPosition] = []
        self.held, self.entered = held, threading.Event()

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        assert place
        self.asked.append(len(samples))
        self.places.append(place)
        self.entered.set()
        assert self.held is None or self.held.wait(60)
        answer = self.answers.pop(0) if self.answers else OTHER
        if isinstance(answer, Exception):
            raise answer
        return answer


class Ears:
    """A running listener, what it is fed, and what it reports by leg."""

    def __init__(self, *detectors: _Answers) -> None:
        self.all: list[tuple[int, Conclusion]] = []
        self.listener = Listener(lambda leg, said: self.all.append((leg, said)), *(detectors or (None,)))
        self.listener.start()

    def open(self, leg: int = 1, *, tones: bool = False, voice: bool = True, in_call: bool = False) -> None:
        self.listener.open(leg, tones=tones, voice=voice, in_call=in_call)

    def hear(self, *frames: Samples, leg: int = 1) -> list[Conclusion]:
        """Frame by frame, so never busy; all that is said of the leg so far."""
        for frame in frames:
            self.listener.feed(leg, frame)
            assert self.listener.flush(60)
        assert self.listener.flush(60)
        return [said for at, said in self.all if at == leg]

    def say(self, leg: int = 1, tenths: int = 5) -> list[Conclusion]:
        """Speech for so many tenths of a second and silence that ends it."""
        return self.hear(*[VOICE] * tenths, *[QUIET] * 5, leg=leg)

    def close(self, leg: int = 1) -> list[Conclusion]:
        self.listener.close(leg)
        return self.hear(leg=leg)


Start = Callable[..., Ears]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(webrtcvad, "Vad", _Loud)
    started: list[Ears] = []

    def _start(*detectors: _Answers) -> Ears:
        started.append(Ears(*detectors))
        return started[-1]

    yield _start
    for ears in started:
        ears.listener.stop()


# --- keys, and which legs are heard ---


def test_keys_are_reported_for_their_leg_until_it_is_closed(start: Start) -> None:
    ears = start()
    assert ears.hear(NINE) == []  # not open yet
    for leg in (1, 2):
        ears.open(leg, tones=True, voice=False)
    for one, two in [(NINE, QUIET), (QUIET, FIVE), (QUIET, QUIET)]:
        ears.listener.feed(1, one)
        ears.listener.feed(2, two)
    assert ears.hear() == NINE_HEARD
    assert ears.hear(leg=2) == [ToneStarted(), ToneHeard("5")]
    ears.listener.feed(1, NINE)
    assert ears.close() == [*NINE_HEARD, *NINE_HEARD, AllHeard()]  # what was fed is heard out
    assert len(ears.hear(NINE, VOICE)) == 5 and ears.listener.drops == 0


@pytest.mark.parametrize("tones", [True, False])
def test_a_leg_whose_speech_is_wished_and_nobody_hears_says_so(start: Start, tones: bool) -> None:
    """Its silence is no permission; nor is it during the call without a detector for that."""
    ears = start()
    ears.open(tones=tones)
    ears.hear(NINE, QUIET)
    assert ears.close() == [DEAF, *(NINE_HEARD if tones else [AllHeard()]), AllHeard()]
    ears = start(_Answers(REFUSE))
    ears.open()
    ears.open(tones=True, in_call=True)
    assert ears.hear(VOICE, VOICE, *[QUIET] * 9) == [DEAF]


def test_what_is_no_longer_wanted_is_no_longer_heard_and_a_key_under_way_goes_on(start: Start) -> None:
    ears = start(_Answers())
    ears.open(tones=True)
    ears.hear(VOICE, VOICE)
    ears.open(tones=False)
    ears.hear(NINE, QUIET)
    ears.open(tones=True, voice=False)
    assert ears.hear(*[QUIET] * 9) == [STARTED, SpeechEnded(OTHER)]
    ears.hear(NINE[:240])
    ears.open(tones=True)
    assert ears.hear(NINE[240:], QUIET)[2:] == NINE_HEARD


# --- speech ---


SAID = [VOICE] * 5 + [QUIET] * 5


@pytest.mark.parametrize(
    ("answers", "frames", "said"),
    [
        # the next utterance starts afresh
        ([OTHER, ACCEPT], SAID * 2, [STARTED, SpeechEnded(ACCEPT), STARTED, SpeechEnded(OTHER)]),
        # a refusal is spotted at the end of its frame, and nothing later weakens it
        ([OTHER, REFUSE, ACCEPT], [VOICE] * 4, [STARTED, KeywordSpotted(REFUSE)]),
        ([OTHER, REFUSE, ACCEPT], SAID, [STARTED, KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]),
        # the beginning of "je refuse" is unclear, and "oui, je refuse" accepts nothing: what is weaker is
        # reported after half a second without more
        *(
            ([*[weak] * questions, REFUSE], [VOICE] * 30, [STARTED, *weaker, KeywordSpotted(REFUSE)])
            for weak in (UNCLEAR, ACCEPT)
            for questions, weaker in ((5, []), (6, [KeywordSpotted(weak)]), (20, [KeywordSpotted(weak)]))
        ),
        # a question fails meanwhile, or all of them, which is told once an utterance
        ([ERROR], SAID, [STARTED, FAILED, SpeechEnded(OTHER)]),
        ([*[ERROR] * 8, REFUSE], [VOICE] * 12, [STARTED, FAILED, KeywordSpotted(REFUSE)]),
        ([ERROR] * 40, SAID * 2, [STARTED, FAILED, FAILED, SpeechEnded(None)] * 2),
    ],
)
def test_speech_is_reported_with_its_verdict(
    start: Start, answers: list[Verdict | Exception], frames: list[Samples], said: list[Conclusion]
) -> None:
    ears = start(_Answers(*answers))
    ears.open()
    assert ears.hear(*frames) == said


def test_a_refusal_in_speech_without_end(start: Start) -> None:
    detector = _Answers(*[OTHER] * 40, *[UNCLEAR] * 9, REFUSE)
    ears = start(detector)
    ears.open()
    spotted = [KeywordSpotted(UNCLEAR), KeywordSpotted(REFUSE)]
    assert ears.hear(*[VOICE] * 60) == [STARTED, SpeechEnded(OTHER), STARTED, *spotted]
    assert max(detector.asked) == 3000 * 8
    for trouble in (ERROR, UNCLEAR):  # what nobody could judge, or may be one, must not be taken for nothing
        ears = start(_Answers(trouble, *[OTHER] * 60))
        ears.open()
        said = ears.hear(*[VOICE] * 50)
        assert said[0] == STARTED and SpeechEnded(OTHER) not in said


def test_each_question_says_where_it_lies_and_the_last_that_it_is(start: Start) -> None:
    detector = _Answers()
    ears = start(detector)
    for leg in (1, 2):
        ears.open(leg)
        ears.say(leg, 40)
    half = len(detector.places) // 2
    first, second = detector.places[:half], detector.places[half:]
    assert len({place.stream for place in first}) == len({place.stream for place in second}) == 1
    assert first[0].stream != second[0].stream
    ends = [place.at + asked for place, asked in zip(first, detector.asked, strict=False)]
    assert {after - before for before, after in itertools.pairwise(ends)} == {800}
    for places in (first, second):
        assert [place.last for place in places] == [False] * (half - 1) + [True]


# --- during the call other words count ---


def test_during_the_call_other_words_count(start: Start) -> None:
    before, in_call = _Answers(UNCLEAR), _Answers(REFUSE)
    ears = start(before, in_call)
    ears.open()
    ears.hear(VOICE[:640])
    ears.open(in_call=True)
    said = ears.hear(*[VOICE] * 3, *[QUIET] * 5)
    assert not before.asked  # there was too little to judge by the words before
    assert said == [STARTED, KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]


@pytest.mark.parametrize(
    ("says", "reported"),
    [
        (REFUSE, [KeywordSpotted(REFUSE)]),
        (UNCLEAR, [KeywordSpotted(UNCLEAR)]),
        (ACCEPT, []),
        (OTHER, []),
        (ERROR, [FAILED]),
    ],
)
def test_what_was_said_before_the_call_is_judged_by_its_words_when_others_begin_to_count(
    start: Start, says: Verdict | Exception, reported: list[Conclusion]
) -> None:
    """A detector may not yet have said what it makes of speech that goes on."""
    before = _Answers(says)
    ears = start(before, _Answers())
    ears.open()
    ears.hear(VOICE, VOICE)
    ears.open(in_call=True)
    assert ears.hear(VOICE) == [STARTED, *reported]
    assert [place.last for place in before.places] == [True]


# --- what fails ---


def test_without_the_last_question_nobody_knows_what_was_said(start: Start) -> None:
    ears = start(_Answers(ERROR, REFUSE))
    ears.open()
    ears.hear(VOICE, VOICE)
    assert ears.close() == [STARTED, FAILED, SpeechEnded(None), AllHeard()]
    ears.open()
    assert ears.say()[4:] == [STARTED, KeywordSpotted(REFUSE), SpeechEnded(REFUSE)]
    for spotted, ended in ((REFUSE, REFUSE), (UNCLEAR, UNCLEAR), (ACCEPT, None)):  # one once spotted stays
        ears = start(_Answers(spotted, ERROR))
        ears.open()
        ears.hear(*[VOICE] * 3)
        assert ears.close()[-3:] == [FAILED, SpeechEnded(ended), AllHeard()]


def test_a_detector_that_breaks_deafens_neither_keys_nor_other_legs(start: Start) -> None:
    ears = start(_Answers(RuntimeError("segment 7")))
    for leg in (1, 2):
        ears.open(leg, tones=True)
    ears.say()
    broken = ListenerFailed("voice: no longer listened for: RuntimeError: segment 7")
    assert ears.hear(NINE, QUIET) == [STARTED, broken, *NINE_HEARD]
    assert ears.say(2) == [STARTED, SpeechEnded(OTHER)]
    ears.open(tones=True)  # asked for again: tried again
    assert ears.say()[-2:] == [STARTED, SpeechEnded(OTHER)]


@pytest.mark.parametrize("where", ["VoiceGate", "Echo.plays"])
def test_a_fault_before_anything_is_heard_ends_no_thread(
    start: Start, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    ears = start(_Answers())
    ears.open(2, tones=True)
    ears.hear()
    monkeypatch.setattr(f"media.hearing.listener.{where}", raising(ValueError("no model")))
    hit = 1 if where == "VoiceGate" else 2
    ears.open(hit, tones=True)
    ears.listener.plays(2, VOICE)
    ears.hear(NINE, QUIET)
    assert ToneHeard("5") in ears.hear(FIVE, QUIET, leg=2)
    broken = ListenerFailed("voice: no longer listened for: ValueError: no model")
    assert [leg for leg, said in ears.all if said == broken] == [hit]


def test_a_fault_in_the_tone_detector_is_reported_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def _broken(_: ToneDetector, samples: Samples, at: float) -> list[ToneFact]:
        raise FloatingPointError(f"{len(samples)} samples")

    monkeypatch.setattr(ToneDetector, "feed", _broken)
    ears = start(_Answers())
    ears.open(tones=True)
    broken = ListenerFailed("tones: no longer listened for: FloatingPointError: 800 samples")
    assert ears.say() == [broken, STARTED, SpeechEnded(OTHER)]


# --- the queue ---


def test_a_full_queue_drops_counts_and_reports(start: Start) -> None:
    go = threading.Event()
    stuck = _Answers(held=go)
    ears = start(stuck)
    ears.open()
    ears.open(2, tones=True, voice=False)
    for frame in [VOICE, VOICE, QUIET, QUIET]:
        ears.listener.feed(1, frame)
    assert stuck.entered.wait(60)
    for _ in range(worker.QUEUE_FRAMES + 30):
        ears.listener.feed(2, QUIET)
    assert ears.listener.drops >= 30 and not ears.listener.flush(0.0)
    go.set()
    ears.hear(leg=2)
    fell_behind = ListenerFailed("fell behind: frames of this leg were dropped")
    assert ears.hear(NINE, QUIET, leg=2) == [fell_behind, *NINE_HEARD]


def test_what_was_lost_before_it_came_is_reported_with_what_follows(start: Start) -> None:
    ears = start(_Answers())
    ears.open()
    for leg in (1, 2):  # nobody listens to the second
        ears.listener.miss(leg)
    for _ in range(2):
        assert ears.hear(QUIET) == [ListenerFailed("fell behind: frames of this leg were dropped")]
    assert ears.listener.drops == 1


def test_provisional_judgements_wait_for_no_one(start: Start) -> None:
    """With half a second of frames waiting, only whole utterances are judged."""
    go = threading.Event()
    stuck = _Answers(held=go)
    ears = start(stuck)
    ears.open()
    for frame in [VOICE] * 2 + [QUIET] * 2:
        ears.listener.feed(1, frame)
    assert stuck.entered.wait(60)
    for frame in [QUIET] * 3 + [VOICE] * 40 + [QUIET] * 15:
        ears.listener.feed(1, frame)
    go.set()
    ears.hear()
    assert len(stuck.asked) == 3, "the one it was stuck on, and two utterances"


def test_stop_hears_what_was_fed_and_the_queue_grows_with_the_legs() -> None:
    heard: list[Conclusion] = []
    listener = Listener(lambda _, conclusion: heard.append(conclusion), None)
    listener.open(1, tones=True, voice=False)
    listener.feed(1, NINE)
    listener.start()
    listener.stop()
    assert heard == NINE_HEARD
    for legs, fours in ((2, 1), (4, 1), (50, 12.5)):  # not started: nothing takes what is fed
        listener = Listener(lambda *_: None, None, legs=legs)
        listener.open(1, tones=True, voice=False)
        for _ in range(int(worker.QUEUE_FRAMES * fours) + 10):
            listener.feed(1, QUIET)
        assert listener.drops == 11, legs  # the wish is in the queue, too

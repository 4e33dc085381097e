"""The second opinion: when the model is asked, and what both verdicts mean together."""

import threading
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest

from media.frame import SAMPLE_RATE, Samples
from media.hearing import second_opinion
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict
from media.hearing.second_opinion import Likeness, SecondOpinion, combined, read_weights

STREAM = 7
SOUND: Samples = np.ones(SAMPLE_RATE, dtype=np.int16)
NOTHING = Verdict(Meaning.OTHER, confidence=0.01)
FAINT = Verdict(Meaning.OTHER, confidence=0.4)
UNCLEAR = Verdict(Meaning.UNCLEAR, "je refuse", 0.9)
REFUSED = Verdict(Meaning.REFUSE, "je refuse", 0.97)
ACCEPTED = Verdict(Meaning.ACCEPT, "oui", 0.999)
EVERYDAY = Verdict(Meaning.UNCLEAR, "je refuse", 0.999, everyday=True)
YES, NO = 40.0, -40.0
WEIGHTS = read_weights()


@dataclass
class First:
    """Says what it is told to say."""

    says: Verdict = NOTHING
    every_ms: int = 100

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return self.says


@dataclass
class Model:
    """Likes every phrase as much; counts what it is asked."""

    gain: float = YES
    doubt: float = NO
    asked: list[int] = field(default_factory=list)
    fails: bool = False

    def likeness(self, samples: Samples) -> Likeness:
        self.asked.append(len(samples))
        if self.fails:
            raise DetectorError("second opinion: no memory")
        return Likeness("refuser", self.gain, "pas question", self.doubt)


@dataclass
class Talk:
    """Questions about one stream, the next one each 100 ms."""

    gain: float = YES
    ms: int = 0

    def __post_init__(self) -> None:
        self.first, self.model = First(), Model(self.gain)
        self.detector = SecondOpinion(self.first, self.model)

    def ask(self, says: Verdict, *, last: bool = False) -> Verdict:
        self.first.says = says
        place = StreamPosition(STREAM, self.ms * SAMPLE_RATE // 1000, last)
        self.ms += 100
        return self.detector.judge(SOUND, place)

    def goes_on(self, says: Verdict, ms: int) -> list[Verdict]:
        return [self.ask(says) for _ in range(ms // 100)]


# --- both together ---


@pytest.mark.parametrize(
    ("first", "gain", "meaning"),
    [
        (UNCLEAR, YES, Meaning.REFUSE),
        (UNCLEAR, NO, Meaning.OTHER),
        (FAINT, YES, Meaning.REFUSE),
        (FAINT, NO, Meaning.OTHER),
    ],
)
def test_what_both_mean_together(first: Verdict, gain: float, meaning: Meaning) -> None:
    verdict = combined(first, Likeness("refuser", gain), WEIGHTS)
    assert verdict.meaning is meaning
    expected = None if meaning is Meaning.OTHER else first.keyword or "refuser"
    assert verdict.keyword == expected


@pytest.mark.parametrize("gain", [-1e6, -50.0, 0.0, 50.0, 1e6])
def test_what_the_first_refuses_is_refused_at_once_and_the_model_is_not_asked(gain: float) -> None:
    talk = Talk(gain)
    assert talk.ask(REFUSED) == REFUSED
    assert talk.ask(REFUSED, last=True) == REFUSED
    assert talk.model.asked == []


def test_more_of_either_never_means_less() -> None:
    weight = {Meaning.OTHER: 0, Meaning.UNCLEAR: 1, Meaning.REFUSE: 2}
    scores = [Verdict(Meaning.OTHER, None, sure) for sure in np.linspace(0, 1, 21)]
    gains = np.linspace(-12, 12, 25)
    found = [
        [weight[combined(one, Likeness("x", gain), WEIGHTS).meaning] for gain in gains] for one in scores
    ]
    for row in (*found, *zip(*found, strict=True)):
        assert all(less <= more for less, more in pairwise(row))
    assert 0 < WEIGHTS.unclear_at < WEIGHTS.refuse_at < 1


# --- when it is asked ---


def test_everyday_words_only_doubt_and_nothing_surer_is_lost() -> None:
    doubted = Likeness("refuser", NO, "pas question", YES)
    assert combined(FAINT, doubted, WEIGHTS) == Verdict(
        Meaning.UNCLEAR, "pas question", combined(FAINT, doubted, WEIGHTS).confidence, everyday=True
    )
    both = combined(FAINT, Likeness("refuser", YES, "pas question", YES), WEIGHTS)
    assert both.meaning is Meaning.REFUSE and not both.everyday


def test_what_is_nothing_like_a_refusal_is_asked_about_once_when_the_speech_has_ended() -> None:
    talk = Talk()
    assert talk.goes_on(NOTHING, 3000) == [NOTHING] * 30
    assert talk.model.asked == []
    assert talk.ask(NOTHING, last=True).meaning is Meaning.REFUSE
    assert len(talk.model.asked) == 1


def test_a_refusal_by_a_voice_that_the_first_knows_nothing_of_is_heard() -> None:
    """The model alone refuses, is unclear, or doubts everyday words; where it hears none, nothing changes."""
    found = [
        combined(NOTHING, Likeness("refuser", gain, "pas question", NO), WEIGHTS).meaning
        for gain in np.linspace(NO, YES, 81)
    ]
    assert set(found) == {Meaning.OTHER, Meaning.UNCLEAR, Meaning.REFUSE}
    talk = Talk(NO)
    assert talk.ask(NOTHING, last=True) == NOTHING
    talk.model.doubt = YES
    assert talk.ask(NOTHING, last=True).everyday


def test_what_accepts_is_not_asked_about() -> None:
    talk = Talk()
    assert talk.ask(ACCEPTED, last=True) == ACCEPTED
    assert talk.model.asked == []


def test_words_that_no_notice_promises_stay_unclear_whatever_the_model_says() -> None:
    talk = Talk(NO)
    assert talk.ask(EVERYDAY, last=True) == EVERYDAY
    talk.model.gain = YES
    assert talk.ask(EVERYDAY, last=True).meaning is Meaning.REFUSE


def test_everyday_words_do_not_hide_how_like_a_refusal_the_first_finds_them() -> None:
    """Both opinions of the refusal are weighed, when it is time; until then it is as unclear as it was."""
    liked = replace(EVERYDAY, refusing=0.99)
    gain = next(
        gain
        for gain in np.linspace(NO, YES, 801)
        if combined(Verdict(Meaning.OTHER, confidence=0.99), Likeness("refuser", gain), WEIGHTS).meaning
        is Meaning.REFUSE
    )
    talk = Talk(gain)
    assert talk.goes_on(liked, 500) == [liked] * 5 and talk.model.asked == []
    assert talk.ask(EVERYDAY).meaning is Meaning.REFUSE
    assert Talk(gain).ask(EVERYDAY, last=True) == EVERYDAY


@pytest.mark.parametrize("says", [UNCLEAR, FAINT])
def test_it_is_asked_half_a_second_later_if_the_speech_goes_on(says: Verdict) -> None:
    talk = Talk()
    talk.goes_on(NOTHING, 1000)
    early = talk.goes_on(says, 500)
    assert {one.meaning for one in early} == {Meaning.OTHER} and talk.model.asked == []
    assert talk.ask(NOTHING).meaning is Meaning.REFUSE
    assert len(talk.model.asked) == 1


def test_it_is_asked_at_the_end_of_the_speech_at_the_latest() -> None:
    talk = Talk()
    assert talk.ask(UNCLEAR).meaning is Meaning.OTHER
    assert talk.ask(NOTHING, last=True).meaning is Meaning.REFUSE
    assert len(talk.model.asked) == 1


def test_speech_that_goes_on_like_a_refusal_is_asked_about_again_in_time() -> None:
    talk = Talk(NO)
    found = talk.goes_on(UNCLEAR, 5000)
    assert len(talk.model.asked) == 3  # each second and a half
    assert {one.meaning for one in found} == {Meaning.OTHER}
    talk.ask(UNCLEAR, last=True)
    assert len(talk.model.asked) == 4


def test_what_is_like_a_refusal_is_never_lost_between_two_questions() -> None:
    """What comes right after the model was asked about less, and what is just repeated."""
    for before in (FAINT, UNCLEAR):
        talk = Talk(NO)
        talk.goes_on(before, 600)
        assert len(talk.model.asked) == 1
        talk.model.gain = YES
        talk.ask(UNCLEAR)
        found = [*talk.goes_on(NOTHING, 400), talk.ask(NOTHING, last=True)]
        assert [one.meaning for one in found] == [Meaning.OTHER] * 4 + [Meaning.REFUSE]
        assert len(talk.model.asked) == 2


def test_what_accepts_does_not_hide_what_refuses() -> None:
    talk = Talk()
    talk.ask(UNCLEAR)
    assert talk.ask(ACCEPTED, last=True).meaning is Meaning.REFUSE


def test_a_question_without_a_place_is_answered_at_once() -> None:
    talk = Talk()
    talk.first.says = UNCLEAR
    assert talk.detector.judge(SOUND).meaning is Meaning.REFUSE
    assert talk.model.asked == [len(SOUND)]


def test_speech_that_is_given_up_is_forgotten_unasked() -> None:
    talk = Talk(NO)
    talk.ask(UNCLEAR)
    talk.first.says = NOTHING
    talk.detector.judge(SOUND[:0], StreamPosition(STREAM, 0, last=True))
    assert talk.model.asked == []
    assert talk.ask(NOTHING, last=True) == NOTHING


# --- what fails ---


def test_a_model_that_fails_leaves_the_call_unrecorded_and_is_asked_again() -> None:
    talk = Talk()
    talk.model.fails = True
    talk.goes_on(UNCLEAR, 500)
    with pytest.raises(DetectorError, match=r"^second opinion: no memory$"):
        talk.ask(UNCLEAR)
    talk.model.fails = False
    assert talk.ask(NOTHING, last=True).meaning is Meaning.REFUSE


def test_a_model_that_others_keep_busy_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "TURN_S", 0.01)
    inside, over = threading.Event(), threading.Event()

    class Slow(Model):
        def likeness(self, samples: Samples) -> Likeness:
            inside.set()
            assert over.wait(60)
            return Likeness("refuser", YES)

    detector = SecondOpinion(First(UNCLEAR), Slow())
    other = threading.Thread(target=detector.judge, args=(SOUND,))
    other.start()
    assert inside.wait(60)
    with pytest.raises(DetectorError, match="too many ask at once"):
        detector.judge(SOUND)
    over.set()
    other.join()
    detector.wait_turn()
    assert detector.judge(SOUND).meaning is Meaning.REFUSE


def test_what_is_nothing_like_a_refusal_waits_for_no_one_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site where many talk at once must not leave their calls unrecorded for it."""
    monkeypatch.setattr(second_opinion, "TURN_ANYWAY_S", 0.01)
    talk = Talk()
    with talk.detector._turn:
        assert talk.ask(NOTHING, last=True) == NOTHING
    assert talk.model.asked == []


def test_questions_about_nothing_like_a_refusal_take_half_of_the_time_at_most() -> None:
    """Else a site where many talk would have its other questions wait until nobody answers them."""
    now, took = 0.0, 0.4

    class Slow(Model):
        def likeness(self, samples: Samples) -> Likeness:
            nonlocal now
            now += took
            return super().likeness(samples)

    model = Slow(NO)
    detector = SecondOpinion(First(), model, clock=lambda: now)
    while now < 100:
        now += 0.01
        detector.judge(SOUND)
    spent = took * len(model.asked)
    assert 0.4 * now < spent <= second_opinion.SHARE * now + second_opinion.MOST_S + took
    before = len(model.asked)
    detector.first = First(UNCLEAR)
    detector.judge(SOUND)
    assert len(model.asked) == before + 1  # what is like a refusal is asked about all the same

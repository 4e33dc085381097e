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
    """Likes every phrase as much; counts what it is asked. `held`: it does not answer before that is set."""

    gain: float = YES
    doubt: float = NO
    asked: list[int] = field(default_factory=list)
    fails: bool = False
    held: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)

    def likeness(self, samples: Samples) -> Likeness:
        self.asked.append(len(samples))
        self.entered.set()
        assert self.held is None or self.held.wait(60)
        if self.fails:
            raise DetectorError("second opinion: no memory")
        return Likeness("refuser", self.gain, "pas question", self.doubt)


class Talk:
    """Questions about one stream, the next one each 100 ms."""

    def __init__(self, gain: float = YES) -> None:
        self.first, self.model, self._ms = First(), Model(gain), 0
        self.detector = SecondOpinion(self.first, self.model)

    def ask(self, says: Verdict, *, last: bool = False) -> Verdict:
        self.first.says = says
        place = StreamPosition(7, self._ms * SAMPLE_RATE // 1000, last)
        self._ms += 100
        return self.detector.judge(SOUND, place)

    def goes_on(self, says: Verdict, ms: int) -> list[Meaning]:
        return [self.ask(says).meaning for _ in range(ms // 100)]

    @property
    def asked(self) -> int:
        return len(self.model.asked)


# --- both together ---


def test_what_both_mean_together() -> None:
    for first in (UNCLEAR, FAINT):
        sure, nothing = (combined(first, Likeness("refuser", gain), WEIGHTS) for gain in (YES, NO))
        assert (sure.meaning, sure.keyword) == (Meaning.REFUSE, first.keyword or "refuser")
        assert (nothing.meaning, nothing.keyword) == (Meaning.OTHER, None)
    doubted = combined(FAINT, Likeness("refuser", NO, "pas question", YES), WEIGHTS)  # everyday words
    assert (doubted.meaning, doubted.keyword, doubted.everyday) == (Meaning.UNCLEAR, "pas question", True)
    both = combined(FAINT, Likeness("refuser", YES, "pas question", YES), WEIGHTS)
    assert both.meaning is Meaning.REFUSE and not both.everyday


def test_more_of_either_never_means_less() -> None:
    weight = {Meaning.OTHER: 0, Meaning.UNCLEAR: 1, Meaning.REFUSE: 2}
    scores = [Verdict(Meaning.OTHER, None, sure) for sure in np.linspace(0, 1, 21)]
    gains = np.linspace(-12, 12, 25)
    found = [[weight[combined(one, Likeness("x", g), WEIGHTS).meaning] for g in gains] for one in scores]
    for row in (*found, *zip(*found, strict=True)):
        assert all(less <= more for less, more in pairwise(row))
    assert 0 < WEIGHTS.unclear_at < WEIGHTS.refuse_at < 1


def test_a_refusal_by_a_voice_that_the_first_knows_nothing_of_is_heard() -> None:
    """The model alone refuses, is unclear, or doubts everyday words; where it hears none, nothing changes."""
    gains = np.linspace(NO, YES, 81)
    found = {
        combined(NOTHING, Likeness("refuser", gain, "pas question", NO), WEIGHTS).meaning for gain in gains
    }
    assert found == {Meaning.OTHER, Meaning.UNCLEAR, Meaning.REFUSE}
    talk = Talk(NO)
    assert talk.ask(NOTHING, last=True) == NOTHING
    talk.model.doubt = YES
    assert talk.ask(NOTHING, last=True).everyday


def test_everyday_words_do_not_hide_how_like_a_refusal_the_first_finds_them() -> None:
    """Both opinions of the refusal are weighed, when it is time; until then it is as unclear as it was."""
    liked, plain = replace(EVERYDAY, refusing=0.99), Verdict(Meaning.OTHER, confidence=0.99)
    gain = next(
        gain
        for gain in np.linspace(NO, YES, 801)
        if combined(plain, Likeness("refuser", gain), WEIGHTS).meaning is Meaning.REFUSE
    )
    talk = Talk(gain)
    assert [talk.ask(liked) for _ in range(5)] == [liked] * 5 and talk.asked == 0
    assert talk.ask(EVERYDAY).meaning is Meaning.REFUSE
    assert Talk(gain).ask(EVERYDAY, last=True) == EVERYDAY
    talk = Talk(NO)
    assert talk.ask(EVERYDAY, last=True) == EVERYDAY  # whatever the model says
    talk.model.gain = YES
    assert talk.ask(EVERYDAY, last=True).meaning is Meaning.REFUSE


# --- when it is asked ---


def test_what_the_first_is_sure_of_stands_and_the_model_is_not_asked() -> None:
    for gain in (-1e6, 0.0, 1e6):
        talk = Talk(gain)
        assert talk.ask(REFUSED) == talk.ask(REFUSED, last=True) == REFUSED
        assert talk.ask(ACCEPTED, last=True) == ACCEPTED
        assert talk.asked == 0


def test_what_is_nothing_like_a_refusal_is_asked_about_once_when_the_speech_has_ended() -> None:
    talk = Talk()
    assert talk.goes_on(NOTHING, 3000) == [Meaning.OTHER] * 30 and talk.asked == 0
    assert talk.ask(NOTHING, last=True).meaning is Meaning.REFUSE
    assert talk.asked == 1


def test_what_is_like_one_is_asked_about_half_a_second_later_or_at_the_end() -> None:
    for says, early, last in ((UNCLEAR, 500, False), (FAINT, 500, False), (UNCLEAR, 100, True)):
        talk = Talk()
        talk.goes_on(NOTHING, 1000)
        assert set(talk.goes_on(says, early)) == {Meaning.OTHER} and talk.asked == 0
        assert talk.ask(NOTHING, last=last).meaning is Meaning.REFUSE
        assert talk.asked == 1


def test_speech_that_goes_on_like_a_refusal_is_asked_about_again_in_time() -> None:
    talk = Talk(NO)
    assert set(talk.goes_on(UNCLEAR, 5000)) == {Meaning.OTHER}
    assert talk.asked == 3  # each second and a half
    talk.ask(UNCLEAR, last=True)
    assert talk.asked == 4


def test_what_is_like_a_refusal_is_never_lost_between_two_questions_nor_by_what_accepts() -> None:
    """What comes right after the model was asked about less, and what is just repeated."""
    for before in (FAINT, UNCLEAR):
        talk = Talk(NO)
        talk.goes_on(before, 600)
        talk.model.gain = YES
        talk.ask(UNCLEAR)
        assert talk.goes_on(NOTHING, 400) == [Meaning.OTHER] * 4
        assert talk.ask(NOTHING, last=True).meaning is Meaning.REFUSE
        assert talk.asked == 2
    talk = Talk()
    talk.ask(UNCLEAR)
    assert talk.ask(ACCEPTED, last=True).meaning is Meaning.REFUSE


def test_a_question_without_a_place_is_answered_at_once_and_what_is_given_up_is_forgotten() -> None:
    talk = Talk()
    talk.first.says = UNCLEAR
    assert talk.detector.judge(SOUND).meaning is Meaning.REFUSE
    assert talk.model.asked == [len(SOUND)]
    talk = Talk(NO)
    talk.ask(UNCLEAR)
    talk.first.says = NOTHING
    talk.detector.judge(SOUND[:0], StreamPosition(7, 0, last=True))
    assert talk.asked == 0
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


def test_a_model_that_others_keep_busy_is_a_failure_for_what_is_like_a_refusal_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A site where many talk at once must not leave their calls unrecorded for nothing."""
    monkeypatch.setattr(second_opinion, "TURN_S", 0.01)
    monkeypatch.setattr(second_opinion, "TURN_ANYWAY_S", 0.01)
    first, model = First(UNCLEAR), Model(held=threading.Event())
    detector = SecondOpinion(first, model)
    other = threading.Thread(target=detector.judge, args=(SOUND,))
    other.start()
    assert model.entered.wait(60) and model.held
    with pytest.raises(DetectorError, match="too many ask at once"):
        detector.judge(SOUND)
    first.says = NOTHING
    assert detector.judge(SOUND) == NOTHING
    model.held.set()
    other.join()
    detector.wait_turn()
    first.says = UNCLEAR
    assert detector.judge(SOUND).meaning is Meaning.REFUSE


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

"""The second opinion: a detector around the first one, which asks a Whisper model about what callers say.

    question ──▶ first ──▶ nothing like a refusal ──▶ when the speech has ended ──▶ Whisper ──▶ both weighed
                   ├─────▶ like one ────────────────▶ 0.5 s later, or at the end ───'
                   `─────▶ a refusal ───────────────▶ refused at once

What the first one refuses is refused: with a veto of the model, fewer voices were heard at as few false
refusals. Until the model has been asked about what is like a refusal, nothing is said: the speech goes on,
and what is said in the window counts also after it. A model that fails, or is too busy for what is like a
refusal, is a DetectorError, so the call is not recorded. Where it is too busy for what the first finds
nothing in, the first one's verdict counts.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from media.frame import Samples, milliseconds
from media.hearing.keyword import (
    Detector,
    DetectorError,
    Meaning,
    StreamPosition,
    Verdict,
    strongest,
)
from media.hearing.second.weights import Weights, read_weights
from media.hearing.second.whisper import Likeness

LIKE_A_REFUSAL = 0.05
"""The first one's score from which the model is asked before the speech has ended."""
SETTLE_MS = 500
"""From then to the question while speech goes on: the phrase may just have begun."""
AGAIN_MS = 1000
"""Speech that goes on like a refusal is asked about again after so much more."""
TURN_S, TURN_ANYWAY_S = 1.2, 0.3
"""How long a question waits for others, and one about what is nothing like a refusal; a worker gives up after
2 s."""
SHARE, MOST_S = 0.5, 3.0
"""Of the time, what questions about nothing like a refusal may take, and how much of it may be saved up:
while one is answered, a worker's other questions wait."""


class Model(Protocol):
    """A media.hearing.second.whisper.Whisper."""

    def likeness(self, samples: Samples) -> Likeness: ...


@dataclass(slots=True)
class _Speech:
    """What is known of one stream's speech, at places counted in samples.

    `likest`: of the first one's verdicts that the model has not been asked about; `since`: where the wait for
    that question began. `asked`: where it was asked last, `about` what.
    """

    likest: Verdict | None = None
    since: int | None = None
    asked: int | None = None
    about: Meaning = Meaning.OTHER

    def hear(self, found: Verdict, now: int) -> None:
        """The first one says this, which is like a refusal."""
        self.likest = strongest([found, self.likest] if self.likest else [found])
        if self.since is None and (
            self.asked is None
            or milliseconds(now - self.asked) >= AGAIN_MS
            or strongest([Verdict(self.about), Verdict(found.meaning)]).meaning is not self.about
        ):
            self.since = now

    def due(self, now: int, last: bool) -> Verdict | None:
        """What to ask the model about now, if anything: after SETTLE_MS, or at the end of the speech."""
        waited = self.since is not None and milliseconds(now - self.since) >= SETTLE_MS
        return self.likest if last or waited else None

    def answered(self, now: int, about: Verdict) -> None:
        self.likest = self.since = None
        self.asked, self.about = now, about.meaning


class SecondOpinion:
    """A media.hearing.keyword.Detector. `judge` is for one thread; `weigh` for several, a stream in one.

    `clock`: seconds, which never go back.
    """

    def __init__(self, first: Detector, model: Model, clock: Callable[[], float] = time.monotonic) -> None:
        self.first = first
        self.every_ms = first.every_ms
        self._model = model
        self._weights = read_weights()
        self._speeches: dict[int, _Speech] = {}
        self._turn = threading.Lock()
        self._clock = clock
        self._saved_s, self._saved_at = MOST_S, clock()

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return self.weigh(self.first.judge(samples, place), samples, place)

    def weigh(self, found: Verdict, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        """What the first one's verdict on these samples means, the model's included if it is time to ask.

        DetectorError if the model fails, or others ask for longer than TURN_S.
        """
        where = place or StreamPosition(0, 0, last=True)
        speech = _Speech() if place is None else self._speeches.setdefault(where.stream, _Speech())
        if place and place.last:
            del self._speeches[place.stream]
        if not len(samples):
            return found
        if found.meaning is Meaning.REFUSE:
            return found
        rest, refusal = found, without_doubt(found)
        if _is_like_a_refusal(refusal):
            rest = found if found.everyday else Verdict(Meaning.OTHER, confidence=found.confidence)
            speech.hear(refusal, where.at + len(samples))
        about = speech.due(where.at + len(samples), where.last)
        if about is not None:
            second = self._asked(samples, TURN_S)
            if second is None:
                raise DetectorError("second opinion: too many ask at once")
            speech.answered(where.at + len(samples), about)
            return strongest([combined(about, second, self._weights), rest])
        if where.last and found.meaning is not Meaning.ACCEPT:
            return self._weighed_anyway(found, samples)
        return rest

    def wait_turn(self) -> None:
        """Return once the model can be asked."""
        with self._turn:
            pass

    def _weighed_anyway(self, found: Verdict, samples: Samples) -> Verdict:
        """Where the first finds nothing like a refusal, it may be one by a voice of a kind that it does not
        know."""
        second = self._asked(samples, TURN_ANYWAY_S, anyway=True)
        if second is None:
            return found
        return strongest([combined(without_doubt(found), second, self._weights), found])

    def _asked(self, samples: Samples, patience_s: float, *, anyway: bool = False) -> Likeness | None:
        """What the model says; None if others ask for longer than that. `anyway`: and if such questions have
        had their share of the time."""
        if not self._turn.acquire(timeout=patience_s):
            return None
        try:
            begun = self._clock()
            self._saved_s = min(MOST_S, self._saved_s + SHARE * (begun - self._saved_at))
            self._saved_at = begun
            if anyway and self._saved_s <= 0:
                return None
            second = self._model.likeness(samples)
            if anyway:
                self._saved_s -= self._clock() - begun
            return second
        finally:
            self._turn.release()


def without_doubt(found: Verdict) -> Verdict:
    """The first one's verdict without the head for everyday words, which only doubts."""
    return Verdict(Meaning.OTHER, confidence=found.refusing) if found.everyday else found


def _is_like_a_refusal(found: Verdict) -> bool:
    if found.meaning is Meaning.ACCEPT:
        return False
    return found.meaning is not Meaning.OTHER or (found.confidence or 0.0) >= LIKE_A_REFUSAL


def combined(first: Verdict, second: Likeness, weights: Weights) -> Verdict:
    """One verdict of both, where the first does not refuse."""
    odds = weights.odds(first.confidence or 0.0, second.gain)
    score = round((1 + math.tanh(odds / 2)) / 2, 3)  # the logistic function
    keyword = first.keyword or second.phrase
    if score >= weights.refuse_at:
        return Verdict(Meaning.REFUSE, keyword, score, sure=False)
    if score >= weights.unclear_at:
        return Verdict(Meaning.UNCLEAR, keyword, score)
    if second.doubt >= weights.doubt_at:
        return Verdict(Meaning.UNCLEAR, second.everyday, score, everyday=True)
    return Verdict(Meaning.OTHER, confidence=score)

"""What a spoken-refusal detector is asked, and what it may answer.

A detector hears speech that the voice gate has cut out: while a caller talks, all of it so far or a window of
the last seconds, and once it has ended. One detector serves all legs of the process. Each question holds all
that an answer needs; where it lies is told, so that work need not be done twice, but nothing hangs on that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from media.frame import Samples


class DetectorUnavailable(Exception):
    """The configured engine can't listen here; str() is one line that says what is accepted.

    Raised at start: a spoken way out that was announced to callers must never be silently missing.
    """


class DetectorError(Exception):
    """The detector failed on these samples; str() says why. Another utterance may still succeed."""


class Meaning(StrEnum):
    """What the caller's words come to."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    UNCLEAR = "unclear"
    """Too near to a refusal to go on keeping audio, too far to be sure: ask again."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`keyword` is the configured phrase that was heard, `confidence` is 0.0 to 1.0; None where unknown."""

    meaning: Meaning
    keyword: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """Where a question begins: `at` samples into `stream`, which is a number that nobody else takes.

    `last`: nothing more is asked about this speech, and nothing of it is to be remembered.
    """

    stream: int
    at: int
    last: bool = False


class Detector(Protocol):
    """Built with the phrases of the configuration; called from the listener's thread only."""

    @property
    def every_ms(self) -> int:
        """How often it is worth asking while somebody speaks: a multiple of the gate's slices."""
        ...

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        """The meaning of (n,) int16 at 8 kHz, speech so far; DetectorError if it fails.

        A `place` changes nothing in the answer: what was remembered of the last question there is work saved.
        """
        ...


def every_ms(engine: str, in_call: bool) -> int:
    """How often `engine` is asked: before the bridge a refusal is waited for, in the call it only counts."""
    return _EVERY_MS[engine][in_call]


_EVERY_MS = {"embedding": (100, 800), "vosk": (400, 1000)}


_WEIGHT = {Meaning.REFUSE: 3, Meaning.UNCLEAR: 2, Meaning.ACCEPT: 1, Meaning.OTHER: 0}


def strongest(verdicts: Iterable[Verdict]) -> Verdict:
    """What several verdicts on one utterance come to; OTHER if there are none.

    "I accept, no, I refuse" is a refusal, whatever the order and the confidence: doubt is against recording.
    """
    return max(
        verdicts,
        key=lambda verdict: (_WEIGHT[verdict.meaning], verdict.confidence or 0.0),
        default=Verdict(Meaning.OTHER),
    )

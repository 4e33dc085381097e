"""The questions to a spoken-refusal detector, and its answers.

A detector hears speech that the voice gate has cut out: while a caller talks, all of it so far or a window of
the last seconds, and once more when it has ended. One detector serves all legs of the process. Each question
has all that an answer needs. It also says its position in the stream, which only saves repeated work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from media import MediaError
from media.frame import Samples


class DetectorUnavailable(MediaError):
    """The configured engine can't listen here; str() is one line that says what is accepted.

    Raised at start: a spoken refusal that was announced to callers must never be silently ignored. `key`: of
    the configuration, which is to be changed.
    """

    key = "refusal.engine"


class SecondUnavailable(DetectorUnavailable):
    """The second opinion's model can't be asked here."""

    key = "refusal.second"


class DetectorError(MediaError):
    """The detector failed on these samples; str() says why. Another utterance may still succeed."""


class Meaning(StrEnum):
    """The meaning of the caller's words."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    UNCLEAR = "unclear"
    """Too near to a refusal to keep audio, too far to be sure: ask again."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`keyword` is the configured phrase that was heard, `confidence` is 0.0 to 1.0; None if unknown.

    `everyday`: from a head that only doubts; `refusing` is then how likely the others find a refusal. `sure`:
    as sure as where a refusal may erase evidence; false for a refusal that is weaker.
    """

    meaning: Meaning
    keyword: str | None = None
    confidence: float | None = None
    everyday: bool = False
    refusing: float = 0.0
    sure: bool = True


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """The place at which a question begins: `at` samples into `stream`, a number that no other stream has.

    `last`: nothing more is asked about this speech, so forget it.
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

        A `place` does not change the answer; it only saves work already done for the last question there.
        """
        ...


def every_ms(engine: str, in_call: bool) -> int:
    """How often to ask `engine`: before the bridge the call waits for a refusal, in the call it does not."""
    return _EVERY_MS[engine][in_call]


_EVERY_MS = {"embedding": (100, 800), "vosk": (400, 1000)}


_WEIGHT = {Meaning.REFUSE: 3, Meaning.UNCLEAR: 2, Meaning.ACCEPT: 1, Meaning.OTHER: 0}


def strongest(verdicts: Iterable[Verdict]) -> Verdict:
    """The common meaning of several verdicts on one utterance; OTHER without any.

    "I accept, no, I refuse" is a refusal, in any order and with any confidence: in doubt, do not record.
    """
    return max(
        verdicts,
        key=lambda verdict: (_WEIGHT[verdict.meaning], verdict.sure, verdict.confidence or 0.0),
        default=Verdict(Meaning.OTHER),
    )

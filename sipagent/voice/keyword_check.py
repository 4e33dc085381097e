"""What the check of a head for an own keyword found, and whether it may be used. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

from media.hearing.keyword import Meaning

LINES: tuple[tuple[str, float | None], ...] = (("clean", None), ("20 dB", 20.0))
SYNTHETIC = ("espeak", "kokoro", "festival", "mbrola")
"""Synthesizers with other voices used in training: the check is about their recall."""
SURE = 1.959964
"""Of the normal distribution, for intervals of 95 %."""


@dataclass(frozen=True, slots=True)
class CheckedUtterance:
    """One utterance of the check: `said` is KEYWORD, NEAR or OTHER, `source` whose voice it was.

    `together`: its meaning with the shipped head beside the new one, if that knows the phrase, too.
    """

    said: str
    source: str
    line: str
    meaning: Meaning
    together: Meaning | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of some utterances refuse."""

    refused: int
    count: int

    @property
    def share(self) -> float | None:
        """0.0 to 1.0; None of nothing."""
        return self.refused / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Within which the share of many more lies, with 95 % certainty, by Wilson's formula."""
        if (share := self.share) is None:
            return None
        size, spread = (
            1 + SURE**2 / self.count,
            share * (1 - share) / self.count + (SURE / self.count / 2) ** 2,
        )
        middle, reach = (share + SURE**2 / self.count / 2) / size, SURE * sqrt(spread) / size
        return max(0.0, middle - reach), min(1.0, middle + reach)


@dataclass(frozen=True, slots=True)
class Strangers:
    """Colleagues' sayings, each heard by a head that was trained without the person."""

    heard: tuple[CheckedUtterance, ...] = field(repr=False)

    @property
    def phrases(self) -> Rate:
        """Of those who say the phrase."""
        return _rate(each for each in self.heard if each.said == "keyword")

    @property
    def sentences(self) -> Rate:
        """Of those that refuse nothing."""
        return _rate(each for each in self.heard if each.said == "other")


@dataclass(frozen=True, slots=True)
class Check:
    """The results of a head on voices not used in training; shares are 0.0 to 1.0, None without any."""

    heard: tuple[CheckedUtterance, ...] = field(repr=False)

    @property
    def recall(self) -> float | None:
        """The share of phrases heard, of voices by synthesizers that it was trained on."""
        return _share(self._counted())

    @property
    def said(self) -> int:
        """How often those voices say the phrase."""
        return len(list(self._counted()))

    @property
    def false_refusals(self) -> float | None:
        """The share of ordinary speech taken for the phrase, including people's."""
        return _share(self._of("other"))

    @property
    def near_misses(self) -> float | None:
        """The share taken for the phrase of its pieces, and of words that sound similar."""
        return _share(self._of("near"))

    @property
    def recalls(self) -> dict[str, float]:
        """The recall by synthesizer, and by line."""
        names = sorted({each.source for each in self._of("keyword")}) + [name for name, _ in LINES]
        found = {
            name: _share(each for each in self._of("keyword") if name in (each.source, each.line))
            for name in names
        }
        return {name: share for name, share in found.items() if share is not None}

    @property
    def together(self) -> "Check | None":
        """The results with the shipped head beside the new one; None if that does not know the phrase."""
        both = [replace(each, meaning=each.together) for each in self.heard if each.together is not None]
        return Check(tuple(both)) if both else None

    def count(self, said: str) -> int:
        """Utterances of a kind."""
        return len(list(self._of(said)))

    def _counted(self) -> Iterator[CheckedUtterance]:
        return (each for each in self._of("keyword") if each.source in SYNTHETIC)

    def _of(self, said: str) -> Iterator[CheckedUtterance]:
        return (each for each in self.heard if each.said == said)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a head must reach to be installed: shares, 0.0 to 1.0."""

    recall: float = 0.85
    false_refusals: float = 0.005


def why_not(check: Check, bounds: Bounds) -> str | None:
    """Why this head must not be used, in one line; None if it may."""
    recall, falsely = check.recall or 0.0, check.false_refusals
    if recall < bounds.recall:
        return f"it hears {recall:.1%} of those who say it, and {bounds.recall:.1%} is the least"
    if falsely is None or falsely > bounds.false_refusals:
        said = (
            "nothing else was said" if falsely is None else f"it takes {falsely:.2%} of other speech for it"
        )
        return f"{said}, and {bounds.false_refusals:.2%} is the most"
    return None


def _rate(heard: Iterable[CheckedUtterance]) -> Rate:
    refused = [each.meaning is Meaning.REFUSE for each in heard]
    return Rate(sum(refused), len(refused))


def _share(heard: Iterable[CheckedUtterance]) -> float | None:
    return _rate(heard).share


def figures(check: Check) -> dict[str, Any]:
    """The figures as JSON for programs."""
    together = check.together
    return {
        "recall": check.recall,
        "recalls": check.recalls,
        "false_refusals": check.false_refusals,
        "near_misses": check.near_misses,
        "said": check.said,
        "others": check.count("other"),
        "with_shipped": together
        and {
            "recall": together.recall,
            "false_refusals": together.false_refusals,
            "recalls": together.recalls,
        },
    }


def figures_of_strangers(strangers: Strangers | None) -> dict[str, Any] | None:
    """The figures of colleagues who were left out, as JSON; None if nobody was."""
    if strangers is None:
        return None
    phrases, sentences = strangers.phrases, strangers.sentences
    return {
        "said": phrases.count,
        "recall": phrases.share,
        "recall_interval": phrases.interval,
        "others": sentences.count,
        "false_refusals": sentences.share,
        "false_refusals_interval": sentences.interval,
    }

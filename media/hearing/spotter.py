"""The detector of the engine "embedding": the speech embedding, and a head for each language."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import numpy as np

from media.frame import Samples
from media.hearing.embedding import Embedding, EmbeddingUnavailable, Floats
from media.hearing.head import Head, HeadError, load, together
from media.hearing.keyword import DetectorUnavailable, Meaning, StreamPosition, Verdict, every_ms, strongest
from media.hearing.streams import Streams

HEADS = Path(__file__).parents[1] / "heads"
MOST_NAMED = 12
NEARLY = 0.9
"""From this share of what a head is unclear from, speech is heard as by other vocal tracts, too."""


@dataclass(frozen=True, slots=True)
class _Listening:
    """A head; of the phrases to listen for, the places among its classes and the meanings."""

    head: Head
    refuse: tuple[int, ...]
    accept: tuple[int, ...]


class Spotter:
    """A media.hearing.keyword.Detector; what it keeps of speech that continues is in streams.py.

    `languages`: of each phrase that refuses, that of its head; `everyday`: by language, what heads for
    everyday words hear besides.
    """

    def __init__(
        self,
        refuse: Sequence[str],
        accept: Sequence[str],
        heads: Path = HEADS,
        *,
        own: Path | None = None,
        in_call: bool = False,
    ) -> None:
        """DetectorUnavailable for a phrase without a head, or if the embedding is missing.

        `own`: a folder of more heads, which may be missing.
        """
        self.every_ms = every_ms("embedding", in_call)
        self._in_call = in_call
        shipped = _heads(heads)
        every = [head for head in shipped if not head.everyday] + (known_heads(own) if own else [])
        self._listening = [
            listening
            for head in every
            if (listening := _Listening(head, _places(head, refuse), _places(head, accept))).refuse
            or listening.accept
        ]
        if not in_call:
            refusing = {each.head.language for each in self._listening if each.refuse}
            self._listening += [
                _Listening(head, tuple(range(len(head.phrases))), ())
                for head in shipped
                if head.everyday and head.language in refusing
            ]
        self._deepening, self._deep_of = _distinct([each.head for each in self._listening])
        if unheard := [*_unheard(refuse, every), *_unheard(accept, filter(_accepts, every))]:
            raise DetectorUnavailable(
                f"no head for {', '.join(map(repr, unheard))}, and `sipagent train-keyword` makes one that "
                f"refuses; accepted: {', '.join(_nearest(unheard, every))}"
            )
        spoken = {plain(phrase): head.language for head in every for phrase in head.phrases}
        self.languages = {phrase: spoken[plain(phrase)] for phrase in refuse}
        self.everyday = {
            head.language: [head.phrases[n] for n in each.refuse if n not in _places(head, refuse)]
            for each in self._listening
            if (head := each.head).everyday
        }
        try:
            self._streams = shared_streams()
        except EmbeddingUnavailable as wrong:
            raise DetectorUnavailable(str(wrong)) from wrong

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        """The most probable phrase, if it is probable enough; none in less than 0.8 s."""
        deepened = self._streams.deep(self._deepening, samples, place)
        if not all(map(len, deepened)):
            return Verdict(Meaning.OTHER)
        likely = self._classified(deepened)
        if self._may_be_a_phrase(likely):
            warped = self._streams.warped(self._deepening, samples, place)
            views = [likely, *map(self._classified, warped)]
            likely = [together(np.stack(of_one)) for of_one in zip(*views, strict=True)]
        found = [
            _verdict(each, one, self._in_call) for each, one in zip(self._listening, likely, strict=True)
        ]
        best = strongest(found)
        if not best.everyday:
            return best
        return replace(best, refusing=max(_refusing(one) for one in found))

    def _classified(self, deepened: Sequence[Floats]) -> list[Floats]:
        """The probabilities by each head that is listened with."""
        places = zip(self._listening, self._deep_of, strict=True)
        return [each.head.classify(deepened[number]) for each, number in places]

    def _may_be_a_phrase(self, likely: Sequence[Floats]) -> bool:
        return any(
            one[[*each.refuse, *each.accept]].sum() >= NEARLY * each.head.unclear_at
            for each, one in zip(self._listening, likely, strict=True)
        )


@cache
def shared_streams() -> Streams:
    """The streams of the process, for all phrases; for one thread, the listener's."""
    return Streams(Embedding())


def known_heads(folder: Path = HEADS) -> list[Head]:
    """The heads in a folder whose phrases may be configured, by name. DetectorUnavailable for a file that
    isn't a head."""
    return [head for head in _heads(folder) if not head.everyday]


def everyday_heads(folder: Path = HEADS) -> list[Head]:
    """The heads in a folder that only doubt. DetectorUnavailable for a file that isn't a head."""
    return [head for head in _heads(folder) if head.everyday]


def plain(phrase: str) -> str:
    """A phrase in the form for comparison: `Pas d’Enregistrement !` is "pas d'enregistrement"."""
    words = unicodedata.normalize("NFC", phrase).casefold().replace("’", "'")
    return " ".join("".join(sign if sign.isalnum() or sign == "'" else " " for sign in words).split())


def _heads(folder: Path) -> list[Head]:
    try:
        return [load(path) for path in sorted(folder.glob("*.npz"))]
    except HeadError as wrong:
        raise DetectorUnavailable(str(wrong)) from wrong


def _places(head: Head, phrases: Iterable[str]) -> tuple[int, ...]:
    wanted = {plain(phrase) for phrase in phrases}
    return tuple(place for place, phrase in enumerate(head.phrases) if plain(phrase) in wanted)


def _accepts(head: Head) -> bool:
    """Whether the phrase accepts; a head made for the service always refuses."""
    return head.accept_at <= 1


def _distinct(heads: Iterable[Head]) -> tuple[tuple[Head, ...], list[int]]:
    """The heads with different deep layers, and for each head the number of the one with its layers."""
    found: list[Head] = []
    numbers: list[int] = []
    for head in heads:
        like = [number for number, other in enumerate(found) if head.deepens_like(other)]
        if not like:
            found.append(head)
        numbers.append(like[0] if like else len(found) - 1)
    return tuple(found), numbers


def _unheard(phrases: Iterable[str], heads: Iterable[Head]) -> list[str]:
    known = {plain(phrase) for head in heads for phrase in head.phrases}
    return [phrase for phrase in phrases if plain(phrase) not in known]


def _nearest(unheard: Sequence[str], heads: Sequence[Head]) -> list[str]:
    """What can be heard, the most similar first: there may be dozens."""
    known = sorted({phrase for head in heads for phrase in head.phrases})

    def likeness(phrase: str) -> float:
        return max(SequenceMatcher(None, plain(phrase), plain(other)).ratio() for other in unheard)

    return sorted(known, key=likeness, reverse=True)[:MOST_NAMED]


def _refusing(found: Verdict) -> float:
    """How likely it is a refusal, by a head that may refuse."""
    return 0.0 if found.everyday or found.meaning is Meaning.ACCEPT else found.confidence or 0.0


def _verdict(listening: _Listening, likely: Floats, in_call: bool) -> Verdict:
    """Probabilities of phrases that refuse are added: it does not matter which one was said."""
    head, refuse, accept = listening.head, listening.refuse, listening.accept
    refusing, accepting = float(likely[list(refuse)].sum()), float(likely[list(accept)].sum())
    refuse_at, heard_at = (head.in_call_at,) * 2 if in_call else (head.refuse_at, head.unclear_at)
    if refuse and refusing >= heard_at:
        keyword = head.phrases[max(refuse, key=lambda place: likely[place])]
        meaning = Meaning.REFUSE if refusing >= refuse_at else Meaning.UNCLEAR
        return Verdict(meaning, keyword, round(refusing, 3), everyday=head.everyday)
    if accept and accepting >= head.accept_at:
        return Verdict(
            Meaning.ACCEPT, head.phrases[max(accept, key=lambda p: likely[p])], round(accepting, 3)
        )
    return Verdict(Meaning.OTHER, confidence=0.0 if head.everyday else round(refusing, 3))

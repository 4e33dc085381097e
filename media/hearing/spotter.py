"""The detector of the engine "embedding": the speech embedding, and a head for each language.

Continuing speech goes through the embedding and the heads only once (`DeepStreams`): each question adds only
what is new.

    question ─ where it lies ─▶ deep steps of the question before ─┐
             └ what is new ───▶ log_mel ─ Embedding ─ deepen ──────┴▶ deep steps of all of it

A step depends only on the spectra that it sees, wherever a sound is cut. So what was computed for the
question before is what would be computed now; without it, it is computed again. Memory keeps only numbers
from which no voice can be reconstructed, of at most the last STREAMS, until a question says that it is the
last.
"""

import unicodedata
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import numpy as np

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import (
    DEEP,
    FAR,
    HOP,
    NEAR_OWN,
    OWN,
    REACH,
    STRIDE,
    Embedding,
    EmbeddingUnavailable,
    Floats,
    Head,
    HeadError,
    Tails,
    load_head,
    steps_of,
    together,
)
from media.hearing.keyword import DetectorUnavailable, Meaning, StreamPosition, Verdict, every_ms, strongest

STEP = STRIDE * HOP
"""Samples from one step to the next. Questions begin at multiples of it."""
STREAMS = 256
"""Some 40 kB each, five times as much of what may be a phrase."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The steps computed for a stream: `deep` steps by head, the number of the `first`; `next`: that of the
    first step not seen."""

    heads: Sequence[Head]
    first: int
    next: int
    deep: list[Floats]
    tails: list[Tails]


class DeepStreams:
    """For one thread at a time."""

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding
        self._known: OrderedDict[int, dict[float, _Known]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def deep(
        self,
        heads: Sequence[Head],
        samples: Samples,
        place: StreamPosition | None = None,
        warps: Sequence[float] = (OWN,),
    ) -> list[list[Floats]]:
        """(n, DEEP) by head of (m,) int16, for each of these vocal tracts; n is 0 for less than a deep step
        sees.

        The same with a `place` as without.
        """
        known = {} if place is None else self._known.get(place.stream, {})
        begins = 0 if place is None else -(-place.at // STEP)
        heard = samples if place is None else samples[-place.at % STEP :]
        for warp in warps:
            before = known.pop(warp, None)  # no longer true if the network fails half-way
            known[warp] = self._following(heads, before, begins, heard, warp)
        deep = [known[warp].deep for warp in warps]
        if place is not None and len(deep[0][0]):
            self._known[place.stream] = known
            self._known.move_to_end(place.stream)
            if len(self._known) > STREAMS:
                self._known.popitem(last=False)
        return deep

    def forget(self, stream: int) -> None:
        """Nothing more is asked about it."""
        self._known.pop(stream, None)

    def _following(
        self, heads: Sequence[Head], known: _Known | None, begins: int, samples: Samples, warp: float
    ) -> _Known:
        """The steps of a question that begins with step `begins`; those known are not computed again."""
        if known is None or not _helps(known, heads, begins, len(samples)):
            nothing = [np.zeros((0, DEEP), dtype=np.float32) for _ in heads]
            known = _Known(heads, begins, begins, nothing, [{} for _ in heads])
        new = steps_of(self._embedding, samples[(known.next - begins) * STEP :], warp)
        deep = [
            np.concatenate([part[begins - known.first :], head.deepen(new, tails)])
            for part, head, tails in zip(known.deep, heads, known.tails, strict=True)
        ]
        return _Known(heads, begins, known.next + len(new), deep, known.tails)


def _helps(known: _Known, heads: Sequence[Head], begins: int, length: int) -> bool:
    """Whether it is of these heads, and the question begins in it and ends after it."""
    begins_in_it = known.first <= begins <= known.next - REACH
    return heads is known.heads and begins_in_it and known.next * STEP <= begins * STEP + length


HEADS = Path(__file__).parents[1] / "heads"
MOST_NAMED = 12
EARLY = 1400 * SAMPLE_RATE // 1000
"""Samples, with the 0.8 s before the voice. Speech that goes on is not judged before that: so early, heads
heard a fifth of all that wrongly sounds like a refusal, and one refusal of 713 (split `tune`)."""
NEARLY = 0.9
"""From this share of what a phrase counts from, speech is heard as by other vocal tracts, too."""


@dataclass(frozen=True, slots=True)
class _Listening:
    """A head; of the phrases that refuse and that accept, the places among its classes, for those that refuse
    with the phrase that counts; whether it listens in the call, where nothing is unclear."""

    head: Head
    refuse: Mapping[int, str]
    accept: tuple[int, ...]
    in_call: bool

    @property
    def refuse_at(self) -> float:
        return self.head.in_call_at if self.in_call else self.head.refuse_at

    @property
    def heard_at(self) -> float:
        return self.head.in_call_at if self.in_call else self.head.unclear_at

    def scores(self, likely: Floats) -> tuple[float, float]:
        """That it refuses, and that it accepts. It does not matter which phrase was said: their probabilities
        are added."""
        return float(likely[list(self.refuse)].sum()), float(likely[list(self.accept)].sum())

    def may_count(self, likely: Floats) -> bool:
        """Whether it is nearly a phrase by this head."""
        refusing, accepting = self.scores(likely)
        return refusing >= NEARLY * self.heard_at or accepting >= NEARLY * self.head.accept_at


class Spotter:
    """A media.hearing.keyword.Detector; what it keeps of speech that continues is in `DeepStreams`.

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
        languages: Collection[str] = (),
    ) -> None:
        """DetectorUnavailable for a phrase without a head, or if the embedding is missing.

        `own`: a folder of more heads, which may be missing. `languages`: whose phrases that error offers; all
        without any.
        """
        self.every_ms = every_ms("embedding", in_call)
        shipped = _heads(heads)
        every = [head for head in shipped if not head.everyday] + (known_heads(own) if own else [])
        self._listening = [
            listening
            for head in every
            if (listening := _Listening(head, _said(head, refuse), _places(head, accept), in_call)).refuse
            or listening.accept
        ]
        if not in_call:
            refusing = {each.head.language for each in self._listening if each.refuse}
            self._listening += [
                _Listening(head, dict(enumerate(head.phrases)), (), in_call)
                for head in shipped
                if head.everyday and head.language in refusing
            ]
        self._deepening, self._deep_of = _distinct([each.head for each in self._listening])
        if unheard := [*_unheard(refuse, every), *_unheard(accept, filter(_accepts, every))]:
            offered = [head for head in every if head.language in languages] or every
            raise DetectorUnavailable(
                "no head for {0}, and `sipagent train-keyword` makes one that refuses; accepted: {1}",
                ", ".join(map(repr, unheard)),
                ", ".join(_nearest(unheard, offered)),
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
            raise DetectorUnavailable(*wrong.args) from wrong

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        """The most probable phrase, if it is probable enough; none in less than 0.8 s, or too early."""
        is_early = place is not None and not place.last and len(samples) < EARLY
        try:
            found = [] if is_early else self._heard(samples, place)
        finally:
            if place and place.last:
                self._streams.forget(place.stream)
        if not found:
            return Verdict(Meaning.OTHER)
        best = strongest(found)
        if not best.everyday:
            return best
        return replace(best, refusing=max(_refusing(one) for one in found))

    def _heard(self, samples: Samples, place: StreamPosition | None) -> list[Verdict]:
        """The verdict of each head; none on sound that is too short."""
        views: list[list[Floats]] = []
        likely: list[Floats] = []
        for warps in ((OWN,), NEAR_OWN, FAR):
            for deepened in self._streams.deep(self._deepening, samples, place, warps):
                if not all(map(len, deepened)):
                    return []
                views.append(self._classified(deepened))
            likely = [together(np.stack(of_one)) for of_one in zip(*views, strict=True)]
            if not any(each.may_count(one) for each, one in zip(self._listening, likely, strict=True)):
                break
        return [_verdict(each, one) for each, one in zip(self._listening, likely, strict=True)]

    def _classified(self, deepened: Sequence[Floats]) -> list[Floats]:
        """The probabilities by each head that is listened with."""
        places = zip(self._listening, self._deep_of, strict=True)
        return [each.head.classify(deepened[number]) for each, number in places]


@cache
def shared_streams() -> DeepStreams:
    """The streams of the process, for all phrases; for one thread, the listener's."""
    return DeepStreams(Embedding())


def known_heads(folder: Path = HEADS) -> list[Head]:
    """The heads in a folder whose phrases may be configured, by name. DetectorUnavailable for a file that
    isn't a head."""
    return [head for head in _heads(folder) if not head.everyday]


def plain(phrase: str) -> str:
    """A phrase in the form for comparison: `Pas d’Enregistrement !` is "pas d'enregistrement"."""
    words = unicodedata.normalize("NFC", phrase).casefold().replace("’", "'")
    return " ".join("".join(sign if sign.isalnum() or sign == "'" else " " for sign in words).split())


def _heads(folder: Path) -> list[Head]:
    try:
        return [load_head(path) for path in sorted(folder.glob("*.npz"))]
    except HeadError as wrong:
        raise DetectorUnavailable(*wrong.args) from wrong


def _places(head: Head, phrases: Iterable[str]) -> tuple[int, ...]:
    wanted = {plain(phrase) for phrase in phrases}
    return tuple(place for place, phrase in enumerate(head.phrases) if plain(phrase) in wanted)


def _said(head: Head, phrases: Iterable[str]) -> dict[int, str]:
    """The classes in which one of these phrases is said, perhaps among other words, and that phrase; none
    where no class is just one of them.

    A caller who says "je refuse l'enregistrement" has said "je refuse", which may be the only phrase
    configured, and the head divides its probability between the two.
    """
    own = {place: head.phrases[place] for place in _places(head, phrases)}
    among = {
        place: said
        for place, phrase in enumerate(head.phrases)
        for said in own.values()
        if f" {plain(said)} " in f" {plain(phrase)} "
    }
    return among | own


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
    """The phrases that can be heard, the most similar first: there may be dozens."""
    known = sorted({phrase for head in heads for phrase in head.phrases})

    def likeness(phrase: str) -> float:
        return max(SequenceMatcher(None, plain(phrase), plain(other)).ratio() for other in unheard)

    return sorted(known, key=likeness, reverse=True)[:MOST_NAMED]


def _refusing(found: Verdict) -> float:
    """How likely it is a refusal, by a head that may refuse."""
    return 0.0 if found.everyday or found.meaning is Meaning.ACCEPT else found.confidence or 0.0


def _verdict(listening: _Listening, likely: Floats) -> Verdict:
    head, (refusing, accepting) = listening.head, listening.scores(likely)
    if listening.refuse and refusing >= listening.heard_at:
        keyword = listening.refuse[max(listening.refuse, key=lambda place: likely[place])]
        meaning = Meaning.REFUSE if refusing >= listening.refuse_at else Meaning.UNCLEAR
        sure = meaning is Meaning.UNCLEAR or refusing >= head.in_call_at
        return Verdict(meaning, keyword, round(refusing, 3), everyday=head.everyday, sure=sure)
    if listening.accept and accepting >= head.accept_at:
        keyword = head.phrases[max(listening.accept, key=lambda place: likely[place])]
        return Verdict(Meaning.ACCEPT, keyword, round(accepting, 3))
    return Verdict(Meaning.OTHER, confidence=0.0 if head.everyday else round(refusing, 3))

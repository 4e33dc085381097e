"""The detector of the engine "embedding": the speech embedding, and a head for each language listened for."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from media.embedding import Embedding, EmbeddingUnavailable, Floats
from media.frame import Samples
from media.head import Head, HeadError, load
from media.keyword import DetectorUnavailable, Meaning, Place, Verdict, every_ms
from media.streams import Streams

HEADS = Path(__file__).with_name("heads")


@dataclass(frozen=True, slots=True)
class _Listening:
    """A head, and the places of the phrases that are listened for among its classes, with what they mean."""

    head: Head
    refuse: tuple[int, ...]
    accept: tuple[int, ...]


class Spotter:
    """A media.keyword.Detector; what it keeps of speech that goes on is in media/streams.py."""

    def __init__(
        self, refuse: Sequence[str], accept: Sequence[str], heads: Path = HEADS, *, in_call: bool = False
    ) -> None:
        """DetectorUnavailable for a phrase without a head, or where the embedding is missing."""
        self.every_ms = every_ms("embedding", in_call)
        self._in_call = in_call
        self._listening = [
            listening
            for head in known_heads(heads)
            if (listening := _Listening(head, _places(head, refuse), _places(head, accept))).refuse
            or listening.accept
        ]
        self._heads = tuple(each.head for each in self._listening)
        found = {plain(phrase) for each in self._listening for phrase in each.head.phrases}
        if unheard := [phrase for phrase in (*refuse, *accept) if plain(phrase) not in found]:
            raise DetectorUnavailable(
                f"no head for {', '.join(map(repr, unheard))}; accepted: {', '.join(known_phrases(heads))}"
            )
        try:
            self._streams = shared_streams()
        except EmbeddingUnavailable as wrong:
            raise DetectorUnavailable(str(wrong)) from wrong

    def judge(self, samples: Samples, place: Place | None = None) -> Verdict:
        """What the likeliest of the phrases is, if any is likely enough; nothing is in less than 0.8 s."""
        best = Verdict(Meaning.OTHER)
        for each, deep in zip(self._listening, self._streams.deep(self._heads, samples, place), strict=True):
            if len(deep):
                verdict = _verdict(each, each.head.classify(deep), self._in_call)
                best = max(best, verdict, key=_rank)
        return best


@cache
def shared_streams() -> Streams:
    """One for the process: the same for all phrases, and for one thread, the listener's."""
    return Streams(Embedding())


def known_heads(folder: Path = HEADS) -> list[Head]:
    """Those in a folder, by name. DetectorUnavailable for a file that isn't one."""
    try:
        return [load(path) for path in sorted(folder.glob("*.npz"))]
    except HeadError as wrong:
        raise DetectorUnavailable(str(wrong)) from wrong


def known_phrases(folder: Path = HEADS) -> list[str]:
    """All phrases that a head listens for."""
    return sorted({phrase for head in known_heads(folder) for phrase in head.phrases})


def plain(phrase: str) -> str:
    """As phrases are compared: `Pas d’Enregistrement !` is "pas d'enregistrement"."""
    words = unicodedata.normalize("NFC", phrase).casefold().replace("’", "'")
    return " ".join("".join(sign if sign.isalnum() or sign == "'" else " " for sign in words).split())


def _places(head: Head, phrases: Iterable[str]) -> tuple[int, ...]:
    wanted = {plain(phrase) for phrase in phrases}
    return tuple(place for place, phrase in enumerate(head.phrases) if plain(phrase) in wanted)


def _verdict(listening: _Listening, likely: Floats, in_call: bool) -> Verdict:
    """Two phrases that refuse need not be told apart, so their probabilities add up."""
    head, refuse, accept = listening.head, listening.refuse, listening.accept
    refusing, accepting = float(likely[list(refuse)].sum()), float(likely[list(accept)].sum())
    refuse_at, heard_at = (head.in_call_at,) * 2 if in_call else (head.refuse_at, head.unclear_at)
    if refuse and refusing >= heard_at:
        keyword = head.phrases[max(refuse, key=lambda place: likely[place])]
        meaning = Meaning.REFUSE if refusing >= refuse_at else Meaning.UNCLEAR
        return Verdict(meaning, keyword, round(refusing, 3))
    if accept and accepting >= head.accept_at:
        return Verdict(
            Meaning.ACCEPT, head.phrases[max(accept, key=lambda p: likely[p])], round(accepting, 3)
        )
    return Verdict(Meaning.OTHER, confidence=round(refusing, 3))


def _rank(verdict: Verdict) -> tuple[int, float]:
    order = (Meaning.OTHER, Meaning.ACCEPT, Meaning.UNCLEAR, Meaning.REFUSE)
    return order.index(verdict.meaning), verdict.confidence or 0.0

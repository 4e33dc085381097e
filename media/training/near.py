"""What is similar to a phrase but refuses nothing: pieces of it, and words that sound similar."""

import subprocess
from collections.abc import Sequence
from difflib import SequenceMatcher
from random import Random

LOOKED_AT = 6000
"""How many words of the dictionary are compared by sound."""
ALIKE, EACH = 0.5, 12
"""The least similarity, and how many words for each word of the phrase."""
SHORT = 4


def pieces(phrase: str) -> list[str]:
    """Its beginnings, its ends, and the phrase without one of its words; of a single word its beginnings."""
    words = phrase.split()
    if len(words) == 1:
        return sorted({phrase[: len(phrase) * part // 6] for part in (2, 3, 4)} - {"", phrase})
    found = {*words}
    for at in range(1, len(words)):
        found |= {" ".join(words[:at]), " ".join(words[at:])}
    if len(words) > 2:
        found |= {" ".join(words[:at] + words[at + 1 :]) for at in range(len(words))}
    return sorted(found - {phrase})


def alike(phrase: str, words: Sequence[str], accent: str, random: Random) -> list[str]:
    """The phrase with one word replaced by one of `words` that sounds similar, but not the same.

    `accent`: a voice of espeak-ng, which gives their sound. Raises subprocess.CalledProcessError.
    """
    said = phrase.split()
    long = [word for word in said if len(word) >= SHORT] or said
    lengths = {len(word) + more for word in long for more in (-2, -1, 0, 1, 2)}
    known = sorted({word for word in words if len(word) in lengths and word.isalpha()} - {*said})
    looked_at = random.sample(known, min(LOOKED_AT, len(known)))
    sounds = _sounds([*long, *looked_at], accent)
    found: list[str] = []
    for word, sound in zip(long, sounds, strict=False):
        likeness = [SequenceMatcher(None, sound, other).ratio() for other in sounds[len(long) :]]
        near = [(like, other) for like, other in zip(likeness, looked_at, strict=True) if ALIKE < like < 1]
        for _, other in sorted(near, reverse=True)[:EACH]:
            found.append(" ".join(other if one == word else one for one in said))
    return found


def _sounds(words: Sequence[str], accent: str) -> list[str]:
    """Their phonemes without stress, in espeak-ng's letters; one word a line, or it joins them."""
    text = "".join(f"{word}.\n" for word in words)
    command = ["espeak-ng", "-q", "-x", "-v", accent, "--stdin"]
    told = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    sounds = [line.strip().translate({ord("'"): None, ord(","): None}) for line in told.splitlines()]
    return [sound for sound in sounds if sound]

"""Text to the phonemes Kokoro-82M was trained on: espeak-ng's IPA, with the letters the model has for pairs.

The model knows 114 symbols. espeak-ng writes some sounds with others; the tables below say which symbol
replaces which, after misaki, the front end the model was trained with (https://github.com/hexgrad/misaki,
espeak.py). A symbol that the model does not have is an error here: a dropped sound would be a word the caller
cannot understand.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping

ESPEAK_VOICES = {"fr": "fr-fr", "en": "en-gb", "es": "es"}
"""espeak-ng's voice for each language; the English is British, like the speaker of the prompts."""

_PAIRS = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "d^z": "ʣ",
    "d^ʒ": "ʤ",
    "e^ɪ": "A",
    "o^ʊ": "O",
    "ə^ʊ": "Q",
    "t^s": "ʦ",
    "t^ʃ": "ʧ",
    "ɔ^ɪ": "Y",
}
_FOR_LANGUAGE = {
    "fr": _PAIRS,
    "es": _PAIRS,
    "en": _PAIRS | {"n̩": "ᵊn", "e^ə": "ɛː", "iə": "ɪə", "ə^l": "ᵊl", "r": "ɹ", "ɐ": "ə", "x": "k", "ʲ": ""},
}
_CLAUSE_END = re.compile(r"([,;:!?.…—()“”]+)(?=\s|$)")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")
_NO_BREAK = str.maketrans({"\u00a0": " ", "\u202f": " ", "«": "“", "»": "”"})


class PhonemeError(Exception):
    """The words cannot be turned into phonemes; str() says why on one line."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its closing mark."""
    return [part for part in _SENTENCE_END.split(text.translate(_NO_BREAK).strip()) if part]


def phonemes(sentence: str, language: str, lexicon: Mapping[str, str], known: frozenset[str]) -> str:
    """One sentence in the model's symbols, punctuation kept: it carries the melody.

    `lexicon` maps words to IPA that replaces what espeak-ng would say; `known` are the model's symbols.
    Raises PhonemeError if espeak-ng is missing or a sound has no symbol.
    """
    pieces = _CLAUSE_END.split(sentence)
    spoken = ""
    for words, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        said = _in_symbols(_ipa(words, language, lexicon), language)
        spoken += (" " if spoken and said else "") + said + mark
    unknown = sorted(set(spoken) - known)
    if unknown:
        raise PhonemeError(f"{sentence!r}: the voice has no symbol for {' '.join(unknown)} in {spoken!r}")
    return spoken


def _ipa(words: str, language: str, lexicon: Mapping[str, str]) -> str:
    if not lexicon:
        return _espeak(words, language)
    longest_first = "|".join(map(re.escape, sorted(lexicon, key=len, reverse=True)))
    parts = re.split(rf"(?<!\w)({longest_first})(?!\w)", words)
    return " ".join(lexicon.get(part) or _espeak(part, language) for part in parts if part.strip())


def _espeak(words: str, language: str) -> str:
    if not words.strip():
        return ""
    if shutil.which("espeak-ng") is None:
        raise PhonemeError("espeak-ng is not installed (Debian: apt install espeak-ng)")
    command = ["espeak-ng", "-q", "--ipa", "--tie=^", "-v", ESPEAK_VOICES[language], "--", words.strip()]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise PhonemeError(f"espeak-ng: {answer.stderr.strip() or f'exit {answer.returncode}'}")
    return " ".join(answer.stdout.split())


def _in_symbols(ipa: str, language: str) -> str:
    """espeak-ng's IPA in the model's letters, without ties, hyphens and marks for another language."""
    ipa = re.sub(r"\([a-z-]+\)", "", ipa)
    for said, symbol in sorted(_FOR_LANGUAGE[language].items(), key=lambda pair: -len(pair[0])):
        ipa = ipa.replace(said, symbol)
    return re.sub(r"[\^\u200d-]", "", ipa)

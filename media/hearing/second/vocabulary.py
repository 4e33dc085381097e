"""A Whisper model's words: its vocabulary, and the numbers of a text's tokens in it.

The vocabulary is byte-level (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019,
section 2.2): each token is bytes, spelt in signs that can be printed, and a token that is more frequent comes
earlier. So the order alone tells which two pieces of a word are joined first, as in OpenAI's `tiktoken`.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

JSON, TEXT = "vocabulary.json", "vocabulary.txt"
_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


class VocabularyError(Exception):
    """A folder without a vocabulary of Whisper's; str() is one line."""


class Vocabulary:
    """The tokens of a model, by their spelling."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._number = {token: number for number, token in reversed(list(enumerate(tokens)))}

    def special(self, name: str) -> int:
        """The number of a token such as `<|fr|>`. VocabularyError if there is none."""
        if name not in self._number:
            raise VocabularyError(f"there is no {name} in its vocabulary")
        return self._number[name]

    def encode(self, text: str) -> list[int]:
        """The numbers of the tokens of `text`. VocabularyError if a byte of it has none."""
        return [number for piece in _PIECES.findall(text) for number in self._joined(piece)]

    def _joined(self, piece: str) -> list[int]:
        """Join the two neighbours whose token comes first, as long as any two are one."""
        parts = [_SPELT[byte] for byte in piece.encode()]
        while len(parts) > 1:
            pairs = [first + second for first, second in pairwise(parts)]
            known = [(self._number[pair], at) for at, pair in enumerate(pairs) if pair in self._number]
            if not known:
                break
            _, at = min(known)
            parts[at : at + 2] = [pairs[at]]
        return [self.special(part) for part in parts]


def read_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary in the folder of a model that CTranslate2's converter made, in JSON or one a line."""
    try:
        if (folder / JSON).exists():
            tokens = json.loads((folder / JSON).read_text(encoding="utf-8"))
        else:
            tokens = (folder / TEXT).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as wrong:
        raise VocabularyError(f"{getattr(wrong, 'strerror', None) or wrong}") from wrong
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise VocabularyError(f"{JSON} is not a list of tokens")
    return Vocabulary(tokens)


def _spelling() -> list[str]:
    """The sign of each byte: itself if it can be printed, else one from 256 on."""
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printed else next(others)) for byte in range(0x100)]


_SPELT = _spelling()

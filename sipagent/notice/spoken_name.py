"""Whether the words of a prompt name another service than the configured one: pure text, French and English.

An office says its name beside a greeting: "Allô Mairie, bonjour", "welcome to Allô Mairie". A caller greeted
by another name than `service.name` or `service.controller` thinks that they have reached somebody else.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from sipagent.notice import words as heard
from sipagent.notice.vocabulary import Vocabulary

SHIPPED = "Agglo J'écoute"
"""What the shipped prompts say."""

_NAME = r"(?P<name>[^.!?;:,]+)"
_BEFORE = r"^(?P<name>[^.!?;:,]+?),? "
_DAY = "hello|good (?:morning|afternoon|evening)"
_GREETINGS: Mapping[str, Sequence[str]] = {
    "fr": (
        rf"{_BEFORE}(?:bonjour|bonsoir|bienvenue)\b",
        rf"\bbienvenue (?:à|au|aux|chez|dans|sur) {_NAME}",
        rf"\bvous êtes (?:bien )?(?:à|au|chez|en communication avec) {_NAME}",
        rf"^(?:bonjour|bonsoir),? (?:ici )?{_NAME}",
    ),
    "en": (
        rf"\bwelcome to {_NAME}",
        rf"\b(?:thank you for calling|you have reached|you are through to|this is) {_NAME}",
        rf"^(?:{_DAY}),? (?:from )?{_NAME}",
        rf"{_BEFORE}(?:{_DAY})\b",
    ),
}
_ARTICLE = re.compile(r"^(?:(?:le|la|les|the) |l')", re.IGNORECASE)
_NO_NAMES = {
    *("attention", "bonjour", "bonsoir", "cet", "desole", "et", "merci", "nous", "notre", "votre", "vous"),
    *("madame", "mesdames", "messieurs", "monsieur"),
    *("a", "an", "and", "good", "hello", "i", "if", "it", "oh", "please", "sorry", "thank", "thanks", "this"),
    *("to", "we", "welcome", "you", "your"),
}
"""Words that begin sentences, but never a name."""


def says_shipped(text: str, names: Sequence[str], voc: Vocabulary) -> bool:
    """Whether plain words say the shipped name, which is none of these."""
    ours = any(heard.names_one_of(heard.plain(name), [SHIPPED], voc) for name in names)
    return not ours and heard.names_one_of(text, [SHIPPED], voc)


def other_name(words: str, language: str, names: Sequence[str], voc: Vocabulary) -> str | None:
    """The written name in the greeting, if it is none of these; else None."""
    for name in _greeted(words, language):
        if not any(_same(name, ours, voc) for ours in names):
            return name
    return None


def _greeted(words: str, language: str) -> Iterator[str]:
    """What is beside a greeting and has a capital letter that is not due to the start of a sentence."""
    text = " ".join(words.replace("\u2019", "'").split())
    for sentence in re.split(r"(?<=[.!?;:])\s+", text):
        for pattern in _GREETINGS.get(language, ()):
            for match in re.finditer(pattern, sentence, re.IGNORECASE):
                name = match["name"].strip(" «»“”\"'")
                bare = _ARTICLE.sub("", name)
                capital = any(word[0].isupper() for word in heard.tokens(bare))
                if capital and heard.tokens(heard.plain(bare))[0] not in _NO_NAMES:
                    yield name


def _same(name: str, ours: str, voc: Vocabulary) -> bool:
    """Whether one of the two contains the other, with any article before it."""
    bare = _ARTICLE.sub("", heard.plain(name))
    return heard.names_one_of(bare, [ours], voc) or heard.names_one_of(heard.plain(ours), [bare], voc)

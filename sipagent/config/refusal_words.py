"""The default words to listen for, without words in the configuration: by the languages of the notices."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import media

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "fr": {
        "keywords": ("ne m'enregistrez pas", "je refuse", "refuser", "pas d'enregistrement"),
        "accept_keywords": ("oui", "j'accepte"),
        "in_call_keywords": ("arrêtez l'enregistrement", "ne m'enregistrez pas"),
    },
    "en": {
        "keywords": ("no thank you no recording", "I refuse", "no recording", "do not record me"),
        "accept_keywords": ("yes", "I accept"),
        "in_call_keywords": ("stop recording", "do not record me"),
    },
    "de": {
        "keywords": ("ich möchte nicht aufgezeichnet werden", "ich lehne ab", "keine Aufzeichnung"),
        "accept_keywords": ("ja", "ich stimme zu"),
        "in_call_keywords": ("stoppen Sie die Aufzeichnung", "nehmen Sie mich nicht auf"),
    },
    "es": {
        "keywords": ("rechazo la grabación", "me niego", "sin grabación", "no quiero que me graben"),
        "accept_keywords": ("sí", "acepto"),
        "in_call_keywords": ("pare la grabación", "no me grabe"),
    },
}
"""By language and key of [refusal]; if a language has a shipped head, it hears each of them.

The first of `keywords` is the phrase to promise: of the long and natural ones that which is heard best, by
the measurements in media/README.md.
"""

_HEADS = Path(media.__file__).with_name("heads")


def words_of(languages: Iterable[str], key: str) -> tuple[str, ...]:
    """The words of those languages that have a head, in their order; French ones if none has."""
    return tuple(word for language in heard_in(languages) or ["fr"] for word in WORDS[language][key])


def heard_in(languages: Iterable[str]) -> list[str]:
    """Those of the languages in which the default words are heard: that have a head, each once."""
    heads = {path.stem for path in _HEADS.glob("*.npz")}
    return [language for language in dict.fromkeys(languages) if language in heads & WORDS.keys()]

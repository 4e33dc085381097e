"""What is listened for where the configuration names no words: those of the languages that notices are in."""

from collections.abc import Iterable, Mapping

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "fr": {
        "keywords": ("je refuse", "refuser", "pas d'enregistrement"),
        "accept_keywords": ("oui", "j'accepte"),
        "in_call_keywords": ("arrêtez l'enregistrement", "ne m'enregistrez pas"),
    },
}
"""By language and key of [refusal]; a shipped head hears each of them."""


def words_of(languages: Iterable[str], key: str) -> tuple[str, ...]:
    """Of all these languages, in their order; French ones where there are no others."""
    known = [language for language in dict.fromkeys(languages) if language in WORDS]
    return tuple(word for language in known or ["fr"] for word in WORDS[language][key])

"""By what name prompts greet, and whether it is the service's."""

import tomllib
from pathlib import Path

import pytest

from sipagent.text.notice_words import ENGLISH, FRENCH, SHIPPED, VOCABULARIES, other_name, plain, says_shipped

ROOT = Path(__file__).parent.parent
NAMES = ["Allô Mairie", "Ville de Saint-Quentin"]


def test_the_shipped_name_is_that_of_the_shipped_configuration() -> None:
    assert tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))["service"]["name"] == SHIPPED


@pytest.mark.parametrize("path", sorted((ROOT / "prompts").glob("*/*.txt")), ids=lambda path: str(path)[-20:])
def test_the_shipped_words_say_the_shipped_name_or_none(path: Path) -> None:
    words, voc = path.read_text(encoding="utf-8"), VOCABULARIES[path.parent.name]
    assert other_name(words, path.parent.name, [SHIPPED], voc) is None
    assert not says_shipped(plain(words), [SHIPPED], voc)
    assert says_shipped(plain(words), NAMES, voc) is ("Agglo" in words)
    assert not says_shipped(plain(words), ["Agglo J’écoute, le centre d'appels"], voc)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Allô Mairie, bonjour. Nous sommes fermés.", None),
        ("Bonjour, ici la ville de Saint-Quentin.", None),
        ("Bienvenue à la Mairie. Bonjour.", None),
        ("Bonjour, nous sommes fermés.", None),
        ("Merci, bonjour et bienvenue.", None),
        ("Bonjour. Votre appel n’est pas enregistré.", None),
        ("Le service des eaux vous dit bonjour.", None),
        ("Nous sommes fermés. L’équipe vous souhaite une bonne journée.", None),
        ("Eau Pure, bonjour. Nous sommes fermés.", "Eau Pure"),
        ("Bonjour, et bienvenue chez Eau Pure !", "Eau Pure"),
        ("Vous êtes bien au Service des Eaux de Lyon, bonjour", "Service des Eaux de Lyon"),
        ("Ce n’est rien. Bonsoir, ici Eau Pure.", "Eau Pure"),
    ],
)
def test_french(words: str, name: str | None) -> None:
    assert other_name(words, "fr", NAMES, FRENCH) == name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Welcome to Allô Mairie. We are closed.", None),
        ("Hello, we are closed.", None),
        ("Hello, and welcome to Clear Water. We are closed.", "Clear Water"),
        ("Thank you for calling Clear Water, good evening.", "Clear Water"),
        ("Good morning. This is a recorded message.", None),
        ("Clear Water, good morning.", "Clear Water"),
    ],
)
def test_english(words: str, name: str | None) -> None:
    assert other_name(words, "en", NAMES, ENGLISH) == name


def test_nobody_has_listed_german() -> None:
    assert other_name("Guten Tag, Wasserwerk.", "de", NAMES, FRENCH) is None

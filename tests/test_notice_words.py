"""What prompts say, and the false friends that seem to say it: recording, keys, refusals, names, hours."""

import tomllib
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest

from sipagent.config.types import week
from sipagent.text.notice import hours_differences, told_hours
from sipagent.text.notice_words import (
    ENGLISH,
    FRENCH,
    SHIPPED,
    VOCABULARIES,
    NoticeClaims,
    key_accepts,
    key_refuses,
    names_one_of,
    of_recording,
    other_name,
    periods,
    plain,
    refuses,
    says_key,
    says_shipped,
)
from tests.loopback import ROOT

YES, NO = NoticeClaims(True, False), NoticeClaims(False, True)
BOTH, NEITHER = NoticeClaims(True, True), NoticeClaims(False, False)
Examples: TypeAlias = Mapping[tuple[Any, ...], str]  # parted by " / ", by what is heard in each

RECORDED: Examples = {
    ("fr", YES): """
        Votre appel peut être enregistré. / VOTRE APPEL EST ENREGISTRÉ / Nous procédons à l’enregistrement
        de cet appel / L'appel est enregistré sans que l'opérateur l'entende / Si vous ne refusez pas votre
        appel sera enregistré / Sans opposition de votre part, cet appel est enregistré
    """,
    ("fr", NO): """
        Cet appel n’est pas enregistré. / Cette conversation se fait sans enregistrement / Nous n'enregistrons
        jamais / Si vous ne souhaitez pas que cet appel soit enregistré, touche 9
    """,
    ("fr", BOTH): "Votre appel sera enregistré. Sinon, il ne sera pas enregistré.",
    ("fr", NEITHER): """
        Votre demande est enregistrée. / Votre refus est bien enregistré / Vous écoutez un message
        enregistré / Votre demande d'appel : merci / Votre appel peut être écouté pour la qualité
    """,
    ("en", YES): """
        Your call may be recorded. / Agglo J'écoute records all conversations / If you do not object your
        call will be recorded / This call is being taped / We record for quality
    """,
    ("en", NEITHER): """
        We record your request / They want us to keep a record of it / This call may be monitored for
        quality purposes / For our records, please have your number ready / We have a record number of calls
        today / You hear a recorded message / Your request has been recorded / We keep records
    """,
    ("en", NO): """
        This call can't be recorded / This call won’t be recorded / We never record your call / There is no
        recording of this call / If you do not wish this call to be recorded, press 9
    """,
}
KEYS: Examples = {
    ("fr", "9", True): """
        appuyez sur 9 / pour refuser : 9. / appuyez, à tout moment, sur la touche 9 / la touche n°9 / la
        touche № 9 / tapez le 9. / faites le neuf
    """,
    ("fr", "*", True): "appuyez sur la touche étoile / appuyez sur *",
    ("fr", "#", True): "composez dièse",
    ("fr", "1", True): "tapez un / appuyez sur la touche un pour accepter",
    ("fr", "9", False): """
        appuyez sur la touche 19 / le neuvième appel / de 9 heures à 17 heures / le 9 novembre /
        pressez-vous, dans neuf jours / conservé neuf mois / un appel sur neuf est enregistré / il reste 9
        personnes avant vous
    """,
    ("fr", "1", False): "un opérateur vous répond / faites un choix / appuyez sur une touche",
    ("en", "9", True): "press nine / press key no. 9 / dial 9 at any time",
    ("en", "*", True): "press the star key",
    ("en", "#", True): "by pressing hash",
    ("en", "1", True): "press one to accept",
    ("en", "1", False): "one of our operators / press one of the keys / press one key",
    ("en", "9", False): "kept for nine months / from 9 am / press 19 / you are number 9 months",
}
REFUSALS: Examples = {
    ("fr", True): """
        Vous pouvez vous y opposer / Vous pouvez refuser, cela ne change pas notre réponse / Si vous ne
        pouvez pas accepter, touche 9 / Si vous n'êtes pas d'accord, touche 9 / En cas de désaccord, touche
        9 / Cet appel est enregistré, sauf si vous appuyez sur 9 / Pour ne pas être enregistré, tapez 9
    """,
    ("fr", False): """
        Cet appel est enregistré, sauf le dimanche / Si vous souhaitez parler à un opérateur / Cet appel
        n'est pas enregistré / Vous ne pouvez pas refuser / Il n'est pas possible de s'opposer à
        l'enregistrement / Pour accepter, touche 9 / Pour éviter l'attente, touche 9
    """,
    ("en", True): """
        If you would rather not be recorded, press 9 / If you disagree, press 9 / Your call is recorded,
        unless you press 9 / If you don't consent, press 9 / If you cannot accept this, press 9 / To stop
        the recording, press 9 / You may refuse, with no effect on your call
    """,
    ("en", False): """
        You cannot refuse / You can't refuse / If you agree, press 9 / Your call will not be recorded / To
        avoid waiting, press 9
    """,
}


def each(examples: Examples) -> list[Any]:
    split = {heard: " ".join(texts.split()).split(" / ") for heard, texts in examples.items()}
    return [pytest.param(*heard, text, id=text) for heard, texts in split.items() for text in texts]


@pytest.mark.parametrize(("language", "said", "words"), each(RECORDED))
def test_whether_a_call_is_recorded(language: str, said: NoticeClaims, words: str) -> None:
    for form in (words, unicodedata.normalize("NFD", words)):
        assert of_recording(plain(form), VOCABULARIES[language]) == said


@pytest.mark.parametrize(("language", "key", "named", "words"), each(KEYS))
def test_a_key_is_named(language: str, key: str, named: bool, words: str) -> None:
    assert says_key(plain(words), key, VOCABULARIES[language]) is named


@pytest.mark.parametrize(("language", "offered", "words"), each(REFUSALS))
def test_a_refusal_is_offered(language: str, offered: bool, words: str) -> None:
    assert refuses(plain(words), VOCABULARIES[language]) is offered


def test_a_key_belongs_to_what_it_does() -> None:
    both = plain("Pour accepter, touche 1. Pour refuser, touche 9.")
    assert key_accepts(both, "1", FRENCH) and key_refuses(both, "9", FRENCH)
    assert not key_accepts(both, "9", FRENCH) and not key_refuses(both, "1", FRENCH)
    assert key_refuses(plain("You can refuse. Press 9."), "9", ENGLISH)
    assert not key_refuses(plain("You can refuse. To accept, press 9."), "9", ENGLISH)
    assert not key_refuses(plain("Press 9 for the town hall."), "9", ENGLISH)
    assert not key_refuses(plain("You cannot refuse. For sales, press 9."), "9", ENGLISH)
    assert not key_accepts(plain("Si vous n'acceptez pas, touche 1."), "1", FRENCH)
    assert not key_accepts(plain("If you do not agree, press 1."), "1", ENGLISH)
    assert key_accepts(plain("If you agree, press 1; if you do not, hang up."), "1", ENGLISH)


PERIODS: Examples = {
    ("fr", 6, "month"): "conservé six mois au maximum / Conservation : six mois / gardé une demi-année",
    ("fr", 90, "day"): "nous le gardons 90 jours / gardé quatre-vingt-dix jours, puis effacé",
    ("fr", 180, "day"): "supprimé au bout de cent quatre-vingts jours",
    ("fr", 0, ""): "rappelez dans deux jours / conservé quelques mois",
    ("en", 6, "month"): "held for half a year / kept for six months at most",
    ("en", 180, "day"): "erased after a hundred and eighty days",
    ("en", 0, ""): "open five days a week",
}


@pytest.mark.parametrize(("language", "count", "unit", "words"), each(PERIODS))
def test_periods(language: str, count: int, unit: str, words: str) -> None:
    assert periods(plain(words), VOCABULARIES[language]) == ([(count, unit)] if count else [])


# --- names ---

NAMES = ["Allô Mairie", "Ville de Saint-Quentin"]
GREETED: Examples = {
    ("fr", None): """
        Allô Mairie, bonjour. Nous sommes fermés. / Bonjour, ici la ville de Saint-Quentin. / Bienvenue à la
        Mairie. Bonjour. / Bonjour, nous sommes fermés. / Merci, bonjour et bienvenue. / Bonjour. Votre appel
        n’est pas enregistré. / Le service des eaux vous dit bonjour. / Nous sommes fermés. L’équipe vous
        souhaite une bonne journée.
    """,
    ("fr", "Eau Pure"): """
        Eau Pure, bonjour. Nous sommes fermés. / Bonjour, et bienvenue chez Eau Pure ! / Ce n’est rien.
        Bonsoir, ici Eau Pure.
    """,
    ("fr", "Service des Eaux de Lyon"): "Vous êtes bien au Service des Eaux de Lyon, bonjour",
    ("en", None): """
        Welcome to Allô Mairie. We are closed. / Hello, we are closed. / Good morning. This is a recorded
        message.
    """,
    ("en", "Clear Water"): """
        Hello, and welcome to Clear Water. We are closed. / Thank you for calling Clear Water, good evening.
        / Clear Water, good morning.
    """,
}


@pytest.mark.parametrize(("language", "name", "words"), each(GREETED))
def test_another_name_beside_a_greeting(language: str, name: str | None, words: str) -> None:
    assert other_name(words, language, NAMES, VOCABULARIES[language]) == name


@pytest.mark.parametrize(
    ("words", "name", "said"),
    [
        ("Bienvenue à l’Agglo J’écoute.", "Agglo J'écoute", True),
        ("un appel d'Agglo-J'écoute", "Agglo J’écoute", True),
        ("Service après-vente S.A.V. bonjour", "SAV", True),
        ("ceci est une attestation", "Test", False),
        ("Agglo, j'ai écouté", "Agglo J'écoute", False),
        ("bonjour", "…", False),
    ],
)
def test_a_name_is_said(words: str, name: str, said: bool) -> None:
    assert names_one_of(plain(words), [name], FRENCH) is said


def test_the_shipped_words_say_the_shipped_name_or_none() -> None:
    assert tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))["service"]["name"] == SHIPPED
    for path in (ROOT / "prompts").glob("*/*.txt"):
        words, voc = path.read_text(encoding="utf-8"), VOCABULARIES[path.parent.name]
        assert other_name(words, path.parent.name, [SHIPPED], voc) is None, path
        assert not says_shipped(plain(words), [SHIPPED], voc), path
        assert says_shipped(plain(words), NAMES, voc) is ("Agglo" in words), path
        assert not says_shipped(plain(words), ["Agglo J’écoute, le centre d'appels"], voc), path


# --- hours ---

OFFICE = week(dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "08:30-12:00,13:30-17:30"))
ALWAYS = week(dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00-24:00"))
HOURS: Examples = {
    ("fr", "mon-fri, 09:00, 16:00, 17:00"): "Du lundi au jeudi de 9 h à 17 h, le vendredi jusqu'à 16 heures",
    ("fr", "mon, wed, 08:30, 12:30"): "Les lundis et mercredis, de 8h30 à midi et demi",
    ("fr", "mon-sun, 08:30, 17:00"): "Tous les jours, de huit heures trente à dix-sept heures",
    ("fr", "mon-tue, thu-sat, 09:00, 12:00"): "Du lundi au samedi, sauf le mercredi, de 9 à 12 heures",
    ("fr", "sat, 09:15"): "Nous sommes fermés le dimanche. Samedi à neuf heures et quart",
    ("fr", "mon-sun, 00:00, 14:00"): "En semaine, entre 14 heures et minuit. Le week-end aussi.",
    ("fr", "mon-wed, fri"): "Du lundi au vendredi, fermé le mercredi matin et le jeudi",
    ("fr", "mon-sun, day and night"): "24 heures sur 24, 7 jours sur 7",
    ("fr", ""): """
        Merci de rappeler dans 2 heures, ou sous quarante-huit heures. / Nos bureaux sont fermés. À bientôt,
        aux heures d'ouverture. Touche 9. / Conservé six mois, gardé 48 heures
    """,
    ("en", "mon-fri, 09:00, 17:00"): "Monday to Friday, from 9 to 5",
    ("en", "sat, 09:30, 12:45"): "Saturdays from half past nine until quarter to one",
    ("en", "mon-sat, 10:00, 12:00"): "every day except Sunday, 10 o'clock till noon",
    (
        "en",
        "tue-thu, 08:30, 12:00, 14:00, 17:00",
    ): "Tuesday through Thursday, eight thirty to 12 noon, 2:00 pm to 5",
    ("en", "mon-sun, day and night"): "around the clock, seven days a week",
    ("en", ""): "Please call back in two hours, or press 9.",
}


@pytest.mark.parametrize(("language", "hours", "words"), each(HOURS))
def test_opening_hours(language: str, hours: str, words: str) -> None:
    assert str(told_hours(plain(words), language)) == hours


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_shipped_words_tell_the_hours_of_an_office(language: str) -> None:
    words = (ROOT / f"prompts/{language}/closed.txt").read_text(encoding="utf-8")
    found = told_hours(plain(words), language)
    assert found is not None and found.holidays
    assert str(found) == "mon-fri, 08:30, 12:00, 13:30, 17:30"
    assert list(hours_differences(found, OFFICE)) == []


ABSENT = "says mon-fri, 08:30, 17:30, and hours.week is absent: open day and night"
EVENING = ["says 20:30, when hours.week neither opens nor closes", "does not say 08:30 of hours.week"]
UNTRUE = "says 14:00, when hours.week neither opens nor closes"


@pytest.mark.parametrize(
    ("language", "words", "hours", "found"),
    [
        ("fr", "lundi au vendredi, 8h30 à 17h30", None, [ABSENT]),
        ("fr", "7 jours sur 7, jour et nuit", None, []),
        ("fr", "jour et nuit", OFFICE, ["says day and night, and hours.week does not"]),
        ("fr", "jour et nuit", ALWAYS, []),
        ("fr", "du lundi au samedi", OFFICE, ["says sat, closed by hours.week"]),
        ("fr", "du lundi au jeudi", OFFICE, ["does not say fri, open by hours.week"]),
        ("fr", "de 8h30 à 12 heures, 14h à 17h30", OFFICE, [UNTRUE, "does not say 13:30 of hours.week"]),
        ("fr", "de 20 heures à minuit", week({"mon": "20:00-24:00"}), []),
        ("en", "from Monday to Friday, between 8:30 and 12, or 1:30 and 5:30", OFFICE, []),  # half a clock
        ("en", "from 8:30 pm to 5:30 pm", week({"mon": "08:30-17:30"}), EVENING),
    ],
)
def test_what_is_not_so(language: str, words: str, hours: Any, found: list[str]) -> None:
    said = told_hours(plain(words), language)
    assert said is not None
    assert list(hours_differences(said, hours)) == found

"""What words say, and the false friends that seem to say it."""

import unicodedata

import pytest

from sipagent.text.notice_words import (
    ENGLISH,
    FRENCH,
    VOCABULARIES,
    NoticeClaims,
    key_accepts,
    key_refuses,
    names_one_of,
    of_recording,
    periods,
    plain,
    refuses,
    says_key,
    syllables,
)

YES, NO, BOTH, NEITHER = (
    NoticeClaims(True, False),
    NoticeClaims(False, True),
    NoticeClaims(True, True),
    NoticeClaims(False, False),
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Votre appel peut être enregistré.", YES),
        ("VOTRE APPEL EST ENREGISTRÉ", YES),
        ("Nous procédons à l’enregistrement de cet appel", YES),
        ("Nous enregistrons les conversations", YES),
        ("L'appel est enregistré sans que l'opérateur l'entende", YES),
        ("Si vous ne refusez pas votre appel sera enregistré", YES),
        ("Sans opposition de votre part, cet appel est enregistré", YES),
        ("Sans opposition de votre part cet appel est enregistré", YES),
        ("Cet appel n’est pas enregistré.", NO),
        ("Aucun appel n'est enregistré", NO),
        ("Cette conversation se fait sans enregistrement", NO),
        ("Nous n'enregistrons pas votre appel", NO),
        ("Nous n'enregistrons jamais", NO),
        ("Ce n'est pas un appel enregistré", NO),
        ("Si vous ne souhaitez pas que cet appel soit enregistré, touche 9", NO),
        ("Votre appel sera enregistré. Sinon, il ne sera pas enregistré.", BOTH),
        ("Votre demande est enregistrée.", NEITHER),
        ("Votre refus est bien enregistré", NEITHER),
        ("Vous écoutez un message enregistré", NEITHER),
        ("Votre demande d'appel : merci", NEITHER),
        ("Après votre refus l'appel continue, enregistré", YES),
        ("Votre appel peut être écouté pour la qualité", NEITHER),
    ],
)
def test_recording_in_french(words: str, said: NoticeClaims) -> None:
    assert of_recording(plain(words), FRENCH) == said
    assert of_recording(plain(unicodedata.normalize("NFD", words)), FRENCH) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Your call may be recorded.", YES),
        ("We record this call", YES),
        ("Agglo J'écoute records all conversations", YES),
        ("Calls are recorded for quality monitoring", YES),
        ("If you do not object your call will be recorded", YES),
        ("This call is being taped", YES),
        ("We record for quality", YES),
        ("We record your request", NEITHER),
        ("They want us to keep a record of it", NEITHER),
        ("This call can't be recorded", NO),
        ("Your call is not recorded", NO),
        ("This call isn't recorded", NO),
        ("This call won’t be recorded", NO),
        ("We never record your call", NO),
        ("No call is recorded", NO),
        ("There is no recording of this call", NO),
        ("You are put through without being recorded", NO),
        ("If you do not wish this call to be recorded, press 9", NO),
        ("This call may be monitored for quality purposes", NEITHER),
        ("For our records, please have your number ready", NEITHER),
        ("We have a record number of calls today", NEITHER),
        ("You hear a recorded message", NEITHER),
        ("Your request has been recorded", NEITHER),
        ("We keep records", NEITHER),
    ],
)
def test_recording_in_english(words: str, said: NoticeClaims) -> None:
    assert of_recording(plain(words), ENGLISH) == said


@pytest.mark.parametrize(
    ("words", "key", "named"),
    [
        ("appuyez sur la touche 9", "9", True),
        ("appuyez sur 9", "9", True),
        ("pour refuser : 9.", "9", True),
        ("appuyez, à tout moment, sur la touche 9", "9", True),
        ("touche neuf", "9", True),
        ("la touche n°9", "9", True),
        ("la touche n° 9", "9", True),
        ("la touche № 9", "9", True),
        ("la touche nº9", "9", True),
        ("tapez le 9.", "9", True),
        ("faites le neuf", "9", True),
        ("appuyez sur la touche étoile", "*", True),
        ("appuyez sur *", "*", True),
        ("composez dièse", "#", True),
        ("tapez un", "1", True),
        ("appuyez sur la touche un pour accepter", "1", True),
        ("appuyez sur la touche 19", "9", False),
        ("le neuvième appel", "9", False),
        ("de 9 heures à 17 heures", "9", False),
        ("le 9 novembre", "9", False),
        ("pressez-vous, dans neuf jours", "9", False),
        ("conservé neuf mois", "9", False),
        ("un opérateur vous répond", "1", False),
        ("faites un choix", "1", False),
        ("appuyez sur une touche", "1", False),
        ("un appel sur neuf est enregistré", "9", False),
        ("il reste 9 personnes avant vous", "9", False),
    ],
)
def test_keys_in_french(words: str, key: str, named: bool) -> None:
    assert says_key(plain(words), key, FRENCH) is named


@pytest.mark.parametrize(
    ("words", "key", "named"),
    [
        ("press 9", "9", True),
        ("press nine", "9", True),
        ("press key no. 9", "9", True),
        ("dial 9 at any time", "9", True),
        ("press the star key", "*", True),
        ("by pressing hash", "#", True),
        ("press one to accept", "1", True),
        ("one of our operators", "1", False),
        ("press one of the keys", "1", False),
        ("press one key", "1", False),
        ("kept for nine months", "9", False),
        ("from 9 am", "9", False),
        ("press 19", "9", False),
        ("you are number 9 months", "9", False),
    ],
)
def test_keys_in_english(words: str, key: str, named: bool) -> None:
    assert says_key(plain(words), key, ENGLISH) is named


def test_a_key_belongs_to_what_it_does() -> None:
    both = plain("Pour accepter, touche 1. Pour refuser, touche 9.")
    assert key_accepts(both, "1", FRENCH) and key_refuses(both, "9", FRENCH)
    assert not key_accepts(both, "9", FRENCH) and not key_refuses(both, "1", FRENCH)
    assert key_refuses(plain("You can refuse. Press 9."), "9", ENGLISH)
    assert not key_refuses(plain("You can refuse. To accept, press 9."), "9", ENGLISH)
    assert not key_refuses(plain("Press 9 for the town hall."), "9", ENGLISH)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("Vous pouvez vous y opposer", True),
        ("Vous pouvez refuser, cela ne change pas notre réponse", True),
        ("Si vous ne pouvez pas accepter, touche 9", True),
        ("Si vous ne souhaitez pas être enregistré, appuyez sur 9", True),
        ("Si vous n'acceptez pas, appuyez sur 9", True),
        ("Si vous n'êtes pas d'accord, touche 9", True),
        ("En cas de désaccord, touche 9", True),
        ("Cet appel est enregistré, sauf si vous appuyez sur 9", True),
        ("Cet appel est enregistré, sauf le dimanche", False),
        ("Pour ne pas être enregistré, tapez 9", True),
        ("Pour arrêter l'enregistrement, tapez 9", True),
        ("Si vous souhaitez parler à un opérateur", False),
        ("Cet appel n'est pas enregistré", False),
        ("Vous ne pouvez pas refuser", False),
        ("Il n'est pas possible de s'opposer à l'enregistrement", False),
        ("Pour accepter, touche 9", False),
        ("Pour éviter l'attente, touche 9", False),
    ],
)
def test_refusing_in_french(words: str, offered: bool) -> None:
    assert refuses(plain(words), FRENCH) is offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("If you would rather not be recorded, press 9", True),
        ("If you do not agree, press 9", True),
        ("If you disagree, press 9", True),
        ("Your call is recorded, unless you press 9", True),
        ("If you do not want us to record, press 9", True),
        ("If you don't consent, press 9", True),
        ("Should you object, press 9", True),
        ("If you cannot accept this, press 9", True),
        ("To stop the recording, press 9", True),
        ("Press 9 for not being recorded", True),
        ("You may refuse, with no effect on your call", True),
        ("You cannot refuse", False),
        ("You can't refuse", False),
        ("If you agree, press 9", False),
        ("Your call will not be recorded", False),
        ("To avoid waiting, press 9", False),
    ],
)
def test_refusing_in_english(words: str, offered: bool) -> None:
    assert refuses(plain(words), ENGLISH) is offered


def test_not_accepting_is_no_way_to_accept() -> None:
    assert not key_accepts(plain("Si vous n'acceptez pas, touche 1."), "1", FRENCH)
    assert not key_accepts(plain("If you do not agree, press 1."), "1", ENGLISH)
    assert key_accepts(plain("If you agree, press 1; if you do not, hang up."), "1", ENGLISH)
    assert not key_refuses(plain("You cannot refuse. For sales, press 9."), "9", ENGLISH)


@pytest.mark.parametrize(
    ("words", "names", "said"),
    [
        ("Bienvenue à l’Agglo J’écoute.", ["Agglo J'écoute"], True),
        ("AGGLO J ECOUTE bonjour", ["Agglo J'écoute"], True),
        ("un appel d'Agglo-J'écoute", ["Agglo J’écoute"], True),
        ("Service après-vente S.A.V. bonjour", ["SAV"], True),
        ("Eau et Gaz", ["Eau & Gaz"], True),
        ("ceci est une attestation", ["Test"], False),
        ("Agglo, j'ai écouté", ["Agglo J'écoute"], False),
        ("bonjour", ["…"], False),
    ],
)
def test_names(words: str, names: list[str], said: bool) -> None:
    assert names_one_of(plain(words), names, FRENCH) is said


@pytest.mark.parametrize(
    ("language", "words", "found"),
    [
        ("fr", "conservé pendant six mois au maximum", [(6, "month")]),
        ("fr", "nous le gardons 90 jours", [(90, "day")]),
        ("fr", "effacé après dix-huit mois", [(18, "month")]),
        ("fr", "gardé quatre-vingt-dix jours, puis effacé", [(90, "day")]),
        ("fr", "conservé un an", [(1, "year")]),
        ("fr", "supprimé au bout de cent quatre-vingts jours", [(180, "day")]),
        ("fr", "Conservation : six mois", [(6, "month")]),
        ("fr", "gardé une demi-année", [(6, "month")]),
        ("en", "held for half a year", [(6, "month")]),
        ("fr", "rappelez dans deux jours", []),
        ("fr", "conservé quelques mois", []),
        ("en", "kept for six months at most", [(6, "month")]),
        ("en", "stored for a year", [(1, "year")]),
        ("en", "deleted after twenty-six weeks", [(26, "week")]),
        ("en", "erased after a hundred and eighty days", [(180, "day")]),
        ("en", "open five days a week", []),
    ],
)
def test_periods(language: str, words: str, found: list[tuple[int, str]]) -> None:
    assert periods(plain(words), VOCABULARIES[language]) == found


def test_syllables_count_figures_as_they_are_said() -> None:
    assert syllables("touche 9", FRENCH) == syllables("touche neuf", FRENCH)
    assert syllables("press *", ENGLISH) == syllables("press star", ENGLISH)
    assert syllables("ha 8 ha", None) > syllables("ha ha", None)
    assert syllables("", FRENCH) == 0

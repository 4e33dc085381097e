"""What prompts say of opening hours, as offices say it."""

from pathlib import Path

import pytest

from sipagent.config.hours import Week
from sipagent.config.types import week
from sipagent.text.notice import hours_differences, told_hours
from sipagent.text.notice_words import plain

PROMPTS = Path(__file__).parent.parent / "prompts"
OFFICE = week(dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "08:30-12:00,13:30-17:30"))


def told(words: str, language: str = "fr") -> str:
    found = told_hours(plain(words), language)
    assert found is not None
    return str(found)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_shipped_words_tell_the_hours_of_an_office(language: str) -> None:
    words = (PROMPTS / language / "closed.txt").read_text(encoding="utf-8")
    found = told_hours(plain(words), language)
    assert found is not None and found.holidays
    assert str(found) == "mon-fri, 08:30, 12:00, 13:30, 17:30"
    assert list(hours_differences(found, OFFICE)) == []


@pytest.mark.parametrize(
    ("words", "hours"),
    [
        ("Du lundi au jeudi de 9 h à 17 h, le vendredi jusqu'à 16 heures", "mon-fri, 09:00, 16:00, 17:00"),
        ("Les lundis et mercredis, de 8h30 à midi et demi", "mon, wed, 08:30, 12:30"),
        ("Tous les jours, de huit heures trente à dix-sept heures", "mon-sun, 08:30, 17:00"),
        ("Du lundi au samedi, sauf le mercredi, de 9 à 12 heures", "mon-tue, thu-sat, 09:00, 12:00"),
        ("Nous sommes fermés le dimanche. Samedi à neuf heures et quart", "sat, 09:15"),
        ("Ouvert de dix heures moins le quart à vingt et une heures", "09:45, 21:00"),
        ("En semaine, entre 14 heures et minuit. Le week-end aussi.", "mon-sun, 00:00, 14:00"),
        ("Lundi-vendredi, 8:30-12:00", "mon-fri, 08:30, 12:00"),
        ("Du samedi au lundi", "mon, sat-sun"),
        ("Du lundi au vendredi, fermé le mercredi matin et le jeudi", "mon-wed, fri"),
        ("24 heures sur 24, 7 jours sur 7", "mon-sun, day and night"),
        ("Merci de rappeler dans 2 heures, ou sous quarante-huit heures.", ""),
        ("Nos bureaux sont fermés. À bientôt, aux heures d'ouverture. Touche 9.", ""),
        ("Conservé six mois, gardé 48 heures", ""),
    ],
)
def test_french(words: str, hours: str) -> None:
    assert told(words) == hours


@pytest.mark.parametrize(
    ("words", "hours"),
    [
        ("Monday to Friday, from 9 to 5", "mon-fri, 09:00, 17:00"),
        ("weekdays between 8.30 a.m. and 6 p.m.", "mon-fri, 08:30, 18:00"),
        ("Saturdays from half past nine until quarter to one", "sat, 09:30, 12:45"),
        ("every day except Sunday, 10 o'clock till noon", "mon-sat, 10:00, 12:00"),
        (
            "Tuesday through Thursday, eight thirty to 12 noon, 2:00 pm to 5",
            "tue-thu, 08:30, 12:00, 14:00, 17:00",
        ),
        ("around the clock, seven days a week", "mon-sun, day and night"),
        ("Monday to Friday, but not Wednesday, at nine o'clock", "mon-tue, thu-fri, 09:00"),
        ("Please call back in two hours, or press 9.", ""),
    ],
)
def test_english(words: str, hours: str) -> None:
    assert told(words, "en") == hours


def test_nobody_has_listed_german() -> None:
    assert told_hours("montag", "de") is None


@pytest.mark.parametrize(
    ("words", "hours", "found"),
    [
        (
            "lundi au vendredi, 8h30 à 17h30",
            None,
            ["says mon-fri, 08:30, 17:30, and hours.week is absent: open day and night"],
        ),
        ("7 jours sur 7, jour et nuit", None, []),
        ("A bientôt", None, []),
        ("jour et nuit", OFFICE, ["says day and night, and hours.week does not"]),
        (
            "jour et nuit",
            week(dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00-24:00")),
            [],
        ),
        ("A bientôt", OFFICE, []),
        ("du lundi au vendredi", OFFICE, []),
        ("du lundi au samedi", OFFICE, ["says sat, closed by hours.week"]),
        ("du lundi au jeudi", OFFICE, ["does not say fri, open by hours.week"]),
        (
            "de 8h30 à 12 heures et de 14h à 17h30",
            OFFICE,
            ["says 14:00, when hours.week neither opens nor closes", "does not say 13:30 of hours.week"],
        ),
        ("de 20 heures à minuit", week({"mon": "20:00-24:00"}), []),
    ],
)
def test_what_is_not_so(words: str, hours: Week | None, found: list[str]) -> None:
    said = told_hours(plain(words), "fr")
    assert said is not None
    assert list(hours_differences(said, hours)) == found


def test_half_a_clock_may_be_either_half() -> None:
    said = told_hours(plain("from Monday to Friday, between 8:30 and 12, or 1:30 and 5:30"), "en")
    assert said is not None and list(hours_differences(said, OFFICE)) == []
    night = told_hours(plain("from 8:30 pm to 5:30 pm"), "en")
    assert night is not None
    assert next(hours_differences(night, OFFICE)) == "says 20:30, when hours.week neither opens nor closes"

"""What a French administration files or gives away: the register's entry, the certificate, the statistics."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sipagent.languages.typography import set_french
from sipagent.text import certificate
from sipagent.text import statistics_words as statistics
from sipagent.text.register_file import differences, read, renewed
from sipagent.text.register_words import FRENCH, markdown
from sipagent.text.statistics_words import StatisticsWords
from tests.test_register import changed, made, variants

BREAKS = re.compile(r" [;?!%»]| :(?!\S)|« |\S[;?!»](?<![\u00a0\u202f].)|\S:(?= )|\w'\w")


def ill_set(text: str) -> list[str]:
    """The places in a French text where a line could end before a sign, or which are set as English is."""
    return [text[max(0, found.start() - 20) : found.end() + 20] for found in BREAKS.finditer(_prose(text))]


def _prose(text: str) -> str:
    """Without code, and without the comments that the entry is found by."""
    return re.sub(r"(`+).+?\1|<!--.*?-->", "x", text)


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("Motif\u00a0: à 10:30, `a: b ?`", True),
        ("oui\u202f? non\u202f; «\u00a0là\u00a0» 5\u202f%", True),
        ("Motif : là", False),
        ("Motif: là", False),
        ("oui ?", False),
        ("oui;", False),
        ("« là\u00a0»", False),
        ("5 %", False),
        ("l'appel", False),
    ],
)
def test_what_counts_as_well_set(text: str, well: bool) -> None:
    assert (ill_set(text) == []) == well


@pytest.mark.parametrize(
    ("plain", "as_set"),
    [
        ("oui : non ; quoi ?", "oui\u00a0: non\u202f; quoi\u202f?"),
        ("« là » 5 %", "«\u00a0là\u00a0» 5\u202f%"),
        ("`a : b`, ``c ` d ;``", "`a : b`, ``c ` d ;``"),
        ("« `a` »", "«\u00a0`a`\u00a0»"),
        ("10:30, :x", "10:30, :x"),
    ],
)
def test_signs_get_spaces_that_do_not_break(plain: str, as_set: str) -> None:
    assert set_french(plain) == as_set
    assert set_french(as_set) == as_set


def entries() -> Iterator[str]:
    """Configurations that say all there is to say, with texts of their own in good French."""
    for text in variants():
        own = text.replace("d'agg", "d’agg").replace("J'écoute", "J’écoute")
        yield changed("service.name", '"Agglo J’écoute"', own)


def test_every_sentence_of_the_register_is_set_as_french_is() -> None:
    for text in entries():
        assert ill_set(markdown(made(text), "fr")) == []
    for sentence in (*FRENCH.sentences.values(), *FRENCH.headings.values(), *FRENCH.by_hand):
        assert ill_set(FRENCH.setting(re.sub(r"\{[^}]*\}", "x", sentence))) == []


def test_every_sentence_of_the_certificate_and_of_the_statistics_is_set_as_french_is() -> None:
    for french, _ in certificate._WORDS.values():
        assert ill_set(set_french(re.sub(r"\{[^}]*\}", "x", french))) == []
    words = StatisticsWords("fr")
    for key in statistics._WORDS:
        assert ill_set(words(key)) == []


def test_an_entry_with_other_spaces_is_still_that_entry() -> None:
    """Written before, or saved by an editor that knows no others."""
    now = made()
    text = renewed(None, now, "fr")
    assert differences(read(re.sub("[\u00a0\u202f]", " ", text)), now) == []


def test_purposes_and_grounds_have_names() -> None:
    text = markdown(made(changed("retention.purposes", '["quality", "formation"]')), "fr")
    assert "finalités\u00a0: qualité du service (`quality`), `formation`" in text
    assert "procédure disciplinaire (`disciplinary`), procédure pénale (`criminal`)" in text


@pytest.mark.parametrize(
    ("at", "french"),
    [
        (datetime(2026, 11, 24, 22, 20, 5, tzinfo=UTC), "24 novembre 2026 à 22 h 20 min 05 s"),
        (datetime(2026, 2, 1, 9, 5, 0, tzinfo=UTC), "1er février 2026 à 9 h 05 min 00 s"),
    ],
)
def test_a_paper_has_its_dates_in_words(at: datetime, french: str) -> None:
    assert StatisticsWords("fr").second(at).replace("\u00a0", " ") == french
    assert StatisticsWords("en").second(at) == f"{at:%Y-%m-%d %H:%M:%S}"

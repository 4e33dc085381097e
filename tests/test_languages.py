"""The commands in French: what the catalogue has, and when it is spoken."""

import gettext
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sipagent.languages import typography
from sipagent.languages.choice import LANGUAGES, of_arguments, of_environment, speaking
from sipagent.languages.labels import CODES, label
from tests import catalogues
from tests.loopback import ROOT
from tests.office import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


# --- the catalogue ---


@pytest.mark.parametrize("language", catalogues.translations())
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    """After a change of a `.po`: `make languages`."""
    assert catalogues.place(language).read_bytes() == catalogues.compiled(language)


@pytest.mark.parametrize("language", catalogues.translations())
def test_every_text_has_an_entry(language: str) -> None:
    assert catalogues.missing(language) == []


def test_a_text_that_is_made_cannot_be_looked_up(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    for text in ('_(f"{n} calls")', '_("a" + b)', 'ngettext("{n} call", f"{n} calls", n)'):
        module.write_text(text)
        with pytest.raises(ValueError, match=r"module\.py:1"):
            list(catalogues.in_source(module))
    module.write_text('_("a" "b"); pgettext("month", "May"); ngettext("{n} call", "{n} calls", n); Column(x)')
    assert [*catalogues.in_source(module)] == [
        ("module.py:1", (None, "ab"), None),
        ("module.py:1", ("month", "May"), None),
        ("module.py:1", (None, "{n} call"), "{n} calls"),
    ]


@pytest.mark.parametrize("language", catalogues.translations())
def test_no_entry_is_superfluous(language: str) -> None:
    assert catalogues.superfluous(language) == []


@pytest.mark.parametrize("language", catalogues.translations())
def test_placeholders_plurals_and_setting_are_right(language: str) -> None:
    assert catalogues.odd(language) == []


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("Voir l’aide\u00a0: `a: b`", True),
        ("à 10:30, `x?`, https://a.example/?b", True),
        ("Voulez-vous\u202f?", True),
        ("Voulez-vous\u00a0?", False),
        ("12\u202f%\u202f; 13\u00a0%", False),
        ("«\u00a0REC\u00a0»", True),
        ("Voulez-vous ?", False),
        ("rien: là", False),
        ("« REC\u00a0»", False),
        ("l'aide", False),
    ],
)
def test_what_counts_as_well_set(text: str, well: bool) -> None:
    assert (catalogues.misset(text) is None) == well


# --- the choice ---


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr"}, "fr"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "fr_CA"}, "fr"),
        ({"LANG": "C", "LANGUAGE": "br:fr:en"}, "fr"),
        ({"LANG": "fr_FR", "LANGUAGE": "en_GB:fr"}, "en"),
        ({"LANG": "fr_FR", "LANGUAGE": ""}, "fr"),
    ],
)
def test_the_environment_chooses_as_gettext_has_it(environment: dict[str, str], language: str) -> None:
    assert of_environment(environment) == language


@pytest.mark.parametrize(
    ("words", "language"),
    [
        (["--lang", "fr", "list"], "fr"),
        (["list", "--lang=fr"], "fr"),
        (["list"], None),
        (["list", "--lang"], None),
        (["--lang", "de", "list"], None),
        (["detect", "--", "--lang", "fr"], None),
    ],
)
def test_an_option_chooses_wherever_it_stands(words: list[str], language: str | None) -> None:
    assert of_arguments(words) == language


def test_a_language_is_spoken_until_the_end_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    with speaking("fr"):
        assert gettext.gettext("Usage:") == "Usage\u00a0:"
        with speaking("en"):
            assert gettext.gettext("Usage:") == "Usage:"
        assert gettext.gettext("Usage:") == "Usage\u00a0:"
    assert os.environ["LANGUAGE"] == "de"


def test_help_and_complaints_are_in_the_language_asked_for(office: Office) -> None:
    assert office.run("list", "--help").out.startswith("Usage: sipagent list")
    assert office.run("--lang", "fr", "list", "--help").out.startswith("Usage\u00a0: sipagent list")
    assert "Exemples\u00a0:" in office.run("keys", "list", "--help", "--lang", "fr").out
    said = office.fails(2, "list", "--bogus", "--lang", "fr")
    assert said.strip() == "sipagent: pas d’option '--bogus' (voir `sipagent list --help`)"
    assert "'de' is not one of 'en', 'fr'" in office.fails(2, "list", "--lang", "de")


def test_json_is_english_with_its_complaints(office: Office) -> None:
    assert "no such option" in office.fails(2, "list", "--json", "--bogus", "--lang", "fr")


def test_the_language_of_a_command_is_not_that_of_a_voice_or_of_a_paper(office: Office) -> None:
    assert "Usage:" in office.run("train-keyword", "--lang", "fr", "--help").out
    assert "Usage\u00a0:" in office.run("--lang", "fr", "train-keyword", "--help").out


# --- labels ---


def test_codes_have_words_in_french_and_are_themselves_in_english() -> None:
    with speaking("fr"):
        assert label("status", "closed") == "clos"
        assert label("purpose", "one of our own") == "one of our own"
    with speaking("en"):
        assert all(label(kind, code) == code for kind, codes in CODES.items() for code in codes)


# --- what a terminal can show ---


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "« L’été »…"), ("ascii", "« L’été »…"), ("latin-1", "« L'été »...")],
)
def test_a_stream_shows_what_it_can(encoding: str, shown: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    typography.show_all(stream)
    stream.write("«\u00a0L’été\u00a0»…")
    stream.flush()
    assert written.getvalue().decode(stream.encoding).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("setting", "encoding"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "utf-8"),
        ({"PYTHONIOENCODING": "latin-1"}, "latin-1"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "utf-8"),
        ({"LC_ALL": "C"}, "utf-8"),
    ],
)
def test_help_in_french_on_a_terminal_without_accents(setting: dict[str, str], encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipagent", "--lang", "fr", "--help"],
        cwd=ROOT,
        env={**os.environ, **setting},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode(encoding).startswith("Usage\u00a0: sipagent")


def test_every_language_but_that_of_the_code_has_a_folder() -> None:
    there = {one.name for one in (ROOT / "sipagent/languages").iterdir() if (one / "LC_MESSAGES").is_dir()}
    assert there == set(LANGUAGES) - {"en"}


CALQUES = (
    *("aucun tel", "le sait et le veut bien", "horloge qu’elle croit", "qui ne prend rien", "le laisserait"),
    *("Il n’en est pas gardé", "Il s’agit de cet appel", "essais refusés", "aucun identifiant de ce nom"),
)


@pytest.mark.parametrize("words", CALQUES)
def test_no_french_is_english_word_by_word(words: str) -> None:
    texts = [*(ROOT / "docs/fr").glob("*.md"), *(ROOT / "sipagent/languages/fr").glob("*.po")]
    found = [path.name for path in texts if words in " ".join(path.read_text(encoding="utf-8").split())]
    assert found == []

"""French: its catalogue, when it is spoken, and a text that is a message and values until it is read."""

import ast
import copy
import io
import json
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from media.prompt import PromptError
from retention.records import MissingSound
from retention.rows.rows import StoreError
from retention.texts import Reason, apart, joined, reason_of, together
from sipagent.languages import typography
from sipagent.languages.choice import LANGUAGES, of_environment, speaking
from sipagent.languages.labels import Kind, label, missing_sound
from sipagent.languages.spoken import shown
from tests import catalogues
from tests.kept import recording
from tests.loopback import ROOT
from tests.office import Office

# --- the catalogue ---


def test_the_catalogues_are_whole_and_compiled() -> None:
    """After a change of a `.po`: `make languages`."""
    there = {one.name for one in (ROOT / "sipagent/languages").iterdir() if (one / "LC_MESSAGES").is_dir()}
    assert there == {*catalogues.translations()} == set(LANGUAGES) - {"en"}
    for language in there:
        assert catalogues.missing(language) == []
        assert catalogues.superfluous(language) == []
        assert catalogues.odd(language) == []
        assert catalogues.place(language).read_bytes() == catalogues.compiled(language)
    with speaking("fr"):
        assert label("status", "closed") == catalogues.messages("fr")["status", "closed"].string == "clos"
        assert label("purpose", "one of our own") == "one of our own"
    with speaking("en"):
        kinds = [kind for part in get_args(Kind) for kind in get_args(part)]
        codes = [(kind, code) for kind in kinds for code in catalogues.codes()[kind]]
        assert codes and all(label(kind, code) == code for kind, code in codes)


def test_what_counts_as_well_set() -> None:
    for text in (
        *("Voir l’aide\u00a0: `a: b`", "à 10:30, `x?`, https://a.example/?b"),
        "Voulez-vous\u202f? «\u00a0REC\u00a0»",
    ):
        assert catalogues.misset(text) is None
    for text in (
        *("Voulez-vous\u00a0?", "12\u202f%\u202f; 13\u00a0%", "Voulez-vous ?", "rien: là", "« REC\u00a0»"),
        "l'aide",
    ):
        assert catalogues.misset(text)


MADE = (  # where it should only be written
    *('_(f"{n} calls")', '_("a" + b)', 'ngettext("{n} call", f"{n} calls", n)'),
    'raise StoreError(f"{path}: is damaged")',
    'raise StoreError("is damaged" if a else "b" + c)',
    'yield error("seed", f"{path} is missing")',
)
FORGOTTEN = (  # without an entry
    'said = "nobody has this in French"\nraise StoreError(said, path)',
    'raise ConfigError(file, "a.b", "nobody has this in French", "")',
    *('Reason("nobody has this in French")', 'counted(3, "elephant")'),
)


def test_a_text_that_is_made_or_forgotten_is_found(tmp_path: Path) -> None:
    def found(source: str) -> list[tuple[str, catalogues.Key, str | None]]:
        module = tmp_path / "module.py"
        module.write_text(source)
        return catalogues.texts_in(module)

    for source in MADE:
        with pytest.raises(ValueError, match=r"module\.py:1"):
            found(source)
    there = catalogues.messages("fr")
    for source in FORGOTTEN:
        keys = [key for _, key, _ in found(source)]
        assert keys and not any(key in there for key in keys), source
    assert found('_("a" "b"); pgettext("month", "May"); ngettext("{n} call", "{n} calls", n); Column(x)') == [
        ("module.py:1", (None, "ab"), None),
        ("module.py:1", ("month", "May"), None),
        ("module.py:1", (None, "{n} call"), "{n} calls"),
    ]


ASKS = tuple(f"sipagent/{one}" for one in ("cli/", "languages/", "web/", "demo", "__main__.py"))


def test_only_what_speaks_to_people_asks_for_a_language() -> None:
    """So the log, the database and JSON are English whoever runs a command, and so is all that `run` does."""
    asks = re.compile(r"gettext\b|sipagent\.languages\.((choice|spoken)\b|labels\.(?!N_))")
    for package in ("sipagent", "retention", "media"):
        for path in (ROOT / package).rglob("*.py"):
            if not str(path.relative_to(ROOT)).startswith(ASKS):
                assert not [one for one in _imported(path) if asks.match(one)], path


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return found


# --- a message and its values ---


def french(of: Exception | str) -> str:
    """With plain spaces, to be read here."""
    with speaking("fr"):
        return re.sub("[\u00a0\u202f]", " ", shown(of))


def test_what_is_kept_is_english_and_what_is_shown_is_not() -> None:
    inner = Reason("No such command {name!r}.", name="lost")
    reason = Reason("Error: {message}", message=inner)
    assert f"{reason}" == str(ValueError(reason)) == "Error: No such command 'lost'."
    assert french(reason) == french(ValueError(reason)) == "Erreur : Pas de commande 'lost'."
    with speaking("en"):
        assert shown(reason) == reason


@pytest.mark.parametrize(
    ("of", "english", "shown_as"),
    [
        (Reason("{0}: {1}", "files", Reason("is empty")), "files: is empty", "files : est vide"),
        (Reason("{0}: {1}", Reason("is empty"), "is empty"), "is empty: is empty", "est vide : is empty"),
        (joined([Reason("is empty"), "b"]), "is empty; b", "est vide ; b"),
        (
            StoreError("{0}: {1}", "b", StoreError("{0}: exists, and a key is never overwritten", "a.pub")),
            "b: a.pub: exists, and a key is never overwritten",
            "b : a.pub : existe, et une clé n’est jamais remplacée",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "a"),
            "[Errno 2] No such file or directory: 'a'",
            "[Errno 2] aucun fichier ni dossier de ce nom: 'a'",
        ),
        (PromptError(Path("a.wav"), "has {0} Hz", 44100).problem, "has 44100 Hz", "est à 44100 Hz"),
        (Reason("{a}"), "{a}", "{a}"),  # without values it is no format
        (StoreError("what nobody has said: yet"), "what nobody has said: yet", "what nobody has said: yet"),
    ],
)  # fmt: skip
def test_a_value_is_translated_where_it_is_a_text_or_an_error(
    of: Exception | str, english: str, shown_as: str
) -> None:
    assert str(of) == english and french(of) == shown_as
    if isinstance(of, Exception):
        assert reason_of(of) == english
        assert french(Reason("{0}: {1}", "b", of)) == f"b : {shown_as}"


def test_a_reason_survives_what_copies_it() -> None:
    reason = Reason("{0}: {1}", "a", Reason("is empty"))
    error = StoreError("{0}: {1}", "a", Reason("is empty"))
    for one in (copy.deepcopy(reason), pickle.loads(pickle.dumps(reason)), Reason(reason)):
        assert (one, french(one)) == (reason, "a : est vide")
    assert french(pickle.loads(pickle.dumps(error))) == "a : est vide"
    at = datetime(2026, 11, 24, tzinfo=UTC)
    found = [{"problem": Reason("{0}, on {1:%Y-%m-%d}", Reason("is empty"), at), "n": 2, "key": None}]
    (read,) = json.loads(json.dumps(apart(found)), object_hook=together)
    assert read == found[0] and french(read["problem"]) == "est vide, on 2026-11-24"


# --- the choice ---


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "fr_CA"}, "fr"),
        ({"LANG": "C", "LANGUAGE": "br:fr:en"}, "fr"),
        ({"LANG": "fr_FR", "LANGUAGE": ""}, "fr"),
    ],
)
def test_the_environment_chooses_as_gettext_has_it(
    office: Office, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], language: str
) -> None:
    assert of_environment(environment) == language
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = {"en": "No recording matches.\n", "fr": "Aucun enregistrement ne correspond.\n"}
    assert office.run("list").out == said[language]
    assert office.run("list", "--lang", "en").out == said["en"]


def test_help_and_complaints_are_in_the_language_asked_for_but_json_is_english(office: Office) -> None:
    assert office.run("list", "--help").out.startswith("Usage: sipagent list")
    assert office.run("--lang", "fr", "list", "--help").out.startswith("Usage\u00a0: sipagent list")
    assert "Exemples\u00a0:" in office.run("keys", "list", "--help", "--lang", "fr").out
    said = office.fails(2, "list", "--bogus", "--lang", "fr")
    assert said.strip() == "sipagent: pas d’option '--bogus' (voir `sipagent list --help`)"
    assert "'de' is not one of 'en', 'fr'" in office.fails(2, "list", "--lang", "de")
    assert "no such option" in office.fails(2, "list", "--json", "--bogus", "--lang", "fr")
    # a command may have a --lang of its own, of a voice or of a paper
    assert "Usage:" in office.run("train-keyword", "--lang", "fr", "--help").out
    assert "Usage\u00a0:" in office.run("--lang", "fr", "train-keyword", "--help").out


# --- what a terminal can show ---


@pytest.mark.parametrize(
    ("encoding", "written"), [("utf-8", "« L’été »…"), ("ascii", "« L’été »…"), ("latin-1", "« L'été »...")]
)
def test_a_stream_shows_what_it_can(encoding: str, written: str) -> None:
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding=encoding)
    typography.show_all(stream)
    stream.write("«\u00a0L’été\u00a0»…")
    stream.flush()
    assert content.getvalue().decode(stream.encoding).replace("\u00a0", " ") == written


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ("concealed, caller", "2 times, 0.54 s: 1:05.50 to 1:06.02, 1:07.00 to 1:07.02")),
        (
            "fr",
            (
                "reconstitué, faute de paquets à temps, appelant",
                "2 fois, 0,54 s\xa0: de 1:05,50 à 1:06,02, de 1:07,00 à 1:07,02",
            ),
        ),
    ],
)
def test_what_is_missing_in_a_recording_is_told_by_its_kind(language: str, said: tuple[str, str]) -> None:
    """Pauses and holds are told by themselves."""
    spans = ((65.5, 66.02), (67.0, 67.02))
    missing = [MissingSound(channel="caller", from_s=a, to_s=b, why="concealed") for a, b in spans]
    hold = MissingSound(channel="both", from_s=1.0, to_s=2.0, why="hold")
    with speaking(language):
        assert missing_sound(recording(missing=(hold, *missing))) == [said]

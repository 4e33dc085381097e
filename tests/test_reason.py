"""A text is a message and its values until somebody reads it: English there, French where a person does."""

import ast
import copy
import json
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.prompt import PromptError
from retention.rows.rows import StoreError
from retention.texts import Reason, apart, joined, reason_of, together
from sipagent.languages.choice import speaking
from sipagent.languages.spoken import shown
from tests import catalogues
from tests.loopback import ROOT

ASKS = (
    "sipagent/cli/",
    "sipagent/languages/",
    "sipagent/lookup/",
    "sipagent/web/",
    "sipagent/demo",
    "sipagent/__main__.py",
)


def french(of: Exception | str) -> str:
    """With plain spaces, to be read here."""
    with speaking("fr"):
        return shown(of).replace("\u00a0", " ").replace("\u202f", " ")


def test_what_is_kept_is_english_and_what_is_shown_is_not() -> None:
    inner = Reason("No such command {name!r}.", name="lost")
    reason = Reason("Error: {message}", message=inner)
    assert f"{reason}" == str(ValueError(reason)) == "Error: No such command 'lost'."
    assert french(reason) == french(ValueError(reason)) == "Erreur : Pas de commande 'lost'."
    with speaking("en"):
        assert shown(reason) == reason


def test_a_value_is_translated_if_it_is_a_reason_and_stays_as_it_is_if_not() -> None:
    assert french(Reason("{0}: {1}", "files", Reason("is empty"))) == "files : est vide"
    assert french(Reason("{0}: {1}", Reason("is empty"), "is empty")) == "est vide : is empty"
    assert french(joined([Reason("is empty"), Reason("is empty"), "a"])) == "est vide ; est vide ; a"


def test_an_error_as_a_value_keeps_its_own_values() -> None:
    inner = StoreError("{0}: exists, and a key is never overwritten", "a.pub")
    error = StoreError("{0}: {1}", "b", inner)
    assert str(error) == "b: a.pub: exists, and a key is never overwritten"
    assert french(error) == "b : a.pub : existe, et une clé n’est jamais remplacée"


def test_an_error_of_media_is_a_message_and_its_values_too() -> None:
    error = PromptError(Path("a.wav"), "has {0} Hz", 44100)
    accepted = "a mono 16-bit PCM WAV file of 8000 or 16000 Hz, not silent, at most 60 s long"
    assert str(error) == reason_of(error) == f"a.wav: has 44100 Hz; accepted: {accepted}"
    assert french(error).startswith("a.wav : est à 44100 Hz ; attendu : un fichier WAV mono")
    assert french(StoreError("{0}: {1}", "b", error.problem)) == "b : est à 44100 Hz"


def test_what_the_system_says_is_translated_within_its_error() -> None:
    error = FileNotFoundError(2, "No such file or directory", "a")
    assert reason_of(error) == str(error) == "[Errno 2] No such file or directory: 'a'"
    assert french(error) == "[Errno 2] aucun fichier ni dossier de ce nom: 'a'"


def test_a_text_without_values_is_no_format_and_what_nobody_foresaw_stays_english() -> None:
    assert Reason("{a}") == "{a}" and french(Reason("{a}")) == "{a}" and french("") == ""
    assert french(StoreError("what nobody has said: yet")) == "what nobody has said: yet"


def test_a_reason_survives_what_copies_it() -> None:
    reason = Reason("{0}: {1}", "a", Reason("is empty"))
    for one in (copy.deepcopy(reason), pickle.loads(pickle.dumps(reason)), Reason(reason)):
        assert (one, french(one)) == (reason, "a : est vide")
    error = pickle.loads(pickle.dumps(StoreError("{0}: {1}", "a", Reason("is empty"))))
    assert french(error) == "a : est vide"


def test_a_reason_crosses_to_another_process_as_json() -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    found = [{"problem": Reason("{0}, on {1:%Y-%m-%d}", Reason("is empty"), at), "n": 2, "key": None}]
    (read,) = json.loads(json.dumps(apart(found)), object_hook=together)
    assert read == found[0] and french(read["problem"]) == "est vide, on 2026-11-24"


@pytest.mark.parametrize(
    "source",
    [
        'raise StoreError(f"{path}: is damaged")',
        'raise StoreError("is damaged" if a else "b" + c)',
        'yield error("seed", f"{path} is missing")',
        'said = "nobody has this in French"\nraise StoreError(said, path)',
        'raise ConfigError(file, "a.b", "nobody has this in French", "")',
        'Reason("nobody has this in French")',
        'counted(3, "elephant")',
    ],
)
def test_a_text_that_is_forgotten_is_found(source: str, tmp_path: Path) -> None:
    """Made where it should only be written, or without an entry."""
    module = tmp_path / "module.py"
    module.write_text(source)
    there = catalogues.messages("fr")
    try:
        found = [key for _, key, _ in (*catalogues.in_source(module), *catalogues.said_in(module))]
    except ValueError as made:
        assert "module.py:1" in str(made)
    else:
        assert found and not any(key in there for key in found)


def test_only_what_speaks_to_people_asks_for_a_language() -> None:
    """So the log, the database and JSON are English whoever runs a command, and so is all that `run` does."""
    for path in sorted([*(ROOT / "sipagent").rglob("*.py"), *(ROOT / "retention").rglob("*.py")]):
        name = str(path.relative_to(ROOT))
        if not name.startswith(ASKS):
            asked = {one for one in _imported(path) if re.match(r"gettext\b|sipagent\.languages\b", one)}
            assert asked <= {"sipagent.languages.typography"}, name
    for path in (ROOT / "media").rglob("*.py"):
        assert not any(one.startswith("gettext") for one in _imported(path)), path


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)} - (
                {f"sipagent.languages.typography.{one.name}" for one in node.names}
            )
    return found

"""What the code below the command line says: English there, in French where a person reads it."""

import ast
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.languages.choice import speaking
from sipagent.languages.spoken import CONTEXT, said
from tests import catalogues, messages
from tests.loopback import ROOT

FRENCH = {key[1]: entry for key, entry in catalogues.messages("fr").items() if key[0] == CONTEXT}
ASKS = (
    "sipagent/cli/",
    "sipagent/languages/",
    "sipagent/lookup/",
    "sipagent/web/",
    "sipagent/demo",
    "sipagent/__main__.py",
)


def french(text: str) -> str:
    """With plain spaces, to be read here."""
    with speaking("fr"):
        return said(text).replace("\u00a0", " ").replace("\u202f", " ")


def test_every_message_has_its_french() -> None:
    assert messages.missing(FRENCH) == []


def test_every_entry_is_of_the_code() -> None:
    assert messages.superfluous(FRENCH) == []


@pytest.mark.parametrize(("text", "reads"), [
    ("{0}: exists, and a key is never overwritten", True),
    ("is empty, or not", True),
    ("SELECT id FROM calls WHERE id = ?", False),
    ("receipts", False),
    (r"(\d+) days", False),
])  # fmt: skip
def test_what_counts_as_a_message(text: str, reads: bool) -> None:
    assert messages.is_message(text) == reads


def test_what_is_missing_or_superfluous_is_found() -> None:
    fewer = {text: entry for text, entry in FRENCH.items() if text != "is not a SIP URI"}
    assert messages.missing(fewer) == ["sipagent/config/types.py: 'is not a SIP URI'"]
    assert messages.superfluous({"never said by us": FRENCH["is empty"]}) == ["'never said by us'"]


def test_every_entry_is_found_by_what_is_said() -> None:
    with speaking("fr"):
        for english, entry in FRENCH.items():
            values = ["‹a›", "‹b›", "‹c›", "‹d›"]
            if english.startswith(";"):
                continue  # the end of another
            assert isinstance(entry.string, str)
            if re.fullmatch(r"\{0\} \w+", english):
                values = ["7"]
            if "{0}" in english:
                assert said(english.format(*values)) == entry.string.format(*values), english
            else:
                assert said(english) == entry.string


def test_english_stays_as_it_is() -> None:
    with speaking("en"):
        assert said("no such file") == "no such file"
    with speaking("fr"):
        assert said("what nobody has said: yet") == "what nobody has said: yet"


@pytest.mark.parametrize(
    ("english", "reads"),
    [
        (
            "/k/a.pub: No such file or directory",
            "/k/a.pub : aucun fichier ni dossier de ce nom",
        ),
        (
            "/k/a.pub: exists, and a key is never overwritten",
            "/k/a.pub : existe, et une clé n’est jamais remplacée",
        ),
        (
            "'a: b' is not a SIP URI",
            "'a: b' n’est pas une URI SIP",
        ),
        (
            "'x' is not a period; accepted: a period such as 6 months",
            "'x' n’est pas une durée ; accepté : une durée comme 6 months",
        ),
        (
            "mon has '9', which is not HH:MM-HH:MM",
            "mon contient '9', qui n’est pas HH:MM-HH:MM",
        ),
        (
            "'10-11' holds 2 ports; accepted: 32 or more for capacity.calls",
            "'10-11' contient 2 ports ; accepté : 32 ou plus pour capacity.calls",
        ),
        (
            (
                "suspended: the clock went back by 2 days, to 2026-11-24T10:00:00Z; once it is right:"
                " sipagent purge --clock-ok --by WHO"
            ),
            (
                "suspendue : l’horloge a reculé de 2 jours, à 2026-11-24T10:00:00Z ; une fois "
                "l’horloge juste : sipagent purge --clock-ok --by QUI"
            ),
        ),
        (
            "it is on hold (criminal), to be reviewed 2027-01-01; see `release`",
            "il est conservé comme preuve (criminal), à réexaminer le 2027-01-01 ; voyez `release`",
        ),
        (
            (
                "on hold (criminal), to be reviewed 2027-01-01; its metadata alone says so, the "
                "database does not: see `rebuild`"
            ),
            (
                "conservé comme preuve (criminal), à réexaminer le 2027-01-01 ; seules ses "
                "métadonnées le disent, la base l’ignore : voyez `rebuild`"
            ),
        ),
        (
            (
                "retention.reserve: counts of calls wait in it for the database; b.reserve: its room "
                "on the disk is not allocated"
            ),
            (
                "retention.reserve : des comptages d’appels y attendent la base ; b.reserve : sa "
                "place sur le disque n’est pas allouée"
            ),
        ),
        (
            (
                "/d/retention.db: file is not a database; accepted: a backup in its place, or "
                "`sipagent rebuild` once it is moved away"
            ),
            (
                "/d/retention.db : ce fichier n’est pas une base de données ; accepté : une "
                "sauvegarde à sa place, ou `sipagent rebuild` une fois qu’elle est déplacée"
            ),
        ),
        (
            "entries 3 to 7 are lost: a new database (2026-11-24T10:00:00Z)",
            "les entrées 3 à 7 sont perdues : une nouvelle base (2026-11-24T10:00:00Z)",
        ),
        (
            "/k/durand.key\u00a0: wrong passphrase, or the file is damaged",
            "/k/durand.key : phrase de passe fausse, ou fichier abîmé",
        ),
    ],
)
def test_what_is_made_of_several_is_found(english: str, reads: str) -> None:
    assert french(english) == reads


def test_a_message_within_a_french_sentence_is_found() -> None:
    with speaking("fr"):
        assert said("Copie\u00a0: is empty") == "Copie\u00a0: est vide"


PARTS = st.sampled_from(["; ", ": ", ", ", " ", "is ", "has ", "says ", "a", ": HTTP ", "and ", "is empty"])


@given(st.lists(PARTS, max_size=120).map("".join))
def test_whatever_is_said_it_is_found_soon(text: str) -> None:
    began = time.process_time()
    with speaking("fr"):
        said(text)
    assert time.process_time() - began < 5


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

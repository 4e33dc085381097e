"""What the commands themselves say in French: help, tables, errors, questions; and what stays as it is."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from gettext import gettext
from pathlib import Path
from typing import get_args

import click
import pytest

from retention import statistics
from retention.records import Access, Event, Note, Receipt, Status, due_date, new_id
from sipagent.call import machines
from sipagent.cli import list as cli_list
from sipagent.cli import options
from sipagent.cli.main import cli
from sipagent.cli.program import Failure, help_texts
from sipagent.cli.terminal import distance, figure, percent, short, size
from sipagent.config.sampling import Seed, draw
from sipagent.languages.choice import speaking
from sipagent.languages.labels import CODES, happening, label
from tests import catalogues
from tests.kept import START, receipt, recording
from tests.loopback import ROOT
from tests.office import Office, make_office

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def plain(text: str) -> str:
    """With plain spaces, as it is typed here."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def french(office: Office, *words: object) -> str:
    """What a command prints, on stdout or stderr."""
    result = office.run("--lang", "fr", *words)
    return plain(result.out + result.err)


# --- help ---


def every(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from every(one, f"{name} {one.name}".strip())


COMMANDS = dict(every())
ENGLISH = re.compile(r"\b(the|of|which|what|is|are|required|default|RANGE|DIRECTORY|INTEGER|TEXT)\b")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_english_is_left_in_help(office: Office, name: str) -> None:
    out = " ".join(french(office, *name.split(), "--help").split())
    alone = copy.copy(COMMANDS[name])
    if isinstance(alone, click.Group):
        alone.commands = {}
    with speaking("fr"):
        own = [text for context, text in help_texts(alone) if context is None and gettext(text) != text]
    assert own and [text for text in own if text in out] == []
    assert "Usage : sipagent" in out and "Options : " in out and " Afficher cette aide." in out
    assert ENGLISH.findall(out.replace("/var/lib", "")) == []


def test_commands_are_listed_uncut_and_each_in_a_line(office: Office) -> None:
    listed = french(office, "--help").partition("Commandes :\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == list(cli.commands)
    assert "..." not in listed


def test_examples_are_the_same_in_every_language(office: Office) -> None:
    helps = [office.run("--lang", one, "hold", "--help").out for one in ("en", "fr")]
    examples = [re.findall("^    sipagent .*$", one, re.M) for one in helps]
    assert examples[0] == examples[1] != []


# --- tables ---


@pytest.fixture
def busy(office: Office) -> Office:
    """One of each kind."""
    row = office.call(
        id="20261124T222000123-482913", started_at=NOON, expires_at=due_date(NOON, "6 months"), flagged=True
    )
    store = office.archive.store
    call = store.receipt(row.id)
    events = (Event(at=NOON, what="decision: allowed (silence)", by="agent"),)
    fields = {name: getattr(call, name) for name in call.to_json()} | {"events": events, "confidence": 0.87}
    store.update_receipt(Receipt(**fields))
    store.add_receipt(
        receipt(
            recording(),
            id=new_id(START),
            recording_id=None,
            decision="refused",
            decided_by="dtmf",
            phase="window",
        )
    )
    store.add_access(
        Access(at=NOON, action="export", recording_id=row.id, purpose="quality", by="Durand", outcome="done")
    )
    store.add_note(
        Note(recording_id=row.id, at=NOON, by="Durand", text="Fiche", expires_at=due_date(NOON, "1 year"))
    )
    hold = ("--ground", "criminal", "--reference", "plainte 2026-41", "--by", "A", "--approved-by", "B")
    assert office.run("hold", row.id, *hold, "--review", "2999-01-31").code == 0
    office.call(timedelta(days=400))
    return office


def test_the_lists(busy: Office) -> None:
    out = french(busy, "list")
    assert re.search(
        r"^id +début +durée +appelant +appelé +opérateur +état +taille +expire le +mentions$", out, re.M
    )
    assert (
        " clos " in out
        and "conservé, signalé" in out
        and re.search(r"2 enregistrements, 0:04, [\d,]+ ko\n", out)
    )
    out = french(busy, "calls")
    assert re.search(r"^id +début +attente +conversation +appelant .* issue +décision +par$", out, re.M)
    assert re.search(r" abouti +autorisé +silence\n", out) and re.search(r" refusé +touche\n", out)
    assert out.endswith("\n3 appels\n")


def test_one(busy: Office) -> None:
    out = french(busy, "show", "482913")
    for said in (
        *("référence ", "état ", " clos ", "Conservation comme preuve\n", " pénal ", "accord de ", "Appel\n"),
        *(
            "autorisé, par silence",
            "confiance 0,87",
            "Déroulement\n",
            "décision : autorisé (silence) (agent)",
        ),
        *(
            "Analyses\n",
            "par Durand, gardée jusqu’au ",
            "Usages\n",
            "export pour qualité du service par Durand : fait",
        ),
    ):
        assert said in out, said


def test_holds_and_purges(busy: Office) -> None:
    out = french(busy, "holds")
    assert re.search(r"^id +réexamen +motif +référence +par +accord de +terme$", out, re.M)
    assert "pénal" in out and out.endswith("\n1 enregistrement conservé comme preuve\n")
    out = french(busy, "purge", "--dry-run")
    assert re.search(r"^id +terme +taille +pourquoi$", out, re.M) and "1 serait purgé, " in out
    assert "1 reçu perdrait ce qui mène à une personne.\n" in out
    assert "1 purgé, " in french(busy, "purge")


def test_figures(busy: Office) -> None:
    out = french(busy, "stats")
    assert "33,3 %, 1 sur 3 à qui la question a été posée" in out
    assert re.search(r"^moyen +langue +annonce +délai +appel +total$", out, re.M)
    assert "Numéros composés\n" in out and re.search(r"^autre +fr ", out, re.M)


@pytest.mark.parametrize("status", Status)
def test_a_list_fits_into_a_narrow_terminal(office: Office, status: Status) -> None:
    store = office.archive.store
    store.add_recording(recording(id=new_id(NOON), started_at=NOON, status=status, flagged=True))
    config = str(office.folder / "config.toml")
    command = [sys.executable, "-m", "sipagent", "--config", config, "--lang", "fr", "list"]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    heading, row, *_ = done.stdout.splitlines()
    assert label("status", status) == status and len(heading) <= 80 >= len(row)
    with speaking("fr"):
        assert label("status", status) in row


# --- errors, and what is asked ---


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "nothing"), 1, "nothing : aucun appel ne porte cet identifiant"),
        (("list", "--since", "demain"), 2, "--since : 'demain' n’est pas un moment ; attendu : 2026-11-24, "),
        (("list", "--status", "x"), 2, "valeur incorrecte pour '--status' : 'x' n’est pas parmi 'open', "),
        (("holdx",), 2, "(Vouliez-vous dire l’un de : 'hold', 'holds' ?) (voir `sipagent --help`)"),
        (("kees",), 2, "pas de commande 'kees'. Vouliez-vous dire 'keys' ? (voir `sipagent --help`)"),
        (("delete", "482913"), 2, "option manquante '--reason' (voir `sipagent delete --help`)"),
        (("export", "--out", "a.wav"), 2, "aucun des deux n’est donné ; attendu : ID, ou --caller NUMÉRO"),
        (("show",), 2, "argument manquant 'ID' (voir `sipagent show --help`)"),
        (("verify",), 1, "il n’y a pas encore de base, et rien à vérifier"),
    ],
)
def test_an_error_is_one_line(office: Office, words: tuple[str, ...], code: int, said: str) -> None:
    result = office.run("--lang", "fr", *words)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert said in plain(result.err), result.err


def test_a_file_that_cannot_be_read(office: Office) -> None:
    words = ("note", office.call().id, "--by", "A", "--text-file", office.folder / "none.txt")
    assert french(office, *words).endswith("none.txt : aucun fichier ni dossier de ce nom\n")


class Terminal:
    """A stdin at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("language", "typed", "agreed"),
    [
        *(("fr", typed, True) for typed in ("o", "Oui", "y", "yes")),
        *(("fr", typed, False) for typed in ("", "n", "non")),
        *(("en", typed, True) for typed in ("y", "YES")),
        *(("en", typed, False) for typed in ("", "n", "no")),
    ],
)
def test_a_question(monkeypatch: pytest.MonkeyPatch, language: str, typed: str, agreed: bool) -> None:
    answers = iter(["peut-être", typed])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _: next(answers))
    with speaking(language):
        if agreed:
            options.agree("?", yes=False)
        else:
            with pytest.raises(Failure):
                options.agree("?", yes=False)


# --- the environment, and what stays English ---


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LANG": "fr_FR.UTF-8"}, "Aucun enregistrement ne correspond."),
        ({"LANGUAGE": "fr", "LANG": "C"}, "Aucun enregistrement ne correspond."),
        ({"LANG": "C"}, "No recording matches."),
        ({"LANG": "de_DE.UTF-8"}, "No recording matches."),
        ({}, "No recording matches."),
    ],
)
def test_the_environment_is_heard(
    office: Office, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert office.run("list").out == f"{said}\n"
    assert office.run("list", "--lang", "en").out == "No recording matches.\n"


@pytest.mark.parametrize(
    "words",
    [
        *("list", "calls", "calls --sums", "show 482913", "stats", "draws", "accesses", "holds", "keys list"),
        *("purge --dry-run --now 2027-06-01", "hours --at 2026-12-25T10:00", "stamp --list"),
    ],
)
def test_json_is_the_same_to_the_byte(busy: Office, words: str) -> None:
    english, translated = (busy.run("--lang", one, *words.split(), "--json") for one in ("en", "fr"))
    assert english == translated and (
        json.loads(english.out) or words in ("calls --sums", "stamp --list", "keys list")
    )


def test_completion_offers_the_same_and_explains_in_french(office: Office) -> None:
    def completed(words: str, language: str) -> str:
        asked = {"_SIPAGENT_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": "1"}
        command = [sys.executable, "-m", "sipagent"]
        environment = {**os.environ, **asked, "LANGUAGE": language}
        return plain(
            subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            ).stdout
        )

    english, shown = completed("sipagent pu", "C"), completed("sipagent pu", "fr")
    assert english == "plain\npurge\nRemove all that has expired.\n"
    assert shown == "plain\npurge\nSupprimer tout ce qui est arrivé à son terme.\n"


# --- words ---


def test_every_code_has_its_words() -> None:
    """Whatever rows can hold, and the example configuration names."""
    assert set(CODES["status"]) == set(Status)
    assert set(CODES["decision"]) == set(machines.Decision) == set(cli_list.DECISIONS)
    assert set(CODES["by"]) == set(get_args(machines.DecidedBy))
    assert set(CODES["phase"]) == set(CODES["moment"]) == set(get_args(machines.DecidedIn))
    assert set(CODES["outcome"]) == {*get_args(machines.Outcome), statistics.IN_PROGRESS}
    assert set(CODES["who"]) == set(get_args(machines.Who))
    assert set(CODES["fate"]) == {*statistics.RecordingFates().to_json()} - {"kept", "held"}
    for order in get_args(machines.Order):
        assert f"{order} code, and nothing is recorded" in CODES["happening"]


def test_every_action_of_the_trace_has_its_words() -> None:
    folders = (
        ROOT / folder for folder in ("sipagent/cli", "sipagent/operations", "sipagent/web", "retention")
    )
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    named = {
        one
        for path in sources
        for one in re.findall(
            r'(?:action=|attempt\(|(?:changing|trace_of)\(\w+, )"(\w+)"', path.read_text(encoding="utf-8")
        )
    }
    assert named | {"export", "play"} == set(CODES["action"])


@pytest.mark.parametrize(
    ("english", "shown"),
    [
        ("recording started", "enregistrement commencé"),
        ("decision: refused (dtmf)", "décision : refusé (touche)"),
        ("sip:201@10.0.0.1: no answer", "sip:201@10.0.0.1 : pas de réponse"),
        ("sip:201@10.0.0.1: refused with 503", "sip:201@10.0.0.1 : refus avec 503"),
        ("transfer to sip:203@10.0.0.1: busy", "transfert vers sip:203@10.0.0.1 : occupé"),
        ("paused: 12 times more", "en pause : encore 12 fois"),
        ("something that nobody foresaw", "something that nobody foresaw"),
        (str(draw(Seed(b"s" * 32), "20261124T222000123-482913", 0.1)), "tiré : "),
    ],
)
def test_what_happened(english: str, shown: str) -> None:
    with speaking("fr"):
        assert shown in plain(happening(english))
    with speaking("en"):
        assert happening(english) == english


def test_moments_and_amounts() -> None:
    ahead = NOON + timedelta(days=1, hours=5)
    with speaking("fr"):
        assert (short(NOON), distance(ahead, NOON), distance(NOON, ahead)) == (
            "24 nov. 12:00",
            "dans 1 jour",
            "il y a 1 jour",
        )
        assert (
            plain(f"{size(999)} {size(8_400_000)} {figure(12345)} {percent(0.465)}")
            == "999 o 8,4 Mo 12 345 46,5 %"
        )
    with speaking("en"):
        assert (
            f"{size(999)} {size(8_400_000)} {figure(12345)} {percent(0.465)}" == "999 B 8.4 MB 12,345 46.5%"
        )


def test_the_french_that_is_spoken_is_that_of_the_files() -> None:
    entries = catalogues.messages("fr")
    with speaking("fr"):
        assert label("status", "closed") == entries["status", "closed"].string

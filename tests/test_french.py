"""The commands in French: help, tables, errors, findings; and what stays English: JSON, and what is kept."""

import copy
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from gettext import gettext
from pathlib import Path
from typing import get_args

import click
import pytest

from media.hearing.keyword import Meaning
from retention import statistics
from retention.records import Access, Event, HostState, MissingSound, Note, Receipt, Status, due_date, new_id
from retention.use import ACCESS_REQUEST
from sipagent import demo
from sipagent.call import machines
from sipagent.cli import list as cli_list
from sipagent.cli import options
from sipagent.cli.main import cli
from sipagent.cli.program import Failure, help_texts
from sipagent.config.sampling import Seed, draw
from sipagent.config.tables import TOKEN_ROLES
from sipagent.languages.choice import speaking
from sipagent.languages.labels import happening, how_drawn, missing_sound
from tests import catalogues
from tests.configured import SMALL, read, with_keys
from tests.kept import START, receipt, recording
from tests.loopback import ROOT
from tests.office import CONFIG, Office, make_office

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
BY = ("--by", "A")
HELD = ("--reference", "plainte 2026-41", *BY, "--approved-by", "B", "--review", "2999-01-31")


def plain(text: str) -> str:
    """With plain spaces, as it is typed here."""
    return re.sub("[\u00a0\u202f]", " ", text)


def french(office: Office, *words: object) -> str:
    """What a command prints, on stdout or stderr."""
    result = office.run("--lang", "fr", *words)
    return plain(result.out + result.err)


def unbroken(text: str) -> str:
    """A text whose lines a table has broken."""
    return " ".join(text.split())


def left_in_english(text: str) -> list[str]:
    """Words that no French sentence has, but for paths, code and quotations."""
    prose = re.sub(r"`[^`]*`|\S*/\S+|'[^']*'|\"[^\"]*\"|\(je refuse.*?\)|key\+voice", "", text)
    return re.findall(r"\b(?:the|is|are|of|that|which|and|not|its|says|with|to|kept|recorded)\b.{,40}", prose)


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
    out = unbroken(french(office, *name.split(), "--help"))
    alone = copy.copy(COMMANDS[name])
    if isinstance(alone, click.Group):
        alone.commands = {}
    with speaking("fr"):
        own = [text for context, text in help_texts(alone) if context is None and gettext(text) != text]
    assert own and [text for text in own if text in out] == []
    assert "Usage : sipagent" in out and "Options : " in out and " Afficher cette aide." in out
    assert ENGLISH.findall(out.replace("/var/lib", "")) == []


def test_commands_are_listed_uncut_and_examples_are_the_same_in_every_language(office: Office) -> None:
    listed = french(office, "--help").partition("Commandes :\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == list(cli.commands)
    assert "..." not in listed
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
    events = (Event(at=NOON, what="decision: allowed (silence)", by="agent"),)
    call = store.receipt(row.id)
    told = {name: getattr(call, name) for name in call.to_json()} | {"events": events, "confidence": 0.87}
    store.update_receipt(Receipt(**told))
    refused = {"recording_id": None, "decision": "refused", "decided_by": "dtmf", "phase": "window"}
    store.add_receipt(receipt(recording(), id=new_id(START), **refused))
    used = Access(
        at=NOON, action="export", recording_id=row.id, purpose="quality", by="Durand", outcome="done"
    )
    store.add_access(used)
    until = due_date(NOON, "1 year")
    store.add_note(Note(recording_id=row.id, at=NOON, by="Durand", text="Fiche", expires_at=until))
    assert office.run("hold", row.id, "--ground", "criminal", *HELD).code == 0
    office.call(timedelta(days=400))
    return office


TABLES = {  # and the heading of one
    "list": r"^id +début +durée +appelant +appelé +opérateur +état +taille +expire le +mentions$",
    "calls": r"^.* refusé +touche$",
    "show 482913": r"^Analyses\n.*par Durand, gardée jusqu’au",
    "holds": r"^id +réexamen +motif +référence +par +accord de +terme$",
    "purge --dry-run": r"^1 reçu perdrait ce qui mène à une personne.$",
    "stats": r"^Moyen +pendant le choix de la langue +pendant l’annonce.* Total$",
}


@pytest.mark.parametrize("words", TABLES)
def test_no_english_is_left_in_tables(busy: Office, words: str) -> None:
    out = french(busy, *words.split())
    assert left_in_english(out) == [] and re.search(TABLES[words], out, re.M), out


# --- errors, and what is asked ---


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "nothing"), 1, "nothing : aucun appel ne porte cet identifiant"),
        (("list", "--since", "demain"), 2, "--since : 'demain' n’est pas un moment ; attendu : 2026-11-24, "),
        (("list", "--status", "x"), 2, "valeur incorrecte pour '--status' : 'x' n’est pas parmi 'open', "),
        (("holdx",), 2, "(Vouliez-vous dire l’un de : 'hold', 'holds' ?) (voir `sipagent --help`)"),
        (("keyss",), 2, "pas de commande 'keyss'. Vouliez-vous dire 'keys' ? (voir `sipagent --help`)"),
        (("delete", "482913"), 2, "option manquante '--reason' (voir `sipagent delete --help`)"),
        (("export", "--out", "a.wav"), 2, "aucun des deux n’est donné ; attendu : ID, ou --caller NUMÉRO"),
        (("show",), 2, "argument manquant 'ID' (voir `sipagent show --help`)"),
        (("verify",), 1, "il n’y a pas encore de base, et rien à vérifier"),
        (("register",), 1, "notice.wav : n’existe pas ; attendu : un fichier WAV mono, PCM 16 bits"),
    ],
)
def test_an_error_is_one_line(office: Office, words: tuple[str, ...], code: int, said: str) -> None:
    result = office.run("--lang", "fr", *words)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert said in plain(result.err), result.err


LONG = "'2 years' dépasse six mois (CNIL, délibération 2014-474) ;"


@pytest.mark.parametrize(
    ("table", "keys", "said"),
    [
        ("trunk", 'listen = "x"', "config.toml : trunk.listen : 'x' n’est pas hôte:port ; attendu"),
        ("trunk", 'listn = "x"', "trunk.listn : clé inconnue ; vouliez-vous dire trunk.listen ?"),
        ("trunk", 'password_env = "A"', "donné sans nom d’utilisateur ; attendu : avec trunk.username"),
        ("recording", 'format = "mp3"', "'mp3' n’est pas l’un des choix ; attendu : flac | wav"),
        ("retention", 'period = "2 years"', LONG),
        ("hours", 'week = { mon = "9" }', "mon contient '9', qui n’est pas HH:MM-HH:MM ; attendu : une"),
        ("service", "language = x", "service.language : x n’est ni un nombre ni un texte entre"),
        ("prompts", "zzz = 1", " ; valeurs possibles : notice, details, welcome, refused, confirm, closed"),
        ("edg", "a = 1", " : edg : clé inconnue ; vouliez-vous dire edge ?"),
    ],
)
def test_a_mistake_in_the_configuration(office: Office, table: str, keys: str, said: str) -> None:
    """Keys are in no language."""
    (office.folder / "config.toml").write_text(with_keys(table, keys, CONFIG))
    found = office.run("--lang", "fr", "list")
    assert (found.code, found.out) == (2, "") and said in plain(found.err), found.err


def test_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answers = {
        ("fr", True): ("o", "Oui", "y"),
        ("fr", False): ("", "non"),
        ("en", True): ("YES",),
        ("en", False): ("",),
    }
    for (language, agreed), every in answers.items():
        for typed in every:
            said = iter(["peut-être", typed])
            monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _, said=said: next(said))
            with speaking(language), nullcontext() if agreed else pytest.raises(Failure):
                options.agree("?", yes=False)


# --- findings and refusals, whose English is kept ---


def test_a_check(office: Office) -> None:
    shown, found = french(office, "check"), json.loads(office.run("check", "--json").out)
    assert "hours absent : ouvert jour et nuit" in unbroken(shown)
    assert "moteur 2." in unbroken(shown) and "appels par processus" in unbroken(shown)
    assert left_in_english(shown) == []
    assert {"level": "warning", "what": "hours", "detail": "absent: open day and night"} in found


def test_what_fails_in_french_is_kept_in_english(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces = []
    for language in ("en", "fr"):
        (folder := tmp_path / language).mkdir()
        office = make_office(folder, capsys)
        row = office.call(id="20261124T222000123-482913", started_at=NOON)
        for words in _failing(row.id, folder):
            assert office.run("--lang", language, *words).code == 1, words
        uses = office.archive.store.accesses(row.id)
        traces.append(
            [(use.action, use.outcome, (use.detail or "").replace(str(folder), "F")) for use in uses]
        )
        for file in folder.glob("retention.*"):
            assert not re.search("[éèàç’«\u00a0\u202f]", file.read_bytes().decode("utf-8", "ignore"))
    assert traces[0] == traces[1] != []


def _failing(id: str, folder: Path) -> list[tuple[object, ...]]:
    (folder / "there.wav").write_bytes(b"x")
    exported = ("export", id, *BY, "--out")
    return [
        ("hold", id, "--ground", "curiosity", *HELD),
        (*exported, folder / "a.wav", "--purpose", "gossip"),
        (*exported, folder / "there.wav", "--purpose", "quality"),
        (*exported, folder / "no" / "a.wav", "--purpose", "quality"),
        (*exported, folder / "a.wav", "--purpose", "access_request"),
        ("release", id, *BY, "--reason", "R"),
        ("note", id, *BY, "--text-file", folder / "there.wav"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        *("list", "calls", "calls --sums", "show 482913", "stats", "draws", "accesses", "holds", "keys list"),
        *("purge --dry-run --now 2027-06-01", "hours --at 2026-12-25T10:00", "stamp --list"),
        *("check", "verify", "notice --lint"),
    ],
)
def test_json_is_the_same_to_the_byte(busy: Office, words: str) -> None:
    english, translated = (busy.run("--lang", one, *words.split(), "--json") for one in ("en", "fr"))
    assert english.code == translated.code
    free = r"[\d.]+ GiB"  # of a disk that others use
    assert re.sub(free, "", english.out) == re.sub(free, "", translated.out)
    assert json.loads(english.out) or words in ("calls --sums", "stamp --list", "keys list")


# --- words ---

CODES = catalogues.codes()


def test_every_code_has_its_words() -> None:
    """Whatever rows can hold, and the example configuration names."""
    assert set(CODES["status"]) == set(Status)
    assert set(CODES["decision"]) == set(machines.Decision) == set(cli_list.DECISIONS)
    assert set(CODES["by"]) == set(get_args(machines.DecidedBy))
    assert set(CODES["phase"]) == set(CODES["moment"]) == set(get_args(machines.DecidedIn))
    assert set(CODES["outcome"]) == {*get_args(machines.Outcome), statistics.IN_PROGRESS}
    assert set(CODES["who"]) == set(get_args(machines.Who))
    assert set(CODES["fate"]) == {*statistics.RecordingFates().to_json()} - {"kept", "held"}
    assert CODES["mark"] == {"held", "flagged", "incomplete"} and CODES["sum"] == {"rejected", "lost"}
    assert CODES["role"] == set(TOKEN_ROLES) and CODES["host"] == set(HostState)
    assert CODES["verdict"] == set(Meaning) and CODES["level"] == {"ok", "warning", "error"}
    kept = read(SMALL).retention
    assert CODES["purpose"] == {*kept.purposes, *kept.hold_grounds, ACCESS_REQUEST}
    assert CODES["ground"] == set(kept.hold_grounds)
    assert CODES["use"] == {"begun", "done", "refused", "failed"}
    assert CODES["log"] >= {"decided", "call_ended", "alert", *demo.CODED}
    for order in get_args(machines.Order):
        assert f"{order} code, and nothing is recorded" in CODES["happening"]


def test_every_action_of_the_trace_has_its_words() -> None:
    folders = ("sipagent/cli", "sipagent/operations", "sipagent/web", "retention")
    sources = [path.read_text(encoding="utf-8") for one in folders for path in (ROOT / one).rglob("*.py")]
    acts = re.compile(
        r'(?:action=|attempt\(|(?:changing|trace_of)\(\w+, )"(\w+)"|"(\w+)": ApprovalState\.[A-Z]+,'
    )
    named = {one or other for text in sources for one, other in acts.findall(text)}
    assert named | {"export", "play"} == set(CODES["action"])


@pytest.mark.parametrize(
    ("english", "shown"),
    [
        ("recording started", "enregistrement commencé"),
        ("decision: refused (dtmf)", "décision : refusé (touche)"),
        ("sip:201@10.0.0.1: no answer", "sip:201@10.0.0.1 : pas de réponse"),
        ("transfer to sip:203@10.0.0.1: busy", "transfert vers sip:203@10.0.0.1 : occupé"),
        ("a token, from 192.0.2.7", "un jeton, depuis 192.0.2.7"),
        ("from ::1", "depuis ::1"),
        ("enrolled: a password and an authenticator", "inscrit : un mot de passe et un authentificateur"),
        ("add Ann: listener, officer", "ajout de Ann : écoutant, délégué"),
        ("reset Ann", "remise à zéro de Ann"),
        ("POST /recordings/{id}: accepted: listener", "POST /recordings/{id} : accepté : écoutant"),
        ("something that nobody foresaw", "something that nobody foresaw"),
    ],
)
def test_what_happened(english: str, shown: str) -> None:
    with speaking("fr"):
        assert shown in plain(happening(english))
    with speaking("en"):
        assert happening(english) == english


def test_what_is_missing_is_told_in_words_in_english_too() -> None:
    row = recording(missing=(MissingSound(from_s=1.0, to_s=2.0, channel="caller", why="not_fed"),))
    with speaking("en"):
        assert missing_sound(row)[0][0] == "gave no sound, caller"


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_draw_is_told_by_what_came_of_it_and_its_lot_elsewhere(share: float) -> None:
    drawn = draw(Seed(b"s" * 32), "20261124T222000123-482913", share)
    for language, said in (("fr", "ne devait pas être"), ("en", "not drawn: it was not to be")):
        with speaking(language):
            assert (said in happening(f"{drawn}")) is not drawn.drawn
            assert drawn.seed and drawn.seed not in happening(f"{drawn}")
            assert all(
                part in str(how_drawn(f"{drawn}")) for part in (drawn.seed, str(drawn.value), str(share))
            )
    assert how_drawn("recording started") is None and str(how_drawn("drawn: no seed, share 1.0"))

"""The commands in French: what the library says is French on the screen, and English wherever it is kept."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.clock import ClockReading
from retention.vault import new_pair
from sipagent.cli import purge
from tests.office import Office, Result, make_office
from tests.room import Room
from tests.tampering import sql

HOLD = (
    "--ground",
    "curiosity",
    "--reference",
    "R 1",
    "--by",
    "A",
    "--approved-by",
    "B",
    "--review",
    "2999-01-01",
)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "agent")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def plain(text: str) -> str:
    """With plain spaces, and none at the ends of lines that a table has broken."""
    return re.sub(r"\s+", " ", text)


def in_french(office: Office, *words: object) -> Result:
    found = office.run("--lang", "fr", *words)
    return Result(found.code, plain(found.out), plain(found.err))


def left_in_english(text: str) -> list[str]:
    """Words that no French sentence has, but for paths, code and quotations."""
    prose = re.sub(r"`[^`]*`|\S*/\S+|'[^']*'|\"[^\"]*\"|\(je refuse.*?\)|key\+voice", "", text)
    return re.findall(r"\b(?:the|is|are|of|that|which|and|not|its|says|with|to|kept|recorded)\b.{,40}", prose)


# --- one of each kind ---


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        (
            "trunk",
            "listen",
            '"x"',
            "config.toml : trunk.listen : 'x' n’est pas hôte:port ; attendu",
        ),
        ("trunk", "listn", '"x"', "trunk.listn : clé inconnue ; vouliez-vous dire trunk.listen ?"),
        ("recording", "format", '"mp3"', "'mp3' n’est pas l’un des choix ; attendu : flac | wav"),
        (
            "retention",
            "period",
            '"2 years"',
            "'2 years' dépasse six mois (CNIL, délibération 2014-474) ;",
        ),
        (
            "hours",
            "week",
            '{ mon = "9" }',
            "mon contient '9', qui n’est pas HH:MM-HH:MM ; attendu : une",
        ),
        ("service", "language", "x", "ligne 6 : service.language : x n’est ni un nombre ni un texte entre"),
    ],
)
def test_a_mistake_in_the_configuration(office: Office, table: str, key: str, value: str, said: str) -> None:
    path = office.folder / "config.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key} =")]
    if f"[{table}]" not in lines:
        lines.append(f"[{table}]")
    lines.insert(lines.index(f"[{table}]") + 1 + 3 * (key == "language"), f"{key} = {value}")
    path.write_text("\n".join(lines))
    found = in_french(office, "check")
    assert (found.code, found.out) == (2, "") and said in found.err, found.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((f"{key} = 1", f" : {key} : clé inconnue") for key in ("database", "engine", "closed", "operator")),
        *((f"[{key}", f" : ligne 1 : {key} : n’a pas de ] final") for key in ("edge", "purge")),
        ("[edg]", " : edg : clé inconnue ; vouliez-vous dire edge ?"),
        (
            "[prompts]\nzzz = 1",
            " ; valeurs possibles : notice, welcome, refused, confirm, closed, unavailable, ",
        ),
    ],
)
def test_a_key_is_in_no_language(office: Office, text: str, said: str) -> None:
    (office.folder / "config.toml").write_text(text)
    found = in_french(office, "list")
    assert (found.code, found.out) == (2, "") and said in found.err


def test_what_is_wrong_and_what_is_accepted_are_said_apart(office: Office) -> None:
    path = office.folder / "config.toml"
    path.write_text(path.read_text().replace("[trunk]", '[trunk]\npassword_env = "A"'))
    assert "donné sans nom d’utilisateur ; attendu : avec trunk.username" in in_french(office, "list").err


def test_a_check(office: Office) -> None:
    shown, found = in_french(office, "check"), json.loads(office.run("check", "--json").out)
    assert "hours absent : ouvert jour et nuit" in shown.out
    assert "moteur 2." in shown.out and "appels par processus" in shown.out
    assert left_in_english(shown.out) == []
    assert {"level": "warning", "what": "hours", "detail": "absent: open day and night"} in found


@pytest.mark.parametrize(
    "words", ["", "Bonjour.", "Votre appel est enregistré 2 ans, dites je refuse.", None]
)
@pytest.mark.parametrize("keys", ['engine = "none"', 'engine = "embedding"', 'mode = "opt_in"'])
def test_what_is_found_in_the_prompts(
    room: Room, capsys: pytest.CaptureFixture[str], words: str | None, keys: str
) -> None:
    room.set("refusal", keys)
    if words is not None:
        for path in (room.folder / "prompts/fr").glob("*.txt"):
            path.write_text(words)
    shown = in_french(Office(room.folder, capsys), "notice", "--lint")
    assert shown.out.count("prompts.") > 20 and shown.err == ""
    assert left_in_english(shown.out) == []


def test_a_verification(office: Office) -> None:
    row = office.call()
    sql(office.archive, f"UPDATE recordings SET bytes = 1 WHERE id = '{row.id}'")
    shown, found = in_french(office, "verify"), json.loads(office.run("verify", "--json").out)
    (problem,) = found["problems"]
    assert problem["where"] == f"recording {row.id}" and problem["problem"].startswith(
        "bytes is 1, the chain"
    )
    assert f"enregistrement {row.id} bytes vaut 1, la chaîne dit" in shown.out


def test_what_is_refused(office: Office) -> None:
    row = office.call()
    assert (
        f"{row.id} : le motif 'curiosity' n’est pas dans la liste ; "
        "valeurs possibles : disciplinary, criminal" in in_french(office, "hold", row.id, *HOLD).err
    )
    use = ("--purpose", "gossip", "--by", "A", "--out", office.folder / "a.wav")
    assert "la finalité 'gossip' n’est pas dans la liste" in in_french(office, "export", row.id, *use).err
    assert (
        "il n’est pas conservé comme preuve"
        in in_french(office, "release", row.id, "--by", "A", "--reason", "R").err
    )


def test_a_key_that_is_none(office: Office) -> None:
    new_pair(office.folder / "a", None, "A")
    found = in_french(office, "keys", "new", office.folder / "a", "--no-passphrase")
    assert "a.pub : existe, et une clé n’est jamais remplacée" in found.err


def test_a_purge_that_waits(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.call()
    assert office.run("purge").code == 0
    late = datetime.now(UTC) + timedelta(days=300)
    monkeypatch.setattr(purge, "read_clock", lambda: ClockReading("boot", late, 100.0, synchronised=False))
    assert "l’horloge avance de 300 jours, " in in_french(office, "purge").err


def test_a_purge_says_why(office: Office) -> None:
    office.call(timedelta(days=400))
    assert "arrivé à terme" in in_french(office, "purge").out


def test_what_the_trace_keeps_is_shown_in_french_but_not_a_persons_words(office: Office) -> None:
    row = office.call()
    by = ("--by", "A")
    assert (
        office.run("export", row.id, "--purpose", "quality", *by, "--out", office.folder / "a.wav").code == 0
    )
    assert (
        office.run("export", row.id, "--purpose", "gossip", *by, "--out", office.folder / "b.wav").code == 1
    )
    assert office.run("delete", row.id, *by, "--reason", "is empty").code == 0
    shown = in_french(office, "show", row.id).out
    assert 'les deux voix vers "' in shown and "la finalité 'gossip' n’est pas dans la liste" in shown
    assert "is empty" in shown


# --- what programs read, and what is kept ---


@pytest.mark.parametrize("words", [("check",), ("verify",), ("notice", "--lint"), ("purge", "--dry-run")])
def test_json_is_the_same_in_both_languages(office: Office, words: tuple[str, ...]) -> None:
    office.call()
    sql(office.archive, "UPDATE recordings SET bytes = 1")
    english, french = (office.run("--lang", language, *words, "--json") for language in ("en", "fr"))
    assert _without_figures(english.out) == _without_figures(french.out)
    assert english.code == french.code


def _without_figures(text: str) -> Any:
    return re.sub(r"[\d.]+ GiB|\"now\": .*", "…", text)


def test_what_fails_in_french_is_kept_in_english(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces = []
    for language in ("en", "fr"):
        (folder := tmp_path / language).mkdir()
        office = make_office(folder, capsys)
        row = office.call(
            id="20261124T222000123-482913", started_at=datetime(2026, 11, 24, 22, 20, tzinfo=UTC)
        )
        for words in _failing(row.id, folder):
            assert office.run("--lang", language, *words).code == 1, words
        traces.append([
            (use.action, use.outcome, (use.detail or "").replace(str(folder), "F"))
            for use in office.archive.store.accesses(row.id)
        ])  # fmt: skip
        for file in folder.glob("retention.*"):
            assert not re.search("[éèàç’«\u00a0\u202f]".encode(), file.read_bytes()) or _ascii_only(file)
    assert traces[0] == traces[1] != []


def _ascii_only(file: Path) -> bool:
    text = file.read_bytes().decode("utf-8", "ignore")
    return not re.search("[éèàç’«\u00a0\u202f]", text)


def _failing(id: str, folder: Path) -> list[tuple[object, ...]]:
    (folder / "there.wav").write_bytes(b"x")
    by = ("--by", "A")
    return [
        ("hold", id, *HOLD),
        ("export", id, "--purpose", "gossip", *by, "--out", folder / "a.wav"),
        ("export", id, "--purpose", "quality", *by, "--out", folder / "there.wav"),
        ("export", id, "--purpose", "quality", *by, "--out", folder / "no" / "a.wav"),
        ("export", id, "--purpose", "access_request", *by, "--out", folder / "a.wav"),
        ("release", id, *by, "--reason", "R"),
        ("note", id, *by, "--text-file", folder / "there.wav"),
    ]

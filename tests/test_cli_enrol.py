"""`enrol` without calls: what is listed and forgotten, what expires, and mistakes in one line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from media.training.language import language as spoken_language
from media.training.speech import texts_of
from sipagent.check.retention import lent_voice_findings
from sipagent.config.load import Config
from sipagent.enrol import driver
from sipagent.enrol.driver import LANGUAGES, SHIPPED, script
from sipagent.enrol.flow import SayingFault
from sipagent.enrol.keeping import Colleague, keep
from sipagent.service.purging import Purging
from tests.configured import read, with_keys, wrong
from tests.office import Office
from tests.room import Room
from tests.test_enrol_keeping import TAKES, learnt

ENROL = 'extension = "900"\ncolleagues = { "201" = "Ann Martin", "202" = "Zoé" }'
NOW = datetime.now(UTC)
PHRASE = "pas de bande"


@pytest.fixture
def room(room: Room) -> Room:
    room.set("enrol", ENROL)
    room.set("operators", 'extensions = ["sip:201@192.0.2.20"]')
    return room


@pytest.fixture
def office(room: Room, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(room.folder, capsys)


def lend(room: Room, name: str = "Ann Martin", ago: timedelta = timedelta(), days: int = 180) -> None:
    keep(room.folder / "voices", Colleague(name, "201", "fr"), NOW - ago, days, TAKES)


def teach(room: Room, *voices: str) -> Path:
    room.set("refusal", f'keywords = ["je refuse", "{PHRASE}"]')
    return learnt(room.folder / "heads", "own", *voices)


def left(room: Room) -> list[str]:
    return [path.name for path in (room.folder / "voices").iterdir()]


# --- the command ---


def test_who_has_lent_a_voice_is_listed(room: Room, office: Office) -> None:
    assert office.run("enrol", "--list").out == "Nobody has lent a voice.\n"
    assert json.loads(office.run("enrol", "--list", "--json").out) == []
    lend(room)
    (one,) = json.loads(office.run("enrol", "--list", "--json").out)
    expires, consented = (datetime.fromisoformat(one.pop(key)) for key in ("expires_at", "consented_at"))
    assert expires - consented == timedelta(days=180)
    assert one == {
        "name": "Ann Martin", "number": "201", "language": "fr", "phrases": ["je refuse"], "sayings": 2,
        "folder": str(room.folder / "voices/ann_martin"),
    }  # fmt: skip
    table = office.run("enrol", "--list").out
    assert all(word in table for word in ("Ann Martin", "201", "je refuse"))
    (room.folder / "voices" / "ann_martin" / "person.json").write_text("{")
    ran = office.run("enrol", "--list")
    assert ran.code == 1 and "nobody's voice" in ran.err


def test_who_is_forgotten_takes_what_learnt_along(room: Room, office: Office) -> None:
    lend(room)
    head = teach(room, "ann_martin")
    ran = office.run("enrol", "--forget", "ann martin")
    assert ran.code == 0 and "and 1 head that had learnt from it" in ran.out
    assert f"no head hears '{PHRASE}' any more" in ran.err and "by the configuration " in ran.err
    assert not head.exists() and left(room) == []
    assert "ann martin: has lent no voice" in office.fails(1, "enrol", "--forget", "ann martin")
    head.write_bytes(b"")
    assert "whether it learnt from Zoé cannot be told" in office.fails(1, "enrol", "--forget", "Zoé")


def test_a_mistake_is_one_line(office: Office) -> None:
    for words, told in (
        (("--list", "--forget", "Ann"), "--list: not with --forget"),
        (("--json",), "--json: only with --list"),
        (("--list", "--phrase", "non"), "--phrase, --speech, --replace: not with --list or --forget"),
        (("--phrase", "une chose", "--phrase", "autre"), "no prompt says 'une chose' nor 'autre'"),
        (("--speech", "de"), "'de' is not one of"),
        (("--replace", "Bob"), "--replace: 'Bob' is not in enrol.colleagues; accepted: Ann Martin, Zoé"),
        (("--port", "0"), "--port"),
    ):
        assert told in office.fails(2, "enrol", *words)


def test_a_table_that_cannot_be_used() -> None:
    two_telephones = 'extension = "900"\ncolleagues = { "201" = "Ann", "+33612345678" = "Ann" }'
    assert read(with_keys("enrol", two_telephones)).enrol
    for keys, told in (
        ('extension = "900"', "enrol.colleagues: missing"),
        ('extension = "900"\ncolleagues = {}', "enrol.colleagues"),
        ('extension = "9 00"\ncolleagues = { "201" = "A" }', "enrol.extension: '9 00' is not an E.164"),
        (f"{ENROL}\nkeep_days = 181", "enrol.keep_days: 181"),
        ('extension = "900"\ncolleagues = { "201" = "…" }', "'…' has no letter from a to z"),
        ('extension = "900"\ncolleagues = { "11" = "Zoé", "12" = "ZOE" }', "'ZOE' cannot be told from 'Zoé'"),
    ):
        assert told in wrong(with_keys("enrol", keys))


# --- what expires ---


def test_the_purge_removes_what_has_expired(room: Room, office: Office) -> None:
    lend(room, ago=timedelta(days=200))
    lend(room, "Zoé")
    head = teach(room, "ann_martin")
    told = json.loads(office.run("purge", "--dry-run", "--json").out)["voices"]
    assert told == [{"voice": "ann_martin", "heads": [str(head)]}] and head.exists()
    assert "Voices of colleagues that would go:" in office.run("purge", "--dry-run").out
    assert "ann_martin" in office.run("purge").out and not head.exists()
    assert left(room) == ["zoe"]
    assert json.loads(office.run("purge", "--json").out)["voices"] == []
    room.set("enrol", f"{ENROL}\nkeep_days = 90")  # a shorter term counts at once
    (zoe,) = json.loads(office.run("enrol", "--list", "--json").out)
    expires, consented = (datetime.fromisoformat(zoe[key]) for key in ("expires_at", "consented_at"))
    assert expires - consented == timedelta(days=90)
    (room.folder / "heads" / "x.npz").write_bytes(b"")
    ran = office.run("purge", "--now", "2100-01-01", "--force", "--by", "Ann")
    assert (ran.code, ran.out) == (1, "") and "not a head" in ran.err


def test_the_services_own_purge_removes_it_and_its_log_names_nobody(room: Room) -> None:
    lend(room, ago=timedelta(days=200))
    head = teach(room, "ann_martin")
    alerts: list[str] = []
    with capture_logs() as logs:
        Purging(room.config(), alerts.append)._forget_voices(NOW)
    assert logs == [{"event": "forgotten", "voices": 1, "log_level": "info"}]
    assert alerts == [f"{head} is removed: it learnt from a voice that has expired; train it again"]
    assert not head.exists() and left(room) == []


# --- what `check` tells ---


def told(config: Config, now: datetime = NOW) -> list[tuple[str, str, str]]:
    return [(one.level, one.what, one.detail) for one in lent_voice_findings(config, now)]


def test_check_tells_what_has_expired_cannot_be_read_or_is_open_to_others(room: Room) -> None:
    assert told(room.config()) == [("ok", "enrol.folder", "nobody has lent a voice")]
    lend(room)
    teach(room, "ann_martin")
    until = f"{NOW + timedelta(days=180):%Y-%m-%d}"
    assert told(room.config()) == [("ok", "enrol.folder", f"1 voice, the first until {until}")]
    soon = told(room.config(), NOW + timedelta(days=151))
    assert soon[0] == ("warning", "enrol.folder", f"ann_martin: expires on {until}, and own.npz with it")
    late = told(room.config(), NOW + timedelta(days=181))
    assert late[0] == ("error", "enrol.folder", f"ann_martin: expired on {until}: see `sipagent purge`")
    place = room.folder / "voices" / "ann_martin"
    (place / "01.wav").chmod(0o644)
    assert "01.wav (mode 0644); chmod 0600" in told(room.config())[0][2]
    place.chmod(0o755)
    assert "ann_martin (mode 0755); chmod 0700" in told(room.config())[0][2]
    (place / "01.wav").unlink()
    assert told(room.config())[0][:2] == ("error", "enrol.folder")
    room.write(room.text.partition("[enrol]")[0])
    assert told(room.config())  # also where the table is gone


def test_check_tells_where_a_call_from_outside_may_pass_for_a_colleagues(room: Room) -> None:
    room.set("trunk", 'allowed_sources = ["192.0.2.10", "127.0.0.0/8"]')
    at = "sip:201@127.0.0.4"
    room.set("operators", f'extensions = ["{at}", "sip:0612345678@192.0.2.10", "sip:202@192.0.2.20"]')
    found, doubts = driver.callers(room.config())
    assert ([str(one) for one in found.trunk], doubts) == (["192.0.2.20/32"], ())  # never the trunk's
    room.set("operators", f'extensions = ["{at}"]')
    (doubt, _) = told(room.config())
    said = "127.0.0.4 is the trunk's, too: see to it that no call from outside reaches 900"
    assert doubt == ("warning", "enrol.colleagues", said)
    room.set("operators", 'extensions = ["sip:201@nowhere.invalid"]')
    assert told(room.config())[0] == ("error", "operators.extensions", "no host of these can be looked up")


# --- what is asked for ---


def test_every_fault_has_its_words_and_sentences_are_of_those_that_training_may_use() -> None:
    for language in LANGUAGES:
        asked = [step.text for step in script(["non"], language).steps if step.phrase is None]
        words = spoken_language(language)
        assert len({*asked}) == 8
        assert {*asked[:5]} <= {*texts_of(words.talk, "train")}
        assert {*asked[5:]} <= {*texts_of(words.near, "train")}  # and what sounds like a refusal
        for fault in SayingFault:
            assert (SHIPPED / language / f"{fault.value}.txt").read_text(encoding="utf-8").strip()

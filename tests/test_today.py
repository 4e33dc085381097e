"""What is different today: set, seen and taken back, over both databases; what agents make of it."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from retention.records import Access, Special, in_force
from retention.rows.rows import Rows, UnknownId
from retention.sqlite import Store
from retention.verify import verify
from sipagent.check.notice import lint
from sipagent.config.load import Config, ConfigError
from sipagent.operations.parsing import FieldError, Unreadable, parse_ahead
from sipagent.operations.today import MOST, SpecialWanted, end_special, planned, set_special
from sipagent.service.control import Orders
from sipagent.service.rules import today_read, with_specials
from tests.both import BOTH, by_hand
from tests.configured import read, with_keys
from tests.driving import RULES, sounds
from tests.kept import archive
from tests.office import CONFIG, Office, make_office
from tests.room import Room
from tests.tapping import PATIENCE_S

DATABASES = BOTH
PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2026, 12, 1, 11, 0, tzinfo=UTC)  # in Paris
HOUR = timedelta(hours=1)
KNOWS = with_keys("prompts", 'messages = { flood = "flood.wav", works = "works.wav" }', CONFIG)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return read(KNOWS, tmp_path / "config.toml")


def trace(at: datetime = NOON, **more: str) -> Access:
    return Access(at=at, action="today", by="M. Durand", via="web", **more)


def wanted(message: str | None, until: str, since: str | None = None) -> SpecialWanted:
    return SpecialWanted(message=message, until=until, since=since)


def test_a_closure_goes_before_a_message_and_the_last_message_before_others(
    store: Rows, config: Config
) -> None:
    set_special(config, store, wanted("flood", "18:00"), trace())
    set_special(config, store, wanted(None, "14:00", "13:00"), trace())
    set_special(config, store, wanted("works", "13:30"), trace())

    def now(hours: float) -> str | None:
        special = in_force(store.specials(), NOON + hours * HOUR)
        return (special.message or "closed") if special else None

    assert [now(hours) for hours in (-0.1, 0, 0.9, 1, 1.5, 1.99, 2, 5.9, 6)] == [
        *(None, "works", "works", "closed", "closed", "closed", "flood", "flood", None)
    ]
    seen = planned(store, NOON)
    assert [(one.number, one.message, one.in_force) for one in seen] == [
        *((3, "works", True), (1, "flood", False), (2, None, False))
    ]
    assert [one.number for one in planned(store, NOON + 1.75 * HOUR)] == [2, 1]


def test_who_set_what_is_in_the_trace_and_a_number_is_given_once(store: Rows, config: Config) -> None:
    set_special(config, store, wanted("flood", "18:00"), trace())
    set_special(config, store, wanted(None, "tomorrow"), trace(NOON + HOUR))
    end_special(config, store, 2, trace(NOON + 2 * HOUR))
    assert [one.number for one in store.specials()] == [1]
    with pytest.raises(UnknownId, match="2: no such number"):
        end_special(config, store, 2, trace(NOON + 2 * HOUR))
    assert set_special(config, store, wanted(None, "17:00"), trace(NOON + 3 * HOUR)).number == 3
    closed = "closed from 2026-12-01T13:00+01:00 until 2026-12-03T00:00+01:00"
    lines = store.accesses()
    assert [one.detail for one in lines[:3]] == [
        "message flood from 2026-12-01T12:00+01:00 until 2026-12-01T18:00+01:00",
        *(closed, f"removed: {closed}"),
    ]
    assert {(one.action, one.by, one.via, one.outcome) for one in lines} == {
        ("today", "M. Durand", "web", "done")
    }
    set_special(config, store, wanted("works", "2h"), trace(NOON + 9 * HOUR))
    assert [one.number for one in store.specials()] == [4]  # what has ended is forgotten


@pytest.mark.parametrize(
    "asked, said",
    [
        (wanted("fire", "18:00"), "message: there is none named 'fire'; accepted: flood, works"),
        (wanted("flood", "11:00"), "until: '11:00' is over already"),
        (wanted("flood", "14:00", "15:00"), "until: '14:00' is not behind the beginning"),
        (wanted(None, "2028-01-01"), "until: '2028-01-01' is more than a year later"),
        (wanted(None, "soon"), "until: 'soon' is not a moment; accepted: 17:00, today"),
        (wanted(None, "18:00", "yore"), "from: 'yore' is not a moment"),
    ],
)
def test_what_cannot_be_is_refused(store: Rows, config: Config, asked: SpecialWanted, said: str) -> None:
    with pytest.raises(FieldError) as error:
        set_special(config, store, asked, trace())
    assert str(error.value).startswith(said) and store.specials() == () and store.accesses() == []


def test_there_is_an_end_to_how_many_are_set(store: Rows, config: Config) -> None:
    store.keep_specials([Special(number=n, from_at=NOON, until_at=NOON + HOUR) for n in range(1, MOST + 1)])
    with pytest.raises(FieldError, match=f"{MOST} are set already"):
        set_special(config, store, wanted(None, "18:00"), trace())
    set_special(config, store, wanted(None, "18:00"), trace(NOON + HOUR))


def test_a_row_that_cannot_be_read_is_an_error(store: Rows) -> None:
    store.keep_specials([Special(number=1, from_at=NOON, until_at=NOON)])
    by_hand(store, "UPDATE today SET specials = '[7]'")
    with pytest.raises(Exception, match="today: special: an object is expected"):
        store.specials()


@pytest.mark.in_sqlite
@pytest.mark.parametrize(
    "text, moment",
    [
        ("17:00", "2026-12-01T16:00"), ("17h30", "2026-12-01T16:30"), ("9h00", "2026-12-01T08:00"),
        ("today", "2026-12-01T23:00"), ("Tomorrow", "2026-12-02T23:00"), ("demain", "2026-12-02T23:00"),
        ("tomorrow 9:00", "2026-12-02T08:00"), ("demain à 9h", "2026-12-02T08:00"),
        ("aujourd’hui 18:00", "2026-12-01T17:00"), ("2h", "2026-12-01T13:00"), ("3d", "2026-12-04T11:00"),
        ("2026-12-24", "2026-12-24T23:00"), ("2026-12-24T12:00", "2026-12-24T11:00"),
        ("2026-12-24 12:00", "2026-12-24T11:00"), ("2026-12-24T12:00Z", "2026-12-24T12:00"),
    ],
)  # fmt: skip
def test_moments_to_come_are_typed_as_people_say_them(text: str, moment: str) -> None:
    assert parse_ahead(text, NOON, PARIS, end=True) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.in_sqlite
@pytest.mark.parametrize("text", ["", " ", "25:00", "17:60", "tomorrow 9", "yesterday9:00", "9999999h"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_ahead(text, NOON, PARIS)


@pytest.mark.in_sqlite
def test_a_database_of_before_gets_the_table(tmp_path: Path) -> None:
    with archive(tmp_path).store as before:
        assert isinstance(before, Store)
        by_hand(before, "DROP TABLE today")
        by_hand(before, "DELETE FROM _sqlite_migrations WHERE name = '0003_today'")
    kept = archive(tmp_path)
    assert kept.store.specials() == () and verify(kept).problems == []


# --- at a shell ---


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    office = make_office(tmp_path, capsys)
    (tmp_path / "config.toml").write_text(KNOWS)
    return office


@pytest.mark.in_sqlite
def test_the_command_sets_lists_and_takes_back_and_hours_know(office: Office) -> None:
    assert office.run("today").out == "Nothing is different.\n"
    assert json.loads(office.run("today", "--json").out) == []
    office.run("today", "--closed", "--until", "2h", "--by", "M. Durand")
    listed = json.loads(office.run("today", "--message", "flood", "--until", "3d", "--json").out)
    assert [(one["number"], one["closed"], one["message"], one["in_force"]) for one in listed] == [
        *((1, True, None, True), (2, False, "flood", False))
    ]
    hours = json.loads(office.run("hours", "--json").out)
    assert (hours["open"], hours["reason"], hours["until"]) == (False, "today", listed[0]["until_at"])
    assert "closed by `sipagent today`" in office.run("hours").out
    assert "message flood" in (table := office.run("today").out) and "in force" in table
    assert len(json.loads(office.run("today", "--remove", 1, "--json").out)) == 1
    assert json.loads(office.run("hours", "--json").out)["open"]
    uses = json.loads(office.run("accesses", "--action", "today", "--json").out)
    assert [(one["by"], one["via"]) for one in uses] == [(None, "cli"), (None, "cli"), ("M. Durand", "cli")]


@pytest.mark.in_sqlite
@pytest.mark.parametrize(
    "code, words, said",
    [
        (2, ("--closed",), "--until: missing"),
        (2, ("--until", "2h"), "--until: of what?"),
        (2, ("--closed", "--message", "flood", "--until", "2h"), "several things at once"),
        (2, ("--remove", "1", "--until", "2h"), "several things at once"),
        (2, ("--message", "fire", "--until", "2h"), "--message: there is none named 'fire'"),
        (1, ("--remove", "1"), "1: no such number"),
    ],
)
def test_what_is_typed_wrong_is_said_in_a_line(
    office: Office, code: int, words: tuple[str, ...], said: str
) -> None:
    assert said in office.fails(code, "today", *words)


@pytest.mark.in_sqlite
def test_a_message_is_looked_at_as_prompts_are_but_may_say_other_hours(tmp_path: Path) -> None:
    room = Room(tmp_path / "agent")
    flood = room.words("closed", "fr").with_name("flood.txt")
    for suffix in (".wav", ".txt"):
        flood.with_suffix(suffix).write_bytes(room.words("closed", "fr").with_suffix(suffix).read_bytes())
    room.set("prompts", 'messages = { flood = "prompts/fr/flood.wav" }')

    def found() -> set[str]:
        every = lint(room.config())
        return {one.detail for one in every if "messages.flood" in one.what and one.level != "ok"}

    assert found() == set()
    flood.write_text(
        "Votre appel est enregistré. Aujourd'hui nous fermons à seize heures, à cause de la crue."
    )
    assert "says that the call is recorded; who hears it may not be" in found()
    samples, rate = soundfile.read(flood.with_suffix(".wav"), dtype="int16")
    soundfile.write(flood.with_suffix(".wav"), np.tile(samples, 2), rate, subtype="PCM_16")
    assert "long: every caller hears it before the notice" in found()
    with pytest.raises(ConfigError, match=r"prompts\.en\.messages: 'fire' is not in \[prompts\.messages\]"):
        room.set("prompts.en", 'messages = { fire = "prompts/fr/flood.wav" }')
        room.config()


# --- the agent's side ---

SPECIALS = (
    Special(number=1, message="flood", from_at=NOON, until_at=NOON + 2 * HOUR),
    Special(number=2, from_at=NOON + HOUR, until_at=NOON + 2 * HOUR),
)


@pytest.mark.in_sqlite
def test_an_offer_names_the_message_by_its_hash_in_each_language_and_why_it_is_closed() -> None:
    fr, en = (replace(sounds()[one], sha256=hash) for one, hash in zip(sounds(), ("aa", "ee"), strict=False))
    rules = replace(RULES, messages={"fr": {"flood": fr}, "en": {"flood": en}}).on(SPECIALS)

    def offer(at: datetime) -> tuple[bool, tuple[tuple[str, str], ...], str]:
        told = rules.offer("id", "127.0.0.1:5060", None, at, room=True, draining=False)
        return told.open, told.messages, told.closed

    told = (("fr", "message: flood, sha256 aa"), ("en", "message: flood, sha256 ee"))
    assert offer(NOON) == (True, told, "")
    assert offer(NOON + HOUR) == (False, (), "closed today")
    assert offer(NOON + 2 * HOUR) == offer(NOON - HOUR) == (True, (), "")


@pytest.mark.in_sqlite
def test_a_message_that_the_configuration_does_not_have_is_an_alert_and_nobody_hears_it() -> None:
    with capture_logs() as logs:
        rules = with_specials(RULES, SPECIALS)
    assert [one["reason"] for one in logs if one["event"] == "alert"] == [
        "the message flood is set, and prompts.messages does not have it: nobody hears it"
    ]
    assert rules.offer("id", "127.0.0.1:5060", None, NOON, room=True, draining=False).messages == ()


@pytest.mark.in_sqlite
def test_what_is_set_comes_to_an_agent_that_runs_also_where_the_database_was_away(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipagent.service.rules.LOOK_S", 0.01)
    orders, woken = Orders(0.0), threading.Event()
    config.database.write_text("no database, for now, and for more than a hundred characters" * 9)
    alerted = threading.Event()
    monkeypatch.setattr("sipagent.service.rules.alert", lambda reason: alerted.set())
    with today_read(config, orders, woken.set):
        assert alerted.wait(PATIENCE_S)
        config.database.unlink()
        with Store(config.database) as store:
            store.keep_specials(SPECIALS)
            assert woken.wait(PATIENCE_S) and orders.specials == SPECIALS
            woken.clear()
            store.keep_specials([])
            assert woken.wait(PATIENCE_S) and not orders.specials

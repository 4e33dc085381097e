"""`sipagent hours`: open or closed, why, and until when."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.records import from_text, to_text
from sipagent.config.hours import OpeningState
from tests.configured import with_keys
from tests.office import CONFIG, PARIS, Office, make_office

HOURS = """\
week = { mon = "08:30-12:00,13:30-17:30", tue = "08:30-12:00", wed = "22:00-24:00", thu = "00:00-02:00" }
holidays = "FR"
closed = ["2026-12-24/2027-01-02", "2026-11-10"]"""


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    made = make_office(tmp_path, capsys)
    (tmp_path / "config.toml").write_text(with_keys("hours", HOURS, CONFIG))
    return made


def told(office: Office, *words: str) -> list[str]:
    return [line.rstrip() for line in office.run("hours", *words).out.splitlines()]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


@pytest.mark.parametrize(
    ("at", "state", "until"),
    [
        ("2026-11-23T08:30", OpeningState(True, "week", "mon 08:30-12:00,13:30-17:30"), "2026-11-23T12:00"),
        ("2026-11-23T12:00", OpeningState(False, "week", "mon 08:30-12:00,13:30-17:30"), "2026-11-23T13:30"),
        ("2026-11-27T00:00", OpeningState(False, "week", "fri"), "2026-11-30T08:30"),
        ("2026-11-25T23:00", OpeningState(True, "week", "wed 22:00-24:00"), "2026-11-26T02:00"),
        ("2026-11-11T22:30", OpeningState(False, "holiday", "Armistice"), "2026-11-12T00:00"),
        ("2026-11-10T09:00", OpeningState(False, "closed", "2026-11-10"), "2026-11-12T00:00"),
        ("2026-12-25T10:00", OpeningState(False, "closed", "2026-12-24/2027-01-02"), "2027-01-04T08:30"),
        ("2026-07-14T08:30", OpeningState(False, "holiday", "Fête nationale"), "2026-07-15T22:00"),
    ],
)
def test_open_or_closed_and_why_and_until_when(
    office: Office, at: str, state: OpeningState, until: str
) -> None:
    assert json.loads(office.run("hours", "--at", at, "--json").out) == {
        "at": to_text(local(at)),
        "timezone": "Europe/Paris",
        **asdict(state),
        "until": to_text(local(until)),
    }
    lines = told(office, "--at", at)
    assert lines[0] == f"at     {at.replace('T', ' ')}:00 Europe/Paris"
    assert lines[1] == ("state  open" if state.open else "state  closed")
    assert lines[3].startswith(f"until  {until.replace('T', ' ')}:00, in ")


def test_without_a_moment_it_is_now(office: Office) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    found = json.loads(office.run("hours", "--json").out)
    assert before <= from_text(found["at"]) <= datetime.now(UTC)
    assert json.loads(office.run("hours", "--at", found["at"], "--json").out) == found
    assert from_text(found["until"]) > from_text(found["at"])


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ("2026-11-24", "hours.week: tue 08:30-12:00"),
        ("2026-11-27", "hours.week: fri closed all day"),
        ("2026-11-11", "hours.holidays: Armistice"),
        ("2026-11-10", "hours.closed: 2026-11-10"),
    ],
)
def test_it_says_which_key_decides(office: Office, at: str, why: str) -> None:
    assert told(office, "--at", at)[2] == f"why    {why}"


def test_a_service_without_hours_is_always_open(tmp_path: Path, office: Office) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    assert told(office)[1:] == [
        "state  open",
        "why    hours.week is absent: open day and night",
        "until  no change within two years",
    ]
    assert json.loads(office.run("hours", "--json").out)["until"] is None


def test_the_night_the_clock_is_put_back(office: Office) -> None:
    """Both hours from two to three are told apart by their offset."""
    (office.folder / "config.toml").write_text(with_keys("hours", 'week = { sun = "02:00-02:30" }', CONFIG))
    for at, until in (("00:10Z", "00:30"), ("01:10Z", "01:30")):
        found = json.loads(office.run("hours", "--at", f"2026-10-25T{at}", "--json").out)
        assert (found["open"], found["until"]) == (True, f"2026-10-25T{until}:00.000Z")


@pytest.mark.parametrize("at", ["soon", "", "9999-12-31T23:30", "0001-01-01", "1969-12-31"])
def test_what_is_no_moment_is_one_line(office: Office, at: str) -> None:
    assert "--at: " in office.fails(2, "hours", "--at", at)


def test_any_year_of_the_calendars_can_be_asked_about(office: Office) -> None:
    for year in (1970, 2099):
        at = datetime(year, 6, 1, 12, tzinfo=UTC)
        assert json.loads(office.run("hours", "--at", to_text(at), "--json").out)["until"]


def test_hours_that_overlap_are_named(office: Office) -> None:
    (office.folder / "config.toml").write_text(
        with_keys("hours", 'week = { mon = "08:00-12:00,11:00-13:00" }', CONFIG)
    )
    assert "hours.week: mon has '08:00-12:00' and then '11:00-13:00', which overlap" in office.fails(
        2, "hours"
    )

"""`sipagent hours`: open or closed, why, and until when. Which hours there are: test_hours."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.records import from_text, to_text
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


@pytest.mark.parametrize(
    ("at", "state", "why", "until"),
    [
        ("2026-11-23T08:30", "open", "hours.week: mon 08:30-12:00,13:30-17:30", "2026-11-23T12:00"),
        ("2026-11-23T12:00", "closed", "hours.week: mon 08:30-12:00,13:30-17:30", "2026-11-23T13:30"),
        ("2026-11-27T00:00", "closed", "hours.week: fri closed all day", "2026-11-30T08:30"),
        ("2026-11-25T23:00", "open", "hours.week: wed 22:00-24:00", "2026-11-26T02:00"),
        ("2026-11-11T22:30", "closed", "hours.holidays: Armistice", "2026-11-12T00:00"),
        ("2026-12-25T10:00", "closed", "hours.closed: 2026-12-24/2027-01-02", "2027-01-04T08:30"),
    ],
)
def test_open_or_closed_and_why_and_until_when(
    office: Office, at: str, state: str, why: str, until: str
) -> None:
    ends = datetime.fromisoformat(until).replace(tzinfo=PARIS)
    told = json.loads(office.run("hours", "--at", at, "--json").out)
    assert (told["open"], told["timezone"], told["until"]) == (state == "open", "Europe/Paris", to_text(ends))
    lines = [" ".join(line.split()) for line in office.run("hours", "--at", at).out.splitlines()]
    assert lines[:3] == [f"at {at.replace('T', ' ')}:00 Europe/Paris", f"state {state}", f"why {why}"]
    assert lines[3].startswith(f"until {until.replace('T', ' ')}:00, in ")


def test_without_a_moment_it_is_now_and_without_hours_always_open(office: Office) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    found = json.loads(office.run("hours", "--json").out)
    assert before <= from_text(found["at"]) <= datetime.now(UTC)
    assert json.loads(office.run("hours", "--at", found["at"], "--json").out) == found
    config = office.folder / "config.toml"
    config.write_text(CONFIG)
    assert [" ".join(line.split()) for line in office.run("hours").out.splitlines()][1:] == [
        "state open",
        "why hours.week is absent: open day and night",
        "until no change within two years",
    ]
    assert json.loads(office.run("hours", "--json").out)["until"] is None


@pytest.mark.parametrize("at", ["soon", "", "9999-12-31T23:30", "0001-01-01", "1969-12-31"])
def test_what_is_no_moment_is_one_line(office: Office, at: str) -> None:
    assert "--at: " in office.fails(2, "hours", "--at", at)

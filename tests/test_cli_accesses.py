"""`accesses`: what was used, by whom, when and why; of one or of all."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.purge import Terms, purge
from retention.records import Access, Recording, new_id
from tests.kept import START
from tests.office import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def use(office: Office, ago: timedelta = timedelta(0), **changes: Any) -> Access:
    fields: dict[str, Any] = {"at": datetime.now(UTC) - ago, "action": "export", "purpose": "quality"}
    row = Access(**fields | {"by": "M. Durand", "system_user": "durand"} | changes)
    office.archive.store.add_access(row)
    return row


def listed(office: Office, *words: object) -> list[dict[str, Any]]:
    result = office.run("accesses", *words, "--json")
    assert (result.code, result.err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


def details(office: Office, *words: object) -> list[str]:
    return [row["detail"] for row in listed(office, *words)]


def test_what_who_when_why(office: Office) -> None:
    row = office.call()
    out = office.folder / "copy.wav"
    asked = ("--purpose", "access_request", "--reference", "2026-118", "--by", "Petit", "--channel", "caller")
    assert office.run("export", row.id, *asked, "--out", out).code == 0
    (told,) = listed(office)
    assert told.pop("at").endswith("Z") and told.pop("system_user")
    assert told == {
        "action": "export",
        "recording_id": row.id,
        "purpose": "access_request",
        "by": "Petit",
        "reference": "2026-118",
        "outcome": "done",
        "detail": f'caller to "{out}"',
        "login": None,
        "via": "cli",
    }
    said = office.run("accesses").out
    for word in ("export", "done", row.id, "access_request", "Petit", "2026-118", str(out), "1 use"):
        assert word in said


def test_what_was_refused_is_there_as_well(office: Office) -> None:
    row = office.call()
    office.fails(1, "export", row.id, "--by", "Petit", "--out", office.folder / "copy.wav")
    (told,) = listed(office, "--outcome", "refused")
    assert "a purpose is needed" in told["detail"]
    assert listed(office, "--outcome", "done") == []


def test_the_newest_first_in_the_order_of_the_trace(office: Office) -> None:
    for number, ago in enumerate((timedelta(hours=1), timedelta(hours=2), timedelta(0))):  # a clock set back
        use(office, ago, detail=str(number))
    assert details(office) == ["2", "1", "0"]
    assert details(office, "--limit", "2") == ["2", "1"]
    assert "limit" in office.fails(2, "accesses", "--limit", "0")


def test_of_one(office: Office) -> None:
    rows = [office.call(), office.call()]
    for row in rows:
        use(office, recording_id=row.id, detail=row.id)
    assert details(office, rows[0].id) == [rows[0].id]
    assert rows[1].id not in office.run("accesses", rows[0].id).out


def test_of_one_that_nobody_has_used(office: Office) -> None:
    row = office.call()
    assert listed(office, row.id) == []
    assert "No use matches." in office.run("accesses", row.id).out
    id = new_id(START)
    assert f"{id}: no such id" in office.fails(1, "accesses", id)
    assert "no such id" in office.fails(1, "accesses", "../etc/passwd")


def test_of_one_that_is_purged(office: Office) -> None:
    row: Recording = office.call()
    use(office, recording_id=row.id, detail="kept")
    purge(
        office.archive,
        row.expires_at,
        Terms(period="6 months", receipts_period="6 months", analysis_period="1 year"),
    )
    assert "kept" in details(office, row.id)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--by", "durand"), ["1", "0"]),  # a part of the name, in any case
        (("--by", "ROOT"), ["2", "1"]),  # or the system's user
        (("--by", "M. P"), ["2"]),
        (("--by", "nobody"), []),
        (("--action", "play"), ["1"]),
        (("--purpose", "quality"), ["2", "0"]),
        (("--outcome", "failed"), ["2"]),
        (("--by", "durand", "--action", "export"), ["0"]),
        (("--since", "36h"), ["2", "1"]),
        (("--until", "36h"), ["0"]),
        (("--since", "36h", "--until", "12h"), ["1"]),
    ],
)
def test_filters(office: Office, words: tuple[str, ...], found: list[str]) -> None:
    use(office, timedelta(days=2), detail="0")
    use(office, timedelta(days=1), action="play", purpose="statistics", system_user="root", detail="1")
    use(office, by="M. Petit", outcome="failed", system_user="root", detail="2")
    assert details(office, *words) == found


def test_a_date_alone_includes_its_day(office: Office) -> None:
    use(office, at=datetime(2026, 11, 24, 22, 30, tzinfo=UTC), detail="late")  # 23:30 in Paris
    use(office, at=datetime(2026, 11, 24, 23, 30, tzinfo=UTC), detail="next day")
    assert details(office, "--since", "2026-11-24", "--until", "2026-11-24") == ["late"]
    assert details(office, "--since", "2026-11-25") == ["next day"]


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_moment_that_is_none(office: Office, option: str) -> None:
    assert option in office.fails(2, "accesses", option, "the day before")


def test_nothing_yet(office: Office) -> None:
    assert listed(office) == []
    assert not (office.folder / "retention.db").exists()


def test_a_narrow_screen_still_tells_who(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    use(office, action="rotate", by=None, purpose=None, system_user="durand")
    assert "(durand)" in office.run("accesses").out


def test_what_leads_to_a_terminal_is_harmless(office: Office) -> None:
    use(office, by="\x1b[31mred", detail="two\nlines")
    said = office.run("accesses").out
    assert "\x1b" not in said and said.count("\n") == 4  # heading, row, empty, count

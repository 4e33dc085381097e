"""`sipagent stats`: what it counts, in which days, and what it says where rows and chain differ."""

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.records import Status
from sipagent.cli import stats
from tests import busy
from tests.office import CONFIG, PARIS, Office, make_office

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setattr(stats, "now", lambda: NOW)
    return make_office(tmp_path, capsys)


def told(office: Office, *words: str) -> Any:
    result = office.run("stats", "--json", *words)
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


def calls(office: Office, first: str, days: int, per_day: int) -> list[busy.Call]:
    past = list(busy.calls(date.fromisoformat(first), days, per_day, now=NOW, zone=PARIS))
    assert busy.fill(office.archive.store, past) == len(past)
    return past


def unchained(office: Office, sql: str) -> None:
    """What somebody with an editor does to the database."""
    with sqlite3.connect(office.folder / "retention.db", isolation_level=None) as database:
        for statement in sql.split(";"):
            database.execute(statement)


# --- counting ---


def test_the_figures_are_those_of_the_rows(office: Office) -> None:
    past = calls(office, "2026-05-01", 205, 12)
    assert len(past) > 1000  # more than a page
    receipts = [receipt for receipt, _ in past]
    recordings = [recording for _, recording in past if recording]
    figures = told(office)
    assert figures["calls"] == len(past)
    for outcome, count in figures["outcomes"].items():
        assert count == sum(receipt.outcome == outcome for receipt in receipts), outcome
    refused = [receipt for receipt in receipts if receipt.decision == "refused"]
    assert figures["refusals"]["total"] == len(refused)
    for channel, phases in figures["refusals"]["by_channel_and_phase"].items():
        for phase, count in phases.items():
            assert count == sum((one.decided_by, one.phase) == (channel, phase) for one in refused)
    stops = sum(event.what == "stop code" for receipt in receipts for event in receipt.events)
    assert figures["operator_stops"] == stops > 0
    assert figures["waits"]["count"] == sum(figures["waits"]["counts"]) == figures["outcomes"]["connected"]
    assert figures["recordings"]["total"] == len(recordings)
    assert figures["recordings"]["purged"] == sum(one.status is Status.PURGED for one in recordings) > 0
    assert figures["recordings"]["held"] == sum(one.hold is not None for one in recordings) > 0
    none = {key: {"rows": 0, "chain": 0} for key in ("accesses", "notes", "sums", "approvals")}
    assert figures["reconciled"] == none | {
        "agrees": True,
        "receipts": {"rows": len(receipts), "chain": len(receipts)},
        "recordings": {"rows": len(recordings), "chain": len(recordings)},
    }


# --- what does not add up ---


def test_a_row_that_the_chain_does_not_know(office: Office) -> None:
    office.call()
    unchained(
        office,
        "INSERT INTO receipts (id, started_at, decision) VALUES ('x', '2026-11-24T10:00:00.000Z', 'refused')",
    )
    result = office.run("stats", "--json")
    assert result.code == 1
    assert json.loads(result.out)["reconciled"]["receipts"] == {"rows": 2, "chain": 1}
    assert result.err == (
        "sipagent: these figures do not agree with the chain; receipts: 2 kept, 1 in the chain "
        "(see `sipagent verify`)\n"
    )


def test_a_row_that_was_taken_away(office: Office) -> None:
    """Of another period: that the figures miss something must be said whatever they are of."""
    row = office.call(timedelta(days=90))
    office.call()
    unchained(office, f"DROP TRIGGER recordings_stay; DELETE FROM recordings WHERE id = '{row.id}'")
    page = office.folder / "page.html"
    result = office.run("stats", "--since", "1d", "--html", page)
    assert (result.code, result.out) == (1, f"wrote {page}\n")
    assert "recordings: 1 kept, 2 in the chain" in result.err
    assert 'class="alarm"' in page.read_text()


# --- the page ---


def test_the_page_is_written_whole_and_replaces_nothing_unasked(office: Office) -> None:
    page, config = office.folder / "page.html", office.folder / "config.toml"
    office.call()
    assert office.run("stats", "--html", page).out == f"wrote {page}\n"
    french = page.read_text()
    assert french.startswith('<!DOCTYPE html>\n<html lang="fr">') and french.endswith("</html>\n")
    assert "Statistiques des appels" in french
    assert f"{page} exists; --force replaces it" in office.fails(1, "stats", "--html", page)
    config.write_text(CONFIG.replace("[service]\n", '[service]\nlanguage = "en"\n'))
    assert told(office, "--html", str(page), "--force")["calls"] == 1  # and JSON
    assert '<html lang="en">' in page.read_text() and "Call statistics" in page.read_text()
    assert [path.name for path in office.folder.glob(".*")] == []
    nowhere = office.folder / "absent/page.html"
    assert "absent is not a directory" in office.fails(1, "stats", "--html", nowhere)
    assert "is a directory" in office.fails(2, "stats", "--html", office.folder)

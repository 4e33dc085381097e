"""`sipagent stats`: what it counts, in which days, and what it says where rows and chain differ."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.records import Status
from sipagent.cli import stats
from tests import busy, kept
from tests.office import CONFIG, PARIS, Office, make_office
from tests.tampering import sum_of

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
NAMED = '[trunk]\nnumbers = ["+33323063006", "+33323063007"]\n'


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


def test_an_office_without_calls(office: Office) -> None:
    assert office.run("stats").out == "No call in this period.\n"
    assert told(office)["calls"] == 0
    assert [path.name for path in office.folder.iterdir()] == ["config.toml"]  # looking makes nothing


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


def test_what_is_counted_together_and_what_was_lost_is_told(office: Office) -> None:
    store = office.archive.store
    store.add_receipt(kept.receipt(kept.recording()))
    store.add_sum(sum_of(41_000))
    store.add_sum(replace(sum_of(1), what="lost", until_at=kept.START + timedelta(minutes=5)))
    figures = told(office)
    assert (figures["calls"], figures["in_sums"], figures["lost"][0]["count"]) == (41_001, 41_000, 1)
    assert figures["reconciled"]["agrees"] and figures["reconciled"]["sums"] == {"rows": 2, "chain": 2}
    lines = office.run("stats").out.splitlines()
    assert lines[0] == "1 receipt was lost between 2026-11-24 23:20:00 and 2026-11-24 23:25:00"
    assert any("41000 rejected, counted together" in line for line in lines)
    assert told(office, "--until", "2026-11-23")["calls"] == 0


def test_a_period_is_one_of_local_days_also_when_the_clocks_change(office: Office) -> None:
    """25 October 2026 has 25 hours in Paris: from 22:00 to 23:00 UTC on the next day."""
    store = office.archive.store
    for at in ("2026-10-24T21:59:59", "2026-10-24T22:00:00", "2026-10-25T22:59:59", "2026-10-25T23:00:00"):
        store.add_receipt(
            kept.receipt(kept.recording(started_at=datetime.fromisoformat(at).replace(tzinfo=UTC)))
        )
    figures = told(office, "--since", "2026-10-25", "--until", "2026-10-25")
    assert (figures["since"], figures["until"]) == ("2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z")
    assert [day["day"] for day in figures["per_day"]] == ["2026-10-25"]
    assert figures["per_day"][0]["calls"] == figures["calls"] == 2
    assert figures["timezone"] == "Europe/Paris"
    every = {day["day"]: day["calls"] for day in told(office)["per_day"]}
    assert every == {"2026-10-24": 1, "2026-10-25": 2, "2026-10-26": 1}


def test_no_language_is_told_of_a_number_at_which_a_key_decides(office: Office) -> None:
    (office.folder / "config.toml").write_text(
        CONFIG.replace("[trunk]\n", NAMED)
        + '[prompts]\nlanguages = { "+33323063007" = "en" }\nchoose = "x.wav"\nchoices = { "2" = "en" }\n'
        + '[prompts.en]\nnotice = "x.wav"\n'
    )
    for minute, called in enumerate(("+33323063006", "+33323063007")):
        office.archive.store.add_receipt(kept.receipt(kept.recording(minute), called=called))
    assert [(row["called"], row["language"]) for row in told(office)["numbers"]] == [
        ("+33323063006", None),
        ("+33323063007", "en"),
        ("other", None),
    ]
    lines = [line.split() for line in office.run("stats").out.splitlines()]
    assert ["+33323063006", "by", "key", "1", "1", "0"] in lines
    page = office.folder / "page.html"
    assert office.run("stats", "--html", page).code == 0
    assert "choisie par touche" in page.read_text()


def test_tables_say_it_in_words(office: Office) -> None:
    calls(office, "2026-11-01", 20, 30)
    figures = told(office)
    out = office.run("stats", "--since", "2026-11-01").out
    lines = out.splitlines()
    assert lines[0].split() == ["calls", str(figures["calls"])]
    rate = (
        f"{figures['refusals']['rate']:.1%}, {figures['refusals']['total']} of {figures['refusals']['asked']}"
    )
    assert f"refusals                {rate} who were asked" in lines[2]
    fates = figures["recordings"]
    assert f"{fates['kept']} kept ({fates['held']} of them held), {fates['erased']} erased" in out
    for title in ("Outcomes", "Decisions", "Refusals", "Refusals by key", "Lengths", "Operators", "Days"):
        assert f"\n{title}\n" in out


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

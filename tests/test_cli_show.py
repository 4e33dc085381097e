"""`show`: everything known of one."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.records import Access, Event, Note, Receipt, due_date, new_id, to_text
from tests.kept import CALLER, START, Paths, receipt, recording
from tests.office import PARIS, Office, make_office
from tests.sealing import make_sealed_office, sealed_call


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def test_show_everything(office: Office) -> None:
    row = office.call(flagged=True)
    store = office.archive.store
    call = store.receipt(row.id)
    events = (Event(at=START, what="notice began", by="agent"), Event(at=START, what="bridged"))
    store.update_receipt(
        Receipt(
            **{name: getattr(call, name) for name in call.to_json()} | {"events": events, "confidence": 0.87}
        )
    )
    store.add_access(Access(at=START, action="export", recording_id=row.id, purpose="quality", by="Durand"))
    out = office.run("show", row.id).out
    for said in (
        row.id,
        "closed",
        CALLER,
        row.sha256,
        "flagged",
        "0:04 to 0:08",
        "in 18",
        "notice began (agent)",
    ):
        assert str(said) in out
    assert "0.87" in out and "export for quality by Durand: done" in out
    shown = json.loads(office.run("show", row.id, "--json").out)
    assert shown["id"] == row.id and shown["sha256"] == row.sha256
    assert shown["receipt"]["events"][0]["what"] == "notice began"
    assert shown["accesses"][0]["purpose"] == "quality"


def test_show_a_call_without_recording(office: Office) -> None:
    call = receipt(recording(), recording_id=None, decision="refused", decided_by="dtmf", phase="window")
    office.archive.store.add_receipt(call)
    out = office.run("show", call.id).out
    assert "refused by dtmf" in out and "in the window" in out
    shown = json.loads(office.run("show", call.id, "--json").out)
    assert (shown["status"], shown["receipt"]["decision"]) == (None, "refused")


def test_show_what_does_not_exist(office: Office) -> None:
    id = new_id(START)
    assert f"{id}: no such id" in office.fails(1, "show", id)
    assert "no such id" in office.fails(1, "show", "../../etc/passwd\n")


def test_the_json_is_that_of_list_and_more(office: Office) -> None:
    row = office.call()
    (listed,) = json.loads(office.run("list", "--json").out)
    shown = json.loads(office.run("show", row.id, "--json").out)
    assert {name: shown[name] for name in listed} == listed
    assert shown["reference"] == row.id[-6:] and shown["due_at"] == to_text(row.expires_at)
    assert (shown["sealed_to"], shown["notes"], shown["copies"], shown["accesses"]) == (None, [], [], [])


def test_a_period_that_was_shortened_counts(office: Office) -> None:
    row = office.call(timedelta(days=10))
    with (office.folder / "config.toml").open("a") as file:
        file.write('[retention]\nperiod = "1 month"\n')
    assert "the period was shortened" in office.run("show", row.id).out
    shown = json.loads(office.run("show", row.id, "--json").out)
    assert shown["due_at"] == to_text(due_date(row.started_at, "1 month"))


def test_a_hold_and_its_review(office: Office) -> None:
    row = office.call()
    hold = {"ground": "criminal", "reference": "41", "by": "Durand", "approved_by": "Petit"}
    kept = office.archive
    for review, said in (("2020-01-31", "2020-01-31, OVERDUE"), ("2999-01-31", "2999-01-31")):
        kept.change(replace(row, hold=hold | {"review": review}))
        lines = [" ".join(line.split()) for line in office.run("show", row.id).out.splitlines()]
        at = lines.index("Hold")
        expected = ["ground criminal", "reference 41", f"review {said}", "by Durand", "approved by Petit"]
        assert lines[at + 1 : at + 6] == expected


def test_copies_are_named_whether_they_are_there_or_not(office: Office) -> None:
    row = office.call()
    folder = office.folder / ("far" * 60)
    folder.mkdir()
    there, gone = folder / f"{'x' * 200}.wav", folder / "gone.wav"
    for out in (there, gone):
        assert office.run("export", row.id, "--purpose", "quality", "--by", "Petit", "--out", out).code == 0
    gone.unlink()
    lines = office.run("show", row.id).out.splitlines()
    place = lines.index(f"  {there}")  # whole
    assert lines[place + 1].startswith("    is there; exported 20")
    assert lines[place + 1].endswith(" by Petit")
    assert lines[lines.index(f"  {gone}") + 1].startswith("    is not there any more; exported 20")
    copies = json.loads(office.run("show", row.id, "--json").out)["copies"]
    assert [(copy["path"], copy["exists"], copy["by"]) for copy in copies] == [
        (str(there), True, "Petit"),
        (str(gone), False, "Petit"),
    ]


def test_analyses_to_their_end_and_harmless(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row, store = office.call(), office.archive.store
    now = datetime.now(UTC)
    text = "Calm.\n\tAnswered " + "well " * 100 + "end.\n\x1b[31mred"
    until = now + timedelta(days=365)
    store.add_note(Note(recording_id=row.id, at=now, by="Petit", text=text, expires_at=until))
    for columns in ("80", "400"):
        monkeypatch.setenv("COLUMNS", columns)
        out = office.run("show", row.id).out
        assert "Analyses" in out and f" by Petit, kept until {until.astimezone(PARIS):%Y-%m-%d}" in out
        assert "\n    Calm.\n        Answered well" in out and "well end.\n" in out
        assert "\x1b" not in out and r"\x1b[31mred" in out
    (note,) = json.loads(office.run("show", row.id, "--json").out)["notes"]
    assert (note["text"], note["by"]) == (text, "Petit")
    store.forget_notes(until)
    assert ": forgotten, it was kept until 20" in office.run("show", row.id).out


def test_who_can_listen_to_what_is_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = make_sealed_office(tmp_path, capsys)
    row = sealed_call(office)
    assert "sealed to" in office.run("show", row.id).out
    shown = json.loads(office.run("show", row.id, "--json").out)
    assert len(shown["sealed_to"]) == 1 and shown["sealed_to"][0].startswith("recordings (")
    assert "still sealed" not in office.run("show", row.id).out
    (office.folder / "retention.db").unlink()
    office.run("rebuild")
    assert "still sealed since the rebuild" in office.run("show", row.id).out
    Paths(office.archive).key(row.id).write_text("damaged")
    assert json.loads(office.run("show", row.id, "--json").out)["sealed_to"] == []


def test_what_is_purged_says_so(office: Office) -> None:
    row = office.call(timedelta(days=200))
    office.run("purge")
    out = office.run("show", row.id).out
    assert "purged" in out and CALLER not in out and row.sha256 is not None and row.sha256 in out

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kept import CALLER, START, receipt, recording
from tests.office import Office, make_office
from tests.tampering import sum_of


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def test_an_empty_office(office: Office) -> None:
    assert office.run("list").out == "No recording matches.\n"
    assert office.run("calls").out == "No call matches.\n"
    assert json.loads(office.run("list", "--json").out) == []
    assert json.loads(office.run("calls", "--json").out) == []
    assert [path.name for path in office.folder.iterdir()] == ["config.toml"]  # looking makes nothing


def test_list_as_json_is_the_contract(office: Office) -> None:
    row = office.call()
    (shown,) = json.loads(office.run("list", "--json").out)
    assert shown == row.to_json()
    assert shown["started_at"].endswith("Z") and shown["path"] == f"recordings/{row.id}.flac"


def test_calls_as_json_is_the_contract(office: Office) -> None:
    row = office.call()
    (shown,) = json.loads(office.run("calls", "--json").out)
    assert shown == office.archive.store.receipt(row.id).to_json()


def test_calls_that_are_counted_together_are_counted(office: Office) -> None:
    """Beyond the first thousand an hour, rejected calls have no receipt each; `calls` says how many."""
    office.call()
    store = office.archive.store
    for count, minutes in ((41_000, 0), (7, 90)):
        at = START + timedelta(minutes=minutes)
        store.add_sum(replace(sum_of(count), from_at=at, until_at=at + timedelta(minutes=1)))
    store.add_sum(replace(sum_of(3), what="lost", code=None, by=None))
    assert office.run("calls").out.splitlines()[-2:] == [
        "41,007 rejected calls are counted together: see `sipagent calls --sums`.",
        "3 receipts were lost: see `sipagent calls --sums`.",
    ]
    assert "41,000 rejected" in office.run("calls", "--until", "2026-11-25 00:00").out
    for elsewhere in ("--caller=0612345678", "--outcome=connected", "--decision=refused", "--held"):
        assert "counted" not in office.run("calls", elsewhere).out
    assert "41,007" in office.run("calls", "--outcome", "rejected").out
    lines = [line.split() for line in office.run("calls", "--sums").out.splitlines()]
    assert lines[0] == ["from", "until", "calls", "what", "answered", "by"]
    assert [line[4:] for line in lines[1:]] == [
        ["3", "lost", "–", "–"],
        ["7", "rejected", "503", "edge:", "full"],
        ["41,000", "rejected", "503", "edge:", "full"],
    ]
    told = json.loads(office.run("calls", "--sums", "--json", "--limit", "2").out)
    assert [(one["what"], one["count"]) for one in told] == [("lost", 3), ("rejected", 7)]
    assert len(json.loads(office.run("calls", "--json").out)) == 1
    assert office.run("calls", "--sums", "--held").out == "No call is counted so.\n"


def test_tables_are_local_and_newest_first(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = office.call(timedelta(days=2)), office.call()
    monkeypatch.setenv("COLUMNS", "120")
    lines = office.run("list").out.splitlines()
    assert lines[0].split() == ["id", "began", "length", "caller", "operator", "status", "expires"]
    assert lines[1].startswith(new.id) and lines[2].startswith(old.id)
    assert CALLER in lines[1] and "marie.durand" in lines[1] and "0:02" in lines[1]
    assert f"{new.started_at.astimezone():%M}" in lines[1]
    assert lines[-1].startswith("2 recordings, 0:04, ")


@pytest.mark.parametrize("columns", ["80", "100", "120", "200"])
@pytest.mark.parametrize("command", ["list", "calls"])
def test_tables_fit_and_never_cut_an_id(
    office: Office, monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    row = office.call(operator="sip:" + "x" * 90 + "@pbx", flagged=True, incomplete=True)
    monkeypatch.setenv("COLUMNS", columns)
    lines = office.run(command).out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert lines[1].startswith(row.id)
    assert "closed" in lines[1] or "connected" in lines[1]


def test_a_hostile_caller_steers_nothing(office: Office) -> None:
    row = office.call(
        caller="[red]\x1b[31m\x9b2J\u202e" + "A" * 10_000, operator="sip:[bold]x[/bold]\n\x07@y"
    )
    for words in (["list"], ["calls"], ["show", row.id], ["list", "--json"], ["show", row.id, "--json"]):
        out = office.run(*words).out
        assert not any(char in out for char in "\x1b\x9b\x07\u202e")
    assert "[bold]x[/bold]" in office.run("list").out


def test_what_is_kept_of_a_caller_without_a_recording_is_mentioned(office: Office) -> None:
    office.call()
    store = office.archive.store
    store.add_receipt(receipt(recording(), recording_id=None, decision="refused"))
    store.add_receipt(receipt(recording(caller="+33323063001"), recording_id=None, decision="refused"))
    said = "Not recorded, but kept: 1 call, see `sipagent calls`."
    assert said in office.run("list", "--caller", CALLER).out
    assert office.run("list", "--caller", "+33323063001").out == f"No recording matches.\n{said}\n"
    for words in ((), ("--caller", CALLER, "--held"), ("--caller", "3999")):
        assert "Not recorded" not in office.run("list", *words).out
    assert len(json.loads(office.run("list", "--caller", CALLER, "--json").out)) == 1
    assert len(json.loads(office.run("calls", "--caller", CALLER, "--json").out)) == 2


def test_a_lost_database_is_mentioned(office: Office) -> None:
    office.call()
    (office.folder / "retention.db").unlink()
    result = office.run("list")
    assert result.code == 0 and "sipagent rebuild" in result.err


def test_what_is_gone_has_neither_length_nor_size(office: Office) -> None:
    rows = [office.call(timedelta(hours=n), bytes=1_000_000 * n) for n in (1, 2)]
    assert "2 recordings, 0:04, 3.0 MB" in office.run("list").out
    assert office.run("delete", rows[1].id, "--reason", "R", "--by", "Durand").code == 0
    lines = office.run("list").out.splitlines()
    assert lines[-1] == "2 recordings, 1 of them there: 0:02, 1.0 MB"
    (gone,) = (line for line in lines if rows[1].id in line)
    assert "2.0 MB" not in gone and "0:02" not in gone and "purged" in gone
    assert office.run("delete", rows[0].id, "--reason", "R", "--by", "Durand").code == 0
    assert office.run("list").out.splitlines()[-1] == "2 recordings, none there: 0:00, 0 B"
    (kept, _) = json.loads(office.run("list", "--json").out)
    assert (kept["bytes"], kept["duration_s"]) == (1_000_000, 2.0)  # what was, for whoever has a copy


def test_the_decision_stays_on_a_narrow_screen(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call(id="20261124T222000123-w13-482913")
    for columns in ("60", "50"):
        monkeypatch.setenv("COLUMNS", columns)
        out = office.run("calls").out
        assert "decision" in out.splitlines()[0] and "allowed" in out and row.id in out
        out = office.run("list").out
        assert "status" in out.splitlines()[0] and "closed" in out and row.id in out
        assert all(len(line) <= int(columns) for line in out.splitlines())


def test_a_transfer_names_both_operators_in_order(office: Office) -> None:
    """`operator` stays the last one, as programs know it."""
    both = ("sip:201@pbx.example.net", "sip:202@pbx.example.net")
    row = office.call(operator=both[1], operators=both)
    for command in ("list", "calls", "show"):
        arguments = (command, row.id) if command == "show" else (command,)
        told = json.loads(office.run(*arguments, "--json").out)
        (one,) = [told] if command == "show" else told
        assert (one["operator"], one["operators"]) == (both[1], [*both]), command
        assert re.search(r"201.* → .*202", office.run(*arguments).out), command
    single = office.call()
    (one,) = (one for one in json.loads(office.run("calls", "--json").out) if one["id"] == single.id)
    assert one["operators"] == [one["operator"]]

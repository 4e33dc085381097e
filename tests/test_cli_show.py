"""`list`, `calls`, `show`, `accesses`, `stats`: what is shown, to people and as JSON. Filters: test_lookup;
figures: test_statistics."""

import json
import sqlite3
from csv import DictReader
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from retention.records import Access, Event, Note, due_date, new_id, to_text
from sipagent.cli import program
from tests import busy
from tests.kept import CALLER, START, Paths, receipt, recording
from tests.office import CONFIG, PARIS, Office
from tests.sealing import make_sealed_office, sealed_call
from tests.tampering import sum_of

SAID = ("--reason", "R", "--by", "Durand")


def told(office: Office, *words: object) -> Any:
    result = office.run(*words, "--json")
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


# --- list, calls ---


def test_an_empty_office_and_a_lost_database(office: Office) -> None:
    for command, said in (("list", "No recording"), ("calls", "No call"), ("accesses", "No use")):
        assert office.run(command).out.startswith(said) and told(office, command) == []
    assert [path.name for path in office.folder.iterdir()] == ["config.toml"]  # looking makes nothing
    office.call()
    (office.folder / "retention.db").unlink()
    result = office.run("list")
    assert result.code == 0 and "sipagent rebuild" in result.err


def test_json_is_the_contract(office: Office) -> None:
    row = office.call()
    (shown,) = told(office, "list")
    assert shown == row.to_json()
    assert shown["started_at"].endswith("Z") and shown["path"] == f"recordings/{row.id}.flac"
    assert told(office, "calls") == [office.archive.store.receipt(row.id).to_json()]
    whole = told(office, "show", row.id)
    assert {name: whole[name] for name in shown} == shown
    assert whole["reference"] == row.id[-6:] and whole["due_at"] == to_text(row.expires_at)
    assert (whole["sealed_to"], whole["notes"], whole["copies"], whole["accesses"]) == (None, [], [], [])


def test_one_form_at_a_time(office: Office) -> None:
    for words in (["list"], ["calls"], ["stats"], ["holds"], ["today"], ["user", "list"]):
        said = office.fails(2, *words, "--json", "--csv")
        assert "--json and --csv exclude each other; accepted: one of them" in said, words


def test_csv_has_what_json_has_and_no_formula(office: Office) -> None:
    for caller in ("+33612345678", "=HYPERLINK(1)", "-1+2", "@SUM", 'Zoé; "quoted"\nline'):
        office.call(caller=caller)
    listed = told(office, "list")
    rows = list(DictReader(StringIO(office.run("list", "--csv").out, newline="")))
    assert [row.keys() for row in rows] == [one.keys() for one in listed]
    assert [row["caller"].removeprefix("'") for row in rows] == [one["caller"] for one in listed]
    assert [row["caller"] for row in rows if row["caller"][0] in "=-@"] == []
    assert [json.loads(row["notice"]) for row in rows] == [one["notice"] for one in listed]
    assert {row["hold"] for row in rows} == {""} and rows[0]["duration_s"] == str(listed[0]["duration_s"])
    for command in ("calls", "accesses", "holds", "user list", "token list"):
        words = command.split()
        done = office.run(*words, "--csv")
        assert (done.code, len([*DictReader(StringIO(done.out))])) == (0, len(told(office, *words)))


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
    assert "counted" not in office.run("calls", "--held").out
    assert "41,007" in office.run("calls", "--outcome", "rejected").out
    assert office.run("calls", "--sums").out.splitlines()[1].split()[4:] == ["3", "lost", "–", "–"]
    sums = told(office, "calls", "--sums", "--limit", "2")
    assert [(one["what"], one["count"]) for one in sums] == [("lost", 3), ("rejected", 7)]
    assert "CALL RECEIPTS LOST: 3." in office.run("stats").out


@pytest.mark.parametrize("columns", ["50", "80", "200"])
def test_tables_fit_and_never_cut_an_id(
    office: Office, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    marked = int(columns) >= 80
    row = office.call(operator="sip:" + "x" * 90 + "@pbx", flagged=marked, incomplete=marked)
    office.archive.store.add_access(Access(at=START, action="rotate", system_user="durand"))
    monkeypatch.setenv("COLUMNS", columns)
    for command, shown in (("list", "closed"), ("calls", "allowed")):  # the last to go
        lines = office.run(command).out.splitlines()
        assert max(map(len, lines)) <= int(columns)
        assert lines[1].startswith(row.id) and shown in lines[1]
    assert not marked or "(durand)" in office.run("accesses").out


def test_a_hostile_caller_steers_nothing(office: Office) -> None:
    hostile = "[red]\x1b[31m\x9b2J\u202e"
    row = office.call(caller=hostile + "A" * 10_000, operator="sip:[bold]x[/bold]\n\x07@y")
    office.archive.store.add_access(Access(at=START, action="play", by=hostile, detail="two\nlines"))
    words = (["list"], ["calls"], ["show", row.id], ["list", "--json"], ["show", row.id, "--json"])
    for command in (*words, ["stats"], ["accesses"]):
        out = office.run(*command).out
        assert not any(char in out for char in "\x1b\x9b\x07\u202e"), command
    assert out.count("\n") == 4  # heading, row, empty, count
    assert "[bold]x[/bold]" in office.run("list").out


def test_what_is_kept_of_a_caller_without_a_recording_is_mentioned(office: Office) -> None:
    office.call()
    store = office.archive.store
    for caller in (CALLER, "+33323063001"):
        store.add_receipt(receipt(recording(caller=caller), recording_id=None, decision="refused"))
    said = "Not recorded, but kept: 1 call, see `sipagent calls`."
    assert said in office.run("list", "--caller", CALLER).out
    assert office.run("list", "--caller", "+33323063001").out == f"No recording matches.\n{said}\n"
    for words in ((), ("--caller", CALLER, "--held"), ("--caller", "3999")):
        assert "Not recorded" not in office.run("list", *words).out
    assert [len(told(office, command, "--caller", CALLER)) for command in ("list", "calls")] == [1, 2]


def test_what_is_gone_has_neither_length_nor_size(office: Office) -> None:
    rows = [office.call(timedelta(hours=n), bytes=1_000_000 * n) for n in (1, 2)]
    assert "2 recordings, 0:04, 3.0 MB" in office.run("list").out
    assert office.run("delete", rows[1].id, *SAID).code == 0
    lines = office.run("list").out.splitlines()
    assert lines[-1] == "2 recordings, 1 of them there: 0:02, 1.0 MB"
    (gone,) = (line for line in lines if rows[1].id in line)
    assert "2.0 MB" not in gone and "0:02" not in gone and "purged" in gone
    assert office.run("delete", rows[0].id, *SAID).code == 0
    assert office.run("list").out.splitlines()[-1] == "2 recordings, none there: 0:00, 0 B"
    (kept, _) = told(office, "list")
    assert (kept["bytes"], kept["duration_s"]) == (1_000_000, 2.0)  # what was, for whoever has a copy


# --- show ---


def test_show_everything(office: Office) -> None:
    row, kept, now = office.call(flagged=True), office.archive, datetime.now(UTC)
    store, until = kept.store, now + timedelta(days=365)
    drawn = Event(at=START, what="drawn: 0.25 of seed 5eed5eed, share 0.5", by="agent")
    events = (Event(at=START, what="notice began", by="agent"), drawn, Event(at=START, what="bridged"))
    store.update_receipt(replace(store.receipt(row.id), events=events, confidence=0.87))
    folder = office.folder / ("far" * 60)
    folder.mkdir()
    there, gone = folder / f"{'x' * 200}.wav", folder / "gone.wav"
    for copy in (there, gone):
        assert office.run("export", row.id, "--purpose", "quality", "--by", "Petit", "--out", copy).code == 0
    gone.unlink()
    text = "Calm.\n\tAnswered " + "well " * 100 + "end.\n\x1b[31mred"
    store.add_note(Note(recording_id=row.id, at=now, by="Petit", text=text, expires_at=until))
    out = office.run("show", row.id).out
    for said in (
        *(
            row.id,
            "closed",
            CALLER,
            str(row.sha256),
            "flagged",
            "0:04 to 0:08",
            "in 18",
            "87 %",
            "MOS 4.1 · PCMA · 20 of 1000 packets lost (2.0 %), in 7 gaps · 3 too late · 460 ms concealed",
            "jitter 2.1 ms · round trip 31 ms · level −20.1 dBov · 1.2 % clipped",
            "nothing came from the operator",
            "verified A",
        ),
        *("notice began (agent)", "export for quality by Petit", "Analyses", r"\x1b[31mred", "well end.\n"),
        f" by Petit, kept until {until.astimezone(PARIS):%Y-%m-%d}",
        "\n    Calm.\n        Answered well",
    ):
        assert said in out, said
    assert "\x1b" not in out
    lines = out.splitlines()
    for path, where in ((there, "it is there"), (gone, "it is not there any more")):
        place = lines.index(f"  {path}")  # whole
        assert lines[place + 1].startswith("    exported 20")
        assert lines[place + 1].endswith(f" by Petit; {where}")
    story, _, drawing = out.partition("How it was drawn")
    assert "drawn: it might be recorded" in story and "seed" not in story
    assert "The lot is 0.25, the share 0.5" in drawing and "the seed 5eed5eed" in drawing
    whole = told(office, "show", row.id)
    assert whole["receipt"]["events"][0]["what"] == "notice began" and whole["notes"][0]["text"] == text
    copies = [(one["path"], one["exists"]) for one in whole["copies"]]
    assert copies == [(str(there), True), (str(gone), False)]
    store.forget_notes(until)
    assert ": forgotten, it was kept until 20" in office.run("show", row.id).out
    hold = {"ground": "criminal", "reference": "41", "by": "Durand", "approved_by": "Petit"}
    for review, said in (("2020-01-31", "2020-01-31, OVERDUE"), ("2999-01-31", "2999-01-31")):
        kept.change(replace(row, hold=hold | {"review": review}))
        lines = [" ".join(line.split()) for line in office.run("show", row.id).out.splitlines()]
        at = lines.index("Hold")
        expected = ["ground criminal", "reference 41", f"review {said}", "by Durand", "approved by Petit"]
        assert lines[at + 1 : at + 6] == expected


def test_a_period_that_was_shortened_counts_and_what_is_purged_says_so(office: Office) -> None:
    row, old = office.call(timedelta(days=10)), office.call(timedelta(days=40))
    (office.folder / "config.toml").write_text(f'{CONFIG}[retention]\nperiod = "1 month"\n')
    assert "the period was shortened" in office.run("show", row.id).out
    assert told(office, "show", row.id)["due_at"] == to_text(due_date(row.started_at, "1 month"))
    office.run("purge")
    own = office.run("show", old.id).out.partition("\nCall\n")[0]
    assert "purged" in own and CALLER not in own and old.sha256 is not None and old.sha256 in own


def test_who_can_listen_to_what_is_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = make_sealed_office(tmp_path, capsys)
    row = sealed_call(office)
    out = office.run("show", row.id).out
    assert "sealed to" in out and "still sealed" not in out
    (who,) = told(office, "show", row.id)["sealed_to"]
    assert who.startswith("recordings (")
    (office.folder / "retention.db").unlink()
    office.run("rebuild")
    assert "still sealed since the rebuild" in office.run("show", row.id).out
    Paths(office.archive).key(row.id).write_text("damaged")
    assert told(office, "show", row.id)["sealed_to"] == []


# --- accesses ---


def use(office: Office, ago: timedelta = timedelta(0), **changes: Any) -> None:
    fields: dict[str, Any] = {"at": datetime.now(UTC) - ago, "action": "export", "purpose": "quality"}
    row = Access(**fields | {"by": "M. Durand", "system_user": "durand"} | changes)
    office.archive.store.add_access(row)


def details(office: Office, *words: object) -> list[str]:
    return [row["detail"] for row in told(office, "accesses", *words)]


def test_what_who_when_why(office: Office) -> None:
    row, out = office.call(), office.folder / "copy.wav"
    asked = ("--purpose", "access_request", "--reference", "2026-118", "--by", "Petit", "--channel", "caller")
    office.fails(1, "export", row.id, "--by", "Petit", "--out", out)
    assert office.run("export", row.id, *asked, "--out", out).code == 0
    done, refused = told(office, "accesses", row.id)
    assert "a purpose is needed" in refused["detail"]
    assert done.pop("at").endswith("Z") and done.pop("system_user")
    assert done == {
        **{"action": "export", "recording_id": row.id, "purpose": "access_request", "by": "Petit"},
        **{"reference": "2026-118", "outcome": "done", "detail": f'caller to "{out}"'},
        **{"login": None, "via": "cli"},
    }
    said = office.run("accesses").out
    for word in ("export", "done", row.id, "access_request", "Petit", "2026-118", str(out), "2 uses"):
        assert word in said


def test_which_uses(office: Office) -> None:
    rows = [office.call(), office.call(timedelta(days=200))]
    use(office, detail="0")
    use(office, timedelta(days=1), action="play", purpose="statistics", system_user="root", detail="1")
    use(office, timedelta(days=2), by="M. Petit", outcome="failed", system_user="root", detail="2")
    for words, found in (
        ((), "2 1 0"),  # in the order of the trace, though a clock was set back
        (("--limit", "2"), "2 1"),
        (("--by", "durand"), "1 0"),  # a part of the name, in any case
        (("--by", "ROOT"), "2 1"),  # or the system's user
        (("--action", "play"), "1"),
        (("--purpose", "quality"), "2 0"),
        (("--outcome", "failed"), "2"),
        (("--by", "durand", "--action", "export"), "0"),
        (("--since", "36h"), "1 0"),
        (("--since", "36h", "--until", "12h"), "1"),
    ):
        assert " ".join(details(office, *words)) == found, words
    use(office, recording_id=rows[1].id, detail="kept")
    assert told(office, "accesses", rows[0].id) == []
    office.run("purge")
    assert "kept" in details(office, rows[1].id)
    assert "no such id" in office.fails(1, "accesses", new_id(START))
    use(office, at=datetime(2026, 11, 24, 22, 30, tzinfo=UTC), detail="late")  # 23:30 in Paris
    use(office, at=datetime(2026, 11, 24, 23, 30, tzinfo=UTC), detail="next day")
    assert details(office, "--since", "2026-11-24", "--until", "2026-11-24") == ["late"]
    assert "next day" in details(office, "--since", "2026-11-25")
    for option in ("--since", "--until"):
        assert option in office.fails(2, "accesses", option, "the day before")
    for limit in ("0", "9" * 20):
        for command in ("accesses", "list"):
            assert "limit" in office.fails(2, command, "--limit", limit)
    assert office.fails(2, "detect", "\udcff.wav") == "sipagent: '\\udcff.wav': is not UTF-8 text\n"


# --- stats ---


def test_the_figures_are_those_of_the_rows(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
    monkeypatch.setattr(program, "now", lambda: now)
    past = list(busy.calls(date(2026, 5, 1), 205, 12, now=now, zone=PARIS))
    assert busy.fill(office.archive.store, past) == len(past) > 1000  # more than a page
    figures = told(office, "stats")
    assert figures["calls"] == len(past)
    for outcome, count in figures["outcomes"].items():
        assert count == sum(receipt.outcome == outcome for receipt, _ in past), outcome
    table = DictReader(StringIO(office.run("stats", "--csv").out, newline=""))
    written = {line["figure"]: line["value"] for line in table}
    assert written["outcomes.connected"] == str(figures["outcomes"]["connected"])
    assert [written[f"waits.counts.{at}"] for at in range(3)] == list(
        map(str, figures["waits"]["counts"][:3])
    )
    assert written["reconciled.agrees"] == "True" and len(written) > 100
    lines = [" ".join(line.split()) for line in office.run("stats").out.splitlines()]
    assert f"Calls {len(past):,}" in lines and "Operators" in lines and "Numbers dialled" in lines
    assert lines.count("Waiting for an operator") == 1  # above both of its tables


def test_rows_and_chain_that_do_not_agree_are_told_whatever_the_figures_are_of(office: Office) -> None:
    row, _ = office.call(timedelta(days=90)), office.call()
    with sqlite3.connect(office.folder / "retention.db", isolation_level=None) as database:
        database.execute(
            "INSERT INTO receipts (id, started_at, decision) VALUES ('x', '2026-11-24T10:00:00.000Z', 'y')"
        )
        database.execute("DROP TRIGGER recordings_stay")
        database.execute(f"DELETE FROM recordings WHERE id = '{row.id}'")
    page = office.folder / "page.html"
    result = office.run("stats", "--since", "1d", "--html", page, "--json")
    assert result.code == 1 and 'class="alarm"' in page.read_text()
    reconciled = json.loads(result.out)["reconciled"]
    assert reconciled["receipts"] == {"rows": 3, "chain": 2}
    assert result.err == (
        "sipagent: these figures do not agree with the chain; receipts: 3 kept, 2 in the chain; "
        "recordings: 1 kept, 2 in the chain (see `sipagent verify`)\n"
    )


def test_the_page_is_written_whole_and_replaces_nothing_unasked(office: Office) -> None:
    page = office.folder / "page.html"
    office.call()
    assert office.run("stats", "--html", page).out == f"wrote {page}\n"
    french = page.read_text()
    assert french.startswith('<!DOCTYPE html>\n<html lang="fr">') and french.endswith("</html>\n")
    assert "Statistiques des appels" in french
    assert f"{page} exists; --force replaces it" in office.fails(1, "stats", "--html", page)
    english = CONFIG.replace("[service]\n", '[service]\nlanguage = "en"\n')
    (office.folder / "config.toml").write_text(english)
    assert told(office, "stats", "--html", str(page), "--force")["calls"] == 1  # and JSON
    assert '<html lang="en">' in page.read_text() and "Call statistics" in page.read_text()
    assert [path.name for path in office.folder.glob(".*")] == []
    nowhere = office.folder / "absent/page.html"
    assert "absent is not a directory" in office.fails(1, "stats", "--html", nowhere)
    assert "is a directory" in office.fails(2, "stats", "--html", office.folder)

"""`delete`, `note`, `hold`, `release`, `holds`: what each asks, says and passes on.

What rules say and what stays: test_operations, test_hold.
"""

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention import outbox
from retention.records import Access, Status, due_date
from sipagent.cli import program
from tests.kept import CALLER, Paths
from tests.office import PARIS, Office, make_office

SAID = ("--reason", "request 2026-118", "--by", "Durand")
TOMORROW = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
HOLD = {
    **{"--ground": "criminal", "--reference": "complaint 41", "--by": "Durand", "--approved-by": "Petit"},
    "--review": TOMORROW,
}
SHEET = "Greeting: good.\nAdvice: complete, échéance rappelée."
ARTICLE = "Cites article 201 of the code.\nWas told of room 201."


class Keyboard(io.StringIO):
    """A terminal at which this is typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    office = make_office(tmp_path, capsys)
    config = office.folder / "config.toml"
    config.write_text(config.read_text().replace("[service]", '[service]\nlanguage = "en"'))
    (office.folder / "sheet.txt").write_text(SHEET, encoding="utf-8")
    return office


def last(office: Office, id: str) -> Access:
    return office.archive.store.accesses(id)[-1]


def hold(**changes: str) -> list[str]:
    """Options of a good hold, some changed."""
    changed = {f"--{name.replace('_', '-')}": text for name, text in changes.items()}
    return [word for option in (HOLD | changed).items() for word in option]


def test_delete_prints_a_certificate_that_can_be_handed_to_a_person(office: Office) -> None:
    row, paper = office.call(started_at=datetime(2026, 11, 24, 22, 20, tzinfo=UTC)), office.folder / "paper"
    copy = ("--purpose", "quality", "--by", "P", "--out", office.folder / "a.wav")
    assert office.run("export", row.id, *copy).code == 0
    (there := office.folder / "there.txt").touch()
    for path, problem in (
        (there, "there.txt exists; accepted: the name of a new file"),
        (office.folder / "recordings" / "paper.txt", "is among the recordings"),
        (office.folder / "nowhere" / "paper.txt", "nowhere: No such file or directory"),
    ):
        assert problem in office.fails(1, "delete", row.id, *SAID, "--certificate", path)
    assert Paths(office.archive).file(row.id) is not None  # what cannot be certified is not deleted
    result = office.run("delete", row.id, *SAID, "--certificate", paper)
    assert result.code == 0 and paper.read_text(encoding="utf-8") == result.out
    assert paper.stat().st_mode & 0o777 == 0o600
    lines, head = [line.strip() for line in result.out.splitlines()], office.archive.store.head()
    assert {"CERTIFICATE OF DELETION", row.sha256, head.hash, "Signature:"} <= {*lines}
    assert f"- {office.folder / 'a.wav'}, exported on " in result.out
    kept = office.archive.store.recording(row.id).to_json() | office.archive.store.receipt(row.id).to_json()
    for field in ("started_at", "ended_at", "called", "duration_s", "sha256", "bytes", "decision", "outcome"):
        assert kept[field] is not None, field  # all that the certificate says stays
    other = office.call()
    told = json.loads(office.run("delete", other.id, *SAID, "--json").out)
    assert (told["id"], told["by"], told["reason"]) == (other.id, "Durand", "request 2026-118")
    assert f"{row.id}: it is already purged (" in office.fails(1, "delete", row.id, *SAID)
    assert (last(office, row.id).action, last(office, row.id).outcome) == ("delete", "refused")
    for words, problem in (
        ((row.id, "--by", "Durand"), "missing option '--reason'"),
        ((row.id, "--reason", " ", "--by", "Durand"), "'--reason': says nothing"),
        (SAID, "neither is given; accepted: id, or --caller number"),
        ((row.id, "--caller", CALLER, *SAID), "both are given"),
        (("--caller", "Jane", *SAID, "--yes"), "is not a number"),
    ):
        assert problem in office.fails(2, "delete", *words).lower()


def test_all_calls_of_a_person_at_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [office.call(timedelta(hours=n)) for n in (3, 2, 1)]
    other, held = office.call(caller="+33612345679"), office.call(timedelta(hours=9))
    assert office.run("hold", held.id, *hold()).code == 0
    asked = ("delete", "--caller", "06 12 34 56 78", *SAID)

    assert "accepted: --yes, or a terminal" in office.run(*asked).err
    monkeypatch.setattr("sys.stdin", Keyboard("n\n"))
    result = office.run(*asked)
    assert result.code == 1 and "nothing was done" in result.err and all(row.id in result.err for row in rows)
    assert "Forget 4 calls of 06 12 34 56 78 for ever?" in result.err and other.id not in result.err
    assert "A number is no proof of identity" in result.err and result.err.count("verified A") == 4
    assert [office.archive.store.receipt(row.id).caller for row in rows] == [CALLER] * 3

    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    paper = office.folder / "paper.txt"
    result = office.run(*asked, "--certificate", paper)
    assert result.code == 1 and f"{held.id}: it is on hold (criminal), to be reviewed" in result.err
    assert paper.read_text(encoding="utf-8") == result.out
    assert [page.splitlines()[0] for page in result.out.split("\f")] == ["CERTIFICATE OF DELETION"] * 3
    store = office.archive.store
    assert [store.recording(row.id).status for row in rows] == [Status.PURGED] * 3
    assert store.receipt(other.id).caller == "+33612345679"
    (told,) = json.loads(office.run("delete", "--caller", "+33612345679", *SAID, "--yes", "--json").out)
    assert told["id"] == other.id
    said = office.fails(1, "delete", "--caller", "0612", *SAID, "--yes")
    assert "no call of this caller is kept" in said


# --- note ---


def listen(office: Office, id: str, name: str = "call.wav") -> Path:
    out = office.folder / name
    assert office.run("export", id, "--purpose", "quality", "--by", "Durand", "--out", out).code == 0
    return out


def note(office: Office, id: str, source: object = "sheet.txt") -> list[object]:
    name = source if source == "-" else office.folder / str(source)
    return ["note", id, "--by", "Durand", "--text-file", name]


def test_a_note_is_filed_from_a_file_or_from_stdin(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()
    listen(office, row.id)
    result = office.run(*note(office, row.id))
    (kept,) = office.archive.store.notes(row.id)
    assert (kept.by, kept.text, kept.expires_at) == ("Durand", SHEET, due_date(kept.at, "1 year"))
    day = f"{kept.expires_at.astimezone(PARIS):%Y-%m-%d}"
    assert (result.code, result.out) == (0, f"{row.id}: filed, kept until {day}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"\ufeff{SHEET}\r\n".encode())))
    assert office.run(*note(office, row.id, "-")).code == 0
    assert office.archive.store.notes(row.id)[1].text == SHEET
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    (office.folder / "bad.txt").write_bytes(b"caf\xe9")
    for source, said in (
        ("-", "stdin: is empty"),
        ("bad.txt", "bad.txt: is not UTF-8 text"),
        ("no.txt", "no.txt: No such file or directory"),
    ):
        assert said in office.fails(1, *note(office, row.id, source))
    assert "missing option '--by'" in office.fails(2, "note", row.id, "--text-file", "-").lower()


def test_what_would_be_cut_out_is_shown_before_it_is_filed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extension's number is a number like any other: whoever wrote it knows which was meant."""
    row = office.call(operator="sip:201@pbx.example.net")
    (office.folder / "sheet.txt").write_text(ARTICLE)
    asked = note(office, row.id)
    assert "nobody has listened to it" in office.fails(1, *asked)
    listen(office, row.id)
    line = office.fails(1, *asked)
    assert f"{row.id}: … would take the place of what is in brackets: `Cites article [201] of the" in line
    assert line.endswith("`; accepted: --yes\n") and line.count("[201]") == 2
    monkeypatch.setattr(sys, "stdin", Keyboard("n\n"))
    result = office.run(*asked)
    assert (result.code, result.out) == (1, "") and "nothing was filed" in result.err
    assert "  Cites article [201] of the code.\n  Was told of room [201].\nFile it so? [y/N]" in result.err
    assert office.archive.store.notes(row.id) == [] and last(office, row.id).outcome == "refused"
    monkeypatch.setattr(sys, "stdin", Keyboard("y\n"))
    assert "was cut out of it" in office.run(*asked).out
    assert office.archive.store.notes(row.id)[0].text == "Cites article … of the code.\nWas told of room …."
    assert office.run(*asked, "--yes").code == 0


def test_the_audio_goes_with_its_note_unless_it_is_held(office: Office) -> None:
    with (office.folder / "config.toml").open("a") as file:
        file.write("[retention]\nerase_after_note = true\n")
    row, held = office.call(), office.call()
    there, gone = listen(office, row.id), listen(office, row.id, "gone.wav")
    gone.unlink()
    listen(office, held.id, "held.wav")
    assert office.run("hold", held.id, *hold()).code == 0
    result = office.run(*note(office, row.id))
    assert result.code == 0 and "; the audio is erased\n" in result.out
    assert f"Copies of it went out; they remain to be deleted where they are:\n  {there}\n" in result.out
    assert "gone.wav" not in result.out and Paths(office.archive).file(row.id) is None
    result = office.run(*note(office, held.id))
    said = f"; the audio stays, it is on hold (criminal), to be reviewed {TOMORROW}\n"
    assert result.code == 0 and said in result.out and Paths(office.archive).file(held.id) is not None
    assert "nothing needs the audio any more: see `delete`" in office.run("release", held.id, "--by", "A").out


# --- hold ---


def test_a_hold_survives_purge_until_it_is_released(office: Office) -> None:
    row = office.call(timedelta(days=200))
    result = office.run("hold", row.id, *hold(reference="\u00a0complaint\u202f41"))
    assert (result.code, result.out) == (0, f"{row.id}: on hold (criminal), to be reviewed {TOMORROW}\n")
    kept = {name.removeprefix("--").replace("-", "_"): text for name, text in HOLD.items()}
    assert office.archive.store.recording(row.id).hold == kept  # a no-break space is a space
    assert office.run("hold", row.id, *hold(), "--renew").code == 0
    assert office.run("purge").code == 0 and Paths(office.archive).file(row.id) is not None
    result = office.run("release", row.id, "--by", "Durand", "--reason", "case closed")
    assert result.code == 0 and f"{row.id}: released; it was due 20" in result.out
    assert "the next purge takes it" in result.out
    use = last(office, row.id)
    told = (use.action, use.outcome, use.reference, use.detail)
    assert told == ("release", "done", "complaint 41", "case closed")


def test_what_cannot_be_read_is_usage(office: Office) -> None:
    for changes, problem in (
        ({"review": "soon"}, "--review: 'soon' is not a day; accepted: 2027-01-31, 90d"),
        ({"reference": " "}, "'--reference': says nothing"),
        *(({"by": by}, "'--by': is not one line of text") for by in ("a\nb", "a\udcff")),
        ({"reference": "x" * 501}, "'--reference': is too long; accepted: 500 characters"),
    ):
        assert problem in office.fails(2, "hold", "x", *hold(**changes)).lower()
    words = hold()
    for place in range(0, len(words), 2):  # every option is needed
        line = office.fails(2, "hold", "x", *words[:place], *words[place + 2 :])
        assert f"missing option '{words[place]}'" in line


def test_holds_lists_overdue_reviews_first_by_the_days_of_the_service(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert office.run("holds").out == "Nothing is on hold.\n"
    assert json.loads(office.run("holds", "--json").out) == []
    late, soon, unreadable, free = (office.call() for _ in range(4))
    kept = office.archive
    office.run("hold", soon.id, *hold())
    for row, review in ((late, "2026-01-31"), (unreadable, "some day")):
        office.run("hold", row.id, *hold())
        held = kept.store.recording(row.id)
        kept.change(replace(held, hold=(held.hold or {}) | {"review": review}))
    result = office.run("holds")
    ids = [line.split()[0] for line in result.out.splitlines()[1:4]]
    assert ids == [unreadable.id, late.id, soon.id] and free.id not in result.out
    assert "2026-01-31 OVERDUE" in result.out and f"{TOMORROW} OVERDUE" not in result.out
    assert "3 holds" in result.out and "2 reviews overdue" in result.out
    shown = json.loads(office.run("holds", "--json").out)
    assert [row["review_overdue"] for row in shown] == [True, True, False]
    assert shown[1]["hold"]["reference"] == "complaint 41" and shown[1]["id"] == late.id
    monkeypatch.setattr(program, "now", lambda: datetime(2026, 11, 24, 23, 30, tzinfo=UTC))
    row = office.call(expires_at=datetime(2999, 1, 1, tzinfo=UTC))  # it is the next day in Paris
    said = office.fails(1, "hold", row.id, *hold(review="2026-11-25"))
    assert f"{row.id}: the review of 2026-11-25 is not in the future" in said
    assert office.run("hold", row.id, *hold(review="1d")).code == 0


def told(office: Office, *words: str) -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = json.loads(office.run("events", *words, "--json").out)
    return every


def test_events_are_listed_and_one_that_failed_is_put_back(office: Office) -> None:
    now = datetime.now(UTC)
    outbox.collect(office.archive.store, now)
    assert office.run("events").out == "No events.\n"
    row = office.call()
    first, *_ = outbox.due(office.archive.store, now, 9)
    outbox.failed(office.archive.store, first.id, now, "503 Service Unavailable", None)
    (waiting,) = (one for one in told(office) if one["id"] != first.id)
    (lost,) = told(office, "--failed")
    assert (lost["id"], lost["call"], lost["state"], lost["why"]) == (
        *(first.id, row.id, "failed", "503 Service Unavailable"),
    )
    table = office.run("events").out
    assert first.id in table and "recording.closed" in table and "1 has failed" in table
    assert office.run("events", "retry", "evt_", "--by", "Durand").code == 1  # which of the two?
    refused = office.run("events", "retry", waiting["id"], "--by", "Durand")
    assert refused.code == 1 and refused.err.count("\n") == 1
    done = office.run("events", "retry", first.id[4:16], "--by", "Durand")
    assert (done.code, done.out) == (0, f"{first.id}: waits again\n")
    traced = [(use.outcome, use.by) for use in office.archive.store.accesses() if use.action == "retry"]
    assert traced == [("refused", "Durand"), ("done", "Durand")]
    assert told(office, "--failed") == []

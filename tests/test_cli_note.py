"""`note`: the analysis of a call that was listened to."""

import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.records import Access, Status, due_date, new_id
from retention.verify import verify
from sipagent.lookup.parsing import NOTE_LIMIT
from tests.kept import START, Paths, bytes_under, recording
from tests.office import PARIS, Office, make_office
from tests.test_cli_delete import OPTIONS, Keyboard

SHEET = "Greeting: good.\nAdvice: complete, échéance rappelée."


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    office = make_office(tmp_path, capsys)
    (office.folder / "sheet.txt").write_text(SHEET, encoding="utf-8")
    return office


def buffer(office: Office) -> None:
    """The audio goes with its note."""
    with (office.folder / "config.toml").open("a") as file:
        file.write("[retention]\nerase_after_note = true\n")


def listen(office: Office, id: str, name: str = "call.wav", purpose: str = "quality") -> Path:
    out = office.folder / name
    office.run("export", id, "--purpose", purpose, "--by", "Durand", "--out", out)
    return out


def note(office: Office, id: str, source: object = "sheet.txt") -> list[object]:
    name = source if source == "-" else office.folder / str(source)
    return ["note", id, "--by", "Durand", "--text-file", name]


def last(office: Office, id: str) -> Access:
    return office.archive.store.accesses(id)[-1]


def test_a_note_is_filed_for_its_period(office: Office) -> None:
    row = office.call()
    listen(office, row.id)
    result = office.run(*note(office, row.id))
    (kept,) = office.archive.store.notes(row.id)
    assert (kept.by, kept.text) == ("Durand", SHEET)
    assert kept.expires_at == due_date(kept.at, "1 year")
    assert result.code == 0
    assert result.out == f"{row.id}: filed, kept until {kept.expires_at.astimezone(PARIS):%Y-%m-%d}\n"
    use = last(office, row.id)
    assert (use.action, use.outcome, use.by, use.detail) == ("note", "done", "Durand", None)
    assert Paths(office.archive).file(row.id) is not None
    assert office.run(*note(office, row.id)).code == 0 and len(office.archive.store.notes(row.id)) == 2
    assert verify(office.archive).problems == []


def test_a_note_is_forgotten_after_its_period(office: Office) -> None:
    row = office.call()
    listen(office, row.id)
    office.run(*note(office, row.id))
    later = (datetime.now(UTC) + timedelta(days=400)).date()
    assert office.run("purge", "--now", later, "--force", "--by", "Durand").code == 0
    (kept,) = office.archive.store.notes(row.id)
    assert (kept.by, kept.text) == (None, None)
    (office.folder / "sheet.txt").unlink()
    assert b"Greeting" not in bytes_under(office.folder)


def test_nobody_has_listened(office: Office) -> None:
    row = office.call()
    listen(office, row.id, purpose="curiosity")  # refused, and no listening
    line = office.fails(1, *note(office, row.id))
    assert f"{row.id}: nobody has listened to it: an analysis comes after an export or a play" in line
    use = last(office, row.id)
    assert (use.action, use.outcome) == ("note", "refused")
    assert office.archive.store.notes(row.id) == []


def test_what_cannot_be_analysed(office: Office) -> None:
    assert "no such id" in office.fails(1, *note(office, new_id(START)))
    open_row = recording()
    office.archive.open(open_row)
    assert "still in progress" in office.fails(1, *note(office, open_row.id))
    purged = office.call(timedelta(days=200))
    office.run("purge")
    assert "it is already purged (20" in office.fails(1, *note(office, purged.id))
    assert last(office, purged.id).outcome == "refused"
    assert "missing option '--by'" in office.fails(2, "note", purged.id, "--text-file", "-").lower()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n\t\r\n", "is empty"),
        (b"caf\xe9", "is not UTF-8 text"),
        (b"a\0b", "holds control characters, it is not plain text"),
        (b"\x1b[2J", "holds control characters"),
        (b"x" * (NOTE_LIMIT + 1), f"is longer than {NOTE_LIMIT // 1024} KiB"),
    ],
)
def test_what_is_no_text(office: Office, content: bytes, problem: str) -> None:
    row = office.call()
    listen(office, row.id)
    (office.folder / "bad.txt").write_bytes(content)
    assert f"bad.txt: {problem}" in office.fails(1, *note(office, row.id, "bad.txt"))
    assert office.archive.store.notes(row.id) == []


def test_a_file_that_cannot_be_read(office: Office) -> None:
    row = office.call()
    assert "no.txt: No such file or directory" in office.fails(1, *note(office, row.id, "no.txt"))


def test_the_text_from_stdin(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()
    listen(office, row.id)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"\ufeff{SHEET}\r\n".encode())))
    assert office.run(*note(office, row.id, "-")).code == 0
    assert office.archive.store.notes(row.id)[0].text == SHEET
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert "stdin: is empty" in office.fails(1, *note(office, row.id, "-"))


def test_what_leads_to_the_two_is_cut_out(office: Office) -> None:
    row = office.call()
    listen(office, row.id)
    text = "06 12 34 56 78 was rude to marie.durand"
    (office.folder / "sheet.txt").write_text(text)
    result = office.run(*note(office, row.id), "--yes")
    assert "What led to the caller or the operator was cut out of it." in result.out
    assert office.archive.store.notes(row.id)[0].text == "06 … was rude to …"


ARTICLE = "Cites article 201 of the code.\nWas told of room 201."


def test_what_would_be_cut_out_is_shown_before_it_is_filed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extension's number is a number like any other: whoever wrote it knows which was meant."""
    row = office.call(operator="sip:201@pbx.example.net")
    listen(office, row.id)
    (office.folder / "sheet.txt").write_text(ARTICLE)
    asked = note(office, row.id)
    monkeypatch.setattr(sys, "stdin", Keyboard("n\n"))
    result = office.run(*asked)
    assert (result.code, result.out) == (1, "") and "nothing was filed" in result.err
    assert "  Cites article [201] of the code.\n  Was told of room [201].\nFile it so? [y/N]" in result.err
    assert office.archive.store.notes(row.id) == []
    use = last(office, row.id)
    assert (use.outcome, use.detail) == ("refused", "its text names the caller or the operator")
    monkeypatch.setattr(sys, "stdin", Keyboard("y\n"))
    assert office.run(*asked).code == 0
    (kept,) = office.archive.store.notes(row.id)
    assert kept.text == "Cites article … of the code.\nWas told of room …."


def test_a_program_says_yes(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call(operator="sip:201@pbx.example.net")
    listen(office, row.id)
    (office.folder / "sheet.txt").write_text(ARTICLE * 4)
    line = office.fails(1, *note(office, row.id))
    assert f"{row.id}: … would take the place of what is in brackets: `Cites article [201] of the" in line
    assert line.endswith("`, …; accepted: --yes\n") and line.count("[201]") == 5
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ARTICLE.encode())))
    assert "accepted: --yes" in office.fails(1, *note(office, row.id, "-"))
    assert office.archive.store.notes(row.id) == []
    assert office.run(*note(office, row.id), "--yes").code == 0


def test_what_cannot_be_filed_is_not_asked_about(office: Office) -> None:
    row = office.call(operator="sip:201@pbx.example.net")
    (office.folder / "sheet.txt").write_text(ARTICLE)
    assert "nobody has listened to it" in office.fails(1, *note(office, row.id))


def test_the_audio_goes_with_its_note(office: Office) -> None:
    buffer(office)
    row = office.call()
    there, gone = listen(office, row.id), listen(office, row.id, "gone.wav")
    gone.unlink()
    result = office.run(*note(office, row.id))
    assert result.code == 0 and "; the audio is erased\n" in result.out
    assert "Copies of it were exported, and are still there:" in result.out
    assert f"\n  {there}\n" in result.out and "gone.wav" not in result.out
    store = office.archive.store
    assert Paths(office.archive).file(row.id) is None and store.recording(row.id).status is Status.PURGED
    assert store.notes(row.id)[0].text == SHEET
    assert [(use.action, use.outcome) for use in store.accesses(row.id)[-2:]] == [
        ("note", "done"),
        ("purge", "done"),
    ]
    assert "it is already purged (20" in office.fails(1, *note(office, row.id))
    assert verify(office.archive).problems == []


def test_what_is_on_hold_keeps_its_audio(office: Office) -> None:
    buffer(office)
    row = office.call()
    listen(office, row.id)
    assert office.run("hold", row.id, *OPTIONS, "--review", "2999-01-01").code == 0
    result = office.run(*note(office, row.id))
    assert (
        result.code == 0
        and "; the audio stays, it is on hold (criminal), to be reviewed 2999-01-01\n" in result.out
    )
    assert Paths(office.archive).file(row.id) is not None and len(office.archive.store.notes(row.id)) == 1
    assert (
        last(office, row.id).detail == "the audio stays, it is on hold (criminal), to be reviewed 2999-01-01"
    )
    assert "nothing needs the audio any more: see `delete`" in office.run("release", row.id, "--by", "A").out


@pytest.mark.parametrize("step", ["add_note", "add_access", "erase_files", "end_purge"])
def test_a_crash_erases_nothing_that_has_no_note(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever the step: either nothing has happened, or there is a note and the next purge erases."""
    buffer(office)
    row = office.call()
    listen(office, row.id)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    where = "retention.sqlite.Store" if step.startswith("add") else "retention.erase"
    with monkeypatch.context() as patch:
        patch.setattr(f"{where}.{step}", dies)
        assert office.run(*note(office, row.id)).code == 1
    store = office.archive.store
    filed = len(store.notes(row.id))
    assert filed == (0 if step.startswith("add") else 1)
    assert store.recording(row.id).status is (Status.PURGING if filed else Status.CLOSED)
    assert office.run("purge").code == 0
    assert (Paths(office.archive).file(row.id) is None) == bool(filed)
    assert verify(office.archive).problems == []


def test_a_file_that_does_not_go_is_tried_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer(office)
    row = office.call()
    listen(office, row.id)

    def stuck(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stuck)
        line = office.fails(1, *note(office, row.id))
    assert "Operation not permitted; the note is filed, the next purge erases" in line
    assert last(office, row.id).outcome == "failed" and len(office.archive.store.notes(row.id)) == 1
    office.run("purge")
    assert Paths(office.archive).file(row.id) is None

"""`delete`: one call forgotten, and the certificate that says so."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.records import Access, Note, Status, new_id
from retention.verify import verify
from tests.kept import CALLER, START, Paths, bytes_under, receipt, recording
from tests.office import Office, make_office
from tests.sealing import make_sealed_office, sealed_call

SAID = ("--reason", "request 2026-118", "--by", "Durand")
OPTIONS = ("--ground", "criminal", "--reference", "R1", "--by", "A", "--approved-by", "B")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def last(office: Office, id: str) -> Access:
    return office.archive.store.accesses(id)[-1]


def english(office: Office) -> None:
    config = office.folder / "config.toml"
    config.write_text(config.read_text().replace("[service]", '[service]\nlanguage = "en"'))


def test_delete_removes_one_and_its_trace_stays(office: Office) -> None:
    row, other = office.call(), office.call()
    result = office.run("delete", row.id, "--reason", "request of 06 12345678", "--by", "Durand")
    assert result.code == 0 and row.id in result.out and "12345678" not in result.out
    store = office.archive.store
    assert store.recording(row.id).status is Status.PURGED
    assert store.receipt(row.id).caller is None and store.receipt(other.id).caller == CALLER
    (use,) = store.accesses(row.id)
    assert (use.action, use.by, use.detail) == ("delete", "Durand", "request of 06 …")
    assert Paths(office.archive).file(other.id) is not None and Paths(office.archive).file(row.id) is None
    line = office.fails(1, "delete", row.id, *SAID)
    assert "it is already purged (" in line
    assert last(office, row.id).outcome == "refused"
    assert verify(office.archive).problems == []


def test_nothing_of_the_person_is_left_in_any_byte(office: Office) -> None:
    row = office.call()
    office.archive.store.add_note(
        Note(recording_id=row.id, at=START, by="Durand", text="SECRET", expires_at=row.expires_at)
    )
    assert b"SECRET" in bytes_under(office.folder) and b"612345678" in bytes_under(office.folder)
    assert json.loads(office.run("delete", row.id, *SAID, "--json").out)["notes"] == 1
    left = bytes_under(office.folder)
    assert not [word for word in (b"612345678", b"marie", b"192.0.2.7", b"SECRET") if word in left]
    assert verify(office.archive).problems == []


def test_the_certificate_can_be_handed_to_a_person(office: Office) -> None:
    english(office)
    row = office.call(timedelta(days=2), started_at=datetime(2026, 11, 24, 22, 20, tzinfo=UTC))
    paper = office.folder / "paper.txt"
    result = office.run("delete", row.id, *SAID, "--certificate", paper)
    assert result.code == 0 and paper.read_text(encoding="utf-8") == result.out
    assert paper.stat().st_mode & 0o777 == 0o600
    lines = [line.strip() for line in result.out.splitlines()]
    assert lines[0] == "CERTIFICATE OF DELETION"
    for name, value in (
        ("Controller", "Test"),
        ("Reference of the call", row.id),
        ("Date of the call", "2026-11-24 23:20:00 (Europe/Paris)"),
        ("By", "Durand"),
        ("Reason", "request 2026-118"),
    ):
        assert any(line.startswith(name) and line.endswith(value) for line in lines), name
    assert row.sha256 in lines and "None is known to the service." in lines
    head = office.archive.store.head()
    assert f"Entry {head.seq} of the chain of the service, SHA-256:" in lines and head.hash in lines
    assert lines[-1] == "Signature:"
    assert all(len(line) <= 78 for line in lines)


def test_the_certificate_says_what_stays(office: Office) -> None:
    """Second and dialled number join it with a carrier's records: that is no trace without a person."""
    english(office)
    row = office.call()
    out = " ".join(office.run("delete", row.id, *SAID).out.split())
    stays = out.partition("What stays")[2].partition("Exported copies")[0]
    for part in ("exact moments", "number that was dialled", "its length", "hash of the deleted file"):
        assert part in stays
    assert "nothing that leads" not in out and "can still tell who called" in stays
    assert "analyses" not in stays
    kept = office.archive.store.recording(row.id).to_json() | office.archive.store.receipt(row.id).to_json()
    for field in ("started_at", "ended_at", "called", "duration_s", "sha256", "bytes", "decision", "outcome"):
        assert kept[field] is not None, field  # all that is named is there


def test_the_certificate_in_french(office: Office) -> None:
    row = office.call()
    out = office.run("delete", row.id, *SAID).out
    assert out.startswith("ATTESTATION D’EFFACEMENT\n")
    assert "Motif" in out and "Ce qui a été effacé" in out and "numéro de l’appelant" in out
    assert "fiche" not in out.partition("accompagnait")[2]


def test_the_certificate_as_json(office: Office) -> None:
    row = office.call()
    shown = json.loads(office.run("delete", row.id, *SAID, "--json").out)
    head = office.archive.store.head()
    assert shown["chain"] == {"seq": head.seq, "hash": head.hash}
    assert (shown["id"], shown["by"], shown["reason"]) == (row.id, "Durand", "request 2026-118")
    assert shown["recording"]["sha256"] == row.sha256 and shown["recording"]["status"] == "closed"
    assert (shown["receipt"], shown["notes"], shown["copies"]) == (True, 0, [])
    assert shown["deleted_at"].endswith("Z") and shown["started_at"].endswith("Z")


def test_copies_that_remain_are_named(office: Office) -> None:
    english(office)
    row = office.call()
    use = ("--purpose", "quality", "--by", "Petit")
    for name in ("there.wav", "gone.wav"):
        assert office.run("export", row.id, *use, "--out", office.folder / name).code == 0
    (office.folder / "gone.wav").unlink()
    out = office.run("delete", row.id, *SAID).out
    assert "remain to be deleted where they are" in out and "None is known" not in out
    assert f"- {office.folder / 'there.wav'}, exported on " in out and " by Petit\n" in out
    assert "gone.wav" not in out


def test_a_sealed_recording_loses_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = make_sealed_office(tmp_path, capsys)
    row = sealed_call(office)
    assert Paths(office.archive).key(row.id).exists()
    assert office.run("delete", row.id, *SAID).code == 0
    assert not Paths(office.archive).key(row.id).exists() and Paths(office.archive).file(row.id) is None


def test_what_is_on_hold_stays(office: Office) -> None:
    row = office.call()
    office.archive.store.add_note(
        Note(recording_id=row.id, at=START, by="Durand", text="sheet", expires_at=row.expires_at)
    )
    assert office.run("hold", row.id, *OPTIONS, "--review", "2999-01-01").code == 0
    line = office.fails(1, "delete", row.id, *SAID)
    assert line == f"sipagent: {row.id}: it is on hold (criminal), to be reviewed 2999-01-01; see `release`\n"
    use = last(office, row.id)
    assert (use.action, use.outcome) == ("delete", "refused")
    store = office.archive.store
    assert Paths(office.archive).file(row.id) is not None and store.receipt(row.id).caller == CALLER
    assert store.notes(row.id)[0].text == "sheet"


def test_a_call_without_recording_is_forgotten_too(office: Office) -> None:
    english(office)
    call = replace(receipt(recording()), recording_id=None, decision="refused")
    office.archive.store.add_receipt(call)
    result = office.run("delete", call.id, "--reason", "asked by 06 12 34 56 78", "--by", "marie.durand")
    assert result.code == 0 and "No sound of this call was kept." in result.out
    assert "the caller’s number" in result.out
    assert "hash" not in result.out.replace("SHA-256", "") and "deleted file" not in result.out
    assert office.archive.store.receipt(call.id) == call.anonymous()
    use = last(office, call.id)
    assert (use.by, use.detail) == ("…", "asked by 06 …")
    line = office.fails(1, "delete", call.id, *SAID)
    assert "this call has no recording, and its receipt leads to nobody" in line


def test_what_a_purge_left_is_forgotten(office: Office) -> None:
    """The recording has gone by its date; the receipt, which has its own, has not."""
    with (office.folder / "config.toml").open("a") as file:
        file.write('[retention]\nperiod = "1 month"\n')
    english(office)
    row = office.call(timedelta(days=40))
    assert office.run("purge").code == 0
    assert office.archive.store.receipt(row.id).caller == CALLER
    result = office.run("delete", row.id, *SAID)
    assert result.code == 0 and "The sound recording had been deleted before, on " in result.out
    assert office.archive.store.receipt(row.id).caller is None


def test_what_delete_does_not_do(office: Office) -> None:
    assert "no such id" in office.fails(1, "delete", new_id(START), *SAID)
    row = recording()
    office.archive.open(row)
    assert "still in progress" in office.fails(1, "delete", row.id, *SAID)
    assert last(office, row.id).outcome == "refused"
    call = replace(receipt(recording()), ended_at=None)
    office.archive.store.add_receipt(call)
    assert "still in progress" in office.fails(1, "delete", call.id, *SAID)
    assert "--reason" in office.fails(2, "delete", row.id, "--by", "Durand")
    assert "'--reason': says nothing" in office.fails(2, "delete", row.id, "--reason", " ", "--by", "Durand")


def test_a_certificate_that_cannot_be_written_deletes_nothing(office: Office) -> None:
    row, paper = office.call(), office.folder / "paper.txt"
    paper.touch()
    for path, problem in (
        (paper, "paper.txt exists; accepted: the name of a new file"),
        (office.folder / "recordings" / "paper.txt", "is among the recordings"),
        (office.folder / "nowhere" / "paper.txt", "nowhere: No such file or directory"),
    ):
        assert problem in office.fails(1, "delete", row.id, *SAID, "--certificate", path)
    assert Paths(office.archive).file(row.id) is not None


def test_a_file_that_does_not_go_is_tried_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()

    def stuck(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stuck)
        assert "the next purge tries again" in office.fails(1, "delete", row.id, *SAID)
    assert [use.outcome for use in office.archive.store.accesses(row.id)] == ["done", "failed"]
    assert office.archive.store.recording(row.id).status is Status.PURGING
    assert office.run("delete", row.id, *SAID).code == 0
    assert office.archive.store.recording(row.id).status is Status.PURGED


def test_what_a_crash_left_is_finished_by_the_next_purge(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = office.call()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("retention.erase.erase_files", dies)
        assert office.run("delete", row.id, *SAID).code == 1
    assert Paths(office.archive).file(row.id) is not None and last(office, row.id).action == "delete"
    assert office.run("purge").code == 0
    assert Paths(office.archive).file(row.id) is None
    assert office.archive.store.receipt(row.id).caller is None


def test_what_can_be_no_id(office: Office) -> None:
    for id in ("../config", "\udcff", "é"):
        assert "no such id" in office.fails(1, "delete", id, *SAID)
        assert "no such id" in office.fails(1, "show", id)


class Keyboard(io.StringIO):
    """A terminal at which this is typed."""

    def isatty(self) -> bool:
        return True


def test_all_calls_of_a_person_at_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    english(office)
    rows = [office.call(timedelta(hours=n)) for n in (3, 2, 1)]
    other = office.call(caller="+33612345679")
    refused = replace(receipt(recording(caller=CALLER)), recording_id=None, decision="refused")
    office.archive.store.add_receipt(refused)
    asked = ("delete", "--caller", "06 12 34 56 78", *SAID)

    assert "accepted: --yes, or a terminal" in office.run(*asked).err
    monkeypatch.setattr("sys.stdin", Keyboard("n\n"))
    result = office.run(*asked)
    assert result.code == 1 and "nothing was done" in result.err and all(row.id in result.err for row in rows)
    assert "Forget 4 calls of 06 12 34 56 78 for ever?" in result.err and other.id not in result.err
    assert [office.archive.store.receipt(row.id).caller for row in rows] == [CALLER] * 3

    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    paper = office.folder / "paper.txt"
    result = office.run(*asked, "--certificate", paper)
    assert result.code == 0 and paper.read_text(encoding="utf-8") == result.out
    assert [page.splitlines()[0] for page in result.out.split("\f")] == ["CERTIFICATE OF DELETION"] * 4
    store = office.archive.store
    assert [store.recording(row.id).status for row in rows] == [Status.PURGED] * 3
    assert store.receipt(refused.id).caller is None and store.receipt(other.id).caller == "+33612345679"
    assert "no call of this caller is kept" in office.fails(1, *asked, "--yes")


def test_a_part_of_a_number_is_nobody(office: Office) -> None:
    row = office.call()
    for part in ("0612", "345678", "+3361234567"):
        assert "no call of this caller is kept" in office.fails(1, "delete", "--caller", part, *SAID, "--yes")
    assert "is not a number" in office.fails(2, "delete", "--caller", "Jane", *SAID, "--yes")
    assert office.archive.store.receipt(row.id).caller == CALLER


def test_of_a_persons_calls_what_is_held_stays(office: Office) -> None:
    rows = [office.call(timedelta(hours=n)) for n in (3, 2)]
    assert office.run("hold", rows[0].id, *OPTIONS, "--review", "2999-01-01").code == 0
    result = office.run("delete", "--caller", CALLER, *SAID, "--yes", "--json")
    assert result.code == 1 and f"{rows[0].id}: it is on hold (criminal)" in result.err
    assert result.err.count("\n") == 2  # the other line says whose configuration it follows
    assert [one["id"] for one in json.loads(result.out)] == [rows[1].id]
    assert last(office, rows[0].id).outcome == "refused"


def test_an_id_or_a_caller(office: Office) -> None:
    row = office.call()
    assert "neither is given; accepted: ID, or --caller NUMBER" in office.fails(2, "delete", *SAID)
    assert "both are given" in office.fails(2, "delete", row.id, "--caller", CALLER, *SAID)

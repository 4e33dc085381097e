"""A recording's row and its files, from the first to the last. What must go is found by its mark or its rows,
and tried again until it is gone; what is left over is told."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from retention import files, reserve
from retention.archive import Archive
from retention.erase import (
    allows,
    begin_purge,
    delete,
    end_purge,
    erase,
    erase_files,
    erase_row,
    fail,
    stuck,
    to_erase,
)
from retention.holds import place
from retention.marks import ERASED, ArchiveError, Mark
from retention.purge import preview, purge
from retention.rebuild import rebuild
from retention.recording_files import FileKind, in_row
from retention.records import Access, Event, Hold, Recording, Status, due_date
from retention.rows.rows import StoreError, UnknownId
from retention.verify import orphans, verify
from tests import kept
from tests.both import BOTH
from tests.kept import ANN, CALLER, SOUND, START, TERMS, Paths, archive_of, keep, receipt, recording
from tests.read_only import read_only

DATABASES = BOTH

LATE = due_date(START, "2 years")
BY = Access(at=START, action="", by="A. Roux")
HOLD = Hold(ground="criminal", reference="7", by="A", approved_by="B", review="2030-01-01")
REFUSED: dict[str, Any] = {"decision": "refused", "decided_by": "dtmf"}
STOPPED: dict[str, Any] = {"decision": "not_allowed", "decided_by": "operator"}
FAULT: dict[str, Any] = {"decision": "not_allowed", "decided_by": "recorder_fault"}
LINE = Event(at=START, what=ERASED, by="agent")


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "MOMENT_S", 0.05)


def begun(archive: Archive, minutes: int = 0, **told: Any) -> Recording:
    """A call that is on, with its key, its part, and its receipt."""
    row = recording(minutes)
    archive.store.add_receipt(receipt(row, ended_at=None, **told))
    archive.open(row).write_bytes(SOUND)
    archive.vault.create(row.id, [ANN.public])
    return row


def mark(archive: Archive, row: Recording, **told: Any) -> None:
    archive.marks.sync(archive.marks.make(Mark.of(receipt(row, **told), START)))


def left(archive: Archive, row: Recording) -> list[str]:
    """What is on the disk of it."""
    names = [*archive.names(), *archive.keys()]
    return sorted(name.partition(".")[2] for name, id in names if id == row.id)


def is_erased(archive: Archive, row: Recording) -> bool:
    return (left(archive, row), archive.store.recording(row.id).status) == ([], Status.ERASED)


def told_beside(archive: Archive, row: Recording) -> Any:
    return json.loads(Paths(archive).metadata(row.id).read_text())


def test_the_row_is_there_before_the_file_and_the_metadata_once_it_is_closed(archive: Archive) -> None:
    row = recording()
    part = archive.open(row)
    assert archive.store.recording(row.id) == row and archive.unfinished() == [row]
    assert part == Paths(archive).recordings / f"{row.id}.part" and not part.exists()
    with pytest.raises(Exception, match="this one is there"):
        archive.open(row)
    for act, said in ((archive.close, "no finished file"), (archive.change, "is open")):
        with pytest.raises(ArchiveError, match=said):
            act(row)
    part.write_bytes(SOUND)
    part.rename(Paths(archive).final(row.id, "flac"))
    closed = archive.close(row)
    assert closed == archive.store.recording(row.id) and archive.unfinished() == []
    assert (closed.status, closed.path) == (Status.CLOSED, f"recordings/{row.id}.flac")
    assert (closed.bytes, closed.sha256) == (len(SOUND), sha256(SOUND).hexdigest())
    assert Recording.from_json(told_beside(archive, row)) == closed
    flagged = replace(closed, flagged=True)
    archive.change(flagged)
    assert archive.store.recording(row.id) == flagged == Recording.from_json(told_beside(archive, row))
    assert left(archive, row) == ["flac", "json"]
    with pytest.raises(ArchiveError, match="not the id"):
        archive.open(recording(id="../x"))
    with pytest.raises(UnknownId):
        archive.change(recording(1))


@pytest.mark.parametrize("when", ["at the close", "afterwards"])
def test_what_is_sealed_is_not_told_in_clear_where_the_key_is_away(archive: Archive, when: str) -> None:
    """The disk of the vault is not mounted, say, when somebody puts a recording on hold."""
    row, vault = recording(), Paths(archive).vault
    archive.open(row)
    archive.vault.create(row.id, [ANN.public])
    Paths(archive).final(row.id, "sealed").write_bytes(SOUND)
    away = vault.with_name("away")
    if when == "at the close":
        vault.rename(away)
        row = archive.close(row)
    else:
        row = archive.close(row)
        vault.rename(away)
    archive.change(replace(row, hold={"ground": "criminal", "reference": "R-77", "review": "2027-01-01"}))
    text = Paths(archive).metadata(row.id).read_text()
    assert [secret for secret in (CALLER, "marie", "192.0.2.7", "R-77") if secret in text] == []
    assert told_beside(archive, row)["hold"] == {"ground": "criminal", "review": "2027-01-01"}
    away.rename(vault)
    assert verify(archive).problems == []
    for changed in (when == "at the close", True):
        if changed:
            archive.change(row)
        sealed = told_beside(archive, row)["sealed"]
        assert CALLER in archive.vault.unseal(row.id, sealed, ANN).decode()


@pytest.mark.parametrize("hold", [{}, [], "criminal", True])
def test_a_damaged_hold_in_the_metadata_alone_holds_all_the_same(archive: Archive, hold: object) -> None:
    row = keep(archive, recording())
    Paths(archive).metadata(row.id).write_text(json.dumps(row.to_json() | {"hold": hold}))
    assert not begin_purge(archive, [row.id]) and archive.store.recording(row.id) == row


def test_one_purge_of_two_has_done_it(archive: Archive) -> None:
    rows = [keep(archive, recording(minutes)) for minutes in (0, 1)]
    for row in rows:
        archive.vault.create(row.id, [ANN.public])
    ids = [row.id for row in rows]
    assert begin_purge(archive, ids) == begin_purge(archive, ids) == ids
    assert erase_files(archive, iter(ids)) == {} and [*archive.names(), *archive.keys()] == []
    assert end_purge(archive, ids, LATE) == ids
    assert not end_purge(archive, ids, LATE) and not begin_purge(archive, ids)
    assert {archive.store.recording(id).status for id in ids} == {Status.PURGED}


def test_what_must_go_is_found_by_its_mark_and_by_its_rows(archive: Archive) -> None:
    fine = [begun(archive), keep(archive, recording(1)), keep(archive, recording(2))]
    archive.store.update_receipt(receipt(fine[2], **FAULT))
    must_go = [begun(archive, 3), begun(archive, 4, **REFUSED)]
    must_go += [keep(archive, recording(minutes)) for minutes in (5, 6)]
    mark(archive, must_go[0], **REFUSED)
    archive.store.update_receipt(receipt(must_go[2], **STOPPED))
    archive.store.update_receipt(receipt(must_go[3], events=(LINE,), **FAULT))
    assert to_erase(archive) == stuck(archive) == [row.id for row in must_go]
    for row in must_go:
        erase(archive, row.id, START)
        assert is_erased(archive, row) and not allows(archive.store.receipt(row.id))
    assert to_erase(archive) == [] and verify(archive).problems == []
    assert not allows(receipt(fine[0], decision="undecided", decided_by=None))
    assert all(left(archive, row) and allows(archive.store.receipt(row.id)) for row in fine)


def test_a_mark_of_a_call_that_the_database_does_not_know_stays(archive: Archive) -> None:
    """Its rows may yet come, from a worker in which they wait; that of what was purged since goes."""
    row, gone = recording(), keep(archive, recording(1))
    kept.remove(archive, gone.id, START)
    Paths(archive).part(row.id).write_bytes(SOUND)
    for one in (row, gone):
        mark(archive, one, **REFUSED)
    with pytest.raises(UnknownId):
        erase(archive, row.id, START)
    erase(archive, gone.id, START)
    assert (left(archive, row), left(archive, gone)) == (["refused"], [])
    assert archive.store.recording(gone.id).status is Status.PURGED
    assert purge(archive, START, TERMS).failed == ()
    archive.store.add_receipt(receipt(row))
    erase(archive, row.id, START)
    assert left(archive, row) == [] and archive.store.receipt(row.id).decision == "refused"


@pytest.mark.parametrize("told", [REFUSED, STOPPED], ids=["refused", "stopped"])
def test_a_hold_keeps_what_an_operator_had_erased_and_never_what_the_caller_refused(
    archive: Archive, told: dict[str, str]
) -> None:
    """Before a file is gone; and a hold on nothing would keep the row from the purge."""
    row = keep(archive, recording())
    held = place(archive, row.id, HOLD, BY)
    mark(archive, row, **told)
    if told is REFUSED:
        assert to_erase(archive) == [row.id]
        erase(archive, row.id, START)
        assert is_erased(archive, row) and archive.store.recording(row.id).hold is None
        assert begin_purge(archive, [row.id])
        return
    assert to_erase(archive) == []
    actions: tuple[Callable[[], object], ...] = (
        lambda: erase(archive, row.id, START),
        lambda: erase_row(archive, row.id, START, "not_allowed"),
        lambda: fail(archive, row.id, START),
    )
    for act in actions:
        with pytest.raises(StoreError, match="on hold"):
            act()
    assert left(archive, row) == ["flac", "json", "refused"] and archive.store.recording(row.id) == held


@pytest.mark.in_sqlite
def test_a_row_that_cannot_be_read_is_told_and_hides_no_other(archive: Archive, tmp_path: Path) -> None:
    bad, other = begun(archive, **REFUSED), begun(archive, 1, **REFUSED)
    with closing(sqlite3.connect(tmp_path / "retention.db")) as hand, hand:
        hand.execute("UPDATE receipts SET started_at = 'once' WHERE id = ?", [bad.id])
    told: list[str] = []
    assert to_erase(archive, lambda id, problem: told.append(id)) == [other.id]
    assert told == [bad.id]


def marked_and_erased(archive: Archive, id: str, told: dict[str, Any]) -> None:
    mark(archive, archive.store.recording(id), **told)
    erase(archive, id, START)


PASSES: dict[str, tuple[Callable[[Archive, str], object], int]] = {
    # at once, and within the transaction of its row: then no other process writes to it
    "refused": (lambda archive, id: marked_and_erased(archive, id, REFUSED), 2),
    "stopped": (lambda archive, id: marked_and_erased(archive, id, STOPPED), 1),
    "purge": (lambda archive, id: purge(archive, LATE, TERMS), 1),
    "delete": (lambda archive, id: delete(archive, id, BY, lambda: START), 1),
    "fail": (lambda archive, id: fail(archive, id, START), 1),
}


@pytest.mark.parametrize("asked", PASSES)
def test_each_file_is_looked_for_once(archive: Archive, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """Its key first, its metadata last."""
    row, looked, unlink = keep(archive, recording()), list[str](), files.unlink
    archive.vault.create(row.id, [ANN.public])

    def watched(paths: Iterable[Path]) -> bool:
        paths = [*paths]
        looked.extend(path.suffix for path in paths)
        return unlink(paths)

    monkeypatch.setattr(files, "unlink", watched)
    ask, times = PASSES[asked]
    ask(archive, row.id)
    found = [suffix for suffix in looked if suffix not in (".tmp", ".refused")]
    assert found == times * [".key", ".part", ".sealed", ".flac", ".wav", ".json"]
    assert left(archive, row) == []


@pytest.mark.parametrize("marked", [True, False])
def test_what_does_not_go_is_found_told_and_tried_again(archive: Archive, marked: bool) -> None:
    """The folder of the recordings is read-only at the moment of the key; the key of the vault goes."""
    row = begun(archive, **({} if marked else REFUSED))
    if marked:
        mark(archive, row, **REFUSED)
    with read_only(Paths(archive).recordings):
        report = purge(archive, START, TERMS)
        assert [id for id, _ in report.failed] == [row.id] and report.erased == ()
        assert "part" in left(archive, row) and "key" not in left(archive, row)
        assert archive.store.receipt(row.id).decision == "refused"
        (found,) = verify(archive).problems
        assert found.where == f"recording {row.id}" and "must be erased" in found.problem
        assert preview(archive, START, TERMS).erased == (row.id,)
    assert purge(archive, START, TERMS).erased == (row.id,) and is_erased(archive, row)
    assert verify(archive).problems == [] and purge(archive, START, TERMS).erased == ()


def test_what_goes_while_we_look_is_not_told(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is just erasing it."""
    row = begun(archive, **REFUSED)
    monkeypatch.setattr("retention.reserve.time.sleep", lambda _: erase(archive, row.id, START))
    assert stuck(archive) == []


def test_what_is_marked_does_not_come_back_with_a_lost_database(archive: Archive, tmp_path: Path) -> None:
    """One that is known is erased by the rebuild."""
    fine, refused = keep(archive, recording()), keep(archive, recording(1))
    mark(archive, refused, **REFUSED)
    (tmp_path / "new").mkdir()
    other = archive_of(kept.archive(tmp_path / "new").store, Paths(archive).recordings, tmp_path)
    done = rebuild(other)
    assert (done.restored, done.problems) == ([fine.id], []) and left(archive, refused) == ["refused"]
    with pytest.raises(UnknownId):
        other.store.recording(refused.id)
    other.store.close()
    rebuild(archive)
    assert is_erased(archive, refused)


def problems(archive: Archive) -> dict[str, str]:
    return {orphan.name: orphan.problem for orphan in orphans(archive)}


def test_files_without_a_row_and_rows_without_a_file(archive: Archive) -> None:
    """None in a folder that is not there, nor in a healthy one."""
    assert problems(archive) == {}
    silent, bare, erased, untidy = (keep(archive, recording(n)) for n in range(4))
    archive.open(recording(4)).write_bytes(SOUND)
    erase_row(archive, erased.id, START)
    assert problems(archive) == {}
    Paths(archive).final(silent.id, "flac").unlink()
    Paths(archive).metadata(bare.id).unlink()
    Paths(archive).final(erased.id, "flac").write_bytes(SOUND)
    Paths(archive).part(untidy.id).write_bytes(SOUND)
    Paths(archive).part("stranger").write_bytes(SOUND)
    (Paths(archive).recordings / "notes.txt").touch()
    assert problems(archive) == {
        silent.id: "the file of a closed recording is missing",
        f"{bare.id}.json": "the metadata of a closed recording is missing",
        f"{erased.id}.flac": "the recording is erased; restored from a backup?",
        f"{untidy.id}.part": "left over from a crash; the recording is closed",
        "stranger.part": "no row in the database",
        "notes.txt": "not a file of the agent",
    }


def test_a_second_file_of_a_recording(archive: Archive) -> None:
    """In clear, say, beside the sealed one: whoever put it there would have it overlooked."""
    sealed, clear = keep(archive, recording()), keep(archive, recording(1))
    Paths(archive).final(sealed.id, "flac").rename(Paths(archive).final(sealed.id, "sealed"))
    archive.change(replace(sealed, path=in_row(archive.files, sealed.id, FileKind.SEALED)))
    archive.vault.create(sealed.id, [ANN.public])
    assert problems(archive) == {}
    for row in (sealed, clear):
        Paths(archive).final(row.id, "wav").write_bytes(SOUND)
    assert problems(archive) == {
        f"{sealed.id}.wav": f"not the file of its recording, {sealed.id}.sealed",
        f"{clear.id}.wav": f"not the file of its recording, {clear.id}.flac",
    }

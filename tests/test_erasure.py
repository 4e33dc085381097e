"""What must go and has not: found by its mark or by its rows, and tried again until it is gone."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retention import files, reserve
from retention.archive import Archive
from retention.erase import allows, delete, erase, fail, stuck, to_erase
from retention.holds import place
from retention.marks import ERASED, Mark
from retention.purge import Terms, preview, purge
from retention.rebuild import rebuild
from retention.records import Access, Event, Hold, Receipt, Recording, Status, due_date
from retention.rows.rows import StoreError, UnknownId
from retention.vault import Identity
from retention.verify import verify
from tests import kept
from tests.both import BOTH
from tests.full_disk import fill
from tests.kept import SOUND, START, Paths, archive_of, keep, receipt, recording
from tests.read_only import read_only

DATABASES = BOTH

ANN = Identity(bytes([1]) * 32, "Ann")
LATE = due_date(START, "2 years")
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
BY = Access(at=START, action="", by="A. Roux")
HOLD = Hold(ground="criminal", reference="7", by="A", approved_by="B", review="2030-01-01")
REFUSED: dict[str, Any] = {"decision": "refused", "decided_by": "dtmf"}
STOPPED: dict[str, Any] = {"decision": "not_allowed", "decided_by": "operator"}


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


# --- what must go ---


def test_what_must_go_is_found_by_its_mark_and_by_its_rows(archive: Archive) -> None:
    fine = [begun(archive), keep(archive, recording(1))]
    fault = keep(archive, recording(2))
    archive.store.update_receipt(receipt(fault, decision="not_allowed", decided_by="recorder_fault"))
    marked, open_, closed, taken_back = (
        begun(archive, 3),
        begun(archive, 4, **REFUSED),
        *(keep(archive, recording(minutes)) for minutes in (5, 6)),
    )
    mark(archive, marked, **REFUSED)
    archive.store.update_receipt(receipt(closed, **STOPPED))
    line = Event(at=START, what=ERASED, by="agent")
    told = receipt(taken_back, decision="not_allowed", decided_by="recorder_fault", events=(line,))
    archive.store.update_receipt(told)
    must_go = [marked, open_, closed, taken_back]
    assert to_erase(archive) == stuck(archive) == [row.id for row in must_go]
    for row in must_go:
        erase(archive, row.id, START)
    assert to_erase(archive) == []
    for row in must_go:
        assert (left(archive, row), archive.store.recording(row.id).status) == ([], Status.ERASED)
        assert not allows(archive.store.receipt(row.id))
    for row in (*fine, fault):
        assert left(archive, row) and allows(archive.store.receipt(row.id))
    assert verify(archive).problems == []


def test_a_mark_is_believed_whatever_the_rows_say(archive: Archive) -> None:
    row = begun(archive)
    mark(archive, row, **REFUSED, phase="call", dtmf_method="info")
    erase(archive, row.id, START)
    told = archive.store.receipt(row.id)
    assert (told.decision, told.decided_by, told.phase, told.dtmf_method) == (
        "refused",
        "dtmf",
        "call",
        "info",
    )
    assert [event.what for event in told.events] == ["decision: refused (dtmf)", ERASED]
    done = archive.store.recording(row.id)
    assert (done.status, done.decision, left(archive, row)) == (Status.ERASED, "refused", [])


def test_a_mark_outlives_rows_that_cannot_be_written(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sound does not."""
    row = begun(archive)
    mark(archive, row, **REFUSED)
    with monkeypatch.context() as patch:
        fill(patch, lambda: True)
        with pytest.raises(StoreError):
            erase(archive, row.id, START)
    assert left(archive, row) == ["refused"] and to_erase(archive) == [row.id]
    erase(archive, row.id, START)
    assert left(archive, row) == [] and archive.store.receipt(row.id).decision == "refused"


def test_a_mark_of_a_call_that_the_database_does_not_know_stays(archive: Archive) -> None:
    """Its rows may yet come, from a worker in which they wait."""
    row = recording()
    Paths(archive).recordings.mkdir()
    Paths(archive).part(row.id).write_bytes(SOUND)
    mark(archive, row, **REFUSED)
    with pytest.raises(UnknownId):
        erase(archive, row.id, START)
    assert left(archive, row) == ["refused"]
    assert purge(archive, START, TERMS).failed == ()
    archive.store.add_receipt(receipt(row))
    erase(archive, row.id, START)
    assert left(archive, row) == [] and archive.store.receipt(row.id).decision == "refused"


def test_a_mark_of_what_was_purged_since_goes(archive: Archive) -> None:
    row = keep(archive, recording())
    kept.remove(archive, row.id, START)
    mark(archive, row, **REFUSED)
    erase(archive, row.id, START)
    assert archive.store.recording(row.id).status is Status.PURGED and left(archive, row) == []


@pytest.mark.parametrize("told", [REFUSED, STOPPED], ids=["refused", "stopped"])
def test_a_hold_keeps_what_an_operator_had_erased_and_never_what_the_caller_refused(
    archive: Archive, told: dict[str, str]
) -> None:
    row = keep(archive, recording())
    place(archive, row.id, HOLD, BY)
    mark(archive, row, **told)
    if told is REFUSED:
        assert to_erase(archive) == [row.id]
        erase(archive, row.id, START)
        assert (left(archive, row), archive.store.recording(row.id).status) == ([], Status.ERASED)
        return
    assert to_erase(archive) == []
    with pytest.raises(StoreError, match="on hold"):
        erase(archive, row.id, START)
    assert left(archive, row) == ["flac", "json", "refused"]
    assert archive.store.recording(row.id).status is Status.CLOSED


@pytest.mark.in_sqlite
def test_a_row_that_cannot_be_read_is_told_and_hides_no_other(archive: Archive, tmp_path: Path) -> None:
    bad, other = begun(archive, **REFUSED), begun(archive, 1, **REFUSED)
    with closing(sqlite3.connect(tmp_path / "retention.db")) as hand, hand:
        hand.execute("UPDATE receipts SET started_at = 'once' WHERE id = ?", [bad.id])
    told: list[str] = []
    assert to_erase(archive, lambda id, problem: told.append(id)) == [other.id]
    assert told == [bad.id]


# --- one pass ---


def refused(archive: Archive, id: str) -> None:
    mark(archive, archive.store.recording(id), **REFUSED)
    erase(archive, id, START)


def stopped(archive: Archive, id: str) -> None:
    mark(archive, archive.store.recording(id), **STOPPED)
    erase(archive, id, START)


PASSES: dict[Callable[[Archive, str], object], int] = {
    refused: 2,  # at once, and within the transaction of its row: then no other process writes to it
    stopped: 1,
    lambda archive, id: purge(archive, LATE, TERMS): 1,
    lambda archive, id: delete(archive, id, BY, lambda: START): 1,
    lambda archive, id: fail(archive, id, START): 1,
}


@pytest.mark.parametrize("asked", PASSES, ids=["refused", "stopped", "purge", "delete", "fail"])
def test_each_file_is_looked_for_once(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, asked: Callable[[Archive, str], object]
) -> None:
    """Its key first, its metadata last."""
    row = keep(archive, recording())
    archive.vault.create(row.id, [ANN.public])
    looked: list[str] = []
    unlink = files.unlink

    def watched(paths: Iterable[Path]) -> bool:
        paths = [*paths]
        looked.extend(path.suffix for path in paths)
        return unlink(paths)

    monkeypatch.setattr(files, "unlink", watched)
    asked(archive, row.id)
    found = [suffix for suffix in looked if suffix not in (".tmp", ".refused")]
    assert found == PASSES[asked] * [".key", ".part", ".sealed", ".flac", ".wav", ".json"]
    assert left(archive, row) == []


# --- what does not go ---


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
    assert purge(archive, START, TERMS).erased == (row.id,)
    assert (left(archive, row), archive.store.recording(row.id).status) == ([], Status.ERASED)
    assert verify(archive).problems == [] and purge(archive, START, TERMS).erased == ()


def test_what_goes_while_we_look_is_not_told(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is just erasing it."""
    row = begun(archive, **REFUSED)

    def meanwhile(_: float) -> None:
        erase(archive, row.id, START)

    monkeypatch.setattr("retention.reserve.time.sleep", meanwhile)
    assert stuck(archive) == []


# --- where the database was lost ---


def test_what_is_marked_does_not_come_back_with_the_others(archive: Archive, tmp_path: Path) -> None:
    fine, refused = keep(archive, recording()), keep(archive, recording(1))
    mark(archive, refused, **REFUSED)
    (tmp_path / "new").mkdir()
    other = archive_of(kept.archive(tmp_path / "new").store, Paths(archive).recordings, tmp_path)
    done = rebuild(other)
    assert (done.restored, done.problems) == ([fine.id], [])
    assert left(archive, refused) == ["refused"]
    with pytest.raises(UnknownId):
        other.store.recording(refused.id)
    other.store.close()


def test_what_is_marked_and_known_is_erased_by_a_rebuild(archive: Archive) -> None:
    row = keep(archive, recording())
    mark(archive, row, **REFUSED)
    rebuild(archive)
    assert (left(archive, row), archive.store.recording(row.id).status) == ([], Status.ERASED)


def test_a_receipt_allows_or_does_not() -> None:
    row = recording()
    told: dict[str, Receipt] = {
        "allowed": receipt(row),
        "fault": receipt(row, decision="not_allowed", decided_by="recorder_fault"),
        "refused": receipt(row, **REFUSED),
        "stopped": receipt(row, **STOPPED),
        "undecided": receipt(row, decision="undecided", decided_by=None),
        "erased": replace(receipt(row), events=(Event(at=START, what=ERASED),)),
    }
    assert [name for name, one in told.items() if allows(one)] == ["allowed", "fault"]

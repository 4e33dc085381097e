"""What has expired goes, and nothing else: sound first, then what leads to a person, whatever happens."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from retention import purge as purging
from retention.archive import Archive
from retention.erase import NotDeleted, begin_purge, delete
from retention.holds import place, release
from retention.purge import PurgeReport, ahead_of, overdue, plan, preview, purge
from retention.rebuild import rebuild
from retention.records import Access, Hold, Note, Recording, Status, due_date, new_id
from retention.rows.pages import BATCH, BREATH_S
from retention.rows.rows import NoRoom
from retention.vault import Identity
from retention.verify import verify
from tests import kept as keeping
from tests.both import BOTH
from tests.crashing import deaths
from tests.full_disk import fill
from tests.kept import (
    CALLER,
    SOUND,
    START,
    TERMS,
    Paths,
    bytes_under,
    keep,
    receipt,
    recording,
    sqlite,
)
from tests.raising import raising

DATABASES = BOTH

DUE = due_date(START, "6 months")
DAY, MOMENT = timedelta(days=1), timedelta(milliseconds=1)
HOLD: dict[str, Any] = {
    "ground": "criminal",
    "reference": "2026-41",
    "by": "Durand",
    "approved_by": "Petit",
    "review": "2027-01-01",
}
SECRETS = (b"612345678", b"marie", b"192.0.2.7", SOUND)


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    return keeping.archive(tmp_path)


def held(kept: Archive, minutes: int = 0) -> Recording:
    row = replace(keep(kept, recording(minutes)), hold=HOLD)
    kept.change(row)
    return row


def gone(report: PurgeReport) -> list[str]:
    return [one.id for one in report.removed]


stuck = raising(PermissionError(1, "Operation not permitted"))


def test_what_expired_and_nothing_else(kept: Archive) -> None:
    """A shorter period counts, a longer one does not."""
    first, second, third = (keep(kept, recording(n)) for n in range(3))
    month = due_date(START, "1 month")
    for at, period, wanted in (
        (DUE - MOMENT, None, []),
        (DUE, None, [first]),
        (DUE + timedelta(minutes=1), None, [first, second]),
        (month - MOMENT, "1 month", []),
        (month, "1 month", [first]),
        (DUE, "1 year", [first]),
    ):
        assert list(plan(kept.store, at, period)) == wanted
    (removal,) = preview(kept, month, replace(TERMS, period="1 month")).removed
    assert removal.why == "the period was shortened to 1 month" and removal.due_at == month
    assert third.id not in gone(purge(kept, DUE + timedelta(minutes=1), TERMS))
    assert timedelta(days=3) < purging._SLACK  # by which calendar months differ


def test_a_purge_leaves_a_tombstone(kept: Archive, tmp_path: Path) -> None:
    """And what it would do is told before, and changes nothing."""
    row, young, on = keep(kept, recording()), keep(kept, recording(1)), recording(2)
    kept.open(on).write_bytes(SOUND)
    Paths(kept).part(new_id(START)).write_bytes(SOUND)
    before = bytes_under(tmp_path)
    seen = preview(kept, DUE, TERMS)
    assert bytes_under(tmp_path) == before
    by, steps = Access(at=DUE, action="purge", by="dpo", system_user="root"), list[tuple[int, int]]()
    report = purge(kept, DUE, TERMS, lambda done, total: steps.append((done, total)), by)
    assert report == seen and len(report.unlinked) == report.receipts == 1 and steps == [(1, 1)]
    assert [(r.id, r.why, r.bytes) for r in report.removed] == [(row.id, "expired", len(SOUND))]
    tomb = replace(row, status=Status.PURGED, caller=None, operator=None, call_id=None, path=None)
    assert kept.store.recording(row.id) == replace(tomb, purged_at=DUE)
    assert kept.store.recording(young.id) == young and Paths(kept).file(young.id) is not None
    assert kept.store.accesses(row.id) == [replace(by, recording_id=row.id)]
    assert purge(kept, DUE, TERMS).removed == () and Paths(kept).part(on.id).exists()


def test_who_is_overdue(kept: Archive) -> None:
    """For more than a day; neither what is held, nor what was to go early and sticks."""
    keep(kept, recording())
    held(kept)
    begin_purge(kept, [keep(kept, recording(60)).id])
    for at, period, many in (
        (DUE + DAY - MOMENT, "6 months", 0),
        (DUE + DAY, "6 months", 1),
        (due_date(START, "1 month") + DAY, "1 month", 1),
        (DUE + 2 * DAY, None, 2),
    ):
        assert overdue(kept.store, at, period) == many
    assert ahead_of(kept.store, START - DAY - MOMENT) == 3 and ahead_of(kept.store, START) == 0


def test_receipts_have_their_own_period(kept: Archive) -> None:
    """A longer one is for those to come."""
    row, other = keep(kept, recording()), receipt(recording(1), expires_at=DUE)
    kept.store.add_receipt(other)
    year, month = (replace(TERMS, receipts_period=period) for period in ("1 year", "1 month"))
    assert preview(kept, due_date(START, "1 month"), month).receipts == 1
    assert purge(kept, DUE - MOMENT, year).receipts == 0
    assert purge(kept, DUE, year).receipts == 1 and kept.store.receipt(other.id).caller is None
    for at, many in ((due_date(START, "1 year") - MOMENT, 0), (due_date(START, "1 year"), 1)):
        assert kept.store.receipt(row.id).caller == CALLER
        assert purge(kept, at, year).receipts == many
    assert purge(kept, due_date(START, "2 years"), year).receipts == 0


def test_a_shorter_period_counts_for_analyses_that_are_filed(kept: Archive) -> None:
    row = keep(kept, recording())
    note = Note(recording_id=row.id, at=START, by="Petit", text="rude", expires_at=due_date(START, "1 year"))
    kept.store.add_note(note)
    quarter, at = replace(TERMS, analysis_period="3 months"), due_date(START, "3 months") + MOMENT
    assert preview(kept, at, TERMS).notes == 0
    assert preview(kept, at, quarter).notes == purge(kept, at, quarter).notes == 1
    assert kept.store.notes(row.id)[0].text is None
    kept.store.add_note(note)
    assert purge(kept, due_date(START, "1 year"), replace(TERMS, analysis_period="2 years")).notes == 1


@pytest.mark.in_sqlite
@pytest.mark.parametrize("sealed", [False, True])
def test_a_hold_that_an_older_database_does_not_know_keeps_all_the_same(tmp_path: Path, sealed: bool) -> None:
    """Held the day before it was due; in the night the database was restored from the day before."""
    kept = keeping.archive(tmp_path)
    row = keep(kept, recording())
    if sealed:
        kept.vault.create(row.id, [Identity(bytes([7]) * 32).public])
    backup = Path(kept.store.path).read_bytes()
    known = place(kept, row.id, Hold(**HOLD), Access(at=START, action="hold"))
    kept.store.close()
    Path(kept.store.path).write_bytes(backup)
    again = keeping.archive(tmp_path)
    why = (
        "on hold (criminal), to be reviewed 2027-01-01; its metadata alone says so, the database does not: "
        "see `rebuild`"
    )
    for report in (preview(again, DUE, TERMS), purge(again, DUE, TERMS)):
        assert (report.removed, [stay.why for stay in report.held]) == ((), [why])
    assert overdue(again.store, DUE + timedelta(days=2)) == 1  # somebody must look
    with pytest.raises(NotDeleted, match="it is on hold"):
        delete(again, row.id, Access(at=DUE, action="delete"), lambda: DUE)
    assert Paths(again).file(row.id) is not None and again.store.accesses() == []
    done = rebuild(again)
    assert (done.held, done.restored, done.known) == ([row.id], [], 1) and rebuild(again).held == []
    back, unsaid = again.store.recording(row.id), dict.fromkeys(("reference", "by", "approved_by"))
    assert back == known or (sealed and back.hold == (known.hold or {}) | unsaid)
    assert [stay.id for stay in purge(again, DUE, TERMS).held] == [row.id]
    release(again, row.id, Access(at=DUE, action="release"))
    assert gone(purge(again, DUE, TERMS)) == [row.id]


def test_a_hold_survives_a_database_from_before_the_end_of_its_call(kept: Archive) -> None:
    """What recovers the row must not write over what the JSON says."""
    row = recording()
    kept.open(row)
    Paths(kept).final(row.id, "flac").write_bytes(SOUND)
    Paths(kept).metadata(row.id).write_text(json.dumps(row.to_json() | {"hold": HOLD}))
    assert kept.close(row).hold == HOLD
    assert [stay.id for stay in purge(kept, DUE, TERMS).held] == [row.id]


def test_files_without_a_right_to_be_there(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restored from a backup after the purge, or unknown and by its own name too old."""
    row, paths = keep(kept, recording()), Paths(kept)
    purge(kept, DUE, TERMS)
    restored, found = paths.final(row.id, "flac"), paths.final(new_id(START), "flac")
    old, young = paths.part(new_id(START)), paths.part(new_id(START + DAY))
    stay = (young, found, found.with_suffix(".json"), paths.recordings / "notes.txt")  # not readable
    for path in (restored, old, *stay):
        path.write_bytes(SOUND)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stuck)
        report = purge(kept, DUE, TERMS)
    assert report.unlinked == ()
    assert {*report.failed} == {(path.name, "[Errno 1] Operation not permitted") for path in (restored, old)}
    report = purge(kept, DUE, TERMS)
    assert {orphan.name for orphan in report.unlinked} == {restored.name, old.name}
    assert not restored.exists() and not old.exists() and all(path.exists() for path in stay)
    assert {orphan.name for orphan in report.orphans} == {path.name for path in stay}


@pytest.mark.parametrize("told", [{}, {"hold": None}, {"hold": HOLD}, {"hold": "x"}, None])
def test_what_only_a_json_knows_goes_when_it_is_due_and_not_held(
    kept: Archive, told: dict[str, Any] | None
) -> None:
    """The database was lost, and nobody has called `rebuild`."""
    id, paths = new_id(START), Paths(kept)
    paths.recordings.mkdir()
    paths.final(id, "flac").write_bytes(SOUND)
    text = "half" if told is None else json.dumps(recording(id=id).to_json() | told)
    paths.metadata(id).write_text(text)
    names = {f"{id}.flac", f"{id}.json"}
    assert purge(kept, DUE - MOMENT, TERMS).unlinked == () and {*map(first, kept.names())} == names
    report = purge(kept, DUE, TERMS)
    stays = told is None or told.get("hold") is not None
    assert {orphan.name for orphan in (report.orphans if stays else report.unlinked)} == names
    assert {*map(first, kept.names())} == (names if stays else set())


def first(pair: tuple[str, str | None]) -> str:
    return pair[0]


def test_a_file_that_cannot_go_is_tried_again(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, easy = keep(kept, recording(0)), keep(kept, recording(1))
    unlink = Path.unlink

    def sticky(path: Path, missing_ok: bool = False) -> None:
        (stuck if path.name == f"{bad.id}.flac" else unlink)(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", sticky)
        report = purge(kept, DUE + DAY, TERMS)
    assert gone(report) == [easy.id]
    assert report.failed == ((bad.id, "[Errno 1] Operation not permitted"),)
    assert kept.store.recording(bad.id).status is Status.PURGING
    (removal,) = purge(kept, START, TERMS).removed  # even before it would be due
    assert (removal.id, removal.why) == (bad.id, "a purge that was interrupted, finished")


@pytest.mark.parametrize("room", [True, False])
def test_a_full_disk_keeps_nothing_but_what_is_held(
    kept: Archive, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    """What must go makes room for the rows that say so; where that is not enough, these wait."""
    stays, going, young = held(kept), keep(kept, recording(1)), keep(kept, recording(60))
    kept.store.add_access(Access(at=START, action="list", by="Durand"))
    late = DUE + timedelta(minutes=1)
    with monkeypatch.context() as patch:
        fill(patch, lambda: not room or Paths(kept).file(going.id) is not None)
        if room:
            report = purge(kept, late, replace(TERMS, analysis_period="1 month"))
            assert (gone(report), report.receipts) == ([going.id], 2)
            assert [name for name, _ in report.failed] == ["uses"]
        else:
            with pytest.raises(NoRoom):
                purge(kept, late, TERMS)
    assert Paths(kept).file(going.id) is None and not Paths(kept).metadata(going.id).exists()
    assert all(Paths(kept).file(row.id) is not None for row in (stays, young))
    assert gone(purge(kept, late, TERMS)) == ([] if room else [going.id])
    assert verify(kept).problems == [] and kept.store.recording(stays.id).hold == HOLD


def purge_in(folder: Path) -> None:
    kept = keeping.archive(folder)
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, lambda: any(path.suffix == ".flac" for path in Paths(kept).recordings.iterdir()))
        purge(kept, DUE, TERMS)


@pytest.mark.in_sqlite
def test_a_crash_at_any_step_on_a_full_disk_is_finished_by_the_next_run(tmp_path: Path) -> None:
    folder, count = tmp_path / "office", 0
    folder.mkdir()
    before = keeping.archive(folder)
    row = keep(before, recording())
    before.store.close()
    for _ in deaths(folder, partial(purge_in, folder)):
        kept = keeping.archive(folder)
        after = kept.store.recording(row.id)
        assert after.status is not Status.PURGED or list(Paths(kept).recordings.iterdir()) == []
        purge(kept, DUE, TERMS)
        assert kept.store.recording(row.id).status is Status.PURGED
        assert list(Paths(kept).recordings.iterdir()) == [] and kept.store.receipt(row.id).caller is None
        left = bytes_under(folder)
        assert [secret for secret in SECRETS if secret in left] == []
        kept.store.close()
        count += 1
    assert count > 12


@pytest.mark.in_sqlite
@pytest.mark.parametrize(
    ("damage", "goes", "forgets"),
    [
        ("UPDATE recordings SET expires_at = '2026-13-45' WHERE id = '{}'", 1, 2),
        ("UPDATE recordings SET status = 'melted' WHERE id = '{}'", 1, 2),
        ("UPDATE recordings SET called = CAST(x'ff' AS TEXT), pauses = '[' WHERE id = '{}'", 1, 2),
        ("UPDATE receipts SET events = '[' WHERE id = '{}'", 2, 1),
    ],
)
def test_one_row_that_is_damaged_does_not_keep_all_the_others(
    kept: Archive, damage: str, goes: int, forgets: int
) -> None:
    bad, _ = keep(kept, recording()), keep(kept, recording(1))
    kept.store.add_note(Note(recording_id=bad.id, at=START, by="Petit", text="rude", expires_at=DUE))
    sqlite(kept.store).execute("DROP TRIGGER held_recordings_stay")
    sqlite(kept.store).execute(damage.format(bad.id))
    sqlite(kept.store).conn.commit()
    for report in (preview(kept, DUE + DAY, TERMS), purge(kept, DUE + DAY, TERMS)):
        assert (len(report.removed), report.receipts, report.notes) == (goes, forgets, 1)
        assert [id for id, _ in report.failed] == [bad.id] and report.unlinked == ()
    assert (Paths(kept).file(bad.id) is None) is (goes == 2)


def many(kept: Archive, count: int, *more: Callable[[Recording], object]) -> None:
    """Rows of recordings that left no file, and whatever else."""
    with kept.store.write():
        for n in range(count):
            row = recording(n, status=Status.ERASED)
            kept.store.add_receipt(receipt(row))
            kept.store.add_recording(row)
            for add in more:
                add(row)


@pytest.mark.in_sqlite
def test_a_purge_that_is_to_end_leaves_the_rest_for_the_next(kept: Archive) -> None:
    many(kept, BATCH + 50)
    stray, seen = Paths(kept).part(new_id(START)), list[int]()
    stray.parent.mkdir()
    stray.write_bytes(SOUND)
    report = purge(kept, DUE + DAY, TERMS, lambda done, total: seen.append(done), over=lambda: bool(seen))
    assert (len(report.removed), report.receipts, report.unlinked) == (BATCH, 0, ())
    assert stray.exists() and report.failed == ()
    rest = purge(kept, DUE + DAY, TERMS)
    assert (len(rest.removed), rest.receipts, len(rest.unlinked)) == (50, BATCH + 50, 1)


@pytest.mark.in_sqlite
def test_a_long_purge_lets_calls_write(
    kept: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiters of SQLite do not queue: whoever writes on and on without a pause keeps the others out."""
    agent, pauses = keeping.archive(tmp_path).store, list[float]()
    old = Access(at=START - timedelta(days=800), action="play", by="A. Roux")
    many(kept, BATCH + 50, lambda row: kept.store.add_access(old))

    def call(seconds: float) -> None:
        agent.add_access(Access(at=START, action="play"))  # waits for nobody
        pauses.append(seconds)

    monkeypatch.setattr(time, "sleep", call)
    report = purge(kept, DUE + DAY, TERMS)
    assert (len(report.removed), report.receipts) == (BATCH + 50, BATCH + 50)
    assert pauses == [BREATH_S] * (1 + 1 + 1) and BREATH_S > 0.05
    assert all(row.caller is None and row.purged_at for row in agent.recordings())


def test_two_purges_at_once_tell_together_what_went(
    kept: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other one has forgotten meanwhile is neither counted nor written again."""
    other, moment, count = keeping.archive(tmp_path), DUE + DAY, BATCH + 50
    with kept.store.write():
        for n in range(count):
            row = recording(n)
            kept.store.add_receipt(receipt(row))
            kept.store.add_note(Note(recording_id=row.id, at=START, by="P", text="T", expires_at=DUE))
    before, reports = kept.store.head().seq, list[PurgeReport]()

    def meanwhile(seconds: float) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        reports.append(purge(other, moment, TERMS))

    monkeypatch.setattr(time, "sleep", meanwhile)
    reports.append(purge(kept, moment, TERMS))
    assert len(reports) == 2
    assert sum(report.receipts for report in reports) == sum(report.notes for report in reports) == count
    assert kept.store.head().seq == before + 2 * count

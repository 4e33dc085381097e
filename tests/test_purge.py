import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from retention import purge as purging
from retention.archive import Archive
from retention.erase import NotDeleted, begin_purge, delete, erase_row, fail
from retention.holds import place, release
from retention.purge import Terms, overdue, plan, preview, purge
from retention.rebuild import rebuild
from retention.records import Access, Event, Hold, Note, Status, due_date, new_id
from retention.rows.pages import BATCH, BREATH_S
from retention.rows.rows import NoRoom
from retention.sqlite import Store
from retention.vault import Identity
from retention.verify import verify
from tests.both import BOTH
from tests.crashing import killed_before
from tests.full_disk import fill
from tests.kept import (
    CALLER,
    OPERATOR,
    SOUND,
    START,
    Paths,
    archive,
    bytes_under,
    keep,
    receipt,
    recording,
    remove,
    sqlite,
)

DATABASES = BOTH

TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
DUE = due_date(START, "6 months")
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
    return archive(tmp_path)


def test_the_plan_has_what_expired_and_nothing_else(kept: Archive) -> None:
    first, second, third = (keep(kept, recording(n)) for n in range(3))
    assert list(plan(kept.store, DUE - timedelta(milliseconds=1))) == []
    assert list(plan(kept.store, DUE)) == [first]
    assert list(plan(kept.store, DUE + timedelta(minutes=1))) == [first, second]
    assert third not in plan(kept.store, DUE + timedelta(minutes=1))


def test_what_is_held_stays(kept: Archive) -> None:
    row = keep(kept, recording())
    kept.change(replace(row, hold={"ground": "criminal", "review": "2027-01-01"}))
    report = purge(kept, DUE + timedelta(days=999), TERMS)
    assert (report.removed, [stay.id for stay in report.held]) == ((), [row.id])
    assert report.held[0].why == "on hold (criminal), to be reviewed 2027-01-01"
    assert not remove(kept, row.id, DUE)
    assert Paths(kept).file(row.id) is not None


def test_a_shorter_period_counts_and_a_longer_one_does_not(kept: Archive) -> None:
    row = keep(kept, recording())
    month = due_date(START, "1 month")
    assert list(plan(kept.store, month, "1 month")) == [row]
    assert list(plan(kept.store, month - timedelta(milliseconds=1), "1 month")) == []
    assert list(plan(kept.store, DUE, "1 year")) == [row]
    (removal,) = preview(kept, month, replace(TERMS, period="1 month")).removed
    assert removal.why == "the period was shortened to 1 month" and removal.due_at == month


def test_a_purge_leaves_a_tombstone(kept: Archive) -> None:
    row = keep(kept, recording())
    young = keep(kept, recording(1))
    report = purge(kept, DUE, TERMS)
    assert [(r.id, r.why, r.bytes) for r in report.removed] == [(row.id, "expired", len(SOUND))]
    tomb = kept.store.recording(row.id)
    assert tomb == replace(
        row, status=Status.PURGED, caller=None, operator=None, call_id=None, path=None, purged_at=DUE
    )
    assert kept.store.recording(young.id) == young and Paths(kept).file(young.id) is not None
    assert report.orphans == () and report.unlinked == ()
    assert purge(kept, DUE, TERMS).removed == ()


def test_neither_number_nor_name_nor_sound_is_in_any_byte(kept: Archive, tmp_path: Path) -> None:
    for n in range(40):
        row = recording(n)
        keep(kept, row)
        event = Event(at=START, what=f"invited by {CALLER}", by=OPERATOR)
        kept.store.update_receipt(receipt(row, events=(event,), keyword="je refuse"))
    erased, failed = recording(50), recording(51)
    kept.open(erased).write_bytes(SOUND)
    erase_row(kept, erased.id, START)
    kept.open(failed).write_bytes(SOUND)
    fail(kept, failed.id, START)
    assert all(secret in bytes_under(tmp_path) for secret in SECRETS)
    report = purge(kept, DUE + timedelta(days=1), TERMS)
    assert len(report.removed) == 42 and report.receipts == 40
    left = bytes_under(tmp_path)
    assert [secret for secret in (*SECRETS, b"je refuse") if secret in left] == []
    assert kept.store.recording(erased.id).status is Status.ERASED
    assert kept.store.recording(failed.id).status is Status.FAILED


def test_receipts_have_their_own_period(kept: Archive) -> None:
    row = keep(kept, recording())
    year = replace(TERMS, receipts_period="1 year")
    assert purge(kept, DUE, year).receipts == 0
    assert kept.store.receipt(row.id).caller == CALLER
    assert purge(kept, due_date(START, "1 year") - timedelta(milliseconds=1), year).receipts == 0
    assert purge(kept, due_date(START, "1 year"), year).receipts == 1
    assert kept.store.receipt(row.id).caller is None
    assert purge(kept, due_date(START, "2 years"), year).receipts == 0


def test_a_longer_period_of_receipts_is_for_those_to_come(kept: Archive) -> None:
    told = receipt(recording(), expires_at=DUE)
    kept.store.add_receipt(told)
    year, month = (replace(TERMS, receipts_period=period) for period in ("1 year", "1 month"))
    assert preview(kept, DUE - timedelta(milliseconds=1), year).receipts == 0
    assert preview(kept, due_date(START, "1 month"), month).receipts == 1
    assert purge(kept, DUE, year).receipts == 1
    assert kept.store.receipt(told.id).caller is None


def test_a_shorter_period_counts_for_analyses_that_are_filed(kept: Archive) -> None:
    row = keep(kept, recording())
    note = Note(recording_id=row.id, at=START, by="Petit", text="rude", expires_at=due_date(START, "1 year"))
    kept.store.add_note(note)
    quarter = replace(TERMS, analysis_period="3 months")
    at = due_date(START, "3 months") + timedelta(milliseconds=1)
    assert preview(kept, at, TERMS).notes == 0
    assert preview(kept, at, quarter).notes == purge(kept, at, quarter).notes == 1
    assert kept.store.notes(row.id)[0].text is None
    kept.store.add_note(note)
    assert purge(kept, due_date(START, "1 year"), replace(TERMS, analysis_period="2 years")).notes == 1


def test_a_preview_changes_nothing_and_says_the_same(kept: Archive, tmp_path: Path) -> None:
    keep(kept, recording())
    Paths(kept).part(new_id(START)).write_bytes(SOUND)
    before = bytes_under(tmp_path)
    seen = preview(kept, DUE, TERMS)
    assert bytes_under(tmp_path) == before
    assert purge(kept, DUE, TERMS) == seen
    assert len(seen.removed) == len(seen.unlinked) == seen.receipts == 1


def test_progress_and_the_person_who_asked(kept: Archive) -> None:
    rows = [keep(kept, recording(n)) for n in range(3)]
    seen = []
    by = Access(at=DUE, action="purge", by="dpo", system_user="root")
    purge(kept, DUE + timedelta(days=1), TERMS, lambda done, total: seen.append((done, total)), by)
    assert seen == [(3, 3)]
    assert kept.store.accesses(rows[1].id) == [replace(by, recording_id=rows[1].id)]


def test_a_file_that_cannot_go_is_tried_again(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, easy = keep(kept, recording(0)), keep(kept, recording(1))
    unlink = Path.unlink

    def sticky(path: Path, missing_ok: bool = False) -> None:
        if path.name == f"{stuck.id}.flac":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", sticky)
        report = purge(kept, DUE + timedelta(days=1), TERMS)
    assert [r.id for r in report.removed] == [easy.id]
    assert report.failed == ((stuck.id, "[Errno 1] Operation not permitted"),)
    assert kept.store.recording(stuck.id).status is Status.PURGING
    (removal,) = purge(kept, START, TERMS).removed  # even before it would be due
    assert (removal.id, removal.why) == (stuck.id, "a purge that was interrupted, finished")


def test_files_without_a_right_to_be_there(kept: Archive) -> None:
    """Restored from a backup after the purge, or unknown and by its own name too old."""
    row = keep(kept, recording())
    purge(kept, DUE, TERMS)
    restored = Paths(kept).final(row.id, "flac")
    old, young = Paths(kept).part(new_id(START)), Paths(kept).part(new_id(START + timedelta(days=1)))
    recoverable, stranger = (
        Paths(kept).final(new_id(START), "flac"),
        Paths(kept).recordings / "notes.txt",
    )  # not readable
    for path in (restored, old, young, recoverable, recoverable.with_suffix(".json"), stranger):
        path.write_bytes(SOUND)
    report = purge(kept, DUE, TERMS)
    assert {orphan.name for orphan in report.unlinked} == {restored.name, old.name}
    assert not restored.exists() and not old.exists()
    assert all(path.exists() for path in (young, recoverable, stranger))
    assert {o.name for o in report.orphans} == {
        young.name,
        recoverable.name,
        recoverable.with_suffix(".json").name,
        stranger.name,
    }


@pytest.mark.parametrize("told", [{}, {"hold": None}, {"hold": HOLD}, {"hold": "x"}, None])
def test_what_only_a_json_knows_goes_when_it_is_due_and_not_held(
    kept: Archive, told: dict[str, Any] | None
) -> None:
    """The database was lost, and nobody has called `rebuild`."""
    id = new_id(START)
    names = {Paths(kept).final(id, "flac"), Paths(kept).metadata(id)}
    Paths(kept).recordings.mkdir()
    Paths(kept).final(id, "flac").write_bytes(SOUND)
    Paths(kept).metadata(id).write_text(
        "half" if told is None else json.dumps(recording(id=id).to_json() | told)
    )
    assert purge(kept, DUE - timedelta(milliseconds=1), TERMS).unlinked == ()
    assert all(path.exists() for path in names)
    report = purge(kept, DUE, TERMS)
    stays = told is None or told.get("hold") is not None
    told_of = report.orphans if stays else report.unlinked
    assert {Paths(kept).recordings / orphan.name for orphan in told_of} == names
    assert all(path.exists() is stays for path in names)


@pytest.mark.in_sqlite
@pytest.mark.parametrize("sealed", [False, True])
def test_a_hold_that_an_older_database_does_not_know_keeps_all_the_same(tmp_path: Path, sealed: bool) -> None:
    """Held the day before it was due; in the night the database was restored from the day before."""
    kept = archive(tmp_path)
    row = keep(kept, recording())
    if sealed:
        kept.vault.create(row.id, [Identity(bytes([7]) * 32).public])
    backup = Path(kept.store.path).read_bytes()
    held = place(kept, row.id, Hold(**HOLD | {"review": "2027-01-01"}), Access(at=START, action="hold"))
    kept.store.close()
    Path(kept.store.path).write_bytes(backup)
    again = archive(tmp_path)
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
    assert (done.held, done.restored, done.known) == ([row.id], [], 1)
    assert rebuild(again).held == []
    back = again.store.recording(row.id)
    assert back == held or (
        sealed and back.hold == (held.hold or {}) | dict.fromkeys(("reference", "by", "approved_by"))
    )
    assert [stay.id for stay in purge(again, DUE, TERMS).held] == [row.id]
    release(again, row.id, Access(at=DUE, action="release"))
    assert [gone.id for gone in purge(again, DUE, TERMS).removed] == [row.id]


def test_a_hold_survives_a_database_from_before_the_end_of_its_call(kept: Archive) -> None:
    """What recovers the row must not write over what the JSON says."""
    row = recording()
    kept.open(row)
    Paths(kept).final(row.id, "flac").write_bytes(SOUND)
    Paths(kept).metadata(row.id).write_text(json.dumps(row.to_json() | {"hold": HOLD}))
    assert kept.close(row).hold == HOLD
    assert [stay.id for stay in purge(kept, DUE, TERMS).held] == [row.id]


def test_a_call_in_progress_is_not_touched(kept: Archive) -> None:
    kept.open(recording()).write_bytes(SOUND)
    report = purge(kept, START + timedelta(days=1), TERMS)
    assert report.removed == () and report.orphans == ()


@pytest.mark.parametrize("room", [True, False])
def test_a_full_disk_keeps_nothing_but_what_is_held(
    kept: Archive, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    """What must go makes room for the rows that say so; where that is not enough, these wait."""
    held, gone, young = keep(kept, recording()), keep(kept, recording(1)), keep(kept, recording(60))
    kept.change(replace(held, hold=HOLD))
    kept.store.add_access(Access(at=START, action="list", by="Durand"))
    before, late = bytes_under(Paths(kept).recordings), DUE + timedelta(minutes=1)
    with monkeypatch.context() as patch:
        fill(patch, lambda: not room or Paths(kept).file(gone.id) is not None)
        if room:
            report = purge(kept, late, replace(TERMS, analysis_period="1 month"))
            assert [one.id for one in report.removed] == [gone.id]
            assert report.receipts == 2
            assert [name for name, _ in report.failed] == ["uses"]
        else:
            with pytest.raises(NoRoom):
                purge(kept, late, TERMS)
    assert (
        SOUND in before and Paths(kept).file(gone.id) is None and not Paths(kept).metadata(gone.id).exists()
    )
    assert Paths(kept).file(held.id) is not None and Paths(kept).file(young.id) is not None
    assert [one.id for one in purge(kept, late, TERMS).removed] == ([] if room else [gone.id])
    assert verify(kept).problems == []
    assert kept.store.recording(held.id).hold == HOLD


def purge_in(folder: Path, full: bool) -> None:
    kept = archive(folder)
    with pytest.MonkeyPatch.context() as patch:
        if full:
            fill(patch, lambda: any(path.suffix == ".flac" for path in Paths(kept).recordings.iterdir()))
        purge(kept, DUE, TERMS)


@pytest.mark.parametrize("full", [False, True])
def test_a_crash_at_any_step_is_finished_by_the_next_run(tmp_path: Path, full: bool) -> None:
    number, killed = 0, True
    while killed:
        folder = tmp_path / str(number)
        folder.mkdir()
        before = archive(folder)
        row = keep(before, recording())
        before.store.close()
        killed = killed_before(number, partial(purge_in, folder, full)) is not None

        kept = archive(folder)
        after = kept.store.recording(row.id)
        if not full and not Paths(kept).final(row.id, "flac").exists():
            assert after.status in (Status.PURGING, Status.PURGED)
        assert after.status is not Status.PURGED or list(Paths(kept).recordings.iterdir()) == []
        purge(kept, DUE, TERMS)
        assert kept.store.recording(row.id).status is Status.PURGED
        assert list(Paths(kept).recordings.iterdir()) == []
        assert kept.store.receipt(row.id).caller is None
        left = bytes_under(folder)
        assert [secret for secret in SECRETS if secret in left] == []
        kept.store.close()
        number += 1
    steps = 12 if isinstance(kept.store, Store) else 6  # of which a file's are some
    assert number > steps, "the purge has fewer steps than it must have"


def test_calendar_months_differ_by_less_than_the_slack() -> None:
    assert timedelta(days=3) < purging._SLACK


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
    late = DUE + timedelta(days=1)
    for report in (preview(kept, late, TERMS), purge(kept, late, TERMS)):
        assert (len(report.removed), report.receipts, report.notes) == (goes, forgets, 1)
        assert [id for id, _ in report.failed] == [bad.id]
        assert report.unlinked == ()
    assert (Paths(kept).file(bad.id) is None) is (goes == 2)


def test_a_stray_file_that_cannot_go_is_reported(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    Paths(kept).recordings.mkdir()
    stray = Paths(kept).part(new_id(START))
    stray.write_bytes(SOUND)

    def stuck(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", stuck)
    report = purge(kept, DUE, TERMS)
    assert report.failed == ((stray.name, "[Errno 1] Operation not permitted"),)
    assert report.unlinked == ()


def test_who_is_overdue(kept: Archive) -> None:
    """For more than a day; neither what is held, nor what was to go early and sticks."""
    expired, held, deleted = keep(kept, recording()), keep(kept, recording()), keep(kept, recording(60))
    kept.change(replace(held, hold={"ground": "criminal", "review": "2027-01-01"}))
    begin_purge(kept, [deleted.id])
    day = timedelta(days=1)
    assert overdue(kept.store, DUE + day - timedelta(milliseconds=1), "6 months") == 0
    assert overdue(kept.store, DUE + day, "6 months") == 1
    assert overdue(kept.store, due_date(START, "1 month") + day, "1 month") == 1
    assert expired.hold is None and overdue(kept.store, DUE + 2 * day) == 2


@pytest.mark.in_sqlite
def test_a_purge_that_is_to_end_leaves_the_rest_for_the_next(kept: Archive) -> None:
    with kept.store.write():
        for n in range(600):
            kept.store.add_receipt(receipt(recording(n)))
            kept.store.add_recording(recording(n, status=Status.ERASED))
    stray = Paths(kept).part(new_id(START))
    stray.parent.mkdir()
    stray.write_bytes(SOUND)
    seen: list[int] = []
    moment = DUE + timedelta(days=1)
    report = purge(kept, moment, TERMS, lambda done, total: seen.append(done), over=lambda: bool(seen))
    assert (len(report.removed), report.receipts, report.unlinked) == (BATCH, 0, ())
    assert stray.exists() and report.failed == ()
    rest = purge(kept, moment, TERMS)
    assert (len(rest.removed), rest.receipts, len(rest.unlinked)) == (600 - BATCH, 600, 1)


def test_a_hold_that_comes_between_plan_and_purge_is_told(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = keep(kept, recording())

    def holds_first(archive: Archive, ids: Sequence[str]) -> list[str]:
        kept.change(replace(row, hold={"ground": "criminal", "review": "2027-06-01"}))
        return begin_purge(archive, ids)

    monkeypatch.setattr("retention.erase.begin_purge", holds_first)
    report = purge(kept, DUE, TERMS)
    assert (report.removed, [stay.why for stay in report.held]) == (
        (),
        ["on hold (criminal), to be reviewed 2027-06-01"],
    )


@pytest.mark.in_sqlite
def test_a_long_purge_lets_calls_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiters of SQLite do not queue: whoever writes on and on without a pause keeps the others out."""
    kept, agent = archive(tmp_path), archive(tmp_path).store
    with kept.store.write():
        for n in range(600):
            kept.store.add_receipt(receipt(recording(n)))
            kept.store.add_recording(recording(n, status=Status.ERASED))
            kept.store.add_access(Access(at=START - timedelta(days=800), action="play", by="A. Roux"))
    pauses = []

    def call(seconds: float) -> None:
        agent.add_access(Access(at=START, action="play"))  # waits for nobody
        pauses.append(seconds)

    monkeypatch.setattr(time, "sleep", call)
    report = purge(kept, DUE + timedelta(days=1), TERMS)
    assert (len(report.removed), report.receipts) == (600, 600)
    assert pauses == [BREATH_S] * (2 + 2 + 2) and BREATH_S > 0.05
    assert all(row.caller is None and row.purged_at for row in agent.recordings())


def test_two_purges_at_once_tell_together_what_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other one has forgotten meanwhile is neither counted nor written again."""
    kept, other = archive(tmp_path), archive(tmp_path)
    with kept.store.write():
        for n in range(600):
            kept.store.add_receipt(receipt(recording(n)))
        for n in range(600):
            kept.store.add_note(
                Note(recording_id=recording(n).id, at=START, by="P", text="T", expires_at=DUE)
            )
    before, moment = kept.store.head().seq, DUE + timedelta(days=1)
    reports = []

    def meanwhile(seconds: float) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        reports.append(purge(other, moment, TERMS))

    monkeypatch.setattr(time, "sleep", meanwhile)
    reports.append(purge(kept, moment, TERMS))
    assert len(reports) == 2
    assert sum(report.receipts for report in reports) == 600
    assert sum(report.notes for report in reports) == 600
    assert kept.store.head().seq == before + 1200

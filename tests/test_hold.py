"""Legal hold: who may place it, what it keeps from whom, and that it never ends by itself."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from retention import files
from retention.archive import Archive
from retention.erase import NotDeleted, begin_purge, delete, end_purge, erase_row, fail
from retention.holds import (
    HoldError,
    holds,
    is_overdue,
    place,
    release,
    review_of,
    reviews_overdue,
    why_no_hold,
)
from retention.marks import ArchiveError
from retention.purge import Terms, purge
from retention.records import Access, Hold, Status, due_date
from retention.rows.rows import StoreError, UnknownId
from retention.sqlite import Store
from retention.vault import Identity
from retention.verify import verify
from sipagent.operations.approvals import Rules
from sipagent.operations.holds import end_hold, hold
from sipagent.operations.notes import file_note
from sipagent.operations.tracing import Unfinished
from tests.both import BOTH, by_hand
from tests.kept import CALLER, SOUND, START, Paths, archive, keep, receipt, recording
from tests.tampering import use_of

DATABASES = BOTH

GROUNDS = ("disciplinary", "criminal")
TODAY, REVIEW = date(2026, 11, 25), "2027-03-01"
HOLD = Hold(ground="criminal", reference="2026/7", by="A. Roux", approved_by="B. Petit", review=REVIEW)
BY = Access(at=START, action="", by="A. Roux", system_user="root")
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
LATE = due_date(START, "30 years")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    kept = archive(tmp_path)
    yield kept
    assert verify(kept).problems == []
    kept.store.close()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ground": "curiosity"}, "ground 'curiosity' is not listed; accepted: disciplinary, criminal"),
        ({"reference": ""}, "--reference is empty"),
        ({"reference": " \t"}, "--reference is empty"),
        ({"by": " "}, "--by is empty"),
        ({"approved_by": ""}, "--approved-by is empty"),
        ({"approved_by": "A. Roux"}, "'A. Roux' cannot approve a hold of their own; accepted: somebody else"),
        ({"approved_by": "  a.  ROUX "}, "'  a.  ROUX ' cannot approve a hold of their own"),
        ({"approved_by": "Ａ. Roux"}, "'Ａ. Roux' cannot approve a hold of their own"),
        ({"review": "2026-11-25"}, "the review of 2026-11-25 is not in the future"),
        ({"review": "2020-01-01"}, "the review of 2020-01-01 is not in the future"),
        ({"review": "soon"}, "'soon' is not a day; accepted: 2027-05-31"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], why: str) -> None:
    told = why_no_hold(replace(HOLD, **changes), GROUNDS, TODAY) or ""
    assert told.startswith(why) and "\n" not in told
    assert why_no_hold(replace(HOLD, review="2026-11-26"), GROUNDS, TODAY) is None
    assert "is not listed" in (why_no_hold(HOLD, (), TODAY) or "")


def test_a_hold_is_in_the_row_the_json_and_the_trace(kept: Archive) -> None:
    row = keep(kept, recording())
    held = place(kept, row.id, HOLD, BY)
    assert held == replace(row, hold=HOLD.to_json()) == kept.store.recording(row.id)
    assert list(HOLD.to_json()) == ["ground", "reference", "review", "by", "approved_by"]
    assert json.loads(Paths(kept).metadata(row.id).read_text())["hold"] == HOLD.to_json()
    (use,) = kept.store.accesses(row.id)
    assert (use.action, use.reference, use.by, use.system_user) == ("hold", "2026/7", "A. Roux", "root")
    assert use.detail == "criminal, approved by B. Petit, to be reviewed 2027-03-01"
    released = release(kept, row.id, BY)
    assert released == row == kept.store.recording(row.id)
    assert json.loads(Paths(kept).metadata(row.id).read_text())["hold"] is None
    assert [(use.action, use.reference) for use in kept.store.accesses(row.id)][1:] == [("release", "2026/7")]


def test_of_a_sealed_one_the_json_tells_ground_and_review_alone(kept: Archive) -> None:
    row = recording()
    kept.vault.create(row.id, [Identity(bytes([7]) * 32, "DPO").public])
    place(kept, keep(kept, row).id, HOLD, BY)
    text = Paths(kept).metadata(row.id).read_text()
    assert json.loads(text)["hold"] == {"ground": "criminal", "review": "2027-03-01"}
    assert not any(name in text for name in ("Roux", "Petit", "2026/7", CALLER))


def test_it_survives_every_purge_and_its_review_releases_nothing(kept: Archive) -> None:
    row = keep(kept, recording())
    place(kept, row.id, HOLD, BY)
    for at in (due_date(START, "6 months"), due_date(START, "1 year"), LATE):
        report = purge(kept, at, replace(TERMS, period="1 day"))
        assert report.removed == ()
        assert report.held[0].why == "on hold (criminal), to be reviewed 2027-03-01"
    assert (
        Paths(kept).final(row.id, "flac").read_bytes() == SOUND
        and kept.store.recording(row.id).caller == CALLER
    )
    release(kept, row.id, BY)
    assert [gone.id for gone in purge(kept, LATE, TERMS).removed] == [row.id]
    assert Paths(kept).file(row.id) is None and kept.store.recording(row.id).hold is None


def test_nothing_removes_what_is_held(kept: Archive) -> None:
    row = keep(kept, recording())
    kept.store.add_access(use_of(row))
    place(kept, row.id, HOLD, BY)
    before = kept.store.recording(row.id)
    with pytest.raises(NotDeleted, match="on hold"):
        delete(kept, row.id, BY, lambda: START)
    assert not begin_purge(kept, [row.id])
    assert not file_note(kept, row.id, "a good call", BY, "1 year", erase=True).erased
    for status in (Status.PURGING, Status.PURGED, Status.ERASED, Status.FAILED, Status.OPEN):
        with pytest.raises(StoreError, match="the recording is on hold"):
            kept.store.update_recording(replace(before, status=status))
        with pytest.raises(StoreError, match="the recording is on hold"):  # not in one step either
            kept.store.update_recording(replace(before, status=status, hold=None))
    with pytest.raises(StoreError, match="the recording is on hold"):
        kept.store.update_recording(replace(before, purged_at=START))
    assert kept.store.recording(row.id) == before and Paths(kept).file(row.id) is not None


def test_a_refusal_came_first(kept: Archive) -> None:
    row = keep(kept, recording())
    place(kept, row.id, HOLD, BY)
    kept.store.update_receipt(receipt(row, decision="refused"))
    erase_row(kept, row.id, START, "refused")
    assert Paths(kept).file(row.id) is None and holds(kept.store) == []


def test_the_database_itself_keeps_its_rows(kept: Archive) -> None:
    row = keep(kept, recording())
    kept.store.add_access(use_of(row))
    file_note(kept, row.id, "a good call", BY, "1 year", erase=False)
    for table in ("receipts", "recordings", "accesses", "notes", "chain"):
        with pytest.raises(StoreError, match=f"rows of {table} are never deleted"):
            by_hand(kept.store, f"DELETE FROM {table}")
        if isinstance(kept.store, Store):
            with pytest.raises(StoreError, match=f"rows of {table} are never replaced"):
                by_hand(kept.store, f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    with pytest.raises(StoreError, match="the chain only grows"):
        by_hand(kept.store, "UPDATE chain SET at = 'x' WHERE seq = 1")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda kept, id: None, "the call is still in progress"),
        (lambda kept, id: erase_row(kept, id, START), "it was erased during the call"),
        (lambda kept, id: fail(kept, id, START), "the recorder failed, nothing was kept"),
        (lambda kept, id: begin_purge(kept, [id]), "it is already purging"),
        (
            lambda kept, id: begin_purge(kept, [id]) and end_purge(kept, [id], START),
            "it is already purged (2026-11-24",
        ),
    ],
)
def test_there_must_be_something_to_hold(
    kept: Archive, end: Callable[[Archive, str], object], why: str
) -> None:
    row = recording()
    kept.store.add_receipt(receipt(row))
    kept.open(row)
    end(kept, row.id)
    with pytest.raises(HoldError) as told:
        place(kept, row.id, HOLD, BY)
    assert str(told.value).startswith(why)
    with pytest.raises(HoldError) as told:
        release(kept, row.id, BY)
    assert str(told.value).startswith(why)
    assert kept.store.accesses() == []


def test_twice_is_an_error_and_a_renewal_is_asked_for(kept: Archive) -> None:
    row = keep(kept, recording())
    with pytest.raises(UnknownId):
        place(kept, recording(1).id, HOLD, BY)
    with pytest.raises(HoldError, match="nothing to renew"):
        place(kept, row.id, HOLD, BY, renew=True)
    with pytest.raises(HoldError, match="it is not on hold"):
        release(kept, row.id, BY)
    place(kept, row.id, HOLD, BY)
    with pytest.raises(HoldError, match=r"on hold already \(criminal, to be reviewed 2027-03-01\)"):
        place(kept, row.id, HOLD, BY)
    place(kept, row.id, replace(HOLD, review="2028-01-01"), BY, renew=True)
    assert review_of(kept.store.recording(row.id)) == date(2028, 1, 1)
    assert [use.action for use in kept.store.accesses(row.id)] == ["hold", "hold"]


def test_a_hold_whose_json_cannot_be_written_is_not_placed(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = keep(kept, recording())

    def full(path: Path, content: bytes, naming: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(files, "write_whole", full)
        place(kept, row.id, HOLD, BY)
    assert kept.store.recording(row.id) == row and kept.store.accesses() == []


def test_those_to_be_looked_at_first_come_first(kept: Archive) -> None:
    reviews = [date(2027, 6, 1), date(2026, 12, 1), date(2027, 1, 1)]
    rows = [keep(kept, recording(number)) for number in range(5)]
    for row, review in zip(rows, reviews, strict=False):
        place(kept, row.id, replace(HOLD, review=review.isoformat()), BY)
    kept.change(replace(rows[3], hold={"ground": "criminal", "review": "soon"}))
    held = holds(kept.store)
    assert [row.id for row in held] == [rows[n].id for n in (3, 1, 2, 0)]
    assert reviews_overdue(kept.store, date(2026, 12, 1)) == 1  # the one whose date nobody can read
    assert reviews_overdue(kept.store, date(2026, 12, 2)) == 2
    assert [is_overdue(row, date(2027, 1, 2)) for row in held] == [True, True, True, False]
    assert not is_overdue(rows[4], date(2040, 1, 1))


def test_each_act_leaves_its_line_done_or_refused(kept: Archive) -> None:
    """Whoever asks at a shell."""
    rules, row = Rules(grounds=GROUNDS, purposes=(), period="6 months", today=TODAY), keep(kept, recording())
    held = hold(kept, row, HOLD, BY, rules)
    for wanted, renew in ((HOLD, False), (replace(HOLD, ground=f"of {CALLER}"), True)):
        with pytest.raises(HoldError) as error:
            hold(kept, held, wanted, BY, rules, renew=renew)
        last = kept.store.accesses(row.id)[-1]
        assert error.value.about == row.id
        assert last.detail == str(error.value).replace("12345678", "…")
    hold(kept, held, replace(HOLD, review="2028-01-01"), BY, rules, renew=True)
    assert end_hold(kept, held, replace(BY, detail="closed")).hold is None
    with pytest.raises(HoldError, match="it is not on hold"):
        end_hold(kept, held, BY)
    assert [(use.action, use.outcome) for use in kept.store.accesses(row.id)] == [
        *(("hold", "done"), ("hold", "refused"), ("hold", "refused"), ("hold", "done")),
        *(("release", "done"), ("release", "refused")),
    ]


@pytest.mark.parametrize("wrong", [ArchiveError("the disk is full"), OSError(28, "No space left on device")])
def test_a_hold_that_fails_is_in_the_trace_and_says_what_that_leaves(
    kept: Archive, monkeypatch: pytest.MonkeyPatch, wrong: Exception
) -> None:
    rules, row = Rules(grounds=GROUNDS, purposes=(), period="6 months", today=TODAY), keep(kept, recording())

    def fails(*_: object) -> None:
        raise wrong

    monkeypatch.setattr(kept, "rewrite", fails)
    with pytest.raises((ArchiveError, Unfinished), match=r"the disk is full|nothing has changed"):
        hold(kept, row, HOLD, BY, rules)
    assert [(use.action, use.outcome) for use in kept.store.accesses(row.id)] == [("hold", "failed")]

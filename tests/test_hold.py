"""Legal hold: who may place it, what it keeps from whom, and that it never ends by itself."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from retention.archive import Archive
from retention.erase import NotDeleted, begin_purge, delete
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
from retention.records import Access, Approval, Hold, Status, due_date
from retention.rows.rows import StoreError, UnknownId
from retention.sqlite import Store
from retention.vault import Identity
from retention.verify import verify
from sipagent.operations import Unfinished
from sipagent.operations.approvals import Rules, end_hold, hold
from sipagent.operations.uses import file_note
from tests.both import BOTH, by_hand
from tests.kept import CALLER, START, Paths, archive, keep, recording
from tests.raising import raising
from tests.tampering import use_of

DATABASES = BOTH

GROUNDS = ("disciplinary", "criminal")
TODAY, REVIEW = date(2026, 11, 25), "2027-03-01"
HOLD = Hold(ground="criminal", reference="2026/7", by="A. Roux", approved_by="B. Petit", review=REVIEW)
BY = Access(at=START, action="", by="A. Roux", system_user="root")
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
    monkeypatch.setattr(kept, "rewrite", raising(wrong))
    with pytest.raises((ArchiveError, Unfinished), match=r"the disk is full|nothing has changed"):
        hold(kept, row, HOLD, BY, rules)
    assert [(use.action, use.outcome) for use in kept.store.accesses(row.id)] == [("hold", "failed")]
    assert kept.store.recording(row.id) == row


# --- a field of its own, declared in `retention.records` alone ---


ROOT = Path(__file__).parent.parent
FIELD = """\
    officer: str | None = _term("Officer", "Of the court.", "O")
    review: str | None"""
FACES = """
from datetime import UTC, datetime
from pathlib import Path
from retention.archive import whole_hold
from retention.holds import why_no_hold
from retention.rows.chain import differences, open_hold
from retention.sqlite import Store
from sipagent.cli.hold import hold_command
from sipagent.web.api.openapi import document
from sipagent.web.pages.holds import asked_in_words
from sipagent.web.pages.recording import EMPTY

records = sys.modules["retention.records"]
(option,) = [one for one in hold_command.params if one.name == "officer"]
assert (option.required, option.metavar, option.help) == (True, "O", "Of the court.")
schemas = document()["components"]["schemas"]
assert "officer" in schemas["NewHold"]["required"] and "officer" in schemas["Approval"]["properties"]
assert EMPTY["officer"] == ""
asked = dict(ground="criminal", reference="7", review="2030-01-01", officer="Petit")
at = datetime(2026, 11, 24, tzinfo=UTC)
wanted = records.Approval(at=at, action="hold", recording_id="x", by="a", **asked)
assert asked_in_words(wanted).endswith(" Officer: Petit.")
kept = Store(":memory:")
assert kept.approval(kept.add_approval(wanted).id).officer == "Petit"
hold = records.Hold(by="a", approved_by="b", **asked)
assert whole_hold(hold.to_json()) == hold.to_json() and "officer" not in open_hold(hold.to_json())
refused = records.replace(hold, officer=" ")
assert why_no_hold(refused, ("criminal",), at.date()) == "--officer is empty"
with Store(Path(sys.argv[1])) as before:
    (row,) = before.read("SELECT * FROM approvals")
    assert not differences("approval", row, before.entries([row["chain_seq"]])[row["chain_seq"]])
    assert before.approval(row["id"]).officer is None
    assert before.approval(before.add_approval(wanted).id).officer == "Petit"
"""


@pytest.mark.in_sqlite
def test_a_field_is_added_in_one_place(tmp_path: Path) -> None:
    """All of the program reads another `retention.records`, with that field in it, and a database from before
    it: what was asked for then is what the chain tells."""
    with Store(tmp_path / "before.db") as store:
        asked = Approval(at=START, action="hold", recording_id="x", by="a", ground="criminal", reference="7")
        store.add_approval(asked)
    source = (ROOT / "retention/records.py").read_text(encoding="utf-8")
    assert source.count("    review: str | None") == 1
    made = source.replace("    review: str | None", FIELD)
    start = (
        "import sys, types\nmade = sys.modules['retention.records'] = types.ModuleType('retention.records')\n"
    )
    script = f"{start}exec({made!r}, vars(made))\n{FACES}"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "before.db"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

"""What an agent that died had begun is finished at the next start."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording.assemble import assemble, read_sound
from media.recording.tap import Tap
from retention.archive import Archive
from retention.erase import erase_row
from retention.marks import Mark
from retention.records import Event, Pause, Recording, Status
from retention.verify import verify
from sipagent.agent.recorder import Closing, close, recover
from sipagent.call.machines import ERASED, FLAGGED
from tests import kept
from tests.full_disk import fill
from tests.kept import ANN, OPERATOR, Paths, receipt, recording
from tests.raising import raising
from tests.tapping import expected, feed

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)
ALLOWED: dict[str, Any] = {"decision": "allowed", "decided_by": "silence"}
FAULT: dict[str, Any] = {"decision": "not_allowed", "decided_by": "recorder_fault"}
REFUSED: dict[str, Any] = {"decision": "refused", "decided_by": "dtmf"}
STOPPED: dict[str, Any] = {"decision": "not_allowed", "decided_by": "operator"}
UNCLEAR: dict[str, Any] = {"decision": "not_allowed", "decided_by": "unclear"}
UNDECIDED: dict[str, Any] = {"decision": "undecided", "decided_by": None}
MUST_GO = pytest.mark.parametrize(
    "told", [REFUSED, STOPPED, UNDECIDED], ids=["refused", "operator", "undecided"]
)


def files(archive: Archive) -> list[str]:
    return sorted(name.partition(".")[2] for name, _ in archive.names())


def is_erased(archive: Archive, row: Recording) -> bool:
    return archive.store.recording(row.id).status is Status.ERASED


def leave(archive: Archive, kind: str = "whole", *, sealed: bool = False) -> Recording:
    """An `open` row, and what lay beside it when the process died: three seconds, sealed to Ann a pause."""
    row = recording()
    part, final = archive.open(row), Paths(archive).final(row.id, "flac")
    tap = Tap(part, pytest.fail)
    tap.start(archive.vault.create(row.id, [ANN.public]) if sealed else None)
    feed(tap, 0, 12000)
    tap.silence(sealed)
    feed(tap, 12000, 24000)
    tap.finish()
    if kind == "made":
        assemble(part, final, "flac")
    elif kind == "half made":
        final.with_suffix(".flac.tmp").write_bytes(b"RIFF")
    return row


@pytest.mark.parametrize("kind", ["whole", "made", "half made"])
@pytest.mark.parametrize("told", [ALLOWED, FAULT], ids=["allowed", "recorder_fault"])
def test_what_may_be_kept_is_kept(archive: Archive, kind: str, told: dict[str, Any]) -> None:
    """Another format is configured since the crash: what was made already stays what it is."""
    row = leave(archive, kind)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None, **told))
    recover(archive, "wav", NOW, pytest.fail)
    done = archive.store.recording(row.id)
    assert (done.status, done.incomplete, archive.unfinished()) == (Status.CLOSED, False, [])
    assert files(archive) == (["json", "wav"] if kind == "whole" else ["flac", "json"])
    assert done.duration_s == 3.0 and done.ended_at != NOW and verify(archive).problems == []


def test_what_is_sealed_is_finished_without_any_private_key(archive: Archive) -> None:
    """Length, pauses and wholeness are known, whatever is configured by then."""
    row = leave(archive, sealed=True)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    recover(archive, "wav", NOW, pytest.fail)
    done = archive.store.recording(row.id)
    assert (done.status, files(archive)) == (Status.CLOSED, ["json", "sealed"])
    assert (done.duration_s, done.incomplete) == (3.0, False)
    assert done.pauses == (Pause(from_s=1.5, to_s=3.0),)
    reading = read_sound(Paths(archive).final(row.id, "sealed"), archive.vault.key(row.id, ANN))
    sound = np.concatenate(list(reading.blocks()))
    assert np.array_equal(sound[:12000], expected(12000)) and not sound[12000:].any()


@pytest.mark.parametrize("told", [REFUSED, STOPPED, UNCLEAR], ids=["refused", "operator", "unclear"])
def test_a_mark_is_believed_whatever_the_rows_say(archive: Archive, told: dict[str, Any]) -> None:
    """Killed right after it was made: the receipt says `allowed`."""
    row = leave(archive, sealed=True)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    archive.marks.sync(archive.marks.make(Mark.of(receipt(row, phase="call", **told), NOW)))
    recover(archive, "wav", NOW, pytest.fail)
    call = archive.store.receipt(row.id)
    assert is_erased(archive, row) and (files(archive), archive.vault.ids()) == ([], [])
    assert (call.decision, call.decided_by, call.phase) == (*told.values(), "call")
    assert archive.store.recording(row.id).decision == told["decision"]
    assert verify(archive).problems == []


@pytest.mark.parametrize("room", [True, False])
@MUST_GO
def test_what_may_not_be_kept_goes_from_a_full_disk_too(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], room: bool
) -> None:
    row = leave(archive, sealed=True)
    archive.store.add_receipt(receipt(row, **told))
    with monkeypatch.context() as patch:
        fill(patch, lambda: not room or files(archive) != [])
        recover(archive, "wav", NOW, alerts.append)
    assert (files(archive), archive.vault.ids(), len(alerts)) == ([], [], 0 if room else 1)
    recover(archive, "wav", NOW, pytest.fail)
    assert is_erased(archive, row) and archive.store.receipt(row.id) == receipt(row, **told)


CLOSED_AND_GOING: dict[str, dict[str, Any]] = {
    "refused": REFUSED,
    "erased after a fault": FAULT | {"events": (Event(at=NOW, what=ERASED, by="agent"),)},
    "erased as unclear": STOPPED
    | {"decided_by": "unclear", "events": (Event(at=NOW, what=ERASED, by="agent"),)},
}


@pytest.mark.parametrize("why", CLOSED_AND_GOING)
@pytest.mark.parametrize("closed", [True, False])
def test_what_a_call_had_kept_and_then_had_erased_is_erased(archive: Archive, why: str, closed: bool) -> None:
    row = kept.keep(archive, recording()) if closed else leave(archive)
    others = [kept.keep(archive, recording(1)), kept.keep(archive, recording(2))]
    told = receipt(row, **CLOSED_AND_GOING[why])
    archive.store.keep_receipt(told)
    archive.store.update_receipt(receipt(others[0], **FAULT))
    recover(archive, "wav", NOW, pytest.fail)
    assert is_erased(archive, row)
    assert [archive.store.recording(other.id) for other in others] == others
    assert files(archive) == ["flac", "flac", "json", "json"]


def test_a_refusal_that_came_first_is_not_undone_by_the_close(archive: Archive) -> None:
    """The row is `erased`: what the assembler still makes must not come back."""
    row = leave(archive)
    archive.store.add_receipt(receipt(row))
    erase_row(archive, row.id, NOW, "refused")
    close(archive, row, "wav", CLOSING)
    assert is_erased(archive, row) and files(archive) == []


@pytest.mark.parametrize("table", ["recordings", "receipts"])
def test_a_row_that_cannot_be_read_is_told_and_keeps_no_refusal_from_counting(
    archive: Archive, alerts: list[str], tmp_path: Path, table: str
) -> None:
    """Nor the agent from starting."""
    bad, other = leave(archive), recording(1)
    archive.open(other).touch()
    kept_at_first = kept.keep(archive, recording(2))
    archive.store.update_receipt(receipt(kept_at_first, decision="refused"))
    for row in (bad, other):
        archive.store.add_receipt(receipt(row, ended_at=None, decision="refused"))
    with closing(sqlite3.connect(tmp_path / "retention.db")) as hand, hand:
        hand.execute(f"UPDATE {table} SET started_at = 'once' WHERE id = ?", [bad.id])
    recover(archive, "wav", NOW, alerts.append)
    assert all(bad.id in alert and "nobody foresaw" not in alert for alert in alerts) and alerts
    assert is_erased(archive, other) and is_erased(archive, kept_at_first)
    assert archive.store.receipt(other.id).outcome == "failed"
    assert files(archive) == ([] if table == "recordings" else ["part"])


def test_what_has_no_receipt_is_erased_and_told(archive: Archive, alerts: list[str]) -> None:
    """Nothing says that it may be there; and the agent has to start all the same."""
    row, other = leave(archive), recording(1)
    archive.store.add_receipt(receipt(other, ended_at=None))
    recover(archive, "wav", NOW, alerts.append)
    assert is_erased(archive, row) and files(archive) == []
    assert len(alerts) == 1 and row.id in alerts[0]
    assert archive.store.receipt(other.id).outcome == "failed"


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("what", [FLAGGED, "hold"])
def test_a_flag_survives_the_agent(archive: Archive, closed: bool, what: str) -> None:
    """Also one of a recording that had been kept: its row was to be rewritten when the agent died."""
    row, other = kept.keep(archive, recording()) if closed else leave(archive), recording(1)
    kept.keep(archive, other)
    events = (Event(at=NOW, what=what, by="operator"),)
    archive.store.keep_receipt(receipt(row, ended_at=None, outcome=None, events=events))
    recover(archive, "wav", NOW, pytest.fail)
    flagged = [archive.store.recording(id).flagged for id in (row.id, other.id)]
    assert flagged == [what == FLAGGED, False]
    assert ('"flagged": true' in Paths(archive).metadata(row.id).read_text()) is (what == FLAGGED)
    assert archive.store.receipt(row.id).ended_at == NOW


def test_the_receipt_of_a_call_that_was_on_is_completed(archive: Archive) -> None:
    """That of another, whose file was still being made, stays as it was."""
    on, over = recording(1), leave(archive)
    archive.store.add_receipt(receipt(on, ended_at=None, outcome=None, decision="undecided"))
    archive.store.add_receipt(receipt(over))
    recover(archive, "wav", NOW, pytest.fail)
    done = archive.store.receipt(on.id)
    assert (done.outcome, done.ended_at, done.decision) == ("failed", NOW, "undecided")
    assert done.events[-1].what == "the agent had died in this call"
    assert archive.store.receipt(over.id) == receipt(over)
    assert archive.store.recording(over.id).status is Status.CLOSED


@pytest.mark.parametrize(
    ("fault", "said"), [(OSError(28, "No space left on device"), "No space"), (IndexError("x"), "foresaw")]
)
def test_one_that_cannot_be_finished_is_told_keeps_no_other_and_is_tried_again(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, fault: Exception, said: str
) -> None:
    """Another may be of a caller who refused, and that one goes first."""
    row, refused = leave(archive), recording(-1)
    archive.open(refused).write_bytes(b"of who refused")
    archive.store.add_receipt(receipt(row, ended_at=None))
    archive.store.add_receipt(receipt(refused, ended_at=None, decision="refused"))
    with monkeypatch.context() as patch:
        patch.setattr("sipagent.agent.recorder.assemble", raising(fault))
        recover(archive, "wav", NOW, alerts.append)
    assert is_erased(archive, refused) and archive.store.open_receipts() == []
    assert len(alerts) == 1 and said in alerts[0] and alerts[0].startswith(f"recovery of {row.id}: ")
    assert [one.id for one in archive.unfinished()] == [row.id]
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.unfinished() == []

"""What an agent that died had begun is finished at the next start."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording.assemble import Format, assemble, read_sound, settle
from media.recording.tap import Tap
from retention.archive import Archive
from retention.erase import erase_row
from retention.records import Event, Pause, Recording, Status
from retention.vault import Identity
from retention.verify import verify
from sipagent.agent.recorder import Closing, close, recover
from sipagent.call.machines import ERASED, FLAGGED
from tests import kept
from tests.full_disk import fill
from tests.kept import OPERATOR, Paths, receipt, recording
from tests.tapping import expected, feed

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)


def files(archive: Archive) -> list[str]:
    return sorted(name.partition(".")[2] for name, _ in archive.names())


# --- what a process that died had begun ---


def leave(archive: Archive, kind: str, format: Format = "wav") -> Recording:
    """An `open` row, and what lay beside it when the process died."""
    row = recording()
    part = archive.open(row)
    tap = Tap(part, pytest.fail)
    tap.start()
    feed(tap, 0, 24000)
    tap.finish()
    if kind == "cut":
        with part.open("r+b") as stream:
            stream.truncate(part.stat().st_size // 2)
    elif kind == "absent":
        part.unlink()
    elif kind == "assembled":
        assemble(part, Paths(archive).final(row.id, format), format)
    elif kind == "both":
        copy = part.with_suffix(".copy")
        shutil.copy(part, copy)
        assemble(part, Paths(archive).final(row.id, format), format)
        copy.rename(part)
    elif kind == "half assembled":
        Paths(archive).final(row.id, format).with_suffix(f".{format}.tmp").write_bytes(b"RIFF")
    return row


KINDS = ("whole", "cut", "absent", "assembled", "both", "half assembled")
MAY_STAY: tuple[dict[str, Any], ...] = (
    {"decision": "allowed", "decided_by": "silence"},
    {"decision": "not_allowed", "decided_by": "recorder_fault"},
)
MUST_GO: tuple[dict[str, Any], ...] = (
    {"decision": "refused", "decided_by": "dtmf"},
    {"decision": "not_allowed", "decided_by": "operator"},
    {"decision": "undecided", "decided_by": None},
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("told", MAY_STAY, ids=["allowed", "recorder_fault"])
def test_what_may_be_kept_is_kept(
    archive: Archive, alerts: list[str], kind: str, told: dict[str, Any]
) -> None:
    row = leave(archive, kind)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None, **told))
    recover(archive, "wav", NOW, alerts.append)
    done = archive.store.recording(row.id)
    assert done.incomplete is (kind == "cut")
    if kind == "absent":
        assert (done.status, files(archive)) == (Status.FAILED, [])
    else:
        assert (done.status, files(archive)) == (Status.CLOSED, ["json", "wav"])
        assert (done.duration_s or 0) == pytest.approx(3.0 if kind != "cut" else 1.5, abs=1.0)
        assert done.ended_at != NOW
    assert (alerts, archive.unfinished()) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("told", MUST_GO, ids=["refused", "operator", "undecided"])
def test_what_may_not_be_kept_is_erased(
    archive: Archive, alerts: list[str], kind: str, told: dict[str, Any]
) -> None:
    row = leave(archive, kind)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None, **told))
    recover(archive, "wav", NOW, alerts.append)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.ERASED, [])
    assert alerts == []


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("told", MUST_GO, ids=["refused", "operator", "undecided"])
def test_what_may_not_be_kept_goes_from_a_full_disk_too(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], room: bool
) -> None:
    row = leave(archive, "whole")
    archive.store.add_receipt(receipt(row, **told))
    with monkeypatch.context() as patch:
        fill(patch, lambda: not room or files(archive) != [])
        recover(archive, "wav", NOW, alerts.append)
    assert (files(archive), len(alerts)) == ([], 0 if room else 1)
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert archive.store.receipt(row.id) == receipt(row, **told)


@pytest.mark.parametrize("table", ["recordings", "receipts"])
def test_a_row_that_cannot_be_read_is_told_and_keeps_no_refusal_from_counting(
    archive: Archive, alerts: list[str], tmp_path: Path, table: str
) -> None:
    """Nor the agent from starting."""
    bad, other = leave(archive, "whole"), recording(1)
    archive.open(other)
    Paths(archive).part(other.id).touch()
    kept_at_first = kept.keep(archive, recording(2))
    archive.store.update_receipt(receipt(kept_at_first, decision="refused"))
    for row in (bad, other):
        archive.store.add_receipt(receipt(row, ended_at=None, decision="refused"))
    spoil(tmp_path / "retention.db", table, bad.id)
    recover(archive, "wav", NOW, alerts.append)
    assert all(bad.id in alert and "nobody foresaw" not in alert for alert in alerts) and alerts
    for row in (other, kept_at_first):
        assert archive.store.recording(row.id).status is Status.ERASED
    assert archive.store.receipt(other.id).outcome == "failed"
    assert files(archive) == ([] if table == "recordings" else ["part"])


def spoil(database: Path, table: str, id: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"UPDATE {table} SET started_at = 'once' WHERE id = ?", [id])


def test_what_has_no_receipt_is_erased_and_told(archive: Archive, alerts: list[str]) -> None:
    """Nothing says that it may be there; and the agent has to start all the same."""
    row, other = leave(archive, "whole"), recording(1)
    archive.store.add_receipt(receipt(other, ended_at=None))
    recover(archive, "wav", NOW, alerts.append)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.ERASED, [])
    assert len(alerts) == 1
    assert row.id in alerts[0]
    assert archive.store.receipt(other.id).outcome == "failed"


@pytest.mark.parametrize("kind", KINDS)
def test_another_format_since_loses_nothing(archive: Archive, kind: str) -> None:
    """The configuration changed between the crash and the start: what was made already stays what it is."""
    row = leave(archive, kind, "flac")
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    recover(archive, "wav", NOW, pytest.fail)
    done = archive.store.recording(row.id)
    if kind == "absent":
        assert (done.status, files(archive)) == (Status.FAILED, [])
        return
    kept_as = "flac" if "assembled" in kind or kind == "both" else "wav"
    assert (done.status, files(archive)) == (Status.CLOSED, sorted(["json", kept_as]))
    assert verify(archive).problems == []


@pytest.mark.parametrize("flagged", [True, False])
def test_a_flag_survives_the_agent(archive: Archive, flagged: bool) -> None:
    row = leave(archive, "cut")
    events = (Event(at=NOW, what=FLAGGED if flagged else "hold", by="operator"),)
    archive.store.add_receipt(receipt(row, ended_at=None, events=events))
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.store.recording(row.id).flagged is flagged


def test_a_flag_that_came_after_a_recording_was_kept_survives_too(archive: Archive) -> None:
    """The receipt says it; the row was to be rewritten when the agent died."""
    row, other = kept.keep(archive, recording()), kept.keep(archive, recording(1))
    events = (Event(at=NOW, what=FLAGGED, by="operator"),)
    archive.store.update_receipt(receipt(row, ended_at=None, outcome=None, events=events))
    recover(archive, "wav", NOW, pytest.fail)
    assert [archive.store.recording(id).flagged for id in (row.id, other.id)] == [True, False]
    assert '"flagged": true' in Paths(archive).metadata(row.id).read_text()
    assert archive.store.receipt(row.id).ended_at == NOW


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("decided_by", ["recorder_fault", "unclear"])
def test_what_a_call_had_kept_and_then_had_erased_is_erased(
    archive: Archive, closed: bool, decided_by: str
) -> None:
    """By the operator, after a fault had ended it; or because a refusal could no longer be heard."""
    row = kept.keep(archive, recording()) if closed else leave(archive, "whole")
    other = kept.keep(archive, recording(1))
    events = (Event(at=NOW, what=ERASED, by="agent"),)
    told = receipt(row, decision="not_allowed", decided_by=decided_by, events=events)
    if closed:
        archive.store.update_receipt(told)
    else:
        archive.store.add_receipt(told)
    archive.store.update_receipt(receipt(other, decision="not_allowed", decided_by="recorder_fault"))
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert archive.store.recording(other.id).status is Status.CLOSED
    assert files(archive) == ["flac", "json"]


def test_what_was_kept_and_then_refused_is_erased_though_its_row_was_closed(archive: Archive) -> None:
    row, other = kept.keep(archive, recording()), kept.keep(archive, recording(1))
    archive.store.update_receipt(receipt(row, decision="refused", decided_by="dtmf"))
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert archive.store.recording(other.id) == other
    assert files(archive) == ["flac", "json"]


def test_the_receipt_of_a_call_that_was_on_is_completed(archive: Archive) -> None:
    on, over = recording(), recording(1)
    archive.store.add_receipt(receipt(on, ended_at=None, outcome=None, decision="undecided"))
    archive.store.add_receipt(receipt(over))
    recover(archive, "wav", NOW, pytest.fail)
    done = archive.store.receipt(on.id)
    assert (done.outcome, done.ended_at, done.decision) == ("failed", NOW, "undecided")
    assert done.events[-1].what == "the agent had died in this call"
    assert archive.store.receipt(over.id) == receipt(over)


def test_a_recording_whose_call_had_ended_well_is_finished_too(archive: Archive) -> None:
    """The receipt was complete, the file was still being made."""
    row = leave(archive, "whole")
    archive.store.add_receipt(receipt(row))
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.store.recording(row.id).status is Status.CLOSED
    assert archive.store.receipt(row.id) == receipt(row)


def test_one_that_cannot_be_finished_is_told_and_tried_again_at_the_next_start(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [leave(archive, "whole"), replace(recording(1))]
    archive.open(rows[1])
    for row in rows:
        archive.store.add_receipt(receipt(row, ended_at=None))
    with monkeypatch.context() as patch:
        patch.setattr("sipagent.agent.recorder.assemble", failing(OSError(28, "No space left on device")))
        recover(archive, "wav", NOW, alerts.append)
    assert len(alerts) == 2
    assert {row.id for row in archive.unfinished()} == {row.id for row in rows}
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.unfinished() == []


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_refusal_that_came_first_is_not_undone_by_the_close(archive: Archive) -> None:
    """The row is `erased`: what the assembler still makes must not come back."""
    row = leave(archive, "whole")
    archive.store.add_receipt(receipt(row))
    erase_row(archive, row.id, NOW, "refused")
    close(archive, row, "wav", CLOSING)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.ERASED, [])


# --- sealed ---


ANN = Identity(bytes([1]) * 32, "Ann")


@pytest.fixture
def shut(archive: Archive) -> Callable[[str], Recording]:
    """As `leave`, of a recording that is sealed to Ann."""

    def leave_sealed(kind: str) -> Recording:
        row = recording()
        part = archive.open(row)
        tap = Tap(part, pytest.fail)
        tap.start(archive.vault.create(row.id, [ANN.public]))
        feed(tap, 0, 12000)
        tap.silence(True)
        feed(tap, 12000, 24000)
        tap.finish()
        if kind == "cut":
            with part.open("r+b") as stream:
                stream.truncate(part.stat().st_size - 10)
        elif kind == "named":
            settle(part, Paths(archive).final(row.id, "sealed"))
        elif kind == "empty":
            part.write_bytes(b"")
        elif kind == "key only":
            part.unlink()
        return row

    return leave_sealed


@pytest.mark.parametrize("kind", ["whole", "cut", "named", "empty", "key only"])
def test_what_is_sealed_is_finished_without_any_private_key(
    archive: Archive, shut: Callable[[str], Recording], kind: str
) -> None:
    """Length, pauses and wholeness are known, whatever is configured by then."""
    row = shut(kind)
    archive.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    recover(archive, "wav", NOW, pytest.fail)
    done = archive.store.recording(row.id)
    if kind in ("empty", "key only"):
        assert (done.status, files(archive), archive.vault.ids()) == (Status.FAILED, [], [])
        return
    assert (done.status, files(archive)) == (Status.CLOSED, ["json", "sealed"])
    assert (done.duration_s, done.incomplete) == (3.0, kind == "cut")
    assert done.pauses == (() if kind == "cut" else (Pause(from_s=1.5, to_s=3.0),))
    reading = read_sound(Paths(archive).final(row.id, "sealed"), archive.vault.key(row.id, ANN))
    sound = np.concatenate(list(reading.blocks()))
    assert np.array_equal(sound[:12000], expected(12000))
    assert not sound[12000:].any()
    assert reading.complete is (kind != "cut")


@pytest.mark.parametrize("kind", ["whole", "cut", "named", "empty", "key only"])
def test_what_is_sealed_and_may_not_be_kept_is_erased_with_its_key(
    archive: Archive, shut: Callable[[str], Recording], kind: str
) -> None:
    row = shut(kind)
    archive.store.add_receipt(receipt(row, decision="refused", decided_by="dtmf"))
    recover(archive, "wav", NOW, pytest.fail)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert (files(archive), archive.vault.ids()) == ([], [])


def test_what_nobody_foresaw_keeps_no_other_from_being_erased(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_one, refused = leave(archive, "whole"), recording(-1)
    archive.open(refused).write_bytes(b"of who refused")
    archive.store.add_receipt(receipt(kept_one, ended_at=None))
    archive.store.add_receipt(receipt(refused, ended_at=None, decision="refused"))

    def close(*_: object) -> None:
        raise IndexError("nothing")

    monkeypatch.setattr("sipagent.agent.recorder.close", close)
    recover(archive, "wav", NOW, alerts.append)
    assert archive.store.recording(refused.id).status is Status.ERASED
    assert alerts == [f"recovery of {kept_one.id}: IndexError('nothing'), which nobody foresaw"]
    assert archive.store.open_receipts() == []

"""What is kept of calls: the order in which it happens, sealed or in clear, and faults on the way.

A refusal waits for nobody: not for the database, nor for what is still being made of the recording.
"""

import ast
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording import assemble as assembling
from media.recording import chunks
from media.recording.assemble import AssemblyError, assemble, read_sound
from media.recording.chunks import Finished, Kind, read_part
from media.recording.tap import Channel, Tap, TapError
from retention import vault
from retention.archive import Archive
from retention.marks import Marks
from retention.recording_files import LocalFiles
from retention.records import MissingSound, Recording, Status
from retention.rows.rows import StoreError
from retention.shortfall import told
from retention.sqlite import Store
from retention.vault import Vault, public_line
from retention.verify import verify
from sipagent.agent.recorder import Closing, Erasing, Recorder, close
from sipagent.agent.row_writer import Worker
from tests import kept
from tests.kept import ANN, BEN, OPERATOR, Paths, receipt, recording
from tests.locking import locked
from tests.raising import no_room, raising
from tests.settling import empty, settle, settle_rows
from tests.tapping import PATIENCE_S, RATE, expected, feed, wait_for
from tests.test_structure import ROOT

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)
REFUSED: dict[str, Any] = {"decision": "refused", "decided_by": "dtmf", "phase": "call"}
STOPPED: dict[str, Any] = {"decision": "not_allowed", "decided_by": "operator", "phase": "call"}
UNCLEAR: dict[str, Any] = {"decision": "not_allowed", "decided_by": "unclear", "phase": "call"}
DECISIONS = pytest.mark.parametrize(
    "told", [REFUSED, STOPPED, UNCLEAR], ids=["refused", "stopped", "unclear"]
)


@pytest.fixture
def recipients(tmp_path: Path) -> tuple[Path, ...]:
    paths = (tmp_path / "ann.pub", tmp_path / "ben.pub")
    for path, identity in zip(paths, (ANN, BEN), strict=True):
        path.write_text(public_line(identity.public))
    return paths


@pytest.fixture
def recorder(archive: Archive, alerts: list[str], recipients: tuple[Path, ...]) -> Iterator[Recorder]:
    """It seals to Ann and Ben."""
    yield from recording_into(archive, alerts, recipients)


@pytest.fixture
def clear(archive: Archive, alerts: list[str]) -> Iterator[Recorder]:
    yield from recording_into(archive, alerts, ())


def recording_into(archive: Archive, alerts: list[str], recipients: tuple[Path, ...]) -> Iterator[Recorder]:
    recorder = Recorder(archive, "wav", alerts.append, recipients)
    recorder.start()
    yield recorder
    if recorder._quick._thread.is_alive():
        recorder.stop()


def files(archive: Archive) -> list[str]:
    """What is on the disk, without the ids."""
    names = [name.partition(".")[2] for name, _ in archive.names()]
    return sorted([*names, *("key" for _ in archive.vault.ids())])


def begin(recorder: Recorder, row: Recording, seconds: int = 2) -> Tap:
    """A tap that has been fed for so long."""
    recorder.keep_receipt(receipt(row, ended_at=None, outcome=None))
    tap = recorder.begin(row, lambda reason, _: pytest.fail(reason))
    settle(recorder)
    feed(tap, 0, seconds * RATE)
    return tap


def kept_by(recorder: Recorder, row: Recording) -> None:
    recorder.keep(begin(recorder, row), row, CLOSING)
    settle(recorder)


def settle_erasing(recorder: Recorder) -> None:
    for worker in (recorder._erasing._mark, recorder._erasing._eraser):
        empty(worker)


def is_erased(archive: Archive, row: Recording) -> bool:
    return archive.store.recording(row.id).status is Status.ERASED and files(archive) == []


def watching(call: Callable[..., Any], look: Callable[[], object]) -> Callable[..., Any]:
    """Look at something before each call."""

    def watched(*arguments: Any, **named: Any) -> Any:
        look()
        return call(*arguments, **named)

    return watched


class Waiting:
    """A call that waits, once it is reached, until it may go on."""

    def __init__(self, patch: pytest.MonkeyPatch, of: object, name: str) -> None:
        self._reached, self._go_on = threading.Event(), threading.Event()
        patch.setattr(of, name, watching(getattr(of, name), self._wait))

    def _wait(self) -> None:
        self._reached.set()
        assert self._go_on.wait(PATIENCE_S)

    def reached(self) -> None:
        assert self._reached.wait(PATIENCE_S)

    def go_on(self) -> None:
        self._go_on.set()


def test_a_sealed_one_is_for_its_recipients_and_never_in_clear(
    recorder: Recorder, archive: Archive, tmp_path: Path
) -> None:
    """Neither while the call is on, nor after it."""
    row = recording(operator=None)
    tap, samples = begin(recorder, row), expected(16000)
    wait_for(lambda: Paths(archive).part(row.id).stat().st_size > samples.nbytes / 2)
    spans = [samples[start : start + 50].tobytes() for start in range(0, 16000, 50)]
    assert not [span for span in spans if span in kept.bytes_under(tmp_path)]
    assert archive.store.recording(row.id).status is Status.OPEN
    recorder.keep(tap, row, replace(CLOSING, flagged=True))
    recorder.stop()
    assert not [span for span in spans if span in kept.bytes_under(tmp_path)]
    done, file = archive.store.recording(row.id), Paths(archive).final(row.id, "sealed")
    assert (done.status, done.duration_s, done.incomplete) == (Status.CLOSED, 2.0, False)
    assert (done.ended_at, done.operator, done.flagged) == (NOW, OPERATOR, True)
    assert (done.channels, done.sample_rate, done.pauses) == (2, 8000, ())
    assert (done.path, files(archive)) == (f"recordings/{row.id}.sealed", ["json", "key", "sealed"])
    assert (done.bytes, done.sha256) == (file.stat().st_size, sha256(file.read_bytes()).hexdigest())
    for identity in (ANN, BEN):
        reading = read_sound(file, archive.vault.key(row.id, identity))
        assert np.array_equal(np.concatenate(list(reading.blocks())), samples) and reading.complete


def test_a_reload_and_other_keys_are_for_the_recordings_to_come(
    recorder: Recorder, archive: Archive, recipients: tuple[Path, ...]
) -> None:
    """What began sealed is closed sealed."""
    rows = [recording(minutes) for minutes in range(4)]
    taps = [begin(recorder, rows[0])]
    recorder.reload("wav", recipients[1:])
    taps.append(begin(recorder, rows[1]))
    recipients[1].write_text(public_line(ANN.public))
    taps.append(begin(recorder, rows[2]))
    recorder.reload("flac", ())
    taps.append(begin(recorder, rows[3]))
    for tap, row in zip(taps[1:], rows[1:], strict=True):
        recorder.keep(tap, row, CLOSING)
    taps[0].finish()
    recorder.stop()
    close(archive, rows[0], "wav", replace(CLOSING, flagged=True))
    assert archive.store.recording(rows[0].id).flagged
    able = [archive.vault.recipients(row.id) for row in rows[:3]]
    assert able == [(ANN.public, BEN.public), (BEN.public,), (ANN.public,)]
    assert [row.path.rpartition(".")[2] for row in archive.store.recordings() if row.path] == [
        *("flac", "sealed", "sealed", "sealed")
    ]


def test_stopping_finishes_what_was_begun_and_leaves_what_still_runs_as_a_whole_part(
    clear: Recorder, archive: Archive
) -> None:
    """The call could not be ended in time: the next start finds all that was fed."""
    rows, running = [recording(minutes) for minutes in range(3)], recording(3)
    for row in rows:
        clear.keep(begin(clear, row), row, CLOSING)
    tap = clear.begin(running, lambda reason, _: pytest.fail(reason))
    settle(clear)
    for channel in Channel:
        tap.feed(channel, np.ones(800, np.int16), 1.0)
    clear.stop()
    assert {archive.store.recording(row.id).status for row in rows} == {Status.CLOSED}
    audio = [chunk for chunk in read_part(Paths(archive).part(running.id)) if chunk.kind is Kind.AUDIO]
    assert sum(chunk.frames for chunk in audio) == 800 and clear._writer._taps == {}


def test_what_a_failed_tap_has_written_is_kept_as_incomplete(
    clear: Recorder, archive: Archive, tmp_path: Path
) -> None:
    """The writer stalls, say, or the disk fills up in the middle of a call."""
    row, failed = recording(), list[str]()
    clear.keep_receipt(receipt(row))
    tap = clear.begin(row, lambda reason, _: failed.append(reason))
    settle(clear)
    feed(tap, 0, 16000)
    part, safe = Paths(archive).part(row.id), tmp_path / "safe"
    wait_for(lambda: part.stat().st_size > 2 * 32000)
    shutil.copy(part, safe)
    part.unlink()
    feed(tap, 16000, 24000)
    wait_for(lambda: bool(failed))
    safe.rename(part)
    clear.keep(tap, row, CLOSING)
    settle(clear)
    done = archive.store.recording(row.id)
    assert (done.status, done.incomplete) == (Status.CLOSED, True) and (done.duration_s or 0) >= 1.9


def test_a_tap_that_failed_keeps_no_other_from_its_end(
    clear: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tap] = []

    def fail(tap: Tap) -> None:
        asked.append(tap)
        raise TapError("the disk is full")

    taps = [begin(clear, recording(minutes), seconds=0) for minutes in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(Tap, "finish", fail)
        clear.stop()
    assert set(asked) == set(taps)
    for tap in taps:
        tap.abandon()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        ("", "is not a public key"),
        ('{"version": "sipagent-identity-1"}', "is an identity, which does not belong here"),
    ],
)
def test_a_key_that_is_wrong_costs_the_recording_and_names_its_file(
    recorder: Recorder, archive: Archive, recipients: tuple[Path, ...], content: str | None, problem: str
) -> None:
    recipients[1].unlink()
    if content is not None:
        recipients[1].write_text(content)
    row, failed = recording(), list[str]()
    recorder.keep_receipt(receipt(row))
    tap = recorder.begin(row, lambda reason, _: failed.append(reason))
    settle(recorder)
    feed(tap, 0, 16000)
    (reason,) = failed
    assert reason.startswith(f"{recipients[1]}: {problem}") and files(archive) == []
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.FAILED, [])
    assert recorder.figures.faults == {"recorder": 0, "assembler": 0}


@pytest.mark.parametrize("fault", ["the vault", "the part", "what nobody foresaw"])
def test_a_tap_that_cannot_begin_says_so_and_the_next_one_does(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The call knows that it is not recorded."""
    row, failed = recording(), list[str]()
    with monkeypatch.context() as patch:
        if fault == "the vault":
            Paths(archive).vault.write_text("in the way")
        elif fault == "the part":
            Paths(archive).recordings.mkdir()
            Paths(archive).part(row.id).write_bytes(b"in the way")
        else:
            patch.setattr(Tap, "start", raising(ValueError("no such cipher")))
        recorder.begin(row, lambda reason, _: failed.append(reason))
        settle(recorder)
    assert len(failed) == 1 and (fault in failed[0]) is (fault == "what nobody foresaw")
    told = ["recorder: ValueError('no such cipher'), which nobody foresaw"]
    assert alerts == (told if fault == "what nobody foresaw" else [])
    if fault == "the vault":
        Paths(archive).vault.unlink()
    begin(recorder, after := recording(1))
    assert Paths(archive).part(after.id).exists()


def test_a_file_that_cannot_be_made_is_tried_again(
    clear: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full at the end of the call: else nobody could hold it until a restart."""
    monkeypatch.setattr("sipagent.agent.recorder.AGAIN_S", 0.02)
    faults, row = [AssemblyError("no room")] * 3, recording()

    def full(part: Path, *how: Any) -> Finished:
        if faults:
            raise faults.pop()
        return assemble(part, *how)

    monkeypatch.setattr("sipagent.agent.recorder.assemble", full)
    clear.keep(begin(clear, row), row, CLOSING)
    wait_for(lambda: archive.store.recording(row.id).status is Status.CLOSED)
    assert [alert for alert in alerts if row.id not in alert] == ["assembler: no room"] * 3
    assert [alert for alert in alerts if row.id in alert] == [f"{row.id}: {told('file')}"]
    assert archive.store.receipt(row.id).not_recorded_because is None and files(archive) == ["json", "wav"]
    assert clear.figures.faults["assembler"] == 3


def test_a_thread_does_the_next_job_whatever_became_of_the_one_before() -> None:
    """And what is to be tried again hinders no end."""
    told: list[str] = []
    worker = Worker("assembler", told.append)
    worker.start()
    worker.put(raising(IndexError("nothing")))
    worker.put(lambda: worker.again(lambda: told.append("late"), PATIENCE_S))
    worker.put(lambda: worker.again(lambda: told.append("soon"), 0.01))
    wait_for(lambda: told[-1:] == ["soon"])
    worker.stop()
    assert told == ["assembler: IndexError('nothing'), which nobody foresaw", "soon"] and worker.faults == 1


def test_no_thread_of_the_agents_can_open_anything() -> None:
    """What would need a private key is used by the command line alone."""
    opening = {"read_identity", "Identity", "open_all", "Opener", "read_sound"}
    assert opening <= {*dir(assembling), *dir(vault), *dir(chunks)}
    for module in ("agent/recorder", "service/one_process", "agent/agent", "agent/calls"):
        tree = ast.parse((ROOT / f"sipagent/{module}.py").read_text(encoding="utf-8"))
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not named & opening, module


@DECISIONS
def test_the_mark_is_there_before_the_call_goes_on_and_before_anything_is_removed(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    """Whoever kills the process from here on keeps nothing."""
    row = recording()
    tap = begin(recorder, row)
    erasing = Waiting(monkeypatch, Erasing, "_erase")
    removing: list[list[str]] = []
    monkeypatch.setattr(
        LocalFiles, "erase", watching(LocalFiles.erase, lambda: removing.append(files(archive)))
    )
    recorder.erase(tap, receipt(row, ended_at=None, **told), NOW)
    found = archive.marks.read(row.id)
    assert archive.marks.ids() == [row.id] and found is not None
    assert (found.decision, found.decided_by, found.phase) == tuple(told.values())
    erasing.go_on()
    settle(recorder)
    assert removing[0] == ["key", "part", "refused"] and is_erased(archive, row)
    assert archive.store.recording(row.id).ended_at == NOW


def test_refusals_of_many_at_once_have_their_marks_before_any_is_erased(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow: nobody's mark waits for another's to be synced."""
    rows = [recording(minutes) for minutes in range(5)]
    taps = [begin(recorder, row) for row in rows]
    syncing = Waiting(monkeypatch, Marks, "sync")
    for row, tap in zip(rows, taps, strict=True):
        recorder.erase(tap, receipt(row, ended_at=None, **REFUSED), NOW)
    wait_for(lambda: archive.marks.ids() == sorted(row.id for row in rows))
    syncing.go_on()
    settle(recorder)
    assert files(archive) == []


def test_a_disk_that_does_not_answer_holds_no_call_up(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer has taken nothing for seconds: the mark is made by a thread that may wait."""
    row = recording()
    tap = begin(recorder, row)
    making = Waiting(monkeypatch, Marks, "make")
    with tap._file_lock:  # the writer waits for the disk
        feed(tap, RATE, 4 * RATE)
        recorder.erase(tap, receipt(row, ended_at=None, **REFUSED), NOW)
        assert archive.marks.ids() == [] and archive.marks.forbidden(row.id)
        making.go_on()
        wait_for(lambda: files(archive) == ["refused"])  # though its writer still waits
    settle(recorder)
    assert is_erased(archive, row)


@DECISIONS
def test_while_the_database_is_locked_the_sound_goes(
    recorder: Recorder, archive: Archive, alerts: list[str], tmp_path: Path, told: dict[str, Any]
) -> None:
    row = recording()
    tap = begin(recorder, row)
    assert files(archive) == ["key", "part"]
    with locked(tmp_path):
        recorder.erase(tap, receipt(row, ended_at=None, **told), NOW)
        wait_for(lambda: files(archive) == ["refused"])
    settle(recorder)
    assert is_erased(archive, row) and archive.store.recording(row.id).decision == told["decision"]
    assert (archive.store.receipt(row.id).decided_by, alerts) == (told["decided_by"], [])


@pytest.mark.parametrize("told", [REFUSED, STOPPED], ids=["refused", "stopped"])
def test_what_was_kept_and_is_then_refused_goes_as_soon_and_what_was_stopped_waits_for_its_row(
    recorder: Recorder, archive: Archive, alerts: list[str], tmp_path: Path, told: dict[str, Any]
) -> None:
    """The latter may be on hold: only the caller's own refusal goes before that. Its mark is there all the
    same."""
    row = recording()
    kept_by(recorder, row)
    assert files(archive) == ["json", "key", "sealed"]
    with locked(tmp_path):
        recorder.erase_kept(receipt(row, **told), NOW)
        wait_for(lambda: "refused" in files(archive))
        settle_erasing(recorder)
        assert files(archive) == (["refused"] if told is REFUSED else ["json", "key", "refused", "sealed"])
    settle(recorder)
    assert is_erased(archive, row) and alerts == []


@pytest.mark.parametrize("at", ["its row", "the key", "the part"])
def test_refused_while_it_begins_nothing_of_it_stays(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch, alerts: list[str], at: str
) -> None:
    """While its row waits, between its row and its key, and between its key and its part."""
    row, failed = recording(), list[str]()
    place, name = {"its row": (Archive, "open"), "the key": (Vault, "create"), "the part": (Tap, "start")}[at]
    waiting = Waiting(monkeypatch, place, name)
    recorder.keep_receipt(receipt(row, ended_at=None, outcome=None))
    tap = recorder.begin(row, lambda reason, _: failed.append(reason))
    waiting.reached()
    recorder.erase(tap, receipt(row, ended_at=None, **REFUSED), NOW)
    settle_erasing(recorder)
    if at != "its row":
        settle_rows(recorder)
    assert files(archive) == ["refused"]  # as long as something of it may still begin
    waiting.go_on()
    settle(recorder)
    assert is_erased(archive, row) and (failed, alerts) == ([], [])
    assert archive.store.receipt(row.id).decision == "refused" and verify(archive).problems == []


@pytest.mark.parametrize("kind", ["recorder", "clear"])
def test_the_map_of_what_is_missing_is_in_the_row_and_whoever_changes_it_is_found(
    kind: str, archive: Archive, request: pytest.FixtureRequest
) -> None:
    recorder, row = request.getfixturevalue(kind), recording()
    tap = begin(recorder, row)
    tap.unheard(Channel.CALLER, 0, 160, "concealed")
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    (told,) = archive.store.recording(row.id).missing
    assert told == MissingSound(channel="caller", from_s=1.98, to_s=2.0, why="concealed")
    assert verify(archive).problems == []
    name = Paths(archive).final(row.id, "sealed" if kind == "recorder" else "wav")
    whole = name.read_bytes()
    name.write_bytes(whole.replace(b'"concealed"', b'"not_fed!!"'))
    assert name.read_bytes() != whole and len(verify(archive).problems) == 1
    name.write_bytes(whole)
    kept.sqlite(archive.store).execute("UPDATE recordings SET missing = '[]'")
    assert verify(archive).problems != []


@pytest.mark.parametrize("step", ["_encode", "_checksum", "_survey"])
def test_refused_while_the_file_is_made_no_file_comes_after_it(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step != "_survey":  # which is a step of what is sealed
        recorder.reload("flac", ())
    row, making = recording(), Waiting(monkeypatch, assembling, step)
    recorder.keep(begin(recorder, row), row, CLOSING)
    making.reached()
    recorder.erase_kept(receipt(row, **REFUSED), NOW)
    settle_erasing(recorder)
    assert files(archive) == ["refused"]
    settle_rows(recorder)
    assert archive.store.receipt(row.id).decision == "refused"
    making.go_on()
    settle(recorder)
    assert is_erased(archive, row) and alerts == []


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_without_a_mark_the_sound_goes_all_the_same(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    row = recording()
    tap, make = begin(recorder, row), Marks.make
    full = no_room()

    def torn(marks: Marks, mark: Any) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", full)
            return make(marks, mark)

    of, done = {"open": ("make", full), "write": ("make", torn), "fsync": ("sync", full)}[call]
    monkeypatch.setattr(Marks, of, done)
    recorder.erase(tap, receipt(row, ended_at=None, **REFUSED), NOW)
    settle(recorder)
    assert files(archive) == [] and archive.store.receipt(row.id).decision == "refused"
    assert len(alerts) == 1 and "No space left" in alerts[0]


@pytest.mark.parametrize("until", ["the files are gone", "the end"])
@pytest.mark.parametrize("was_kept", [False, True])
def test_what_is_refused_goes_even_where_the_database_cannot_say_so(
    clear: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch, until: str, was_kept: bool
) -> None:
    """Its mark is for the next start, as long as no row says so."""
    row, update = recording(), Store._update
    tap = begin(clear, row)
    if was_kept:
        clear.keep(tap, row, CLOSING)
        settle(clear)
        assert archive.store.recording(row.id).status is Status.CLOSED

    def full(store: Store, table: str, record: dict[str, object]) -> None:
        if until == "the end" or {"wav", "part"} & {*files(archive)}:
            raise StoreError("database or disk is full")
        update(store, table, record)

    monkeypatch.setattr(Store, "_update", full)
    told = receipt(row, **REFUSED)
    clear.erase_kept(told, NOW) if was_kept else clear.erase(tap, told, NOW)
    settle(clear)
    assert files(archive) == ([] if until == "the files are gone" else ["refused"])
    if until == "the files are gone":
        assert is_erased(archive, row) and archive.store.receipt(row.id).decision == "refused"

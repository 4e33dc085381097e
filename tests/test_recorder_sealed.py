"""With recipients: sealed from the first byte, and never in clear, whatever is wrong with the keys."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording import assemble, chunks
from media.recording.assemble import read_sound
from media.recording.chunks import read_part
from media.recording.tap import Tap
from retention import vault
from retention.archive import Archive
from retention.records import Status
from retention.vault import Identity, PublicKey, Vault, public_line
from sipagent.agent.recorder import Recorder, close
from tests import kept
from tests.kept import Paths, receipt, recording
from tests.settling import settle
from tests.tapping import expected, feed, wait_for
from tests.test_recorder import CLOSING, NOW, begin, files
from tests.test_structure import ROOT

ANN, BEN = Identity(bytes([1]) * 32, "Ann"), Identity(bytes([2]) * 32, "Ben")


def write_key(path: Path, key: PublicKey) -> Path:
    path.write_text(public_line(key))
    return path


@pytest.fixture
def recipients(tmp_path: Path) -> tuple[Path, ...]:
    return write_key(tmp_path / "ann.pub", ANN.public), write_key(tmp_path / "ben.pub", BEN.public)


@pytest.fixture
def recorder(archive: Archive, alerts: list[str], recipients: tuple[Path, ...]) -> Iterator[Recorder]:
    recorder = Recorder(archive, "flac", alerts.append, recipients)
    recorder.start()
    yield recorder
    if recorder._quick._thread.is_alive():
        recorder.stop()


def test_a_kept_recording_is_for_its_recipients(recorder: Recorder, archive: Archive) -> None:
    row = recording(operator=None)
    recorder.keep(begin(recorder, row), row, CLOSING)
    recorder.stop()
    done = archive.store.recording(row.id)
    assert (done.status, done.duration_s, done.incomplete) == (Status.CLOSED, 2.0, False)
    assert (done.path, done.pauses) == (f"recordings/{row.id}.sealed", ())
    assert files(archive) == ["json", "sealed"]
    file = Paths(archive).final(row.id, "sealed")
    assert (done.bytes, done.sha256) == (file.stat().st_size, sha256(file.read_bytes()).hexdigest())
    for identity in (ANN, BEN):
        reading = read_sound(file, archive.vault.key(row.id, identity))
        assert np.array_equal(np.concatenate(list(reading.blocks())), expected(16000))
        assert reading.complete


def test_other_recipients_are_for_the_recordings_to_come(
    recorder: Recorder, archive: Archive, recipients: tuple[Path, ...]
) -> None:
    first, second, third = (recording(n) for n in range(3))
    taps = [begin(recorder, first)]
    recorder.reload("wav", recipients[1:])
    taps.append(begin(recorder, second))
    recorder.reload("wav", ())
    taps.append(begin(recorder, third))
    for tap, row in zip(taps, (first, second, third), strict=True):
        recorder.keep(tap, row, CLOSING)
    recorder.stop()
    assert archive.vault.recipients(first.id) == (ANN.public, BEN.public)
    assert archive.vault.recipients(second.id) == (BEN.public,)
    assert Paths(archive).final(third.id, "wav").exists()


def test_nothing_is_ever_in_clear(recorder: Recorder, archive: Archive, tmp_path: Path) -> None:
    """While the call is on, and after it."""
    row = recording()
    tap = begin(recorder, row)
    samples = expected(16000)
    wait_for(lambda: Paths(archive).part(row.id).stat().st_size > samples.nbytes / 2)
    spans = [samples[start : start + 50].tobytes() for start in range(0, 16000, 50)]
    assert not [span for span in spans if span in kept.bytes_under(tmp_path)]
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    assert not [span for span in spans if span in kept.bytes_under(tmp_path)]


def test_the_order_is_row_key_part(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sound without the row that says when it goes, and none without its key on the disk."""
    row = recording()
    seen: list[tuple[object, ...]] = []

    def state() -> tuple[object, ...]:
        return archive.store.recording(row.id).status, archive.vault.ids(), files(archive)

    create, start = Vault.create, Tap.start

    def created(vault: Vault, id: str, to: list[PublicKey], *how: Any) -> bytes:
        seen.append(state())
        return create(vault, id, to, *how)

    def started(tap: Tap, *how: Any) -> None:
        seen.append(state())
        start(tap, *how)
        seen.append(state())

    monkeypatch.setattr(Vault, "create", created)
    monkeypatch.setattr(Tap, "start", started)
    begin(recorder, row)
    assert seen == [
        (Status.OPEN, [], []),
        (Status.OPEN, [row.id], []),
        (Status.OPEN, [row.id], ["part"]),
    ]


WRONG = {
    "missing": (None, "No such file or directory"),
    "empty": ("", "is not a public key"),
    "private": ('{"version": "sipagent-identity-1"}', "is an identity, which does not belong here"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_key_that_is_wrong_costs_the_recording_and_names_its_file(
    recorder: Recorder, archive: Archive, recipients: tuple[Path, ...], kind: str, alerts: list[str]
) -> None:
    content, problem = WRONG[kind]
    recipients[1].unlink()
    if content is not None:
        recipients[1].write_text(content)
    row, failed = recording(), list[str]()
    recorder.keep_receipt(receipt(row))
    tap = recorder.begin(row, failed.append)
    settle(recorder)
    feed(tap, 0, 16000)
    (reason,) = failed
    assert reason.startswith(f"{recipients[1]}: {problem}")
    assert (files(archive), archive.vault.ids()) == ([], [])
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    assert archive.store.recording(row.id).status is Status.FAILED
    assert (files(archive), archive.vault.ids(), alerts) == ([], [], [])


def test_a_vault_that_cannot_be_written_costs_the_recording(recorder: Recorder, archive: Archive) -> None:
    Paths(archive).vault.write_text("in the way")
    failed: list[str] = []
    recorder.begin(recording(), failed.append)
    settle(recorder)
    assert len(failed) == 1
    assert files(archive) == []


def test_the_keys_are_read_anew_for_each_recording(
    recorder: Recorder, archive: Archive, recipients: tuple[Path, ...]
) -> None:
    first, second = recording(), recording(1)
    begin(recorder, first)
    write_key(recipients[0], BEN.public)
    begin(recorder, second)
    assert archive.vault.recipients(first.id) == (ANN.public, BEN.public)
    assert archive.vault.recipients(second.id) == (BEN.public,)


def test_a_refusal_takes_the_key_along(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    tap = begin(recorder, row)
    assert (files(archive), archive.vault.ids()) == (["part"], [row.id])
    recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert (files(archive), archive.vault.ids()) == ([], [])


def test_a_tap_that_was_never_fed_leaves_no_key(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    recorder.keep(begin(recorder, row, seconds=0), row, CLOSING)
    settle(recorder)
    assert archive.store.recording(row.id).status is Status.FAILED
    assert (files(archive), archive.vault.ids()) == ([], [])


def test_what_began_sealed_is_closed_sealed_whatever_is_configured_by_then(
    recorder: Recorder, archive: Archive
) -> None:
    row = recording()
    tap = begin(recorder, row)
    tap.finish()
    assert all(chunk.sealed for chunk in read_part(Paths(archive).part(row.id)))
    close(archive, row, "wav", replace(CLOSING, flagged=True))
    assert files(archive) == ["json", "sealed"]
    assert archive.store.recording(row.id).flagged


def test_no_thread_of_the_agents_can_open_anything() -> None:
    """What would need a private key is used by the command line alone."""
    opening = {"read_identity", "Identity", "open_all", "Opener", "read_sound"}
    assert opening <= {*dir(assemble), *dir(vault), *dir(chunks)}
    for module in ("agent/recorder", "service/one_process", "agent/agent", "agent/calls"):
        tree = ast.parse((ROOT / f"sipagent/{module}.py").read_text(encoding="utf-8"))
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not named & opening, module

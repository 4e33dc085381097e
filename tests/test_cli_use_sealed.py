"""Exporting and playing what is sealed; and that one side's copy holds nothing of the other's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from retention.records import Access, Recording
from sipagent.cli import use as cli_sound
from sipagent.cli.use import RecordingSound
from tests.kept import Paths
from tests.office import RATE, Office, stereo
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, sealed_call

GOOD = ("--purpose", "quality", "--by", "Petit")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_sealed_office(tmp_path, capsys)


def key(office: Office, name: str = "recordings") -> tuple[str, str]:
    return "--identity", str(office.folder / "keys" / f"{name}.key")


def last(office: Office, id: str) -> Access:
    return office.archive.store.accesses(id)[-1]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_copy_of_a_sealed_recording_is_its_sound(office: Office, suffix: str) -> None:
    row, out = sealed_call(office), office.folder / f"copy{suffix}"
    assert office.run("export", row.id, *GOOD, *key(office), "--out", out).code == 0
    samples, rate = soundfile.read(out, dtype="int16")
    assert rate == RATE and np.array_equal(samples, stereo())
    assert last(office, row.id).outcome == "done"


def test_without_an_identity_it_says_whose_is_needed(office: Office) -> None:
    row, out = sealed_call(office), office.folder / "copy.wav"
    said = office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert f"{row.id}: it is sealed; accepted: --identity KEYFILE of recordings (" in said
    assert "it is sealed" in office.fails(1, "play", row.id, *GOOD)
    assert not out.exists() and last(office, row.id).outcome == "failed"


def test_the_wrong_identity(office: Office) -> None:
    row, out = sealed_call(office), office.folder / "copy.wav"
    make_pair(office, "other")
    assert "is not for other (" in office.fails(
        1, "export", row.id, *GOOD, *key(office, "other"), "--out", out
    )
    public = ("--identity", str(office.folder / "keys" / "recordings.pub"))
    assert "is a public key" in office.fails(1, "export", row.id, *GOOD, *public, "--out", out)
    missing = ("--identity", str(office.folder / "no.key"))
    assert "no.key: No such file" in office.fails(1, "export", row.id, *GOOD, *missing, "--out", out)
    assert not out.exists()
    assert [use.outcome for use in office.archive.store.accesses(row.id)] == ["failed"] * 3


def test_the_passphrase_from_a_file(office: Office) -> None:
    make_pair(office, "guarded", PASSPHRASE)
    row, out = sealed_call(office, ["recordings", "guarded"]), office.folder / "copy.wav"
    right, wrong = office.folder / "right", office.folder / "wrong"
    right.write_text(f"{PASSPHRASE}\n")
    wrong.write_text(f"{PASSPHRASE}!\n")
    words = ("export", row.id, *GOOD, *key(office, "guarded"), "--out", out)
    assert "guarded.key: has a passphrase; accepted: --passphrase-file" in office.fails(1, *words)
    assert "wrong passphrase" in office.fails(1, *words, "--passphrase-file", wrong)
    assert "no: No such file" in office.fails(1, *words, "--passphrase-file", office.folder / "no")
    assert [use.outcome for use in office.archive.store.accesses(row.id)] == ["failed"] * 3
    assert PASSPHRASE.encode() not in (office.folder / "retention.db").read_bytes()
    assert office.run(*words, "--passphrase-file", right).code == 0


def test_a_purpose_comes_before_any_key(office: Office) -> None:
    row = sealed_call(office)
    out = office.folder / "copy.wav"
    said = office.fails(1, "export", row.id, "--by", "Petit", *key(office, "nowhere"), "--out", out)
    assert "a purpose is needed" in said and last(office, row.id).outcome == "refused"


def test_a_recording_whose_key_is_gone(office: Office) -> None:
    row, out = sealed_call(office), office.folder / "copy.wav"
    Paths(office.archive).key(row.id).unlink()
    said = office.fails(1, "export", row.id, *GOOD, *key(office), "--out", out)
    assert f"nobody can listen to {row.id}" in said
    assert "nobody can listen" in office.fails(1, "export", row.id, *GOOD, "--out", out)


def test_a_sealed_file_that_was_changed(office: Office) -> None:
    row, out = sealed_call(office), office.folder / "copy.wav"
    file = Paths(office.archive).final(row.id, "sealed")
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    assert "its hash differs" in office.fails(1, "export", row.id, *GOOD, *key(office), "--out", out)


def test_a_sealed_one_is_played(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = sealed_call(office)
    heard = []
    monkeypatch.setattr(cli_sound, "play", lambda sound: heard.append(np.concatenate(list(sound.blocks()))))
    assert office.run("play", row.id, *GOOD, *key(office), "--channel", "operator").code == 0
    assert np.array_equal(heard[0], stereo()[:, 1:])


def test_the_sound_is_not_left_in_clear_by_an_export_that_fails(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, out = sealed_call(office), office.folder / "copy.wav"

    def full(sound: RecordingSound, descriptor: int, format: str) -> None:
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(cli_sound, "write", full)
    office.fails(1, "export", row.id, *GOOD, *key(office), "--out", out)
    assert not list(office.folder.glob("*copy*")) and not list(office.folder.glob(".*"))


# --- one side alone: what a person who asks for it may have (GDPR article 15(4)) ---

SECONDS = 4
REQUEST = ("--purpose", "access_request", "--reference", "2026-118", "--by", "Petit", "--channel", "caller")


def voices(caller: int = 1, operator: int = 2) -> NDArray[np.int16]:
    """Two sides, (n, 2) int16 noise of these seeds; for a second either one is heard alone."""
    random = (np.random.default_rng(seed) for seed in (caller, operator))
    sides = np.stack([side.normal(0, 4000, SECONDS * RATE) for side in random], axis=1)
    sides[RATE : 2 * RATE, 0] = 0
    sides[2 * RATE : 3 * RATE, 1] = 0
    return np.clip(sides, -32768, 32767).astype(np.int16)


def kept(office: Office, stored: str, sound: NDArray[np.int16], **changes: Any) -> Recording:
    return (
        sealed_call(office, sound=sound, **changes)
        if stored == "sealed"
        else office.call(sound=sound, **changes)
    )


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("stored", ["sealed", "flac"])
def test_the_callers_copy_is_what_it_would_be_with_any_other_operator(
    office: Office, stored: str, suffix: str
) -> None:
    copies = []
    for operator in (2, 3):
        row = kept(office, stored, voices(operator=operator), operator=f"sip:20{operator}@192.0.2.7")
        out = office.folder / f"copy{operator}{suffix}"
        assert office.run("export", row.id, *REQUEST, *key(office), "--out", out).code == 0
        copies.append(out)
    assert copies[0].read_bytes() == copies[1].read_bytes()
    heard, rate = soundfile.read(copies[0], dtype="int16", always_2d=True)
    assert rate == RATE and np.array_equal(heard, voices()[:, :1])
    assert not heard[RATE : 2 * RATE].any()  # while the operator alone speaks


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("stored", ["sealed", "flac"])
def test_the_callers_copy_is_sound_and_nothing_else(office: Office, stored: str, suffix: str) -> None:
    row, out = kept(office, stored, voices()), office.folder / f"copy{suffix}"
    before = {path.name for path in office.folder.iterdir()}
    assert office.run("export", row.id, *REQUEST, *key(office), "--out", out).code == 0
    assert {path.name for path in office.folder.iterdir()} - before == {out.name}
    expected = office.folder / f"expected{suffix}"
    soundfile.write(expected, voices()[:, 0], RATE, subtype="PCM_16")  # by what never had the other side
    assert out.read_bytes() == expected.read_bytes()

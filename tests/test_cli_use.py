"""`export`, `play`: the sound that comes out, to whom, in what file or player; and that one side's copy holds
nothing of the other's. What rules and the trace say: test_uses."""

import os
import resource
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from retention.records import Access, Recording
from retention.use import known_copies
from sipagent.cli import use as cli_sound
from sipagent.cli.program import Failure
from sipagent.cli.use import RecordingSound, play, write
from tests.kept import CALLER, Paths, receipt, recording, remove
from tests.office import RATE, Office, stereo
from tests.raising import raising
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, sealed_call
from tests.test_cli_acts import Keyboard

GOOD = ("--purpose", "quality", "--by", "Durand")
REQUEST = ("--purpose", "access_request", "--reference", "2026-118", "--by", "Petit")
OF_PERSON = ("export", "--caller", "06 12 34 56 78", *REQUEST)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "copy.wav"


@pytest.fixture
def sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_sealed_office(tmp_path, capsys)


def key(office: Office, name: str = "recordings") -> tuple[str, str]:
    return "--identity", str(office.folder / "keys" / f"{name}.key")


def outcomes(office: Office, id: str) -> list[tuple[str, str]]:
    return [(use.action, use.outcome) for use in office.archive.store.accesses(id)]


def last(office: Office, id: str) -> Access:
    return office.archive.store.accesses(id)[-1]


def full(sound: RecordingSound, descriptor: int, format: str) -> None:
    os.write(descriptor, b"half")
    raise OSError(28, "No space left on device", "copy.wav")


# --- a copy ---


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_a_copy_is_the_recording_or_one_side_of_it(office: Office, suffix: str) -> None:
    row, out = office.call(), office.folder / f"copy{suffix}"
    for channel, samples in (("both", stereo()), ("caller", stereo()[:, 0]), ("operator", stereo()[:, 1])):
        result = office.run("export", row.id, *GOOD, "--out", out, "--force", "--channel", channel)
        assert (result.code, result.out, result.err) == (0, f"{out}\n", "")
        copied, rate = soundfile.read(out, dtype="int16")
        assert rate == 8000 and np.array_equal(copied, samples)
        assert out.stat().st_mode & 0o777 == 0o600
        use = last(office, row.id)
        assert (use.action, use.purpose, use.by, use.outcome) == ("export", "quality", "Durand", "done")
        assert use.detail == f'{channel} to "{out}"' and use.system_user
    assert [copy.path for copy in known_copies(office.archive.store, row.id) if copy.exists] == [str(out)]


def test_the_officer_decides_which_side_an_access_request_gets(office: Office, out: Path) -> None:
    """Article 15(3) speaks for both, 15(4) for the operator: the program takes no side without a word."""
    row = office.call()
    unchosen = office.run("export", row.id, *REQUEST, "--out", out)
    assert (unchosen.code, unchosen.out) == (0, f"{out}\n")
    assert "the copy holds both sides" in unchosen.err and "for the data protection officer" in unchosen.err
    assert last(office, row.id).reference == "2026-118"
    for channel in ("both", "caller"):
        words = ("export", row.id, *REQUEST, "--out", out, "--force", "--channel", channel)
        assert office.run(*words).err == ""
    said = " ".join(office.run("export", "--help").out.split())
    assert "the data protection officer decides" in said
    assert "article 15(3)" in said and "article 15(4)" in said


def test_where_a_copy_cannot_go(office: Office, out: Path) -> None:
    row = office.call()
    out.write_text("precious")
    for path, code, said in (
        (out, 1, "exists; --force"),
        (office.folder / "recordings" / "copy.wav", 1, "among the recordings"),
        (office.folder / "nowhere" / "copy.wav", 1, "is not a directory"),
        ("copy.mp3", 2, "not named .wav or .flac"),
    ):
        assert said in office.fails(code, "export", row.id, *GOOD, "--out", path)
    assert out.read_text() == "precious" and outcomes(office, row.id) == [("export", "refused")] * 3
    assert "--out" in office.fails(2, "export", row.id, *GOOD)


def test_what_fails_or_goes_while_it_is_copied_leaves_no_copy(
    office: Office, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge that did not know of a copy could not name it."""
    row, gone, write = office.call(), office.call(), cli_sound.write

    def meanwhile(sound: RecordingSound, descriptor: int, format: str) -> None:
        write(sound, descriptor, format)
        assert remove(office.archive, gone.id, gone.expires_at)

    with monkeypatch.context() as patch:
        patch.setattr(cli_sound, "write", full)
        assert "No space left" in office.fails(1, "export", row.id, *GOOD, "--out", out)
        patch.setattr(cli_sound, "write", meanwhile)
        said = office.fails(1, "export", gone.id, *GOOD, "--out", out)
    assert f"{gone.id}: it is already purged (" in said and outcomes(office, gone.id) == [
        ("export", "refused")
    ]
    file = Paths(office.archive).final(row.id, "flac")
    file.write_bytes(file.read_bytes()[:-1])
    assert "its hash differs" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    file.unlink()
    assert "its file is missing" in office.fails(1, "export", row.id, *GOOD, "--out", out)
    assert outcomes(office, row.id) == [("export", "failed")] * 3
    assert list(office.folder.glob("*copy*")) == []


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
def test_a_copy_that_finds_no_room_says_so(tmp_path: Path, format: str) -> None:
    soundfile.write(tmp_path / "a.flac", stereo(), RATE, subtype="PCM_16")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, 4000):
        with (tmp_path / "b").open("w+b") as copy:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
            try:
                with pytest.raises(OSError, match="File too large"):
                    write(RecordingSound(tmp_path / "a.flac", "both"), copy.fileno(), format)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


# --- all of a person ---


def test_all_of_a_caller_go_into_a_folder(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [office.call(timedelta(hours=n)) for n in (3, 2, 1)]
    other, gone = office.call(caller="+33612345679"), office.call()
    assert remove(office.archive, gone.id, gone.expires_at)
    refused = replace(receipt(recording(caller=CALLER)), recording_id=None, decision="refused")
    office.archive.store.add_receipt(refused)
    out = office.folder / "request"
    result = office.run(*OF_PERSON, "--out", out)
    assert result.code == 1 and "nobody can be asked here; accepted: --yes, or a terminal" in result.err
    monkeypatch.setattr("sys.stdin", Keyboard("n\n"))
    result = office.run(*OF_PERSON, "--out", out)
    assert (result.code, result.out) == (1, "") and not out.exists()
    assert f"Copy 3 recordings of 06 12 34 56 78 into {out}? [y/N]" in result.err
    assert refused.id in result.err and other.id not in result.err
    assert [office.archive.store.accesses(row.id) for row in rows] == [[]] * 3

    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    result = office.run(*OF_PERSON, "--out", out, "--channel", "caller")
    assert result.code == 0 and out.stat().st_mode & 0o777 == 0o700
    assert result.out.splitlines() == [str(out / f"{row.id}.flac") for row in rows]
    assert sorted(path.name for path in out.iterdir()) == [f"{row.id}.flac" for row in rows]
    samples, _ = soundfile.read(out / f"{rows[0].id}.flac", dtype="int16")
    assert np.array_equal(samples, stereo()[:, 0])
    assert all(outcomes(office, row.id) == [("export", "done")] for row in rows)


def test_what_cannot_be_copied_does_not_stop_the_others(office: Office) -> None:
    rows, out = [office.call(timedelta(hours=n)) for n in (3, 2)], office.folder / "request"
    Paths(office.archive).final(rows[0].id, "flac").unlink()
    line = (result := office.run(*OF_PERSON, "--out", out, "--yes")).err
    assert result.code == 1 and f"{rows[0].id}: its file is missing" in line and line.count("\n") == 1
    assert result.out == f"{out / rows[1].id}.flac\n"
    line = office.run(*OF_PERSON, "--out", out, "--yes").err
    assert f"{rows[1].id}: {out / rows[1].id}.flac exists; --force replaces it" in line
    (file := office.folder / "folder.wav").touch()
    assert "is not a folder" in office.fails(2, *OF_PERSON, "--out", file)
    assert "both are given" in office.fails(2, *OF_PERSON, rows[0].id, "--out", file)
    assert "neither is given" in office.fails(2, "export", *REQUEST, "--out", file)
    assert all(remove(office.archive, row.id, row.expires_at) for row in rows)
    assert "no recording of this caller is there" in office.fails(1, *OF_PERSON, "--out", out, "--yes")


# --- to the sound card ---


def test_play_is_traced_before_it_is_heard_and_as_it_ended(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops has listened; who has no sound card has not."""
    for ends, how in (
        ("done", None),
        ("done", KeyboardInterrupt()),
        ("failed", Failure("no way to a sound card")),
    ):
        row, heard = office.call(), list[NDArray[np.int16]]()

        def play(sound: RecordingSound, row: Recording = row, how: Any = how, heard: Any = heard) -> None:
            heard.append(np.concatenate(list(sound.blocks())))
            assert outcomes(office, row.id) == [("play", "begun")]
            if how:
                raise how

        monkeypatch.setattr(cli_sound, "play", play)
        result = office.run("play", row.id, *GOOD, "--channel", "caller")
        assert result.code == int(how is not None)
        assert ("no way to a sound card" in result.err) == (ends == "failed")
        assert outcomes(office, row.id) == [("play", "begun"), ("play", ends)]
        assert np.array_equal(heard[0][:, 0], stereo()[:, 0])
        assert isinstance(how, Failure) or last(office, row.id).detail == (
            "caller, stopped before its end" if how else "caller"
        )


@pytest.mark.parametrize("name", ["aplay", "paplay", "play"])
def test_a_player_gets_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The only one there is; a library without PortAudio is none. Without any it is told in words."""
    file = tmp_path / "a.flac"
    soundfile.write(file, stereo(), RATE, subtype="PCM_16")

    def player(script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(cli_sound, "which", lambda wanted: str(tmp_path / name) if wanted == name else None)
    monkeypatch.setattr(cli_sound, "find_spec", lambda name: None)
    player(f'echo "$@" > {tmp_path}/said; cat > {tmp_path}/heard')
    play(RecordingSound(file, "operator"))
    heard = np.frombuffer((tmp_path / "heard").read_bytes(), dtype="<i2")
    assert np.array_equal(heard, stereo()[:, 1]) and "8000" in (tmp_path / "said").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(cli_sound, "find_spec", lambda name: object())
        patch.setattr(cli_sound, "import_module", raising(OSError("PortAudio library not found")))
        play(RecordingSound(file, "both"))
    assert (tmp_path / "heard").stat().st_size == stereo().nbytes
    alsa = (
        "ALSA lib confmisc.c:855:(parse_card) cannot find card '0'",
        "aplay: main:831: audio open error: No such file or directory",
    )
    player("".join(f'echo "{line}" >&2; ' for line in alsa) + "exit 1")
    with pytest.raises(Failure) as failed:
        play(RecordingSound(file, "both"))
    assert str(failed.value) == (
        f"no sound card takes it ({name}: audio open error: No such file or directory); "
        "accepted: a machine with one, or `sipagent export`"
    )
    monkeypatch.setattr(cli_sound, "which", lambda wanted: None)
    with pytest.raises(Failure, match="install one of aplay, paplay, play"):
        play(RecordingSound(file, "both"))


# --- sealed ---


def test_a_copy_of_a_sealed_recording_is_its_sound(
    sealed: Office, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, heard = sealed_call(sealed), list[NDArray[np.int16]]()
    with monkeypatch.context() as patch:  # it is not left in clear by an export that fails
        patch.setattr(cli_sound, "write", full)
        sealed.fails(1, "export", row.id, *GOOD, *key(sealed), "--out", out)
        assert not list(sealed.folder.glob("*copy*")) and not list(sealed.folder.glob(".*"))
    assert sealed.run("export", row.id, *GOOD, *key(sealed), "--out", out).code == 0
    samples, rate = soundfile.read(out, dtype="int16")
    assert rate == RATE and np.array_equal(samples, stereo())
    monkeypatch.setattr(cli_sound, "play", lambda sound: heard.append(np.concatenate(list(sound.blocks()))))
    assert sealed.run("play", row.id, *GOOD, *key(sealed), "--channel", "operator").code == 0
    assert np.array_equal(heard[0], stereo()[:, 1:])
    file = Paths(sealed.archive).final(row.id, "sealed")
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    words = ("export", row.id, *GOOD, *key(sealed), "--out", out, "--force")
    assert "its hash differs" in sealed.fails(1, *words)


def test_only_the_right_identity_opens_it(sealed: Office, out: Path) -> None:
    make_pair(sealed, "other")
    make_pair(sealed, "guarded", PASSPHRASE)
    row = sealed_call(sealed, ["recordings", "guarded"])
    right, wrong = sealed.folder / "right", sealed.folder / "wrong"
    right.write_text(f"{PASSPHRASE}\n")
    wrong.write_text(f"{PASSPHRASE}!\n")
    guarded = key(sealed, "guarded")
    for identity, said in (
        ((), f"{row.id}: it is sealed; accepted: --identity KEYFILE of recordings ("),
        (key(sealed, "other"), "is not for other ("),
        (("--identity", str(sealed.folder / "keys" / "recordings.pub")), "is a public key"),
        (("--identity", str(sealed.folder / "no.key")), "no.key: No such file"),
        (guarded, "guarded.key: has a passphrase; accepted: --passphrase-file"),
        ((*guarded, "--passphrase-file", wrong), "wrong passphrase"),
        ((*guarded, "--passphrase-file", sealed.folder / "no"), "no: No such file"),
    ):
        assert said in sealed.fails(1, "export", row.id, *GOOD, *identity, "--out", out)
        assert last(sealed, row.id).outcome == "failed" and not out.exists()
    said = sealed.fails(1, "export", row.id, "--by", "Petit", *key(sealed, "nowhere"), "--out", out)
    assert "a purpose is needed" in said and last(sealed, row.id).outcome == "refused"  # before any key
    assert PASSPHRASE.encode() not in (sealed.folder / "retention.db").read_bytes()
    assert sealed.run("export", row.id, *GOOD, *guarded, "--passphrase-file", right, "--out", out).code == 0
    Paths(sealed.archive).key(row.id).unlink()
    for identity in (key(sealed), ()):
        said = sealed.fails(1, "export", row.id, *GOOD, *identity, "--out", out, "--force")
        assert f"nobody can listen to {row.id}" in said


# --- one side alone: what a person who asks for it may have (GDPR article 15(4)) ---


def voices(caller: int = 1, operator: int = 2) -> NDArray[np.int16]:
    """Two sides of 4 s, (n, 2) int16 noise of these seeds; for a second either one is heard alone."""
    random = (np.random.default_rng(seed) for seed in (caller, operator))
    sides = np.stack([side.normal(0, 4000, 4 * RATE) for side in random], axis=1)
    sides[RATE : 2 * RATE, 0] = 0
    sides[2 * RATE : 3 * RATE, 1] = 0
    return np.clip(sides, -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("stored", ["sealed", "flac"])
def test_the_callers_copy_is_what_it_would_be_with_any_other_operator(
    sealed: Office, stored: str, suffix: str
) -> None:
    """And sound and nothing else: as made by what never had the other side."""
    copies, before = [], {path.name for path in sealed.folder.iterdir()}
    for operator in (2, 3):
        make: Any = sealed_call if stored == "sealed" else Office.call
        row = make(sealed, sound=voices(operator=operator), operator=f"sip:20{operator}@192.0.2.7")
        out = sealed.folder / f"copy{operator}{suffix}"
        words = ("export", row.id, *REQUEST, "--channel", "caller", *key(sealed), "--out", out)
        assert sealed.run(*words).code == 0
        copies.append(out)
    made = {path.name for path in sealed.folder.iterdir()} - before - {"recordings", "vault"}
    assert {name for name in made if not name.startswith("retention.")} == {out.name for out in copies}
    expected = sealed.folder / f"expected{suffix}"
    soundfile.write(expected, voices()[:, 0], RATE, subtype="PCM_16")
    assert copies[0].read_bytes() == copies[1].read_bytes() == expected.read_bytes()
    heard, rate = soundfile.read(copies[0], dtype="int16", always_2d=True)
    assert rate == RATE and np.array_equal(heard, voices()[:, :1])
    assert not heard[RATE : 2 * RATE].any()  # while the operator alone speaks

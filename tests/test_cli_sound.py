import os
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sipagent.cli import use as cli_sound
from sipagent.cli.program import Failure
from sipagent.cli.use import RecordingSound, play, write
from tests.office import RATE, stereo


@pytest.fixture
def file(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.flac", stereo(), RATE, subtype="PCM_16")
    return tmp_path / "a.flac"


def player(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name, the only one there is."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(cli_sound, "which", lambda wanted: str(folder / name) if wanted == name else None)
    monkeypatch.setattr(cli_sound, "find_spec", lambda name: None)


def test_blocks_are_the_samples(file: Path) -> None:
    sound = RecordingSound(file, "both")
    assert (sound.rate, sound.channels) == (RATE, 2)
    assert np.array_equal(np.concatenate(list(sound.blocks())), stereo())


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"no sound")
    with pytest.raises(Failure, match=r"a\.flac: "):
        RecordingSound(tmp_path / "a.flac", "both")


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mono.wav", stereo()[:, 0], RATE, subtype="PCM_16")
    with pytest.raises(Failure, match="no operator channel"):
        RecordingSound(tmp_path / "mono.wav", "operator")


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
def test_a_copy_is_written_into_an_open_file_which_stays_open(
    file: Path, tmp_path: Path, format: str
) -> None:
    with (tmp_path / "b").open("w+b") as copy:
        write(RecordingSound(file, "caller"), copy.fileno(), format)
        copy.seek(0)
        samples, rate = soundfile.read(copy, dtype="int16")
    assert rate == RATE and np.array_equal(samples, stereo()[:, 0])


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
@pytest.mark.parametrize("room", [0, 100, 4000])
def test_a_copy_that_finds_no_room_says_so(file: Path, tmp_path: Path, format: str, room: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "b").open("w+b") as copy:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        try:
            with pytest.raises(OSError, match="File too large"):
                write(RecordingSound(file, "both"), copy.fileno(), format)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("name", ["aplay", "paplay", "play"])
def test_a_player_gets_the_samples(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    player(tmp_path, name, f'echo "$@" > {tmp_path}/said; cat > {tmp_path}/heard', monkeypatch)
    play(RecordingSound(file, "operator"))
    heard = np.frombuffer((tmp_path / "heard").read_bytes(), dtype="<i2")
    assert np.array_equal(heard, stereo()[:, 1])
    assert "8000" in (tmp_path / "said").read_text()


def test_a_player_that_fails_says_why(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player(tmp_path, "aplay", "echo 'no such card' >&2; exit 1", monkeypatch)
    with pytest.raises(Failure, match="aplay: no such card"):
        play(RecordingSound(file, "both"))


def test_no_sound_card_is_told_in_words(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alsa = (
        "ALSA lib confmisc.c:855:(parse_card) cannot find card '0'",
        "ALSA lib pcm.c:2666:(snd_pcm_open_noupdate) Unknown PCM default",
        "aplay: main:831: audio open error: No such file or directory",
    )
    player(tmp_path, "aplay", "".join(f'echo "{line}" >&2; ' for line in alsa) + "exit 1", monkeypatch)
    with pytest.raises(Failure) as failed:
        play(RecordingSound(file, "both"))
    assert str(failed.value) == (
        "no sound card takes it (aplay: audio open error: No such file or directory); "
        "accepted: a machine with one, or `sipagent export`"
    )


def test_a_library_without_portaudio_is_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_there(name: str) -> None:
        raise OSError("PortAudio library not found")

    player(tmp_path, "aplay", f"cat > {tmp_path}/heard", monkeypatch)
    monkeypatch.setattr(cli_sound, "find_spec", lambda name: object())
    monkeypatch.setattr(cli_sound, "import_module", not_there)
    play(RecordingSound(file, "both"))
    assert (tmp_path / "heard").stat().st_size == stereo().nbytes


def test_no_player(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_sound, "which", lambda wanted: None)
    monkeypatch.setattr(cli_sound, "find_spec", lambda name: None)
    with pytest.raises(Failure, match="install one of aplay, paplay, play"):
        play(RecordingSound(file, "both"))

"""Copies the sound of a recording into a WAV or FLAC, or to the sound card. One second at a time."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from media.recording.assemble import AssemblyError, SoundReader, read_sound
from media.recording.chunks import CHANNELS as STORED_CHANNELS
from sipagent.cli.base import Failure
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason

Samples = NDArray[np.int16]  # (n, channels) int16

CHANNELS = {"caller": 0, "operator": 1, "both": None}  # left, right
FORMATS = {".wav": "WAV", ".flac": "FLAC"}

_MORE = 1 << 16  # bytes
_PLACE = re.compile(r"^\w+: (?:\w+:\d+: )?")  # `aplay: main:831: `, before what is wrong

# PCM on stdin, so that playing writes nothing to disk
_PLAYERS = {
    "aplay": ("-q", "-t", "raw", "-f", "S16_LE", "-r", "{rate}", "-c", "{channels}"),
    "paplay": ("--raw", "--format=s16le", "--rate={rate}", "--channels={channels}"),
    "play": ("-q", "-t", "raw", "-e", "signed", "-b", "16", "-L", "-r", "{rate}", "-c", "{channels}", "-"),
}


class RecordingSound:
    """A stored recording, or one channel of it; a sealed one with its key. Raises Failure: unreadable."""

    def __init__(self, path: Path, channel: str, key: bytes | None = None) -> None:
        self.channel = channel
        self._index = CHANNELS[channel]
        self.rate: int
        self.rate, stored, self._blocks = _in_clear(path) if key is None else _sealed(path, key)
        if self._index is not None and self._index >= stored:
            said = Reason("{file}: it has no {channel} channel", file=path.name, channel=channel)
            raise Failure(said)
        self.channels = stored if self._index is None else 1

    def blocks(self) -> Iterator[Samples]:
        """The samples, (n, channels) int16; once."""
        for block in self._blocks:
            yield block if self._index is None else block[:, self._index : self._index + 1]


def _in_clear(path: Path) -> tuple[int, int, Iterator[Samples]]:
    """Rate in Hz, channels, samples."""
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise Failure(f"{path.name}: {error.error_string}") from error

    def blocks() -> Iterator[Samples]:
        with file:
            yield from file.blocks(file.samplerate, dtype="int16", always_2d=True)

    return file.samplerate, file.channels, blocks()


def _sealed(path: Path, key: bytes) -> tuple[int, int, Iterator[Samples]]:
    def blocks(reading: SoundReader) -> Iterator[Samples]:
        try:
            yield from reading.blocks()
        except AssemblyError as error:
            raise Failure(*error.args) from error

    try:
        reading = read_sound(path, key)
    except AssemblyError as error:
        raise Failure(*error.args) from error
    return reading.rate, STORED_CHANNELS, blocks(reading)


def write(sound: RecordingSound, descriptor: int, format: str) -> None:
    """Copy only the sound into an open file; `format` is a value of FORMATS.

    Raises OSError; Failure if the system gives no reason.
    """
    try:
        with soundfile.SoundFile(
            descriptor, "w", sound.rate, sound.channels, "PCM_16", format=format, closefd=False
        ) as copy:
            for block in sound.blocks():
                copy.write(block)
    except soundfile.LibsndfileError as error:
        _ask_again(descriptor)
        raise Failure(Reason("the copy cannot be written: {why}", why=error.error_string)) from error


def _ask_again(descriptor: int) -> None:
    """On a full disk libsndfile only says that the system failed; ask the system. Raises OSError."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    os.pwrite(descriptor, bytes(_MORE), end)


def play(sound: RecordingSound) -> None:
    """Play it to its end. Raises Failure: no access to the sound card, or it refuses the sound."""
    if (device := _library()) is not None:
        _play_by_library(device, sound)
        return
    player = next((name for name in _PLAYERS if which(name)), None)
    if player is None:
        said = N_("no way to a sound card; install one of {programs}, or use `sipagent export`")
        raise Failure(Reason(said, programs=", ".join(_PLAYERS)))
    options = [option.format(rate=sound.rate, channels=sound.channels) for option in _PLAYERS[player]]
    _play_by_program([player, *options], sound)


def _library() -> Any:
    """The module sounddevice; None without it, or without PortAudio."""
    if find_spec("sounddevice") is None:
        return None
    try:
        return import_module("sounddevice")
    except OSError:
        return None


def _play_by_library(device: Any, sound: RecordingSound) -> None:
    try:
        with device.OutputStream(sound.rate, channels=sound.channels, dtype="int16") as stream:
            for block in sound.blocks():
                stream.write(block)
    except device.PortAudioError as error:
        raise Failure(_no_card(f"sounddevice: {error}")) from error


def _play_by_program(command: Sequence[str], sound: RecordingSound) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as player:
        stdin = player.stdin
        if stdin is None:
            raise Failure(Reason("{file} cannot be written to", file=command[0]))
        with suppress(BrokenPipeError):  # it says why on stderr
            for block in sound.blocks():
                stdin.write(block.astype("<i2").tobytes())
            stdin.close()
        said = player.stderr.read().decode(errors="replace") if player.stderr else ""
    if player.returncode != 0:
        last = said.strip().rpartition("\n")[2]  # the lines above it name places in ALSA's own source
        why = _PLACE.sub("", last) or Reason("exit code {code}", code=player.returncode)
        raise Failure(_no_card(Reason("{program}: {why}", program=command[0], why=why)))


def _no_card(why: str) -> Reason:
    said = N_("no sound card takes it ({why}); accepted: a machine with one, or `sipagent export`")
    return Reason(said, why=why)

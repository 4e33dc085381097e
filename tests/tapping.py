"""What the tests of the tap share: two tones, and patience."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from media.frame import FRAME_SAMPLES, Samples
from media.recording.chunks import Block, read_part
from media.recording.tap import Channel, Tap

RATE = 8000
PATIENCE_S = 60  # how long a busy machine may take for what happens at once on an idle one


def tone(channel: int, start: int, size: int = FRAME_SAMPLES) -> Samples:
    """Never 0; 440 Hz on the left, 610 Hz on the right, as a function of the position alone."""
    wave = np.sin(2 * np.pi * (440, 610)[channel] * (np.arange(start, start + size) + 0.25) / RATE)
    return (wave * 9000).astype(np.int16) | 1


def feed(tap: Tap, start: int, stop: int) -> None:
    """Both legs from position `start` to `stop`, in frames of 100 ms."""
    for position in range(start, stop, FRAME_SAMPLES):
        for channel in Channel:
            tap.feed(channel, tone(channel, position), 1000.0 + position / RATE + channel * 1e-5)


def expected(frames: int) -> Block:
    return np.stack([tone(channel, 0, frames) for channel in Channel], axis=1)


def content(part: Path) -> Block:
    return np.concatenate([np.zeros((0, 2), dtype=np.int16), *(chunk.samples for chunk in read_part(part))])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.005)


class Overtaken(threading.Event):
    """The service stops right after it was asked whether it has, and before the answer is heeded."""

    def __init__(self, due: threading.Event) -> None:
        super().__init__()
        self._due_too = due

    def is_set(self) -> bool:
        if super().is_set():
            return True
        self.set()
        self._due_too.set()
        return False


def writer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tap-writer"]


def open_files(part: Path) -> list[str]:
    """The descriptors of this process that still hold the part, also under a deleted name."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return [link for link in links if link.startswith(str(part))]

"""What a tap has been fed and its writer hasn't taken yet: limited, in order, and losses are counted."""

import threading
from typing import TypeAlias

from media.frame import Samples
from media.recording.align import Run

Frame: TypeAlias = tuple[int, Run, float]
"""Channel, audio or a number of samples of silence, the time of its end in s on a monotonic clock."""

Entry: TypeAlias = Frame | bool
"""A frame, or silence asked for on or off."""


class Backlog:
    """A queue between the threads that feed and the thread that takes; every call returns at once.

    Once it is full, everything is lost until the next `take`; the loss becomes one silence per channel.
    """

    def __init__(self, capacity: int, empty: int) -> None:
        """`capacity` in samples over both channels; `empty`: how many samples an empty frame stands for."""
        self._capacity = capacity
        self._empty = empty
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._samples = 0
        self._lost: dict[int, tuple[int, float]] = {}
        self._lost_samples = 0
        self._accepting = False
        self._silent = False
        self._drops = 0

    @property
    def drops(self) -> int:
        """How many frames were lost so far."""
        return self._drops

    @property
    def samples(self) -> int:
        """How many wait, over both channels."""
        return self._samples

    def open(self) -> None:
        """Accept frames from now on."""
        self._accepting = True

    def put(self, channel: int, samples: Samples, at: float) -> bool:
        """Keep a frame if there is room; False once a whole capacity was lost: no thread takes."""
        size = samples.size or self._empty
        with self._lock:
            if not self._accepting:
                return True
            if self._lost or self._samples + size > self._capacity:
                return self._lose(channel, size, at)
            self._entries.append((channel, samples if samples.size else size, at))
            self._samples += size
            return True

    def mark(self, silent: bool) -> None:
        """Silence begins or ends; calling it twice changes nothing."""
        with self._lock:
            if silent != self._silent:
                self._silent = silent
                self._keep_losses()
                self._entries.append(silent)

    def take(self) -> list[Entry]:
        """All entries since the last time, in order."""
        with self._lock:
            self._keep_losses()
            entries, self._entries, self._samples = self._entries, [], 0
            return entries

    def close(self) -> None:
        """Accept no more; what is queued may still be taken."""
        with self._lock:
            self._accepting = False

    def _lose(self, channel: int, size: int, at: float) -> bool:
        self._lost[channel] = (self._lost.get(channel, (0, at))[0] + size, at)
        self._lost_samples += size
        self._drops += 1
        return self._lost_samples <= self._capacity

    def _keep_losses(self) -> None:
        self._entries.extend((channel, size, at) for channel, (size, at) in self._lost.items())
        self._lost.clear()
        self._lost_samples = 0

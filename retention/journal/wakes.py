"""A word to another process that something was written: a byte in a named pipe.

Who writes never waits and needs no listener: a pipe that is full says enough.
"""

import os
import select
from contextlib import suppress
from pathlib import Path

from retention.storage.files import share_owner

_MOST = 1 << 16  # bytes: all that a pipe has


class Wakes:
    """One end; both are alike. Makes the pipe if it is missing. Raises OSError."""

    def __init__(self, path: Path) -> None:
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
            share_owner(path)
        # for reading too: so it opens without anybody at the other end, and no write of ours is an error
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

    def tell(self) -> None:
        """Wake who waits, or will."""
        with suppress(BlockingIOError):
            os.write(self._descriptor, b"\0")

    def wait(self, patience_s: float | None) -> bool:
        """Whether somebody has told something, within that time."""
        told, _, _ = select.select([self._descriptor], [], [], patience_s)
        if told:
            with suppress(BlockingIOError):
                os.read(self._descriptor, _MOST)
        return bool(told)

    def close(self) -> None:
        """Close this end."""
        os.close(self._descriptor)

"""A child's end of its pipe to the supervisor. Sending and receiving never make the SIP thread wait."""

import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from sipagent.service.processes.messages import ToChild, ToSupervisor


class Link:
    """Two threads, `link-reader` and `link-writer`."""

    def __init__(self, connection: "Connection[ToSupervisor, ToChild]") -> None:
        self._connection = connection
        self._outbox: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="link-writer", daemon=True)

    def start(self, heard: Callable[[ToChild], None], lost: Callable[[], None]) -> None:
        """`heard` is called with every message, `lost` once, when the supervisor is gone.

        Both on the reader's thread, and both must return at once.
        """
        reader = threading.Thread(target=self._read, args=(heard, lost), name="link-reader", daemon=True)
        reader.start()
        self._writer.start()

    def send(self, message: ToSupervisor) -> None:
        """Send from any thread; dropped if the supervisor is gone."""
        self._outbox.put(message)

    def close(self) -> None:
        """Wait until everything has been sent, or cannot be."""
        self._outbox.put(None)
        self._writer.join()

    def _read(self, heard: Callable[[ToChild], None], lost: Callable[[], None]) -> None:
        try:
            while True:
                heard(self._connection.recv())
        except (EOFError, OSError):
            lost()

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the reader notices, too
                return

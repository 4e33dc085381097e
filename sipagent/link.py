"""A child's end of its pipe to the supervisor. Neither sending nor hearing makes the SIP thread wait."""

import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from sipagent.messages import ToChild, ToSupervisor


class Link:
    """Two threads, `link-reader` and `link-writer`.

    `heard` is called with every message, `lost` once, when the supervisor is no longer there; both on the
    reader's thread, and both must return at once.
    """

    def __init__(
        self,
        connection: "Connection[ToSupervisor, ToChild]",
        heard: Callable[[ToChild], None],
        lost: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._heard = heard
        self._lost = lost
        self._outbox: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="link-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="link-writer", daemon=True)

    def start(self) -> None:
        self._reader.start()
        self._writer.start()

    def send(self, message: ToSupervisor) -> None:
        """Any thread; what the supervisor no longer hears is let go."""
        self._outbox.put(message)

    def close(self) -> None:
        """Wait until everything has been sent, or cannot be."""
        self._outbox.put(None)
        self._writer.join()

    def _read(self) -> None:
        try:
            while True:
                self._heard(self._connection.recv())
        except (EOFError, OSError):
            self._lost()

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the reader notices, too
                return

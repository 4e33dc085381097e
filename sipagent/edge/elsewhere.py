"""The edge where it is not ours to run: `edge.start = false`, and a Kamailio of the administrator's own.

It finds out by its own OPTIONS which workers there are, and by its dialogs' keep-alives whose calls are over.
"""

import socket
from typing import Any


class EdgeElsewhere:
    """In the place of a process: it never ends, and whatever it is told is somebody else's affair."""

    def __init__(self) -> None:
        self._never, self._other_end = socket.socketpair()

    @property
    def sentinel(self) -> int:
        return self._never.fileno()

    strangers = malformed = unsupported = lines = 0  # it counts for somebody else

    @property
    def rpc(self) -> "EdgeElsewhere":
        return self

    def start(self) -> None: ...

    def stop(self) -> None:
        self._never.close()
        self._other_end.close()

    def activate(self, index: int) -> None: ...

    def deactivate(self, index: int) -> None: ...

    def end_dialogs(self, index: int) -> int:
        return 0

    def drain(self) -> None: ...

    def statistics(self) -> "EdgeElsewhere":
        return self

    def change(self, plan: Any) -> None: ...

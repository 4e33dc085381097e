"""The edge when we do not run it: `edge.start = false`, and the administrator's own Kamailio.

By its own OPTIONS it finds which workers are up, and by its dialogs' keep-alives which calls are over.
"""

import socket
from typing import Any


class EdgeElsewhere:
    """Replaces the process: it never ends, and ignores all orders."""

    def __init__(self) -> None:
        self._never, self._other_end = socket.socketpair()

    @property
    def sentinel(self) -> int:
        return self._never.fileno()

    strangers = malformed = unsupported = lines = 0  # its counts are the administrator's

    @property
    def rpc(self) -> "EdgeElsewhere":
        return self

    def start(self) -> None: ...

    def stop(self) -> None:
        self._never.close()
        self._other_end.close()

    def activate(self, index: int) -> None: ...

    def deactivate(self, index: int) -> None: ...

    def worker_died(self, index: int, *, crashed: bool) -> None: ...

    def end_dialogs(self, index: int) -> int:
        return 0

    def give_way(self) -> None: ...

    def drain(self) -> None: ...

    def statistics(self) -> "EdgeElsewhere":
        return self

    def change(self, plan: Any) -> None: ...

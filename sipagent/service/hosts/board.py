"""The operators' board of this host: its own, or the one that all hosts share.

Only where `cluster` names this host is there anything to start, to stop, and to say of it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from sipagent.agent.operators.board_client import BoardOfHost, LocalBoardClient
from sipagent.config.load import Config
from sipagent.logs import alert

if TYPE_CHECKING:
    from sipagent.agent.operators.board_thread import BoardThread
    from sipagent.agent.operators.shared_board import SharedBoardClient


class HostBoard:
    """`client` belongs to the thread that asks. Used as a context, in which it is shared."""

    def __init__(self, config: Config, own: LocalBoardClient) -> None:
        """Raises ConfigError: the database's password cannot be read."""
        self._thread: BoardThread | None = None
        self._shared: SharedBoardClient | None = None
        if made := _shared(config, own):
            self._thread, self._shared = made
        self.client: BoardOfHost = self._shared or own

    def wake(self, heard: Callable[[], None]) -> None:
        """Have `heard` called when the client has to look; it must not wait."""
        if self._thread:
            self._thread.woken = heard

    def __enter__(self) -> Self:
        """Begin to share it, where it is shared."""
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take leave: what is still this host's own is free for the others."""
        if self._thread:
            self._thread.stop()

    @property
    def shared(self) -> bool | None:
        """Whether all hosts have one board just now; None where there is one host. Any thread."""
        return None if self._shared is None else not self._shared.alone

    @property
    def losses(self) -> int:
        """How often the shared one did not answer. Any thread."""
        return 0 if self._shared is None else self._shared.losses

    def lacks(self) -> list[str]:
        """What is missing, in words of a status."""
        return ["the shared board of operators is away"] if self.shared is False else []


def _shared(config: Config, own: LocalBoardClient) -> "tuple[BoardThread, SharedBoardClient] | None":
    """The way to the board of all hosts; None where there is one host."""
    if config.shared is None or config.cluster is None:
        return None
    # slow to import, and for several hosts alone
    from retention.postgres.board_rows import BoardRows
    from sipagent.agent.operators.board_thread import BoardThread
    from sipagent.agent.operators.shared_board import SharedBoardClient

    url, password, cluster = config.shared, config.shared_password(), config.cluster
    thread = BoardThread(lambda: BoardRows(url, password))
    now = time.monotonic()
    return thread, SharedBoardClient(own, cluster.host, cluster.lease_s, thread, now=now, alert=alert)

"""The way to the operators' board: it is the agent's own, or the supervisor keeps one for all workers.

Either way the agent asks and goes on; the answer comes into its inbox, at once or later, and may find the
call over: `Leave` has given everything back by then. Until there is an answer the caller hears music.

Where the supervisor has died nobody can say who is busy, so nobody is offered any more: conversations go on,
transfers are told that the target is busy, and who waits hears music up to `operators.max_wait_s`.
"""

from collections.abc import Callable
from typing import Protocol, assert_never

from sipagent.agent.admission import Admission
from sipagent.agent.operators.asking import (
    Answer,
    AskAgain,
    Asked,
    Claim,
    Claimed,
    Leave,
    Offered,
    Release,
    Seek,
    Served,
)
from sipagent.agent.operators.board import Board, Process, Strategy
from sipagent.agent.operators.rota import Rota


class BoardClient(Protocol):
    """One thread's. Times are monotonic seconds."""

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""

    def tell(self, asked: Asked, now: float) -> list[Answer]:
        """Ask or say something; what is answered at once."""

    def tick(self, now: float) -> list[Answer]:
        """What time alone has brought: somebody has rested."""

    def lost(self) -> None:
        """The board is gone: nothing that was asked will be answered."""

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        """Other operators, from the next question on."""


class BoardOfHost(BoardClient, Protocol):
    """One that serves several processes."""

    def tell(self, asked: Asked, now: float, process: Process = 0) -> list[Answer]:
        """`process`: which one asks."""

    def die(self, calls: list[str], now: float) -> list[Answer]:
        """The process of these calls has died: what was their own is free."""


class LocalBoardClient:
    """With the board itself: an agent's alone, or the supervisor's for all.

    `turned(uri)` is told whose turn it was where that is to outlive the process.
    """

    def __init__(self, board: Board, turned: Callable[[str], None] = lambda _: None) -> None:
        self.board = board
        self.turned = turned

    @property
    def deadline(self) -> float | None:
        return self.board.deadline

    def tell(self, asked: Asked, now: float, process: Process = 0) -> list[Answer]:
        """`process`: which one of several asks."""
        match asked:
            case Seek():
                return self._seek(asked, now, process)
            case Claim(call, uri):
                return [Claimed(call, uri, self.board.claim(uri, call))]
            case Release(call, uri, talked, willing):
                self.board.release(uri, call, now, talked)
                return self._somebody_free(now) if willing else []
            case Served(call):
                self.board.served(call)
                return []
            case Leave(call):
                self.board.leave(call)
                return self._somebody_free(now)
            case _:
                assert_never(asked)

    def _seek(self, asked: Seek, now: float, process: Process) -> list[Answer]:
        found = self.board.seek(asked.call, asked.tried, now, asked.legs, process)
        if not found:
            return [Offered(asked.call, ())]
        if self.board.strategy == "round_robin":
            self.turned(found[-1])
        # one who asked too early, while this one had nobody, is no longer behind it
        return [Offered(asked.call, found), *self._somebody_free(now, asked.call)]

    def _somebody_free(self, now: float, but: str = "") -> list[Answer]:
        return [AskAgain(call) for call in self.board.hopeful(now) if call != but]

    def tick(self, now: float) -> list[Answer]:
        return self._somebody_free(now) if self.board.due(now) else []

    def lost(self) -> None:
        raise AssertionError("the board is here")

    def die(self, calls: list[str], now: float) -> list[Answer]:
        """The process of these calls has died: what was their own is free."""
        for call in calls:
            self.board.die(call, now)
        return self._somebody_free(now)

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        board = self.board
        board.extensions, board.wrap_up_s, board.strategy = extensions, wrap_up_s, strategy


def local_board_client(
    rules: Admission, rota: Rota | None, later: Callable[[Callable[[], None]], None]
) -> LocalBoardClient:
    """With a board by these rules. `rota` knows whose turn it is, `later` has it written elsewhere."""
    if rota is None:
        return LocalBoardClient(Board(rules.extensions, rules.wrap_up_s, rules.strategy))
    board = Board(rules.extensions, rules.wrap_up_s, rules.strategy, rota.last())
    return LocalBoardClient(board, lambda uri: later(lambda: rota.keep(uri)))


class RemoteBoardClient:
    """Asks the supervisor; `send` must not wait. Answers come as messages, from whoever reads the link."""

    def __init__(self, send: Callable[[Asked], None]) -> None:
        self._send = send
        self._lost = False

    @property
    def deadline(self) -> float | None:
        return None

    def tell(self, asked: Asked, now: float) -> list[Answer]:
        if not self._lost:
            self._send(asked)
            return []
        match asked:
            case Seek(call):
                return [Offered(call, ())]
            case Claim(call, uri):
                return [Claimed(call, uri, granted=False)]
            case _:
                return []

    def tick(self, now: float) -> list[Answer]:
        return []

    def lost(self) -> None:
        self._lost = True

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        pass  # the supervisor has read the same configuration

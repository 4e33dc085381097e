"""The edge as the supervisor sees it: kept alive, and told again what it has not heard or has forgotten.

What it is to do is written down here and compared with what it has been told, whenever there is time: a word
that did not reach it, or one from before its restart, is said again. Times are monotonic seconds.
"""

from typing import Any, Protocol

import structlog

from sipagent.edge.rpc import EdgeError
from sipagent.service.processes.children import Backoff

AGAIN_S = 1.0
TELL_S = 60.0  # between two lines of the log about what it drops, whatever comes
COUNT_S, MUTE = 5.0, 3  # how often it is asked what it has counted; so many times without an answer: it hangs
FAULTS = (EdgeError, OSError, ValueError, LookupError, TypeError)  # also what it says that nobody foresaw

log = structlog.get_logger("sipagent.service.supervisor")


class Counted(Protocol):
    """Since its start."""

    @property
    def strangers(self) -> int:
        """Messages that were dropped."""

    @property
    def malformed(self) -> int:
        """Messages that nobody could read."""

    @property
    def unsupported(self) -> int:
        """Messages that asked for what there is not."""


class EdgeCalls(Protocol):
    """What a running edge is told; each takes a moment, and raises EdgeError where it does not answer."""

    def activate(self, index: int) -> None: ...

    def deactivate(self, index: int) -> None: ...

    def end_dialogs(self, index: int) -> int: ...

    def drain(self) -> None: ...

    def statistics(self) -> Counted: ...


class Edge(Protocol):
    """The process. After a start it knows of no worker that is active. `start` raises EdgeError."""

    @property
    def sentinel(self) -> int:
        """Readable once it has died."""

    @property
    def rpc(self) -> EdgeCalls: ...

    @property
    def lines(self) -> int:
        """What it has written since it was up, over all its starts; nobody reads that: it quotes messages."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def change(self, plan: Any) -> None: ...


class Dropped:
    """What is told of messages that the edge has dropped: how many, never what was in them. Pure."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._due = 0.0

    def look(self, counted: Counted, lines: int, now: float) -> dict[str, int]:
        """What has come since it was told last, once in a while; nothing where nothing has."""
        if now < self._due:
            return {}
        found = {"malformed": counted.malformed, "unsupported": counted.unsupported, "lines": lines}
        before, self._told = self._told, found
        come = {name: _risen(before.get(name, 0), count) for name, count in found.items()}
        if not any(come.values()):
            return {}
        self._due = now + TELL_S
        return {name: count for name, count in come.items() if count}


def _risen(before: int, now: int) -> int:
    """By how much; what has gone back began anew."""
    return now - before if before <= now else now


class EdgeCare:
    """`active`: the workers that calls may go to."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.up = False
        self.active: set[int] = set()
        self._told: set[int] = set()  # of these it knows
        self._bereft: set[int] = set()  # workers that died: what they leave has yet to be ended
        self._draining = False
        self._told_drain = False
        self._plan: Any = None  # that it has not heard of yet
        self._backoff = Backoff()
        self.due: float | None = 0.0
        self.count_due = 0.0
        self._mute = 0
        self._dropped = Dropped()

    def start(self, now: float) -> None:
        """For the first time. Raises EdgeError."""
        self._backoff.started(now)
        self.edge.start()
        self.up = True

    def died(self, now: float) -> None:
        """The process has ended, or must."""
        self.up = False
        self._mute = 0
        wait_s = self._backoff.died(now)
        self.due = now + wait_s
        self.edge.stop()
        log.error("alert", reason=f"the edge has died, or hangs; it is started anew in {wait_s:g} s")

    def worker_died(self, index: int) -> None:
        """The worker has died: no calls to it, and an end to those that it had."""
        self.active.discard(index)
        self._bereft.add(index)
        self.due = 0.0

    def worker_ready(self, index: int) -> None:
        """The worker takes calls. What the edge has under its name is of one before it, which is gone."""
        self._bereft.add(index)
        self.active.add(index)
        self.due = 0.0

    def drain(self) -> None:
        """No new calls."""
        self._draining = True
        self.due = 0.0

    def change(self, plan: Any) -> None:
        """There are more workers."""
        self._plan = plan
        self.due = 0.0

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.due is None or now < self.due:
            return
        try:
            if not self.up:
                self._restart(now)
            self._tell()
            self.due = None
        except FAULTS as failure:
            wait_s = AGAIN_S if self.up else self._backoff.died(now)
            self.due = now + wait_s
            log.error("alert", reason=f"the edge: {failure}; again in {wait_s:g} s")

    def counted(self, now: float) -> Counted | None:
        """What it has dropped since its start, where it is time to look again and it answers."""
        if now < self.count_due:
            return None
        self.count_due = now + COUNT_S
        if not self.up:
            return None
        try:
            counted = self.edge.rpc.statistics()
        except FAULTS as failure:
            log.warning("edge_does_not_count", reason=str(failure))
            self._mute += 1
            if self._mute >= MUTE:
                self.died(now)
            return None
        self._mute = 0
        if told := self._dropped.look(counted, self.edge.lines, now):
            log.warning("edge_dropped", **told)
        return counted

    def _restart(self, now: float) -> None:
        self._backoff.started(now)
        self._told.clear()
        self._told_drain = False
        self.edge.start()
        self.up = True
        log.info("edge_restarted")

    def _tell(self) -> None:
        """What matters most comes first."""
        rpc = self.edge.rpc
        for index in sorted(self._told - (self.active - self._bereft)):
            rpc.deactivate(index)
            self._told.discard(index)
        for index in sorted(self._bereft):
            ended = rpc.end_dialogs(index)
            self._bereft.discard(index)
            if ended:
                log.info("calls_ended_at_edge", worker=index, dialogs=ended)
        if self._draining and not self._told_drain:
            rpc.drain()
            self._told_drain = True
        if self._plan is not None:
            self.edge.change(self._plan)
            self._plan = None
        for index in sorted(self.active - self._told):
            rpc.activate(index)
            self._told.add(index)

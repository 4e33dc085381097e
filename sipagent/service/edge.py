"""The edge as the supervisor sees it: it keeps it alive, and writes down the calls that it rejected.

`EdgeCare` repeats orders that the edge has not received or has forgotten. It keeps the orders in force, and
regularly compares them with those that were sent: an order that did not reach it, or came before its restart,
is repeated. Times are monotonic seconds.

`Rejections` has the calls written down that the edge has rejected before any worker saw them: no room, or
too many at once. They come in bursts, several times a second, and each becomes one transaction
(`agent.row_writer`). The first of each hour have receipts, the others are counted together
(`retention.rows.counts`).
"""

from collections import Counter
from typing import Any

import structlog

from retention.records import Ids, Receipt
from sipagent.agent.admission import Admission
from sipagent.agent.calls import rejected
from sipagent.agent.figures import Ending, Figures
from sipagent.agent.row_writer import RowWriter
from sipagent.edge.plan import LATE
from sipagent.edge.process import EdgeElsewhere, EdgeProcess
from sipagent.edge.rpc import EdgeError, EdgeStatistics, GivenMessage
from sipagent.edge.rpc import RejectedCall as Told
from sipagent.service.children import Backoff

AGAIN_S = 1.0
TELL_S = 60.0  # the least time between two lines of the log about what it drops
COUNT_S, MUTE = 5.0, 3  # how often to ask for its counts; after this many without an answer: it hangs
FAULTS = (EdgeError, OSError, ValueError, LookupError, TypeError)  # also unexpected answers

log = structlog.get_logger(__name__)


Edge = EdgeProcess | EdgeElsewhere
"""After a start no worker is active. Each order takes a moment, and raises EdgeError without an answer."""
EdgeCounts = EdgeStatistics | EdgeElsewhere


def increase(before: int, now: int) -> int:
    """The increase; a count that went down has restarted."""
    return now - before if before <= now else now


class EdgeCare:
    """`active`: the workers that calls may go to."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.up = False
        self.active: set[int] = set()
        self._crashes = 0
        self._fatal: Counter[tuple[str, str, str]] = Counter()
        self._told: set[int] = set()  # it knows that these are active
        self._bereft: set[int] = set()  # workers that died: their calls must still be ended
        self._deaths: dict[int, bool] = {}  # of these, whether it crashed; not told to the edge yet
        self._draining = self._told_drain = 0  # 1: gives way; 2: takes no calls
        self._late = self._told_late = False
        self._plan: Any = None  # not told to the edge yet
        self._backoff = Backoff()
        self.due: float | None = 0.0
        self.count_due = 0.0
        self._mute = 0
        self._dropped: dict[str, int] = {}  # messages, as told last
        self._tell_due = 0.0

    def start(self, now: float) -> None:
        """Start it for the first time. Raises EdgeError."""
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

    def worker_died(self, index: int, *, crashed: bool | None) -> None:
        """The worker has died: send it no calls, and end those that it had.

        `crashed`: by itself, so a message may be the cause; False: killed, or it gave up; None: not known.
        """
        self.active.discard(index)
        self._bereft.add(index)
        if crashed is not None:
            self._deaths[index] = crashed
            self._crashes += crashed
        self.due = 0.0

    def worker_ready(self, index: int) -> None:
        """The worker takes calls. Dialogs under its name at the edge belong to its dead predecessor."""
        self._bereft.add(index)
        self.active.add(index)
        self.due = 0.0

    def give_way(self) -> None:
        """New calls are to go elsewhere; those that come all the same are taken."""
        self._draining = max(1, self._draining)
        self.due = 0.0

    def drain(self) -> None:
        """No new calls."""
        self._draining = 2
        self.due = 0.0

    def hold_off(self, late: bool) -> None:
        """Whether the workers are too late for more calls than one."""
        if late is not self._late:
            self._late, self.due = late, 0.0

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

    def counted(self, now: float) -> EdgeCounts | None:
        """The messages dropped since its start, if it is time to ask again and it answers."""
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
        if now >= self._tell_due:
            self._tell_dropped(counted, now)
        return counted

    def _tell_dropped(self, counted: EdgeCounts, now: float) -> None:
        """How many messages it has dropped since the last line of the log, never their content."""
        found = {
            "malformed": counted.malformed,
            "unsupported": counted.unsupported,
            "lines": self.edge.lines,
        }
        before, self._dropped = self._dropped, found
        come = {name: increase(before.get(name, 0), count) for name, count in found.items()}
        if any(come.values()):
            self._tell_due = now + TELL_S
            log.warning("edge_dropped", **{name: count for name, count in come.items() if count})

    def figures(self) -> Figures:
        """Crashes of workers, and what those were given last, by shape; any thread."""
        return Figures(crashes=self._crashes, fatal=self._fatal.copy())

    def _restart(self, now: float) -> None:
        self._backoff.started(now)
        self._told.clear()
        self._told_drain = 0
        self._told_late = False
        self._deaths.clear()  # no call that it was offering outlives it
        self.edge.start()
        self.up = True
        log.info("edge_restarted")

    def _tell(self) -> None:
        """Send the pending orders, the most important first."""
        rpc = self.edge.rpc
        for index in sorted(self._told - (self.active - self._bereft)):
            rpc.deactivate(index)
            self._told.discard(index)
        for index in sorted(self._deaths):
            self._tell_death(index, rpc.worker_died(index, crashed=self._deaths[index]))
        for index in sorted(self._bereft):
            ended = rpc.end_dialogs(index)
            self._bereft.discard(index)
            if ended:
                log.info("calls_ended_at_edge", worker=index, dialogs=ended)
        if self._draining > self._told_drain:
            (rpc.drain if self._draining == 2 else rpc.give_way)()
            self._told_drain = self._draining
        if self._late is not self._told_late:
            rpc.hold_off(self._late)
            self._told_late = self._late
            log.warning("late" if self._late else "late_no_more")
        if self._plan is not None:
            self.edge.change(self._plan)
            self._plan = None
        for index in sorted(self.active - self._told):
            rpc.activate(index)
            self._told.add(index)

    def _tell_death(self, index: int, last: GivenMessage | None) -> None:
        if self._deaths.pop(index) and last:
            self._fatal[last.shape] += 1
            log.error("alert", reason=f"worker-{index} crashed; the last message it was given: {last}")


ENDING: Ending = ("rejected", "undecided", "sip")


class Rejections:
    """Has `rows` write down the calls that the edge rejected."""

    def __init__(self, rows: RowWriter, rules: Admission) -> None:
        self._rows = rows
        self._rules = rules
        self._ids = Ids(host=rules.host)
        self._count = self._late = 0

    def add(self, call: Told) -> None:
        """Add a call that the edge has rejected; from one thread, which never waits here."""
        self._count += 1
        self._late += call.why == LATE
        pending = self._rows.rejected
        if pending.takes(call.at):
            pending.add(receipt_of(call, self._ids, self._rules))
        else:
            pending.count(call.at, call.status, _by(call))
        self._rows.look()

    def reload(self, rules: Admission) -> None:
        """Keep later receipts by these rules."""
        self._rules = rules

    def figures(self) -> Figures:
        """The counts; any thread."""
        return Figures(ended={ENDING: self._count} if self._count else {}, refused_late=self._late)


def receipt_of(call: Told, ids: Ids, rules: Admission) -> Receipt:
    """The receipt of a call that the edge has rejected."""
    return rejected(ids.new(call.at), call.at, call.status, rules, _message(call), _by(call))


def _by(call: Told) -> str:
    return f"edge: {call.why}"


def _message(call: Told) -> str:
    """The message as the agent would have read it. No field can add a line."""
    headers = (
        ("Call-ID", call.call_id),
        ("From", call.from_),
        ("P-Asserted-Identity", call.asserted),
        ("Privacy", call.privacy),
    )
    lines = (f"{name}: {_line(value)}" for name, value in headers if value)
    return "\r\n".join((f"INVITE {_line(call.called)} SIP/2.0", *lines, "", ""))


def _line(text: str) -> str:
    return " ".join(text.splitlines())

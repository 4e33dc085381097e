"""The supervisor's own thread: it watches the edge, the workers, the detector and the registrar, and
restarts them.

    a pipe has a message          heard     a worker is ready, the account is registered, …
    a process has ended           ended     taken out at the edge, its calls ended there, restarted
    a signal has come             drain, reload
    something is due              turn      starts after a back-off, words for the edge

It knows no engine, no configuration and no calls: what to start is given to it. Nothing here may wait
long.

`Sharing` keeps what all workers share: the operators' board, and the sum of what they count. One board
for all, and with several hosts for theirs too: an operator lent to a call of one worker is lent to no
other call. Waiting callers are served in the order in which they came, and the rota continues over all
workers. When a worker dies, its operators are free again, and its successor begins with none.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from signal import SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP
from typing import TYPE_CHECKING

import structlog

from retention.records import Receipt, Special
from sipagent import logs
from sipagent.agent.admission import CALM_S, SUSTAINED_S, Admission
from sipagent.agent.board import BoardAnswer, BoardRequest, Leave
from sipagent.agent.engine import RealmLearnt, Side
from sipagent.agent.figures import Figures, total
from sipagent.agent.operators import LocalBoardClient
from sipagent.service import children
from sipagent.service.control import Orders, Systemd, Wake, status_of, tell_draining
from sipagent.service.edge import EdgeCare, increase

if TYPE_CHECKING:
    from sipagent.agent.shared_board import SharedBoardClient

GRACE_S = 30.0  # added to its patience, for a child that drains: its last recording may be long
SILENT_S = 30.0  # without a sign of a worker's SIP thread: it hangs, and so do its callers
LOOK_S = 10.0  # of that: at whether its threads are given a processor
REMEMBERED = 1000  # refusals of a worker: more than any engine has calls
LONGEST_S = 60.0  # between two looks
FEWEST_LATE, LATE_SHARE = 2, 1 / 8  # of the workers with calls: it is the machine
LATE_LOOK_S = 1.0  # while it may be
# an engine's own end, which what it was given may have caused
CRASHES = (SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP)

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class ChildSlot:
    """The slot of a child that must run. `index`: of a worker; `start` raises OSError; `due`: when to start
    it.

    `refused`: the newest messages of its worker about callers who refused: for its successor.
    """

    name: str
    index: int | None
    start: Callable[[tuple[Receipt, ...]], children.Child]
    backoff: children.Backoff = field(default_factory=children.Backoff)
    child: children.Child | None = None
    ready: bool = False
    failed: bool = False  # since it was last ready
    due: float | None = 0.0
    refused: dict[str, Receipt] = field(default_factory=dict)
    silent_at: float | None = None  # when a worker that takes calls has been silent for too long
    threads: children.ThreadTimes | None = None  # what they had LOOK_S before that

    def alive(self, now: float | None) -> None:
        """It has given a sign; None: it need not."""
        self.threads, self.silent_at = None, None if now is None else now + SILENT_S - LOOK_S


class Supervisor:
    """For one thread only. `wake`: readable when a signal has come; `lacks`: what else is missing."""

    def __init__(
        self,
        care: EdgeCare,
        shared: "Sharing",
        slots: Iterable[ChildSlot],
        orders: Orders,
        wake: Wake,
        *,
        systemd: Systemd,
        lacks: Callable[[], list[str]] = list,
        gives_way_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`gives_way_s`: at its end it says for so long that it drains, and takes what comes all the same."""
        self.care = care
        self.shared = shared
        self.slots = list(slots)
        self.orders = orders
        self._wake = wake
        self._systemd = systemd
        self._lacks = lacks
        self._was_ready = False
        self._gives_way_s = gives_way_s
        self._drains_at: float | None = None  # it gives way until then
        self._draining_until: float | None = None
        self._kills_at: float | None = None  # when to kill what has not ended
        self._realms: dict[Side, RealmLearnt] = {}  # of the trunk's credentials, and of the PBX's

    # --- the loop ---

    def run(self, reload: Callable[[], bool], look: Callable[[], None] = lambda: None) -> None:
        """Run until SIGTERM and the end of all children. `reload` is called at a SIGHUP; False: refused.
        `look`: in every turn."""
        while not self.over:
            now = time.monotonic()
            self.turn(now)
            self._wait(max(0.0, self.due(now) - now))
            if self.orders.reload:
                self.orders.reload = False
                self._systemd.reload(reload)
            look()

    def _wait(self, timeout_s: float) -> None:
        """Wait until something has happened, and process it: a child's messages before its end."""
        up = [(slot, slot.child) for slot in self.slots if slot.child]
        edge = [self.care.edge.sentinel] if self.care.up else []
        pipes = {child.connection.fileno(): (slot, child) for slot, child in up}
        ends = {child.fileno(): (slot, child) for slot, child in up}
        happened = {
            one if isinstance(one, int) else one.fileno()
            for one in wait([*pipes, *ends, *edge, self._wake.fileno()], timeout_s)
        }
        self._wake.clear()
        now = time.monotonic()
        for slot, child in (pipes[one] for one in happened & pipes.keys()):
            self._receive(slot, child, now)
        for slot, _ in (ends[one] for one in happened & ends.keys()):
            self.ended(slot, now)
        if happened & {*edge}:
            self.care.died(now)

    def _receive(self, slot: ChildSlot, child: children.Child, now: float) -> None:
        try:
            while child.connection.poll():
                self.heard(slot, child.connection.recv(), now)
        except (EOFError, OSError):  # it is about to end; if not, no order could reach it any more
            child.kill()

    # --- what happens ---

    def heard(self, slot: ChildSlot, message: children.ToSupervisor, now: float) -> None:
        """Process a child's message."""
        match message:
            case children.Ready():
                self._ready(slot)
                slot.alive(None if self.draining or slot.name == children.REGISTRAR else now)
            case children.Alive():
                slot.alive(None if self.draining else now)
            case children.CallerRefused(receipt):
                slot.refused[receipt.id] = receipt
                if len(slot.refused) > REMEMBERED:
                    del slot.refused[next(iter(slot.refused))]
            case RealmLearnt(_, of):
                self._realms[of] = message if of == "trunk" else self._realms.get(of, message)
                for one in self.slots:
                    if one.index is not None and one.child:
                        one.child.send(self._realms[of])
            case children.Alerted(reason, call):
                if logs.alerted is not None:
                    logs.alerted(reason, call)
            case children.NotRegistered():
                slot.ready = False
                self.shared.registered(False)
            case _:
                assert slot.index is not None
                self.shared.heard(slot.index, message, now)

    def _ready(self, slot: ChildSlot) -> None:
        slot.ready, slot.failed = True, False
        if slot.name == children.REGISTRAR:
            self.shared.registered(True)
        elif slot.index is not None and not self.draining:
            if child := slot.child:
                for realm in self._realms.values():
                    child.send(realm)
            self.care.worker_ready(slot.index)
            log.info("worker_ready", worker=slot.index)

    def ended(self, slot: ChildSlot, now: float) -> None:
        """A child has ended, for any reason: do not wait for it or call it any more."""
        child, slot.child = slot.child, None
        slot.alive(None)
        had_calls, slot.ready = slot.ready, False
        code = child.close() if child else None
        if slot.name == children.REGISTRAR:
            self.shared.registered(False)
        elif slot.index is not None and had_calls:  # else another may still have this slot: see `worker`
            self.care.worker_died(slot.index, crashed=None if code is None else -code in CRASHES)
            self.care.tick(now)  # at once: its callers are waiting
            self.shared.gone(slot.index, now)
        self._end_detector()
        if self.draining and code == 0:
            log.info("child_ended", name=slot.name)
            return
        self._schedule_restart(slot, f"has died ({_cause(code)})", now)

    def _schedule_restart(self, slot: ChildSlot, what: str, now: float) -> None:
        slot.failed = True
        if self.draining:
            log.error("alert", reason=f"{slot.name} {what}")
            return
        wait_s = slot.backoff.died(now)
        slot.due = now + wait_s
        log.error("alert", reason=f"{slot.name} {what}; it is started anew in {wait_s:g} s")

    def turn(self, now: float) -> None:
        """Do what is due."""
        self._heed(now)
        for slot in self.slots:
            if slot.child is None and slot.due is not None and slot.due <= now:
                self._start(slot, now)
            elif slot.child and self._hangs(slot, slot.child, now):
                slot.alive(None)
                log.error("alert", reason=f"{slot.name} hangs; it is killed")
                slot.child.kill()
        self.care.hold_off(self.shared.late(now))
        self.care.tick(now)
        if (edge := self.care.counted(now)) is not None:
            self.shared.dropped(edge.strangers, edge.malformed, edge.unsupported)
        if (due := self.shared.due()) is not None and due <= now:
            self.shared.tick(now)
        if not self._was_ready and self.ready:
            self._was_ready = True
            log.info("ready")
            self._systemd.ready()
        self._systemd.look(now, self._status)

    def _hangs(self, slot: ChildSlot, child: children.Child, now: float) -> bool:
        """Not one that gets no processor: its successor would get none, either, and it has calls.

        A child that drains makes its last recordings at the end, and is silent meanwhile.
        """
        if self.draining or slot.silent_at is None or slot.silent_at > now:
            return False
        before, slot.threads = slot.threads, child.threads()
        seconds, slot.silent_at = now - slot.silent_at + LOOK_S, now + LOOK_S
        if before is None:
            return False
        if children.could_not_run(before, slot.threads, seconds):
            log.warning("worker_could_not_run", name=slot.name, seconds=round(seconds))
            return False
        return True

    def _start(self, slot: ChildSlot, now: float) -> None:
        slot.due = None
        slot.backoff.started(now)
        try:
            slot.child = slot.start(tuple(slot.refused.values()))
        except (OSError, EOFError) as failure:  # EOFError: the server that forks has died
            self._schedule_restart(slot, f"cannot be started: {failure!r}", now)
        else:
            log.info("child_started", name=slot.name, pid=slot.child.pid)

    @property
    def ready(self) -> bool:
        """Whether calls can come; does not wait for a worker whose first start failed."""
        workers = [slot for slot in self.slots if slot.index is not None]
        others = [slot for slot in self.slots if slot.index is None]
        settled = all(slot.ready or slot.failed for slot in workers)
        return (
            self.care.up
            and settled
            and any(one.ready for one in workers)
            and all(one.ready for one in others)
        )

    def _status(self) -> str:
        ready = {slot.name: slot.ready for slot in self.slots}
        registered = ready.pop(children.REGISTRAR, None)
        lacks = [f"{name} is not ready" for name, is_ready in ready.items() if not is_ready]
        if not self.care.up:
            lacks.append("the edge is not up")
        lacks += self._lacks()
        calls, limit = self.shared.calls, self.shared.limit
        return status_of(calls, limit, registered, draining=self.ending, lacks=lacks)

    def due(self, now: float) -> float:
        """When the next turn is needed, if nothing happens before."""
        slots = [slot.due if slot.child is None else slot.silent_at for slot in self.slots]
        edge = (self.care.due, self.care.count_due)
        gives_way_until = None if self.draining else self._drains_at
        look_s = LATE_LOOK_S if self.shared.may_be_late else LONGEST_S
        own = self._systemd.due(), self._kills_at, gives_way_until, now + look_s
        moments = (*slots, *edge, self.shared.due(), *own)
        return min(one for one in moments if one is not None)

    # --- the end ---

    @property
    def ending(self) -> bool:
        """Whether it drains, or gives way before that."""
        return self._drains_at is not None

    @property
    def draining(self) -> bool:
        return self._draining_until is not None

    @property
    def over(self) -> bool:
        return self.draining and not any(slot.child for slot in self.slots)

    def _heed(self, now: float) -> None:
        """Whether to end, and by when; a second signal may have come."""
        ending_at = self.orders.ending_at
        if ending_at is not None and self._drains_at is None:
            self._drains_at = now + (gives_way_s := self._gives_way_s())
            if gives_way_s:
                self.care.give_way()
                log.info("gives_way", for_s=gives_way_s)
                self._systemd.stopping(max(0.0, ending_at - now) + GRACE_S)
        if ending_at is not None and self._drains_at is not None and now < min(self._drains_at, ending_at):
            return
        if ending_at is not None and self._draining_until != ending_at + GRACE_S:
            first = not self.draining
            self._drain(ending_at, now)
            if first:
                patience_s = max(0.0, ending_at - now)
                tell_draining(self.shared.calls, patience_s)
                self._systemd.stopping(patience_s + GRACE_S)
        if self._kills_at is not None and now >= self._kills_at:
            self._kills_at = now + LONGEST_S  # wait for a killed child: the kernel may need a while
            for slot in self.slots:
                if slot.child:
                    log.error("alert", reason=f"{slot.name} does not end; it is killed")
                    slot.child.kill()

    def _drain(self, ending_at: float, now: float) -> None:
        self._draining_until = self._kills_at = ending_at + GRACE_S
        self.care.drain()
        self.care.tick(now)
        for slot in self.slots:
            slot.due = None
            slot.alive(None)
            if slot.child and slot.name != children.DETECTOR:
                slot.child.send(children.Drain(max(0.0, ending_at - now)))
        self._end_detector()

    def _end_detector(self) -> None:
        """End the detector last: workers ask it until their last call has ended."""
        left = [slot for slot in self.slots if slot.child]
        if self.draining and all(slot.name == children.DETECTOR for slot in left):
            for slot in left:
                if slot.child:
                    slot.child.send(children.Drain(0.0))

    # --- changes ---

    def tell(self, index: int, message: children.ToChild) -> None:
        """Send a message to a worker; it is lost if the worker is not running now."""
        for slot in self.slots:
            if slot.index == index and slot.child:
                slot.child.send(message)

    def tell_all(self, message: children.ToChild) -> None:
        """Tell every child."""
        for slot in self.slots:
            if slot.child:
                slot.child.send(message)


def _cause(code: int | None) -> str:
    if code is None:
        return "nobody knows how"
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


FromWorker = BoardRequest | Figures
"""The messages that a worker may send."""


class Sharing:
    """On the supervisor's thread; `send(worker, answer)` must not wait. Times are monotonic seconds.

    `figures` may be called on any thread, and calls `beside` for what is counted outside the workers.
    """

    def __init__(
        self,
        rules: Admission,
        board_client: "LocalBoardClient | SharedBoardClient",
        send: Callable[[int, BoardAnswer], None],
        beside: Callable[[], Figures] = Figures,
    ) -> None:
        self._rules = rules
        self._client = board_client
        self._send = send
        self._beside = beside
        self._worker_of: dict[str, int] = {}  # calls that asked for an operator
        self._counted: tuple[Figures, dict[int, Figures]] = (Figures(), {})  # of dead and of living workers
        self._edge: tuple[int, ...] = (0, 0, 0)  # strangers, malformed, unsupported, as it counted last
        self._dropped = Figures()  # of these, over all its runs
        self.has_registered: bool | None = None
        self._late_since: float | None = None
        self._late_at = 0.0
        self._late = False

    # --- what happens ---

    def heard(self, index: int, message: FromWorker, now: float) -> None:
        """Take in a worker's message."""
        if isinstance(message, Figures):
            dead, living = self._counted
            self._counted = (dead, living | {index: message})
            return
        self._worker_of[message.call] = index
        answers = self._client.tell(message, now, index)
        if isinstance(message, Leave):
            del self._worker_of[message.call]
        self._pass_on(answers)

    def gone(self, index: int, now: float) -> None:
        """A worker and all its calls are gone."""
        dead, living = self._counted
        last = living.get(index, Figures())
        rest = {other: figures for other, figures in living.items() if other != index}
        self._counted = (total((dead, replace(last, calls=0, waiting=0, late=0))), rest)
        calls = [call for call, worker in self._worker_of.items() if worker == index]
        for call in calls:
            del self._worker_of[call]
        self._pass_on(self._client.die(calls, now))

    def due(self) -> float | None:
        """When `tick` next has something to do."""
        return self._client.deadline

    def tick(self, now: float) -> None:
        """Do what has become due."""
        self._pass_on(self._client.tick(now))

    def registered(self, active: bool) -> None:
        """Whether the trunk's registrar knows us; not called without a registrar."""
        self.has_registered = active

    def dropped(self, strangers: int, malformed: int, unsupported: int) -> None:
        """How many messages the edge has dropped since it was started, and why."""
        counts = strangers, malformed, unsupported
        more = [increase(before, now) for before, now in zip(self._edge, counts, strict=True)]
        self._edge = counts
        risen = Figures(strangers=more[0], malformed=more[1], unsupported=more[2])
        self._dropped = total((self._dropped, risen))

    def reload(self, rules: Admission) -> None:
        """Use other operators for the calls that ask from now on."""
        self._rules = rules
        self._client.reload(rules.extensions, rules.wrap_up_s, rules.strategy)

    def _pass_on(self, answers: list[BoardAnswer]) -> None:
        for answer in answers:
            if (worker := self._worker_of.get(answer.call)) is not None:
                self._send(worker, answer)

    # --- what has been counted ---

    def figures(self) -> Figures:
        """The figures of all workers, dead ones included, as they have sent them, and of the edge."""
        dead, living = self._counted
        return total((dead, *living.values(), self._beside(), self._dropped))

    def late(self, now: float) -> bool:
        """Whether so many of the workers with calls do not keep up that another would not, either.

        A few, or for a moment, are no more than that: a worker also refuses by itself.
        """
        _, living = self._counted
        late = [figures.late for figures in living.values() if figures.calls]
        if sum(late) >= max(FEWEST_LATE, len(late) * LATE_SHARE):
            self._late_since = now if self._late_since is None else self._late_since
            self._late_at = now
            self._late = self._late or now - self._late_since >= SUSTAINED_S
        else:
            self._late_since = None
            self._late = self._late and now - self._late_at < CALM_S
        return self._late

    @property
    def may_be_late(self) -> bool:
        """Whether `late` has to be asked again soon."""
        return self._late or self._late_since is not None

    @property
    def calls(self) -> int:
        """Calls that are up, as the workers have told."""
        _, living = self._counted
        return sum(figures.calls for figures in living.values())

    @property
    def specials(self) -> tuple[Special, ...]:
        """What is different today; any thread."""
        return self._rules.specials

    @property
    def limit(self) -> int:
        """Calls that may be up at a time."""
        return self._rules.calls

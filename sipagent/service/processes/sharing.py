"""What all workers share, kept by the supervisor: the operators' board, and the sum of what they count.

One board for all, and with several hosts for theirs too: an operator lent to a call of one worker is lent
to no other call. Waiting callers are served in the order in which they came, and the rota continues over all
workers. When a worker dies, its operators are free again, and its successor begins with none.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sipagent.agent.admission import Admission
from sipagent.agent.figures import Figures, total
from sipagent.agent.operators.asking import Answer, Asked, Leave
from sipagent.agent.operators.board_client import BoardOfHost

Told = Asked | Figures
"""What a worker may send."""


@dataclass(frozen=True, slots=True)
class Risen:
    """A count that restarts with the edge: `before` of earlier runs, `now` of the present one."""

    before: int = 0
    now: int = 0

    def to(self, count: int) -> "Risen":
        return Risen(self.before + self.now, count) if count < self.now else Risen(self.before, count)

    @property
    def sum(self) -> int:
        return self.before + self.now


class Sharing:
    """On the supervisor's thread; `send(worker, answer)` must not wait. Times are monotonic seconds.

    `figures` may be called on any thread, and calls `beside` for what is counted outside the workers.
    """

    def __init__(
        self,
        rules: Admission,
        board_client: BoardOfHost,
        send: Callable[[int, Answer], None],
        beside: Callable[[], Figures] = Figures,
    ) -> None:
        self._rules = rules
        self._client = board_client
        self._send = send
        self._beside = beside
        self._worker_of: dict[str, int] = {}  # calls that asked for an operator
        self._counted: tuple[Figures, dict[int, Figures]] = (Figures(), {})  # of dead and of living workers
        self._edge: tuple[Risen, ...] = (Risen(), Risen(), Risen())  # strangers, malformed, unsupported
        self.has_registered: bool | None = None

    # --- what happens ---

    def heard(self, index: int, message: Told, now: float) -> None:
        """Take in a worker's message."""
        if isinstance(message, Figures):
            dead, living = self._counted
            self._counted = (dead, living | {index: message})
            return
        if isinstance(message, Leave):
            answers = self._client.tell(message, now, index)
            self._worker_of.pop(message.call, None)
        else:
            self._worker_of[message.call] = index
            answers = self._client.tell(message, now, index)
        self._pass_on(answers)

    def gone(self, index: int, now: float) -> None:
        """A worker and all its calls are gone."""
        dead, living = self._counted
        last = living.get(index, Figures())
        rest = {other: figures for other, figures in living.items() if other != index}
        self._counted = (total((dead, replace(last, calls=0, waiting=0))), rest)
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
        self._edge = tuple(risen.to(count) for risen, count in zip(self._edge, counts, strict=True))

    def reload(self, rules: Admission) -> None:
        """Use other operators for the calls that ask from now on."""
        self._rules = rules
        self._client.reload(rules.extensions, rules.wrap_up_s, rules.strategy)

    def _pass_on(self, answers: list[Answer]) -> None:
        for answer in answers:
            if (worker := self._worker_of.get(answer.call)) is not None:
                self._send(worker, answer)

    # --- what has been counted ---

    def figures(self) -> Figures:
        """The figures of all workers, dead ones included, as they have sent them, and of the edge."""
        dead, living = self._counted
        strangers, malformed, unsupported = (risen.sum for risen in self._edge)
        edge = Figures(strangers=strangers, malformed=malformed, unsupported=unsupported)
        return total((dead, *living.values(), self._beside(), edge))

    @property
    def calls(self) -> int:
        """Calls that are up, as the workers have told."""
        _, living = self._counted
        return sum(figures.calls for figures in living.values())

    @property
    def limit(self) -> int:
        """Calls that may be up at a time."""
        return self._rules.calls

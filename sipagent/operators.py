"""Who is to be rung: the operators' board of one process. Pure; times are monotonic seconds.

One who is being rung or talks is not rung for another caller, and has `wrap_up_s` of rest after a
conversation. Who came first is served first: while an earlier caller waits with nobody ringing, a later one
gets nobody.

    sequential      in the order of the configuration, one at a time
    round_robin     one at a time, beginning after the one who was rung last, whoever called
    simultaneous    all who are free, as far as there are legs for them
"""

from typing import Literal

Strategy = Literal["sequential", "simultaneous", "round_robin"]


class Board:
    """`last`: who was rung last, None for nobody; it outlives the process where somebody keeps it."""

    def __init__(
        self,
        extensions: tuple[str, ...],
        wrap_up_s: float = 0.0,
        strategy: Strategy = "sequential",
        last: str | None = None,
    ) -> None:
        self.extensions = extensions
        self.wrap_up_s = wrap_up_s
        self.strategy: Strategy = strategy
        self.last = last
        self._waiting: list[str] = []  # calls, in the order in which they came
        self._engaged: dict[str, str] = {}  # operator → call
        self._rests_until: dict[str, float] = {}  # none that has ended and been told of

    @property
    def waiting(self) -> tuple[str, ...]:
        """The calls for which nobody talks, in the order in which they came."""
        return tuple(self._waiting)

    @property
    def deadline(self) -> float | None:
        """When the next rest ends; None where nobody waits for that."""
        return min(self._rests_until.values(), default=None) if self._waiting else None

    def due(self, now: float) -> bool:
        """Whether a rest has ended, so that those who wait may ask again; of each it is said once."""
        ended = [uri for uri, until in self._rests_until.items() if until <= now]
        for uri in ended:
            del self._rests_until[uri]
        return bool(ended)

    def seek(self, call: str, tried: tuple[str, ...], now: float, legs: int = 1) -> tuple[str, ...]:
        """The operators to ring for a call, who are its own from here on; none where it is not its turn.

        `legs`: how many may be rung, as far as there are legs; the call keeps its place also without any.
        """
        if call not in self._waiting:
            self._waiting.append(call)
        served = set(self._engaged.values())
        if any(earlier not in served for earlier in self._waiting[: self._waiting.index(call)]):
            return ()
        most = legs if self.strategy == "simultaneous" else min(legs, 1)
        free = [
            uri
            for uri in self._in_turn()
            if uri not in tried and uri not in self._engaged and now >= self._rests_until.get(uri, now)
        ]
        chosen = tuple(free[: max(0, most)])
        for uri in chosen:
            self.engage(uri, call)
            self.last = uri
        return chosen

    def _in_turn(self) -> tuple[str, ...]:
        if self.strategy == "round_robin" and self.last in self.extensions:
            after = self.extensions.index(self.last) + 1
            return self.extensions[after:] + self.extensions[:after]
        return self.extensions

    def is_free(self, uri: str) -> bool:
        """Whether nobody rings or talks there for us."""
        return uri not in self._engaged

    def engage(self, uri: str, call: str) -> None:
        """An operator is rung for a call, be it one who was not sought (a transfer) or who rests."""
        self._engaged[uri] = call
        self._rests_until.pop(uri, None)

    def release(self, uri: str, now: float, talked: bool) -> None:
        """The operator is free again, after a rest where there was a conversation."""
        if self._engaged.pop(uri, None) and talked and self.wrap_up_s:
            self._rests_until[uri] = now + self.wrap_up_s

    def served(self, call: str) -> None:
        """The call waits no longer."""
        if call in self._waiting:
            self._waiting.remove(call)

    def leave(self, call: str) -> None:
        """The call is over: nobody is rung for it any more."""
        self.served(call)
        self._engaged = {uri: other for uri, other in self._engaged.items() if other != call}

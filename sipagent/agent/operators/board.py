"""Who is to be rung: the operators' board, of one process or of all. Pure; times are monotonic seconds.

One who is being rung or talks is not rung for another caller, and has `wrap_up_s` of rest after a
conversation. Who came first is served first: while an earlier caller waits with nobody ringing, a later one
gets nobody, unless the earlier one's process has no leg to ring on.

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
        self._waiting: dict[str, int] = {}  # calls, in the order in which they came → their process
        self._legless: set[str] = set()  # of these, those whose process had no leg for them
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

    def seek(
        self, call: str, tried: tuple[str, ...], now: float, legs: int = 1, process: int = 0
    ) -> tuple[str, ...]:
        """The operators to ring for a call, who are its own from here on; none where it is not its turn.

        `legs`: how many may be rung, as far as `process` has legs; the call keeps its place also without any.
        """
        self._waiting.setdefault(call, process)
        self._legless.discard(call)
        if legs <= 0:
            self._legless.add(call)
        if legs <= 0 or self._is_behind_another(call):
            return ()
        most = legs if self.strategy == "simultaneous" else 1
        chosen = tuple(uri for uri in self._free(now) if uri not in tried)[:most]
        for uri in chosen:
            self.claim(uri, call)
            self.last = uri
        return chosen

    def _is_behind_another(self, call: str) -> bool:
        """Whether somebody who came earlier waits with nobody ringing."""
        process, served = self._waiting[call], set(self._engaged.values())
        for earlier, of in self._waiting.items():
            if earlier == call:
                return False
            if earlier not in served and (earlier not in self._legless or of == process):
                return True
        return False

    def _free(self, now: float) -> list[str]:
        """In the order in which they are to be rung."""
        return [
            uri
            for uri in self._in_turn()
            if uri not in self._engaged and now >= self._rests_until.get(uri, now)
        ]

    def _in_turn(self) -> tuple[str, ...]:
        if self.strategy == "round_robin" and self.last in self.extensions:
            after = self.extensions.index(self.last) + 1
            return self.extensions[after:] + self.extensions[:after]
        return self.extensions

    def hopeful(self, now: float) -> tuple[str, ...]:
        """Who may ask again because somebody is free: no more than can be served, in their order.

        Those for whom somebody rings already hope where several may ring at once.
        """
        free, served = len(self._free(now)), set(self._engaged.values())
        if not free:
            return ()
        idle = [call for call in self._waiting if call not in served]
        legless = [call for call in idle if call in self._legless]
        more = [call for call in self._waiting if call in served] if self.strategy == "simultaneous" else []
        return (*legless, *[call for call in idle if call not in self._legless][:free], *more)

    def is_free(self, uri: str) -> bool:
        """Whether nobody rings or talks there for us."""
        return uri not in self._engaged

    def claim(self, uri: str, call: str) -> bool:
        """Have an operator for a call, be it one who was not sought (a transfer) or who rests.

        False where another call has him.
        """
        if self._engaged.setdefault(uri, call) != call:
            return False
        self._rests_until.pop(uri, None)
        return True

    def release(self, uri: str, call: str, now: float, talked: bool) -> None:
        """The operator is free again, if he was this call's; after a rest where there was a conversation."""
        if self._engaged.get(uri) != call:
            return
        del self._engaged[uri]
        if talked and self.wrap_up_s:
            self._rests_until[uri] = now + self.wrap_up_s

    def served(self, call: str) -> None:
        """The call waits no longer."""
        self._waiting.pop(call, None)
        self._legless.discard(call)

    def leave(self, call: str) -> None:
        """The call is over: nobody is rung for it any more."""
        self.served(call)
        self._engaged = {uri: other for uri, other in self._engaged.items() if other != call}

    def die(self, call: str, now: float) -> None:
        """The process of the call has died; who talked in it has his rest all the same."""
        talked = call not in self._waiting
        for uri in [uri for uri, other in self._engaged.items() if other == call]:
            self.release(uri, call, now, talked)
        self.leave(call)

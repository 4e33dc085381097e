"""An engine without a network: it reports what a test scripts and remembers what it is ordered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sipagent.agent.engine import Headers, OfLeg, Report, Side
from sipagent.call import events as e
from sipagent.config.layout import EngineLimits
from sipagent.config.types import Network


class FakeEngine:
    """`orders`: what it was told, as tuples of a name and its arguments, in order.

    `up`: its legs, `dialled`: those that it rings, and whom, over how many `hops`; `tokens`: of the sound
    that a leg hears.
    """

    def __init__(self, report: Callable[[Report], None], capacity: int = 4) -> None:
        self.capacity = capacity
        self.up: set[int] = set()
        self.dialled: dict[int, str] = {}
        self.hops: dict[int, int] = {}
        self.tokens: dict[int, int] = {}
        self.orders: list[tuple[object, ...]] = []
        self.say = report
        self.script: list[Callable[[], None]] = []  # one for each poll
        self.sleep: Callable[[float], None] = lambda _: None  # what a poll does with its time
        self._numbers = 100

    can_play = True

    @property
    def limits(self) -> EngineLimits:
        return EngineLimits(legs=self.capacity)

    @property
    def legs(self) -> int:
        return len(self.up)

    def has(self, leg: int) -> bool:
        return leg in self.up

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def names(self) -> list[object]:
        return [order[0] for order in self.orders]

    def ordered(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of all orders of a name."""
        return [tuple(rest) for order, *rest in self.orders if order == name]

    strangers = 0

    def drain(self) -> None:
        self.orders.append(("drain",))

    def trust(self, media_sources: tuple[Network, ...]) -> None:
        self.orders.append(("trust", media_sources))

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def poll(self, timeout_s: float) -> None:
        if self.script:
            self.script.pop(0)()
        else:
            self.sleep(timeout_s)

    def wake(self) -> None: ...

    def register(self) -> None:
        self.orders.append(("register",))

    def learn_realm(self, realm: str, of: Side = "trunk") -> None:
        self.orders.append(("learn_realm", realm, of))

    def challenged_by(self, trunk: tuple[Network, ...], pbx: frozenset[str]) -> None:
        self.orders.append(("challenged_by", trunk, pbx))

    def answer(self, leg: int) -> None:
        self.orders.append(("answer", leg))

    def reject(self, leg: int, status: int, retry_after_s: int | None) -> None:
        self.orders.append(("reject", leg, status, retry_after_s))

    def hang_up(self, leg: int, elsewhere: bool = False) -> None:
        self.orders.append(("hang_up", leg, elsewhere) if elsewhere else ("hang_up", leg))

    def dial(self, uri: str, display: str, headers: Headers = (), hops: int = 70) -> int:
        leg = self.next_number()
        self.up.add(leg)
        self.dialled[leg] = uri
        self.hops[leg] = hops
        self.say(OfLeg(leg, e.OperatorReached(leg)))
        self.orders.append(("dial", uri, display, headers) if headers else ("dial", uri, display))
        return leg

    def play(self, leg: int, sound: Path, loop: bool) -> int:
        self.tokens[leg] = self.next_number()
        self.orders.append(("play", leg, sound.name, loop))
        return self.tokens[leg]

    def stop_playing(self, leg: int) -> None:
        self.orders.append(("stop_playing", leg))

    def overlay(self, legs: tuple[int, ...], sound: Path) -> None:
        self.orders.append(("overlay", legs, sound.name))

    def indicate(self, leg: int, recording: e.Indication) -> None:
        self.orders.append(("indicate", leg, recording))

    def bridge(self, one: int, other: int) -> None:
        self.orders.append(("bridge", one, other))

    def separate(self, leg: int) -> None:
        self.orders.append(("separate", leg))

    def allow_transfer(self, leg: int, targets: tuple[str, ...]) -> None:
        self.orders.append(("allow_transfer", leg, targets))

    def tell_transfer(self, leg: int, status: int, last: bool) -> None:
        self.orders.append(("tell_transfer", leg, status, last))

    def refer(self, leg: int, uri: str) -> None:
        self.orders.append(("refer", leg, uri))

    def give_up_refer(self, leg: int) -> None:
        self.orders.append(("give_up_refer", leg))

    def listen(self, leg: int) -> None:
        self.orders.append(("listen", leg))

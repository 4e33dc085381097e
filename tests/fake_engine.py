"""An engine without a network: it reports what a test scripts and remembers what it is ordered."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sipagent.agent.engine import Headers, OfLeg, Report
from sipagent.agent.quality import Stream
from sipagent.call import events as e
from sipagent.config.layout import EngineLimits


def order(name: str) -> Callable[..., None]:
    """A method that only remembers that it was called, and with what."""

    def remember(engine: "FakeEngine", *arguments: object) -> None:
        engine.orders.append((name, *arguments))

    return remember


class FakeEngine:
    """`orders`: what it was told, as tuples of a name and its arguments, in order.

    `up`: its legs, `dialled`: those that it rings, and whom, over how many `hops`; `tokens`: of the sound
    that a leg hears; `sent`: how much of it the leg was sent, in ms; `counted`: of a leg's streams.
    """

    def __init__(self, report: Callable[[Report], None], capacity: int = 4) -> None:
        self.capacity = capacity
        self.up: set[int] = set()
        self.dialled: dict[int, str] = {}
        self.hops: dict[int, int] = {}
        self.tokens: dict[int, int] = {}
        self.sent: dict[int, float] = {}
        self.counted: dict[int, tuple[Stream, ...]] = {}
        self.orders: list[tuple[object, ...]] = []
        self.say = report
        self.script: list[Callable[[], None]] = []  # one for each poll
        self.sleep: Callable[[float], None] = lambda _: None  # what a poll does with its time
        self.catch_up: Callable[[Iterable[int]], None] = lambda legs: None
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
        return [tuple(rest) for order, *rest in self.orders if order == name]

    strangers = 0

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def poll(self, timeout_s: float) -> None:
        if self.script:
            self.script.pop(0)()
        else:
            self.sleep(timeout_s)

    def wake(self) -> None: ...

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

    def sent_ms(self, leg: int, token: int) -> float:
        return self.sent.get(leg, 0.0) if self.tokens.get(leg) == token else 0.0

    def streams(self, leg: int) -> tuple[Stream, ...]:
        return self.counted.get(leg, ())

    def hang_up(self, leg: int, elsewhere: bool = False) -> None:
        self.orders.append(("hang_up", leg, elsewhere) if elsewhere else ("hang_up", leg))

    drain = order("drain")
    trust = order("trust")
    register = order("register")
    learn_realm = order("learn_realm")
    challenged_by = order("challenged_by")
    answer = order("answer")
    reject = order("reject")
    stop_playing = order("stop_playing")
    overlay = order("overlay")
    indicate = order("indicate")
    bridge = order("bridge")
    separate = order("separate")
    allow_transfer = order("allow_transfer")
    tell_transfer = order("tell_transfer")
    refer = order("refer")
    give_up_refer = order("give_up_refer")
    listen = order("listen")

"""How fast logins may be tried: slower with each that was refused, and never not at all.

Counted are a browser's address (of IPv6 its /64), a name, and both together. A name alone slows down little:
otherwise anybody could keep its owner out. An address from which it was logged in before is not slowed down
by what others do. What is not tried again for a while is forgotten, and so is what there is no room for.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address, ip_network

from retention.accounts.account import folded

FORGOTTEN_S = 900.0
MOST = 10_000  # of each kind


@dataclass(frozen=True, slots=True)
class Slope:
    """So many refusals are free; then each doubles the wait, from a second to the longest."""

    free: int
    longest_s: float

    def wait_s(self, refused: int) -> float:
        """After so many refusals."""
        if refused < self.free:
            return 0.0
        return float(min(self.longest_s, 2.0 ** min(refused - self.free, 16)))


OF_BOTH, OF_ADDRESS, OF_NAME = Slope(3, 60.0), Slope(20, 60.0), Slope(10, 8.0)


@dataclass(slots=True)
class _Tried:
    refused: int
    last: float


class _Counts:
    """The newest of a kind."""

    def __init__(self, slope: Slope) -> None:
        self._slope = slope
        self._kept: OrderedDict[bytes, _Tried] = OrderedDict()

    def wait_s(self, key: bytes, now: float) -> float:
        tried = self._kept.get(key)
        if tried is None or now - tried.last >= FORGOTTEN_S:
            return 0.0
        return max(0.0, tried.last + self._slope.wait_s(tried.refused) - now)

    def add(self, key: bytes, now: float) -> None:
        tried = self._kept.pop(key, None)
        fresh = tried is None or now - tried.last >= FORGOTTEN_S
        self._kept[key] = _Tried(1 if fresh or tried is None else tried.refused + 1, now)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def take_back(self, key: bytes) -> None:
        if (tried := self._kept.get(key)) is not None and tried.refused > 1:
            tried.refused -= 1
        else:
            self._kept.pop(key, None)

    def forget(self, key: bytes) -> None:
        self._kept.pop(key, None)


class Pace:
    """Any thread; `clock` is in monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._both, self._addresses, self._names = map(_Counts, (OF_BOTH, OF_ADDRESS, OF_NAME))
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def begin(self, address: str, name: str) -> float:
        """Begin to try: 0, or how long to wait before, in seconds.

        It counts as refused until `passed`: so many who try at once are as slow as one.
        """
        both, of_address, of_name = _keys(address, name)
        with self._lock:
            now = self._clock()
            waits = [self._both.wait_s(both, now), self._addresses.wait_s(of_address, now)]
            if both not in self._known:
                waits.append(self._names.wait_s(of_name, now))
            if (wait := max(waits)) > 0:
                return wait
            self._both.add(both, now)
            self._addresses.add(of_address, now)
            self._names.add(of_name, now)
            return 0.0

    def passed(self, address: str, name: str) -> None:
        """What was begun was right."""
        both, of_address, of_name = _keys(address, name)
        with self._lock:
            self._both.forget(both)
            self._addresses.take_back(of_address)
            self._names.take_back(of_name)
            self._known[both] = None
            self._known.move_to_end(both)
            if len(self._known) > MOST:
                self._known.popitem(last=False)


def _keys(address: str, name: str) -> tuple[bytes, bytes, bytes]:
    """Hashes: names that are typed may be passwords, and none stays in memory."""
    network = _network(address)
    of_name = sha256(folded(name).encode("utf-8", "replace")).digest()
    return sha256(network.encode() + of_name).digest(), sha256(network.encode()).digest(), of_name


def _network(address: str) -> str:
    """What one person has: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        one = ip_address(address)
    except ValueError:
        return ""
    if one.version == 6 and (mapped := getattr(one, "ipv4_mapped", None)):
        return str(mapped)
    return str(one) if one.version == 4 else str(ip_network((one, 64), strict=False))

"""How fast logins may be tried: slower with each that was refused, and never not at all.

Counted are a browser's address (of IPv6 its /64), a name, and both together. A name alone slows down little:
otherwise anybody could keep its owner out. An address from which it was logged in before is not slowed down
by what others do. What is not tried again for a while is forgotten, and so is what there is no room for.
Pages of hosts that share accounts count together.
"""

from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address, ip_network

from retention.accounts.account import folded
from retention.accounts.memory import Memory, Tried

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


_SLOPES = {"both": OF_BOTH, "address": OF_ADDRESS, "name": OF_NAME}
_KNOWN = "known"  # both together, of who has logged in


class Pace:
    """Any thread. Its clock is that of the memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def begin(self, address: str, name: str) -> float:
        """Begin to try: 0, or how long to wait before, in seconds.

        It counts as refused until `passed`: so many who try at once are as slow as one.
        """
        keys = _keys(address, name)
        with self._memory.turn() as now:
            waits = {kind: self._wait_s(kind, key, now) for kind, key in keys.items()}
            if waits["name"] and self._memory.tried(_KNOWN, keys["both"]) is not None:
                del waits["name"]
            if (wait := max(waits.values())) > 0:
                return wait
            for kind, key in keys.items():
                self._add(kind, key, now)
            return 0.0

    def passed(self, address: str, name: str) -> None:
        """What was begun was right."""
        keys = _keys(address, name)
        with self._memory.turn() as now:
            self._memory.forget_tried("both", keys["both"])
            for kind in ("address", "name"):
                self._take_back(kind, keys[kind])
            self._memory.keep_tried(_KNOWN, keys["both"], Tried(0, now), MOST)

    def _wait_s(self, kind: str, key: bytes, now: float) -> float:
        tried = self._remembered(kind, key, now)
        return 0.0 if tried is None else max(0.0, tried.last + _SLOPES[kind].wait_s(tried.refused) - now)

    def _add(self, kind: str, key: bytes, now: float) -> None:
        tried = self._remembered(kind, key, now)
        count = 1 if tried is None else tried.refused + 1
        self._memory.keep_tried(kind, key, Tried(count, now), MOST)

    def _remembered(self, kind: str, key: bytes, now: float) -> Tried | None:
        """None where it is forgotten by now, too."""
        tried = self._memory.tried(kind, key)
        return None if tried is None or now - tried.last >= FORGOTTEN_S else tried

    def _take_back(self, kind: str, key: bytes) -> None:
        tried = self._memory.tried(kind, key)
        if tried is not None and tried.refused > 1:
            self._memory.keep_tried(kind, key, Tried(tried.refused - 1, tried.last), MOST)
        else:
            self._memory.forget_tried(kind, key)


def _keys(address: str, name: str) -> dict[str, bytes]:
    """What is counted, by its kind. Hashes: names that are typed may be passwords, and none is kept."""
    network = network_of(address)
    of_name = sha256(folded(name).encode("utf-8", "replace")).digest()
    both, of_address = sha256(network.encode() + of_name).digest(), sha256(network.encode()).digest()
    return {"both": both, "address": of_address, "name": of_name}


def network_of(address: str) -> str:
    """What one person has: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        one = ip_address(address)
    except ValueError:
        return ""
    if one.version == 6 and (mapped := getattr(one, "ipv4_mapped", None)):
        return str(mapped)
    return str(one) if one.version == 4 else str(ip_network((one, 64), strict=False))

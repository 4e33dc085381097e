"""The hop between the edge and the processes behind it: the header by which each knows the other.

Every program on this machine can send to a port of 127.0.0.1. So each request that begins something there has
the header `X-Sipagent`, which never leaves the machine. It has one secret towards the edge, and another one
from it: a program that takes a dead worker's port, and gets what is still sent there, cannot begin anything
itself.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

HEADER = "X-Sipagent"
GIVEN_UP = "given-up"  # behind the edge's secret, on a CANCEL: the call is another worker's now, or nobody's
ALPHABET = frozenset("0123456789abcdef")
DIGITS = 32


@dataclass(frozen=True, slots=True)
class HopTokens:
    """Both, from one `secret` of 32 hexadecimal digits. Raises ValueError."""

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != DIGITS or not ALPHABET.issuperset(self.secret):
            raise ValueError(f"not {DIGITS} hexadecimal digits")

    @property
    def to_edge(self) -> str:
        """The whole header, on INVITE and REGISTER."""
        return self.secret

    @property
    def from_edge(self) -> str:
        """How the header begins on everything that the edge forwards; then comes the sender,
        `;source=IP:PORT`."""
        return hashlib.sha256(f"from the edge {self.secret}".encode()).hexdigest()[:DIGITS]


def new_tokens() -> HopTokens:
    return HopTokens(secrets.token_hex(DIGITS // 2))

"""What an authenticator has to sign: made by us, for one browser, good for five minutes and once.

A challenge is what it is for, sealed: so nothing is kept of those that nobody answers.
"""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

from retention.accounts.memory import Memory
from sipagent.web.login.seal import Seal

GOOD_FOR_S = 300
MOST = 10_000  # that are answered within that time; what is beyond is refused
_KIND = "challenge"
_AHEAD_S = 30  # by which the clock of another host may be


class Challenges:
    """Any thread."""

    def __init__(self, seal: Seal, clock: Callable[[], datetime], memory: Memory) -> None:
        self._seal = seal
        self._clock = clock
        self._memory = memory

    def new(self, purpose: str, browser: str, about: Any = None) -> str:
        """In base64url, without padding. `browser`: what only its own forms carry; `about`: as JSON."""
        return self._seal.seal_json(_KIND, [purpose, browser, self._clock().timestamp(), about])

    def use(self, challenge: str, purpose: str, browser: str) -> tuple[Any] | None:
        """What it is about; None for one that is of something or somebody else, late, or was used."""
        opened = self._seal.open_json(_KIND, challenge)
        if opened is None or opened[:2] != [purpose, browser]:
            return None
        made, now = float(opened[2]), self._clock().timestamp()
        until = made + GOOD_FOR_S
        if not now < until <= now + GOOD_FOR_S + _AHEAD_S:
            return None
        name = sha256(challenge.encode()).digest()
        return (opened[3],) if self._memory.use_up(name, until, now, MOST) else None

"""What an authenticator has to sign: made here, for one browser, good for five minutes and once.

A challenge is what it is for, sealed: so nothing is kept of those that nobody answers.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

from sipagent.web.login.seal import Seal

GOOD_FOR_S = 300
MOST = 10_000  # that are answered within that time; what is beyond is refused


class Challenges:
    """Any thread."""

    def __init__(self, seal: Seal, clock: Callable[[], datetime]) -> None:
        self._seal = seal
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[bytes, float] = {}  # by its hash: when it ends

    def new(self, purpose: str, browser: str, about: Any = None) -> str:
        """In base64url, without padding. `browser`: what only its own forms carry; `about`: as JSON."""
        return self._seal.seal_json([purpose, browser, self._clock().timestamp(), about])

    def use(self, challenge: str, purpose: str, browser: str) -> tuple[Any] | None:
        """What it is about; None for one that is of something or somebody else, late, or was used."""
        opened = self._seal.open_json(challenge)
        if not isinstance(opened, list) or opened[:2] != [purpose, browser]:
            return None
        made, now = float(opened[2]), self._clock().timestamp()
        name = sha256(challenge.encode()).digest()
        with self._lock:
            self._used = {one: end for one, end in self._used.items() if end > now}
            if not now - GOOD_FOR_S < made <= now or name in self._used or len(self._used) >= MOST:
                return None
            self._used[name] = made + GOOD_FOR_S
        return (opened[3],)

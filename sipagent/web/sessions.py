"""Remembers browsers: seals their cookies, keeps sessions and challenges, counts refused attempts.

A seal closes what pages of ours alone can read: cookies, and what a form carries from one step to the
next. Its JSON is of a kind, such as `authenticator`: what was sealed for one place is nothing at another.

Where one page remembers its sessions, a restart ends them all; where hosts share accounts, a session
counts on each. A challenge is what an authenticator has to sign: made for one browser, good for five
minutes and once. It is what it is for, sealed: so nothing is kept of those that nobody answers.

Logins are slower with each that was refused, and never not possible at all. Counted are a browser's
address (of IPv6 its /64), a name, and both together. A name alone slows down little: otherwise anybody
could keep its owner out. An address from which it was logged in before is not slowed down by what others
do. What is not tried again for a while is forgotten, and so is what there is no room for. Pages of hosts
that share accounts count together.
"""

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from retention.accounts.accounts import Memory, Session, Tried
from retention.accounts.credentials import folded

LONGEST_SEALED = 4096  # characters of what is opened


class Seal:
    """`secret`: 32 bytes, of this process or of all hosts' pages. What is sealed under another one, or
    altered, is nothing."""

    def __init__(self, secret: bytes) -> None:
        self._box = SecretBox(hmac.digest(secret, b"seal", "sha256"))
        self._form_key = hmac.digest(secret, b"forms", "sha256")

    def seal(self, plain: bytes) -> str:
        """As text for a cookie or a form."""
        return urlsafe_b64encode(self._box.encrypt(plain)).decode("ascii").rstrip("=")

    def open(self, sealed: str) -> bytes | None:
        """The inverse; None for what was not sealed here."""
        if len(sealed) > LONGEST_SEALED or not sealed.isascii():
            return None
        try:
            return self._box.decrypt(urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
        except (CryptoError, ValueError):
            return None

    def seal_json(self, kind: str, value: Any) -> str:
        """JSON of this kind, sealed."""
        return self.seal(json.dumps([kind, value]).encode())

    def open_json(self, kind: str, sealed: str) -> Any:
        """The inverse; None for what was not sealed here, or as another kind."""
        plain = self.open(sealed)
        try:
            named, value = json.loads(plain or b"")
        except (TypeError, ValueError):  # another's bytes: no JSON, or not of two parts
            return None
        return value if named == kind else None

    def form_token(self, id: bytes) -> str:
        """The token in the forms of the browser with this id in its cookie; no other site can know it."""
        return hmac.digest(self._form_key, id, "sha256").hex()


ABSOLUTE = timedelta(hours=12)
MOST_SESSIONS = 2000  # sessions at a time
MOST_OF_ONE = 10  # of one account
ID_BYTES = 32
_NOTED = timedelta(seconds=1)  # between two notes of when somebody did something


class Sessions:
    """Any thread. A session is known by the SHA-256 of its id: who reads the memory cannot show the id."""

    def __init__(self, idle: timedelta, clock: Callable[[], datetime], memory: Memory) -> None:
        self._idle = idle
        self._clock = clock
        self._memory = memory

    def begin(self, account: int, epoch: int) -> bytes:
        """Begin one; its id, which is new each time."""
        id, now = secrets.token_bytes(ID_BYTES), self._clock()
        self._memory.end_sessions(began=now - ABSOLUTE, seen=now - self._idle)
        self._memory.keep_newest(account, MOST_OF_ONE - 1)
        self._memory.keep_newest(None, MOST_SESSIONS - 1)
        self._memory.add_session(_session_name(id), Session(account, epoch, now, now))
        return id

    def find(self, id: bytes, *, acts: bool) -> Session | None:
        """The session of this id, unless it has ended. `acts`: somebody does something, which prolongs it."""
        now, name = self._clock(), _session_name(id)
        session = self._memory.session(name)
        if session is None:
            return None
        if now - session.seen >= self._idle or now - session.began >= ABSOLUTE:
            self._memory.end_session(name)
            return None
        if acts and now - session.seen >= _NOTED:
            self._memory.saw(name, now)
        return replace(session, seen=now) if acts else session

    def ends(self, session: Session) -> tuple[datetime, bool]:
        """When it ends if nothing more is done, and whether it then ends in any case."""
        idle, last = session.seen + self._idle, session.began + ABSOLUTE
        return min(idle, last), last <= idle

    def end(self, id: bytes) -> None:
        """End it, if it has not ended."""
        self._memory.end_session(_session_name(id))


def _session_name(id: bytes) -> bytes:
    return sha256(id).digest()


CHALLENGE_GOOD_FOR_S = 300
MOST_CHALLENGES = 10_000  # that are answered within that time; what is beyond is refused
_CHALLENGE = "challenge"
_AHEAD_S = 30  # by which the clock of another host may be


class PasskeyChallenges:
    """Any thread."""

    def __init__(self, seal: Seal, clock: Callable[[], datetime], memory: Memory) -> None:
        self._seal = seal
        self._clock = clock
        self._memory = memory

    def new(self, purpose: str, browser: str, about: Any = None) -> str:
        """In base64url, without padding. `browser`: what only its own forms carry; `about`: as JSON."""
        return self._seal.seal_json(_CHALLENGE, [purpose, browser, self._clock().timestamp(), about])

    def use(self, challenge: str, purpose: str, browser: str) -> tuple[Any] | None:
        """The value that it was made with; None for one of another purpose or browser, late, or used."""
        opened = self._seal.open_json(_CHALLENGE, challenge)
        if opened is None or opened[:2] != [purpose, browser]:
            return None
        made, now = float(opened[2]), self._clock().timestamp()
        until = made + CHALLENGE_GOOD_FOR_S
        if not now < until <= now + CHALLENGE_GOOD_FOR_S + _AHEAD_S:
            return None
        name = sha256(challenge.encode()).digest()
        return (opened[3],) if self._memory.use_up(name, until, now, MOST_CHALLENGES) else None


FORGOTTEN_S = 900.0
MOST_TRIED = 10_000  # of each kind


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


class LoginPace:
    """Any thread. Its clock is that of the memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def begin(self, address: str, name: str) -> float:
        """Begin to try: 0, or how long to wait before, in seconds.

        It counts as refused until `passed`: so many who try at once are as slow as one.
        """
        keys = _tried_keys(address, name)
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
        """The attempt that was begun has succeeded."""
        keys = _tried_keys(address, name)
        with self._memory.turn() as now:
            self._memory.forget_tried("both", keys["both"])
            for kind in ("address", "name"):
                self._take_back(kind, keys[kind])
            self._memory.keep_tried(_KNOWN, keys["both"], Tried(0, now), MOST_TRIED)

    def _wait_s(self, kind: str, key: bytes, now: float) -> float:
        tried = self._remembered(kind, key, now)
        return 0.0 if tried is None else max(0.0, tried.last + _SLOPES[kind].wait_s(tried.refused) - now)

    def _add(self, kind: str, key: bytes, now: float) -> None:
        tried = self._remembered(kind, key, now)
        count = 1 if tried is None else tried.refused + 1
        self._memory.keep_tried(kind, key, Tried(count, now), MOST_TRIED)

    def _remembered(self, kind: str, key: bytes, now: float) -> Tried | None:
        """None also if it is forgotten by now."""
        tried = self._memory.tried(kind, key)
        return None if tried is None or now - tried.last >= FORGOTTEN_S else tried

    def _take_back(self, kind: str, key: bytes) -> None:
        tried = self._memory.tried(kind, key)
        if tried is not None and tried.refused > 1:
            self._memory.keep_tried(kind, key, Tried(tried.refused - 1, tried.last), MOST_TRIED)
        else:
            self._memory.forget_tried(kind, key)


def _tried_keys(address: str, name: str) -> dict[str, bytes]:
    """The keys to count by, each a hash: a typed name may be a password, so none is kept."""
    network = network_of(address)
    of_name = sha256(folded(name).encode("utf-8", "replace")).digest()
    both, of_address = sha256(network.encode() + of_name).digest(), sha256(network.encode()).digest()
    return {"both": both, "address": of_address, "name": of_name}


def network_of(address: str) -> str:
    """The network of one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        one = ip_address(address)
    except ValueError:
        return ""
    if one.version == 6 and (mapped := getattr(one, "ipv4_mapped", None)):
        return str(mapped)
    return str(one) if one.version == 4 else str(ip_network((one, 64), strict=False))

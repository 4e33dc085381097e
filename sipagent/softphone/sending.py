"""What a phone sends and has seen, and the phone as its calls know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sipagent.softphone.loop import Loop, Timer
from sipagent.softphone.rtp import RtpEnd
from sipagent.softphone.sip import Headers, Message


@dataclass(slots=True)
class Transaction:
    """A request on its way; `on_response(None)` means that nobody answered."""

    request: Message
    to: tuple[str, int]
    on_response: Callable[[Message | None], None]
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A message and when it left or came (monotonic, ns)."""

    at_ns: int
    sent: bool
    message: Message

    def describe(self) -> str:
        return f"{self.message.describe()} {'sent' if self.sent else 'received'}"


class OwnPhone(Protocol):
    """What a call needs of its phone; `phone.Phone` is the one there is, and says what each means."""

    loop: Loop
    user: str
    address: tuple[str, int]
    contact: str
    codecs: tuple[int, ...]
    event_type: int | None
    sdp_lines: bytes
    refer_status: int | None
    seen: list[Seen]

    @property
    def uri(self) -> str: ...

    def new_rtp(self) -> RtpEnd: ...

    def send(self, message: Message, to: tuple[str, int]) -> None: ...

    def request(self, transaction: Transaction) -> None: ...

    def respond(
        self, request: Message, status: int, tag: str = "", headers: Headers = (), body: bytes = b""
    ) -> None: ...

    def at(self, what: str, nth: int = 0) -> int: ...

    def count(self, what: str) -> int: ...

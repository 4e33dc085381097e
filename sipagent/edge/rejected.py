"""What the edge tells of each call that it rejected, once; no caller can forge it.

Pure: a text in, a value out. The text is `name=value`, separated by spaces; what callers sent is in
hexadecimal (`route[REJECTED]` of kamailio-calls.cfg).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

Why = Literal[
    "full", "rate", "draining", "malformed", "unsupported", "unanswered", "untaken", "crash", "loop"
]


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A call that no worker took, at `at` (UTC).

    `from_`, `asserted` (P-Asserted-Identity) and `privacy` are the bodies of headers as the trunk sent them,
    empty where absent; `called` is the Request-URI. `full`: no slot was free; `rate`: one was, but too many
    calls came at once; `malformed`: no worker could have read it; `unsupported`: it asks for something not
    supported, or has a body that no engine takes; `unanswered`: no worker that got it answered;
    `untaken`: a slot was free, and its worker said that it had no room; `crash`: its INVITE was the last
    message that a worker was given before it crashed; `loop`: its Max-Forwards was used up.
    """

    at: datetime
    why: Why
    status: int
    call_id: str
    called: str
    from_: str
    asserted: str
    privacy: str


def rejected(text: str) -> RejectedCall:
    """Read what the edge says of a call. Raises ValueError for any other text."""
    fields = dict(part.partition("=")[::2] for part in text.split())
    numbers = (fields.get(name, "") for name in ("status", "s", "us"))
    if fields.get("why") not in get_args(Why) or not all(
        re.fullmatch(r"\d{1,10}", one, re.ASCII) for one in numbers
    ):
        raise ValueError(f"not what the edge says of a call: {text[:80]!r}")
    return RejectedCall(
        at=datetime.fromtimestamp(int(fields["s"]), UTC) + timedelta(microseconds=int(fields["us"])),
        why=cast(Why, fields["why"]),
        status=int(fields["status"]),
        call_id=_text(fields.get("call_id", "")),
        called=_text(fields.get("called", "")),
        from_=_text(fields.get("from", "")),
        asserted=_text(fields.get("asserted", "")),
        privacy=_text(fields.get("privacy", "")),
    )


def _text(hexadecimal: str) -> str:
    """Decode what a caller sent; Kamailio writes `<null>` for an absent header."""
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", hexadecimal, re.ASCII):
        return ""
    return bytes.fromhex(hexadecimal).decode(errors="replace")

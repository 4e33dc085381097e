"""What the edge tells on its stderr of calls that it rejected: a line each, which no caller can forge.

Pure: a line in, a value out. The line begins with a key that only the edge and its reader know, and what
callers sent is in hexadecimal (`route[REJECTED]` of kamailio.cfg).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

Why = Literal["full", "rate", "draining"]
WHYS = ("full", "rate", "draining")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A call that no worker took, at `at` (UTC).

    `from_`, `asserted` (P-Asserted-Identity) and `privacy` are the bodies of headers as the trunk sent them,
    empty where absent; `called` is the Request-URI. `full`: no slot was free; `rate`: one was, but too many
    calls came at once.
    """

    at: datetime
    why: Why
    status: int
    call_id: str
    called: str
    from_: str
    asserted: str
    privacy: str


def rejected(line: str, key: str) -> Rejected | None:
    """Read a line of Kamailio's log; None where it tells of something else."""
    _, found, said = line.partition(f"{key} why=")
    fields = dict(part.partition("=")[::2] for part in f"why={said}".split()) if found else {}
    if fields.get("why") not in WHYS or not all(
        fields.get(name, "").isdecimal() for name in ("status", "s", "us")
    ):
        return None
    return Rejected(
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

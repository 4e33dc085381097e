"""What the library's callbacks need to know of a message's text."""

import re

from sipagent.config.identity import header_values
from sipagent.edge.hop import HEADER

_EVENT = re.compile(r"^a=rtpmap:\d+\s+telephone-event/8000\b", re.MULTILINE | re.IGNORECASE)
_DECLINED = re.compile(r"^a=recordpref:\s*off\s*$", re.MULTILINE | re.IGNORECASE)
_REALM = re.compile(r'\brealm\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)


def signalling_source(message: str, source: str, token: str) -> str:
    """Where a message was sent from, `host:port`: behind an edge that has `token`, as the edge says."""
    if token:
        for value in header_values(message, HEADER):
            said, _, parameter = value.partition(";")
            name, _, outer = parameter.partition("=")
            if said.strip() == token and name.strip() == "source":
                return outer.strip()
    return source


def takes_events(sdp: str, index: int) -> bool:
    """Whether a media section of SDP has RFC 4733 events (section 2.4.1 there), at the rate of our codecs."""
    sections = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)[1:]
    return index < len(sections) and bool(_EVENT.search(sections[index]))


def record_aware(message: str) -> bool:
    """Whether its sender understands `a=record` (RFC 7866 section 6.1.1)."""
    tags = [*header_values(message, "Supported"), *header_values(message, "Require")]
    return any(tag.strip().lower() == "record-aware" for value in tags for tag in value.split(","))


def body_of(message: str) -> str:
    """What follows the headers."""
    return message.partition("\r\n\r\n")[2]


def declines_recording(sdp: str) -> bool:
    """Whether SDP asks for no recording; `on`, `pause`, `nopreference` say nothing."""
    return bool(_DECLINED.search(sdp))


def with_record(sdp: str, recording: str) -> str:
    """The SDP with what becomes of its sound (RFC 7866 section 6.1.2): at the end of each audio section."""
    session, *media = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
    told = f"a=record:{recording}\r\n"
    return session + "".join(one + told if one.startswith("m=audio ") else one for one in media)


def challenge_realm(message: str) -> str | None:
    """The realm of the first digest challenge (RFC 3261 section 22.4), None without one."""
    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
        for value in header_values(message, name):
            scheme, _, parameters = value.partition(" ")
            found = _REALM.search(parameters)
            if scheme.lower() == "digest" and found and found[1].isprintable():
                return re.sub(r"\\(.)", r"\1", found[1])
    return None

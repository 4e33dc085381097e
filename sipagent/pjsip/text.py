"""What the library's callbacks need to know of a message's text."""

import re

from sipagent.identity import header_values

_EVENT = re.compile(r"^a=rtpmap:\d+\s+telephone-event/", re.MULTILINE | re.IGNORECASE)
_REALM = re.compile(r'\brealm\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)


def offers_telephone_event(message: str) -> bool:
    """Whether the SDP in a message names RFC 4733 events (section 2.4.1 there)."""
    return bool(_EVENT.search(message))


def challenge_realm(message: str) -> str | None:
    """The realm of the first digest challenge (RFC 3261 section 22.4), None without one."""
    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
        for value in header_values(message, name):
            scheme, _, parameters = value.partition(" ")
            found = _REALM.search(parameters)
            if scheme.lower() == "digest" and found and found[1].isprintable():
                return re.sub(r"\\(.)", r"\1", found[1])
    return None

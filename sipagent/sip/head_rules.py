"""What in the head of a message would end the library's process, though its parser takes it. Pure.

a host that is empty          an assertion where the URI is printed (sip_uri.c)
a way that cannot be gone     one where the ACK to an answer finds no transport (sip_inv.c)
an answer without a To tag    one where a second phone is taken to have answered (sip_dialog.c)
a place for our answer        one where that cannot be resolved while a callback answers (sip_inv.c)
"""

import re

_NO_HOST = re.compile(r"[:@]\[\]")  # an IPv6 reference that is empty; any other host has a character
_SCHEME = re.compile(r"<\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_TRANSPORT = re.compile(r";transport=([^;?>]*)", re.IGNORECASE)
_ANSWERED_AT = re.compile(r";maddr=", re.IGNORECASE)
_URI_OR_QUOTED = re.compile(r'"(\\.|[^"\\])*"|<[^>]*>')


def can_be_written(message: str) -> bool:
    """Whether all URIs in its head have a host."""
    return not _NO_HOST.search(message.partition("\r\n\r\n")[0])


def can_be_sent_to(header: str, transport: str) -> bool:
    """Whether requests can go by `transport` to what a Contact or Record-Route names.

    This and those below are given a header as the library writes it.
    """
    schemes = {one.lower() for one in _SCHEME.findall(header)}
    return schemes == {"sip"} and all(one.lower() == transport for one in _TRANSPORT.findall(header))


def wants_answers_elsewhere(via: str) -> bool:
    """Whether a Via names another place for the answer (RFC 3261 section 18.2.2): it is for multicast."""
    return bool(_ANSWERED_AT.search(via))


def has_tag(to: str) -> bool:
    """Whether a To header names a dialog (RFC 3261 section 8.2.6.2)."""
    return ";tag=" in _URI_OR_QUOTED.sub("", to).lower()

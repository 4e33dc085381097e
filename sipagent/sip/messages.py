"""Reads the text of a SIP message, as far as the engine needs it. Pure text functions, which never raise.

    its head        heads that would end the library's process, though its parser takes them
    its sender      behind an edge by the edge's header; the realm of a challenge
    recording       which device understands `a=record`, and which asks for no recording (RFC 7866)
    REFER           its fields and those of the NOTIFYs about it (RFC 3515, 3891, 3420)

These heads end the process, with the place in the library's source:

    a host that is empty          an assertion where the URI is printed (sip_uri.c)
    a way that cannot be gone     one where the ACK to an answer finds no transport (sip_inv.c)
    an answer without a To tag    one where a second phone is taken to have answered (sip_dialog.c)
    a place for our answer        one where that cannot be resolved while a callback answers (sip_inv.c)

A text may come from anyone. So the target of a transfer is never taken from a message: it is looked up
among the allowed ones, and one of these is returned.
"""

import re
from urllib.parse import unquote

from sipagent.config.identity import address_of, header_of, header_values
from sipagent.edge.plan import HOP_HEADER

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


_EVENT = re.compile(r"^a=rtpmap:\d+\s+telephone-event/8000\b", re.MULTILINE | re.IGNORECASE)
_DECLINED = re.compile(r"^a=recordpref:\s*off\s*$", re.MULTILINE | re.IGNORECASE)
_REALM = re.compile(r'\brealm\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)


def said_by_edge(message: str, token: str, name: str) -> str:
    """What an edge that has `token` says of a message; empty for nothing."""
    for value in header_values(message, HOP_HEADER) if token else ():
        said, *parameters = (part.strip() for part in value.split(";"))
        if said == token:
            return dict(part.partition("=")[::2] for part in parameters).get(name, "")
    return ""


def signalling_source(message: str, source: str, token: str) -> str:
    """The sender of a message, `host:port`: behind an edge that has `token`, as the edge says."""
    return said_by_edge(message, token, "source") or source


def age_s(message: str, token: str, now: float) -> float:
    """How long ago the edge passed a new call on; 0 where it does not say. `now`: s since the epoch."""
    try:
        return max(0.0, now - float(said_by_edge(message, token, "at")))
    except ValueError:
        return 0.0


def takes_events(sdp: str, index: int) -> bool:
    """Whether a media section of SDP has RFC 4733 events (section 2.4.1 there), at the rate of our codecs."""
    sections = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)[1:]
    return index < len(sections) and bool(_EVENT.search(sections[index]))


def record_aware(message: str) -> bool:
    """Whether its sender understands `a=record` (RFC 7866 section 6.1.1)."""
    tags = [*header_values(message, "Supported"), *header_values(message, "Require")]
    return any(tag.strip().lower() == "record-aware" for value in tags for tag in value.split(","))


def body_of(message: str) -> str:
    """The body: all after the headers."""
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


SIP_PORT = 5060
_URI = re.compile(
    r"sip:(?P<user>[^@?:;]{1,128})(?:[;:][^@?]{0,128})?@"
    r"(?P<host>\[[0-9A-F:.]{2,45}\]|[\w.-]{1,255})(?::(?P<port>\d{1,5}))?"
    r"(?P<parameters>(?:;[^?]*)?)(?:\?(?P<headers>.*))?",
    re.ASCII | re.IGNORECASE,
)
_WORD = r"[\w\-.!%*+`'~()<>:\\\"/\[\]?{}]{1,128}"
_TOKEN = r"[\w\-.!%*+`'~]{1,128}"
_CALL_ID = re.compile(rf"{_WORD}(?:@{_WORD})?", re.ASCII)
_TAG = re.compile(_TOKEN, re.ASCII)
_STATUS_LINE = re.compile(r"SIP/2\.0[ \t]+([1-6]\d\d)(?!\d)", re.ASCII | re.IGNORECASE)
_REFER_EVENT = re.compile(r"refer[ \t]*(?:;.*)?", re.IGNORECASE)
_ID = re.compile(r";[ \t]*id[ \t]*=[ \t]*(\d{1,10})[ \t]*(?:;|$)", re.ASCII | re.IGNORECASE)


def transfer_asked(message: str, targets: tuple[str, ...]) -> tuple[str, str] | None:
    """The one of `targets` (checked SIP URIs) that a REFER asks for, and the Replaces header to call it with.

    None if it is none of them, or the request is not clear (RFC 3515 section 2.4.2: exactly one Refer-To).
    User, host and port must be those of the target. With Replaces the user is enough, if only one target has
    it: phones then name each other by their own addresses (RFC 5589 section 7.3).
    """
    named = [address_of(value) for value in header_values(message, "Refer-To")]
    found = _URI.fullmatch(named[0]) if len(named) == 1 else None
    if found is None or not _means_invite(found["parameters"]):
        return None
    replaces = _replaces(found["headers"] or "")
    if replaces is None:
        return None
    wanted = _place(found)
    exact = [uri for uri in targets if _place_of(uri) == wanted]
    by_user = [uri for uri in targets if _place_of(uri)[0] == wanted[0]]
    if exact:
        return exact[0], replaces
    return (by_user[0], replaces) if replaces and len(by_user) == 1 else None


def refer_id(message: str) -> int | None:
    """The `id` of a NOTIFY about a REFER: the CSeq of the REFER (RFC 3515 section 2.4.6); None without
    one."""
    found = _ID.search(header_of(message, "Event"))
    return int(found[1]) if found else None


def is_about_refer(message: str) -> bool:
    return bool(_REFER_EVENT.fullmatch(header_of(message, "Event").strip()))


def notified_status(message: str) -> int | None:
    """The status in a NOTIFY's sipfrag; 500 if it is the last NOTIFY but not a final status; None without
    any."""
    found = _STATUS_LINE.match(message.partition("\r\n\r\n")[2].lstrip())
    status = int(found[1]) if found else None
    return 500 if ends_subscription(message) and (status is None or status < 200) else status


def ends_subscription(message: str) -> bool:
    """Whether a NOTIFY is the last of its subscription (RFC 6665 section 4.1.3)."""
    state = header_of(message, "Subscription-State")
    return state.partition(";")[0].strip().lower() == "terminated"


def cseq(message: str) -> int:
    """The number of a message's CSeq, 0 without one."""
    number = header_of(message, "CSeq").split(" ")[0]
    return int(number) if re.fullmatch(r"\d{1,10}", number, re.ASCII) else 0


def _means_invite(parameters: str) -> bool:
    methods = re.findall(r"(?i);method=([^;]*)", parameters)
    return all(method.upper() == "INVITE" for method in methods)


def _place_of(uri: str) -> tuple[str, str, int]:
    found = _URI.fullmatch(uri)
    return _place(found) if found else ("", "", 0)


def _place(found: re.Match[str]) -> tuple[str, str, int]:
    return unquote(found["user"]), found["host"].lower(), int(found["port"] or SIP_PORT)


def _replaces(headers: str) -> str | None:
    """The value of the Replaces header (RFC 3891 section 6.1), written again; empty without one.

    None if it is malformed, or there are two.
    """
    given_headers = (one.partition("=") for one in headers.split("&"))
    values = [value for name, _, value in given_headers if _is_replaces(name)]
    if not values:
        return ""
    call_id, *parameters = (part.strip() for part in unquote(values[0]).split(";"))
    given = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    tags = given.get("to-tag", ""), given.get("from-tag", "")
    if len(values) > 1 or not _CALL_ID.fullmatch(call_id) or not all(map(_TAG.fullmatch, tags)):
        return None
    early = ";early-only" if "early-only" in parameters else ""
    return f"{call_id};to-tag={tags[0]};from-tag={tags[1]}{early}"


def _is_replaces(name: str) -> bool:
    return unquote(name).strip().lower() == "replaces"

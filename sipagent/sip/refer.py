"""What a REFER and the NOTIFYs about it say (RFC 3515, 3891, 3420), read from text that may come from anyone.

Pure text functions, which never raise. A target is never taken from a message: it is looked up among the
allowed ones, and one of these is returned.
"""

import re
from urllib.parse import unquote

from sipagent.config.identity import address_of, header_values

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
_EVENT = re.compile(r"refer[ \t]*(?:;.*)?", re.IGNORECASE)
_ID = re.compile(r";[ \t]*id[ \t]*=[ \t]*(\d{1,10})[ \t]*(?:;|$)", re.ASCII | re.IGNORECASE)


def transfer_asked(message: str, targets: tuple[str, ...]) -> tuple[str, str] | None:
    """Which of `targets` (checked SIP URIs) a REFER asks for, and the Replaces header to call it with.

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
    found = _ID.search(next(iter(header_values(message, "Event")), ""))
    return int(found[1]) if found else None


def is_about_refer(message: str) -> bool:
    return bool(_EVENT.fullmatch(next(iter(header_values(message, "Event")), "").strip()))


def notified_status(message: str) -> int | None:
    """The status in a NOTIFY's sipfrag; 500 if it is the last NOTIFY but not a final status; None without
    any."""
    found = _STATUS_LINE.match(message.partition("\r\n\r\n")[2].lstrip())
    status = int(found[1]) if found else None
    return 500 if is_over(message) and (status is None or status < 200) else status


def is_over(message: str) -> bool:
    """Whether a NOTIFY is the last of its subscription (RFC 6665 section 4.1.3)."""
    state = next(iter(header_values(message, "Subscription-State")), "")
    return state.partition(";")[0].strip().lower() == "terminated"


def cseq(message: str) -> int:
    """The number of a message's CSeq, 0 without one."""
    number = next(iter(header_values(message, "CSeq")), "").split(" ")[0]
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

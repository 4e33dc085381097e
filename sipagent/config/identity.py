"""Who calls whom, read from a SIP message that may come from anyone.

Pure text functions. They never raise, read each message in linear time, and return only digits, or text that
`printable` has escaped.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

import phonenumbers

from retention.records import CallerIdentity

NAME_LIMIT = 80  # characters of a foreign text that are shown
USER_LIMIT = 120  # characters of a user part, including separators and parameters
INTERNAL_DIGITS = 5  # an extension of the office, or a short code such as 3900: it has no E.164 form
MAX_FORWARDS = 70  # where a request does not say (RFC 3261 section 8.1.1.6)
COMPACT = {  # RFC 3261 section 7.3.3 and the registry of SIP header fields
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "c": "content-type",
    "e": "content-encoding",
    "l": "content-length",
    "s": "subject",
    "k": "supported",
    "v": "via",
    "r": "refer-to",
    "b": "referred-by",
    "x": "session-expires",
    "o": "event",
    "u": "allow-events",
    "a": "accept-contact",
    "j": "reject-contact",
    "d": "request-disposition",
    "y": "identity",
}
_EVENTS = "0123456789*#ABCD"  # RFC 4733 section 3.2: the events 0 to 15


def header_values(message: str, name: str) -> list[str]:
    """Give the values of a header, one for each line of the message, unfolded; [] if it is missing."""
    return list(_headers(message).get(COMPACT.get(name.lower(), name.lower()), ()))


def header_of(message: str, name: str) -> str:
    """Give the first value of a header; empty if it is missing."""
    return next(iter(header_values(message, name)), "")


def max_forwards(message: str) -> int:
    """Give how many hops a request may still take, 0 to 255 (RFC 3261 section 20.22)."""
    value = header_of(message, "Max-Forwards")
    return min(int(value), 255) if value.isascii() and value.isdecimal() else MAX_FORWARDS


@lru_cache(maxsize=2)  # one message is asked for a dozen headers, one after the other
def _headers(message: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    head = re.split(r"\r?\n\r?\n", message, maxsplit=1)[0]
    unfolded = re.sub(r"\n[ \t]+", " ", head.replace("\r\n", "\n"))
    for line in unfolded.split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            found.setdefault(COMPACT.get(name, name), []).append(value.strip())
    return found


def caller_number(message: str, country: str) -> str | None:
    """Give the caller's number: P-Asserted-Identity, else From, as E.164 (or the digits of an extension).

    None if it is masked, or there is no number. Both headers come from the trunk, the only source that is
    accepted.
    """
    return None if is_masked(message) else _asserted_number(message, country)


def is_masked(message: str) -> bool:
    """Whether the number is not to be shown: Privacy asks so (RFC 3325 section 9.3 `id`, RFC 3323 section
    4.2 `user`), or From names nobody (RFC 3323 section 4.1.1.3). Who wished so, the caller or a network, it
    does not say.
    """
    wishes = re.split(r"[;,\s]+", " ".join(header_values(message, "Privacy")).lower())
    if "id" in wishes or "user" in wishes:
        return True
    user, _, host = address_of(header_of(message, "From")).lower().partition(":")[2].rpartition("@")
    return user == "anonymous" or host.partition(";")[0].partition(":")[0] == "anonymous.invalid"


def _asserted_number(message: str, country: str) -> str | None:
    asserted = header_values(message, "P-Asserted-Identity")
    for value in [*asserted, *header_values(message, "From")[:1]]:
        for entry in entries(value):
            if number := _number_of(address_of(entry), country):
                return number
    return None


_VERSTAT = re.compile(r";verstat=TN-Validation-(Passed|Failed)(?:-([ABC]))?(?![\w-])", re.I)
NOT_YET_S = 60  # a PASSporT that is from later than this: its clock is wrong, or it is made up


def caller_identity(message: str, country: str, wall: datetime, said_by_edge: str = "") -> CallerIdentity:
    """How far the number is known to be the caller's.

    By `verstat` in the trunk's P-Asserted-Identity (3GPP TS 24.229 section 7.2A.20; carriers append the level
    as -A, -B, -C): in From it would be the caller's own word. `said_by_edge`: what came of an Identity header
    there: `failed`, or `signed` and, after a dot, the claims of its PASSporT (RFC 8225), which are compared
    with the numbers of this call here (RFC 8224 section 6.2). A failure by either is one; but of a call that
    was `diverted` (RFC 8946) the claims may be of another number.
    """
    asserted = header_values(message, "P-Asserted-Identity")
    uris = [address_of(one).partition("?")[0] for value in asserted for one in entries(value)]
    levels: list[str | None] = []  # of each that judged: empty where it tells none, None for a failure
    if verstat := next(filter(None, map(_VERSTAT.search, uris)), None):
        levels.append((verstat[2] or "").upper() if verstat[1].lower() == "passed" else None)
    how, _, claims = said_by_edge.partition(".")
    level = _attested(claims, message, country, wall) if claims else None
    if how in ("signed", "failed") or level is not None:
        levels.append(level)
    verified = None not in levels if levels else None
    return CallerIdentity(
        number=caller_number(message, country),
        attestation=next((one for one in reversed(levels) if one), None) if verified else None,
        verified=verified,
        masked=is_masked(message),
    )


def _attested(claims: str, message: str, country: str, wall: datetime) -> str | None:
    """The level that signed claims give this call, empty for none; None where they are of another call."""
    try:
        said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        caller, called, made = said["orig"]["tn"], said["dest"]["tn"], float(said["iat"])
        level = said.get("attest", "")
        numbers = [to_e164(f"+{one}", country) for one in (caller, *called)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    ours = _asserted_number(message, country), called_number(message, country)
    if numbers[0] != ours[0] or ours[1] not in numbers[1:] or None in ours:
        return None
    return None if made - wall.timestamp() > NOT_YET_S else level if level in ("A", "B", "C") else ""


def called_number(message: str, country: str) -> str | None:
    """Give the number that was dialled, as E.164 (or the digits of an extension).

    From the request line, else P-Called-Party-ID (RFC 7315 section 4.2), else To: a trunk on which we
    register writes our own Contact into the request line.
    """
    parts = message.split("\n", 1)[0].split()
    candidates = [parts[1]] if len(parts) == 3 else []
    for name in ("P-Called-Party-ID", "To"):
        candidates += [address_of(value) for value in header_values(message, name)[:1]]
    numbers = (_number_of(uri, country) for uri in candidates)
    return next((number for number in numbers if number), None)


def to_e164(user: str, country: str) -> str | None:
    """Read a telephone number as people and trunks write it: `+33…`, `0033…`, `06 12 …`, `%2B33…`.

    Gives E.164; only the digits if they are not a possible number of the country (an extension, a short
    code); None if it is not a number at all. `country` is ISO 3166; `phone-context=+33` (RFC 3966) wins.
    """
    if len(user) > USER_LIMIT:
        return None
    subscriber, _, parameters = user.partition(";")
    number = re.sub(r"[\s\-.()/]", "", unquote(subscriber))
    if context := re.search(r"(?:^|;)phone-context=(\+\d{1,6})(?:;|$)", parameters, re.ASCII | re.I):
        number = context[1] + number.removeprefix(context[1])
    if not re.fullmatch(r"\+?\d{1,20}", number, re.ASCII):
        return None
    digits = number.removeprefix("+")
    if digits == number and len(digits) <= INTERNAL_DIGITS:
        return digits
    try:
        parsed = phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return digits
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        return digits
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def printable(text: str, limit: int = NAME_LIMIT, plain: Callable[[str], bool] = str.isprintable) -> str:
    r"""Make a foreign text safe for a log or a table: `\x1b` for what would control a terminal.

    Escapes control characters, line separators, overrides of the direction of writing, and bytes that were
    not UTF-8: all that is not `plain`. Cuts to `limit` characters, `…` at the end.
    """
    escaped = "".join(char if plain(char) else ascii(char)[1:-1] for char in text[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[: max(limit - 1, 0)] + "…"


def call_id(message: str) -> str:
    """The Call-ID of a message, as text that is safe to keep."""
    return printable(header_of(message, "Call-ID"), 255)


def display_for_operator(sign: str, caller: str | None, reference: str) -> str:
    """Give the display name of the operator's call, a quoted string (RFC 3261 section 25.1) with its quotes.

    `"REC +33612345678"`, or `"NO REC #482913"` where there is no number: the call's reference, which
    the operator can tell a caller who may ask for the recording later (GDPR articles 11(2) and 12(2)). ASCII
    only, since not every desk phone reads UTF-8.
    """
    name = printable(caller or f"#{reference}").encode("ascii", "replace").decode()
    name = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{sign} {name}"'


def info_digit(content_type: str, body: str) -> str | None:
    """Read the digit of an INFO: `application/dtmf-relay` (`Signal=5`), `application/dtmf` (`5`), else None.

    Each body is read under both names: some phones mix them up, and the key may refuse. The events 10 to 15
    are *, # and A to D, as in RFC 4733.
    """
    if content_type.partition(";")[0].strip().lower() not in ("application/dtmf-relay", "application/dtmf"):
        return None
    text = body.strip()
    if found := re.search(r"^[ \t]*signal[ \t]*=[ \t]*(\S{1,2})[ \t]*\r?$", text, re.ASCII | re.I | re.M):
        text = found[1]
    if re.fullmatch(r"1[0-5]", text, re.ASCII):
        return _EVENTS[int(text)]
    return text.upper() if re.fullmatch(r"[0-9*#A-Da-d]", text, re.ASCII) else None


def entries(value: str) -> Iterator[str]:
    """Split a header at its commas, except those within quotes or angle brackets."""
    start, quoted, bracketed, skip = 0, False, False, False
    for position, char in enumerate(value):
        if skip:
            skip = False
        elif quoted:
            skip, quoted = char == "\\", char != '"'
        elif char == '"' and not bracketed:
            quoted = True
        elif char in "<>":
            bracketed = char == "<"
        elif char == "," and not bracketed:
            yield value[start:position].strip()
            start = position + 1
    yield value[start:].strip()


def address_of(value: str) -> str:
    """Take the URI out of a name-addr or addr-spec (RFC 3261 section 20.10); empty if there is none."""
    if value.startswith('"'):
        name = re.match(r'"(?:[^"\\]|\\.)*"', value, re.DOTALL)
        if name is None:
            return ""
        value = value[name.end() :]
    _, bracket, rest = value.partition("<")
    if bracket:
        uri, end, _ = rest.partition(">")
        return uri.strip() if end else ""
    return value.partition(";")[0].strip()  # without brackets, parameters belong to the header


def _number_of(uri: str, country: str) -> str | None:
    """Give the number that a sip, sips or tel URI names; None without a number."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "tel":
        return to_e164(rest, country)
    if scheme.lower() not in ("sip", "sips") or rest.count("@") != 1:
        return None
    return to_e164(rest.partition("@")[0].partition(":")[0], country)

"""What a worker's parser can read of a call, as POSIX extended regular expressions (regex(7)). Pure.

pjsip 2.15.1 silently drops a message if a header that it knows breaks its grammar (sip_parser.c,
`pjsip_tpmgr_receive_packet`), so such a call must not get a place. Each expression here accepts less than
pjsip does, and all that phones send by RFC 3261 section 25.1. They are matched without regard to case.
Control characters are literal in them: between brackets a backslash is only itself.
"""

CR, LF, TAB = "\r", "\n", "\t"
_EOL = f"{CR}{LF}"
_BLANK = f" {TAB}"

_SPACE = rf"[{_BLANK}]*({_EOL}[{_BLANK}]+)?"
_TOKEN = r"[A-Za-z0-9.!%*_`'~+-]+"
_QUOTED = rf'"([^"\\{_EOL}]|\\[^{_EOL}])*"'
_HEX = r"%[0-9A-Fa-f]{2}"
_USER = rf"([A-Za-z0-9_.!~*'()&=+$,;?/#-]|{_HEX})+"
_PASSWORD = rf"([A-Za-z0-9_.!~*'()&=+$,-]|{_HEX})+"
_HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+])"
_PORT = r"([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_PLACE = rf"sips?:({_USER}(:{_PASSWORD})?@)?{_HOST}(:{_PORT})?"
_NUMBER = r"tel:[0-9A-Fa-f*#+().-]+"
_CHAR = rf"([][/:&+$A-Za-z0-9_.!~*'()-]|{_HEX})"
# A parameter of a URI except `ttl`, which pjsip checks for its range, and which only multicast needs.
_NO_T = _CHAR.replace("A-Za-z", "A-SU-Za-su-z")
_NO_L = _CHAR.replace("A-Za-z", "A-KM-Za-km-z")
_NAME = rf"({_NO_T}{_CHAR}*|[Tt]({_NO_T}{_CHAR}*)?|[Tt][Tt]({_NO_L}{_CHAR}*)?|[Tt][Tt][Ll]{_CHAR}+)"
_URI_PARAMETERS = rf"(;{_NAME}(={_CHAR}*)?)*"
_HEADER_CHAR = rf"([][/?:+$A-Za-z0-9_.!~*'()-]|{_HEX})"
_URI_HEADERS = rf"(\?{_HEADER_CHAR}+(={_HEADER_CHAR}*)?(&{_HEADER_CHAR}+(={_HEADER_CHAR}*)?)*)?"
# Without brackets the first `;` or `?` ends the URI, and a comma the value (RFC 3261 section 20.10).
_BARE = _PLACE.replace("&=+$,;?/#-", "&=+$/#-").replace("&=+$,-", "&=+$-")
_SIP = rf"{_PLACE}{_URI_PARAMETERS}{_URI_HEADERS}"
_TEL = rf"{_NUMBER}(;[A-Za-z0-9-]+(=[A-Za-z0-9_.!~*'()+-]+)?)*"
_DISPLAY = rf'({_QUOTED}{_SPACE}|[^":<,;{_EOL}][^:<{_EOL}]*)?'


def _parameters(name: str, value: str) -> str:
    return rf"({_SPACE};{_SPACE}{name}({_SPACE}=({_SPACE}({value}))?)?)*"


_ANY = _parameters(_TOKEN, f"{_TOKEN}|{_QUOTED}")
_PLAIN = _parameters(_TOKEN, _TOKEN)  # an @ in quotes would be taken for the one of a URI without brackets
# `q` of a Contact is a number to pjsip.
_NOT_Q = r"([A-PR-Za-pr-z0-9.!%*_`'~+-][A-Za-z0-9.!%*_`'~+-]*|[Qq][A-Za-z0-9.!%*_`'~+-]+)"
_Q = rf"({_SPACE};{_SPACE}[Qq]{_SPACE}={_SPACE}[0-9](\.[0-9]{{0,3}})?)"
_CONTACT = rf"({_parameters(_NOT_Q, f'{_TOKEN}|{_QUOTED}')}{_Q}?)*"
_PLAIN_CONTACT = rf"({_parameters(_NOT_Q, _TOKEN)}{_Q}?)*"

MOST_VALUES = 32  # of a list; pjsip's PJSIP_GENERIC_ARRAY_MAX_COUNT
_VALUE = rf"[^,{_BLANK}{_EOL}][^,{_EOL}]*"

REQUEST_URI = rf"^({_SIP}|{_TEL})$"
FROM_TO = rf"^({_DISPLAY}<({_SIP}|{_TEL})>{_ANY}|({_BARE}|{_NUMBER}){_PLAIN})$"
CONTACT = rf"^({_DISPLAY}<{_SIP}>{_CONTACT}|{_BARE}{_PLAIN_CONTACT})$"
RECORD_ROUTE = rf"^{_DISPLAY}<{_SIP}>{_ANY}({_SPACE},{_SPACE}{_DISPLAY}<{_SIP}>{_ANY})*$"
CONTENT_TYPE = rf"^{_TOKEN}{_SPACE}/{_SPACE}{_TOKEN}{_ANY}$"
LIST = rf"^({_VALUE}(,[{_BLANK}]*{_VALUE}){{0,{MOST_VALUES - 1}}})?$"
SECONDS = rf"^[0-9]{{1,9}}{_ANY}$"
CSEQ = (
    r"^0*([0-9]{1,9}|1[0-9]{9}|20[0-9]{8}|21[0-3][0-9]{7}|214[0-6][0-9]{6}|2147[0-3][0-9]{5}"
    r"|21474[0-7][0-9]{4}|214748[0-2][0-9]{3}|2147483[0-5][0-9]{2}|21474836[0-3][0-9]|214748364[0-7])$"
)
"""Below 2^31 (RFC 3261 section 8.1.1.5)."""

BAD_HEAD = (
    r"(^|[^\\])(\\\\)*\\0|["
    "\x01-\x08\x0b\x0c\x0e-\x1f\x7f"
    rf"]|{CR}([^{LF}]|$)|(^|[^{CR}]){LF}"
)
"""What ends a line for one parser and not for another, in a head whose NULs are written `\\0` and its
backslashes twice."""

# --- session descriptions, also within multipart bodies: how many sockets they open ---

MOST_AUDIO = 4  # a worker refuses more
_LINE = rf"[{_EOL}]m="  # with `^` for the first line, glibc would take it for one everywhere in a repetition
_AUDIO = rf"{_LINE}[{_BLANK}]*audio([^{_BLANK}]|[{_BLANK}]+([^0{_BLANK}]|0[^/{_BLANK}{_EOL}]))"


def media(count: int) -> str:
    """Match a body with `count` media lines, or more; it follows an end of line."""
    return rf"({_LINE}.*){{{count}}}"


def audio(count: int) -> str:
    """Match a body with `count` audio lines, or more, whose port is not 0: each opens two sockets."""
    return rf"({_AUDIO}.*){{{count}}}"


def quoted(pattern: str) -> str:
    """Write a pattern for use between double quotes in Kamailio's language."""
    plain = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in plain)

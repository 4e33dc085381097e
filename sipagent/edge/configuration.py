"""Kamailio's configuration and the lists that it reads, from a plan. Pure: values in, text out.

The edge's behaviour is in `kamailio*.cfg`, in Kamailio's own language; a plan fills in each `@NAME@`.

At the end the grammar that a worker's parser accepts for a call, as POSIX extended regular expressions
(regex(7)). pjsip 2.15.1 silently drops a message if a header that it knows breaks its grammar
(sip_parser.c, `pjsip_tpmgr_receive_packet`), so such a call must not get a place. Each expression here
accepts less than pjsip does, and all that phones send by RFC 3261 section 25.1. They are matched without
regard to case. Control characters are literal in them: between brackets a backslash is only itself.
"""

import ipaddress
import re
from collections.abc import Container
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from sipagent.call.events import RETRY_AFTER_S
from sipagent.config.load import HostPort
from sipagent.config.types import Network
from sipagent.edge.plan import GIVEN_UP, HOP_HEADER, LATE, Face, HopTokens, Plan

WORKERS, TRUNK, OPERATORS = 1, 1, 2  # the set in the list of workers; groups in the list of sources
SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")
INACTIVE = 4  # a flag of the dispatcher's list: disabled, until it is activated
REQUESTS_PER_S = 400  # new calls from the trunk that are answered in full; more are answered statelessly
ANSWER_MS = 4000  # a worker that has not answered a call by then will never do so
AGAIN_MS, AGAIN_TIMES = 50, 5
NEVER_MS = 10_000  # after so long a message would be repeated to a worker: it is given up on before that
TRIES_AFTER_DEATH = 3  # of a call whose workers are killed again and again
REASONS = {486: "Busy Here", 503: "Service Unavailable"}

# Bytes. An engine reads 4,000 of a datagram (PJSIP_MAX_PKT_LEN), and writes as many of an answer, which has
# most of the head again. On the way to it addresses are encoded, which makes their headers half as long
# again, and the edge adds its own.
MOST_AT_ALL, MOST_MESSAGE, MOST_HEAD, MOST_BODY = 16_000, 2600, 1900, 8000
MOST_WITHIN = 3000  # within a dialog, where all headers are passed on
# Of what is offered within dialogs: audio lines at once, then one after the other. An engine has 64 handles;
# an audio line takes two until half a second after its end. In any half second calls bring 15 lines at most
# (a burst of six, then 12 a second, the last with four), offers 10 (four, then four a second, the last with
# four); the legs have four. A worker counts for itself and says 503 to what would be too much (`screening`).
OFFERS_AT_ONCE, OFFER_MS = 4, 250
LONGEST_MS = 10_000  # no turn is further away: a second of burst, and four lines a second apart

# Of an Identity header: its length, that of where its certificate lies (HOST/PATH, no part of which begins
# with a dot), and that of its claims. Then what secsipid says of roots that it cannot read, and of a
# certificate that is not there.
MOST_IDENTITY, MOST_ADDRESS, MOST_CLAIMS = 4000, 200, 400
NO_ROOTS, LAST_NO_ROOTS, NO_FILE = -105, -111, -451
CERTIFICATE = r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+"

PARTS = ("", "-calls", "-messages", "-dialogs", "-workers")
ROUTES = "".join(files("sipagent.edge").joinpath(f"kamailio{part}.cfg").read_text("utf-8") for part in PARTS)


@dataclass(frozen=True, slots=True)
class Secrets:
    """`mask` hides workers' addresses, `tokens` identify the processes behind the edge; both outlive a
    restart."""

    mask: str = field(repr=False)
    tokens: HopTokens


@dataclass(frozen=True, slots=True)
class EdgePlaces:
    """The edge's files; `rpc`, a socket, has a path of 107 bytes at most (unix(7))."""

    directory: Path
    rpc: Path

    @property
    def configuration(self) -> Path:
        return self.directory / "kamailio.cfg"

    @property
    def workers(self) -> Path:
        """The dispatcher's list."""
        return self.directory / "workers.list"

    @property
    def sources(self) -> Path:
        """The list of sources: who may send."""
        return self.directory / "sources.list"

    @property
    def tls(self) -> Path:
        return self.directory / "tls.cfg"

    @property
    def dialogs(self) -> Path:
        """Tables of dialogs in progress."""
        return self.directory / "dialogs"


def configuration(plan: Plan, secrets: Secrets, places: EdgePlaces) -> str:
    """Write kamailio.cfg."""
    return "\n".join(_head(plan)) + "\n" + _filled(plan, secrets, places)


def worker_list(plan: Plan, active: Container[int] = ()) -> str:
    """Write the dispatcher's list, a worker a line. Those not `active` get no calls for now."""
    flags = ((index, 0 if index in active else INACTIVE) for index in range(plan.workers))
    return "".join(f"{WORKERS} sip:{plan.worker(index)} {flag}\n" for index, flag in flags)


def source_list(plan: Plan) -> str:
    """Write who may send: the trunk new calls, the operators' PBX within a dialog."""
    groups = ((TRUNK, plan.addresses.trunk), (OPERATORS, plan.addresses.operators))
    return "".join(_source(group, network) for group, networks in groups for network in networks)


def _source(group: int, network: Network) -> str:
    """Write a line; Kamailio reads a prefix of 0 as a single address, so it becomes two halves."""
    parts = network.subnets() if network.prefixlen == 0 else (network,)
    return "".join(f"{group} {part.network_address} {part.prefixlen}\n" for part in parts)


def tls_settings(plan: Plan) -> str:
    """Write tls.cfg: TLS 1.2 and 1.3 (RFC 8996 ends the older ones); a server that we call must prove its
    identity."""
    if plan.tls is None:
        return ""
    tls = plan.tls
    both = ["method = TLSv1.2+", f"private_key = {tls.private_key}", f"certificate = {tls.certificate}"]
    server = ["[server:default]", *both, "verify_certificate = no", "require_certificate = no"]
    client = [
        "[client:default]",
        *both,
        "verify_certificate = yes",
        "require_certificate = yes",
        f"ca_list = {tls.ca or SYSTEM_CA}",
    ]
    return "\n".join([*server, "", *client]) + "\n"


def _head(plan: Plan) -> list[str]:
    lines = ["#!KAMAILIO", "# Written by sipagent from its config.toml: edit that, and this is written anew."]
    if plan.tls:
        lines.append("#!define WITH_TLS")
    if plan.registrar:
        lines.append("#!define WITH_REGISTRAR")
    if plan.identities:
        lines.append("#!define WITH_IDENTITY")
        lines += ["#!define WITH_IDENTITY_ROOTS"] if plan.identities.roots else []
    lines += [
        "children=4",
        "tcp_children=4",
        _socket("udp", plan.listen, plan.advertised, "outer"),
    ]
    if plan.transport != "tls":
        lines.append(_socket("tcp", plan.listen, plan.advertised))
    if plan.tls:
        lines.append(_socket("tls", plan.tls.listen, plan.advertised))
        lines.append("enable_tls=yes")
    if plan.shared:
        lines += ["#!define WITH_SHARED_ADDRESS", "ip_free_bind=yes", *_shared(plan)]
    lines += [f'listen=udp:{plan.inner} name "inner"', f'alias="{plan.advertised}:{plan.listen.port}"']
    if plan.ipv6:
        lines += ["dns_try_ipv6=yes", *_ipv6(plan, plan.ipv6)]
    return lines


def _ipv6(plan: Plan, face: Face) -> list[str]:
    """Write the sockets of the second version of IP: Kamailio chooses by the family of where it sends."""
    lines = [_socket("udp", face.listen, face.advertised)]
    if plan.transport != "tls":
        lines.append(_socket("tcp", face.listen, face.advertised))
    if plan.tls:
        port = face.listen.port if plan.transport == "tls" else plan.tls.listen.port
        lines.append(_socket("tls", HostPort(face.listen.host, port), face.advertised))
    return [*lines, f'alias="{face.shown}"']


def _shared(plan: Plan) -> list[str]:
    """Write the sockets of the address that moves, after those of our own: whatever is within a dialog finds
    those first."""
    shared = HostPort(plan.shared, plan.listen.port)
    lines = [_socket("udp", shared, plan.advertised)]
    if plan.transport != "tls":
        lines.append(_socket("tcp", shared, plan.advertised))
    if plan.tls:
        lines.append(_socket("tls", HostPort(plan.shared, plan.tls.listen.port), plan.advertised))
    return lines


def _socket(protocol: str, listen: HostPort, advertised: str, name: str = "") -> str:
    shown = HostPort(advertised, listen.port)
    return f"listen={protocol}:{listen} advertise {shown}" + (f' name "{name}"' if name else "")


def burst_of(plan: Plan) -> int:
    """How many audio lines a worker may get at once: calls come without a pause when all is full."""
    return min(max(plan.calls_per_worker, plan.invites_per_s // 2), plan.invites_per_s)


def _filled(plan: Plan, secrets: Secrets, places: EdgePlaces) -> str:
    gap_ms = 1000 // plan.invites_per_s
    values = globals() | {  # whatever has the name of a constant of this module, and what the plan says
        "CALLS": plan.calls,
        "CALLS_PER_WORKER": plan.calls_per_worker,
        "GAP_MS": gap_ms,
        "BURST_MS": gap_ms * (burst_of(plan) - 1),
        "RETRY_AFTER": RETRY_AFTER_S,
        "FULL_STATUS": plan.full_status,
        "FULL_REASON": REASONS[plan.full_status],
        "INNER": plan.inner,
        "INNER_PORT": plan.inner.port,
        "REGISTRAR_PORT": plan.account.port,
        "FIRST_WORKER_PORT": plan.worker(0).port,
        "LAST_WORKER_PORT": plan.last_port,
        "CONTACT": plan.contact,
        "PATH": plan.path,
        "REGISTRAR": plan.registrar,
        "OWN_ADDRESS": ipaddress.ip_address(plan.addresses.own),
        "OWN_IPV6": ipaddress.ip_address(plan.addresses.own_ipv6 or plan.addresses.own),
        "GIVEN_UP": GIVEN_UP,
        "LATE": LATE,
        "TOKEN_HEADER": HOP_HEADER,
        "TOKEN_IN": secrets.tokens.from_edge,
        "TOKEN_OUT": secrets.tokens.to_edge,
        "OFFERS_BURST_MS": OFFER_MS * (OFFERS_AT_ONCE - 1),
        **{name: quoted(pattern) for name, pattern in _patterns().items()},
        "MASK_KEY": secrets.mask,
        "MASK_ADDRESS": plan.host,
        "RPC_SOCKET": places.rpc,
        "WORKERS_FILE": places.workers,
        "SOURCES_FILE": places.sources,
        "STATE_DIRECTORY": places.dialogs,
        "TLS_FILE": places.tls,
        "IDENTITY": "$avp(identity)" if plan.identities else "",
        "CERTIFICATES": plan.identities and plan.identities.certificates,
        "ROOTS": plan.identities and plan.identities.roots,
        "FRESH_S": plan.identities and plan.identities.fresh_s,
    }
    return re.sub(r"@([A-Z_0-9]+)@", lambda name: str(values[name[1]]), ROUTES)


def _patterns() -> dict[str, str]:
    """The patterns that messages are compared with."""
    return {
        "IS_REQUEST_URI": REQUEST_URI,
        "IS_FROM_TO": FROM_TO,
        "IS_CONTACT": CONTACT,
        "IS_RECORD_ROUTE": RECORD_ROUTE,
        "IS_CONTENT_TYPE": CONTENT_TYPE,
        "IS_LIST": LIST,
        "IS_SECONDS": SECONDS,
        "IS_CSEQ": CSEQ,
        "IS_CERTIFICATE": f"^{CERTIFICATE}$",
        "BAD_HEAD": BAD_HEAD,
        "MEDIA_2": media_lines(2),
        **{f"AUDIO_{count}": audio_lines(count) for count in range(2, MOST_AUDIO + 2)},
    }


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
"""Line ends that one parser knows and another does not, in a head whose NULs are written `\\0` and its
backslashes twice."""

# --- session descriptions, also within multipart bodies: how many sockets they open ---

MOST_AUDIO = 4  # a worker refuses more
_LINE = rf"[{_EOL}]m="  # with `^` for the first line, glibc would take it for one everywhere in a repetition
_AUDIO = rf"{_LINE}[{_BLANK}]*audio([^{_BLANK}]|[{_BLANK}]+([^0{_BLANK}]|0[^/{_BLANK}{_EOL}]))"


def media_lines(count: int) -> str:
    """Match a body with `count` media lines, or more; it follows an end of line."""
    return rf"({_LINE}.*){{{count}}}"


def audio_lines(count: int) -> str:
    """Match a body with `count` audio lines, or more, whose port is not 0: each opens two sockets."""
    return rf"({_AUDIO}.*){{{count}}}"


def quoted(pattern: str) -> str:
    """Write a pattern for use between double quotes in Kamailio's language."""
    plain = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in plain)

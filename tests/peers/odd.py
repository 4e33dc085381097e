"""INVITEs as hardly anybody sends them: right ones with odd parts, and some bytes changed; by a seed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from random import Random

from tests.peers.sender import SDP

MARK = "0687654321"  # stands in all of them, and must be nowhere else
USERS = (
    "a", f"+33{MARK[1:]}", "a.b;c=d", "é", "a%", "a%zz", "", "a b", 'a"b', "a,b", "*;phone-context=x",
    "0" * 200,
    "a:b", "a@b", "{}", "a\\b", "<>", "a#b", "a&b=c",
)  # fmt: skip
HOSTS = (
    "h", "example.org", "127.0.0.2", "1.2.3.4:99999", "h:0", "h:", "[::1]", "h_x", "-", "h..", "é.fr",
    'h;x="y"', "h:65535", "h:65536",
)  # fmt: skip
URIS = (
    "<sip:{u}@{h}>", "<sip:{u}@{h}:5080;user=phone>", "<sips:{u}@{h};transport=tcp>", "sip:{u}@{h}",
    "<tel:+33612345678>", "<tel:0612;phone-context=+33>", "<sip:{h};lr>", '"A B" <sip:{u}@{h}>',
    "Jean <sip:{u}:pw@{h}?a=b&c=d>", "<sip:{u}@[2001:db8::1]:5060>", '"Jé\\"" <sip:{u}@{h}>',
    "<sip:%41{u}@{h};ttl=4>", "<http://x/>", "<urn:service:sos>",
    "<sip:{u}@{h};maddr=1.2.3.4;method=INVITE>",
)  # fmt: skip
TAGS = (
    ";tag=1", ";tag=abc.def-1~*", ';tag="q"', "; tag = 1", "\r\n ;tag=1", ';x="a\\"b;c";tag=2', "",
    ";tag=",
    ";tag=é", ";tag=a:b", ";;tag=1", ";tag=1;q=x", ";tag=1;expires=zz", ";tag=1;ttl=999",
)  # fmt: skip
CONTACTS = ("", "", "", ";q=0.5", ";q=x", ";expires=5", ';+sip.instance="<urn:x>"', ", <sip:x@y>")
LINES = (
    "Supported: timer, 100rel", "k: a,b,,c", "Supported:", "Supported: ,", "Require: timer",
    "Require: nope",
    "Allow: INVITE, ACK", "Allow: " + ",".join(f"M{n}" for n in range(40)), "x: 90", "X: abc",
    "Min-SE: 90",
    "Session-Expires: 1800;refresher=uac", "Min-SE: -1", "Event: ", "Authorization: Digest x",
    "Expires: abc",
    'Proxy-Authorization: Digest realm="a', "Record-Route: <sip:p;lr>",
    "Record-Route: <sip:p;lr>, <sip:q;lr>",
    "Record-Route: sip:p;lr", 'Record-Route: "x <sip:p>', 'Record-Route: <sip:p?a=b>;x="y"',
    "Route: <sip:q;lr>", "Route: garbage", "Accept: application/sdp", "Accept: text/plain", "Accept:",
    "Retry-After: (x", ": x",
    "Unsupported: ,", f"Subject: {MARK}", f"garbage {MARK}", "Foo Bar: x",
    'P-Asserted-Identity: "x" <sip:1@h>', "Privacy: id", "Replaces: abc", "Refer-To: x",
    "Via: SIP/2.0/UDP 9.9.9.9;branch=z9hG4bKx;ttl=999",
    "Via: SIP/2.0/UDP 9.9.9.9:99999;branch=z9hG4bKx", 'Via: SIP / 2.0 / TCP a.b;x="y"',
    "Contact: <sip:2@h>",
    "m: <sip:2@h>", "CSeq: 5 INVITE", "Content-Type: text/plain", "Content-Encoding: gzip",
    "Max-Forwards: 20", "TH: xx", "Subscription-State: ;", "RAck: 1", "Date: x\r\n y", "H: x\ry",
    "H: x\ny", "N: \x01", "U: é",
)  # fmt: skip
TYPES = (
    *("application/sdp",) * 6,
    "application/sdp;x=y",
    "Application / SDP",
    "multipart/mixed;boundary=x",
    ";x",
)
NUMBERS = ("1", "1", "1", "1", "4294967295", "2147483648", "2147483647", "01", "1x", " 7")
BYTES = b'\x00\x01\r\n\t "<>@:;,=%\\()[]\x7f\x80\xff?&#*aA0'
CHANGES = (0, 0, 0, 0, 0, 0, 1, 1, 2, 4)
ODD = 0.3  # of all parts


def odd_invites(count: int, source: tuple[str, int], to: str, seed: int) -> Iterator[bytes]:
    """So many of them, from an address to another's."""
    chance = Random(seed)
    for _ in range(count):
        yield _changed(_invite(source, to, chance), chance)


def _some(chance: Random, odd: Sequence[str], usual: str) -> str:
    return chance.choice(odd) if chance.random() < ODD else usual


def _uri(chance: Random) -> str:
    user, host = _some(chance, USERS, f"+33{MARK[1:]}"), _some(chance, HOSTS, "h")
    return _some(chance, URIS, "<sip:{u}@{h}>").format(u=user, h=host)


def _invite(source: tuple[str, int], to: str, chance: Random) -> bytes:
    call_id = secrets.token_hex(8)
    uri = _some(chance, [_uri(chance).rpartition("<")[2].strip(">")], f"sip:1@{to}")
    lines = [
        f"Via: SIP/2.0/UDP {source[0]}:{source[1]};rport;branch=z9hG4bK{call_id}",
        "Max-Forwards: 70",
        f"{chance.choice(('From', 'f', 'FROM '))}: {_uri(chance)}{_some(chance, TAGS, ';tag=1')}",
        f"{chance.choice(('To', 't'))}: {_uri(chance)}",
        f"Call-ID: {call_id}",
        f"CSeq: {chance.choice(NUMBERS)} INVITE",
        f"{chance.choice(('Contact', 'm'))}: {_uri(chance)}{_some(chance, CONTACTS, '')}",
        f"Content-Type: {chance.choice(TYPES)}",
        f"Content-Length: {len(SDP)}",
        *chance.sample(LINES, chance.choice((0, 0, 1, 1, 2, 5))),
    ]
    if chance.random() < 0.3:
        chance.shuffle(lines)
    return ("\r\n".join([f"INVITE {uri} SIP/2.0", *lines, "", SDP])).encode("utf-8", "surrogateescape")


def _changed(packet: bytes, chance: Random) -> bytes:
    """With some bytes in the place of others, or more, or fewer of them."""
    changed = bytearray(packet)
    for _ in range(chance.choice(CHANGES)):
        at, lot = chance.randrange(len(changed)), chance.random()
        if lot < 0.3:
            changed[at] = chance.choice(BYTES)
        elif lot < 0.6:
            changed.insert(at, chance.choice(BYTES))
        elif lot < 0.8:
            del changed[at]
        else:
            changed[at:at] = changed[at : at + chance.randrange(40)]
    return bytes(changed)

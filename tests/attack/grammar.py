"""SIP messages and session descriptions as no peer should send them, each made from a seed and its index.

A message begins as a good one for its place in a call. Then lines are dropped, doubled and swapped, values
are lengthened to a limit of the library's and past it, numbers, addresses and names become odd ones. Names
such as `%CALL_ID%` stand for what only the call knows, so a case can be kept, made shorter and sent again.
"""

# ruff: noqa: E501 - tables
from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Where = Literal["new", "caller", "phone", "reply", "ack", "rtp", "rtcp"]
"""Before any dialog; in the caller's; in the phone's; the phone's answer to us; the ACK that answers our offer; media."""

WEIGHTS: Mapping[Where, int] = {
    "new": 16, "caller": 34, "phone": 12, "reply": 18, "ack": 6, "rtp": 10, "rtcp": 4,
}  # fmt: skip
RARELY = 0.02  # what ends a dialog, or begins one, costs more than the others

ODD = json.loads((Path(__file__).parent / "words.json").read_text(encoding="ascii"))
"""Values that are odd where they stand, by their kind; in a template `{n}`, `{long}` and others are filled."""
LENGTHS, NUMBERS, HOSTS = (ODD[k] for k in ("lengths", "numbers", "hosts"))
JUNK: list[str] = ODD["junk"]
WORDS: list[str] = ODD["words"]
CODECS, CRYPTO, ATTRIBUTES, SDP_LINES = (ODD[k] for k in ("codecs", "crypto", "attributes", "sdp_lines"))
MORE_HEADERS, COMPACT, NEW_METHODS = (ODD[k] for k in ("more_headers", "compact", "new_methods"))
WITHIN, STATUSES = ODD["within"], ODD["statuses"]

GOOD_CONTACTS = (b"Contact: <sip:x@%IP%:%PORT%>", b"Contact: <sip:201@%IP%:%PORT%>")


@dataclass(frozen=True, slots=True)
class Case:
    """`text`: with names in it to be filled in, for media the packet itself."""

    where: Where
    text: bytes

    @property
    def method(self) -> str:
        """Of a request, as it stands there."""
        return self.text.partition(b" ")[0].decode("latin-1")

    @property
    def keeps_contact(self) -> bool:
        """Whether what follows it still comes to who has sent it."""
        contacts = re.findall(rb"^(?:contact|m)\s*:.*$", self.text, re.MULTILINE | re.IGNORECASE)
        return all(one.rstrip() in GOOD_CONTACTS for one in contacts)


def case(seed: int, index: int) -> Case:
    """The message of this index; always the same."""
    draw = random.Random(f"{seed}/{index}")
    where: Where = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if where in ("rtp", "rtcp"):
        return Case(where, (_rtp if where == "rtp" else _rtcp)(draw))
    return Case(where, _Maker(draw, where).made())


def filled(text: bytes, names: Mapping[str, str]) -> bytes:
    """The message with the call's own names, and its length where `%LENGTH%` stands for it."""
    for name, value in names.items():
        place = f"%{name}%".encode()
        if not value:  # of header lines that there are none
            text = text.replace(place + b"\r\n", b"")
        text = text.replace(place, _bytes(value))
    head, gap, body = text.partition(b"\r\n\r\n")
    return head.replace(b"%LENGTH%", str(len(body)).encode()) + gap + body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Maker:
    def __init__(self, draw: random.Random, where: Where) -> None:
        self.draw, self.where = draw, where

    def made(self) -> bytes:
        draw = self.draw
        lines, body, kind = self._good()
        wanted = draw.choices((0, 1, 2, 4), (4, 5, 2, 1))[0]
        for _ in range(wanted):
            name, values = draw.choice(MORE_HEADERS)
            lines.insert(draw.randint(1, len(lines)), f"{self._odd(name)}: {self._odd(draw.choice(values))}")
        if body or draw.random() < 0.1:
            lines.append(f"Content-Type: {kind}")
        lines.append("Content-Length: %LENGTH%")
        for _ in range(draw.choices((0, 1, 2, 3), (8, 5, 2, 1))[0]):
            self._spoil_head(lines)
        eol = draw.choices(("\r\n", "\n", "\r"), (200, 1, 1))[0]
        text = _bytes(eol.join(lines) + eol * 2) + body
        if draw.random() < 0.01:
            text = text[: draw.randrange(len(text))]
        if draw.random() < 0.005:
            text += _bytes("\r\n\r\n") + text
        return text

    def _good(self) -> tuple[list[str], bytes, str]:
        draw = self.draw
        if self.where == "reply":
            status = draw.choices([one for one, _ in STATUSES], [weight for _, weight in STATUSES])[0]
            lines = [
                f"SIP/2.0 {status} {draw.choice(('OK', '', 'x' * 300, 'é'))}",
                "%VIAS%",
                "%RECORD_ROUTES%",
            ]
            lines += ["From: %FROM%", "To: %TO%", "Call-ID: %CALL_ID%", "CSeq: %CSEQ% %METHOD%"]
            lines += ["Contact: <sip:201@%IP%:%PORT%>"] if draw.random() < 0.9 else []
            if draw.random() < 0.2:
                lines += ["Require: 100rel", f"RSeq: {draw.choice(('1', '2', '1', '%d', '0', '4294967295'))}"]
            if status in (401, 407):
                name, values = next(
                    one
                    for one in MORE_HEADERS
                    if one[0] == ("WWW-Authenticate", "Proxy-Authenticate")[status == 407]
                )
                lines.append(f"{name}: {self._odd(draw.choice(values))}")
            body, kind = self._body(0.75)
            return lines, body, kind
        method = self._method()
        fixed = ["Via: SIP/2.0/UDP %IP%:%PORT%;rport;branch=%BRANCH%", "Max-Forwards: 70"]
        if self.where == "new":
            lines = [f"{method} %URI% SIP/2.0", *fixed, "From: <sip:+33698765432@%IP%>;tag=%LOCAL_TAG%"]
            tag = draw.choices(("", ";tag=x"), (12, 1))[0]
            lines += [f"To: <%URI%>{tag}"]
        else:
            lines = [f"{method} %TARGET% SIP/2.0", *fixed, "%ROUTES%", "From: %LOCAL%", "To: %REMOTE%"]
        lines += ["Call-ID: %CALL_ID%", f"CSeq: %CSEQ% {method}", "Contact: <sip:x@%IP%:%PORT%>"]
        with_sdp = {"INVITE": 0.9, "invite": 0.9, "UPDATE": 0.95, "ACK": 0.3, "PRACK": 0.6}.get(method, 0.1)
        if self.where == "ack":
            with_sdp = 0.97
        body, kind = self._body(with_sdp)
        extra = {
            "REFER": ("Refer-To: <sip:201@%IP%:%PORT%>",), "PRACK": ("RAck: 1 %CSEQ% INVITE",),
            "NOTIFY": ("Event: refer", "Subscription-State: active;expires=60"), "SUBSCRIBE": ("Event: presence", "Expires: 60"),
        }.get(method, ())  # fmt: skip
        lines += [line for line in extra if draw.random() < 0.9]
        if method == "INFO" and draw.random() < 0.8:
            kind, text = draw.choice((
                ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"), ("application/dtmf-relay", "Signal=\r\nDuration="),
                ("application/dtmf-relay", f"Signal={self._odd('{long}')}"), ("application/dtmf-relay", ""), ("application/dtmf-relay", "Signal"),
                ("application/dtmf-relay", "Signal=5\r\nDuration=99999999999999999999"), ("application/dtmf", self._odd("{n}")), ("application/dtmf", ""),
                ("application/media_control+xml", "<x/>"), ("application/dtmf-relay", "\0"), ("application/dtmf-relay", "Duration=1\r\nSignal=5"),
            ))  # fmt: skip
            body = _bytes(text)
        elif method == "NOTIFY" and draw.random() < 0.7:
            kind, text = draw.choice((
                ("message/sipfrag", "SIP/2.0 200 OK\r\n"), ("message/sipfrag;version=2.0", "SIP/2.0 100"), ("message/sipfrag", self._odd("SIP/2.0 {n} x")),
                ("message/sipfrag", ""), ("message/sipfrag", self._odd("{long}")), ("application/simple-message-summary", "Messages-Waiting: yes\r\n"),
                ("application/pidf+xml", "<presence><tuple id='x'><status/></tuple></presence>"), ("application/dialog-info+xml", "<dialog-info/>"),
            ))  # fmt: skip
            body = _bytes(text)
        return lines, body, kind

    def _method(self) -> str:
        draw = self.draw
        if self.where == "ack":
            return "ACK"
        if self.where == "new":
            return "INVITE" if draw.random() < 0.5 else self._odd(draw.choice(NEW_METHODS))
        if draw.random() < RARELY / 4:
            return "BYE"
        return self._odd(draw.choices([one for one, _ in WITHIN], [weight for _, weight in WITHIN])[0])

    def _body(self, with_sdp: float) -> tuple[bytes, str]:
        draw = self.draw
        if draw.random() > with_sdp:
            return b"", "application/sdp"
        sdp = self._sdp()
        if draw.random() > 0.12:
            return sdp, draw.choices(
                ("application/sdp", "Application/SDP", "application/sdp;x=y"), (20, 1, 1)
            )[0]
        return self._parts(sdp)

    def _parts(self, sdp: bytes) -> tuple[bytes, str]:
        """Several parts, the description in any of them, or within another such body."""
        draw = self.draw
        boundary = draw.choice(("x", "gate", "-", "--", "x" * 70, "x" * 300, "a b", "é", ""))
        kinds = (
            "application/sdp",
            "text/plain",
            "application/rs-metadata+xml",
            "application/isup;version=x",
            "",
            "application/sdp",
            "x" * 260,
        )
        parts = []
        for _ in range(draw.choices((1, 2, 3, 12), (4, 6, 2, 1))[0]):
            kind = draw.choice(kinds)
            content = (
                sdp
                if kind == "application/sdp" and draw.random() < 0.8
                else draw.choice((self._sdp(), b"x", b"", b"\r\n"))
            )
            head = _bytes(f"Content-Type: {kind}\r\n") if draw.random() < 0.9 else b""
            if draw.random() < 0.2:
                name, values = draw.choice(MORE_HEADERS)
                head += _bytes(f"{self._odd(name)}: {self._odd(draw.choice(values))}\r\n")
            parts.append(head + b"\r\n" * (draw.random() < 0.95) + content)
        gap = _bytes(f"\r\n--{boundary}\r\n") if draw.random() < 0.95 else _bytes(f"\n--{boundary} \n")
        body = (
            gap[draw.choice((0, 2)) :]
            + gap.join(parts)
            + _bytes(f"\r\n--{boundary}--\r\n") * (draw.random() < 0.92)
        )
        shown = draw.choice((boundary, f'"{boundary}"')) if draw.random() < 0.95 else "other"
        kind = draw.choice(
            ("multipart/mixed", "multipart/related", "multipart/digest", "Multipart/Alternative")
        )
        if draw.random() < 0.1:
            inner = _bytes(f"Content-Type: {kind};boundary={shown}\r\n\r\n") + body
            return b"--out\r\n" + inner + b"\r\n--out--\r\n", "multipart/mixed;boundary=out"
        return body, f"{kind};boundary={shown}" if draw.random() < 0.95 else kind

    def _sdp(self) -> bytes:
        draw = self.draw
        lines = ["v=0", "o=- 1000 %VERSION% IN IP4 %IP%", "s=-", "c=IN IP4 %IP%", "t=0 0"]
        if draw.random() < 0.15:
            del lines[3]
        for _ in range(draw.choices((1, 2, 3, 4), (14, 3, 1, 1))[0]):
            lines += self._section()
        for _ in range(draw.choices((0, 1, 2, 3, 5, 9), (3, 6, 4, 2, 1, 1))[0]):
            self._spoil_sdp(lines)
        eol = draw.choices(("\r\n", "\n", "\r", "\n\r", "\r\n\r\n"), (60, 4, 1, 1, 1))[0]
        text = eol.join(lines) + eol * draw.choices((1, 0, 2), (20, 2, 1))[0]
        if draw.random() < 0.02:
            text = text[: draw.randrange(len(text) + 1)]
        return _bytes(text)

    def _section(self) -> list[str]:
        draw = self.draw
        kind = draw.choices(("audio", "secure", "video", "image", "off"), (12, 2, 1, 1, 2))[0]
        own = ["c=IN IP4 %IP%"] if draw.random() < 0.3 else []
        direction = draw.choice(("sendrecv", "sendonly", "recvonly", "inactive", "sendrecv"))
        if kind == "video":
            return ["m=video 5002 RTP/AVP 96", *own, "a=rtpmap:96 H264/90000"]
        if kind == "image":
            return ["m=image 5004 udptl t38", *own]
        if kind == "off":
            return [
                draw.choice(("m=audio 0 RTP/AVP 8", "m=video 0 RTP/AVP 31", "m=video 0 RTP/AVP 96")),
                *own,
            ]
        profile = "RTP/SAVP" if kind == "secure" else "RTP/AVP"
        types = draw.choice(("8 0 101", "0 8", "8", "9 8 101", "3 97 98 8 101", "0 101", "8 0 96 97 101"))
        lines = [f"m=audio %RTP% {profile} {types}", *own]
        lines += [
            f"a=rtpmap:{one} {name}"
            for one, name in (("8", "PCMA/8000"), ("0", "PCMU/8000"))
            if draw.random() < 0.7
        ]
        lines += [
            f"a=rtpmap:{one} {name}"
            for one, name in (
                ("96", "speex/8000"),
                ("97", "iLBC/8000"),
                ("98", "speex/16000"),
                ("101", "telephone-event/8000"),
            )
            if one in types.split() and draw.random() < 0.95
        ]
        lines += ["a=fmtp:101 0-16"] if draw.random() < 0.5 else []
        if kind == "secure":
            lines += [f"a=crypto:{draw.choice(CRYPTO)}"] * draw.choice((1, 1, 2))
        return [*lines, "a=ptime:20", f"a={direction}"]

    def _spoil_sdp(self, lines: list[str]) -> None:
        draw = self.draw
        if not lines:
            return
        at = draw.randrange(len(lines))
        kind = draw.randrange(12)
        if kind < 3:
            lines.insert(draw.randint(0, len(lines)), self._odd(draw.choice(SDP_LINES)))
        elif kind < 6:
            first = next((i for i, one in enumerate(lines) if one.startswith("m=")), 0)
            lines.insert(
                draw.randint(first if draw.random() < 0.8 else 0, len(lines)),
                "a=" + self._odd(draw.choice(ATTRIBUTES)),
            )
        elif kind == 6:
            del lines[at]
        elif kind == 7:
            lines[at:at] = [lines[at]] * draw.choice((1, 1, 2, 7, 16, 17, 33, 64, 70))
        elif kind == 8:
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            name, mark, value = lines[at].partition("=")
            lines[at] = f"{name}{mark}{self._spoilt(value)}"

    def _spoil_head(self, lines: list[str]) -> None:
        draw = self.draw
        at = draw.randrange(len(lines))
        kind = draw.randrange(12)
        if kind == 0 and at:
            del lines[at]
        elif kind == 1 and at:
            lines[at:at] = [lines[at]] * draw.choice((1, 1, 1, 2, 20, 33, 64))
        elif kind == 2:
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            name, _, value = lines[at].partition(": ")
            lines[at] = COMPACT.get(name, name.upper()) + draw.choice((":", " :", ":  ", ": \r\n ")) + value
        elif kind == 4:
            words = lines[at].split(" ")
            lines[at] = draw.choice(("\r\n ", "\r\n\t", "  ", "\t")).join(words)
        else:
            name, mark, value = lines[at].partition(": " if at else " ")
            lines[at] = f"{name}{mark}{self._spoilt(value)}" if mark else self._spoilt(lines[at])

    def _spoilt(self, value: str) -> str:  # noqa: PLR0911 - one for each way
        draw = self.draw
        at = draw.randint(0, len(value))
        kind = draw.randrange(9)
        if kind == 0:
            return ""
        if kind == 1:
            return value[:at] + self._long() + value[at:]
        if kind == 2:
            return value[:at] + draw.choice(JUNK) * draw.choice((1, 1, 1, 2, 40, 300)) + value[at:]
        if kind == 3:
            end = min(len(value), at + draw.randint(1, 20))
            return value[:at] + value[end:]
        if kind == 4:
            end = min(len(value), at + draw.randint(1, 20))
            return value[:at] + value[at:end] * draw.choice((2, 3, 30, 130)) + value[end:]
        if kind == 5:
            return value[:at] + draw.choice(WORDS) + value[at:]
        pattern: str
        put: Callable[[], str]
        if kind == 6:
            pattern, put = r"\d+", lambda: draw.choice(NUMBERS)
        elif kind == 7:
            pattern, put = r"%IP%|%URI%|%TARGET%", lambda: draw.choice(HOSTS)
        else:
            pattern, put = (
                r"[A-Za-z0-9]+",
                lambda: self._odd(draw.choice(("{long}", "", "{n}", "{codec}", "{host}"))),
            )
        found = list(re.finditer(pattern, value))
        if not found:
            return value + put()
        one = draw.choice(found)
        return value[: one.start()] + put() + value[one.end() :]

    def _long(self) -> str:
        draw = self.draw
        length = draw.choice(LENGTHS) if draw.random() < 0.8 else draw.randrange(300)
        piece = draw.choice(("x", "1", "a.", "%41", "-", "\u00e9", "\0", " ", "x;", "=", "A"))
        return (piece * (length // len(piece) + 1))[:length]

    def _odd(self, template: str) -> str:
        """A template whose places are filled, each with another odd value."""
        draw = self.draw
        fillers: Mapping[str, Callable[[], str]] = {
            "n": lambda: draw.choice(NUMBERS) if draw.random() < 0.6 else str(draw.randrange(1 << draw.randrange(1, 34))),
            "host": lambda: draw.choice(HOSTS), "codec": lambda: draw.choice(CODECS), "crypto": lambda: draw.choice(CRYPTO),
            "long": self._long, "list": lambda: ",".join(["x"] * draw.choice((2, 31, 32, 33, 64, 200))),
            "many": lambda: " ".join(str(one) for one in range(draw.choice((31, 32, 33, 64, 128, 300)))),
        }  # fmt: skip
        return re.sub(r"\{(\w+)\}", lambda found: fillers[found[1]](), template)


def _rtp(draw: random.Random) -> bytes:
    """A packet of RTP (RFC 3550 section 5.1) with sizes that may not be true, or a key (RFC 4733)."""
    first = draw.choices((0x80, draw.randrange(256)), (5, 1))[0] | draw.choice((0, 0, 0, 0x10, 0x20, 0x0F))
    kind = draw.choice((8, 0, 8, 0, 101, 101, 3, 9, 13, 96, 97, 98, 127, draw.randrange(128))) | draw.choice(
        (0, 0, 0, 0x80)
    )
    head = struct.pack(
        "!BBHII", first, kind, draw.choice((0, 1, 65535, draw.randrange(65536))),
        draw.choice((0, 160, 0xFFFFFFFF, draw.randrange(1 << 32))), draw.choice((1, 2, 0, draw.randrange(1 << 32))),
    )  # fmt: skip
    if kind & 0x7F == 101:
        payload = struct.pack(
            "!BBH", draw.randrange(256), draw.randrange(256), draw.randrange(65536)
        ) * draw.choice((0, 1, 1, 1, 2, 50))
    else:
        payload = draw.randbytes(
            draw.choice((0, 1, 2, 3, 4, 33, 38, 50, 62, 159, 160, 161, 240, 320, 800, 1400, 1471))
        )
    if first & 0x10 and draw.random() < 0.7:
        payload = struct.pack("!HH", draw.randrange(65536), draw.choice((0, 1, 2, 400, 65535))) + payload
    if first & 0x20 and draw.random() < 0.7:
        payload += bytes([draw.choice((0, 1, 4, 255))])
    packet = head + payload
    return packet[: draw.randrange(13)] if draw.random() < 0.05 else packet


def _rtcp(draw: random.Random) -> bytes:
    """A compound of reports (RFC 3550 section 6, RFC 4585, RFC 3611) with counts and lengths that may not be true."""
    packet = b""
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        kind = draw.choice((200, 201, 202, 203, 204, 205, 206, 207, draw.randrange(256)))
        body = (
            draw.randbytes(4 * draw.choice((0, 1, 2, 5, 6, 7, 13, 60)))
            if draw.random() < 0.8
            else draw.randbytes(draw.randrange(90))
        )
        length = draw.choice((len(body) // 4, len(body) // 4, 0, 1, 65535, draw.randrange(400)))
        if kind == 202 and draw.random() < 0.7:
            body = struct.pack(
                "!IBB", 1, draw.randrange(9), draw.choice((0, 1, 255))
            ) + b"x" * draw.randrange(80)
        if kind == 207 and draw.random() < 0.7:
            body = (
                struct.pack(
                    "!IBBH", 1, draw.randrange(1, 9), draw.randrange(256), draw.choice((0, 1, 2, 9, 65535))
                )
                + body
            )
        packet += (
            struct.pack("!BBH", 0x80 | draw.randrange(32) | draw.choice((0, 0, 0, 0x20)), kind, length) + body
        )
    return packet[: draw.randrange(1, 9)] if draw.random() < 0.05 else packet[:1400]

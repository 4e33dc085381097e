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
from types import SimpleNamespace
from typing import Any, Literal

Where = Literal["new", "caller", "phone", "reply", "ack", "rtp", "rtcp"]
"""Before any dialog; in the caller's; in the phone's; the phone's answer to us; the ACK that answers our offer; media."""

WEIGHTS: Mapping[Where, int] = {
    "new": 16, "caller": 34, "phone": 12, "reply": 18, "ack": 6, "rtp": 10, "rtcp": 4,
}  # fmt: skip
RARELY = 0.02  # what ends a dialog, or begins one, costs more than the others

ODD = SimpleNamespace(**json.loads((Path(__file__).parent / "words.json").read_text(encoding="ascii")))
"""Values that are odd where they stand, by their kind; in a template `{n}`, `{long}` and others are filled."""

GOOD_CONTACTS = (b"Contact: <sip:x@%IP%:%PORT%>", b"Contact: <sip:201@%IP%:%PORT%>")


@dataclass(frozen=True, slots=True)
class Case:
    """`text`: with names in it to be filled in, for media the packet itself."""

    where: Where
    text: bytes

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

    def _weighed(self, *pairs: tuple[Any, int]) -> Any:
        """One of these, each with its weight."""
        return self.draw.choices([one for one, _ in pairs], [weight for _, weight in pairs])[0]

    def _is(self, chance: float) -> bool:
        return self.draw.random() < chance

    def _header(self, *names: str) -> str:
        """One more, odd; of these names, or of any."""
        named = [one for one in ODD.more_headers if not names or one[0] in names]
        name, values = self.draw.choice(named)
        return f"{self._odd(name)}: {self._odd(self.draw.choice(values))}"

    def made(self) -> bytes:
        lines, body, kind = self._good()
        for _ in range(self._weighed((0, 4), (1, 5), (2, 2), (4, 1))):
            lines.insert(self.draw.randint(1, len(lines)), self._header())
        if body or self._is(0.1):
            lines.append(f"Content-Type: {kind}")
        lines.append("Content-Length: %LENGTH%")
        for _ in range(self._weighed((0, 8), (1, 5), (2, 2), (3, 1))):
            self._spoil(lines, self._spoil_line)
        eol = self._weighed(("\r\n", 200), ("\n", 1), ("\r", 1))
        text = _bytes(eol.join(lines) + eol * 2) + body
        if self._is(0.01):
            text = text[: self.draw.randrange(len(text))]
        return text + b"\r\n\r\n" + text if self._is(0.005) else text

    def _good(self) -> tuple[list[str], bytes, str]:
        draw = self.draw
        if self.where == "reply":
            status = self._weighed(*ODD.statuses)
            lines = [
                f"SIP/2.0 {status} {draw.choice(('OK', '', 'x' * 300, 'é'))}",
                "%VIAS%",
                "%RECORD_ROUTES%",
            ]
            lines += ["From: %FROM%", "To: %TO%", "Call-ID: %CALL_ID%", "CSeq: %CSEQ% %METHOD%"]
            lines += ["Contact: <sip:201@%IP%:%PORT%>"] * self._is(0.9)
            if self._is(0.2):
                lines += ["Require: 100rel", f"RSeq: {draw.choice(('1', '2', '1', '%d', '0', '4294967295'))}"]
            if status in (401, 407):
                lines.append(self._header(("WWW-Authenticate", "Proxy-Authenticate")[status == 407]))
            return lines, *self._body(0.75)
        method = self._method()
        fixed = ["Via: SIP/2.0/UDP %IP%:%PORT%;rport;branch=%BRANCH%", "Max-Forwards: 70"]
        if self.where == "new":
            lines = [f"{method} %URI% SIP/2.0", *fixed, "From: <sip:+33698765432@%IP%>;tag=%LOCAL_TAG%"]
            lines += [f"To: <%URI%>{self._weighed(('', 12), (';tag=x', 1))}"]
        else:
            lines = [f"{method} %TARGET% SIP/2.0", *fixed, "%ROUTES%", "From: %LOCAL%", "To: %REMOTE%"]
        lines += ["Call-ID: %CALL_ID%", f"CSeq: %CSEQ% {method}", "Contact: <sip:x@%IP%:%PORT%>"]
        lines += [line for line in ODD.headers_of.get(method, ()) if self._is(0.9)]
        if method in ODD.bodies and self._is(0.75):
            kind, text = draw.choice(ODD.bodies[method])
            return lines, _bytes(self._odd(text)), kind
        return lines, *self._body(ODD.with_sdp.get(method, 0.1))

    def _method(self) -> str:
        if self.where == "ack":
            return "ACK"
        if self.where == "new":
            return "INVITE" if self._is(0.5) else self._odd(self.draw.choice(ODD.new_methods))
        return "BYE" if self._is(RARELY / 4) else self._odd(self._weighed(*ODD.within))

    def _body(self, with_sdp: float) -> tuple[bytes, str]:
        if not self._is(with_sdp):
            return b"", "application/sdp"
        kinds = (("application/sdp", 20), ("Application/SDP", 1), ("application/sdp;x=y", 1))
        return self._parts() if self._is(0.12) else (self._sdp(), self._weighed(*kinds))

    def _parts(self) -> tuple[bytes, str]:
        """Several parts, the description in any of them, or within another such body."""
        draw, boundary, parts = self.draw, self.draw.choice(ODD.boundaries), []
        for _ in range(self._weighed((1, 4), (2, 6), (3, 2), (12, 1))):
            kind = draw.choice(ODD.part_kinds)
            is_sdp = kind == "application/sdp" and self._is(0.8)
            content = self._sdp() if is_sdp else draw.choice((self._sdp(), b"x", b"", b"\r\n"))
            head = _bytes(f"Content-Type: {kind}\r\n") * self._is(0.9)
            head += _bytes(f"{self._header()}\r\n") * self._is(0.2)
            parts.append(head + b"\r\n" * self._is(0.95) + content)
        gap = _bytes(f"\r\n--{boundary}\r\n" if self._is(0.95) else f"\n--{boundary} \n")
        end = _bytes(f"\r\n--{boundary}--\r\n") * self._is(0.92)
        body = gap[draw.choice((0, 2)) :] + gap.join(parts) + end
        shown = draw.choice((boundary, f'"{boundary}"')) if self._is(0.95) else "other"
        kind = draw.choice(ODD.multiparts)
        if self._is(0.1):
            inner = _bytes(f"Content-Type: {kind};boundary={shown}\r\n\r\n") + body
            return b"--out\r\n" + inner + b"\r\n--out--\r\n", "multipart/mixed;boundary=out"
        return body, f"{kind};boundary={shown}" if self._is(0.95) else kind

    def _sdp(self) -> bytes:
        lines = ["v=0", "o=- 1000 %VERSION% IN IP4 %IP%", "s=-", self._connection(), "t=0 0"]
        if self._is(0.15):
            del lines[3]
        for _ in range(self._weighed((1, 14), (2, 3), (3, 1), (4, 1))):
            lines += self._section()
        for _ in range(self._weighed((0, 3), (1, 6), (2, 4), (3, 2), (5, 1), (9, 1))):
            self._spoil(lines, self._spoil_sdp)
        eol = self._weighed(("\r\n", 60), ("\n", 4), ("\r", 1), ("\n\r", 1), ("\r\n\r\n", 1))
        text = eol.join(lines) + eol * self._weighed((1, 20), (0, 2), (2, 1))
        return _bytes(text[: self.draw.randrange(len(text) + 1)] if self._is(0.02) else text)

    def _connection(self) -> str:
        return str(self._weighed(("c=IN IP4 %IP%", 30), ("c=IN IP6 ::1", 10), ("c=IN IP6 ::", 1)))

    def _section(self) -> list[str]:
        draw = self.draw
        kind = self._weighed(("RTP/AVP", 12), ("RTP/SAVP", 2), ("video", 1), ("image", 1), ("off", 2))
        own = [self._connection()] * self._is(0.3)
        if kind == "video":
            return ["m=video 5002 RTP/AVP 96", *own, "a=rtpmap:96 H264/90000"]
        if kind == "image":
            return ["m=image 5004 udptl t38", *own]
        if kind == "off":
            return [draw.choice(ODD.off), *own]
        types = draw.choice(ODD.types)
        lines = [f"m=audio %RTP% {kind} {types}", *own]
        for one, name in ODD.rtpmaps.items():
            if self._is(0.7 if name.startswith("PCM") else 0.95 * (one in types.split())):
                lines.append(f"a=rtpmap:{one} {name}")
        lines += ["a=fmtp:101 0-16"] * self._is(0.5)
        if kind == "RTP/SAVP":
            lines += [f"a=crypto:{draw.choice(ODD.crypto)}"] * draw.choice((1, 1, 2))
        direction = draw.choice(("sendrecv", "sendonly", "recvonly", "inactive", "sendrecv"))
        return [*lines, "a=ptime:20", f"a={direction}"]

    def _spoil(self, lines: list[str], otherwise: Callable[[list[str], int], None]) -> None:
        """Drop, double or swap a line, or do otherwise with it; the first of a message stays where it is."""
        draw = self.draw
        if not lines:
            return
        at, kind = draw.randrange(len(lines)), draw.randrange(12)
        if kind == 0 and (at or otherwise == self._spoil_sdp):
            del lines[at]
        elif kind == 1 and at:
            lines[at:at] = [lines[at]] * draw.choice((1, 1, 1, 2, 7, 16, 17, 20, 33, 64, 70))
        elif kind == 2:
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            otherwise(lines, at)

    def _spoil_sdp(self, lines: list[str], at: int) -> None:
        draw, kind = self.draw, self.draw.randrange(9)
        if kind < 3:
            lines.insert(draw.randint(0, len(lines)), self._odd(draw.choice(ODD.sdp_lines)))
        elif kind < 6:
            first = next((i for i, one in enumerate(lines) if one.startswith("m=")), 0)
            place = draw.randint(first if self._is(0.8) else 0, len(lines))
            lines.insert(place, "a=" + self._odd(draw.choice(ODD.attributes)))
        else:
            name, mark, value = lines[at].partition("=")
            lines[at] = f"{name}{mark}{self._spoilt(value)}"

    def _spoil_line(self, lines: list[str], at: int) -> None:
        draw, kind = self.draw, self.draw.randrange(9)
        if kind == 0:
            name, _, value = lines[at].partition(": ")
            between = draw.choice((":", " :", ":  ", ": \r\n "))
            lines[at] = ODD.compact.get(name, name.upper()) + between + value
        elif kind == 1:
            lines[at] = draw.choice(("\r\n ", "\r\n\t", "  ", "\t")).join(lines[at].split(" "))
        else:
            name, mark, value = lines[at].partition(": " if at else " ")
            lines[at] = f"{name}{mark}{self._spoilt(value)}" if mark else self._spoilt(lines[at])

    def _spoilt(self, value: str) -> str:
        draw, kind = self.draw, self.draw.randrange(9)
        at = draw.randint(0, len(value))
        before, behind, end = value[:at], value[at:], draw.randint(1, 20)
        if kind < 6:
            ways: tuple[Callable[[], str], ...] = (
                lambda: "",
                lambda: before + self._long() + behind,
                lambda: before + draw.choice(ODD.junk) * draw.choice((1, 1, 1, 2, 40, 300)) + behind,
                lambda: before + behind[end:],
                lambda: before + behind[:end] * draw.choice((2, 3, 30, 130)) + behind[end:],
                lambda: before + draw.choice(ODD.words) + behind,
            )
            return ways[kind]()
        of_words = ("{long}", "", "{n}", "{codec}", "{host}")
        pattern, odd = (
            (r"\d+", ODD.numbers), (r"%IP%|%URI%|%TARGET%", ODD.hosts), (r"[A-Za-z0-9]+", of_words),
        )[kind - 6]  # fmt: skip
        put = self._odd(draw.choice(odd))
        if not (found := list(re.finditer(pattern, value))):
            return value + put
        one = draw.choice(found)
        return value[: one.start()] + put + value[one.end() :]

    def _long(self) -> str:
        length = self.draw.choice(ODD.lengths) if self._is(0.8) else self.draw.randrange(300)
        piece = self.draw.choice(("x", "1", "a.", "%41", "-", "\u00e9", "\0", " ", "x;", "=", "A"))
        return (piece * (length // len(piece) + 1))[:length]

    def _odd(self, template: str) -> str:
        """A template whose places are filled, each with another odd value."""
        draw = self.draw
        fillers: Mapping[str, Callable[[], str]] = {
            "n": lambda: draw.choice(ODD.numbers) if self._is(0.6) else str(draw.randrange(1 << draw.randrange(1, 34))),
            "host": lambda: draw.choice(ODD.hosts), "codec": lambda: draw.choice(ODD.codecs), "crypto": lambda: draw.choice(ODD.crypto),
            "long": self._long, "list": lambda: ",".join(["x"] * draw.choice((2, 31, 32, 33, 64, 200))),
            "many": lambda: " ".join(str(one) for one in range(draw.choice((31, 32, 33, 64, 128, 300)))),
        }  # fmt: skip
        return re.sub(r"\{(\w+)\}", lambda found: fillers[found[1]](), template)


def _rtp(draw: random.Random) -> bytes:
    """A packet of RTP (RFC 3550 section 5.1) with sizes that may not be true, or a key (RFC 4733)."""
    first = draw.choices((0x80, draw.randrange(256)), (5, 1))[0] | draw.choice((0, 0, 0, 0x10, 0x20, 0x0F))
    kind = draw.choice((8, 0, 8, 0, 101, 101, 3, 9, 13, 96, 97, 98, 127, draw.randrange(128)))
    sequence = draw.choice((0, 1, 65535, draw.randrange(65536)))
    at, ssrc = (
        draw.choice((0, 160, 0xFFFFFFFF, draw.randrange(1 << 32))),
        draw.choice((1, 2, 0, draw.randrange(1 << 32))),
    )
    head = struct.pack("!BBHII", first, kind | draw.choice((0, 0, 0, 0x80)), sequence, at, ssrc)
    if kind == 101:
        payload = draw.randbytes(4) * draw.choice((0, 1, 1, 1, 2, 50))
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
        whole = 4 * draw.choice((0, 1, 2, 5, 6, 7, 13, 60))
        body = draw.randbytes(whole if draw.random() < 0.8 else draw.randrange(90))
        length = draw.choice((len(body) // 4, len(body) // 4, 0, 1, 65535, draw.randrange(400)))
        if kind == 202 and draw.random() < 0.7:
            item = struct.pack("!IBB", 1, draw.randrange(9), draw.choice((0, 1, 255)))
            body = item + b"x" * draw.randrange(80)
        if kind == 207 and draw.random() < 0.7:
            sizes = draw.choice((0, 1, 2, 9, 65535))
            body = struct.pack("!IBBH", 1, draw.randrange(1, 9), draw.randrange(256), sizes) + body
        first = 0x80 | draw.randrange(32) | draw.choice((0, 0, 0, 0x20))
        packet += struct.pack("!BBH", first, kind, length) + body
    return packet[: draw.randrange(1, 9)] if draw.random() < 0.05 else packet[:1400]

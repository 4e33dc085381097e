"""Session descriptions that phones, gateways and attackers send, and what is to become of each.

One table, for the rule (`test_session_description`) and for all messages that can bring one to an engine
(`test_pjsip_descriptions`, `live.test_edge_descriptions`). `opens` is the number of audio lines that the
library would open sockets for; None: it must not see the description. Our codecs are PCMA and PCMU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sipagent.sip.session_description import AUDIO_LINES, LINES
from sipagent.softphone.phone import Phone
from sipagent.softphone.sip import Message

ADDRESS = "127.0.0.2"
SESSION = ("v=0", f"o=- 1 1 IN IP4 {ADDRESS}", "s=-", "t=0 0")
HERE = f"c=IN IP4 {ADDRESS}"
AUDIO = ("m=audio 40000 RTP/AVP 8 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000")
MANY = "9" * 40
DTLS_KEY = f"a=fingerprint:sha-256 {':'.join(32 * ['AB'])}"
CLOSED_VIDEO = "m=video 0 RTP/AVP 31"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sdp: bytes
    opens: int | None

    @property
    def moves(self) -> bool:
        """Whether it is no offer within a call whose audio is the first line, as ours is."""
        return b"m=" in self.sdp and not self.sdp.partition(b"m=")[2].startswith(b"audio")


def _case(name: str, opens: int | None, *lines: str, end: str = "\r\n") -> Case:
    return Case(name, "".join(f"{line}{end}" for line in lines).encode("latin-1"), opens)


def _here(name: str, opens: int | None, *media: str, end: str = "\r\n") -> Case:
    """A session with our address, and these lines."""
    return _case(name, opens, *SESSION, HERE, *media, end=end)


def _usual(name: str, opens: int | None, *more: str) -> Case:
    """One audio line as usual, and what stands below it."""
    return _here(name, opens, *AUDIO, *more)


ACCEPTABLE = (
    _usual("as usual", 1),
    _case("its own c=", 1, *SESSION, *AUDIO, HERE),
    _case("a closed line without c=", 1, *SESSION, AUDIO[0], HERE, *AUDIO[1:], CLOSED_VIDEO),
    _case("a closed line without c= first", 1, *SESSION, CLOSED_VIDEO, AUDIO[0], HERE, *AUDIO[1:]),
    _case("closed audio without c=", 1, *SESSION, AUDIO[0], HERE, "m=audio 0 RTP/AVP 8"),
    _here("open video without a codec", 1, *AUDIO, "m=video 40002 RTP/AVP 31"),
    _usual("fax and text", 1, "m=image 4 udptl t38", "m=text 6 RTP/AVP 98", "a=rtpmap:98 t140/1000"),
    _here("a data channel", 1, *AUDIO, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
    _case("IPv6 beside IPv4", 1, *SESSION, AUDIO[0], "c=IN IP6 ::1", AUDIO[0], HERE),
    _case("IPv6 on all other lines", 1, *SESSION, AUDIO[0], HERE, *(LINES - 1) * (AUDIO[0], "c=IN IP6 ::1")),
    _here("as much audio as there may be", AUDIO_LINES, *AUDIO_LINES * (AUDIO[0], AUDIO[2])),
    _here("as many lines as there may be", 1, *AUDIO, *(LINES - 1) * (CLOSED_VIDEO,)),
    _usual("a=rtcp with a port alone", 1, "a=rtcp:53020"),
    _usual("a=rtcp with an address", 1, f"a=rtcp:53020 IN IP4 {ADDRESS}"),
    _usual("a=rtcp of another family", 1, "a=rtcp:53020 IN IP6 ::1"),
    _case("an address with a TTL", 1, *SESSION, "c=IN IP4 224.2.1.1/127/3", *AUDIO),
    _case("a hold by address", 1, *SESSION, "c=IN IP4 0.0.0.0", *AUDIO),
    _case("broadcast", 1, *SESSION, "c=IN IP4 255.255.255.255", *AUDIO),
    _here("lines that end in LF", 1, *AUDIO, end="\n"),
    _here("lines that end in CR", 1, *AUDIO, end="\r"),
    _case("blank lines", 1, *SESSION, "", HERE, "", *AUDIO, "", ""),
    _case("nothing but media", 1, HERE, AUDIO[0], AUDIO[2]),
    _here("the last port", 1, "m=audio 65535 RTP/AVP 8"),
    _here("more ports than one", 1, "m=audio 40000/2 RTP/AVP 8"),
    _usual("a payload type far beyond", 1, "a=rtpmap:4000 X/8000", "a=fmtp:4000 x=1"),
    _here("payload types that are none", 1, "m=audio 40000 RTP/AVP 8 999 4294967304 x 96"),
    _here("a payload type twice", 1, "m=audio 40000 RTP/AVP 8 8 008 101 101", AUDIO[2]),
    _here("all payload types", 1, f"m=audio 40000 RTP/AVP {' '.join(map(str, range(128)))}"),
    _usual("a closed line with a payload type far beyond", 1, "m=video 0 RTP/AVP 4000"),
    _here("another codec beside ours", 1, "m=audio 40000 RTP/AVP 18 8"),
    _here("another codec on a line of its own", 1, "m=audio 40002 RTP/AVP 18", *AUDIO),
    _case("our codec by another number", 1, HERE, "m=audio 40000 RTP/AVP 96", "a=rtpmap:96 PCMA/8000/1"),
    _usual("a packet of 2.56 s", 1, "a=ptime:2560"),
    _usual("a packet of no time", 1, "a=ptime:0", "a=maxptime:0"),
    _usual("a rate of 0", 1, "a=rtpmap:96 X/0"),
    _usual("a map that is long", 1, f"a=rtpmap:96 {'X' * 300}/8000"),
    _usual("parameters that are long", 1, f"a=fmtp:101 {'0-15;' * 100}"),
    _usual("more attributes than may be", 1, *(f"a=x{number}:y" for number in range(90))),
    _usual("ICE", 1, "a=candidate:1 1 UDP 1 host.invalid 9 typ host", f"a=ice-ufrag:{'x' * 300}"),
    _usual("attributes of no use", 1, "a=ssrc:1 cname:", "a=rtcp-fb:* nack", "a=", "a=:", "a=\x00", "a=\xe9"),
    _usual("a key of SRTP", 1, f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}|2^31|1:1"),
    _usual("a key of SRTP that is long", 1, f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 300}"),
    _usual("keys by DTLS", 1, "a=setup:actpass", DTLS_KEY),
    _usual("keys by DTLS on a line of their own", 1, "m=audio 40002 UDP/TLS/RTP/SAVP 8", DTLS_KEY),
    _usual("a fingerprint that is long", 1, "a=setup:actpass", f"a=fingerprint:sha-256 {'AA:' * 200}AA"),
    _usual("all directions", 1, "a=sendonly", "a=recvonly", "a=inactive"),
    _usual("bandwidths", 1, *10 * ("b=AS:4294967295999", "b=:", "b=x")),
    _case("long numbers", 1, "v=0", f"o=- {MANY} {MANY} IN IP4 {ADDRESS}", HERE, f"t={MANY} 0", *AUDIO),
    _case("an owner with a name", 1, "v=0", "o=- 1 1 IN IP4 pbx.invalid", "s=-", HERE, "t=0 0", *AUDIO),
)  # fmt: skip

NOT_ACCEPTABLE = (
    _case("nothing", None, ""),
    _case("no media", None, *SESSION, HERE),
    _here("no audio", None, "m=video 40002 RTP/AVP 31"),
    _here("closed audio alone", None, "m=audio 0 RTP/AVP 8"),
    _case("no c=", None, *SESSION, *AUDIO),
    _case("no c= of another line", None, *SESSION, AUDIO[0], HERE, "m=video 40002 RTP/AVP 31"),
    _case("IPv6 alone", None, *SESSION, "c=IN IP6 ::1", *AUDIO),
    _case("a host name", None, *SESSION, "c=IN IP4 gateway.invalid", *AUDIO),
    _here("a host name of a line", None, AUDIO[0], "c=IN IP4 gateway.invalid"),
    _here("a host name of a closed line", None, *AUDIO, CLOSED_VIDEO, "c=IN IP4 gateway.invalid"),
    _case("a host name as IPv6", None, *SESSION, "c=IN IP6 gateway.invalid", *AUDIO, HERE),
    _case("a literal of the other family", None, *SESSION, "c=IN IP4 ::1", *AUDIO),
    _case("an address that is too long", None, *SESSION, f"c=IN IP4 {'1' * 254}", *AUDIO),
    _here("an address that is far too long", None, AUDIO[0], f"c=IN IP4 {'a' * 700}"),
    _case("a c= without address", None, *SESSION, "c=IN IP4 ", *AUDIO),
    _case("a c= with nothing", None, *SESSION, "c=", *AUDIO),
    _case("an address with a NUL", None, *SESSION, f"{HERE}\x00", *AUDIO),
    _case("another network", None, *SESSION, f"c=ATM NSAP {ADDRESS}", *AUDIO),
    _usual("a=rtcp with a host name", None, "a=rtcp:53020 IN IP4 gateway.invalid"),
    _usual("a=rtcp with an address that is too long", None, f"a=rtcp:53020 IN IP4 {'1' * 254}"),
    _usual("a=rtcp without a port", None, "a=rtcp:"),
    _usual("a=rtcp with a port that is none", None, "a=rtcp:4294967296"),
    _here("too much audio", None, *(AUDIO_LINES + 1) * (AUDIO[0], AUDIO[2])),
    _here("too many lines", None, *AUDIO, *LINES * (CLOSED_VIDEO,)),
    _here("a port that is none", None, "m=audio 65536 RTP/AVP 8"),
    _here("a port that is a word", None, "m=audio x RTP/AVP 8"),
    _here("no transport", None, "m=audio 40000"),
    _here("another transport", None, "m=audio 40000 TCP/MRCPv2 1"),
    _here("keys by DTLS alone", None, "m=audio 40000 UDP/TLS/RTP/SAVPF 8", "a=setup:actpass", DTLS_KEY),
    _here("no payload type", None, "m=audio 40000 RTP/AVP"),
    _here("a payload type that is not said", None, "m=audio 40000 RTP/AVP 96"),
    _here("another codec alone", None, "m=audio 40000 RTP/AVP 18 96", "a=rtpmap:96 opus/48000/2"),
    _here("keys alone", None, "m=audio 40000 RTP/AVP 101", AUDIO[2]),
    _here("our codec at another rate", None, "m=audio 40000 RTP/AVP 96", "a=rtpmap:96 PCMA/16000"),
    _here("a medium that is long", None, *AUDIO, f"m={'v' * 300} 0 RTP/AVP 31"),
    _case("another version", None, "v=1", *SESSION[1:], HERE, *AUDIO),
    _here("a line that is none", None, *AUDIO, "video"),
    _here("a line that is blank in front", None, *AUDIO, " m=audio 40000 RTP/AVP 8"),
    Case("no text", bytes(range(256)), None),
)
CASES = ACCEPTABLE + NOT_ACCEPTABLE


def multipart(*parts: bytes) -> bytes:
    """As SIPREC and SIP-I send it; its type is `MULTIPART`."""
    mixed = b"".join(b"--part\r\nContent-Type: application/sdp\r\n\r\n" + part + b"\r\n" for part in parts)
    return mixed + b"--part\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<recording/>\r\n--part--\r\n"


MULTIPART = "multipart/mixed;boundary=part"
GOOD = CASES[0].sdp


def bodies(case: Case) -> tuple[tuple[str, bytes], ...]:
    """A case alone, and as each part of two: content types and bodies."""
    return (
        ("application/sdp", case.sdp),
        (MULTIPART, multipart(case.sdp, GOOD)),
        (MULTIPART, multipart(GOOD, case.sdp)),
    )


class Describing(Phone):
    """A phone that says what it is given in the place of its own SDP, in messages that are `of` one kind.

    The kind is that of `Message.describe`; in the place of 180 it sends 183.
    """

    def __init__(self, *address: Any, **how: Any) -> None:
        super().__init__(*address, **how)
        self.of, self.kind, self.body = "", "", b""

    def __enter__(self) -> Describing:
        return self

    def describe(self, of: str, kind: str, body: bytes) -> None:
        with self.loop.changing():
            self.of, self.kind, self.body = of, kind, body

    def send(self, message: Message, to: tuple[str, int]) -> None:
        if message.describe() == self.of:
            start = "SIP/2.0 183 Session Progress" if message.status == 180 else message.start
            kept = (one for one in message.headers if one[0] != "Content-Type")
            kind = (("Content-Type", self.kind),) if self.kind else ()
            message = Message(start, (*kept, *kind), self.body)
        super().send(message, to)

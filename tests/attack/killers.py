"""Cases that have ended the engine, each by its name: what the fuzzer finds is kept here, as short as it gets."""

# ruff: noqa: E501 - tables
from __future__ import annotations

from tests.attack.grammar import Case

SDP = (
    b"v=0\r\no=- 1 %VERSION% IN IP4 %IP%\r\ns=-\r\nc=IN IP4 %IP%\r\nt=0 0\r\nm=audio %RTP% RTP/AVP 8\r\n"
    b"a=rtpmap:8 PCMA/8000\r\n"
)
_VIA = b"Via: SIP/2.0/UDP %IP%:%PORT%;rport;branch=%BRANCH%\r\nMax-Forwards: 70\r\n"
_CONTACT = b"Contact: <sip:x@%IP%:%PORT%>\r\n"


def _new(method: bytes, body: bytes = b"") -> bytes:
    """A request outside of any dialog."""
    return (
        method + b" %URI% SIP/2.0\r\n" + _VIA + b"From: <sip:a@%IP%>;tag=%LOCAL_TAG%\r\nTo: <%URI%>\r\n"
        b"Call-ID: %CALL_ID%\r\nCSeq: 1 " + method + b"\r\n" + _with(body)
    )  # fmt: skip


def _within(method: bytes, body: bytes = b"") -> bytes:
    return (
        method + b" %TARGET% SIP/2.0\r\n" + _VIA + b"%ROUTES%\r\nFrom: %LOCAL%\r\nTo: %REMOTE%\r\n"
        b"Call-ID: %CALL_ID%\r\nCSeq: %CSEQ% " + method + b"\r\n" + _with(body)
    )  # fmt: skip


def _with(body: bytes, kind: bytes = b"application/sdp") -> bytes:
    described = b"Content-Type: " + kind + b"\r\n" if body else b""
    return _CONTACT + described + b"Content-Length: %LENGTH%\r\n\r\n" + body


def _answer(status: bytes = b"200", body: bytes = SDP) -> bytes:
    return (
        b"SIP/2.0 " + status + b" OK\r\n%VIAS%\r\n%RECORD_ROUTES%\r\nFrom: %FROM%\r\nTo: %TO%\r\n"
        b"Call-ID: %CALL_ID%\r\nCSeq: %CSEQ% %METHOD%\r\n" + _with(body)
    )  # fmt: skip


def _contact(message: bytes, uri: bytes) -> bytes:
    return message.replace(b"<sip:x@%IP%:%PORT%>", uri)


def _info(body: bytes) -> Case:
    text = _within(b"INFO", body).replace(b"application/sdp", b"application/dtmf-relay")
    return Case("caller", text)


_ROUTED = b"Record-Route: "
_NOTHING = b"--x\r\nContent-Type: application/sdp\r\n\r\n\r\n\r\n--x--\r\n"
_SHORT_KEY = (
    SDP.replace(b"/AVP", b"/SAVP")
    + b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AA==\r\nm=audio %RTP% RTP/AVP 8\r\n"
)
_DTLS = SDP.replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVP")

KILLERS: dict[str, tuple[Case, ...]] = {
    "a key whose line has no end": (_info(b"Signal=5"), _info(b"Signal"), _info(b"Signal=5\r")),
    "an ACK whose first line is folded": (
        Case("caller", _new(b"ACK").replace(b"ACK %URI%", b"ACK\r\n\t%URI%")),
        Case("caller", _within(b"ACK").replace(b"ACK %TARGET%", b"ACK\r\n\t%TARGET%").replace(b";tag", b";x")),
    ),
    "a part that is SDP and blank": (
        Case("caller", _within(b"INVITE", _NOTHING).replace(b"application/sdp\r\nContent-L", b"multipart/mixed;boundary=x\r\nContent-L")),
    ),
    "a From without a host": (Case("new", _new(b"OPTIONS").replace(b"<sip:a@%IP%>", b"<sip:a@[]>")),),
    "a To without a host": (Case("new", _new(b"OPTIONS").replace(b"To: <%URI%>", b"To: <sip:[]>")),),
    "a Record-Route without a host": (Case("new", _new(b"OPTIONS").replace(b"Max-", _ROUTED + b"<sip:[];lr>\r\nMax-")),),
    "a Contact without a host": (
        Case("caller", _contact(_within(b"INVITE", SDP), b"<sip:x@[]>")), Case("caller", _within(b"INVITE")),
        Case("reply", _contact(_answer(b"302", b""), b"<sip:x@[]>")), Case("reply", _contact(_answer(), b"<sip:x@[]>")),
    ),
    "streams offered with a key that is none, and the end": (
        Case("caller", _within(b"INVITE", _SHORT_KEY)), Case("caller", _within(b"BYE")),
    ),
    "a text of a kind that is long": (
        Case("caller", _within(b"MESSAGE", b"x").replace(b"application/sdp", b"text/" + b"x" * 2000)),
    ),
    "an answer from where only TCP leads": (Case("reply", _contact(_answer(), b"<sip:x@%IP%:9;transport=tcp>")),),
    "an answer from where only TLS leads": (Case("reply", _contact(_answer(), b"<sips:x@%IP%:9>")),),
    "an answer from a telephone number": (Case("reply", _contact(_answer(), b"<tel:+1>")),),
    "an answer by way of TCP": (
        Case("reply", _answer().replace(b"Contact", _ROUTED + b"<sip:%IP%:9;transport=tcp;lr>\r\nContact")),
    ),
    "an answer by way of a telephone number": (Case("reply", _answer().replace(b"Contact", _ROUTED + b"<tel:1;lr>\r\nContact")),),
    "two answers, one to two": (
        Case("reply", _answer()), Case("reply", _answer().replace(b"To: %TO%", b"To: %TO%\r\nt: <sip:x@y>")),
    ),
    "media before the answer, and an answer in parts without any": (
        Case("reply", _answer(b"183")),
        Case("reply", _answer(body=b"--x\r\n\r\nx\r\n--x--\r\n").replace(b"application/sdp", b"multipart/mixed;boundary=x")),
    ),
    "a request to be answered elsewhere": tuple(
        Case("caller", _within(method).replace(b";rport", b";maddr=host.invalid;rport")) for method in (b"INFO", b"REFER", b"MESSAGE")
    ),
    "media with keys by DTLS": (Case("new", _new(b"INVITE", _DTLS)),),
    "an address that is too long": (Case("caller", _within(b"UPDATE", SDP.replace(b"IP4 %IP%\r\nt", b"IP4 " + b"1" * 254 + b"\r\nt"))),),
}  # fmt: skip

"""The softphone against itself: two phones on loopback, real packets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Call, Challenge, Loop, Phone
from sipagent.softphone.rtp import LEVELS, Playback, decode, encode, tone
from sipagent.softphone.sip import Media, Message, digest, parameter, uri_of
from tests.torture import WSINV


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as running:
        yield running


@pytest.fixture
def desk(loop: Loop) -> Iterator[Phone]:
    with Phone(loop, "201") as phone:
        yield phone


@pytest.fixture
def caller(loop: Loop) -> Iterator[Phone]:
    with Phone(loop, "+33612345678", display="Ann") as phone:
        yield phone


def connected(caller: Phone, desk: Phone) -> tuple[Call, Call]:
    call = caller.call(desk.uri)
    call.wait_answered()
    operator = desk.wait_call()
    operator.wait_acked()
    return call, operator


def messages(phone: Phone, what: str) -> list[Message]:
    return [seen.message for seen in phone.seen if seen.describe() == what]


# --- sound and keys ---


@pytest.mark.parametrize(("kind", "peak", "worst"), [(0, 32124, 644), (8, 32256, 512)])
def test_g711_has_the_levels_of_the_standard_and_errs_by_half_a_step(
    kind: int, peak: int, worst: int
) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    back = decode(encode(every, kind), kind)
    assert LEVELS[kind].max() == peak and np.abs(back.astype(int) - every).max() <= worst
    assert np.array_equal(decode(encode(LEVELS[kind], kind), kind), LEVELS[kind])


def test_played_samples_come_once_or_round_and_round() -> None:
    ramp = np.arange(1, 321, dtype=np.int16)
    once, forever = Playback(ramp), Playback(ramp, loop=True)
    assert [int(once.frame()[0]) for _ in range(3)] == [1, 161, 0]
    assert [int(forever.frame()[0]) for _ in range(3)] == [1, 161, 1]


def test_a_click_leaves_at_its_instant(loop: Loop, desk: Phone, caller: Phone) -> None:
    call, operator = connected(caller, desk)
    at = loop.next_frame_ns() + 200_000_000
    for end, other in ((call.rtp, operator.rtp), (operator.rtp, call.rtp)):
        end.overlay(tone(1000, 0.1), at)
        other.wait_tone(1000)
        loud = [packet for packet in other.heard if np.abs(decode(packet.payload, 8)).max() > 500]
        assert loud[0].at_ns >= at and len(loud) <= 5


def test_rfc4733_keys_keep_their_shape(loop: Loop, desk: Phone, caller: Phone) -> None:
    call, operator = connected(caller, desk)
    call.pressed_ns(call.press("9", ms=80, lose=2))
    loop.wait_for(
        lambda: sum(p.payload_type == 101 for p in operator.rtp.heard) == 4, PATIENCE_S, "rest of the event"
    )
    events = [p for p in operator.rtp.heard if p.payload_type == 101]
    assert [(p.payload[0], p.payload[1] >> 7, int.from_bytes(p.payload[2:])) for p in events] == [
        (9, 0, 480), (9, 1, 640), (9, 1, 640), (9, 1, 640),
    ]  # fmt: skip
    assert len({p.timestamp for p in events}) == 1


# --- calls ---


# --- messages ---


def test_the_digest_of_rfc_2617_passes_and_another_password_does_not() -> None:
    given = {
        "username": "Mufasa", "realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html", "qop": "auth", "nc": "00000001", "cnonce": "0a4f113b",
    }  # fmt: skip
    response = "6629fae49393a05397450978507c4ef1"  # RFC 2617, 3.5
    assert digest(given, "Circle Of Life", "GET") == response
    fields = ", ".join(f'{name}="{value}"' for name, value in {**given, "response": response}.items())
    request = Message("GET x SIP/2.0", (("Proxy-Authorization", f"Digest {fields}"), ("CSeq", "1 GET")))
    assert Challenge("testrealm@host.com", "Mufasa", "Circle Of Life").passed_by(request)
    assert not Challenge("testrealm@host.com", "Mufasa", "other").passed_by(request)


def test_reading_what_others_write() -> None:
    """White space, too, where the grammar has it (RFC 4475)."""
    text = 'INVITE sip:a@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9\r\nf: "A; b" <sip:x@y>;tag=1\r\n\r\n'
    message = Message.parse(text.encode())
    assert (message.method, message.branch) == ("INVITE", "z9")
    assert (uri_of(message.header("From")), parameter(message.header("From"), "tag")) == ("sip:x@y", "1")
    assert Media.parse(b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 0 RTP/AVP 0\r\n") is None
    with pytest.raises(ValueError, match="not SIP"):
        Message.parse(b"GET / HTTP/1.1\r\n\r\n")
    message = Message.parse(WSINV.encode())
    tags = [parameter(message.header(name), "tag") for name in ("From", "To")]
    assert (tags, message.branch) == (["98asjd8", "1918181833n"], "390skdjuw")
    assert message.all("Via")[1].endswith("branch= z9hG4bK30239")


def test_a_packet_that_somebody_else_took_stops_nothing(loop: Loop, desk: Phone, caller: Phone) -> None:
    """select(2) may tell of one that is not there; nobody then waits for it with all phones' lock in hand."""
    call, there = connected(caller, desk)
    tried: list[BaseException] = []

    def takes_nothing() -> None:
        try:
            there.rtp._receive()
            there.rtp._receive()  # the next one comes in 20 ms
        except BlockingIOError as nothing:
            tried.append(nothing)
            raise

    with loop.lock:
        loop.unwatch(there.rtp._socket)
        loop.watch(there.rtp._socket, takes_nothing)
    loop.wait_for(lambda: len(tried) > 5, PATIENCE_S, "packet")
    call.hang_up()
    there.wait_ended()

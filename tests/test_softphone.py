"""The softphone against itself: two phones on loopback, real packets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Call, Loop, Phone
from sipagent.softphone.rtp import LEVELS, decode, encode
from sipagent.softphone.sip import Media, Message, parameter, uri_of
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


# --- sound and keys ---


@pytest.mark.parametrize(("kind", "peak", "worst"), [(0, 32124, 644), (8, 32256, 512)])
def test_g711_has_the_levels_of_the_standard_and_errs_by_half_a_step(
    kind: int, peak: int, worst: int
) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    back = decode(encode(every, kind), kind)
    assert LEVELS[kind].max() == peak and np.abs(back.astype(int) - every).max() <= worst
    assert np.array_equal(decode(encode(LEVELS[kind], kind), kind), LEVELS[kind])


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

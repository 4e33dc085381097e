"""The softphone against itself: two phones on loopback, real packets."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

import numpy as np
import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Challenge, Loop, Phone, PhoneError, PhoneTimeout
from sipagent.softphone.rtp import LEVELS, Playback, SteadyTone, decode, encode, key_tones, strongest, tone
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


@pytest.mark.parametrize(("kind", "peak", "worst"), [(0, 32124, 644), (8, 32256, 512)])
def test_g711_has_the_levels_of_the_standard_and_errs_by_half_a_step(
    kind: int, peak: int, worst: int
) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    back = decode(encode(every, kind), kind)
    assert LEVELS[kind].max() == peak
    assert np.abs(back.astype(int) - every).max() <= worst
    assert np.array_equal(decode(encode(LEVELS[kind], kind), kind), LEVELS[kind])


def test_sound_flows_both_ways_and_gaps_are_seen(loop: Loop, desk: Phone, caller: Phone) -> None:
    desk.sound, caller.sound = (lambda: SteadyTone(700)), (lambda: SteadyTone(440))
    call = caller.call(desk.uri)
    operator = desk.wait_call()
    call.rtp.wait_tone(700)
    last = operator.rtp.wait_tone(440)
    call.rtp.play(None)
    with pytest.raises(PhoneTimeout, match="tone of 900 Hz"):
        operator.rtp.wait_tone(900, timeout=0.5)
    heard = operator.rtp.listen(last)
    assert 0.4 <= heard.longest_silence_s() <= 0.7


def test_a_click_sent_by_both_at_one_instant_leaves_both_in_one_tick(
    loop: Loop, desk: Phone, caller: Phone
) -> None:
    call = caller.call(desk.uri)
    call.wait_answered()
    operator = desk.wait_call()
    operator.wait_acked()
    at = loop.next_frame_ns() + 200_000_000
    for end in (call.rtp, operator.rtp):
        end.overlay(tone(1000, 0.1), at)
    for end in (call.rtp, operator.rtp):
        end.wait_tone(1000)
    first, second = (
        next(p.at_ns for p in end.heard if np.abs(decode(p.payload, p.payload_type)).max() > 500)
        for end in (call.rtp, operator.rtp)
    )
    assert min(first, second) >= at
    assert abs(first - second) < 20_000_000


def test_rfc4733_keys_keep_their_shape(loop: Loop, desk: Phone, caller: Phone) -> None:
    call = caller.call(desk.uri)
    call.wait_answered()
    operator = desk.wait_call()
    call.pressed_ns(call.press("9", ms=80, lose=2))
    loop.wait_for(
        lambda: sum(p.payload_type == 101 for p in operator.rtp.heard) == 4, PATIENCE_S, "rest of the event"
    )
    events = [p for p in operator.rtp.heard if p.payload_type == 101]
    assert [p.payload[0] for p in events] == [9] * 4
    assert [p.payload[1] >> 7 for p in events] == [0, 1, 1, 1]
    assert [int.from_bytes(p.payload[2:]) for p in events] == [480, 640, 640, 640]
    assert len({p.timestamp for p in events}) == 1


def test_inband_keys_are_the_two_tones(loop: Loop, desk: Phone, caller: Phone) -> None:
    call = caller.call(desk.uri)
    call.wait_answered()
    operator = desk.wait_call()
    pressed = call.pressed_ns(call.press("9", "inband", ms=200))
    low, high = key_tones("9")
    assert (low, high) == (852.0, 1477.0)
    operator.wait_acked()
    for frequency in (852, 1477):
        one = strongest(tone((low, high), 0.1))
        assert one is not None
        assert min(abs(one - low), abs(one - high)) < 15, frequency
    loop.wait_for(
        lambda: any(p.at_ns > pressed + 250_000_000 for p in operator.rtp.heard[-1:]),
        5,
        "sound after the key",
    )
    spectrum = np.abs(np.fft.rfft(operator.rtp.listen(pressed, pressed + 150_000_000).samples))
    peaks = np.argsort(spectrum)[-2:] * 8000 / (2 * len(spectrum) - 2)
    assert sorted(peaks) == pytest.approx([852, 1477], abs=15)


@pytest.mark.parametrize(
    ("way", "kind", "body"),
    [
        ("info", "application/dtmf-relay", b"Signal=9\r\nDuration=80\r\n"),
        ("info-dtmf", "application/dtmf", b"9"),
    ],
)
def test_info_keys(desk: Phone, caller: Phone, way: str, kind: str, body: bytes) -> None:
    call = caller.call(desk.uri)
    call.wait_answered()
    call.press("9", "info" if way == "info" else "info-dtmf")
    desk.wait_at("INFO received")
    info = next(one.message for one in desk.seen if one.message.method == "INFO")
    assert (info.header("Content-Type"), info.body) == (kind, body)


def test_hold_is_seen_and_answered(desk: Phone, caller: Phone) -> None:
    call = caller.call(desk.uri)
    call.wait_answered()
    operator = desk.wait_call()
    call.hold()
    assert call.media is not None
    assert call.media.direction == "recvonly"
    call.resume()
    operator.hold("inactive")
    assert operator.directions == ["sendrecv", "sendonly", "sendrecv", "inactive"]


@pytest.mark.parametrize("status", [480, 486, 603])
def test_a_busy_or_unwilling_phone_says_so(desk: Phone, caller: Phone, status: int) -> None:
    desk.answer = Answering(status=status, headers=(("Retry-After", "3"),))
    call = caller.call(desk.uri)
    assert call.wait_status() == status
    desk.wait_at("ACK received")
    assert call.final is not None
    assert call.final.header("Retry-After") == "3"
    with pytest.raises(PhoneError, match=str(status)):
        call.wait_answered()


def test_cancel_while_it_rings(desk: Phone, caller: Phone) -> None:
    desk.answer = Answering(status=None)
    call = caller.call(desk.uri)
    call.cancel()
    assert call.wait_status() == 487
    assert desk.wait_call().ended_by == "them"
    desk.wait_at("ACK received")


def test_hanging_up_from_either_side(desk: Phone, caller: Phone) -> None:
    for side in ("caller", "operator"):
        call = caller.call(desk.uri)
        call.wait_answered()
        operator = desk.wait_call()
        operator.wait_acked()
        (call if side == "caller" else operator).hang_up()
        assert call.wait_ended() and operator.wait_ended()
        assert (call.ended_by == "us") == (side == "caller")


def test_a_phone_without_power_is_never_heard(desk: Phone, caller: Phone) -> None:
    desk.answer = Answering(silent=True)
    call = caller.call(desk.uri)
    desk.wait_at("INVITE received", nth=1)  # repeated, as nobody answers
    with pytest.raises(PhoneTimeout, match="answer"):
        call.wait_answered(timeout=0.1)


def test_a_challenge_turns_away_who_has_no_credentials(desk: Phone, caller: Phone) -> None:
    desk.challenge = Challenge("pbx", "agent", "secret")
    assert caller.call(desk.uri).wait_status() == 407
    assert desk.calls == []


def test_the_digest_of_rfc_2617_passes_and_another_password_does_not() -> None:
    given = {
        "username": "Mufasa",
        "realm": "testrealm@host.com",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "0a4f113b",
    }
    response = "6629fae49393a05397450978507c4ef1"  # RFC 2617, 3.5
    assert digest(given, "Circle Of Life", "GET") == response
    fields = ", ".join(f'{name}="{value}"' for name, value in {**given, "response": response}.items())
    request = Message("GET x SIP/2.0", (("Proxy-Authorization", f"Digest {fields}"), ("CSeq", "1 GET")))
    assert Challenge("testrealm@host.com", "Mufasa", "Circle Of Life").passed_by(request)
    assert not Challenge("testrealm@host.com", "Mufasa", "other").passed_by(request)


def test_reading_what_others_write() -> None:
    text = 'INVITE sip:a@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9\r\nf: "A; b" <sip:x@y>;tag=1\r\n\r\n'
    message = Message.parse(text.encode())
    assert (message.method, message.branch) == ("INVITE", "z9")
    assert (uri_of(message.header("From")), parameter(message.header("From"), "tag")) == ("sip:x@y", "1")
    assert Media.parse(b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 0 RTP/AVP 0\r\n") is None
    with pytest.raises(ValueError, match="not SIP"):
        Message.parse(b"GET / HTTP/1.1\r\n\r\n")


def test_white_space_may_stand_where_the_grammar_has_it() -> None:
    message = Message.parse(WSINV.encode())
    tags = [parameter(message.header(name), "tag") for name in ("From", "To")]
    assert (tags, message.branch) == (["98asjd8", "1918181833n"], "390skdjuw")
    assert message.all("Via")[1].endswith("branch= z9hG4bK30239")


def test_garbage_is_counted_and_survived(loop: Loop, desk: Phone, caller: Phone) -> None:
    with loop.lock:
        caller._socket.sendto(b"\xff\xfe no sip\r\n\r\n", desk.address)
    loop.wait_for(lambda: desk.malformed == 1, PATIENCE_S, "count of garbage")
    assert caller.call(desk.uri).wait_status() == 200


def test_raw_headers_and_sdp_go_out_as_given(desk: Phone, caller: Phone) -> None:
    hostile = '"../../x\\"" <sip:../../etc@127.0.0.1>'
    call = caller.call(desk.uri, from_header=hostile, headers=(("Privacy", "id"),), sdp=b"v=0\r\n")
    call.wait_answered()
    invite = desk.seen[0].message
    assert invite.header("From").startswith(hostile)
    assert (invite.header("Privacy"), invite.body) == ("id", b"v=0\r\n")


def test_played_samples_come_once_or_round_and_round() -> None:
    ramp = np.arange(1, 321, dtype=np.int16)
    once, forever = Playback(ramp), Playback(ramp, loop=True)
    assert [int(once.frame()[0]) for _ in range(3)] == [1, 161, 0]
    assert [int(forever.frame()[0]) for _ in range(3)] == [1, 161, 1]


def test_a_call_that_replaces_another_takes_its_place(loop: Loop, desk: Phone, caller: Phone) -> None:
    """RFC 3891: answered at once, and the one that it replaces is ended; one that names none is told 481."""
    desk.answer = Answering(after_s=0.0)
    first = caller.call(desk.uri)
    first.wait_answered()
    operator = desk.wait_call()
    operator.wait_acked()
    desk.answer = Answering(status=None)
    named = unquote(operator.replacing().partition("=")[2])
    with Phone(loop, "203") as colleague:
        assert colleague.call(desk.uri, headers=(("Replaces", f"x{named}"),)).wait_status() == 481
        second = colleague.call(desk.uri, headers=(("Replaces", named),))
        second.wait_answered()
        first.wait_ended()
        assert (first.ended_by, desk.wait_call().answered_ns is not None) == ("them", True)
        assert colleague.call(desk.uri, headers=(("Replaces", named),)).wait_status() == 481  # over


def test_an_offer_that_is_refused_is_acknowledged_and_leaves_the_call_as_it_was(
    loop: Loop, desk: Phone, caller: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = caller.call(desk.uri)
    call.wait_answered()
    operator = desk.wait_call()
    operator.wait_acked()
    monkeypatch.setattr(operator, "_answer_offer", lambda message: desk.respond(message, 488, operator._tag))
    with pytest.raises(PhoneError, match="488"):
        call.hold()
    desk.wait_at("ACK received", 1)
    refused = [seen.message for seen in desk.seen if seen.describe() == "488 INVITE sent"][-1]
    ack = [seen.message for seen in desk.seen if seen.describe() == "ACK received"][-1]
    assert (ack.branch, ack.header("CSeq").split()[0]) == (refused.branch, refused.header("CSeq").split()[0])
    assert (call.ended_ns, operator.ended_ns) == (None, None)


def test_a_packet_that_somebody_else_took_stops_nothing(loop: Loop, desk: Phone, caller: Phone) -> None:
    """select(2) may tell of one that is not there; nobody then waits for it with all phones' lock in hand."""
    call = caller.call(desk.uri)
    there = desk.wait_call()
    call.wait_answered()
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

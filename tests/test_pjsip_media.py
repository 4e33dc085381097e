"""The engine for real: its sounds, and whose sound and keys a leg hears, whoever else sends to its port."""

import ast
import base64
import ctypes
import importlib
import sys
import time
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import prompts
from media.frame import FRAME_SAMPLES, Samples
from sipagent.agent.engine import EngineFault, ForeignMedia, Gap, SoundEnded
from sipagent.agent.quality import Stream
from sipagent.call import events as e
from sipagent.pjsip import library, media_sources
from sipagent.pjsip.ears import RING_TICKS, TICK, TICK_BYTES, Ear
from sipagent.sip.packet_filter import Place
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call
from sipagent.softphone.rtp import FRAME, SteadyTone, decode, encode, strongest
from sipagent.softphone.sip import sdp
from tests import tiers
from tests.loopback import CALLER_HZ, DESK_HZ, ROOT, Loopback, scene
from tests.peers.stranger import Stranger
from tests.raising import raising
from tests.relay import FarPhone, Mix

SHORT = Path(prompts.__file__).parent / "tones" / "recording_on.wav"
MUSIC = Path(prompts.__file__).parent / "hold.wav"
FOREIGN_HZ = 2000.0
ELSEWHERE, GATEWAY = "127.0.0.9", "127.0.0.7"
TRUNK = (ip_network(f"{ELSEWHERE}/32"),)


# --- what is counted of streams ---


@scene
def test_what_a_line_loses_is_counted_to_the_packet_also_across_a_hold(office: Loopback) -> None:
    lossy = FarPhone(office.loop, "+33612345678")
    lossy.sound, lossy.mixes = (lambda: SteadyTone(CALLER_HZ)), (Mix(loss=0.1, burst=2, seed=3), Mix())
    office.stack.enter_context(lossy)
    call, leg = office.answered(lossy)
    office.engine.listen(leg)
    office.frames(call, 3.0)
    call.rtp.play(None)
    office.hears(leg, 0.3)  # also what is on the way
    way = lossy.line.there
    (first,) = office.engine.streams(leg)
    assert (first.codec, first.packets) == ("PCMA", way.fates.count(False))
    assert (first.lost, first.bursts) == (way.lost, way.bursts) and first.lost > first.bursts > 2
    assert first.concealed_ms >= first.lost * 20 and 0 < first.jitter_ms < 20
    office.meanwhile(call.hold)
    call.rtp.play(SteadyTone(CALLER_HZ))
    office.meanwhile(call.resume)
    office.frames(call, 0.5)
    office.hangs_up(call, leg)
    streams = office.engine.streams(leg)
    assert (streams[0].packets, streams[0].lost) == (first.packets, first.lost) and streams[-1].packets > 10
    assert office.engine.streams(leg) == ()


PCMA = 8


class Numbered:
    """Noise of which each 5 ms are known again."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(7)
        self.parts: set[bytes] = set()

    def frame(self) -> Samples:
        noise = self._random.integers(-9000, 9000, FRAME).astype(np.int16)
        self.parts |= {part.tobytes() for part in np.split(decode(encode(noise, PCMA), PCMA), 4)}
        return noise


def made_up(sound: Samples, sent: set[bytes]) -> list[int]:
    """Of each tick how many of its four parts were never sent."""
    made = [part.tobytes() not in sent for part in np.split(sound, len(sound) // (TICK // 4))]
    return [sum(made[at : at + 4]) for at in range(0, len(made), 4)]


LINES = (
    Mix(),
    Mix(loss=0.05, seed=1),
    Mix(loss=0.1, burst=3, seed=2),
    Mix(loss=0.5, burst=30, seed=3),
    Mix(loss=0.03, jitter_ms=60, seed=4),
    Mix(loss=0.02, reorder=0.05, seed=5),
)


@scene
def test_what_is_made_up_where_nothing_came_is_named_to_the_tick_and_nothing_else(stack: ExitStack) -> None:
    """Each tick that was handed over is either what was sent, or named."""
    gaps: dict[int, list[tuple[int, int, str]]] = {}  # of each leg, each by its ticks
    office = Loopback(stack, gap=lambda leg, gap: gaps.setdefault(leg, []).append(place(leg, gap)))

    def place(leg: int, gap: Gap) -> tuple[int, int, str]:
        end = sum(map(len, office.heard[leg])) - gap.back
        assert end % TICK == gap.samples % TICK == 0
        return (end - gap.samples) // TICK, end // TICK, gap.why

    for lines in (LINES[:3], LINES[3:]):
        up: list[tuple[Mix, Numbered, Call, int]] = []
        for number, mix in enumerate(lines):
            sound, far = Numbered(), FarPhone(office.loop, f"+3361234567{number}")
            far.sound, far.mixes = (lambda sound=sound: sound), (mix, Mix())
            office.stack.enter_context(far)
            up.append((mix, sound, *office.answered(far)))
        for *_, leg in up:
            office.engine.listen(leg)
        office.frames(up[-1][2], tiers.depth(3, 20))
        for mix, sound, call, leg in up:
            office.engine.catch_up([leg])
            truth = made_up(office.sound_of(leg), sound.parts)
            named = ["" for _ in truth]
            for start, end, why in gaps.get(leg, []):
                named[start:end] = [why] * (end - start)
            settled = slice(5, len(truth) - 5)  # the first may be from before; the last are named later
            pairs = [*zip(truth[settled], named[settled], strict=True)]
            assert [pair for pair in pairs if pair[0] == 4 and not pair[1]] == [], mix
            assert [pair for pair in pairs if pair[0] < 2 and pair[1]] == [], mix
            assert mix == Mix() or any(why for _, why in pairs), mix
            assert ("nothing_came" in named) is (mix.burst > 15), mix
            office.hangs_up(call, leg)


def counted(gaps: tuple[int, int], **others: int) -> Any:
    """A call of which the library has counted so many gaps, of so many µs on average."""
    many = {"pkt": 95, "loss": 5, "bytes": 95 * 160, "discard": 6, "lost": 0, "empty": 0, "trips": 1} | others
    found = SimpleNamespace(**many, frameSize=80, avgDelayMsec=30)
    found.lossPeriodUsec = SimpleNamespace(n=gaps[0], mean=gaps[1])
    found.jitterUsec = SimpleNamespace(n=90, mean=2500)
    found.rttUsec = SimpleNamespace(n=found.trips, mean=40_500)
    stat = SimpleNamespace(rtcp=SimpleNamespace(rxStat=found, rttUsec=found.rttUsec), jbuf=found)
    codec = SimpleNamespace(info=SimpleNamespace(avgBps=64_000))
    kind = found.kind if "kind" in others else importlib.import_module("pjsua2").PJMEDIA_TYPE_AUDIO
    info = SimpleNamespace(type=kind, codecName="PCMA", audCodecParam=codec)
    return SimpleNamespace(getId=lambda: 0, getStreamStat=lambda _: stat, getStreamInfo=lambda _: info)


def test_a_packet_that_was_overtaken_leaves_no_gap() -> None:
    """Two gaps of five packets, and three of one packet each, which came later."""
    found = library.stream_counted(counted((5, 32_000), lost=2, empty=4), 0)
    assert found == Stream(
        "PCMA", 95, 5, 2, late=3, concealed_ms=100, jitter_ms=2.5, rtt_ms=40.5, buffer_ms=30
    )
    none = library.stream_counted(counted((3, 20_000), loss=0, discard=0, trips=0), 0)
    assert none == Stream("PCMA", 95, jitter_ms=2.5, buffer_ms=30)
    empty = library.stream_counted(counted((0, 0), loss=0, discard=2, bytes=0), 0)
    assert empty is not None and empty.packets == 95, "whose packets have no sound"


def test_a_stream_of_another_kind_is_asked_for_nothing() -> None:
    """Text and video have no jitter buffer of ours: an assertion ends the process that asks for it."""
    call = counted((0, 0), kind=-1)
    call.getStreamStat = None
    assert library.stream_counted(call, 0) is None


# --- sounds ---


def test_the_stub_names_nothing_that_the_library_lacks() -> None:
    """mypy compares the program with the stub, and nothing else the stub with the library."""
    pjsua2 = importlib.import_module("pjsua2")
    for node in ast.parse((ROOT / "typings" / "pjsua2.pyi").read_text()).body:
        if isinstance(node, ast.AnnAssign):
            assert hasattr(pjsua2, ast.unparse(node.target))
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                name = ast.unparse(member.target) if isinstance(member, ast.AnnAssign) else ""
                name = member.name if isinstance(member, ast.FunctionDef) else name
                assert not name or hasattr(getattr(pjsua2, node.name), name), f"{node.name}.{name}"


@scene
def test_what_a_leg_sends_is_handed_over_as_it_comes_and_silence_has_its_length(office: Loopback) -> None:
    call, leg = office.answered()
    _, silent = office.answered(office.phone("2", 500))
    office.engine.listen(leg)
    office.hears(leg, 1.5)
    assert max(len(samples) for samples in office.heard[leg]) <= FRAME_SAMPLES
    assert office.heard[leg][0].dtype == np.int16 and silent not in office.heard
    assert strongest(office.sound_of(leg)[-4000:]) == pytest.approx(CALLER_HZ, abs=10)
    office.meanwhile(lambda: call.hold("inactive"))
    office.hears(leg, 1.0)
    assert not office.sound_of(leg)[-4000:].any()


def without_python(ear: Ear, ticks: int) -> None:
    """Let no other thread of Python's run until the bridge has given an ear so much more."""
    sys.setswitchinterval(PATIENCE_S)
    until, enough = time.monotonic() + PATIENCE_S, ear._recorder.total + ticks * TICK_BYTES
    while ear._recorder.total < enough:
        assert time.monotonic() < until, "the bridge's clock waits"
    sys.setswitchinterval(0.005)


@scene
def test_the_bridges_clock_waits_for_no_python_and_what_is_missed_is_known(stack: ExitStack) -> None:
    """Where a ring has been written over, silence of the right length can stand."""
    missed: list[tuple[int, int]] = []
    office = Loopback(stack, missed=lambda leg, samples, at: missed.append((leg, samples)))
    _, leg = office.answered()
    office.engine.listen(leg)
    office.hears(leg, 0.5)
    ear, before = office.engine.sound.ears._of_leg[leg], len(office.sound_of(leg))
    without_python(ear, 25)
    office.engine.catch_up((leg,))
    assert len(office.sound_of(leg)) >= before + 25 * TICK and missed == []
    before = len(office.sound_of(leg))
    without_python(ear, RING_TICKS + 50)
    office.engine.catch_up((leg,))
    assert len(office.sound_of(leg)) == before + (RING_TICKS - 1) * TICK
    ((_, samples),) = missed
    assert samples >= 51 * TICK and samples % TICK == 0


class PjFrame(ctypes.Structure):
    """A `pjmedia_frame` of sound (frame.h)."""

    _fields_ = (
        *(("type", ctypes.c_int), ("samples", ctypes.c_void_p), ("size", ctypes.c_size_t)),
        *(("timestamp", ctypes.c_uint64), ("bits", ctypes.c_uint32)),
    )


@scene
def test_each_sample_of_a_ring_is_taken_once_or_missed_whenever_that_is(office: Loopback) -> None:
    ear = Ear(office.engine.sound.ears.pool)
    put = library.LIBRARY.pjmedia_port_put_frame
    rng, given, had = np.random.default_rng(5), 0, 0
    for ticks in [1, 0, RING_TICKS - 1, 3, RING_TICKS, 2, RING_TICKS + 1, 700, *rng.integers(0, 600, 60)]:
        for _ in range(ticks):
            samples = np.arange(given, given + TICK).astype(np.int16)
            put(ear.port, ctypes.byref(PjFrame(1, samples.ctypes.data, 2 * TICK)))
            given += TICK
        lost, taken = ear.take()
        assert lost == max(0, given - had - (RING_TICKS - 1) * TICK)
        assert np.array_equal(taken, np.arange(had + lost, given).astype(np.int16))
        had = given


@scene
def test_what_one_leg_sent_is_never_told_of_another(office: Loopback) -> None:
    """The ears of legs that have ended are used again."""
    for count in range(3):
        hz = 500.0 + 200 * count
        call, leg = office.answered(office.phone(str(count), hz))
        office.engine.listen(leg)
        office.hears(leg, 1.0)
        office.hangs_up(call, leg)
        heard = len(office.heard[leg])
        office.until(lambda: bool(office.engine.sound.ears._free), "an ear that is free")
        assert len(office.heard[leg]) == heard
        assert strongest(office.sound_of(leg)) == pytest.approx(hz, abs=10)
        assert strongest(office.sound_of(leg)[:800]) in (None, pytest.approx(hz, abs=40))
    assert len(office.engine.sound.ears._free) == 1


@scene
def test_a_sound_is_heard_and_its_end_reported_but_not_of_one_that_was_stopped(office: Loopback) -> None:
    call, leg = office.answered()
    music = office.engine.play(leg, MUSIC, loop=True)
    office.until(lambda: any(call.rtp.listen().tones()), "music")
    instead = office.engine.play(leg, SHORT, loop=False)
    office.until(lambda: SoundEnded(leg, instead) in office.reports, "end of the sound")
    office.engine.stop_playing(leg)
    office.frames(call, 1.5)
    assert office.of(SoundEnded) == [SoundEnded(leg, instead)] and music != instead
    assert not any(call.rtp.listen(time.monotonic_ns() - 500_000_000).tones())
    token = office.engine.play(leg, ROOT / "pyproject.toml", loop=False)
    office.engine.overlay((leg,), ROOT / "nothing.wav")
    office.until(lambda: SoundEnded(leg, token) in office.reports, "end of what cannot be played")
    told = [fault.reason for fault in office.of(EngineFault)]
    assert ["pyproject.toml" in told[0], "nothing.wav" in told[1]] == [True, True]
    office.faults = 2


@scene
def test_how_much_of_a_sound_has_left_is_counted_by_its_packets(stack: ExitStack) -> None:
    """In each codec; nothing of another sound, nor of what went before the leg's media changed."""
    office = Loopback(stack, codecs=("PCMA", "G722", "GSM"))

    def passes(seconds: float) -> None:
        until = time.monotonic() + seconds
        office.until(lambda: time.monotonic() >= until, "end of a while")

    for kind, name in ((9, "G722"), (3, "GSM")):
        offer = sdp(office.caller.address, [8], None, "sendrecv", 1).decode()
        wanted = offer.replace("AVP 8", f"AVP {kind}").replace("8 PCMA", f"{kind} {name}")
        _, leg = office.answered(sdp=wanted.encode())
        token = office.engine.play(leg, MUSIC, loop=False)
        passes(0.5)
        assert office.engine.sent_ms(leg, token) == pytest.approx(500, abs=200)
    call, leg = office.answered(office.desk)
    passes(0.4)
    before = office.engine.play(leg, MUSIC, loop=False)
    token = office.engine.play(leg, MUSIC, loop=False)
    assert office.engine.sent_ms(leg, token) < 40
    passes(1.0)
    assert office.engine.sent_ms(leg, token) == pytest.approx(1000, abs=300)
    assert office.engine.sent_ms(leg, before) == office.engine.sent_ms(99, token) == 0
    office.meanwhile(lambda: call.hold("inactive"))
    held_ms = office.engine.sent_ms(leg, token)
    passes(0.4)
    assert office.engine.sent_ms(leg, token) == held_ms < 200  # nothing leaves


@scene
def test_two_sides_hear_what_is_laid_over_them(office: Loopback) -> None:
    (call, leg), (talk, operator) = office.talking()
    for phone in (call, talk):
        phone.rtp.play(None)
    office.engine.overlay((leg, operator), SHORT)
    now = time.monotonic_ns()
    office.until(lambda: all(any(one.rtp.listen(now).tones()) for one in (call, talk)), "tone on both sides")
    office.hangs_up(call, leg)
    office.engine.hang_up(operator)
    office.gone(operator, 200)
    office.until(lambda: office.engine.legs == 0, "end of the legs")


# --- strangers ---


def everywhere(office: Loopback) -> list[tuple[str, int]]:
    first, last = office.engine.settings.rtp_ports
    return [("127.0.0.1", port) for port in range(first, last + 1)]


def where(call: Call) -> tuple[str, int]:
    assert call.media
    return call.media.address


def tones(samples: Samples) -> set[float | None]:
    """All that was heard, in steps of 0.1 s."""
    steps = [strongest(samples[at : at + 800]) for at in range(0, len(samples) - 799, 800)]
    return {None if one is None else round(one, -2) for one in steps}


def sprays(office: Loopback, stranger: Stranger, leg: int, places: list[tuple[str, int]], key: str) -> None:
    """Sound and a key again and again, while the leg is heard."""
    for _ in range(6):
        stranger.say(places, FOREIGN_HZ)
        stranger.press(places, key)
        office.hears(leg, 0.1)


@scene
def test_who_sprays_all_ports_is_neither_heard_nor_obeyed_nor_sent_to(office: Loopback) -> None:
    """On a caller's leg, before the call, while it is answered and in its midst; and on an operator's."""
    stranger = office.stack.enter_context(Stranger())
    stranger.say(everywhere(office), FOREIGN_HZ)
    _, leg = office.answered()
    office.engine.listen(leg)
    stranger.press(everywhere(office), "9")
    office.told(leg, e.MediaArrived(leg))
    sprays(office, stranger, leg, everywhere(office), "1")
    office.desk.answer = Answering(status=None)
    operator = office.dial()
    office.until(lambda: office.desk.calls, "ringing phone")
    office.engine.listen(operator)
    stranger.say(everywhere(office), FOREIGN_HZ)
    office.desk.calls[0].decide(200)
    office.told(operator, e.OperatorAnswered(operator, telephone_event=True))
    sprays(office, stranger, operator, everywhere(office), "7")
    assert tones(office.sound_of(leg)) <= {None, round(CALLER_HZ, -2)}
    assert tones(office.sound_of(operator)) <= {None, DESK_HZ}
    assert (office.keys(leg), office.keys(operator), stranger.heard()) == ("", "", 0)
    assert e.MediaFoundElsewhere(leg) not in office.facts(leg)


@scene
def test_the_ssrc_of_the_peer_is_no_pass_and_what_is_dropped_is_told(office: Loopback) -> None:
    """While the peer sends nothing, as a phone does whose user is muted; also after a hold."""
    call, leg = office.answered()
    office.engine.listen(leg)
    office.told(leg, e.MediaArrived(leg))
    with Stranger() as other:
        other.say([where(call)], FOREIGN_HZ, frames=30)
    office.until(lambda: office.of(ForeignMedia), "word of what was dropped")
    assert office.of(ForeignMedia) == [ForeignMedia(leg, 30)]
    stranger = office.stack.enter_context(Stranger(ssrc=call.rtp._ssrc))
    call.rtp.play(None)
    sprays(office, stranger, leg, [where(call)], "9")
    press = call.press("5")
    office.until(lambda: press.sent < 0, "end of the key")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    office.meanwhile(call.hold)
    office.meanwhile(call.resume)
    office.told(leg, e.LegResumed(leg))
    sprays(office, stranger, leg, [where(call)], "9")
    call.press("6")
    office.told(leg, e.DtmfPressed(leg, "6", "rfc4733"))
    assert (office.keys(leg), stranger.heard()) == ("56", 0)
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))


# --- where NAT stands between ---


def behind_nat(stack: ExitStack, *, speaks: bool, **settings: object) -> tuple[Loopback, Call, int]:
    """A caller whose SDP names an address that nobody reaches, and whose packets come from where SIP does."""
    office = Loopback(stack, callers=TRUNK, **settings)
    phone = office.phone("+33612345679", CALLER_HZ, ip=ELSEWHERE)
    call = phone.call(office.uri(), sdp=sdp(("10.1.2.3", 4000), (8, 0), 101, "sendrecv", 1))
    if not speaks:
        call.rtp.play(None)
    leg = office.incoming().leg
    office.engine.listen(leg)
    office.engine.answer(leg)
    office.until(lambda: e.CallConfirmed in map(type, office.facts(leg)), "ACK")
    return office, call, leg


@scene
def test_a_peer_behind_nat_is_found_where_its_packets_come_from(stack: ExitStack) -> None:
    """Its first packets are kept from the leg for 0.2 s, and are not others', whenever somebody counts. Who
    comes from there later is a stranger."""
    office, call, leg = behind_nat(stack, speaks=True)

    def counts() -> bool:
        office.engine.sources._count_at = 0.0
        return e.MediaArrived(leg) in office.facts(leg)

    office.until(counts, "the first packet that is heard")
    facts = office.facts(leg)
    assert office.of(ForeignMedia) == [] and e.MediaSourceFound(leg, own=True) in facts
    assert facts.index(e.MediaFoundElsewhere(leg)) < facts.index(e.MediaArrived(leg))
    office.engine.play(leg, MUSIC, loop=True)
    office.until(lambda: call.rtp.heard, "sound at the phone behind NAT")
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    office.hears(leg, 0.3)
    assert round(CALLER_HZ, -2) in tones(office.sound_of(leg))
    stranger = stack.enter_context(Stranger(ELSEWHERE))
    call.rtp.play(None)
    sprays(office, stranger, leg, everywhere(office), "9")
    assert (office.keys(leg), stranger.heard()) == ("5", 0)
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))


@scene
def test_who_is_kept_from_a_leg_that_is_not_heard_is_named_and_no_peer(stack: ExitStack) -> None:
    """It is the first who sends, it goes on for long, and the peer says nothing yet."""
    office, call, leg = behind_nat(stack, speaks=False)
    stranger = stack.enter_context(Stranger(GATEWAY))

    def told() -> bool:
        stranger.say(everywhere(office), FOREIGN_HZ, frames=2)
        stranger.press(everywhere(office), "1")
        return bool(office.of(ForeignMedia))

    office.until(told, "word of who sends")
    first = office.of(ForeignMedia)[0]
    assert (first.leg, first.heard, first.address) == (leg, False, GATEWAY)
    assert not any(isinstance(fact, e.MediaArrived | e.MediaFoundElsewhere) for fact in office.facts(leg))
    call.rtp.play(SteadyTone(CALLER_HZ))
    office.told(leg, e.MediaSourceFound(leg, own=True))
    office.told(leg, e.MediaArrived(leg))
    assert (office.keys(leg), stranger.heard()) == ("", 0)
    assert round(FOREIGN_HZ, -2) not in tones(office.sound_of(leg))


@scene
def test_where_the_trunk_sends_from_is_heard_and_not_known_to_be_the_callers(stack: ExitStack) -> None:
    office, _, leg = behind_nat(stack, speaks=False, media_sources=(ip_network(f"{GATEWAY}/32"),))
    gateway = stack.enter_context(Stranger(GATEWAY))

    def heard() -> bool:
        gateway.press(everywhere(office), "9")
        return "9" in office.keys(leg)

    office.until(heard, "a key from the trunk's gateway")
    office.told(leg, e.MediaSourceFound(leg, own=False))
    office.engine.trust(TRUNK)  # by a reload: for callers to come
    call = behind_nat_again(office)
    office.until(lambda: len(office.engine.sources._of) == 2, "the next caller")
    assert call and [one.source._networks == TRUNK for one in office.engine.sources._of.values()] == [
        False,
        True,
    ]


def behind_nat_again(office: Loopback) -> Call:
    return office.phone("+33612345670", CALLER_HZ, ip=ELSEWHERE).call(office.uri())


@scene
def test_the_library_tells_the_sockets_that_it_makes(stack: ExitStack) -> None:
    """Else each would be looked for among all that the process has: a call would cost more beside others."""
    office = Loopback(stack)
    media_sources._sockets = lambda: pytest.fail("all descriptors are looked at")
    call, leg = office.answered()
    office.told(leg, e.MediaArrived(leg))
    rung = office.engine.dial(office.desk.uri, '"REC"')
    office.until(lambda: office.engine.sources._sockets._at.keys() >= {*places(office, leg, rung)}, "sockets")
    office.told(rung, e.MediaArrived(rung))
    office.engine.hang_up(rung)
    office.gone(rung)
    office.hangs_up(call, leg)


def places(office: Loopback, *legs: int) -> list[Place]:
    """Those of RTP and RTCP."""
    found = [library.rtp_place(office.engine._legs[one], 0) or (0, 0) for one in legs]
    return [(version, port + more) for version, port in found for more in (0, 1)]


# --- where SDP changes ---


@scene
def test_sdp_alone_leads_to_another_peer(office: Loopback) -> None:
    """After a re-INVITE with another port the new one is heard, and the one before is a stranger. Before that
    what comes from an address that nothing names may be the new peer's refusal."""
    call, leg = office.answered()
    office.engine.listen(leg)
    office.told(leg, e.MediaSourceFound(leg, own=True))
    with office.loop.lock:
        before, call.rtp = call.rtp, office.caller.new_rtp()
        call.rtp.play(None)
    office.stack.callback(before.close)
    before.play(None)
    office.meanwhile(lambda: call.offer(call._sdp()))
    with Stranger() as elsewhere:

        def told() -> bool:
            elsewhere.press([where(call)], "9")
            return bool(office.of(ForeignMedia))

        office.until(told, "word of who is not heard")
    assert not office.of(ForeignMedia)[0].heard
    call.rtp.play(SteadyTone(DESK_HZ))
    office.until(lambda: office.facts(leg).count(e.MediaSourceFound(leg, own=True)) == 2, "the new peer")
    office.hears(leg, 0.3)
    office.heard[leg].clear()
    office.hears(leg, 0.5)
    assert tones(office.sound_of(leg)) == {DESK_HZ}
    before.press("9")
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    assert office.keys(leg) == "5"


# --- encrypted sound ---

KEY_BYTES = {"AES_CM_128": 30, "AES_256_CM": 46}  # with the salt: RFC 4568 section 6.2, RFC 6188 section 4.1


@scene
def test_each_suite_is_answered_as_it_is_offered(stack: ExitStack) -> None:
    """And none that the engine does not have; a caller who offers no key has a call in clear."""
    office = Loopback(stack, srtp="optional")
    for cipher, size in KEY_BYTES.items():
        for tag in ("80", "32"):
            suite = f"{cipher}_HMAC_SHA1_{tag}"
            call, leg = office.answered(sdp=offered(office, suite, size))
            assert call.final and f"a=crypto:1 {suite} inline:".encode() in call.final.body
            office.hangs_up(call, leg)
    call, leg = office.answered()
    assert call.final and b"RTP/AVP" in call.final.body and b"crypto" not in call.final.body
    office.hangs_up(call, leg)
    refused = office.caller.call(office.uri(), sdp=offered(office, "F8_128_HMAC_SHA1_80", 30))
    office.until(lambda: refused.status, "final status")
    assert refused.status == 406


def offered(office: Loopback, suite: str, size: int) -> bytes:
    plain = sdp(("127.0.0.1", 40000), (8,), None, "sendrecv", 1).replace(b"RTP/AVP", b"RTP/SAVP")
    return plain + f"a=crypto:1 {suite} inline:{base64.b64encode(bytes(range(size))).decode()}\r\n".encode()


@scene
def test_a_stream_is_told_once_also_where_more_were_offered_in_vain(stack: ExitStack) -> None:
    """With a key that is none. Told again, it is freed memory that would be read."""
    office = Loopback(stack, srtp="optional")
    call, leg = office.answered()
    more = sdp(("127.0.0.1", 40000), (8,), None, "sendrecv", 2).partition(b"m=")
    body = offered(office, "AES_CM_128_HMAC_SHA1_80", 1) + b"".join(more[1:])
    assert office.asks(call, "INVITE", body, ("Content-Type", "application/sdp")).status == 488
    office.hangs_up(call, leg)
    assert len(office.engine.streams(leg)) == 1


@scene
def test_a_leg_for_which_there_is_no_probe_is_heard_all_the_same(stack: ExitStack) -> None:
    gaps: list[Gap] = []
    office = Loopback(stack, gap=lambda leg, gap: gaps.append(gap))
    probes = office.engine.sound._probes
    assert probes
    probes.take = raising(OSError("no place for it"))  # type: ignore[method-assign]
    _, leg = office.answered()
    office.engine.listen(leg)
    office.hears(leg, 0.5)
    assert office.engine.has(leg) and gaps == []
    assert [fault.reason for fault in office.of(EngineFault)] == [
        "what the line of a leg loses is not told of its recording: no place for it"
    ]
    office.faults = 1

"""The engine for real: its sounds, and the library as it is described."""

import ast
import importlib
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import prompts
from sipagent.agent.engine import EngineFault, SoundEnded
from sipagent.call import events as e
from sipagent.pjsip import library
from sipagent.sip.messages import (
    body_of,
    challenge_realm,
    declines_recording,
    record_aware,
    takes_events,
    with_record,
)
from sipagent.softphone.rtp import strongest
from tests.loopback import CALLER_HZ, DESK_HZ, ROOT, Loopback, scene

SHORT = Path(prompts.__file__).parent / "tones" / "recording_on.wav"
MUSIC = Path(prompts.__file__).parent / "hold.wav"


# --- the library as it is described ---


def test_the_stub_names_nothing_that_the_library_lacks() -> None:
    library = importlib.import_module("pjsua2")
    for node in ast.parse((ROOT / "typings" / "pjsua2.pyi").read_text()).body:
        if isinstance(node, ast.AnnAssign):
            assert hasattr(library, ast.unparse(node.target))
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                name = ast.unparse(member.target) if isinstance(member, ast.AnnAssign) else ""
                name = member.name if isinstance(member, ast.FunctionDef) else name
                assert not name or hasattr(getattr(library, node.name), name), f"{node.name}.{name}"


@scene
def test_frames_are_read_as_they_lie_in_memory(stack: ExitStack) -> None:
    """The quick way gives what walking the vector gives, for every frame of a call."""
    assert library.vector_can_be_read()
    office = Loopback(stack)
    differing: list[int] = []

    def both(frame: object) -> object:
        quick, slow = library.samples_by_vector(frame), library.samples_by_walk(frame)  # type: ignore[arg-type]
        if not np.array_equal(quick, slow):
            differing.append(len(quick))
        return quick

    office.engine.samples_of = both  # type: ignore[assignment]
    call, leg = office.answered()
    office.engine.listen(leg)
    office.frames(call, 1.0)
    office.until(lambda: len(office.heard[leg]) > 10, "frames")
    assert differing == []


@pytest.mark.parametrize(
    "text, takes",
    [
        ("v=0\r\nm=audio 9 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", True),
        ("v=0\r\nm=audio 9 RTP/AVP 8 96\r\na=rtpmap:96 Telephone-Event/8000/1\r\n", True),
        ("v=0\r\nm=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n", False),
        # events of another codec's rate, which pjmedia does not take with ours
        ("v=0\r\nm=audio 9 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/48000\r\n", False),
        (
            "v=0\r\nm=audio 9 RTP/AVP 8\r\nm=audio 0 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n",
            False,
        ),
        ("", False),
    ],
)
def test_events_are_found_in_the_section_that_is_used(text: str, takes: bool) -> None:
    assert takes_events(text, 0) is takes


@pytest.mark.parametrize(
    ("header", "aware"),
    [
        ("Supported: 100rel, record-aware", True),
        ("k: Record-Aware", True),
        ("Require: record-aware", True),
        ("Supported: record-awareness", False),
        ("X-Supported: record-aware", False),
    ],
)
def test_who_understands_what_is_said_of_recording(header: str, aware: bool) -> None:
    """RFC 7866 section 6.1.1."""
    message = f"INVITE sip:a@b SIP/2.0\r\n{header}\r\n\r\nSupported: record-aware\r\n"
    assert record_aware(message) is aware


@pytest.mark.parametrize(
    ("line", "declines"),
    [
        ("a=recordpref:off", True),
        ("a=RECORDPREF: OFF ", True),
        ("a=recordpref:on", False),
        ("a=recordpref:pause", False),
        ("a=recordpref:nopreference", False),
        ("a=recordpref:offline", False),
        ("a=record:off", False),
        ("s=a=recordpref:off", False),
    ],
)
def test_a_wish_not_to_be_recorded(line: str, declines: bool) -> None:
    for place in ("v=0\r\n{}\r\nm=audio 9 RTP/AVP 8\r\n", "v=0\r\nm=audio 9 RTP/AVP 8\r\n{}"):
        assert declines_recording(place.format(line)) is declines
    assert body_of(f"INVITE sip:a@b SIP/2.0\r\n{line}\r\n\r\nv=0\r\n") == "v=0\r\n"


def test_what_becomes_of_the_sound_stands_with_the_sound() -> None:
    session, audio, video = (
        "v=0\r\ns=-\r\n",
        "m=audio 9 RTP/AVP 8\r\na=sendrecv\r\n",
        "m=video 0 RTP/AVP 96\r\n",
    )
    told = "a=record:on\r\n"
    assert with_record(session + audio, "on") == session + audio + told
    assert with_record(session + audio + video, "on") == session + audio + told + video
    assert with_record(session + video, "on") == session + video


@pytest.mark.parametrize(
    "header, realm",
    [
        ('WWW-Authenticate: Digest realm="pbx", nonce="1"', "pbx"),
        ('Proxy-Authenticate: digest nonce="1", realm = "a\\"b"', 'a"b'),
        ('WWW-Authenticate: Basic realm="pbx"', None),
        ('WWW-Authenticate: Digest realm="a\x1bb"', None),
        ("Server: x", None),
    ],
)
def test_the_realm_of_a_challenge(header: str, realm: str | None) -> None:
    assert challenge_realm(f"SIP/2.0 401 Unauthorized\r\n{header}\r\n\r\n") == realm


# --- sound ---


@scene
def test_a_sound_is_heard_and_its_end_reported(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    token = office.engine.play(leg, SHORT, loop=False)
    office.until(lambda: SoundEnded(leg, token) in office.reports, "end of the sound")
    office.until(lambda: any(call.rtp.listen().tones()), "sound at the phone")
    assert office.of(SoundEnded) == [SoundEnded(leg, token)]


@scene
def test_a_sound_that_is_stopped_reports_no_end_of_its_own(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    music = office.engine.play(leg, MUSIC, loop=True)
    office.until(lambda: any(call.rtp.listen().tones()), "music")
    instead = office.engine.play(leg, SHORT, loop=False)
    office.until(lambda: SoundEnded(leg, instead) in office.reports, "end of the sound")
    office.engine.stop_playing(leg)
    office.frames(call, 1.5)
    assert SoundEnded(leg, music) not in office.reports
    assert not any(call.rtp.listen(time.monotonic_ns() - 500_000_000).tones())


@scene
def test_a_sound_that_cannot_be_played_has_ended_at_once(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered()
    token = office.engine.play(leg, ROOT / "pyproject.toml", loop=False)
    office.engine.overlay((leg,), ROOT / "nothing.wav")
    office.until(lambda: SoundEnded(leg, token) in office.reports, "end of the sound")
    told = [fault.reason for fault in office.of(EngineFault)]
    assert ["pyproject.toml" in told[0], "nothing.wav" in told[1]] == [True, True]


@scene
def test_two_sides_hear_each_other_and_what_is_laid_over_them(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    talk, operator = office.dialled()
    office.engine.bridge(leg, operator)
    office.tone(call, DESK_HZ)
    office.tone(talk, CALLER_HZ)
    for phone in (call, talk):
        phone.rtp.play(None)
    office.engine.overlay((leg, operator), SHORT)
    now = time.monotonic_ns()
    office.until(
        lambda: any(call.rtp.listen(now).tones()) and any(talk.rtp.listen(now).tones()), "tone on both sides"
    )
    call.hang_up()
    office.told(leg, e.LegGone(leg, 200))
    office.engine.hang_up(operator)
    office.told(operator, e.LegGone(operator, 200))
    office.until(lambda: office.engine.legs == 0, "end of the legs")
    assert office.of(EngineFault) == []


@scene
def test_what_a_leg_sends_is_handed_over_in_tenths_of_a_second(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    _, silent = office.answered(office.phone("2", 500))
    office.engine.listen(leg)
    office.frames(call, 1.5)
    assert {len(samples) for samples in office.heard[leg]} == {800}
    assert office.heard[leg][0].dtype == np.int16
    assert strongest(office.sound_of(leg)[-4000:]) == pytest.approx(CALLER_HZ, abs=10)
    assert silent not in office.heard


@scene
def test_what_one_leg_sent_is_never_told_of_another(stack: ExitStack) -> None:
    """The ears of legs that have ended are used again."""
    office = Loopback(stack)
    for count in range(3):
        hz = 500.0 + 200 * count
        call, leg = office.answered(office.phone(str(count), hz))
        office.engine.listen(leg)
        office.frames(call, 1.0)
        call.hang_up()
        office.told(leg, e.LegGone(leg, 200))
        heard = len(office.heard[leg])
        office.until(lambda: bool(office.engine.sound._ears), "an ear that is free")
        assert len(office.heard[leg]) == heard
        assert strongest(office.sound_of(leg)) == pytest.approx(hz, abs=10)
        assert strongest(office.sound_of(leg)[:800]) in (None, pytest.approx(hz, abs=40))
    assert len(office.engine.sound._ears) == 1


@scene
def test_frames_come_also_while_a_leg_sends_nothing(stack: ExitStack) -> None:
    """The two channels of a recording stay together: silence has its length, too."""
    office = Loopback(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    office.until(lambda: leg in office.heard, "frames")
    office.meanwhile(lambda: call.hold("inactive"))
    before = len(office.heard[leg])
    office.until(lambda: len(office.heard[leg]) > before + 10, "frames during the hold")
    assert not office.sound_of(leg)[-4000:].any()

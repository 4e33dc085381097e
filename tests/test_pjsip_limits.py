"""The engine for real at its limits: what runs out costs one call, and is told."""

import errno
import importlib
import os
import resource
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import prompts
from sipagent.agent.engine import EngineFault, LegFailed, SoundEnded
from sipagent.call import events as e
from sipagent.config.layout import EngineLimits
from sipagent.pjsip import library, sound
from sipagent.service.children import asked
from tests.loopback import DESK_HZ, Loopback, scene

SHORT = Path(prompts.__file__).parent / "tones" / "recording_on.wav"
MUSIC = Path(prompts.__file__).parent / "hold.wav"


def slots_in_use() -> int:
    return int(library.LIBRARY.pjsua_conf_get_active_ports())


def test_what_an_engine_has_is_counted_in_a_process_that_ends() -> None:
    found: EngineLimits = asked("sipagent.pjsip.library:tell")[1]
    assert found.legs >= 4 and found.players >= 4 and found.handles >= 64
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert found.files <= most or most == resource.RLIM_INFINITY
    assert 1 <= found.alone <= found.calls <= found.legs // 2


@scene
def test_the_bridge_has_places_for_all_calls_of_the_process(stack: ExitStack) -> None:
    office = Loopback(stack, calls=40)
    assert office.engine.limits.slots == 40 * library.SLOTS_A_CALL
    assert office.engine.limits.handles >= 64
    assert "  " not in str(office.engine.limits)


def filled(office: Loopback, but: int) -> list[Any]:
    """Take all places of the bridge but so many; they are free again a tick after the list is emptied."""
    library, held = importlib.import_module("pjsua2"), []
    while slots_in_use() < office.engine.limits.slots - but:
        held.append(library.ToneGenerator())
        held[-1].createToneGenerator(8000, 1)
    return held


def fails_without_places(stack: ExitStack, but: int) -> None:
    """A caller for whom so many places are left is hung up on and told; others find nothing wrong."""
    office = Loopback(stack)
    other, others = office.answered()
    office.engine.listen(others)
    held = filled(office, but)
    call = office.phone("+33612345679", DESK_HZ).call(office.uri())
    leg = office.incoming(1).leg
    office.engine.answer(leg)
    office.engine.listen(leg)
    office.until(lambda: office.of(LegFailed), "word of it")
    office.until(lambda: call.ended_by, "the end of the call")
    office.until(lambda: not office.engine.has(leg), "the end of the leg")
    assert [report.leg for report in office.of(LegFailed)] == [leg], office.reports
    held.clear()
    office.until(lambda: slots_in_use() < 10, "room")
    third, leg = office.answered(office.phone("+33612345670", DESK_HZ))
    office.engine.listen(leg)
    office.frames(third, 0.5)
    office.until(lambda: leg in office.heard, "sound")
    assert other.ended_by is None and others in office.heard


@scene
def test_a_caller_without_a_place_in_the_bridge_is_not_left_in_silence(stack: ExitStack) -> None:
    fails_without_places(stack, 0)


@scene
def test_a_caller_whom_nobody_would_hear_is_not_left_so(stack: ExitStack) -> None:
    fails_without_places(stack, 1)


@scene
def test_a_sound_waits_for_a_player(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered()
    office.limit(players=1)
    first = office.engine.play(leg, MUSIC, loop=True)
    assert not office.engine.can_play
    second = office.engine.play(leg, SHORT, loop=False)
    assert first != second and SoundEnded(leg, second) not in office.reports
    office.until(lambda: SoundEnded(leg, second) in office.reports, "the end of the second sound")
    assert office.of(EngineFault) == [] and office.of(SoundEnded)[-1].waited_s > 0.5


@scene
def test_a_sound_that_finds_no_player_in_time_has_ended_and_is_told(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered()
    _, other = office.dialled()
    office.limit(players=1)
    office.engine.play(other, MUSIC, loop=True)
    token = office.engine.play(leg, SHORT, loop=False)
    office.until(lambda: SoundEnded(leg, token) in office.reports, "its end")
    assert "all 1 players are in use" in office.of(EngineFault)[0].reason
    assert office.of(SoundEnded)[-1].waited_s >= sound.WAIT_S
    assert not office.engine.can_play


@scene
def test_a_leg_whose_sound_nobody_would_read_is_over_and_told(stack: ExitStack) -> None:
    """No thread can be had for it: neither who calls nor who is rung ends the process."""
    office = Loopback(stack)
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(library.LIBRARY, "pjmedia_endpt_create2", lambda *_: 70001)
    call = office.phone("+33612345679", DESK_HZ).call(office.uri())
    office.until(lambda: call.status is not None, "an answer")
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.LegGone(leg, 503))
    assert call.status == 503 and office.desk.calls == []
    assert ["no thread for media" in one.reason for one in office.of(LegFailed)] == [True, True]


@scene
def test_music_waits_as_long_as_it_takes(stack: ExitStack) -> None:
    sound.WAIT_S = 0.1
    office = Loopback(stack)
    _, leg = office.answered()
    call, other = office.dialled()
    office.limit(players=1)
    office.engine.play(leg, MUSIC, loop=True)
    office.engine.play(other, MUSIC, loop=True)
    office.frames(call, 0.5)
    assert len(office.engine.sound._waiting) == 1
    office.engine.stop_playing(leg)
    office.until(lambda: not office.engine.sound._waiting, "a player")
    assert office.of(EngineFault) == []


@scene
def test_who_hangs_up_waits_for_no_player(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    _, other = office.dialled()
    office.limit(players=1)
    office.engine.play(other, MUSIC, loop=True)
    office.engine.play(leg, MUSIC, loop=True)
    office.meanwhile(call.hang_up)
    office.told(leg, e.LegGone(leg, 200))
    assert not office.engine.sound._waiting


@scene
def test_one_failure_of_the_library_costs_one_call(stack: ExitStack) -> None:
    """Whatever it will not do: answer, connect, reach its sockets."""
    office = Loopback(stack)
    library = importlib.import_module("pjsua2")

    def refuse(*_: object) -> None:
        raise library.Error

    def no_descriptor(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for nth, (holder, name, fails) in enumerate(
        (
            (library.Call, "answer", refuse),
            (library.AudioMedia, "startTransmit", refuse),
            (office.engine.sources._sockets, "admit", no_descriptor),
        )
    ):
        before, kept = getattr(holder, name), holder.__dict__.get(name)
        call = office.caller.call(office.uri())
        leg = office.incoming(nth).leg
        setattr(holder, name, fails)
        office.engine.answer(leg)
        office.until(lambda: len(office.of(LegFailed)) > nth, name)  # noqa: B023 - done at once
        setattr(holder, name, before) if kept else delattr(holder, name)
        office.until(lambda: call.ended_by, "the end of the call")  # noqa: B023
        office.until(lambda: not office.engine.has(leg), "the end of the leg")  # noqa: B023
        assert [report.leg for report in office.of(LegFailed)][nth:] == [leg]
        assert call.status == (503 if name == "answer" else 200)
    call, leg = office.answered()
    office.engine.listen(leg)
    office.until(lambda: leg in office.heard, "sound")


@scene
def test_a_phone_for_which_there_are_no_sockets_is_not_rung(stack: ExitStack) -> None:
    """The library would end the process."""
    office = Loopback(stack)
    office.answered()
    office.limit(handles=7)
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.LegGone(leg, 503))
    assert office.desk.calls == []

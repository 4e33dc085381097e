"""The engine for real at its limits: what runs out costs one call, and is told. Whose number is whose."""

import errno
import gc
import importlib
import os
import resource
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import prompts
from sipagent.agent.engine import EngineFault, Incoming, LegFailed, LegLost, SoundEnded
from sipagent.call import events as e
from sipagent.config.layout import EngineLimits
from sipagent.pjsip import library, sound
from sipagent.pjsip.library import CLOCK, MEDIA, hurry
from sipagent.service.children import asked
from sipagent.softphone.phone import Call
from tests.loopback import DESK_HZ, Loopback, scene
from tests.raising import raising
from tests.urgency import forbid_real_time, real_time_is_allowed

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


def test_the_bridge_has_places_for_all_calls_of_the_process() -> None:
    places = library.endpoint_config("x", calls=40).medConfig.maxMediaPorts
    assert places == 40 * library.SLOTS_A_CALL


def fails_without_places(stack: ExitStack, but: int) -> None:
    """A caller for whom so many places of the bridge are left is hung up on and told; others find nothing
    wrong, and the places are free again a tick later."""
    office = Loopback(stack)
    other, others = office.answered()
    office.engine.listen(others)
    held: list[Any] = []
    while slots_in_use() < office.engine.limits.slots - but:
        held.append(importlib.import_module("pjsua2").ToneGenerator())
        held[-1].createToneGenerator(8000, 1)
    call = office.phone("+33612345679", DESK_HZ).call(office.uri())
    leg = office.incoming(1).leg
    office.engine.answer(leg)
    office.engine.listen(leg)
    office.until(lambda: office.of(LegFailed) and call.ended_by, "the end of the call")
    office.gone(leg)
    assert [report.leg for report in office.of(LegFailed)] == [leg], office.reports
    held.clear()
    office.until(lambda: slots_in_use() < 10, "room")
    _, leg = office.answered(office.phone("+33612345670", DESK_HZ))
    office.engine.listen(leg)
    office.until(lambda: leg in office.heard, "sound")
    assert other.ended_by is None and others in office.heard


@scene
def test_a_caller_without_a_place_in_the_bridge_is_not_left_in_silence(stack: ExitStack) -> None:
    fails_without_places(stack, 0)


@scene
def test_a_caller_whom_nobody_would_hear_is_not_left_so(stack: ExitStack) -> None:
    fails_without_places(stack, 1)


@scene
def test_a_sound_waits_for_a_player_and_is_told_that_it_found_none(office: Loopback) -> None:
    """Music waits as long as it takes; who hangs up waits no longer."""
    call, leg = office.answered()
    _, other = office.dialled()
    office.limit(players=1)
    first = office.engine.play(leg, MUSIC, loop=True)
    assert not office.engine.can_play
    second = office.engine.play(leg, SHORT, loop=False)
    assert first != second and SoundEnded(leg, second) not in office.reports
    office.until(lambda: SoundEnded(leg, second) in office.reports, "the end of the second sound")
    assert office.of(EngineFault) == [] and office.of(SoundEnded)[-1].waited_s > 0.5
    office.engine.stop_playing(leg)
    office.engine.play(other, MUSIC, loop=True)
    office.until(lambda: not office.engine.sound._waiting, "a player")
    token = office.engine.play(leg, SHORT, loop=False)
    office.until(lambda: SoundEnded(leg, token) in office.reports, "its end")
    assert "all 1 players are in use" in office.of(EngineFault)[0].reason
    assert office.of(SoundEnded)[-1].waited_s >= sound.WAIT_S
    office.faults = 1
    office.engine.play(leg, MUSIC, loop=True)
    office.frames(call, sound.WAIT_S + 0.5)
    assert len(office.engine.sound._waiting) == 1
    office.hangs_up(call, leg)
    assert not office.engine.sound._waiting


@scene
def test_a_leg_whose_sound_nobody_would_read_is_over_and_told(office: Loopback) -> None:
    """No thread can be had for it: neither who calls nor who is rung ends the process."""
    patch = office.stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(library.LIBRARY, "pjmedia_endpt_create2", lambda *_: 70001)
    call = office.caller.call(office.uri())
    office.until(lambda: call.status is not None, "an answer")
    office.gone(office.dial(), 503)
    assert call.status == 503 and office.desk.calls == []
    assert ["no thread for media" in one.reason for one in office.of(LegFailed)] == [True, True]


@scene
def test_one_failure_of_the_library_costs_one_call(office: Loopback) -> None:
    """Whatever it will not do: answer, connect, reach its sockets."""
    library = importlib.import_module("pjsua2")
    refuse = raising(library.Error())
    no_descriptor = raising(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    for nth, (holder, name, fails) in enumerate(
        (
            (library.Call, "answer", refuse),
            (library.AudioMedia, "startTransmit", refuse),
            (office.engine.sources._sockets, "admit", no_descriptor),
        )
    ):
        call = office.caller.call(office.uri())
        leg = office.incoming(nth).leg
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(holder, name, fails)
            office.engine.answer(leg)
            office.until(lambda: len(office.of(LegFailed)) > nth, name)  # noqa: B023 - done at once
        office.until(lambda: call.ended_by, "the end of the call")  # noqa: B023
        office.gone(leg)
        assert [report.leg for report in office.of(LegFailed)][nth:] == [leg]
        assert call.status == (503 if name == "answer" else 200)
    _, leg = office.answered()
    office.engine.listen(leg)
    office.until(lambda: leg in office.heard, "sound")
    office.limit(handles=7)  # without sockets for it the library would end the process
    office.gone(office.dial(), 503)
    assert office.desk.calls == []


# --- numbers of calls, which the library gives again at once ---

ROUNDS = 20


def full_but_for_one(office: Loopback) -> list[tuple[Call, int]]:
    """Calls on all of the engine's numbers but one."""
    return [office.answered() for _ in range(office.engine.capacity - 1)]


def followed(office: Loopback, call: Call, leg: int) -> tuple[Call, int]:
    """The next caller, whose INVITE is in the socket together with the BYE of this one."""
    call.hang_up()
    again = office.caller.call(office.uri())
    office.gone(leg, 200)
    leg = office.of(Incoming)[-1].leg
    office.engine.answer(leg)
    office.told(leg, e.CallConfirmed(telephone_event=True))
    return again, leg


@scene
def test_a_call_that_comes_with_the_end_of_another_is_its_own(office: Loopback) -> None:
    """No order for the first, not even one that its destructor gives by itself, meets the second."""
    others = full_but_for_one(office)
    call, leg = office.answered()
    native = office.engine._legs[leg]
    for _ in range(ROUNDS):
        call, leg = followed(office, call, leg)
    assert native.getId() == library.NO_CALL and not library.is_known(native)
    del native
    gc.collect()
    office.frames(call, 0.5)
    assert [one.ended_by for one in (call, *(other for other, _ in others))] == [None] * 4
    assert office.engine.legs == 4


@scene
def test_a_leg_that_the_library_has_no_more_is_given_back_and_told(office: Loopback) -> None:
    _, leg = office.answered()
    number = office.engine._legs[leg].getId()
    library.LIBRARY.pjsua_call_set_user_data(number, None)  # as another's destructor does
    office.gone(leg, 0)
    assert office.of(LegLost) == [LegLost(leg)] and not office.engine.has(leg)


@scene
def test_where_a_number_cannot_be_forgotten_no_leg_ever_dies(office: Loopback) -> None:
    library.call_can_be_let_go = lambda account: False
    full_but_for_one(office)
    again, _ = followed(office, *office.answered())
    office.frames(again, 0.5)
    assert again.ended_by is None


# --- the threads that sound depends on come first, both or none ---


def policies() -> dict[str, int]:
    """How this process's threads are scheduled, by their names."""
    tasks = list(Path("/proc/self/task").iterdir())
    return {(task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name)) for task in tasks}


@scene
def test_who_receives_rtp_is_as_urgent_as_the_clock(stack: ExitStack) -> None:
    """And each clock anew: it ends with the last leg."""
    wanted = os.SCHED_RR if real_time_is_allowed() else os.SCHED_OTHER
    office = Loopback(stack)
    urgent = {CLOCK: wanted, MEDIA: wanted}
    for _ in range(2):
        _, leg = office.answered()
        office.until(lambda: policies().items() >= urgent.items(), "urgent threads")
        others = [policy for name, policy in policies().items() if name not in (CLOCK, MEDIA)]
        assert set(others) == {os.SCHED_OTHER}
        assert hurry(MEDIA, real_time=False) and policies()[MEDIA] == os.SCHED_OTHER
        hurry(MEDIA)
        office.engine.hang_up(leg)
        office.until(lambda: CLOCK not in policies(), "end of the clock")


@scene
def test_where_it_is_not_allowed_nothing_changes(office: Loopback) -> None:
    forbid_real_time()
    _, leg = office.answered()
    office.engine.listen(leg)
    office.until(lambda: leg in office.heard, "sound")
    assert hurry(MEDIA) and not hurry("nobody")
    assert set(policies().values()) == {os.SCHED_OTHER}

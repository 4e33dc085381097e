"""The driver, turn by turn, on a fake engine: one call, what is heard of it and what is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.frame import SAMPLE_RATE, Samples
from media.prompt import inspect_prompt
from retention.records import Status
from retention.rows.selection import Selection
from sipagent.agent.agent import AUDIT_S
from sipagent.agent.engine import ForeignMedia, OfLeg, SoundEnded
from sipagent.call import events as e
from sipagent.softphone.rtp import key_tones, strongest, tone
from sipagent.voice.detectors import NOBODY_LISTENS
from tests.driving import (
    CALLER,
    CALLER_HZ,
    DESK,
    ELSEWHERE,
    NUMBER,
    OPERATOR_HZ,
    RULES,
    SECOND_DESK,
    SOUND_MS,
    Stage,
    pressed,
    sounds,
    staged,
    with_policy,
)
from tests.kept import Paths

NINE = e.DtmfPressed(0, "9", "rfc4733")


def key(digit: str) -> Samples:
    """A key as a phone without telephone-event sends it, with its pauses."""
    silence = np.zeros(SAMPLE_RATE // 10, dtype=np.int16)
    return np.concatenate([silence, tone(key_tones(digit), 0.1), silence, silence])


# --- one call, from its INVITE to what is kept of it ---


def test_a_caller_who_says_nothing_against_it_is_recorded(stage: Stage) -> None:
    caller = stage.invite()
    assert stage.engine.ordered("answer") == [(caller,)]
    stage.tell(caller, e.CallConfirmed(telephone_event=True), e.MediaArrived())
    assert stage.hears(caller) == "notice"
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s - 0.1)
    assert stage.engine.ordered("dial") == []
    stage.turn(after_s=0.1)
    ((operator, uri),) = stage.engine.dialled.items()
    assert (uri, stage.shown(), stage.hears(caller)) == (DESK, f"REC {CALLER}", "hold_music")
    stage.answered(operator)
    assert stage.engine.ordered("bridge") == [(caller, operator)]
    assert stage.engine.ordered("play") == [(caller, "notice.wav", False), (caller, "hold_music.wav", True)]
    (call,) = stage.agent.live
    assert call.playing == {}
    assert stage.recording().status is Status.OPEN
    assert (stage.receipt().decision, stage.receipt().outcome) == ("allowed", None)
    stage.talk(caller, operator, 2.0)
    stage.gone(caller)
    assert stage.engine.ordered("hang_up") == [(operator,)]
    stage.listened()
    stage.gone(operator)
    receipt, recording = stage.receipt(), stage.recording()
    assert (receipt.outcome, receipt.decision, receipt.decided_by) == ("connected", "allowed", "silence")
    assert (receipt.caller, receipt.called, receipt.operator) == (CALLER, NUMBER, DESK)
    assert (receipt.notice_played_ms, receipt.recording_id) == (SOUND_MS, recording.id)
    assert (recording.status, recording.incomplete) == (Status.CLOSED, False)
    sound, _ = soundfile.read(Paths(stage.archive).file(recording.id), dtype="int16")
    assert [strongest(sound[4000:12000, channel]) for channel in (0, 1)] == pytest.approx(
        [CALLER_HZ, OPERATOR_HZ], abs=10
    )
    assert (stage.agent.calls, stage.alerts) == (0, [])


@pytest.mark.parametrize("telephone_event", [True, False])
def test_nothing_of_a_call_stays_in_memory(stage: Stage, telephone_event: bool) -> None:
    caller, operator = stage.bridged(telephone_event=telephone_event)
    stage.gone(operator)
    stage.listened()
    stage.gone(caller)
    stage.gone(stage.greeted(telephone_event=telephone_event))  # listened to until the end
    stage.gone(stage.invite(source=ELSEWHERE))
    stage.listened()
    agent = stage.agent
    assert (agent._calls._by_id, agent._calls.of_leg) == ({}, {})
    assert (agent.tapping.of_leg, agent.tapping.ordered) == ({}, [])
    assert (agent.listener._ears, agent.listener._listened) == ({}, set())
    assert (stage.board._waiting, stage.board._engaged, agent.lending._calls) == ({}, {}, {})


def test_the_next_caller_gets_the_operator_whose_call_has_ended(stage: Stage) -> None:
    for _ in range(2):
        caller, operator = stage.bridged()
        assert stage.engine.dialled[operator] == DESK
        stage.gone(caller)
        stage.listened()
        stage.gone(operator)
    assert len(stage.receipts()) == 2


def test_who_has_given_up_waiting_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, replace(RULES, calls=2, extensions=(DESK,))) as stage:
        caller, operator = stage.bridged()
        second, _ = stage.rung()
        assert list(stage.engine.dialled) == [operator]
        stage.gone(second, 487)
        stage.gone(caller)
        stage.listened()
        stage.gone(operator)
        stage.rung()
        assert list(stage.engine.dialled.values()) == [DESK, DESK]


def test_a_conversation_that_ends_is_no_longer_in_anybodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last words are still being listened to, and its legs are gone."""
    with staged(tmp_path, monkeypatch, listens=False) as stage:
        caller, operator = stage.bridged()
        stage.gone(operator)
        stage.gone(caller)
        assert stage.agent.calls == 1
        stage.tell(stage.invite(), e.CallConfirmed(telephone_event=True), e.MediaArrived(), NINE)
        assert stage.agent.calls == 2
        assert list(stage.engine.dialled.values()) == [DESK, DESK]


def test_an_operator_rests_after_a_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, replace(RULES, wrap_up_s=60.0)) as stage:
        caller, operator = stage.bridged()
        stage.gone(caller)
        stage.listened()
        stage.gone(operator)
        _, second = stage.rung()
        assert stage.engine.dialled[second] == SECOND_DESK


def test_who_waits_is_served_in_the_moment_in_which_a_rest_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, monkeypatch, replace(RULES, wrap_up_s=60.7, extensions=(DESK,))) as stage:
        caller, operator = stage.bridged()
        stage.gone(caller)
        stage.listened()
        stage.gone(operator)
        rests_until = stage.clock.now + 60.7
        stage.sound_over(stage.greeted())
        stage.turn(after_s=RULES.policy.window_s)
        looks: list[float] = []

        def is_served() -> bool:
            looks.append(stage.clock.now)
            return len(stage.engine.dialled) == 2 or len(looks) == 1000

        stage.agent.run(stage.engine, is_served)
        assert looks[-1] == pytest.approx(rests_until)
        assert len(looks) < 200


def test_an_operator_who_declines_is_followed_by_the_next(stage: Stage) -> None:
    _, first = stage.rung()
    stage.gone(first, 486)
    assert list(stage.engine.dialled.values()) == [DESK, SECOND_DESK]


@pytest.mark.parametrize(
    ("more", "alone", "behind"),
    [
        ("Max-Forwards: 8\r\n", 7, 8),
        ("", 69, 70),
        ("Max-Forwards: 1\r\n", 0, 1),
        ("Max-Forwards: 0\r\n", 0, 0),
        ("Max-Forwards: 300\r\n", 254, 255),
    ],
)
@pytest.mark.parametrize("behind_edge", [False, True])
def test_an_operators_leg_may_go_a_hop_less_far_than_its_call(
    stage: Stage, more: str, alone: int, behind: int, behind_edge: bool
) -> None:
    """RFC 7332; behind the edge that has counted already."""
    stage.agent._behind_edge = behind_edge
    _, operator = stage.rung(more=more)
    assert stage.engine.hops[operator] == (behind if behind_edge else alone)


def test_a_dialled_number_speaks_its_language(stage: Stage) -> None:
    caller = stage.greeted(number="+33323063007")
    (call,) = stage.agent.live
    assert (stage.hears(caller), call.sounds[e.Prompt.NOTICE].path.parent.name) == ("notice", "en")


def test_a_key_chooses_the_language_and_the_recording_names_its_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the language is gone from a configuration that was reloaded meanwhile."""
    with staged(tmp_path, monkeypatch, with_policy(choices=(("2", "en"),))) as stage:
        caller = stage.greeted()
        assert stage.hears(caller) == "choose"
        stage.agent.reload(replace(RULES, sounds={"fr": sounds()}))
        stage.tell(caller, e.DtmfPressed(caller, "2", "rfc4733"))
        assert stage.hears(caller) == "notice"
        stage.sound_over(caller)
        stage.turn(after_s=3.0)
        (operator,) = stage.engine.dialled
        stage.answered(operator)
        notice = stage.recording().notice
        assert notice is not None
        assert notice.file == "/prompts/en/notice.wav"
        _, chosen, *_ = stage.receipt().events  # the draw comes first
        assert (chosen.what, chosen.by) == ("language: en", "caller")


def test_who_hides_the_number_is_told_by_the_reference_of_the_call(stage: Stage) -> None:
    """So that whoever was recorded can ask for it later: the operator reads it to them."""
    stage.rung(caller="anonymous")
    receipt = stage.receipt()
    assert receipt.caller is None
    assert stage.shown() == f"REC #{receipt.id[-6:]}"
    assert stage.agent.recorder.archive.store.receipts(Selection(reference=receipt.id[-6:])) == [receipt]


# --- refusals ---


def test_a_refusal_during_the_notice(stage: Stage) -> None:
    caller = stage.greeted()
    stage.tell(caller, NINE, after_s=1.0)
    assert stage.hears(caller) == "refused"
    assert stage.shown() == f"NO REC {CALLER}"
    (operator,) = stage.engine.dialled
    stage.answered(operator)
    assert stage.engine.ordered("bridge") == []  # the caller is still being told that it was understood
    stage.sound_over(caller)
    assert stage.engine.ordered("bridge") == [(caller, operator)]
    stage.talk(caller, operator)
    stage.gone(caller)
    receipt = stage.receipt()
    assert (receipt.decision, receipt.phase, receipt.dtmf_method) == ("refused", "notice", "rfc4733")
    assert (receipt.notice_played_ms, receipt.recording_id) == (1000, None)
    assert (stage.files(), stage.archive.store.recordings()) == ([], [])


def test_a_refusal_in_the_call_erases(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    assert stage.files() == ["part"]
    stage.tell(caller, NINE)
    assert stage.files() == []
    assert stage.recording().status is Status.ERASED
    assert stage.overlaid() == ({caller, operator}, "recording_off")
    stage.talk(caller, operator)
    stage.gone(caller)
    assert (stage.receipt().decision, stage.receipt().phase, stage.files()) == ("refused", "call", [])


@pytest.mark.parametrize("at_once", [True, False])
def test_a_refusal_erases_also_what_the_operator_had_stopped_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    with staged(tmp_path, monkeypatch, with_policy(stop_erases=False)) as stage:
        caller, operator = stage.bridged()
        stage.talk(caller, operator)
        stage.tell(operator, *pressed(operator, "*5"))
        if not at_once:
            assert (stage.files(), stage.recording().status) == (["json", "wav"], Status.CLOSED)
        stage.tell(caller, NINE)
        assert (stage.files(), stage.recording().status) == ([], Status.ERASED)
        assert (stage.recording().decision, stage.receipt().decision) == ("refused", "refused")


def test_a_key_that_waits_when_the_tap_would_start_wins(stage: Stage) -> None:
    """It was pressed before the first sample would have been kept."""
    caller, operator = stage.rung()
    stage.engine.script = [lambda: stage.engine.say(OfLeg(caller, NINE))]
    stage.answered(operator)
    assert stage.engine.ordered("bridge") == [(caller, operator)]
    assert (stage.receipt().decision, stage.files(), stage.archive.store.recordings()) == ("refused", [], [])


def test_a_key_that_waits_with_the_operators_answer_wins(stage: Stage) -> None:
    caller, operator = stage.rung()
    heard = (e.OperatorAnswered(operator, telephone_event=True), e.MediaArrived(operator))
    stage.turn(*(OfLeg(operator, fact) for fact in heard), OfLeg(caller, NINE))
    assert (stage.receipt().decision, stage.files(), stage.archive.store.recordings()) == ("refused", [], [])


def test_a_key_in_the_last_frames_before_the_bye_erases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In-band: the BYE has overtaken what is still being listened to, and the tap waits for that."""
    with staged(tmp_path, monkeypatch, listens=False) as stage:
        caller, _ = stage.bridged(telephone_event=False)
        stage.hear(caller, key("9"))  # queued: nobody listens yet
        stage.gone(caller)
        assert stage.recording().status is Status.OPEN
        stage.agent.listener.start()
        stage.listened()
        assert stage.recording().status is Status.ERASED
        receipt = stage.receipt()
        assert (receipt.decision, receipt.dtmf_method, receipt.outcome) == ("refused", "inband", "connected")
        assert (stage.files(), stage.agent.calls) == ([], 0)


def test_a_listener_that_never_comes_to_its_end_holds_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, monkeypatch, listens=False) as stage:
        caller, operator = stage.bridged()
        stage.talk(caller, operator)
        stage.gone(caller)
        stage.turn(after_s=1.1)
        assert (stage.agent.calls, stage.recording().status) == (0, Status.CLOSED)


def test_in_band_keys_count_where_no_event_was_negotiated(stage: Stage) -> None:
    caller, _ = stage.bridged(telephone_event=False)
    stage.hear(caller, key("9"))
    stage.listened()
    assert (stage.receipt().decision, stage.receipt().dtmf_method) == ("refused", "inband")


def test_in_band_keys_do_not_count_in_a_conversation_with_events(stage: Stage) -> None:
    """Whatever sounds like a 9 in a call is then no key (it is the other side's music, say)."""
    caller, _ = stage.bridged(telephone_event=True)
    stage.hear(caller, key("9"))
    stage.listened()
    assert stage.receipt().decision == "allowed"


# --- notices that were not heard ---


def test_a_notice_that_ended_early_allows_nothing(stage: Stage) -> None:
    caller = stage.greeted()
    stage.sound_over(caller, after_s=SOUND_MS / 1000 - 0.2)
    assert stage.shown() == f"NO REC {CALLER}"
    assert (stage.receipt().outcome, stage.receipts()[0].recording_id) == (None, None)
    stage.gone(caller, 487)
    receipt = stage.receipt()
    assert (receipt.decision, receipt.decided_by) == ("not_allowed", "notice_failed")
    assert (receipt.outcome, receipt.notice_played_ms) == ("abandoned", SOUND_MS - 200)


def test_who_could_speak_and_is_heard_by_nobody_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Speech is wished, and there is no detector: silence permits nothing."""
    with staged(tmp_path, monkeypatch, with_policy(voice=True), detectors=NOBODY_LISTENS) as stage:
        caller = stage.greeted()
        stage.listened()
        stage.sound_over(caller)
        assert stage.shown().startswith("NO REC")
        stage.gone(caller)
        receipt = stage.receipt()
        assert (receipt.decision, receipt.decided_by) == ("not_allowed", "unclear")


def test_who_could_speak_in_the_call_and_is_heard_by_nobody_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, monkeypatch, with_policy(in_call_voice=True)) as stage:
        stage.bridged()
        stage.listened()
        assert (stage.receipt().decision, stage.files()) == ("not_allowed", [])
        assert stage.recording().status is Status.ERASED


def test_a_notice_that_is_not_the_one_that_was_loaded_was_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may promise what nobody listens for; from the reload on it is the one that is loaded."""
    path = tmp_path / "notice.wav"
    for hz in (400, 500):
        soundfile.write(path, tone(hz, SOUND_MS / 1000), SAMPLE_RATE, subtype="PCM_16")
        fr = sounds() | {e.Prompt.NOTICE: inspect_prompt(path)}
        if hz == 400:
            loaded = replace(RULES, sounds={**RULES.sounds, "fr": fr})
    with staged(tmp_path, monkeypatch, loaded) as stage:
        caller = stage.greeted()
        stage.sound_over(caller)
        assert stage.shown().startswith("NO REC")
        stage.gone(caller)
        assert (stage.receipt().decision, stage.receipt().decided_by) == ("not_allowed", "notice_failed")
        stage.agent.reload(replace(RULES, sounds={**RULES.sounds, "fr": fr}))
        stage.rung()
        assert stage.shown().startswith("REC")


def test_a_notice_that_waited_for_a_player_was_not_heard_meanwhile(stage: Stage) -> None:
    """None came, and the time that it waited is as long as the notice."""
    caller = stage.greeted()
    waited_s = SOUND_MS / 1000
    stage.turn(SoundEnded(caller, stage.engine.tokens[caller], waited_s), after_s=waited_s)
    stage.gone(caller)
    assert (stage.receipt().decision, stage.receipt().decided_by) == ("not_allowed", "notice_failed")


def test_the_end_of_another_sound_ends_nothing(stage: Stage) -> None:
    caller = stage.greeted()
    token = stage.engine.tokens[caller]
    stage.turn(SoundEnded(caller, token + 1), SoundEnded(-1, token), after_s=SOUND_MS / 1000)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.engine.ordered("dial") == []


def test_who_had_us_on_hold_from_the_start_heard_no_notice(stage: Stage) -> None:
    """An INVITE with a=sendonly: everything was played, and nothing of it could be sent."""
    caller = stage.invite()
    stage.tell(caller, e.LegHeld(caller, sends=True))
    stage.tell(caller, e.CallConfirmed(telephone_event=True), e.MediaArrived())
    if stage.hears(caller) == "notice":
        stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"NO REC {CALLER}"


def test_a_leg_that_the_engine_has_no_more_ends_its_call(stage: Stage) -> None:
    """Nothing was ever said of its end: the next caller must not find its place taken."""
    caller = stage.greeted()
    stage.engine.up.remove(caller)
    stage.turn(after_s=AUDIT_S)
    assert stage.agent.calls == 0
    assert stage.receipt().outcome == "abandoned"
    assert stage.agent.figures().lost_legs == 1


def test_who_sends_to_the_sound_of_a_call_is_told_once(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    caller = stage.greeted()
    for packets in (4, 4, 4, 50):
        stage.turn(ForeignMedia(caller, packets))
    assert stage.agent.figures().foreign_packets == 62
    told = capsys.readouterr().out
    assert told.count("somebody else sends to the sound of this call") == 1
    assert "trunk.media_sources" not in told  # this one is heard


def test_a_caller_whose_sound_comes_from_elsewhere_is_not_recorded_by_silence(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is dropped may be a refusal; so who runs the service is told which address, and which key."""
    caller = stage.greeted()
    stage.turn(ForeignMedia(caller, 10, heard=False, address="192.0.2.77"))
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"NO REC {CALLER}"
    told = capsys.readouterr().out
    assert "192.0.2.77" in told and "trunk.media_sources" in told


@pytest.mark.parametrize("heard_later", [False, True])
def test_a_few_packets_of_a_caller_who_is_not_heard_may_have_been_a_refusal(
    stage: Stage, *, heard_later: bool
) -> None:
    """One key, of a gateway that sends nothing in silence; others' last ones, where the caller is heard."""
    caller = stage.greeted()
    stage.turn(ForeignMedia(caller, 7, heard=False))
    if heard_later:
        stage.turn(OfLeg(caller, e.MediaSourceFound(caller, own=True)))
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"{'REC' if heard_later else 'NO REC'} {CALLER}"

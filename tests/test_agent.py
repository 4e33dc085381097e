"""The driver on a fake engine, turn by turn: what it makes of reports, and what is kept of a call."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.prompt import EssentialPart, inspect_prompt
from retention.records import Notice, Receipt, Special, Status, due_date
from retention.rows.selection import Selection
from sipagent.agent.admission import Admission, tones
from sipagent.agent.agent import AUDIT_S
from sipagent.agent.calls import HOLD_S
from sipagent.agent.engine import (
    ChallengeRefused,
    EngineFault,
    ForeignMedia,
    GivenUp,
    Incoming,
    LegFailed,
    OfLeg,
    RefusedByEngine,
    Registration,
    SoundEnded,
)
from sipagent.agent.quality import Stream
from sipagent.call import events as e
from sipagent.call.events import LATE_S, PLEASE_HOLD_S
from sipagent.call.machines import FLAGGED
from sipagent.config.hours import Schedule
from sipagent.config.identity import printable
from sipagent.config.sampling import Seed, draw
from sipagent.softphone.rtp import key_tones, strongest, tone
from sipagent.voice.detectors import NOBODY_LISTENS
from tests.driving import (
    CALLER,
    CALLER_HZ,
    DESK,
    ELSEWHERE,
    HERE,
    NUMBER,
    OPERATOR_HZ,
    RULES,
    SECOND_DESK,
    SOUND_MS,
    Stage,
    invite,
    pressed,
    sounds,
    staged,
    with_policy,
)
from tests.kept import Paths

NINE = e.DtmfPressed(0, "9", "rfc4733")
BEGINNING, END = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 3000))
Staging = Callable[..., Stage]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staging]:
    with ExitStack() as stack:

        def made(rules: Admission = RULES, **how: Any) -> Stage:
            return stack.enter_context(staged(tmp_path, monkeypatch, rules, **how))

        yield made


def key(digit: str) -> Samples:
    """A key as a phone without telephone-event sends it, with its pauses."""
    silence = np.zeros(SAMPLE_RATE // 10, dtype=np.int16)
    return np.concatenate([silence, tone(key_tones(digit), 0.1), silence, silence])


def over(stage: Stage, caller: int, *others: int) -> None:
    """The caller hangs up, all was listened to, and the others follow."""
    stage.gone(caller)
    stage.listened()
    for leg in others:
        stage.gone(leg)


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
    assert call.playing == {} and stage.recording().status is Status.OPEN
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
    heard = [strongest(sound[4000:12000, channel]) for channel in (0, 1)]
    assert heard == pytest.approx([CALLER_HZ, OPERATOR_HZ], abs=10)
    assert (stage.agent.calls, stage.alerts) == (0, [])


@pytest.mark.parametrize("refuses", [False, True])
def test_an_operators_phone_is_told_by_headers_too(play: Staging, refuses: bool) -> None:
    words = {sign: (("X-Recording", sign.value),) for sign in e.Sign}
    stage = play(replace(RULES, ring_headers=words))
    caller = stage.greeted()
    if refuses:
        stage.tell(caller, NINE)
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.engine.ordered("dial")[0][2] == words[e.Sign.NO_REC if refuses else e.Sign.REC]


@pytest.mark.parametrize("telephone_event", [True, False])
def test_nothing_of_a_call_stays_in_memory(stage: Stage, telephone_event: bool) -> None:
    caller, operator = stage.bridged(telephone_event=telephone_event)
    stage.gone(operator)
    over(stage, caller)
    stage.gone(stage.greeted(telephone_event=telephone_event))  # listened to until the end
    stage.gone(stage.invite(source=ELSEWHERE))
    stage.listened()
    agent = stage.agent
    assert (agent._calls._by_id, agent._calls.of_leg) == ({}, {})
    assert (agent.tapping.of_leg, agent.tapping.ordered) == ({}, [])
    assert (agent.listener._ears, agent.listener._listened) == ({}, set())
    assert (stage.board._waiting, stage.board._engaged, agent.lending._calls) == ({}, {}, {})


def test_a_conversation_that_ends_is_in_nobodys_way_and_waits_for_no_listener(play: Staging) -> None:
    """Its last words are still being listened to, and its legs are gone."""
    stage = play(listens=False)
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.gone(operator)
    stage.gone(caller)
    assert stage.agent.calls == 1
    stage.tell(stage.invite(), e.CallConfirmed(telephone_event=True), e.MediaArrived(), NINE)
    assert stage.agent.calls == 2 and list(stage.engine.dialled.values()) == [DESK, DESK]
    stage.turn(after_s=1.1)
    assert (stage.agent.calls, stage.recording().status) == (1, Status.CLOSED)


def test_who_waits_is_served_in_the_moment_in_which_a_rest_ends(play: Staging) -> None:
    stage = play(replace(RULES, wrap_up_s=60.7, extensions=(DESK,)))
    over(stage, *stage.bridged())
    rests_until = stage.clock.now + 60.7
    stage.sound_over(stage.greeted())
    stage.turn(after_s=RULES.policy.window_s)
    looks: list[float] = []

    def is_served() -> bool:
        looks.append(stage.clock.now)
        return len(stage.engine.dialled) == 2 or len(looks) == 1000

    stage.agent.run(stage.engine, is_served)
    assert looks[-1] == pytest.approx(rests_until) and len(looks) < 200


@pytest.mark.parametrize("said", [True, False])
def test_who_waits_hears_which_place_it_is_and_again_where_that_has_changed(
    play: Staging, said: bool
) -> None:
    stage = play(replace(with_policy(say_position=said), extensions=(DESK,), calls=2))
    first, operator = stage.rung()
    second = stage.greeted()
    stage.sound_over(second)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.hears(second) == ("position_2" if said else "hold_music")
    if said:
        stage.sound_over(second)
    assert stage.hears(second) == "hold_music"
    stage.answered(operator)
    stage.turn(after_s=4.0)  # asked again
    assert stage.hears(second) == "hold_music"
    stage.turn(after_s=PLEASE_HOLD_S)
    assert stage.hears(second) == ("position_1" if said else "please_hold")
    stage.gone(first)


@pytest.mark.parametrize(
    ("more", "alone", "behind"),
    [
        ("Max-Forwards: 8\r\n", 7, 8),
        ("", 69, 70),
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


def test_a_key_chooses_the_language_and_the_recording_names_its_notice(play: Staging) -> None:
    """Also where the language is gone from a configuration that was reloaded meanwhile."""
    stage = play(with_policy(choices=(("2", "en"),)))
    caller = stage.greeted()
    assert stage.hears(caller) == "choose"
    stage.agent.reload(replace(RULES, sounds={"fr": sounds()}))
    stage.tell(caller, *pressed(caller, "2"))
    assert stage.hears(caller) == "notice"
    stage.sound_over(caller)
    stage.turn(after_s=3.0)
    (operator,) = stage.engine.dialled
    stage.answered(operator)
    notice = stage.recording().notice
    assert notice and notice.file == "/prompts/en/notice.wav"
    _, chosen, *_ = stage.receipt().events  # the draw comes first
    assert (chosen.what, chosen.by) == ("language: en", "caller")


def test_who_hides_the_number_is_told_by_the_reference_of_the_call(stage: Stage) -> None:
    """So that whoever was recorded can ask for it later: the operator reads it to them."""
    stage.rung(caller="anonymous")
    receipt = stage.receipt()
    assert (receipt.caller, stage.shown()) == (None, f"REC #{receipt.id[-6:]}")
    assert stage.archive.store.receipts(Selection(reference=receipt.id[-6:])) == [receipt]


@pytest.mark.parametrize("voice", [True, False])
def test_a_soft_tone_says_that_it_is_the_callers_turn_and_is_not_taken_for_words(
    play: Staging, monkeypatch: pytest.MonkeyPatch, voice: bool
) -> None:
    stage, known = play(with_policy(voice=voice)), tones()
    monkeypatch.setattr("sipagent.agent.carrying._read", lambda path: np.full(8, len(path.name), np.int16))
    comes_back: list[tuple[int, Samples]] = []
    monkeypatch.setattr(stage.agent.listener, "plays", lambda leg, sound: comes_back.append((leg, sound)))
    caller = stage.greeted()
    comes_back.clear()
    assert stage.engine.ordered("overlay") == []
    stage.sound_over(caller)
    assert stage.overlaid() == ({caller}, "your_turn")
    assert known[e.Tone.YOUR_TURN].name == "your_turn.wav"
    assert [(leg, sound[0]) for leg, sound in comes_back] == (
        [(caller, len("your_turn.wav"))] if voice else []
    )


@pytest.mark.parametrize("to_their_end", [True, False])
def test_details_are_heard_by_key_and_the_recording_names_what_was_heard(
    play: Staging, to_their_end: bool
) -> None:
    stage = play(with_policy(detailed=frozenset({"fr"})))
    caller = stage.greeted()
    stage.tell(caller, *pressed(caller, "3"))
    stage.sound_over(caller)
    assert stage.hears(caller) == "details"
    stage.sound_over(caller, after_s=SOUND_MS / 1000 if to_their_end else 0.5)
    stage.turn(after_s=RULES.policy.window_s)
    (operator,) = stage.engine.dialled
    stage.answered(operator)
    notice = stage.recording().notice
    told = Notice(file="/prompts/fr/details.wav", sha256="ab" * 32)
    expected = told if to_their_end else None
    assert notice == Notice(file="/prompts/fr/notice.wav", sha256="ab" * 32, details=expected)


@pytest.mark.parametrize("to_its_end", [True, False])
def test_a_message_of_today_comes_before_the_notice_and_the_call_names_what_was_heard(
    play: Staging, monkeypatch: pytest.MonkeyPatch, to_its_end: bool
) -> None:
    """What comes back of it is not the caller's words."""
    words = {path: np.full(8, n, np.int16) for n, path in enumerate(("notice", "message"))}
    monkeypatch.setattr("sipagent.agent.carrying._samples", lambda sound: words.get(sound.path.stem))
    sound = sounds()[e.Prompt.MESSAGE]
    day = Special(number=1, message="flood", from_at=BEGINNING, until_at=END)
    rules = replace(with_policy(voice=True), messages={"fr": {"flood": sound}, "en": {"flood": sound}})
    stage = play(rules.on((day,)))
    comes_back: list[Samples | None] = []
    monkeypatch.setattr(stage.agent.listener, "plays", lambda leg, sound: comes_back.append(sound))
    caller = stage.greeted()
    assert stage.hears(caller) == "message" and comes_back[-1] is words["message"]
    stage.sound_over(caller, after_s=SOUND_MS / 1000 if to_its_end else 0.5)
    assert stage.hears(caller) == "notice" and comes_back[-1] is words["notice"]
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    (operator,) = stage.engine.dialled
    stage.answered(operator)
    told = Notice(file="/prompts/fr/message.wav", sha256="ab" * 32)
    notice = stage.recording().notice
    assert notice and notice.message == (told if to_its_end else None)
    said = f"message: flood, sha256 {'ab' * 32}"
    assert (said in [event.what for event in stage.receipt().events]) is to_its_end


def test_a_closure_of_today_is_as_the_hours_and_one_that_is_taken_back_is_over(play: Staging) -> None:
    stage = play()
    stage.agent.reload(RULES.on((Special(number=1, from_at=BEGINNING, until_at=END),)))
    caller = stage.greeted()
    assert stage.hears(caller) == "closed"
    stage.sound_over(caller)
    stage.gone(caller)
    receipt = stage.receipt()
    assert (receipt.outcome, [event.what for event in receipt.events]) == ("closed", ["closed today"])
    stage.agent.reload(stage.agent.admission.on(()))
    assert stage.hears(stage.greeted()) == "notice"


# --- refusals ---


def test_a_refusal_in_the_call_erases(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    assert stage.files() == ["part"]
    stage.tell(caller, NINE)
    assert (stage.files(), stage.recording().status) == ([], Status.ERASED)
    assert stage.overlaid() == ({caller, operator}, "recording_off")
    stage.talk(caller, operator)
    stage.gone(caller)
    assert (stage.receipt().decision, stage.receipt().phase, stage.files()) == ("refused", "call", [])


@pytest.mark.parametrize("at_once", [True, False])
def test_a_refusal_erases_also_what_the_operator_had_stopped_and_kept(play: Staging, at_once: bool) -> None:
    stage = play(with_policy(stop_erases=False))
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, "*5"))
    if not at_once:
        assert (stage.files(), stage.recording().status) == (["json", "wav"], Status.CLOSED)
    stage.tell(caller, NINE)
    assert (stage.files(), stage.recording().status) == ([], Status.ERASED)
    assert (stage.recording().decision, stage.receipt().decision) == ("refused", "refused")


@pytest.mark.parametrize("waits", ["when the tap would start", "with the operator's answer"])
def test_a_key_that_waits_wins(stage: Stage, waits: str) -> None:
    """It was pressed before the first sample would have been kept."""
    caller, operator = stage.rung()
    if waits.startswith("when"):
        stage.engine.script = [lambda: stage.engine.say(OfLeg(caller, NINE))]
        stage.answered(operator)
        assert stage.engine.ordered("bridge") == [(caller, operator)]
    else:
        heard = (e.OperatorAnswered(operator, telephone_event=True), e.MediaArrived(operator))
        stage.turn(*(OfLeg(operator, fact) for fact in heard), OfLeg(caller, NINE))
    assert (stage.receipt().decision, stage.files(), stage.archive.store.recordings()) == ("refused", [], [])


def test_a_key_in_the_last_frames_before_the_bye_erases(play: Staging) -> None:
    """In-band: the BYE has overtaken what is still being listened to, and the tap waits for that."""
    stage = play(listens=False)
    caller, _ = stage.bridged(telephone_event=False)
    stage.hear(caller, key("9"))  # queued: nobody listens yet
    stage.gone(caller)
    assert stage.recording().status is Status.OPEN
    stage.agent.listener.start()
    stage.listened()
    receipt = stage.receipt()
    assert (receipt.decision, receipt.dtmf_method, receipt.outcome) == ("refused", "inband", "connected")
    assert (stage.recording().status, stage.files(), stage.agent.calls) == (Status.ERASED, [], 0)


@pytest.mark.parametrize("events", [False, True])
def test_in_band_keys_count_where_no_event_was_negotiated(stage: Stage, events: bool) -> None:
    """Whatever else sounds like a 9 in a call is no key: it is the other side's music, say."""
    caller, _ = stage.bridged(telephone_event=events)
    stage.hear(caller, key("9"))
    stage.listened()
    assert stage.receipt().decision == ("allowed" if events else "refused")


# --- notices that were not heard ---


def is_not_recorded(stage: Stage, caller: int, by: str) -> None:
    """Its operator's phone says so, and its receipt why."""
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"NO REC {CALLER}"
    stage.gone(caller)
    assert (stage.receipt().decision, stage.receipt().decided_by) == ("not_allowed", by)
    assert (stage.files(), stage.archive.store.recordings()) == ([], [])


def test_a_notice_that_ended_early_allows_nothing(stage: Stage) -> None:
    caller = stage.greeted()
    token = stage.engine.tokens[caller]
    stage.turn(SoundEnded(caller, token + 1), SoundEnded(-1, token))  # another sound's end ends nothing
    assert stage.engine.ordered("dial") == []
    stage.sound_over(caller, after_s=SOUND_MS / 1000 - 0.2)
    is_not_recorded(stage, caller, "notice_failed")
    assert stage.receipt().notice_played_ms == SOUND_MS - 200


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_notice_is_heard_to_its_end_though_the_machine_stood_still_at_its_beginning(
    play: Staging, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """Our own thread did, once the sound had begun; or the bridge, which then sends faster for a moment."""
    stage = play()
    if interrupted:
        plays = stage.engine.play

        def play_slowly(*of: Any) -> int:
            token = plays(*of)
            stage.clock.sleep(0.2)
            return token

        monkeypatch.setattr(stage.engine, "play", play_slowly)
    caller = stage.greeted()
    stage.engine.sent[caller] = 0.0 if interrupted else SOUND_MS
    stage.sound_over(caller, after_s=SOUND_MS / 1000 - 0.2)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"REC {CALLER}"


@pytest.mark.parametrize("mode", ["objection", "opt_in"])
def test_the_key_that_accepts_counts_once_the_essential_part_has_been_sent(play: Staging, mode: str) -> None:
    """By what left here, not by the clock; then it ends notice and window, and an operator is rung."""
    marked = {
        e.Prompt.NOTICE: replace(sounds()[e.Prompt.NOTICE], mark=EssentialPart(1200, "Office. Recorded."))
    }
    rules = with_policy(opt_in=mode == "opt_in")
    stage = play(replace(rules, sounds={**rules.sounds, "fr": sounds() | marked}))
    caller = stage.greeted()
    for sent_ms in (0.0, 1200.0, 1259.0):
        stage.engine.sent[caller] = sent_ms
        stage.tell(caller, *pressed(caller, "1"), after_s=0.6)
        assert stage.engine.ordered("dial") == [] and stage.hears(caller) == "notice"
    stage.engine.sent[caller] = 1260.0
    stage.tell(caller, *pressed(caller, "1"), after_s=0.1)
    assert (stage.shown(), stage.hears(caller)) == (f"REC {CALLER}", "hold_music")
    (operator,) = stage.engine.dialled
    stage.answered(operator)
    receipt = stage.receipt()
    assert (receipt.decision, receipt.decided_by, receipt.phase) == ("allowed", "dtmf", "notice")
    assert (receipt.notice_played_ms, stage.recording().decision) == (1900, "allowed")


def test_a_notice_without_a_mark_is_essential_to_its_end(stage: Stage) -> None:
    caller = stage.greeted()
    stage.engine.sent[caller] = float(SOUND_MS)
    stage.tell(caller, *pressed(caller, "1"))
    assert stage.engine.ordered("dial") == []
    stage.sound_over(caller)
    stage.tell(caller, *pressed(caller, "1"), after_s=0.5)
    stage.gone(caller)
    assert (stage.receipt().decided_by, stage.receipt().phase) == ("dtmf", "window")


def test_a_notice_that_waited_for_a_player_was_not_heard_meanwhile(stage: Stage) -> None:
    """None came, and the time that it waited is as long as the notice."""
    caller, waited_s = stage.greeted(), SOUND_MS / 1000
    stage.turn(SoundEnded(caller, stage.engine.tokens[caller], waited_s), after_s=waited_s)
    is_not_recorded(stage, caller, "notice_failed")


def test_a_notice_that_is_not_the_one_that_was_loaded_was_not_heard(play: Staging, tmp_path: Path) -> None:
    """It may promise what nobody listens for; from the reload on it is the one that is loaded."""
    path, found = tmp_path / "notice.wav", []
    for hz in (400, 500):
        soundfile.write(path, tone(hz, SOUND_MS / 1000), SAMPLE_RATE, subtype="PCM_16")
        spoken = sounds() | {e.Prompt.NOTICE: inspect_prompt(path)}
        found.append(replace(RULES, sounds={**RULES.sounds, "fr": spoken}))
    stage = play(found[0])
    caller = stage.greeted()
    stage.engine.sent[caller] = SOUND_MS + 100.0
    stage.tell(caller, *pressed(caller, "1"))
    assert stage.engine.ordered("dial") == []
    stage.sound_over(caller)
    is_not_recorded(stage, caller, "notice_failed")
    stage.agent.reload(found[1])
    stage.rung()
    assert stage.shown().startswith("REC")


@pytest.mark.parametrize("policy", ["voice", "in_call_voice"])
def test_who_could_speak_and_is_heard_by_nobody_is_not_recorded(play: Staging, policy: str) -> None:
    """Speech is wished, and there is no detector: silence permits nothing, and what was begun goes."""
    stage = play(with_policy(**{policy: True}), detectors=NOBODY_LISTENS)
    if policy == "voice":
        caller = stage.greeted()
        stage.listened()
        stage.sound_over(caller)
        is_not_recorded(stage, caller, "unclear")
    else:
        stage.bridged()
        stage.listened()
        assert (stage.receipt().decision, stage.files()) == ("not_allowed", [])
        assert stage.recording().status is Status.ERASED


def test_a_leg_that_cannot_be_listened_to_is_not_recorded(stage: Stage) -> None:
    caller = stage.greeted()
    stage.tell(caller, e.HearingFailed("no port"))
    stage.sound_over(caller)
    is_not_recorded(stage, caller, "unclear")  # which a recovery erases
    assert stage.agent.figures().unheard == 1


@pytest.mark.parametrize(
    ("packets", "later", "shown"), [(10, False, "NO REC"), (7, False, "NO REC"), (7, True, "REC")]
)
def test_a_caller_whose_sound_comes_from_elsewhere_is_not_recorded_by_silence(
    stage: Stage, capsys: pytest.CaptureFixture[str], packets: int, later: bool, shown: str
) -> None:
    """What is dropped may be a refusal, be it one key; who runs the service is told which address, and which
    key. Others' last packets, where the caller is heard later, are none."""
    caller = stage.greeted()
    stage.turn(ForeignMedia(caller, packets, heard=False, address="192.0.2.77"))
    if later:
        stage.turn(OfLeg(caller, e.MediaSourceFound(caller, own=True)))
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"{shown} {CALLER}"
    told = capsys.readouterr().out
    assert all((word in told) is (packets >= 10) for word in ("192.0.2.77", "trunk.media_sources"))


def test_who_sends_to_the_sound_of_a_call_is_told_once(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    caller = stage.greeted()
    for packets in (4, 4, 4, 50):
        stage.turn(ForeignMedia(caller, packets))
    told = capsys.readouterr().out
    assert told.count("somebody else sends to the sound of this call") == 1
    assert "trunk.media_sources" not in told  # this one is heard
    assert stage.agent.figures().foreign_packets == 62


# --- in the conversation ---


@pytest.mark.parametrize(
    ("keys", "erases", "status", "flagged"),
    [
        ("*7", True, Status.OPEN, False),  # it is in the row once that is closed
        ("*5", True, Status.ERASED, False),
        ("*5*7", True, Status.ERASED, False),
        ("*5*7", False, Status.CLOSED, True),  # whoever is threatened may stop first
    ],
)
def test_what_the_operator_types(
    play: Staging, keys: str, erases: bool, status: Status, flagged: bool
) -> None:
    stage = play(with_policy(stop_erases=erases))
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, keys))
    row = stage.recording()
    assert (row.status, row.flagged) == (status, flagged)
    assert (stage.files() == []) is (status is Status.ERASED)
    assert stage.overlaid()[0] == {caller, operator}
    if keys.endswith("*7"):
        assert stage.receipt().events[-1].what == FLAGGED
    if flagged:
        assert '"flagged": true' in Paths(stage.archive).metadata(row.id).read_text()
    over(stage, caller)
    assert stage.recording().flagged is (keys.endswith("*7") and status is not Status.ERASED)
    assert stage.agent.tapping.of_leg == {}


def test_a_code_by_info_that_is_heard_again_late_in_its_tones_does_not_resume(play: Staging) -> None:
    """The card number would be recorded."""
    stage = play(listens=False)
    _, operator = stage.rung()
    stage.tell(operator, e.OperatorAnswered(operator, telephone_event=False), e.MediaArrived(operator))
    stage.turn(after_s=LATE_S)
    for digit in "*6":
        stage.hear(operator, key(digit))
        stage.tell(operator, e.DtmfPressed(operator, digit, "info", stage.clock.now - 0.3))
    stage.clock.now += 3
    stage.agent.listener.start()
    stage.listened()
    heard = [Path(sound).stem for _, sound in stage.engine.ordered("overlay")]
    assert heard == ["your_turn", "recording_on", "paused"]


def test_what_was_sent_before_an_order_is_not_touched_by_it(play: Staging) -> None:
    """The engine hands it over first: nothing of before the bridge or of a pause is kept, and all else is."""
    stage = play(with_policy(stop_erases=False))
    sent: list[tuple[int, int]] = []  # by whom, and how loud, in what nobody has taken yet

    def catch_up(legs: Iterable[int]) -> None:
        for leg, level in [one for one in sent if one[0] in legs]:
            sent.remove((leg, level))
            stage.agent.hear(leg, np.full(FRAME_SAMPLES, level, np.int16), stage.clock.now)

    stage.engine.catch_up = catch_up
    caller, operator = stage.rung()
    sent.append((caller, 1))
    stage.answered(operator)
    stage.turn(after_s=LATE_S)
    stage.settle()
    for level, keys in ((2, "*6"), (3, "*6"), (4, "*5")):
        stage.talk(caller, operator)
        stage.clock.now += 0.1
        sent += [(caller, level), (operator, level)]
        stage.tell(operator, *pressed(operator, keys))
    sound, _ = soundfile.read(Paths(stage.archive).file(stage.recording().id), dtype="int16", always_2d=True)
    whole = [level for level in (1, 2, 3, 4) if (sound[:, 0] == level).sum() >= FRAME_SAMPLES]
    assert (whole, sent, stage.recording().incomplete) == ([2, 4], [], False)


def test_a_recorder_that_fails_never_costs_the_call(play: Staging, tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("in the way of the folder")
    with capture_logs() as logs:
        stage = play()
        caller, operator = stage.bridged()
        stage.turn()
        assert stage.engine.ordered("hang_up") == []
        assert stage.overlaid() == ({caller, operator}, "recording_off")
        over(stage, caller)
        receipt = stage.receipt()
    assert (receipt.outcome, receipt.decision) == ("connected", "not_allowed")
    assert receipt.decided_by == "recorder_fault"
    assert [line for line in logs if line["event"] == "alert" and "recording stopped" in line["reason"]]


@pytest.mark.parametrize("side", ["caller", "operator"])
@pytest.mark.parametrize("how", ["hung up", "no media"])
def test_the_receipt_names_the_one_side_that_ended_the_call(stage: Stage, side: str, how: str) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    first, second = (caller, operator) if side == "caller" else (operator, caller)
    if how == "no media":
        stage.tell(first, e.MediaLost(first))
    stage.gone(first)
    over(stage, second)
    ends = [(one.what, one.by) for one in stage.receipt().events if one.what in ("hung up", "no media")]
    assert ends == [(how, side)] and stage.receipt().outcome == "connected"


# --- to another operator, and away ---

OUT = "sip:+33323000000@trunk.example"
MINE = replace(with_policy(transfer_targets=(DESK, SECOND_DESK)), wrap_up_s=60.0, calls=2)


def transfers(stage: Stage, operator: int) -> int:
    """The leg that is rung for it, or the last one that was."""
    stage.tell(operator, e.TransferAsked(operator, SECOND_DESK))
    return max(stage.engine.dialled)


def test_the_recording_goes_on_in_the_same_file(play: Staging) -> None:
    """Who gave the caller away is no party any more, as that phone shows, and has a rest."""
    stage = play(MINE)
    caller, first = stage.bridged()

    def shown() -> list[str]:
        return [word for told, word in stage.engine.ordered("indicate") if told == first]

    declined = transfers(stage, first)
    stage.gone(declined, 486)
    assert shown()[-3:] == ["on", "off", "on"]
    stage.talk(caller, first)
    second = transfers(stage, first)
    stage.talk(caller, first)  # what the first one still says is nobody's affair
    assert shown()[-1] == "off"
    stage.answered(second)
    assert (stage.board.is_free(DESK), stage.board.is_free(SECOND_DESK)) == (False, False)
    stage.engine.counted[first] = (Stream("PCMA", 300, lost=3, bursts=1),)
    stage.gone(first)
    assert stage.board.seek("another", (), stage.clock.now + 59) == ()
    assert stage.board.seek("another", (), stage.clock.now + 61) == (DESK,)
    stage.talk(caller, second, 2.0)
    counts = {caller: 900, declined: 7, second: 400}
    stage.engine.counted = {leg: (Stream("PCMA", count, lost=3, bursts=1),) for leg, count in counts.items()}
    over(stage, caller)
    recording, receipt = stage.recording(), stage.receipt()
    sound, rate = soundfile.read(Paths(stage.archive).file(recording.id), dtype="int16", always_2d=True)
    start, end = recording.pauses[-1].from_s, recording.pauses[-1].to_s
    assert end - start == pytest.approx(1.0, abs=0.25)
    assert not sound[int(start * rate) : int(end * rate)].any()
    later = sound[int((end + 0.2) * rate) :]
    assert [round(strongest(later[:, side]) or 0, -1) for side in (0, 1)] == [CALLER_HZ, OPERATOR_HZ]
    assert (recording.operator, receipt.operator, receipt.outcome) == (SECOND_DESK, SECOND_DESK, "connected")
    assert recording.operators == receipt.operators == (DESK, SECOND_DESK)
    assert stage.agent.tapping.of_leg == {}
    assert receipt.quality and receipt.quality.caller and receipt.quality.operator
    assert (receipt.quality.caller.packets, receipt.quality.operator.packets) == (900, 700)
    assert (receipt.quality.operator.lost, receipt.quality.operator.lost_bursts) == (6, 2)
    assert receipt.quality.caller.level_dbov == pytest.approx(-15.3, abs=0.5)


def test_with_two_calls_there_is_no_third_leg(play: Staging) -> None:
    stage = play(replace(MINE, extensions=(DESK, "sip:203@127.0.0.1")))
    caller, first = stage.bridged()
    stage.rung(call_id="second", caller="+33699999999")
    dialled = dict(stage.engine.dialled)
    transfers(stage, first)
    assert stage.engine.dialled == dialled and (first,) in stage.engine.ordered("hang_up")
    assert stage.engine.ordered("tell_transfer") == [(first, 100, True)]
    assert not stage.board.is_free(SECOND_DESK)  # nobody takes it meanwhile
    stage.gone(first)
    second = max(stage.engine.dialled)
    assert (stage.engine.dialled[second], stage.engine.legs) == (SECOND_DESK, 4)
    assert stage.hears(caller) == "hold_music"


@pytest.mark.parametrize("taken", [True, False])
def test_a_call_that_is_not_recorded_leaves_or_operators_are_rung(play: Staging, taken: bool) -> None:
    stage = play(with_policy(refer_targets=(OUT,), recording=False))
    caller = stage.greeted()
    stage.sound_over(caller)
    assert (stage.engine.ordered("refer"), stage.engine.dialled) == ([(caller, OUT)], {})
    if taken:
        stage.tell(caller, e.ReferAnswered(caller, 202), e.ReferNotified(caller, 200))
        assert stage.engine.ordered("hang_up") == [(caller,)]
    else:
        stage.turn(after_s=RULES.policy.ring_s)
        assert stage.engine.ordered("give_up_refer") == [(caller,)]
        stage.answered(max(stage.engine.dialled))
    stage.gone(caller)
    receipt = stage.receipt()
    expected = ("transferred", OUT) if taken else ("connected", DESK)
    assert (receipt.outcome, receipt.operator, receipt.decision) == (*expected, "not_allowed")
    assert (stage.agent.calls, stage.files()) == (0, [])


# --- those who get no call ---


@pytest.mark.parametrize("status", [503, 486])
def test_a_caller_who_finds_no_room_or_no_player(play: Staging, status: int) -> None:
    stage = play(with_policy(full_status=status))
    first, second = stage.greeted(), stage.invite()
    assert stage.engine.ordered("reject") == [(second, status, 10)]
    assert stage.engine.ordered("answer") == [(first,)]
    stage.gone(second, status)
    told = {(receipt.outcome, receipt.ended_at is None) for receipt in stage.receipts()}
    assert told == {(None, True), ("rejected", False)}  # both may have begun in one millisecond
    stage.gone(first)
    stage.engine.can_play = False
    late = stage.invite()
    assert stage.engine.ordered("reject")[-1] == (late, status, 10)
    stage.gone(late, status)


def test_whether_there_is_room_is_known_before_a_caller_is_let_in(play: Staging) -> None:
    """Whoever waits in the inbox, or is ending, has a leg."""
    stage = play(replace(RULES, calls=2))
    agent = stage.agent
    assert agent.has_room()
    agent._engine = stage.engine
    stage.engine.up |= {98, 99}  # of a call that is over, and of a first one
    agent.post(Incoming(99, HERE, invite()))
    assert not agent.has_room()
    agent.draining = True
    assert agent.has_room()  # it is refused for another reason, and need not wait
    agent.draining = False
    stage.turn()
    assert stage.engine.ordered("answer") == [(99,)] and not agent.has_room()
    stage.engine.up.remove(98)
    assert agent.has_room()


def test_strangers_are_counted_and_wrong_numbers_have_receipts(play: Staging) -> None:
    stage = play(replace(RULES, numbers=frozenset({NUMBER})))
    stranger = stage.invite(source=ELSEWHERE)
    stage.turn(RefusedByEngine(488, ELSEWHERE, invite()))
    assert stage.engine.ordered("reject") == [(stranger, 403, None)]
    assert (stage.agent.tally.strangers, stage.agent.calls, stage.receipts()) == (2, 0, [])
    wrong = stage.invite(number="+33999999999")
    assert stage.engine.ordered("reject")[-1] == (wrong, 404, None)
    with capture_logs() as logs:
        stage.turn(RefusedByEngine(488, HERE, invite()), RefusedByEngine(503, HERE, invite()))
        assert "miscounted_legs" not in [line["event"] for line in logs]
        stage.turn(RefusedByEngine(486, HERE, invite()))
        assert "miscounted_legs" in [line["event"] for line in logs]
    assert [one.outcome for one in stage.receipts()] == ["rejected"] * 4
    refused = [one for one in stage.receipts() if one.decided_by == "sip"]  # may be of the same millisecond
    assert [(one.caller, one.ended_at is None) for one in refused] == [(CALLER, False)] * 3
    assert all(one.expires_at == due_date(one.started_at, "9 months") for one in refused)
    right = stage.invite(number="0323063006")
    assert stage.engine.ordered("answer") == [(right,)]


def test_a_caller_who_is_gone_before_we_knew_and_what_is_no_text(stage: Stage) -> None:
    """CANCEL right behind the INVITE. Octets that are no UTF-8 come as lone surrogates, which no database
    takes."""
    stage.turn(Incoming(5, HERE, invite(call_id="a\udcff\x1b[31mb")), OfLeg(5, e.LegGone(5, 487)))
    assert (stage.agent.calls, stage.receipt().outcome) == (0, "abandoned")
    assert (stage.receipt().call_id or "").isprintable() and stage.alerts == []


def test_what_the_engine_tells_of_its_faults_is_logged_with_its_call(stage: Stage) -> None:
    """A leg that it has lost ends its call: the next caller must not find its place taken."""
    caller = stage.greeted()
    (call,) = stage.agent.live
    with capture_logs() as logs:
        stage.turn(
            LegFailed(caller, "nobody would hear it"),
            EngineFault("Leg.onCallState: KeyError('x')"),
            ChallengeRefused("192.0.2.7", "x", "trunk", None),
            ChallengeRefused("192.0.2.20", "new\x1b", "operators", "old"),
        )
        stage.engine.up.remove(caller)
        stage.turn(after_s=AUDIT_S)
    told = [(line["event"], line.get("call"), line["reason"]) for line in logs if "reason" in line]
    assert told == [
        ("alert", call.id, "the engine has failed a leg: nobody would hear it"),
        ("engine_fault", None, "Leg.onCallState: KeyError('x')"),
        (
            "alert",
            None,
            "192.0.2.7 asks for a password, and gets none: it is no address of trunk.allowed_sources",
        ),
        ("alert", None, f"the PBX asks in realm {printable('new' + chr(27))}, and its password is for old"),
        ("alert", call.id, "the engine has lost a leg of this call"),
    ]
    assert (stage.agent.calls, stage.receipt().outcome) == (0, "abandoned")
    assert stage.agent.figures().lost_legs == 1


# --- the service around the calls ---


def test_while_draining_and_at_the_end_calls_are_ended_properly(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.agent.draining = True
    late = stage.invite()
    assert stage.engine.ordered("reject") == [(late, 503, 10)] and stage.engine.ordered("hang_up") == []
    stage.gone(late, 503)
    with capture_logs() as logs:
        stage.agent.run(stage.engine, lambda: True)
    assert logs[0]["event"] == "ready" and stage.agent.calls == 0
    assert stage.engine.ordered("hang_up") == [(caller,), (operator,)]
    assert {one.outcome for one in stage.receipts()} == {"connected", "rejected"}
    assert stage.recording().status is Status.CLOSED


def test_a_phone_that_failed_and_talks_is_back(stage: Stage) -> None:
    stage.agent.tally.phones.failed(e.ReportOperator(DESK, "unreachable", 0), (DESK,), "call-1", 0.0)
    with capture_logs() as logs:
        stage.bridged()
    assert [one["operator"] for one in logs if one["event"] == "operator_back"] == [DESK]


def test_behind_an_edge_a_call_that_it_has_given_up_on_leaves_no_word(play: Staging) -> None:
    """So the receipt of one that was never acknowledged waits: for a while, or for the end of the service."""
    stage = play(replace(RULES, calls=3), worker=0)
    stage.engine.capacity = 8
    before, up, at_last = (stage.invite(call_id=name) for name in ("before", "up", "at last"))
    stage.turn(GivenUp("up"))
    assert stage.engine.ordered("hang_up") == [(up,)]
    for leg in (before, up):
        over(stage, leg)
    stage.turn(GivenUp("before"))
    stage.turn(after_s=HOLD_S)
    assert stage.receipts() == []
    over(stage, at_last)
    stage.agent.run(stage.engine, lambda: True)
    assert stage.receipt().call_id == "at last"


def test_other_rules_hold_for_the_calls_to_come(stage: Stage) -> None:
    first = stage.greeted()
    stage.agent.reload(replace(with_policy(refusal_digits=("0",)), calls=2, extensions=(SECOND_DESK,)))
    second = stage.greeted()
    for leg in (first, second):
        stage.tell(leg, *pressed(leg, "0"))
    assert sorted(receipt.decision for receipt in stage.receipts()) == ["refused", "undecided"]
    assert [stage.hears(leg) for leg in (first, second)] == ["notice", "refused"]
    assert list(stage.engine.dialled.values()) == [SECOND_DESK]


def test_a_registrar_is_asked_again_ever_more_slowly(play: Staging) -> None:
    refused, granted = Registration(False, 503, "busy"), Registration(True, 200, "OK")
    stage = play(registers=True)
    with capture_logs() as logs:
        asked: list[int] = []
        for answer, wait_s in ((None, 0.0), (refused, 1.0), (refused, 2.0), (granted, 100.0), (refused, 1.0)):
            stage.turn(*([answer] if answer else []))
            stage.turn(after_s=max(0.0, wait_s - 0.1))
            asked.append(len(stage.engine.ordered("register")))
            stage.turn(after_s=0.1)
        stage.turn(granted)
    assert [*asked, len(stage.engine.ordered("register"))] == [1, 1, 2, 3, 3, 4]
    told = [line["event"] for line in logs if line["event"] in ("ready", "registered", "registration_failed")]
    failed = "registration_failed"
    assert told == [failed, failed, "ready", failed, "registered"]


# --- the sample ---

SEED = Seed(b"s" * 32)
SHARE = 0.5
IDS = [f"20261125T110000{n:03}-482913" for n in range(40)]
NOT_DRAWN = [id for id in IDS if not draw(SEED, id, SHARE).drawn]
SAMPLED = replace(RULES, shares=replace(RULES.shares, share=SHARE), seed=SEED)


def named(monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
    left = iter(ids)
    monkeypatch.setattr("sipagent.agent.agent.Ids.new", lambda *_: next(left))


def draws_of(receipt: Receipt) -> list[str]:
    return [event.what for event in receipt.events if "drawn" in event.what]


@pytest.mark.parametrize("acts", ["", "1", "*7", "*6*6", "*5", "1*7*6*61"])
def test_nobody_can_have_a_call_recorded_that_is_not_drawn(
    play: Staging, monkeypatch: pytest.MonkeyPatch, acts: str
) -> None:
    named(monkeypatch, NOT_DRAWN[0])
    stage = play(SAMPLED)
    leg = stage.greeted()
    assert stage.hears(leg) == "welcome"
    says_yes = e.KeywordHeard(e.Wish.ACCEPT, "oui", 1.0)
    stage.tell(leg, *pressed(leg, acts), says_yes)
    stage.sound_over(leg)
    operator = max(stage.engine.dialled)
    assert stage.shown().startswith("NO REC")
    stage.answered(operator)
    stage.tell(operator, *pressed(operator, acts))
    stage.tell(leg, *pressed(leg, acts.replace("*", "")), says_yes)
    stage.turn(after_s=2.0)
    stage.talk(leg, operator)
    stage.gone(leg)
    receipt = stage.receipt()
    assert (receipt.decision, receipt.decided_by, receipt.outcome) == ("not_allowed", "sampling", "connected")
    assert draws_of(receipt) == [str(draw(SEED, NOT_DRAWN[0], SHARE))] and receipt.recording_id is None
    assert (stage.archive.store.recordings(), stage.files()) == ([], [])


SHUT = Schedule(RULES.schedule.timezone, closed=((date.min, date.max),))


@pytest.mark.parametrize(
    ("rules", "hears", "outcome", "by"),
    [
        (replace(SAMPLED, schedule=SHUT), "closed", "closed", None),
        (replace(with_policy(recording=False), seed=SEED), "welcome", "abandoned", "disabled"),
    ],
)
def test_where_nothing_is_recorded_nothing_is_drawn(
    play: Staging, rules: Admission, hears: str, outcome: str, by: str | None
) -> None:
    stage = play(rules)
    leg = stage.greeted()
    assert stage.hears(leg) == hears
    stage.gone(leg)
    receipt = stage.receipt()
    assert (receipt.decided_by, draws_of(receipt), stage.engine.dialled) == (by, [], {})

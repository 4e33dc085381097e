"""From a spoken word to the decision: gate, detector stub, listener, inbox, flow."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.hearing.keyword import Meaning, StreamPosition, Verdict
from sipagent.agent.admission import SHIPPED, admission
from sipagent.agent.calls import LiveCall
from sipagent.call import events as e
from sipagent.config.load import parse
from sipagent.voice.detectors import Detectors
from tests.configured import SMALL
from tests.driving import RULES, Stage, staged

FRAMES_AT_ONCE = 50
OTHER = Verdict(Meaning.OTHER)
REFUSAL = Verdict(Meaning.REFUSE, "je refuse", 0.93)
UNCLEAR = Verdict(Meaning.UNCLEAR, "refuser", 0.5)
YES = Verdict(Meaning.ACCEPT, "oui", 0.9)


class Stub:
    """A detector that takes whatever is said for one word, or each utterance for what its turn is."""

    every_ms = 100

    def __init__(self, *verdicts: Verdict, in_turn: bool = False) -> None:
        self.verdicts, self.in_turn = list(verdicts), in_turn
        self.heard: list[int] = []

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        self.heard.append(len(samples))
        if not self.in_turn:
            return self.verdicts[0]
        return OTHER if place and not place.last else self.verdicts.pop(0)


class Spoken:
    """One call in its notice, and the words that its caller says."""

    def __init__(self, stage: Stage, detector: Stub, in_call: Stub) -> None:
        self.stage, self.detector, self.in_call = stage, detector, in_call
        self.leg = stage.greeted()

    @property
    def call(self) -> LiveCall:
        (call,) = self.stage.agent.live
        return call

    @property
    def decision(self) -> str:
        return self.call.flow.consent.decision

    def say(self) -> None:
        """Two seconds of speech, then silence."""
        speech, rate = soundfile.read(SHIPPED / "fr/refused.wav", dtype="int16")
        self.hear(np.concatenate([speech[: 2 * rate], np.zeros(rate, np.int16)]))

    def echo(self, prompt: str) -> None:
        """What comes back of one that has just begun."""
        speech, rate = soundfile.read(SHIPPED / f"{prompt}.wav", dtype="int16")
        self.hear(np.concatenate([np.zeros(1000, np.int16), speech // 4, np.zeros(rate, np.int16)]))

    def played(self) -> None:
        self.stage.sound_over(self.leg, after_s=60)

    def press(self, key: str) -> None:
        self.stage.tell(self.leg, e.DtmfPressed(self.leg, key, "rfc4733"))

    def hear(self, sound: Samples) -> None:
        whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES]
        for start in range(0, len(whole), FRAMES_AT_ONCE * FRAME_SAMPLES):  # a leg's queue holds some seconds
            self.stage.hear(self.leg, whole[start : start + FRAMES_AT_ONCE * FRAME_SAMPLES])
            assert self.stage.agent.listener.flush(30)
        self.stage.listened()


@pytest.fixture
def spoken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Spoken]:
    verdicts = request.param
    detector, in_call = Stub(*verdicts, in_turn=len(verdicts) > 1), Stub(OTHER)
    (tmp_path / "prompts").symlink_to(SHIPPED)
    shipped = admission(parse(SMALL, tmp_path / "config.toml")).sounds
    rules = replace(RULES, sounds=shipped, languages={}, policy=replace(RULES.policy, voice=True))
    with staged(tmp_path, monkeypatch, rules, detectors=Detectors(detector, in_call)) as stage:
        yield Spoken(stage, detector, in_call)


hears = partial(pytest.mark.parametrize, "spoken", indirect=True)


@hears([(REFUSAL,)])
@pytest.mark.parametrize(
    ("prompt", "decision"), [("fr/notice", "undecided"), ("fr/notice_opt_in", "refused")]
)
def test_a_spoken_refusal_decides_and_the_notice_that_comes_back_refuses_nothing(
    spoken: Spoken, prompt: str, decision: str
) -> None:
    spoken.echo(prompt)  # what only sounds like an echo refuses
    assert spoken.decision == decision
    spoken.say()
    consent = spoken.call.flow.consent
    assert (consent.decision, consent.by, consent.phase) == ("refused", "voice", "notice")
    assert (consent.keyword, consent.confidence) == ("je refuse", 0.93)
    assert (spoken.stage.hears(spoken.leg), spoken.stage.shown()) == ("refused", "NO REC +33612345678")
    assert max(spoken.detector.heard) <= 3.0 * SAMPLE_RATE  # not the silence


@hears([(OTHER,)])
def test_the_listener_knows_of_each_prompt_and_of_its_end_and_other_words_change_nothing(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken.say()
    assert spoken.detector.heard and spoken.decision == "undecided"
    told: list[int] = []
    agent = spoken.stage.agent
    monkeypatch.setattr(agent.listener, "plays", lambda leg, sound: told.append(len(sound)))
    spoken.press("9")
    assert told == [soundfile.info(SHIPPED / "fr/refused.wav").frames]
    spoken.stage.sound_over(spoken.leg, after_s=4)
    assert told[1:] == [0]  # music
    agent.carrying.carry_out(spoken.stage.engine, spoken.call, e.StopPlaying(e.CALLER))
    assert told[2:] == [0]


@hears([(REFUSAL,)])
def test_during_the_call_only_the_words_for_it_are_listened_for(spoken: Spoken) -> None:
    words = e.Listen(e.CALLER, tones=False, voice=True, in_call=True)
    spoken.stage.agent.carrying.carry_out(spoken.stage.engine, spoken.call, words)
    spoken.say()
    assert spoken.in_call.heard and not spoken.detector.heard
    assert spoken.decision == "undecided"


@pytest.mark.parametrize(
    ("spoken", "told"),
    [
        ((UNCLEAR, OTHER), ("refused", "unclear", "refuser", 0.5)),
        ((UNCLEAR, REFUSAL), ("refused", "voice", "je refuse", 0.93)),
        ((UNCLEAR, YES), ("refused", "unclear", "refuser", 0.5)),
    ],
    indirect=["spoken"],
)
def test_who_was_not_understood_is_asked_once_more_and_silence_refuses(
    spoken: Spoken, told: tuple[object, ...]
) -> None:
    """Real sound through the real gate; every answer, and a hang-up, in whatever order: test_callflow."""
    spoken.played()
    spoken.say()
    assert spoken.stage.hears(spoken.leg) == "confirm"
    spoken.say()
    flow = spoken.call.flow
    if flow.phase == "confirm":
        spoken.played()
        flow.handle(e.TimePassed(), flow.deadline or 0.0)
    receipt = spoken.call.receipt()
    assert (receipt.decision, receipt.decided_by, receipt.keyword, receipt.confidence) == told
    assert receipt.phase == "window"

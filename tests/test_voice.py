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
from retention.sqlite import Store
from sipagent.agent.admission import SHIPPED, admission, tones
from sipagent.agent.agent import Agent
from sipagent.agent.calls import LiveCall
from sipagent.agent.engine import Incoming, OfLeg, Report, SoundEnded
from sipagent.agent.recorder import Recorder
from sipagent.call import events as e
from sipagent.config.load import parse
from sipagent.voice.detectors import Detectors
from tests.fake_engine import FakeEngine
from tests.kept import archive_of

LEG = 1
AT_ONCE_S = 5
INVITE = (
    "INVITE sip:0323063006@127.0.0.1 SIP/2.0\r\nFrom: <sip:0612345678@127.0.0.1>;tag=1\r\n"
    "To: <sip:0323063006@127.0.0.1>\r\nCall-ID: spoken\r\nCSeq: 1 INVITE\r\n\r\n"
)
CONFIG = """\
[service]
name = "Test"
controller = "Test"
[trunk]
uri = "sip:agent@127.0.0.1"
allowed_sources = ["127.0.0.1/32"]
[operators]
extensions = ["sip:201@127.0.0.1"]
"""


OTHER = Verdict(Meaning.OTHER)
REFUSAL = Verdict(Meaning.REFUSE, "je refuse", 0.93)
UNCLEAR = Verdict(Meaning.UNCLEAR, "refuser", 0.5)
YES = Verdict(Meaning.ACCEPT, "oui", 0.9)


class Stub:
    """A detector that takes whatever is said for one word."""

    every_ms = 100

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.heard: list[int] = []

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        self.heard.append(len(samples))
        return self.verdict


class InTurn(Stub):
    """A detector that takes each utterance for what its turn is."""

    def __init__(self, *verdicts: Verdict) -> None:
        super().__init__(OTHER)
        self.verdicts = list(verdicts)

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        self.heard.append(len(samples))
        return OTHER if place and not place.last else self.verdicts.pop(0)


class Spoken:
    """One call in its notice, and the words that its caller says."""

    def __init__(self, folder: Path, detector: Stub) -> None:
        (folder / "prompts").symlink_to(SHIPPED)
        rules = admission(parse(CONFIG, folder / "config.toml"))
        rules = replace(rules, policy=replace(rules.policy, voice=True))
        self.recorder = Recorder(archive_of(Store(":memory:"), folder, folder), "wav", pytest.fail)
        self.detector = detector
        self.in_call = Stub(OTHER)
        self.agent = Agent(
            rules, self.recorder, tones(), registers=False, detectors=Detectors(self.detector, self.in_call)
        )
        self.engine = FakeEngine(self.agent.post)
        self.engine.up.add(LEG)
        self.recorder.start()
        self.agent.listener.start()
        for report in (Incoming(LEG, "127.0.0.1:5060", INVITE), OfLeg(LEG, e.CallConfirmed(True))):
            self.engine.say(report)
        self.engine.say(OfLeg(LEG, e.MediaArrived()))
        self.turn()

    def turn(self) -> None:
        self.agent.turn(self.engine)

    def say(self) -> None:
        """Two seconds of speech, then silence, as the bridge hands it over."""
        speech, rate = soundfile.read(SHIPPED / "fr/refused.wav", dtype="int16")
        self.hear(np.concatenate([speech[: 2 * rate], np.zeros(rate, np.int16)]), rate)

    def echo(self, prompt: str) -> None:
        """What comes back of one that has just begun."""
        speech, rate = soundfile.read(SHIPPED / f"{prompt}.wav", dtype="int16")
        self.hear(np.concatenate([np.zeros(1000, np.int16), speech // 4, np.zeros(rate, np.int16)]), rate)

    def played(self) -> None:
        """What is played has been heard to its end."""
        one = self.call.playing[e.CALLER]
        self.call.playing[e.CALLER] = replace(one, began=one.began - 60)
        self.tell(SoundEnded(LEG, one.token))

    def press(self, key: str) -> None:
        self.tell(OfLeg(LEG, e.DtmfPressed(LEG, key, "rfc4733")))

    def tell(self, report: Report) -> None:
        self.engine.say(report)
        self.turn()

    def hear(self, sound: Samples, rate: int) -> None:
        for start in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            self.agent.hear(LEG, sound[start : start + FRAME_SAMPLES], start / rate)
            if start % (AT_ONCE_S * rate) == 0:  # a leg's queue holds some seconds
                assert self.agent.listener.flush(30)
        assert self.agent.listener.flush(30)
        self.turn()

    @property
    def call(self) -> LiveCall:
        (call,) = self.agent.live
        return call

    def close(self) -> None:
        self.agent.listener.stop()
        self.recorder.stop()


@pytest.fixture
def spoken(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Spoken]:
    one = Spoken(tmp_path, Stub(request.param))
    yield one
    one.close()


hears = partial(pytest.mark.parametrize, "spoken", indirect=True)


@hears([REFUSAL])
def test_a_spoken_refusal_stops_the_notice_and_decides(spoken: Spoken) -> None:
    spoken.say()
    consent = spoken.call.flow.consent
    assert (consent.decision, consent.by, consent.phase) == ("refused", "voice", "notice")
    assert (consent.keyword, consent.confidence) == ("je refuse", 0.93)
    assert spoken.engine.orders[-2:] == [
        ("play", LEG, "refused.wav", False),
        ("dial", "sip:201@127.0.0.1", '"NO REC +33612345678"'),
    ]
    assert max(spoken.detector.heard) <= 3.0 * SAMPLE_RATE  # not the silence


@hears([REFUSAL])
@pytest.mark.parametrize(
    ("prompt", "decision"), [("fr/notice", "undecided"), ("fr/notice_opt_in", "refused")]
)
def test_the_notice_that_comes_back_refuses_nothing_but_what_only_sounds_like_an_echo_does(
    spoken: Spoken, prompt: str, decision: str
) -> None:
    spoken.echo(prompt)
    assert spoken.call.flow.consent.decision == decision
    spoken.say()
    assert spoken.call.flow.consent.decision == "refused"


@hears([OTHER])
def test_the_listener_knows_of_each_prompt_and_of_its_end(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []
    monkeypatch.setattr(spoken.agent.listener, "plays", lambda leg, sound: told.append((leg, len(sound))))
    spoken.press("9")
    assert told == [(LEG, soundfile.info(SHIPPED / "fr/refused.wav").frames)]
    spoken.tell(SoundEnded(LEG, spoken.call.playing[e.CALLER].token))
    assert told[1:] == [(LEG, 0)]  # music
    spoken.agent.carrying.carry_out(spoken.engine, spoken.call, e.StopPlaying(e.CALLER))
    assert told[2:] == [(LEG, 0)]


@hears([REFUSAL])
def test_during_the_call_only_the_words_for_it_are_listened_for(spoken: Spoken) -> None:
    words = e.Listen(e.CALLER, tones=False, voice=True, in_call=True)
    spoken.agent.carrying.carry_out(spoken.engine, spoken.call, words)
    spoken.say()
    assert spoken.in_call.heard and not spoken.detector.heard
    assert spoken.call.flow.consent.decision == "undecided"


@pytest.mark.parametrize("before_it_ends", [True, False])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("1", ("allowed", "dtmf", None, None)),
        ("9", ("refused", "dtmf", None, None)),
        ("", ("refused", "unclear", "refuser", 0.5)),
        (REFUSAL, ("refused", "voice", "je refuse", 0.93)),
        (YES, ("refused", "unclear", "refuser", 0.5)),
        (UNCLEAR, ("refused", "unclear", "refuser", 0.5)),
    ],
)
def test_what_a_caller_lives_who_was_not_understood(
    tmp_path: Path, answer: str | Verdict, told: tuple[object, ...], before_it_ends: bool
) -> None:
    """Real sound through the real gate: unclear in the window, asked once more, answered or not."""
    spoken = Spoken(tmp_path, InTurn(UNCLEAR, *([answer] if isinstance(answer, Verdict) else [])))
    spoken.played()
    spoken.say()
    assert spoken.engine.orders[-1] == ("play", LEG, "confirm.wav", False)
    if not before_it_ends:
        spoken.played()
    if isinstance(answer, Verdict):
        spoken.say()
    elif answer:
        spoken.press(answer)
    flow = spoken.call.flow
    if flow.phase == "confirm":
        if before_it_ends:
            spoken.played()
        flow.handle(e.TimePassed(), flow.deadline or 0.0)
    receipt = spoken.call.receipt()
    assert (receipt.decision, receipt.decided_by, receipt.keyword, receipt.confidence) == told
    assert receipt.phase == "window"
    spoken.close()


@hears([UNCLEAR])
def test_who_hangs_up_while_asked_once_more_has_decided_nothing(spoken: Spoken) -> None:
    spoken.played()
    spoken.say()
    call = spoken.call
    spoken.tell(OfLeg(LEG, e.LegGone(LEG, 200)))
    receipt = call.receipt(ended=call.began + 30)
    assert (receipt.decision, receipt.outcome, receipt.recording_id) == ("undecided", "abandoned", None)

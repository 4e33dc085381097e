"""A refusal that is spoken: from a caller's RTP through gate, embedding and head to what is recorded.

A head that takes whatever is said for its phrase shows the way; what heads make of words is measured by `make
bench-voice`. The shipped head hears a speakerphone: a notice that comes back 12 dB softer and 0.2 s later is
none, what is said over it is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from media.frame import Samples
from media.hearing.embedding import Head, save_head
from sipagent.agent.admission import SHIPPED
from sipagent.softphone.phone import Call, Phone
from sipagent.softphone.rtp import FRAME, RATE, Playback, RtpEnd, SteadyTone, decode, tone
from tests.conftest import AgentFactory, default_operators
from tests.live import calls
from tests.live.calls import CALLER_HZ, NOTICE_HZ, OPERATOR_HZ, REFUSED_HZ
from tests.peers.agent import PROMPTS, ROOT, RunningAgent, behind_edge
from tests.tapping import PATIENCE_S
from tests.test_spotter import saying
from tests.whisper_model import whisper_base

pytestmark = pytest.mark.live

BEFORE, IN_CALL = "sésame", "sésame ouvre-toi"
NOTICE_S = 3.0  # so long that a refusal is heard before its end, on a busy machine, too


@pytest.fixture
def words() -> Samples:
    """Two seconds of a voice."""
    sound, _ = soundfile.read(SHIPPED / "fr/refused.wav", dtype="int16", frames=16_000)
    return np.asarray(sound, dtype=np.int16)


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """A head that is sure of its phrase, whatever is said."""
    return with_head(tmp_path / "heads", 0.95)


def with_head(folder: Path, to_refuse: float) -> Path:
    folder.mkdir(exist_ok=True)
    thresholds = (0.9, 0.5, to_refuse, 0.95)
    save_head(folder / "own.npz", Head("own", (BEFORE, IN_CALL), *thresholds, saying((0.49, 0.49, 0.02))))
    return folder


@pytest.fixture
def listening(agent_factory: AgentFactory, heads: Path, tmp_path: Path) -> RunningAgent:
    notice = tmp_path / "notice.wav"
    soundfile.write(notice, tone(NOTICE_HZ, NOTICE_S), RATE, subtype="PCM_16")
    refusal = {"engine": "embedding", "heads": str(heads), "in_call": "key+voice"}
    keywords = {"keywords": [BEFORE, IN_CALL], "in_call_keywords": [BEFORE, IN_CALL]}
    return agent_factory(prompts={"notice": str(notice)}, refusal={**refusal, **keywords})


def silent_call(agent: RunningAgent, caller: Phone) -> Call:
    """Of a caller who says nothing yet."""
    caller.sound = None
    return caller.call(agent.uri())


def assert_refused(agent: RunningAgent, phase: str) -> None:
    (receipt,) = agent.wait_receipts()
    told = calls.of(receipt, "decision", "decided_by", "phase", "keyword", "outcome")
    assert told == ["refused", "voice", phase, BEFORE, "connected"]
    assert receipt["confidence"] == pytest.approx(0.98, abs=0.005)
    assert agent.files() == []


def test_in_the_call(
    listening: RunningAgent, caller_phone: Phone, operator_phone: Phone, words: Samples
) -> None:
    """What has been recorded goes, while the caller still speaks; the talk goes on."""
    call = silent_call(listening, caller_phone)
    operator = operator_phone.wait_call()
    call.rtp.wait_tone(OPERATOR_HZ)
    assert not calls.shown(operator).startswith("NO REC")
    listening.wait_part()
    call.rtp.play(Playback(words, loop=True))
    listening.wait_no_files()
    call.rtp.play(SteadyTone(CALLER_HZ))
    calls.Bridge(call, operator).hang_up()
    assert_refused(listening, "call")
    (recording,) = listening.recordings()
    assert calls.of(recording, "status", "path", "decision") == ["erased", None, "refused"]


@pytest.mark.parametrize("callers", [1, 3], ids=["alone", "edge"])
def test_without_a_key_for_it_what_no_notice_promises_is_heard_and_asked_about(
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    words: Samples,
    heads: Path,
    *,
    callers: int,
) -> None:
    """In one process, and behind an edge. The head is sure enough to refuse, and not to erase."""
    refusal = {"heads": str(with_head(heads, 0.99)), "keywords": [BEFORE, IN_CALL]}
    agent = agent_factory(start=False, refusal=refusal, **behind_edge(callers))
    del agent.tables["refusal"]["engine"]
    agent.rewrite()
    agent.start()
    call = silent_call(agent, caller_phone)
    call.rtp.wait_tone(NOTICE_HZ)
    call.rtp.play(Playback(words))
    call.rtp.wait_tone(PROMPTS["confirm"][0])
    call.rtp.wait_tone(REFUSED_HZ)
    call.rtp.play(SteadyTone(CALLER_HZ))
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    told = calls.of(receipt, "decision", "decided_by", "phase", "keyword")
    assert told == ["refused", "unclear", "window", BEFORE] and agent.files() == []


# --- the shipped head, and a speakerphone ---

KEYWORD = Path(__file__).with_name("ne_m_enregistrez_pas.flac")
SAID_S = 5.0  # into the notice, whose request comes at 7 s: "to refuse, say do not record me, or press 9"


class Speakerphone:
    """Sends back what it hears, and what is said beside it."""

    def __init__(self, end: RtpEnd, loss_db: float = 12.0, delay_ms: int = 200) -> None:
        self._end = end
        self._gain = 10 ** (-loss_db / 20)
        self._line = np.zeros(delay_ms * RATE // 1000, np.int16)
        self._taken = 0
        self.sent = calls.Punctuality()

    def frame(self) -> Samples:
        self.sent.note()
        packets, self._taken = self._end.heard[self._taken :], len(self._end.heard)
        heard = [decode(p.payload, p.payload_type) for p in packets if p.payload_type in (0, 8)]
        self._line = np.concatenate([self._line, *heard])
        part, self._line = self._line[:FRAME], self._line[FRAME:]
        return (np.pad(part, (0, FRAME - len(part))) * self._gain).astype(np.int16)


@pytest.fixture(scope="module", params=["head alone", "second opinion"])
def shipped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, operator_port: int
) -> Iterator[RunningAgent]:
    """An agent that hears the shipped phrases, by a Whisper model too, and whose notice asks for one."""
    folder = tmp_path_factory.mktemp("spoken")
    refusal: dict[str, Any] = {"engine": "embedding", "window_s": 0.5}
    if request.param == "second opinion":
        pytest.importorskip("ctranslate2", reason="the extra [second] is not installed")
        refusal["second"] = str(whisper_base(folder / "model"))
    notice = str(ROOT / "prompts/fr/notice_voice.wav")
    prompts = {"notice": notice, "messages": {"phrase": notice}}
    agent = RunningAgent(
        folder / "agent", default_operators(operator_port) | {"prompts": prompts, "refusal": refusal}
    )
    yield agent.start(wait=None)
    agent.close()


@pytest.fixture(params=[False, True], ids=["notice", "message"])
def with_message(request: pytest.FixtureRequest, shipped: RunningAgent) -> Iterator[bool]:
    """Whether a message of today comes first, which says the phrase as well."""
    shipped.wait_for("ready", PATIENCE_S)  # a model takes its time to load
    if not request.param:
        yield False
        return

    def set_as(*words: str) -> list[dict[str, Any]]:
        before = len(shipped.log_events)
        told: list[dict[str, Any]] = json.loads(shipped.cli("today", *words, "--json"))
        shipped.child.wait_line(
            lambda _: any(event["event"] == "today" for event in shipped.log_events[before:]),
            PATIENCE_S,
            "what is different today",
        )
        return told

    (special,) = set_as("--message", "phrase", "--until", "2h")
    yield True
    set_as("--remove", str(special["number"]))


@pytest.mark.parametrize("speaks", [False, True])
def test_the_notice_that_comes_back(
    shipped: RunningAgent, caller_phone: Phone, with_message: bool, speaks: bool
) -> None:
    """On a busy machine a model may answer too late, and an echo that stutters is none. Who said something is
    not recorded then, either.
    """
    shipped.forget()
    before = len(shipped.log_events)
    call = caller_phone.call(shipped.uri())
    speakerphone = Speakerphone(call.rtp)
    call.rtp.play(speakerphone)
    call.wait_answered(PATIENCE_S)
    if speaks:
        keyword, rate = soundfile.read(KEYWORD, dtype="int16")
        assert rate == RATE
        call.loop.wait_for(lambda: bool(call.rtp.heard), PATIENCE_S, "sound")
        call.rtp.overlay(keyword, call.rtp.heard[0].at_ns + round(SAID_S * 1e9))

    def decided(_: str) -> bool:
        return any(event["event"] == "decided" for event in shipped.log_events[before:])

    shipped.child.wait_line(decided, PATIENCE_S, "decision")
    call.hang_up()
    (receipt,) = shipped.wait_receipts()
    told = calls.of(receipt, "decision", "decided_by", "phase", "keyword")
    too_late = any("voice: " in str(event.get("reason")) for event in shipped.log_events[before:])
    came = [packet.at_ns - packet.timestamp * 125_000 for packet in call.rtp.heard]  # 8 kHz, ns
    stutters_s = max(speakerphone.sent.late_s, (max(came) - min(came)) / 1e9)
    if too_late or stutters_s > 0.01:  # half a frame: no speakerphone moves its echo so far
        assert told[0] != "allowed" or not speaks
    elif speaks:
        assert told == ["refused", "voice", "notice", "ne m'enregistrez pas"] and receipt["confidence"] > 0.5
    else:
        assert told == ["allowed", "silence", "window", None]
        assert any(what.startswith("message: phrase") for what in calls.whats(receipt)) is with_message

"""Refusals that are spoken, on a real call: the notice that comes back is none, what is said over it is.

The caller is a speakerphone: what it hears comes back 12 dB softer and 0.2 s later.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sipagent.softphone.phone import Phone
from sipagent.softphone.rtp import FRAME, RATE, RtpEnd, Samples, decode
from tests.conftest import default_operators
from tests.peers.agent import ROOT, RunningAgent
from tests.whisper_model import whisper_base

pytestmark = pytest.mark.live

KEYWORD = Path(__file__).with_name("ne_m_enregistrez_pas.flac")
NOTICE = slice(round(10.3 * RATE), round(16.9 * RATE))  # "To refuse, say do not record me now, or press 9 …"
SAID_S = 1.0  # into the notice
WORDS = "Pour refuser, dites maintenant « ne m'enregistrez pas », ou appuyez sur la touche 9."
PATIENCE_S = 30.0


class Speakerphone:
    """Sends back what it hears, and what is said beside it."""

    def __init__(self, end: RtpEnd, loss_db: float = 12.0, delay_ms: int = 200) -> None:
        self._end = end
        self._gain = 10 ** (-loss_db / 20)
        self._line = np.zeros(delay_ms * RATE // 1000, np.int16)
        self._taken = 0

    def frame(self) -> Samples:
        packets, self._taken = self._end.heard[self._taken :], len(self._end.heard)
        heard = [decode(p.payload, p.payload_type) for p in packets if p.payload_type in (0, 8)]
        self._line = np.concatenate([self._line, *heard])
        part, self._line = self._line[:FRAME], self._line[FRAME:]
        return (np.pad(part, (0, FRAME - len(part))) * self._gain).astype(np.int16)


@pytest.fixture(scope="module", params=["head alone", "second opinion"])
def listening(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, operator_port: int
) -> Iterator[RunningAgent]:
    """An agent that hears the shipped phrases, by a Whisper model too, and whose notice asks for one."""
    folder = tmp_path_factory.mktemp("spoken")
    refusal: dict[str, object] = {"engine": "embedding", "window_s": 0.5}
    if request.param == "second opinion":
        pytest.importorskip("ctranslate2", reason="the extra [second] is not installed")
        refusal["second"] = str(whisper_base(folder / "model"))
    sound, rate = soundfile.read(ROOT / "prompts/fr/notice_voice.wav", dtype="int16")
    assert rate == RATE
    soundfile.write(folder / "asking.wav", sound[NOTICE], RATE, subtype="PCM_16")
    (folder / "asking.txt").write_text(WORDS, encoding="utf-8")
    tables = default_operators(operator_port) | {
        "prompts": {"notice": str(folder / "asking.wav")},
        "refusal": refusal,
    }
    agent = RunningAgent(folder / "agent", tables)
    agent.start()
    yield agent
    agent.close()


@pytest.mark.parametrize("speaks", [False, True])
def test_the_notice_that_comes_back(listening: RunningAgent, caller_phone: Phone, speaks: bool) -> None:
    listening.forget()
    call = caller_phone.call(listening.uri())
    call.rtp.play(Speakerphone(call.rtp))
    call.wait_answered()
    if speaks:
        keyword, rate = soundfile.read(KEYWORD, dtype="int16")
        assert rate == RATE
        call.loop.wait_for(lambda: bool(call.rtp.heard), PATIENCE_S, "sound")
        call.rtp.overlay(keyword, call.rtp.heard[0].at_ns + round(SAID_S * 1e9))
    listening.wait_for("decided", PATIENCE_S, by="voice" if speaks else "silence")
    call.hang_up()
    (receipt,) = listening.wait_receipts()
    told = [receipt[name] for name in ("decision", "decided_by", "phase", "keyword")]
    if speaks:
        assert told == ["refused", "voice", "notice", "ne m'enregistrez pas"] and receipt["confidence"] > 0.5
    else:
        assert told == ["allowed", "silence", "window", None]

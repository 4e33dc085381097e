"""A refusal that is spoken: from a caller's RTP through gate, embedding and head to what is recorded.

The head takes whatever is said for its phrase: what heads make of words is measured by `make bench-voice`.
"""

from __future__ import annotations

from pathlib import Path
from signal import SIGHUP

import numpy as np
import pytest
import soundfile

from media.frame import Samples
from media.hearing.embedding import Head, save_head
from sipagent.agent.admission import SHIPPED
from sipagent.softphone.phone import Phone
from sipagent.softphone.rtp import RATE, Playback, SteadyTone, tone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, NOTICE_HZ, OPERATOR_HZ, REFUSED_HZ
from tests.peers.agent import PROMPTS, RunningAgent
from tests.peers.process import free_ports
from tests.test_spotter import saying

pytestmark = pytest.mark.live

BEFORE, IN_CALL = "sésame", "sésame ouvre-toi"
OTHER_HZ = 940
NOTICE_S = 3.0  # so long that a refusal is heard before its end, on a busy machine, too


@pytest.fixture
def words() -> Samples:
    """Two seconds of a voice."""
    sound, _ = soundfile.read(SHIPPED / "fr/refused.wav", dtype="int16", frames=16_000)
    return np.asarray(sound, dtype=np.int16)


@pytest.fixture
def listening(agent_factory: AgentFactory, tmp_path: Path) -> RunningAgent:
    heads = tmp_path / "heads"
    heads.mkdir()
    save_head(
        heads / "own.npz", Head("own", (BEFORE, IN_CALL), 0.9, 0.5, 0.95, 0.95, saying((0.49, 0.49, 0.02)))
    )
    notice = tmp_path / "notice.wav"
    soundfile.write(notice, tone(NOTICE_HZ, NOTICE_S), RATE, subtype="PCM_16")
    refusal = {"engine": "embedding", "heads": str(heads), "in_call": "key+voice"}
    return agent_factory(
        prompts={"notice": str(notice)},
        refusal={**refusal, "keywords": [BEFORE, IN_CALL], "in_call_keywords": [BEFORE, IN_CALL]},
    )


def assert_refused(agent: RunningAgent, phase: str) -> None:
    (receipt,) = agent.wait_receipts()
    told = [receipt[name] for name in ("decision", "decided_by", "phase", "keyword", "outcome")]
    assert told == ["refused", "voice", phase, BEFORE, "connected"]
    assert receipt["confidence"] == pytest.approx(0.98, abs=0.005)
    assert agent.files() == []


def test_during_the_notice(
    listening: RunningAgent, caller_phone: Phone, operator_phone: Phone, words: Samples
) -> None:
    """The notice stops while the caller still speaks; nothing was ever recorded."""
    caller_phone.sound = None
    call = caller_phone.call(listening.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    call.rtp.play(Playback(words))
    call.rtp.wait_tone(REFUSED_HZ)
    call.rtp.play(SteadyTone(CALLER_HZ))
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    bridge.hang_up()
    assert_refused(listening, "notice")
    assert listening.recordings() == []


def test_in_the_call(
    listening: RunningAgent, caller_phone: Phone, operator_phone: Phone, words: Samples
) -> None:
    """What has been recorded goes, while the caller still speaks; the talk goes on."""
    caller_phone.sound = None
    call = caller_phone.call(listening.uri())
    operator = operator_phone.wait_call(30)
    call.rtp.wait_tone(OPERATOR_HZ)
    assert not calls.shown(operator).startswith("NO REC")
    listening.wait_files(lambda files: any(name.endswith(".part") for name in files))
    call.rtp.play(Playback(words, loop=True))
    listening.wait_files(lambda files: files == [])
    call.rtp.play(SteadyTone(CALLER_HZ))
    calls.Bridge(call, operator).hang_up()
    assert_refused(listening, "call")
    (recording,) = listening.recordings()
    assert (recording["status"], recording["path"], recording["decision"]) == ("erased", None, "refused")


@pytest.mark.parametrize("callers", [1, 3], ids=["alone", "edge"])
def test_without_a_key_for_it_what_no_notice_promises_is_heard_and_asked_about(
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    words: Samples,
    tmp_path: Path,
    *,
    callers: int,
) -> None:
    """In one process, and behind an edge. The head is sure enough to refuse, and not to erase."""
    heads, first = tmp_path / "heads", free_ports(20)
    heads.mkdir()
    save_head(
        heads / "own.npz", Head("own", (BEFORE, IN_CALL), 0.9, 0.5, 0.99, 0.95, saying((0.49, 0.49, 0.02)))
    )
    agent = agent_factory(
        start=False,
        refusal={"heads": str(heads), "keywords": [BEFORE, IN_CALL]},
        capacity={"calls": callers},
        edge={"worker_ports": f"{first}-{first + 19}"},
    )
    del agent.tables["refusal"]["engine"]
    agent.rewrite()
    agent.start()
    caller_phone.sound = None
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    call.rtp.play(Playback(words))
    call.rtp.wait_tone(PROMPTS["confirm"][0])
    call.rtp.wait_tone(REFUSED_HZ)
    call.rtp.play(SteadyTone(CALLER_HZ))
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    told = [receipt[name] for name in ("decision", "decided_by", "phase", "keyword")]
    assert told == ["refused", "unclear", "window", BEFORE] and agent.files() == []


@pytest.mark.parametrize("callers", [1, 3], ids=["alone", "edge"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_reload_promises_nothing_that_nobody_hears(
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    words: Samples,
    *,
    callers: int,
    in_place: bool,
) -> None:
    """A detector comes with a notice that says so: the reload is refused, and callers hear the old notice.

    Where the new one lies in the old one's place already, it is heard, and whoever hears it is not recorded.
    """
    first = free_ports(20)
    edge = {"worker_ports": f"{first}-{first + 19}"}
    agent = agent_factory(capacity={"calls": callers}, edge=edge)
    notice = agent.directory / ("prompts/notice.wav" if in_place else "prompts/other.wav")
    soundfile.write(notice, tone(OTHER_HZ, 1.0), RATE, subtype="PCM_16")
    notice.with_suffix(".txt").write_text("Cet appel est enregistré. Pour refuser, dites « je refuse ».")
    agent.rewrite(refusal={"engine": "embedding"}, prompts={"notice": str(notice)})
    agent.child.signal(SIGHUP)
    refused = agent.wait_for("reload_refused")
    assert f"{notice} promises a spoken refusal, which nobody hears" in refused["reason"]
    caller_phone.sound = None
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(OTHER_HZ if in_place else NOTICE_HZ)
    call.rtp.play(Playback(words))
    operator = operator_phone.wait_call(15)
    call.rtp.wait_tone(OPERATOR_HZ)
    assert calls.shown(operator).startswith("NO REC") == in_place
    calls.Bridge(call, operator).hang_up()
    (receipt,) = agent.wait_receipts()
    decided = ("not_allowed", "notice_failed") if in_place else ("allowed", "silence")
    assert (receipt["decision"], receipt["decided_by"]) == decided
    assert len(agent.wait_settled()) == (not in_place)

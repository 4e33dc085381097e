"""A power cut, a full disk, an order to stop: what was promised to callers holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.reserve import read_reserve
from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.locking import locked
from tests.peers.agent import RunningAgent
from tests.read_only import read_only
from tests.tapping import PATIENCE_S, wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def agent(agent_factory: AgentFactory) -> RunningAgent:
    """One of its own for every test: most of them end it."""
    return agent_factory()


def test_a_power_cut_in_a_call_costs_a_second_at_most(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """kill -9: at the next start the part becomes the recording, incomplete. In the notice: a receipt."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 3.0)
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    agent.kill()
    assert [file for file in agent.files() if file.endswith(".part")]
    agent.start()
    (recording,) = agent.wait_recordings()
    assert recording["incomplete"] is True
    sound = agent.sound(recording)
    assert len(sound) / 8000 > 2.0
    calls.assert_both_heard(sound)
    assert not [file for file in agent.files() if file.endswith((".part", ".tmp"))]
    (receipt,) = agent.wait_receipts()
    assert receipt["recording_id"] == recording["id"]
    bridge.operator.end()
    bridge.caller.end()
    agent.forget()
    caller_phone.call(agent.uri()).rtp.wait_tone(calls.NOTICE_HZ)
    agent.kill()
    agent.start()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "outcome", "decision") == ["failed", "undecided"]
    assert agent.files() == []
    caller_phone.close()


def test_refused_while_the_database_is_locked_nothing_is_kept_whatever_comes_then(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """The mark is there at once, and the sound is not; a kill and the next start change nothing of that."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    agent.wait_part()
    with locked(agent.directory):
        bridge.caller.press("9")
        (mark,) = agent.wait_files(lambda files: [Path(file).suffix for file in files] == [".refused"])
        agent.kill()
    agent.start()
    (recording,) = agent.wait_recordings(status="erased")
    assert (mark, agent.files()) == (f"{recording['id']}.refused", [])
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "decision", "decided_by", "phase") == ["refused", "dtmf", "call"]
    agent.cli("verify")
    bridge.operator.end()
    bridge.caller.end()
    caller_phone.close()


def test_what_does_not_go_is_found_and_goes_later(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """The folder is read-only at the moment of the key, and no mark can be made: the receipt alone tells."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    agent.wait_part()
    with read_only(agent.directory / "recordings", here=False):
        bridge.caller.press("9")
        agent.child.wait_line(lambda line: "has no mark" in line, 10, "alert")
        bridge.hang_up()
        agent.wait_receipts()
        assert "must be erased, and is not" in agent.cli("verify", code=1)
        assert "the next purge tries again" in agent.cli("purge", code=1)
        assert any(
            line.split()[:2] == ["error", "erasures"] for line in agent.cli("check", code=1).splitlines()
        )
        agent.stop()
        agent.start()
        agent.child.wait_line(lambda line: "tried again every minute" in line, 20, "alert")
    assert "erased: its call had wanted it" in agent.cli("purge")
    (recording,) = agent.wait_recordings(status="erased")
    assert (recording["decision"], agent.files()) == ("refused", [])
    agent.cli("verify")


@pytest.mark.parametrize("killed", [True, False])
def test_a_call_while_the_database_is_locked_loses_neither_receipt_nor_recording(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, killed: bool
) -> None:
    """For as long as it takes: what waits is in the reserve, and is written once it can be, or at the next
    start."""
    agent.wait_for("started")
    with locked(agent.directory):
        bridge = calls.connect(agent, caller_phone, operator_phone)
        agent.wait_part()
        calls.talk(bridge.caller, 3.0)
        bridge.hang_up()
        agent.wait_files(lambda files: [Path(file).suffix for file in files] == [".flac"])
        if killed:
            reserve = agent.directory / "retention.reserve"
            wait_for(lambda: any(getattr(one, "ended_at", None) for one in read_reserve(reserve)))
            agent.kill()
    if killed:
        agent.start()
    (recording,) = agent.wait_recordings()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "outcome", "decision") == ["connected", "allowed"]
    assert receipt["recording_id"] == recording["id"] and recording["duration_s"] > 2.5
    assert calls.strength(agent.sound(recording)[:, 0], CALLER_HZ) > 0.1
    wait_for(lambda: read_reserve(agent.directory / "retention.reserve") == [])
    agent.cli("verify")


def test_a_port_in_use_is_one_line(agent: RunningAgent, agent_factory: AgentFactory) -> None:
    other = agent_factory(
        start=False, trunk={"listen": f"127.0.0.1:{agent.port}", "uri": f"sip:agent@127.0.0.1:{agent.port}"}
    )
    other.start(wait=None)
    assert other.child.wait(PATIENCE_S) in (1, 2)
    assert str(agent.port) in other.child.tail()
    assert "Traceback" not in other.child.tail(1000)

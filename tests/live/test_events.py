"""A call through the whole service is told to another program, and who does not answer holds up no end."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest
from standardwebhooks import Webhook

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.agent import behind_edge
from tests.peers.receiver import Received, Receiver, receiving
from tests.tapping import wait_for

pytestmark = pytest.mark.live

SECRET = f"whsec_{b64encode(bytes(range(32))).decode()}"


def told(got: Received) -> dict[str, Any]:
    Webhook(SECRET).verify(got.body, dict(got.headers))
    body: dict[str, Any] = json.loads(got.body)
    return body


def of_call(receiver: Receiver) -> list[str]:
    """Types, without what an alert tells of this machine."""
    return [body["type"] for body in map(told, receiver.received) if body["type"] != "alert"]


@pytest.mark.parametrize("shape", ["one process", "behind the edge"])
def test_a_call_is_told_to_who_is_configured(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, tmp_path: Path, shape: str
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    with receiving() as receiver:
        where = {"webhook": f"http://127.0.0.1:{receiver.port}/", "allow_private": True}
        tables = behind_edge(2) if shape == "behind the edge" else {}
        agent = agent_factory(events=where | {"secret_file": str(tmp_path / "secret")}, **tables)
        calls.connect(agent, caller_phone, operator_phone).hang_up("operator")
        (recording,) = agent.wait_recordings()
        wait_for(lambda: sorted(of_call(receiver)) == ["call.ended", "recording.closed"])
        assert {told(one)["data"]["id"] for one in receiver.received} == {recording["id"]}
        assert not any(b"+336" in one.body for one in receiver.received)

        with receiving() as other:

            def hang(*_: object) -> None:
                time.sleep(600)

            other.answer = hang
            agent.rewrite(events={"webhook": f"http://127.0.0.1:{other.port}/"})
            agent.child.signal(SIGHUP)
            agent.wait_for("reloaded")
            calls.connect(agent, caller_phone, operator_phone).hang_up("operator")
            other.wait_for(1)
            agent.close()
            assert len(of_call(receiver)) == 2

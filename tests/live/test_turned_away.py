"""What no INVITE may do to us."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from sipagent.softphone.phone import Phone, PhoneTimeout
from tests.live import calls
from tests.peers.agent import RunningAgent

pytestmark = pytest.mark.live


HOSTILE = {
    "path": '"../../../etc/passwd" <sip:../../x@127.0.0.1>',
    "control": '"a\x01\x1b[31mred\x07\x7f" <sip:+33612345678@127.0.0.1>',
    "quotes": '"\\" <sip:x@y>" <sip:+33612345678@127.0.0.1>',
    "unclosed": '"never closed <sip:+33612345678@127.0.0.1>',
    "percent": "<sip:%00%2e%2e%2f%0d%0aX-Evil:1@127.0.0.1>",
    "latin-1": '"\udce9t\udce9" <sip:+33612345678@127.0.0.1>',
    "braces": '"${jndi:x}{0}%s%n" <sip:+33612345678@127.0.0.1>',
    "json": '"\\",\\"event\\":\\"ready" <sip:+33612345678@127.0.0.1>',
    "10 kB": '"' + "x" * 10_000 + '" <sip:+33612345678@127.0.0.1>',
    "long user": "<sip:" + "9" * 1500 + "@127.0.0.1>",
}


def test_a_hostile_name_names_no_file(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Whatever becomes of those calls: no file elsewhere, a clean log, and the next caller is served."""
    before = elsewhere(agent)
    taken = 0
    for name in HOSTILE.values():
        operator_phone.skip_calls()
        call = caller_phone.call(agent.uri(), from_header=name)
        with suppress(PhoneTimeout):  # too long to be read: as if it had never come
            if call.wait_status(2) == 200:
                calls.bridged(call, operator_phone).hang_up()
                taken += 1
    operator_phone.skip_calls()
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    served = agent.wait_receipts(taken + 1)
    assert [one["outcome"] for one in served].count("connected") == taken + 1
    agent.wait_settled()
    assert {path.name for path in elsewhere(agent) - before} <= {"retention.db", "retention.db-journal"}
    for file in agent.files():
        assert file.replace("-", "").replace(".", "").isalnum()
    assert not [line for _, line in agent.child.lines if any(ord(c) < 32 or ord(c) == 127 for c in line)]
    assert len([e for e in agent.log_events if e.get("event") == "ready"]) == 1
    json.dumps(served)


def elsewhere(agent: RunningAgent) -> set[Path]:
    return {path for path in agent.directory.parent.rglob("*") if "recordings" not in path.parts}

"""Fixtures of the live tests: phones, the agent, a registrar, all on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sipagent.softphone import Answer, Loop, Phone
from sipagent.softphone_rtp import Tone
from tests.peers.agent import RunningAgent
from tests.peers.kamailio import Kamailio

CALLER_HZ, OPERATOR_HZ = 440, 1000
AgentFactory = Callable[..., RunningAgent]
PhoneFactory = Callable[..., Phone]


@pytest.fixture
def phone_loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


@pytest.fixture
def phone_factory(phone_loop: Loop) -> Iterator[PhoneFactory]:
    """Make phones: `phone_factory(user, hz, ip=…)`; they hang up at the end of the test."""
    with ExitStack() as stack:

        def make(user: str, hz: float, **how: Any) -> Phone:
            phone = stack.enter_context(Phone(phone_loop, user, **how))
            phone.sound = lambda: Tone(hz)
            return phone

        yield make


@pytest.fixture
def operator_phone(phone_factory: PhoneFactory) -> Phone:
    """A desk phone that answers after 0.1 s and says 1000 Hz."""
    phone = phone_factory("201", OPERATOR_HZ)
    phone.answer = Answer(after_s=0.1)
    return phone


@pytest.fixture
def caller_phone(phone_factory: PhoneFactory) -> Phone:
    """A caller who says 440 Hz."""
    return phone_factory("+33612345678", CALLER_HZ, display="Ann")


@pytest.fixture
def agent_factory(tmp_path: Path, operator_phone: Phone) -> Iterator[AgentFactory]:
    """Start agents: `agent_factory(refusal={"window_s": 2})`; each must end well."""
    agents: list[RunningAgent] = []

    def make(*arguments: str, start: bool = True, **overrides: Mapping[str, Any]) -> RunningAgent:
        tables: dict[str, dict[str, Any]] = {name: dict(keys) for name, keys in overrides.items()}
        tables.setdefault("operators", {}).setdefault("extensions", [operator_phone.uri])
        agent = RunningAgent(tmp_path / f"agent{len(agents)}", tables)
        agents.append(agent)
        return agent.start(*arguments) if start else agent

    yield make
    for agent in agents:
        if agent.started:
            agent.close()


@pytest.fixture
def agent(agent_factory: AgentFactory) -> RunningAgent:
    return agent_factory()


@pytest.fixture
def registrar(tmp_path: Path) -> Iterator[Kamailio]:
    """Kamailio, not yet started."""
    kamailio = Kamailio(tmp_path)
    yield kamailio
    kamailio.stop()

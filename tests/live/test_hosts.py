"""Two agents that share a database: their operators are one board, and each phone is rung by one of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sipagent.softphone.phone import Answering, Phone
from tests.conftest import CALLER_HZ, OPERATOR_HZ, AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.test_metrics import figures
from tests.peers.agent import RunningAgent
from tests.peers.process import free_ports
from tests.postgres import Server, primary

pytestmark = pytest.mark.live

SOON_S = 1.0  # for the next phone to ring, also on a machine that is busy


@pytest.fixture
def server() -> Iterator[Server]:
    """One that may be killed."""
    with primary("127.0.0.13") as server:
        yield server


@dataclass
class Hosts:
    """Agents `a` and `b`, a caller for each, and the phones of the operators 201 and 202."""

    a: RunningAgent
    b: RunningAgent
    callers: list[Phone]
    desks: list[Phone]
    figures: list[int]

    def rung(self) -> list[int]:
        """How often each phone was rung so far."""
        return [desk.count("INVITE received") for desk in self.desks]

    def shared(self) -> list[float]:
        return [figures(port)["sipagent_board_shared"] for port in self.figures]


@pytest.fixture
def hosts(agent_factory: AgentFactory, phone_factory: PhoneFactory, server: Server) -> Hosts:
    desks = [phone_factory(user, OPERATOR_HZ) for user in ("201", "202")]
    for desk in desks:
        desk.answer = Answering(after_s=0.1)
    callers = [phone_factory(f"+3361234567{number}", CALLER_HZ) for number in range(2)]
    url, ports = server.database(), [free_ports(1), free_ports(1)]
    a, b = (_agent(agent_factory, url, name, desks, port) for name, port in zip("ab", ports, strict=True))
    for agent in (a, b):
        agent.start(wait=None)
    for agent in (a, b):
        agent.wait_for("ready", 20)
    return Hosts(a, b, callers, desks, ports)


def _agent(make: AgentFactory, url: str, name: str, desks: list[Phone], port: int) -> RunningAgent:
    tables: dict[str, Any] = {
        "operators": {"extensions": [desk.uri for desk in desks], "max_wait_s": 30},
        "retention": {"database": url},
        "cluster": {"host": name},
        "metrics": {"listen": f"127.0.0.1:{port}"},
    }
    return make(start=False, **tables)


def test_who_waits_on_one_host_is_served_by_who_becomes_free_on_the_other(hosts: Hosts) -> None:
    hosts.desks[1].answer = Answering(status=486)  # he talks on the telephone, with somebody else
    first = calls.connect(hosts.a, hosts.callers[0], hosts.desks[0])
    waits = hosts.callers[1].call(hosts.b.uri())
    waits.rtp.wait_tone(calls.MUSIC_HZ, 15)
    hosts.desks[1].wait_at("486 INVITE sent")
    assert hosts.rung()[0] == 1
    first.hang_up()
    rung = hosts.desks[0].wait_at("INVITE received", 1)
    assert rung - hosts.desks[0].at("BYE received") < SOON_S * calls.SECOND
    calls.bridged(waits, hosts.desks[0]).hang_up()


def test_each_phone_is_rung_once_and_without_the_database_calls_go_on_until_it_is_back(
    hosts: Hosts, server: Server
) -> None:
    on_a = calls.connect(hosts.a, hosts.callers[0], hosts.desks[0])
    on_b = calls.connect(hosts.b, hosts.callers[1], hosts.desks[1])
    assert (hosts.rung(), hosts.shared()) == ([1, 1], [1, 1])
    server.kill()
    killed = time.monotonic_ns()
    for agent in (hosts.a, hosts.b):
        agent.child.wait_line(lambda line: "board of operators" in line, 10, "the loss of the board")
    assert hosts.shared() == [0, 0]
    assert json.loads(hosts.a.cli("status", "--json"))["board_shared"] is False
    on_a.hang_up()
    on_a = calls.connect(hosts.a, hosts.callers[0], hosts.desks[0])
    on_b.caller.rtp.wait_tone(OPERATOR_HZ)
    assert on_b.caller.rtp.listen(killed, time.monotonic_ns()).longest_silence_s() < 1
    server.start()
    for agent in (hosts.a, hosts.b):
        agent.wait_for("board_shared")
    assert hosts.shared() == [1, 1]
    on_b.hang_up()
    on_b = calls.connect(
        hosts.b, hosts.callers[1], hosts.desks[1]
    )  # 201 talks with a caller of the other host
    assert hosts.rung() == [2, 2]
    on_a.hang_up()
    on_b.hang_up()

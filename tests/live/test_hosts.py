"""Agents that share a database: their operators are one board; rows are there at once, or once it is back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sipagent.agent.stored import journal_of
from sipagent.config.load import load
from sipagent.softphone.phone import Answering, Phone
from tests.conftest import CALLER_HZ, OPERATOR_HZ, AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import figures
from tests.peers.agent import RunningAgent
from tests.peers.process import free_ports
from tests.postgres import Server, database_of, primary
from tests.tapping import PATIENCE_S, wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def server() -> Iterator[Server]:
    """One that may be killed."""
    with primary("127.0.0.13") as server:
        yield server


@dataclass
class Hosts:
    """Agents `a` and `b`, a caller for each, and the phones of the operators 201 and 202."""

    agents: list[RunningAgent]
    callers: list[Phone]
    desks: list[Phone]
    figures: list[int]
    server: Server
    database: str

    def connect(self, host: int) -> calls.Bridge:
        """The host's caller and the operator of the same number."""
        return calls.connect(self.agents[host], self.callers[host], self.desks[host], PATIENCE_S)

    def rung(self) -> list[int]:
        """How often each phone was rung so far."""
        return [desk.count("INVITE received") for desk in self.desks]

    def told(self, name: str) -> list[float]:
        return [figures(port)[name] for port in self.figures]

    def wait_kept(self, *names: str) -> None:
        """Until the shared database has a complete receipt and a recording of calls of these hosts."""

        def kept(table: str, whole: str) -> list[str]:
            rows = self.server.execute(f"SELECT id FROM {table} WHERE {whole} ORDER BY id", self.database)
            return [str(id).split("-")[1].removeprefix("h") for (id,) in rows]

        wait_for(lambda: kept("recordings", "status = 'closed'") == [*names])
        wait_for(lambda: kept("receipts", "ended_at IS NOT NULL AND outcome = 'connected'") == [*names])

    def states(self) -> list[tuple[str, str, int]]:
        """As `sipagent hosts` has them: host, state, rows that wait."""
        told = json.loads(self.agents[0].cli("hosts", "--json"))
        return [(host["host"], host["state"], host["lag_rows"]) for host in told]


@pytest.fixture
def hosts(agent_factory: AgentFactory, phone_factory: PhoneFactory, server: Server) -> Hosts:
    desks = [phone_factory(user, OPERATOR_HZ) for user in ("201", "202")]
    for desk in desks:
        desk.answer = Answering(after_s=0.1)
    callers = [phone_factory(f"+3361234567{number}", CALLER_HZ) for number in range(2)]
    url, ports = server.database(), [free_ports(1), free_ports(1)]
    agents = []
    for name, port in zip("ab", ports, strict=True):
        tables: dict[str, Any] = {
            "operators": {"extensions": [desk.uri for desk in desks], "max_wait_s": 60},
            "retention": {"database": url},
            "cluster": {"host": name},
            "metrics": {"listen": f"127.0.0.1:{port}"},
        }
        agents.append(agent_factory(start=False, **tables))
    for agent in agents:
        agent.start(wait=None)
    for agent in agents:
        agent.wait_for("ready", PATIENCE_S)
    return Hosts(agents, callers, desks, ports, server, database_of(url))


def test_who_waits_on_one_host_is_served_by_who_becomes_free_on_the_other(hosts: Hosts) -> None:
    """What was written is in the shared database then, and not in the journals."""
    hosts.desks[1].answer = Answering(status=486)  # he talks on the telephone, with somebody else
    first = hosts.connect(0)
    waits = hosts.callers[1].call(hosts.agents[1].uri())
    waits.rtp.wait_tone(calls.MUSIC_HZ, PATIENCE_S)
    hosts.desks[1].wait_at("486 INVITE sent")
    assert hosts.rung()[0] == 1
    first.hang_up()
    hosts.desks[0].wait_at("INVITE received", 1)
    calls.bridged(waits, hosts.desks[0], PATIENCE_S).hang_up()
    hosts.wait_kept("a", "b")
    for agent in hosts.agents:
        with journal_of(load(agent.config)) as journal:  # which lets go of what was shipped
            wait_for(lambda journal=journal: not (journal.receipts() or journal.recordings()))  # type: ignore[misc]
    assert hosts.states() == [("a", "running", 0), ("b", "running", 0)]
    assert hosts.told("sipagent_shared_database_up") == [1, 1]
    hosts.agents[0].stop()
    assert hosts.states()[0] == ("a", "stopped", 0)


def test_each_phone_is_rung_once_and_without_the_database_calls_go_on_until_it_is_back(
    hosts: Hosts, server: Server
) -> None:
    """Neither a call nor a start waits for it; afterwards it has all of them."""
    on_a, on_b = hosts.connect(0), hosts.connect(1)
    assert (hosts.rung(), hosts.told("sipagent_board_shared")) == ([1, 1], [1, 1])
    server.kill()
    killed = time.monotonic_ns()
    for agent in hosts.agents:
        agent.child.wait_line(lambda line: "board of operators" in line, PATIENCE_S, "the loss of the board")
        wait = "the shared database does not answer"
        agent.child.wait_line(lambda line, wait=wait: wait in line, PATIENCE_S, wait)  # type: ignore[misc]
    assert hosts.told("sipagent_board_shared") == [0, 0]
    assert json.loads(hosts.agents[0].cli("status", "--json"))["board_shared"] is False
    on_a.hang_up()
    hosts.agents[0].wait_ended(1)
    hosts.agents[0].stop()
    hosts.agents[0].start()  # what a kill had left would be finished from the journal alone
    on_a = hosts.connect(0)
    on_b.caller.rtp.wait_tone(OPERATOR_HZ)
    assert on_b.caller.rtp.listen(killed, time.monotonic_ns()).longest_silence_s() < 1
    server.start()
    for agent in hosts.agents:
        agent.wait_for("board_shared", PATIENCE_S)
    on_b.hang_up()
    hosts.desks[1].skip_calls()
    on_b = hosts.connect(1)  # 201 talks with a caller of the other host
    assert hosts.rung() == [2, 2]
    on_a.hang_up()
    on_b.hang_up()
    hosts.wait_kept("a", "b", "a", "b")

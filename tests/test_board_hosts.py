"""Hosts as processes of their own, one PostgreSQL: never one operator for two calls, whatever is killed."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import pytest

from sipagent.agent.shared_board import read
from tests.peers.process import Child
from tests.postgres import Server, database_of, primary
from tests.relay import relayed

ROOT = Path(__file__).parent.parent
PATIENCE_S, LEASE_S = 20.0, 2.0
OPERATORS = 3
SETTLED_NS = 1_000_000_000  # after a break: what was begun without the board is over
Said = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that may be killed."""
    with primary("127.0.0.11") as server:
        yield server


class HostProcess:
    """A host of its own, and what it has said."""

    def __init__(self, url: str, name: str, *, hold_ms: float = 20.0, lease_s: float = LEASE_S) -> None:
        options = ("--operators", f"{OPERATORS}", "--hold-ms", f"{hold_ms}", "--lease-s", f"{lease_s}")
        command = [sys.executable, "-m", "tests.board_host", url, name, *options]
        self.child = Child(command, ROOT, env={"PYTHONPATH": str(ROOT)})

        self._said: list[Said] = []
        self._read = 0

    @property
    def said(self) -> list[Said]:
        """All so far, but lines of a log."""
        new = self.child.lines[self._read :]
        self._read += len(new)
        self._said += [json.loads(line) for _, line in new if line.startswith("{")]
        return self._said

    def wait_all_operators(self, after_ns: float) -> None:
        """Until each of the three was with a caller who came to him after that moment."""

        def each(said: list[Said]) -> bool:
            return len({one["operator"] for one in said if one.get("from", 0) > after_ns}) == OPERATORS

        self.wait(each, "caller for each operator")

    def wait(self, wanted: Callable[[list[Said]], object], what: str) -> None:
        """Until what it has said is as wanted."""
        until = time.monotonic() + PATIENCE_S
        with self.child.said:
            while not wanted(self.said):
                left = until - time.monotonic()
                assert left > 0 and self.child.running, f"no {what}:\n{self.child.tail()}"
                self.child.said.wait(left)

    def wait_served(self, count: int, *, alone: bool = False, after_ns: int = 0) -> None:
        """Until so many callers had an operator, who came to him after that moment."""

        def enough(said: list[Said]) -> bool:
            served = [one for one in said if one.get("from", 0) > after_ns and one["alone"] == alone]
            return len(served) >= count

        self.wait(enough, f"{count} callers served, alone: {alone}")

    def wait_alone(self, alone: bool, after_ns: int) -> int:
        """Until it is, or is no longer; when, in ns."""

        def states(said: list[Said]) -> list[int]:
            return [one["at"] for one in said if one.get("at", 0) > after_ns and one["alone"] is alone]

        self.wait(states, f"being alone: {alone}")
        return states(self.said)[0]

    def end(self) -> None:
        self.child.signal(SIGTERM)
        assert self.child.wait(PATIENCE_S) == 0


@dataclass
class Country:
    """Hosts that share a database."""

    hosts: list[HostProcess]

    def host(self, url: str, name: str, **how: Any) -> HostProcess:
        self.hosts.append(HostProcess(url, name, **how))
        return self.hosts[-1]

    def doubled(self, after_ns: int = 0) -> list[tuple[Said, Said]]:
        """Pairs of callers who had the same operator at the same time."""
        spans = [one for host in self.hosts for one in host.said if one.get("from", -1) >= after_ns]
        spans.sort(key=lambda one: (one["operator"], one["from"]))
        return [
            (one, next)
            for one, next in itertools.pairwise(spans)
            if one["operator"] == next["operator"] and next["from"] < one["to"]
        ]

    def alerts(self) -> int:
        return sum("alert" in one for host in self.hosts for one in host.said)


@pytest.fixture
def country() -> Iterator[Country]:
    country = Country([])
    yield country
    for host in country.hosts:
        host.child.stop()


@pytest.fixture
def url(postgres: Server, database: str) -> str:
    """Of a database that is not touched meanwhile."""
    return database


def test_three_hosts_at_once_never_ring_one_operator_for_two_calls(
    postgres: Server, url: str, country: Country
) -> None:
    hosts = [country.host(url, name, lease_s=12.0) for name in "abc"]
    for host in hosts:
        host.wait_served(100)
    for host in hosts:
        host.end()
    assert country.doubled() == [] and country.alerts() == 0
    ((text,),) = postgres.execute("SELECT state FROM board_state", database_of(url))
    left = read(text)
    assert (left.hosts, left.standing.waiting, left.standing.engaged) == ({}, {}, {})


def test_a_host_that_dies_gives_its_operators_to_the_others(url: str, country: Country) -> None:
    dead = country.host(url, "a", hold_ms=100.0)
    dead.wait_served(3)
    other = country.host(url, "b", hold_ms=10.0)
    other.wait_served(3)
    dead.child.signal(SIGKILL)
    killed = time.monotonic_ns()
    other.wait_all_operators(killed)
    assert time.monotonic_ns() - killed < (LEASE_S + 2) * 1e9
    other.end()
    assert country.alerts() == 0


@pytest.mark.slow
def test_a_host_that_stands_still_for_long_is_not_relied_on_and_tells_anew(
    url: str, country: Country
) -> None:
    still = country.host(url, "a", hold_ms=5.0)
    still.wait_served(20)
    other = country.host(url, "b", hold_ms=5.0)
    other.wait_served(20)
    still.child.signal(SIGSTOP)
    stopped = time.monotonic_ns()
    other.wait(
        lambda said: (
            len({one["operator"] for one in said if one.get("from", 0) > stopped + LEASE_S * 1e9}) == 3
        ),
        "call for each operator",
    )
    still.child.signal(SIGCONT)
    woken = time.monotonic_ns()
    still.wait_served(20, after_ns=woken + SETTLED_NS)
    for host in country.hosts:
        host.end()
    assert country.doubled(woken + SETTLED_NS) == []
    assert not any("alert" in one for one in other.said)


@pytest.mark.slow
def test_a_line_that_falls_silent_concerns_one_host_alone(
    postgres: Server, url: str, country: Country
) -> None:
    with relayed((postgres.host, postgres.port)) as line:
        address, port = line.address
        through = url.replace(f"{postgres.host}:{postgres.port}", f"{address}:{port}")
        cut, other = country.host(through, "a"), country.host(url, "b")
        for host in country.hosts:
            host.wait_served(20)
        line.stall()
        stalled = time.monotonic_ns()
        assert cut.wait_alone(True, stalled) - stalled < 1.5e9
        cut.wait_served(20, alone=True, after_ns=stalled)
        other.wait(
            lambda said: (
                len({one["operator"] for one in said if one.get("from", 0) > stalled + LEASE_S * 1e9}) == 3
            ),
            "call for each operator",
        )
        line.flow()
        back = cut.wait_alone(False, stalled)
        for host in country.hosts:
            host.wait_served(20, after_ns=back + SETTLED_NS)
        for host in country.hosts:
            host.end()
        assert country.doubled(back + SETTLED_NS) == [] and country.alerts() == 1


@pytest.mark.slow
def test_a_database_that_is_killed_and_comes_back_finds_everybody(server: Server, country: Country) -> None:
    url = server.database()
    hosts = [country.host(url, name) for name in "ab"]
    for host in hosts:
        host.wait_served(20)
    server.kill()
    killed = time.monotonic_ns()
    for host in hosts:
        assert host.wait_alone(True, killed) - killed < 1.5e9
        host.wait_served(20, alone=True, after_ns=killed)
    server.start()
    back = max(host.wait_alone(False, killed) for host in hosts) + SETTLED_NS
    for host in hosts:
        host.wait_served(20, after_ns=back)
        host.end()
    assert country.doubled(back) == [] and country.alerts() == len(hosts)


@pytest.mark.slow
def test_a_standby_that_is_promoted_is_the_board_from_then_on(server: Server, country: Country) -> None:
    url = server.database()
    with server.standby("127.0.0.12") as standby:
        both = url.replace(
            f"{server.host}:{server.port}", f"{server.host}:{server.port},{standby.host}:{standby.port}"
        )
        hosts = [country.host(both, name) for name in "ab"]
        for host in hosts:
            host.wait_served(20)
        server.kill()
        killed = time.monotonic_ns()
        standby.promote()
        for host in hosts:
            host.wait_served(20, after_ns=killed + 4 * SETTLED_NS)
        back = time.monotonic_ns()
        for host in hosts:
            host.wait_served(20, after_ns=back)
            host.end()
        assert country.doubled(killed + 4 * SETTLED_NS) == []
    server.start()

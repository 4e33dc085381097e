"""An agent whose rows go to a database that hosts share: there at once, and no call minds that it is away."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from retention.records import Receipt, Recording, Status
from sipagent.agent.stored import journal_of, store_of
from sipagent.config.load import load
from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.test_metrics import figures
from tests.peers.agent import RunningAgent
from tests.peers.process import free_ports
from tests.postgres import Server, primary
from tests.tapping import wait_for

pytestmark = pytest.mark.live


@pytest.fixture
def server() -> Iterator[Server]:
    """One that may be killed."""
    with primary() as server:
        yield server


@pytest.fixture
def port() -> int:
    return free_ports(1)


@pytest.fixture
def ours(agent_factory: AgentFactory, server: Server, port: int, operator_phone: Phone) -> RunningAgent:
    return agent_factory(
        retention={"database": server.database()},
        cluster={"host": "a", "lease_s": 4},
        metrics={"listen": f"127.0.0.1:{port}"},
    )


def kept(ours: RunningAgent, count: int) -> tuple[list[Receipt], list[Recording]]:
    """What the shared database has, once it has so many calls that are over."""
    found: list[tuple[list[Receipt], list[Recording]]] = []

    def enough() -> bool:
        with store_of(load(ours.config)) as shared:
            found[:] = [(shared.receipts(), shared.recordings())]
        receipts, recordings = found[0]
        closed = sum(row.status is Status.CLOSED for row in recordings)
        return min(closed, sum(receipt.outcome is not None for receipt in receipts)) >= count

    wait_for(enough)
    return found[0]


def test_a_call_is_in_the_shared_database_and_not_in_the_journal(
    ours: RunningAgent, caller_phone: Phone, operator_phone: Phone, port: int
) -> None:
    calls.connect(ours, caller_phone, operator_phone).hang_up()
    ((receipt,), (recording,)) = kept(ours, 1)
    assert receipt.id == recording.id and "-ha-" in receipt.id
    assert (receipt.outcome, receipt.decision) == ("connected", "allowed")
    with journal_of(load(ours.config)) as journal:
        wait_for(
            lambda: journal.receipts() == [] and journal.recordings() == []
        )  # it lets go of what was shipped
    (host,) = json.loads(ours.cli("hosts", "--json"))
    assert (host["host"], host["state"], host["lag_rows"]) == ("a", "running", 0)
    assert figures(port)["sipagent_shared_database_up"] == 1.0
    ours.stop()
    (host,) = json.loads(ours.cli("hosts", "--json"))
    assert (host["state"], host["calls"]) == ("stopped", 0)


def test_calls_go_on_without_the_database_and_it_has_them_afterwards(
    ours: RunningAgent, server: Server, caller_phone: Phone, operator_phone: Phone
) -> None:
    first = calls.connect(ours, caller_phone, operator_phone)
    server.kill()
    calls.talk(first.caller, 1.0)
    first.hang_up()
    calls.connect(ours, caller_phone, operator_phone).hang_up()
    ours.wait_ended(2)
    assert "the shared database does not answer" in ours.wait_for("alert")["reason"]
    ours.stop()
    ours.start()  # what a kill had left would be finished from the journal alone
    calls.connect(ours, caller_phone, operator_phone).hang_up()
    server.start()
    receipts, recordings = kept(ours, 3)
    assert [receipt.outcome for receipt in receipts] == ["connected"] * 3
    assert len(recordings) == 3

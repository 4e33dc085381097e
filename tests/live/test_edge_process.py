"""The edge's process: registration, draining, changes without a restart, and what may be found at a start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from sipagent.check.machine import answers_as_agent
from sipagent.config.load import HostPort
from sipagent.edge.process import EdgeProcess
from sipagent.edge.rpc import EdgeError
from sipagent.softphone.loop import PATIENCE_S
from tests.peers import edge as scene
from tests.peers.edge import NUMBER, OURS, Edge, hangs_up, opened
from tests.peers.process import free_ports

pytestmark = pytest.mark.live


@pytest.fixture
def edge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Edge]:
    """One of the test's own, with its changes of the plan."""
    with opened(tmp_path / "edge", **getattr(request, "param", {})) as edge:
        yield edge


def of(**changes: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("edge", [changes], indirect=True, ids=["edge"])


def test_an_edge_that_drains_takes_no_call_and_keeps_those_that_go_on(edge: Edge) -> None:
    call, taken, _ = edge.answered()
    assert answers_as_agent(edge.plan.listen), "which `check` asks, from this machine"
    edge.process.rpc.give_way()
    assert edge.answer(edge.trunk, "OPTIONS") == 503
    edge.answered()[0].hang_up()
    edge.process.rpc.drain()
    assert edge.answer(edge.trunk, "OPTIONS") == 503
    refused = edge.call()
    assert refused.wait_status() == 503
    assert edge.told(refused.call_id).why == "draining"
    hangs_up(taken, call)


@of(workers=2)
def test_without_a_worker_calls_are_to_go_elsewhere(edge: Edge) -> None:
    assert edge.answer(edge.trunk, "OPTIONS") == 200
    for index, said in ((0, 200), (1, 503)):
        edge.process.rpc.deactivate(index)
        assert edge.answer(edge.trunk, "OPTIONS") == said
    edge.process.rpc.activate(0)
    assert edge.answer(edge.trunk, "OPTIONS") == 200


@of(workers=1, calls=1)
def test_workers_and_calls_are_added_without_a_restart(edge: Edge) -> None:
    call, _, _ = edge.answered()
    assert edge.call().wait_status() == 503
    pid = edge.process.pid
    edge.process.rpc.deactivate(0)
    edge.process.change(replace(edge.plan, workers=2, calls=3))
    assert edge.call().wait_status() == 503, "none is active"
    edge.process.rpc.activate(1)
    edge.workers.append(second := edge.worker(1))
    edge.phones.append(second)
    other, _, index = edge.answered()
    assert index == 1
    edge.process.rpc.activate(0)
    assert edge.process.rpc.active() == {0, 1}
    edge.process.change(replace(edge.plan, workers=2, calls=3))
    assert edge.process.rpc.active() == {0, 1}, "a list that is read anew deactivates nobody"
    third, _, _ = edge.answered()
    assert edge.call().wait_status() == 503, "three calls, not two times two"
    assert edge.process.pid == pid
    for one in (call, other, third):
        one.hang_up()
    edge.idle()


def test_an_edge_whose_supervisor_was_killed_makes_room(edge: Edge) -> None:
    """It goes on as long as nobody takes its place, for the calls that do; they outlive the change."""
    call, taken, _ = edge.answered()
    edge.process.release()  # as its death does
    successor = EdgeProcess(edge.plan, edge.process.directory, lambda _: None)
    try:
        successor.start()
        wait([edge.process.sentinel], PATIENCE_S)
        assert not edge.process.running and successor.rpc.statistics().calls == 1
        hangs_up(taken, call)
    finally:
        successor.stop()


def test_a_dead_edge_is_noticed_and_leaves_no_process(edge: Edge) -> None:
    group = edge.process.pid
    os.kill(group, signal.SIGKILL)
    assert wait([edge.process.sentinel], PATIENCE_S)
    edge.process.stop()
    edge.until(lambda: not there(group), "end of its processes")  # the kernel takes its time
    with pytest.raises(EdgeError, match="does not answer"):
        edge.process.rpc.statistics()


def there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_dialogs_that_cannot_be_read_are_put_aside(edge: Edge) -> None:
    """Such as a crash of the machine may leave; a row that is cut off costs itself alone."""
    edge.answered()
    edge.process.stop()
    rows = edge.process.directory / "dialogs" / "dialog"
    assert {path.stat().st_mode & 0o077 for path in rows.parent.iterdir()} == {0}, "callers' numbers"
    rows.write_bytes(rows.read_bytes() + b"1:2174:47")
    edge.start()
    assert edge.statistics.calls == 1
    edge.process.stop()
    rows.write_bytes(rows.read_bytes() + b"nonsense\n")
    edge.start()
    assert any("put aside" in str(line) for line in edge.said)
    assert rows.with_name("dialog.unread").read_bytes().endswith(b"nonsense\n")
    call, _, _ = edge.answered()
    call.hang_up()
    edge.idle()


def test_a_port_that_is_taken_is_one_line_and_costs_no_dialogs(edge: Edge) -> None:
    edge.answered()
    edge.process.stop()
    edge.kept(1)
    taken = edge.phone(OURS)
    process = EdgeProcess(scene.plan(listen=HostPort(*taken.address)), edge.process.directory, lambda _: None)
    with pytest.raises(EdgeError, match=r"(?i)address already in use") as error:
        process.start()
    assert "\n" not in str(error.value)
    assert not process.running
    edge.kept(1)


def test_any_address_is_listened_on_and_one_is_told(tmp_path: Path) -> None:
    """As `listen = "0.0.0.0:5060"` has it, behind NAT or not."""
    port = free_ports(1, OURS)
    with opened(tmp_path / "edge", listen=HostPort("0.0.0.0", port)) as edge:
        call = edge.trunk.call(f"sip:{NUMBER}@{OURS}:{port}")
        call.wait_answered()
        assert call.final is not None
        shown = [value for name, value in call.final.headers if name in {"Record-Route", "Contact"}]
        assert all(OURS in value for value in shown), shown
        index, taken = edge.taken(call)
        taken.wait_acked()
        leg, other = edge.dialled(index)
        assert other.incoming is not None
        assert other.incoming.header("Via").startswith(f"SIP/2.0/UDP {OURS}:{port}")
        hangs_up(taken, call)
        hangs_up(other, leg)


def test_a_route_that_has_led_here_leads_no_further(edge: Edge) -> None:
    call = edge.call(headers=(("Route", f"<{edge.plan.path}>"), ("Route", f"<{edge.operator.uri};lr>")))
    call.wait_answered()
    _, taken = edge.taken(call)
    assert taken.incoming is not None and not taken.incoming.all("Route")
    assert not edge.operator.count("INVITE received")
    call.hang_up()
    edge.idle()

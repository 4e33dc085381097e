"""The edge's process: registration, draining, changes without a restart, and what may be found at a start."""

from __future__ import annotations

import ipaddress
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from sipagent.check.machine import answers_as_agent
from sipagent.config.load import HostPort
from sipagent.edge.plan import HOP_HEADER, Addresses
from sipagent.edge.process import EdgeProcess
from sipagent.edge.rpc import EdgeError
from sipagent.softphone.phone import Loop, Phone, Transaction
from sipagent.softphone.sip import Message
from tests.peers import edge as scene
from tests.peers.edge import NUMBER, OURS, PATIENCE_S, WORKERS, Edge
from tests.peers.process import free_ports

pytestmark = pytest.mark.live

REGISTRAR = "127.0.0.6"


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def running(stack: ExitStack, loop: Loop, directory: Path, **changes: object) -> Edge:
    edge = Edge(directory, loop, scene.plan(**changes))
    stack.callback(edge.close)
    return edge.start()


def register(phone: Phone, edge: Edge, expires: int) -> None:
    """What the account sends to the trunk's registrar, by way of the edge."""
    ip, port = phone.address
    headers = (
        ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bKreg{expires}"),
        ("Max-Forwards", "70"), ("Route", f"<{edge.plan.proxy}>"),
        ("From", "<sip:agent@trunk.test>;tag=1"), ("To", "<sip:agent@trunk.test>"),
        ("Call-ID", f"register@{ip}"), ("CSeq", f"{expires} REGISTER"),
        ("Contact", f"<sip:agent@{ip}:{port}>"), ("Expires", str(expires)),
        (HOP_HEADER, edge.tokens.to_edge),
        ("Authorization", 'Digest username="agent", realm="trunk.test", nonce="1", response="2"'),
    )  # fmt: skip
    message = Message("REGISTER sip:trunk.test SIP/2.0", headers)
    with edge.loop.changing():
        phone.request(Transaction(message, edge.plan.inner, lambda _: None))


def test_the_account_is_registered_with_the_edges_address(
    loop: Loop, stack: ExitStack, tmp_path: Path
) -> None:
    """And the trunk, which calls that address, gets a worker."""
    registrar = stack.enter_context(Phone(loop, "registrar", REGISTRAR))
    edge = running(stack, loop, tmp_path / "edge", registrar="sip:{}:{}".format(*registrar.address))
    account = stack.enter_context(Phone(loop, "agent", *edge.plan.account))
    register(account, edge, 60)
    registrar.wait_at("REGISTER received", timeout=PATIENCE_S)
    (message,) = [one.message for one in registrar.seen if one.describe() == "REGISTER received"]
    assert message.start == "REGISTER sip:trunk.test SIP/2.0"
    assert message.all("Contact") == [f"<sip:agent@{edge.plan.listen}>"]
    assert message.all("Path") == [f"<sip:{edge.plan.listen};lr>"] and message.all("Supported") == ["path"]
    assert 'realm="trunk.test"' in message.header("Authorization"), "the digest is the account's"
    assert not message.all("Route")
    account.wait_at("481 REGISTER received", timeout=PATIENCE_S)  # which is how our phones answer
    call = edge.trunk.call(edge.plan.contact, headers=(("Route", f"<{edge.plan.path}>"),))
    call.wait_answered(PATIENCE_S)
    assert edge.taken(call)
    call.hang_up()
    edge.idle()


def test_an_edge_that_drains_takes_no_call_and_keeps_those_that_go_on(
    loop: Loop, stack: ExitStack, tmp_path: Path
) -> None:
    edge = running(stack, loop, tmp_path / "edge")
    call, taken, _ = edge.answered()
    assert answers_as_agent(edge.plan.listen), "which `check` asks, from this machine"
    edge.process.rpc.give_way()
    assert edge.answer(edge.trunk, "OPTIONS") == 503
    edge.answered()[0].hang_up()
    edge.process.rpc.drain()
    assert edge.answer(edge.trunk, "OPTIONS") == 503
    assert edge.call().wait_status() == 503
    edge.until(lambda: edge.rejected, "line of the rejected call")
    assert edge.rejected[0].why == "draining"
    taken.hang_up()
    call.wait_ended()


def test_without_a_worker_calls_are_to_go_elsewhere(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    edge = running(stack, loop, tmp_path / "edge", workers=2)
    assert edge.answer(edge.trunk, "OPTIONS") == 200
    for index, said in ((0, 200), (1, 503)):
        edge.process.rpc.deactivate(index)
        assert edge.answer(edge.trunk, "OPTIONS") == said
    edge.process.rpc.activate(0)
    assert edge.answer(edge.trunk, "OPTIONS") == 200


def test_workers_and_calls_are_added_without_a_restart(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    edge = running(stack, loop, tmp_path / "edge", workers=1, calls=1)
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


def test_an_edge_whose_supervisor_was_killed_makes_room(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    """It goes on as long as nobody takes its place, for the calls that do; they outlive the change."""
    edge = running(stack, loop, tmp_path / "edge")
    call, taken, _ = edge.answered()
    edge.process.release()  # as its death does
    successor = EdgeProcess(edge.plan, edge.process.directory, lambda _: None)
    successor.start()
    stack.callback(successor.stop)
    wait([edge.process.sentinel], PATIENCE_S)
    assert not edge.process.running and successor.rpc.statistics().calls == 1
    taken.hang_up()
    call.wait_ended()


def test_a_dead_edge_is_noticed_and_leaves_no_process(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    edge = running(stack, loop, tmp_path / "edge")
    group = edge.process.pid
    os.kill(group, signal.SIGKILL)
    assert wait([edge.process.sentinel], PATIENCE_S)
    edge.process.stop()
    patience = time.monotonic() + PATIENCE_S
    while _there(group):  # the kernel takes its time
        assert time.monotonic() < patience
        time.sleep(0.02)
    with pytest.raises(EdgeError, match="does not answer"):
        edge.process.rpc.statistics()


def _there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_dialogs_that_cannot_be_read_are_put_aside(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    """Such as a crash of the machine may leave; a row that is cut off costs itself alone."""
    edge = running(stack, loop, tmp_path / "edge")
    edge.answered()
    edge.process.stop()
    rows = tmp_path / "edge" / "dialogs" / "dialog"
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


def test_a_port_that_is_taken_is_one_line_and_costs_no_dialogs(
    loop: Loop, stack: ExitStack, tmp_path: Path
) -> None:
    edge = running(stack, loop, tmp_path / "edge")
    edge.answered()
    edge.process.stop()
    edge.kept(1)
    taken = stack.enter_context(Phone(loop, "somebody", OURS, free_ports(1, OURS)))
    process = EdgeProcess(scene.plan(listen=HostPort(*taken.address)), tmp_path / "edge", lambda _: None)
    with pytest.raises(EdgeError, match=r"(?i)address already in use") as error:
        process.start()
    assert "\n" not in str(error.value)
    assert not process.running
    edge.kept(1)


def test_a_path_that_is_too_long_for_a_socket_will_do(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    edge = running(stack, loop, tmp_path / ("d" * 120) / "edge")
    assert edge.statistics.calls == 0 and len(edge.workers) == WORKERS


def test_any_address_is_listened_on_and_one_is_told(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    """As `listen = "0.0.0.0:5060"` has it, behind NAT or not."""
    port = free_ports(1, OURS)
    edge = running(stack, loop, tmp_path / "edge", listen=HostPort("0.0.0.0", port))
    call = edge.trunk.call(f"sip:{NUMBER}@{OURS}:{port}")
    call.wait_answered(PATIENCE_S)
    assert call.final is not None
    shown = [value for name, value in call.final.headers if name in {"Record-Route", "Contact"}]
    assert all(OURS in value for value in shown), shown
    index, taken = edge.taken(call)
    taken.wait_acked(PATIENCE_S)
    leg, other = edge.dialled(index)
    assert other.incoming is not None
    assert other.incoming.header("Via").startswith(f"SIP/2.0/UDP {OURS}:{port}")
    taken.hang_up()
    call.wait_ended()
    other.hang_up()
    leg.wait_ended()


def test_a_route_that_has_led_here_leads_no_further(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    edge = running(stack, loop, tmp_path / "edge")
    call = edge.call(headers=(("Route", f"<{edge.plan.path}>"), ("Route", f"<{edge.operator.uri};lr>")))
    call.wait_answered(PATIENCE_S)
    _, taken = edge.taken(call)
    assert taken.incoming is not None and not taken.incoming.all("Route")
    assert not edge.operator.count("INVITE received")
    call.hang_up()
    edge.idle()


def test_where_anybody_may_call_anybody_may(loop: Loop, stack: ExitStack, tmp_path: Path) -> None:
    anybody = Addresses(OURS, (ipaddress.ip_network("0.0.0.0/0"),))
    edge = running(stack, loop, tmp_path / "edge", addresses=anybody)
    call, taken, _ = edge.answered(edge.stranger)
    call.hang_up()
    taken.wait_ended()

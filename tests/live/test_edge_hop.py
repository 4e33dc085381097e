"""Between the edge and its workers: local programs that are none, and what tells each who the other is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipagent.config.load import HostPort
from sipagent.edge.files import kept_tokens, places
from sipagent.edge.plan import HOP_HEADER
from sipagent.edge.process import EdgeProcess, sharing
from sipagent.edge.rpc import EdgeError
from sipagent.softphone.phone import Loop, Phone, Transaction
from sipagent.softphone.sip import Message
from tests.peers import edge as scene
from tests.peers.edge import OURS, TRUNK, Edge, hangs_up

pytestmark = pytest.mark.live

REGISTRAR = "127.0.0.6"


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Loop() as loop, Phone(loop, "registrar", REGISTRAR) as registrar:
        registered = "sip:{}:{}".format(*registrar.address)
        edge = Edge(tmp_path_factory.mktemp("edge"), loop, scene.plan(registrar=registered))
        edge.phones.append(registrar)
        try:
            yield edge.start()
        finally:
            edge.close()


@pytest.fixture
def account(edge: Edge) -> Iterator[Phone]:
    with Phone(edge.loop, "agent", *edge.plan.account) as account:
        yield account


@pytest.fixture
def registrar(edge: Edge) -> Phone:
    return next(phone for phone in edge.phones if phone.user == "registrar")


def begin(edge: Edge, phone: Phone, method: str, *more: tuple[str, str]) -> Transaction:
    """A request that begins something, from a local address to the edge's inner port."""
    uri = edge.operator.uri if method != "REGISTER" else "sip:trunk.test"
    to = f"<{edge.operator.uri}>"
    return edge.asked(phone, method, ("Expires", "60"), *more, to=to, uri=uri, by=edge.plan.inner)


# --- who begins something ---


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "REFER", "BYE"])
def test_nothing_leaves_that_no_worker_sent(edge: Edge, account: Phone, method: str) -> None:
    """By whatever port, with no secret, a wrong one, or the one of the other way; nor with each other's."""
    local = edge.phone("127.0.0.1")
    keys = ("0" * 32, edge.tokens.from_edge, edge.tokens.to_edge)
    wrong, theirs, right = ((HOP_HEADER, one) for one in keys)
    for phone in (edge.workers[0], account, local):
        for secret in ((), (wrong,), (theirs,)):
            edge.ignores(phone, begin(edge, phone, method, *secret))
    edge.ignores(local, begin(edge, local, method, right))
    other = {"INVITE": account, "REGISTER": edge.workers[0]}.get(method, local)
    edge.ignores(other, begin(edge, other, method, right))


def test_the_account_is_registered_with_the_edges_address(
    edge: Edge, account: Phone, registrar: Phone
) -> None:
    """And the trunk, which calls that address, gets a worker."""
    seen, proof = registrar.count("REGISTER received"), 'Digest realm="trunk.test", response="2"'
    more = (("Route", f"<{edge.plan.proxy}>"), (HOP_HEADER, edge.tokens.to_edge), ("Authorization", proof))
    edge.sends(account, begin(edge, account, "REGISTER", *more))
    registrar.wait_at("REGISTER received", seen)
    message = [one.message for one in registrar.seen if one.describe() == "REGISTER received"][seen]
    assert message.start == "REGISTER sip:trunk.test SIP/2.0"
    assert message.all("Contact") == [f"<sip:agent@{edge.plan.listen}>"]
    assert message.all("Path") == [f"<sip:{edge.plan.listen};lr>"] and message.all("Supported") == ["path"]
    assert message.header("Authorization") == proof, "the digest is the account's"
    assert not message.all("Route")
    account.wait_at("481 REGISTER received")  # which is how our phones answer
    call = edge.trunk.call(edge.plan.contact, headers=(("Route", f"<{edge.plan.path}>"),))
    call.wait_answered()
    assert edge.taken(call)


def test_the_secrets_never_leave_the_machine(edge: Edge, account: Phone, registrar: Phone) -> None:
    """Not in requests, not in answers, and not where somebody outside has sent such a header."""
    forged, known = (HOP_HEADER, "forged;source=9.9.9.9:9"), (HOP_HEADER, edge.tokens.to_edge)
    call, taken, index = edge.answered(headers=(forged,))
    leg, other = edge.dialled(index)
    for one, header in ((call, forged), (other, forged), (taken, known), (leg, known)):
        assert one.request("INFO", (header,)).status == 200
    hangs_up(taken, call)
    hangs_up(other, leg)
    edge.sends(account, begin(edge, account, "REGISTER", known))
    registrar.wait_at("REGISTER received")
    for phone in (edge.trunk, edge.operator, registrar):
        for message in [one.message for one in phone.seen if not one.sent]:
            assert not message.all(HOP_HEADER), message
            text = message.pack().decode()
            assert edge.tokens.to_edge not in text and edge.tokens.from_edge not in text


def source_in(edge: Edge, message: Message) -> str:
    """Who sent what a worker got, as the edge tells it, once and with the secret; of a new call also when."""
    (value,) = message.all(HOP_HEADER)
    token, _, told = value.partition(";source=")
    source, at, moment = told.partition(";at=")
    assert token == edge.tokens.from_edge
    begins = message.describe() == "INVITE" and "tag=" not in message.header("To")
    assert bool(at) is begins and (not at or float(moment) > 0)
    return source


def test_a_worker_is_told_who_sent_each_message(edge: Edge) -> None:
    call, taken, index = edge.answered(headers=((HOP_HEADER, "forged;source=9.9.9.9:9"),))
    leg, other = edge.dialled(index)
    call.request("INFO", ((HOP_HEADER, "forged"),))
    other.request("INFO")
    call.hold()
    hangs_up(call, taken)
    byes = edge.workers[index].count("200 BYE received")
    leg.hang_up()
    edge.workers[index].wait_at("200 BYE received", byes)
    caller, phone = (str(HostPort(*one.address)) for one in (edge.trunk, edge.operator))
    seen = [one.message for one in edge.workers[index].seen if not one.sent]
    of_call = [one for one in seen if one.header("Call-ID") == call.call_id]
    assert {one.describe() for one in of_call} == {"INVITE", "ACK", "INFO", "BYE"}
    assert {source_in(edge, one) for one in of_call} == {caller}
    of_leg = [one for one in seen if one.header("Call-ID") == leg.call_id and one.describe() != "100 INVITE"]
    assert {one.describe() for one in of_leg} == {"180 INVITE", "200 INVITE", "INFO", "200 BYE"}
    assert {source_in(edge, one) for one in of_leg} == {phone}


def test_what_the_edge_asks_itself_is_marked_as_its_own(edge: Edge) -> None:
    """OPTIONS, by which it sees whether a worker lives, and BYE to one whose caller is gone."""
    worker = edge.workers[0]
    worker.wait_at("OPTIONS received")
    caller = edge.phone(TRUNK)
    _, taken, index = edge.answered(caller)
    # Its answer to a BYE could come before the worker's BYE has left, which then would not.
    caller._on_request = lambda message: None  # type: ignore[method-assign]
    edge.process.rpc.end_dialogs(index)
    taken.wait_ended()
    own = [one.message for one in worker.seen if one.describe() == "OPTIONS received"]
    own += [one.message for one in edge.workers[index].seen if one.describe() == "BYE received"][-1:]
    assert {source_in(edge, one) for one in own} == {str(edge.plan.inner)}
    assert not [one for one in caller.seen if not one.sent and one.message.all(HOP_HEADER)]


# --- how long they last ---


def test_a_restart_keeps_the_secrets_and_a_kill_does(edge: Edge) -> None:
    for end in (edge.process.stop, edge.killed):
        edge.forgotten()  # or a kill would leave an ended call in the files
        end()
        edge.start()
        hangs_up(*edge.dialled(0))
    assert kept_tokens(places(edge.process.directory)) == edge.tokens


# --- ports ---


def refused(host: str, port: int, reuse: bool = True) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        with pytest.raises(OSError, match="in use"):
            other.bind((host, port))


@pytest.mark.parametrize("reuse", [False, True])
def test_nobody_else_can_have_the_edges_ports(edge: Edge, reuse: bool) -> None:
    """Kamailio shares its UDP ports with whoever asks: who comes last would get what is sent there."""
    for address in (edge.plan.inner, edge.plan.listen):
        for host in (address.host, "0.0.0.0"):
            refused(host, address.port, reuse)
        assert len([*sharing(address)]) == 2
    call, taken, _ = edge.answered()
    hangs_up(call, taken)


@pytest.mark.parametrize("host", [OURS, "0.0.0.0"])
def test_an_edge_whose_port_somebody_shares_does_not_start(tmp_path: Path, host: str) -> None:
    plan = scene.plan()
    process = EdgeProcess(plan, tmp_path / "edge", lambda _: None)
    shared: list[socket.socket] = []

    def share() -> None:
        taken()
        shared.append(other := socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, plan.listen.port))

    taken = process._ports.take
    process._ports.take = share  # type: ignore[method-assign]
    try:
        with pytest.raises(EdgeError, match="another program has bound it"):
            process.start()
        assert not process.running
    finally:
        for other in shared:
            other.close()
    process._ports.take = taken  # type: ignore[method-assign]
    process.start()
    process.stop()
    assert not [*sharing(plan.listen)]

"""TLS at the edge: which versions, both ways, and whom it trusts."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sipagent.config.load import HostPort
from sipagent.edge.plan import Tls
from sipagent.softphone.sip import Message, parameter, routes_of, uri_of
from tests.peers.edge import OPERATOR, OURS, STRANGER, TRUNK, Edge, opened
from tests.peers.process import free_ports
from tests.peers.tls import Certified, TlsListener, TlsPeer, certified

pytestmark = pytest.mark.live

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Certified:
    return certified(folder, "edge", OURS, "127.0.0.1")


@pytest.fixture(scope="module")
def desk(folder: Path) -> Certified:
    return certified(folder, "desk", OPERATOR)


@pytest.fixture(scope="module")
def edge(folder: Path, ours: Certified, desk: Certified) -> Iterator[Edge]:
    listen = HostPort(OURS, free_ports(1, OURS))
    tls = Tls(listen, ours.certificate, ours.key, desk.ca)
    with opened(folder / "edge", listen=listen, transport="tls", tls=tls) as edge:
        yield edge


def acknowledge(peer: TlsPeer, invite: Message, final: Message) -> None:
    routes = tuple(("Route", one) for one in routes_of(final)[::-1])
    changed = {"To": final.header("To"), "CSeq": "1 ACK", "Via": invite.header("Via") + "ack"}
    kept = tuple((n, changed.get(n, v)) for n, v in invite.headers if n != "Content-Type")
    peer.send(Message(f"ACK {uri_of(final.header('Contact'))} SIP/2.0", (*kept, *routes)))


def request(peer: TlsPeer, uri: str, method: str, *more: tuple[str, str], body: bytes = b"") -> Message:
    ip, port = peer.address
    headers = (
        ("Via", f"SIP/2.0/TLS {ip}:{port};branch=z9hG4bK{port}{method}"), ("Max-Forwards", "70"),
        ("From", f"<sip:+33612345678@{ip}>;tag=1"), ("To", f"<{uri}>"),
        ("Call-ID", f"tls-{port}"), ("CSeq", f"1 {method}"),
        ("Contact", f"<sip:caller@{ip}:{port};transport=tls>"), *more,
    )  # fmt: skip
    return Message(f"{method} {uri};transport=tls SIP/2.0", headers, body)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_trunk_is_heard_by_tls_of_today(edge: Edge, ours: Certified, version: ssl.TLSVersion) -> None:
    with closing(TlsPeer.to(edge.address, ours.ca, TRUNK, version)) as peer:
        peer.send(request(peer, edge.uri(), "OPTIONS"))
        assert peer.final().status == 200
        assert peer.version == version.name.replace("_", ".")


def test_a_strangers_connection_is_closed(edge: Edge, ours: Certified) -> None:
    with closing(TlsPeer.to(edge.address, ours.ca, STRANGER, ssl.TLSVersion.TLSv1_3)) as peer:
        peer.send(request(peer, edge.uri(), "OPTIONS"))
        with pytest.raises(ConnectionError):
            peer.next()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(edge: Edge, ours: Certified) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        TlsPeer.to(edge.address, ours.ca, TRUNK, ssl.TLSVersion.TLSv1_1)


def test_a_call_over_tls_ends_over_it(edge: Edge, ours: Certified) -> None:
    """From the worker's side, on the connection that is there."""
    with closing(TlsPeer.to(edge.address, ours.ca, TRUNK, ssl.TLSVersion.TLSv1_3)) as peer:
        invite = request(peer, edge.uri(), "INVITE", ("Content-Type", "application/sdp"), body=SDP)
        peer.send(invite)
        final = peer.final()
        assert final.status == 200
        shown = [v for n, v in final.headers if n in ("Record-Route", "Contact", "Via")]
        assert "127.0.0.1" not in " ".join(shown)
        acknowledge(peer, invite, final)
        (taken,) = [call for worker in edge.workers for call in worker.calls if call.ended_ns is None]
        taken.wait_acked()
        taken.hang_up()
        bye = peer.request("BYE")
        assert parameter(bye.header("To"), "tag") == "1"


def test_an_operators_phone_is_called_over_tls_if_it_proves_who_it_is(
    edge: Edge, desk: Certified, folder: Path
) -> None:
    with closing(TlsListener(OPERATOR, desk)) as phone:
        ip, port = phone.address
        edge.dial(0, f"sip:201@{ip}:{port};transport=tls")
        with closing(phone.accept()) as peer:
            invite = peer.request("INVITE")
            assert invite.start == f"INVITE sip:201@{ip}:{port};transport=tls SIP/2.0"
            assert invite.header("Via").startswith(f"SIP/2.0/TLS {edge.plan.listen}")
    with closing(TlsListener(OPERATOR, certified(folder, "stranger", OPERATOR))) as phone:
        ip, port = phone.address
        call = edge.dial(0, f"sip:201@{ip}:{port};transport=tls")
        with pytest.raises((ssl.SSLError, ConnectionError)), closing(phone.accept()) as peer:
            peer.request("INVITE")
        assert call.wait_status(40) >= 400


def test_a_certificate_is_renewed_without_a_restart(edge: Edge, ours: Certified, folder: Path) -> None:
    renewed = certified(folder, "renewed", OURS)
    before = {path: path.read_bytes() for path in (ours.certificate, ours.key)}
    try:
        shutil.copyfile(renewed.certificate, ours.certificate)
        shutil.copyfile(renewed.key, ours.key)
        edge.process.change(edge.plan)
        with closing(TlsPeer.to(edge.address, renewed.ca, TRUNK, ssl.TLSVersion.TLSv1_3)) as peer:
            peer.send(request(peer, edge.uri(), "OPTIONS"))
            assert peer.final().status == 200
    finally:
        for path, content in before.items():
            path.write_bytes(content)
        edge.process.change(edge.plan)
    with closing(TlsPeer.to(edge.address, ours.ca, TRUNK, ssl.TLSVersion.TLSv1_3)):
        assert edge.process.running

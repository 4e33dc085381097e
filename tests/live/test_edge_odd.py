"""Whatever is sent to the edge: what reaches a worker can be read there, and none of it reaches the log."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sipagent.edge.process import EdgeProcess
from sipagent.edge.rpc import RejectedCall
from tests.peers import edge as scene
from tests.peers.edge import OURS, STRANGER, TRUNK
from tests.peers.odd import MARK, odd_invites
from tests.peers.pjsip_parser import unreadable
from tests.peers.sender import SDP, Sender
from tests.tapping import wait_for

pytestmark = pytest.mark.live

COUNT = 2000
COPIED = re.compile(rb"(via|v|from|f|to|t|call-id|i|cseq) *:", re.IGNORECASE)


class Worker:
    """Keeps every INVITE as it came, and turns it down."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.got: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(address)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                packet, sender = self._socket.recvfrom(65535)
                if packet.startswith(b"INVITE"):
                    self.got.append(packet)
                    self._socket.sendto(answer(packet, b"480 Temporarily Unavailable"), sender)
                elif packet.startswith(b"OPTIONS"):
                    self._socket.sendto(answer(packet, b"200 OK"), sender)

    def close(self) -> None:
        self._socket.close()


def answer(packet: bytes, status: bytes) -> bytes:
    lines = re.split(rb"\r\n(?![ \t])", packet.partition(b"\r\n\r\n")[0])
    kept = [line for line in lines if COPIED.match(line)]
    tagged = [line + b";tag=w" if line[:2].lower() in (b"to", b"t:") else line for line in kept]
    return b"\r\n".join([b"SIP/2.0 " + status, *tagged, b"Content-Length: 0", b"", b""])


class Site:
    """An edge with one worker, and what it says."""

    def __init__(self, directory: Path) -> None:
        self.said: list[RejectedCall | str] = []
        plan = scene.plan(workers=1, calls=1000, calls_per_worker=1000)
        self.process = EdgeProcess(plan, directory, self.said.append)
        self.worker = Worker(plan.worker(0))
        self.process.start()
        self.process.rpc.activate(0)

    def close(self) -> None:
        self.process.stop()
        self.worker.close()

    @property
    def counted(self) -> int:
        now = self.process.rpc.statistics()
        return now.malformed + now.unsupported + now.strangers


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with closing(Site(tmp_path_factory.mktemp("edge") / "edge")) as site:
        yield site


def send_odd(site: Site, ip: str, seed: int) -> None:
    """Send many, and then one that is as it should be; wait until it is answered."""
    with closing(Sender(ip, site.process.plan.listen)) as sender:
        for packet in odd_invites(COUNT, (sender.ip, sender.port), OURS, seed):
            sender.send(packet)
            threading.Event().wait(0.002)  # 400 calls a second are answered with care
        if ip == TRUNK:
            assert sender.call(SDP).status == 480


@pytest.mark.parametrize("seed", [1, 2])
def test_what_reaches_a_worker_can_be_read_there(site: Site, seed: int) -> None:
    """By pjsip itself: what it cannot read it does not answer, and that would hold a place for seconds."""
    before, counted = len(site.worker.got), site.counted
    send_odd(site, TRUNK, seed)
    got = site.worker.got[before:]
    assert len(got) > COUNT / 100, "the edge refuses everything"
    assert site.counted > counted + COUNT / 3
    assert unreadable(got) == []
    rejected = [one.why for one in site.said if isinstance(one, RejectedCall)]
    assert "unanswered" not in rejected and "malformed" in rejected
    wait_for(lambda: site.process.rpc.statistics().calls == 0)


@pytest.mark.parametrize("ip", [STRANGER, TRUNK])
def test_nothing_of_a_message_reaches_our_log(site: Site, ip: str) -> None:
    """Kamailio's parsers quote what they cannot read: such lines are not even written; the edge counts."""
    counted = site.counted
    send_odd(site, ip, seed=3)
    wait_for(lambda: site.counted > counted + COUNT / 3)
    assert [line for line in site.said if isinstance(line, str)] == []
    assert site.process.lines == 0


def test_what_it_says_all_the_same_is_counted_not_quoted(site: Site, tmp_path: Path) -> None:
    """As it is while it starts, and before it is told to be quiet."""
    configuration = tmp_path / "edge" / "kamailio.cfg"
    with closing(Site(tmp_path / "edge")) as talkative:
        talkative.process.rpc.ask("corex.debug", 0)
        assert MARK not in configuration.read_text(encoding="utf-8")
        send_odd(talkative, STRANGER, seed=4)
        wait_for(lambda: talkative.process.lines > 100)
        assert [line for line in talkative.said if isinstance(line, str)] == []

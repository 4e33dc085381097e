"""The port for Prometheus: who may ask, how often, and what it costs."""

import http.client
import socket
import threading
from collections.abc import Iterable, Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sipagent.config.load import HostPort
from sipagent.service import metrics
from sipagent.service.metrics import AT_ONCE, serving
from tests.tapping import PATIENCE_S, wait_for

ANY = HostPort("127.0.0.1", 0)


class Slow(Collector):
    """One figure, told when `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    def collect(self) -> Iterable[Metric]:
        self.asked += 1
        assert self.go.wait(PATIENCE_S)
        yield GaugeMetricFamily("sipagent_test", "A test.", value=7)


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    slow.go.set()
    yield slow
    slow.go.set()
    wait_for(lambda: not [one for one in threading.enumerate() if "process_request" in one.name])


def get(where: HostPort, method: str = "GET", path: str = "/metrics") -> tuple[int, str, str]:
    asking = http.client.HTTPConnection(where.host, where.port, timeout=PATIENCE_S)
    try:
        asking.request(method, path)
        answer = asking.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        asking.close()


def test_a_scrape(slow: Slow) -> None:
    with serving(ANY, slow) as where:
        status, kind, text = get(where)
    assert status == 200 and kind.startswith("text/plain; version=")
    assert "\nsipagent_test 7.0\n" in text
    assert "process_open_fds" in text and "process_resident_memory_bytes" in text


def test_it_is_over_when_it_is_over(slow: Slow) -> None:
    with serving(ANY, slow) as where:
        assert "metrics" in {thread.name for thread in threading.enumerate()}
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, PATIENCE_S)
    with serving(where, slow):  # the port is free again at once
        assert get(where)[0] == 200


def test_a_port_that_is_taken(slow: Slow) -> None:
    with serving(ANY, slow) as where, pytest.raises(OSError, match="in use"), serving(where, slow):
        pass


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(slow: Slow) -> None:
    with serving(HostPort("::1", 0), slow) as where:
        assert get(where)[0] == 200


def test_nothing_can_be_sent(slow: Slow) -> None:
    with serving(ANY, slow) as where:
        assert get(where, "POST")[0] == 405


def test_only_so_many_at_once(slow: Slow) -> None:
    slow.go.clear()
    with serving(ANY, slow) as where:
        asking = [socket.create_connection(where, PATIENCE_S) for _ in range(AT_ONCE)]
        for one in asking:
            one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_for(lambda: slow.asked == AT_ONCE)
        with socket.create_connection(where, PATIENCE_S) as one_more:
            assert one_more.recv(100) == b""  # let go at once, without a thread
        slow.go.set()
        for one in asking:
            assert one.recv(100).startswith(b"HTTP/1.")
            one.close()
        assert get(where)[0] == 200  # and then there is room again
    assert slow.asked == AT_ONCE + 1


def test_who_says_nothing_is_let_go(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics._Request, "timeout", 0.05)
    with serving(ANY, slow) as where:
        with socket.create_connection(where, PATIENCE_S) as silent:
            assert silent.recv(100) == b""
        socket.create_connection(where, PATIENCE_S).close()
        assert get(where)[0] == 200
    assert capfd.readouterr() == ("", "")  # a scan must not fill the log


def test_no_name_server_is_asked(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked"))
    with serving(ANY, slow) as where:
        assert get(where)[0] == 200

"""What a running agent says at the port that Prometheus scrapes, for those who ask in its place."""

from http.client import HTTPConnection

from sipagent.config.load import HostPort


def scraped(address: HostPort, patience_s: float, limit: int | None = None) -> bytes:
    """The figures, at most so many bytes of them. Raises OSError, HTTPException."""
    host, port = reachable(address)
    asking = HTTPConnection(host, port, timeout=patience_s)
    try:
        asking.request("GET", "/metrics")
        return asking.getresponse().read(limit)
    finally:
        asking.close()


def reachable(address: HostPort) -> HostPort:
    """Where a program on this machine reaches who listens there."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return HostPort(loopback.get(address.host, address.host), address.port)

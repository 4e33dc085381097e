"""The port that Prometheus scrapes: HTTP without a login for anyone who can reach it; so keep it on loopback.

A request costs the agent at most one short thread, of which there are few. Clients that ask too often, or
read too slowly, are dropped; calls are not affected.
"""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.registry import Collector

from sipagent.config.load import HostPort

AT_ONCE = 4  # requests
PATIENCE_S = 5.0  # for a client that says nothing, or does not read
TURN_S = 0.1  # how soon it notices that it must end


class _Request(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing: a scrape is not worth a line of the log."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, listen: HostPort, collector: Collector) -> None:
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        super().__init__((listen.host, listen.port), _Request)
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        self.set_app(make_wsgi_app(registry))

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own would ask a name server for our name
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._slots.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away, or said nothing
            super().handle_error(request, client_address)


@contextmanager
def serving(listen: HostPort, collector: Collector) -> Iterator[HostPort]:
    """Answer scrapes in the thread `metrics`; yields its address. Raises OSError if it cannot."""
    with _Server(listen, collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(TURN_S,), name="metrics", daemon=True)
        thread.start()
        try:
            yield HostPort(listen.host, server.server_port)
        finally:
            server.shutdown()
            thread.join()

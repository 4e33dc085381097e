"""Who is told of events: a web server on loopback that keeps what it gets, and answers as a test wants."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer

from tests.peers.tls import Certified

Answer = Callable[["Received", socket.socket], None]


@dataclass(frozen=True)
class Received:
    """One request."""

    line: str
    headers: http.client.HTTPMessage
    body: bytes


def says(status: int, *headers: str) -> Answer:
    """An answer without a body."""
    head = "\r\n".join([f"HTTP/1.1 {status} Said", *headers, "Content-Length: 0", "", ""])
    return lambda _, connection: connection.sendall(head.encode())


@dataclass
class Receiver:
    """`received`: all requests so far. `answer` is called with each, on a thread of its own."""

    answer: Answer
    received: list[Received] = field(default_factory=list)
    port: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int, patience_s: float = 60.0) -> list[Received]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, patience_s)
        return self.received


@contextmanager
def receiving(
    host: str = "127.0.0.1", port: int = 0, tls: Certified | None = None, answer: Answer | None = None
) -> Iterator[Receiver]:
    """Answer until the end of the block."""
    receiver = Receiver(answer or says(204))
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)

    class Request(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # who does not trust us, or has gone
                self._take(self.request if context is None else context.wrap_socket(self.request, True))

        def _take(self, connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as said:
                line = said.readline().decode().strip()
                headers = http.client.parse_headers(said)
                length = int(headers["Content-Length"] or 0)
                got = Received(line, headers, said.read(length))
                if len(got.body) < length or not line:
                    return  # it was killed meanwhile
                with receiver.changed:
                    receiver.received.append(got)
                    receiver.changed.notify_all()
                receiver.answer(got, connection)

    class Server(ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server((host, port), Request) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="receiver"
        )
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()

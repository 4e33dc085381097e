"""A line between two programs that can be cut, or fall silent without a word, as networks do."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 65_536


class Relay:
    """TCP from `address` to `target`. `flows`: what comes is passed on; `cut`: connections are closed and new
    ones refused; `stall`: connections stay, also new ones, and nothing is passed on."""

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1") -> None:
        self.target = target
        self._host, self._port = host, 0
        self._listener: socket.socket | None = None
        self._peers: dict[socket.socket, socket.socket] = {}
        self._stalled = False
        self._changing = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringing = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._ended = False
        self.flow()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self._port

    def flow(self) -> None:
        with self._changing:
            self._stalled = False
            if self._listener is None:
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, self._port))
                listener.listen(64)
                self._listener, self._port = listener, listener.getsockname()[1]
                self._selector.register(listener, selectors.EVENT_READ)
            for one in self._peers:
                self._watch(one)
        self._ringing.send(b".")

    def stall(self) -> None:
        """Pass nothing on, and say nothing: both sides go on waiting."""
        with self._changing:
            self._stalled = True
            for one in self._peers:
                self._leave(one)

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        with self._changing:
            if self._listener is not None:
                self._leave(self._listener)
                self._listener.close()
                self._listener = None
            while self._peers:
                self._drop(next(iter(self._peers)))

    def close(self) -> None:
        self.cut()
        self._ended = True
        self._ringing.send(b".")
        self._thread.join(5)
        self._selector.close()
        self._bell.close()
        self._ringing.close()

    def _watch(self, one: socket.socket) -> None:
        if one not in self._selector.get_map():
            self._selector.register(one, selectors.EVENT_READ)

    def _leave(self, one: socket.socket) -> None:
        if one in self._selector.get_map():
            self._selector.unregister(one)

    def _drop(self, one: socket.socket) -> None:
        """Both ends of a connection, with a reset."""
        other = self._peers.pop(one, None)
        for end in (one, other):
            if end is not None:
                self._peers.pop(end, None)
                self._leave(end)
                with suppress(OSError):  # the other side may have gone first
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                with self._changing:
                    self._turn_to(key.fileobj)  # type: ignore[arg-type]

    def _turn_to(self, one: socket.socket) -> None:
        if one is self._bell:
            one.recv(_CHUNK)
        elif one is self._listener:
            self._accept(one)
        elif one in self._peers and not self._stalled:
            try:
                sent = one.recv(_CHUNK)
                if sent:
                    self._peers[one].sendall(sent)
            except OSError:
                sent = b""
            if not sent:
                self._drop(one)

    def _accept(self, listener: socket.socket) -> None:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(self.target, 2)
        except OSError:
            near.close()
            return
        for end in (near, far):  # a network keeps nothing back until it has been told that more has arrived
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[near], self._peers[far] = far, near
        if not self._stalled:
            self._watch(near)
            self._watch(far)


@contextmanager
def relayed(target: tuple[str, int], host: str = "127.0.0.1") -> Iterator[Relay]:
    """A relay to `target`, and its end."""
    relay = Relay(target, host)
    try:
        yield relay
    finally:
        relay.close()

"""A socket in systemd's place, which keeps what it is told (sd_notify(3))."""

from __future__ import annotations

import socket
import time
from pathlib import Path

PATIENCE_S = 20.0


class Notified:
    """`said`: the messages so far. `address`: a path, or a name in the abstract space after an `@`."""

    def __init__(self, address: Path | str) -> None:
        self.address = str(address)
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}" if self.address.startswith("@") else self.address)

    def wait_for(self, wanted: str, timeout: float = PATIENCE_S) -> str:
        """The next message, from the one after those that were waited for, with `wanted` in it."""
        until = time.monotonic() + timeout
        while True:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            try:
                message = self._socket.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"no {wanted} in {timeout:g} s, but {self.said}") from None
            self.said.append(message)
            if wanted in message:
                return message

    def all(self) -> list[str]:
        """What has come; nothing is waited for."""
        self._socket.setblocking(False)
        try:
            while True:
                self.said.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self.said

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self.all()
        self._socket.settimeout(seconds)
        try:
            self.said.append(self._socket.recv(4096).decode())
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()

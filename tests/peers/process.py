"""Programs that a test starts: their output as it comes, an end by pid, ports that are free."""

from __future__ import annotations

import functools
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sipagent.config.types import HostPort
from sipagent.softphone.loop import PATIENCE_S

_SLOTS, _FIRST, _SLOT_PORTS = 10, 11_000, 2_000  # below the kernel's own choice of ports
_LONG_ROWS = 61_000, 65_536  # above it: for rows that take most of a slot
_pick = random.Random(os.getpid())
_given: dict[int, None] = {}  # in the order in which they were given
_choosing = threading.RLock()


class PeerError(Exception):
    """A program did not do what the test needs of it; the text ends with what it last said."""


@functools.cache
def _own_slot() -> tuple[int, socket.socket]:
    """Ports that are this process's as long as it lives: test runs side by side take none from each other."""
    for slot in range(_SLOTS):
        first = _FIRST + slot * _SLOT_PORTS
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", first))
        except OSError:
            mark.close()
        else:
            return first, mark
    raise PeerError("as many test runs as there are ports for go on already")


def lasting_port() -> int:
    """One port that is this process's and that `free_ports` never gives."""
    with _choosing:
        return _own_slot()[0] + 1


def free_ports(count: int, ip: str = "127.0.0.1") -> int:
    """The first of `count` UDP ports in a row, even and free; not given again while there are others."""
    with _choosing:
        slot, _ = _own_slot()
        for attempt in range(800):
            if attempt and attempt % 100 == 0:  # most are taken: those given first are long free again
                for port in list(_given)[: len(_given) // 2 + 1]:
                    del _given[port]
            low, high = (slot + 2, slot + _SLOT_PORTS) if count <= _SLOT_PORTS // 2 else _LONG_ROWS
            first = _pick.randrange(low, high - count, 2)
            wanted = set(range(first, first + count))
            if not wanted & _given.keys() and all(_is_free(ip, port) for port in wanted):
                _given.update(dict.fromkeys(wanted))
                return first
    raise PeerError(f"no {count} free ports in a row")


def _is_free(ip: str, port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind((ip, port))
            except OSError:
                return False
    return True


class Child:
    """A program with its output read line by line, each with its monotonic time in ns."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        talks: bool = False,
        **user: Any,  # Popen's `user`, `group`, `extra_groups`
    ) -> None:
        self.command = [str(part) for part in command]
        self.lines: list[tuple[int, str]] = []
        self.said = threading.Condition()
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=folder,  # where a core would be left
            text=True,
            errors="replace",
            **user,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self.said:
                self.lines.append((time.monotonic_ns(), line.rstrip("\n")))
                self.said.notify_all()
        self._process.wait()
        with self.said:
            self.said.notify_all()

    def wait_line(
        self, wanted: Callable[[str], bool], timeout: float = PATIENCE_S, what: str = "its word"
    ) -> str:
        """The first line that is wanted, from the start of the program on."""
        found = ""

        def seen() -> bool:
            nonlocal found
            found = next((line for _, line in self.lines if wanted(line)), "")
            return bool(found) or not self._reader.is_alive()

        with self.said:
            self.said.wait_for(seen, timeout)
        if not found:
            raise PeerError(f"{self.command[0]}: no {what} within {timeout:g} s; it said:\n{self.tail()}")
        return found

    def say(self, line: str) -> None:
        """To one that `talks`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def tail(self, count: int = 40) -> str:
        return "\n".join(line for _, line in self.lines[-count:])

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Its exit code; raises PeerError where it goes on."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{self.command[0]}: still there after {timeout:g} s:\n{self.tail()}") from error
        self._reader.join(5)
        return code

    def stop(self, timeout: float = 5) -> None:
        """SIGTERM, and SIGKILL where that isn't enough. Nothing happens to one that has ended."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(5)


def wait_answer(address: tuple[str, int], timeout: float = PATIENCE_S) -> None:
    """Send OPTIONS until something answers; raises PeerError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address[0], 0))
        sock.settimeout(0.05)
        here, there = (str(HostPort(*one[:2])) for one in (sock.getsockname(), address))
        for number in range(1, 1_000_000):
            if time.monotonic() > deadline:
                raise PeerError(f"nobody answers OPTIONS at {address[0]}:{address[1]}")
            sock.sendto(
                f"OPTIONS sip:{there} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bKping{number}\r\n"
                f"From: <sip:ping@{here}>;tag={number}\r\nTo: <sip:{there}>\r\n"
                f"Call-ID: ping{number}@{here}\r\nCSeq: {number} OPTIONS\r\nMax-Forwards: 70\r\n"
                "Content-Length: 0\r\n\r\n".encode(),
                address,
            )
            try:
                sock.recv(4096)
                return
            except TimeoutError:
                continue

"""RTP for hundreds of legs from one thread; all of it carries marks, by which it is known again.

Two sockets, one for all callers and one for all operators, which is what SDP names. The agent sends first,
each address that it sends from is a leg, and what goes back to it is a frame every 20 ms.

Sent and received by `sendmmsg` and `recvmmsg`, stamped by the kernel, and looked at afterwards: 200 legs cost
about a twentieth of a core.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sipagent.softphone.rtp import encode
from tests.bench.load_mark import FRAME, HALF, KINDS, MARK, PACKET, PHASES, Heard, first_marks, marks

FRAME_NS = 20_000_000
HEADER = 12
HEAD = HEADER + HALF + MARK  # as much of a packet as is read: enough for one mark
MOST_LEGS = 1024  # of either kind
BATCH = 1024
SO_TIMESTAMPNS = 35
LONGEST_S = 600.0  # whoever forgets it
SILENCE = 0xD5  # in A-law

LIBC = ctypes.CDLL(None, use_errno=True)

MESSAGE = np.dtype([
    ("name", "u8"), ("name_size", "u8"), ("iov", "u8"), ("iovs", "u8"),
    ("control", "u8"), ("control_size", "u8"), ("flags", "u8"), ("size", "u8"),
])  # fmt: skip
"""struct mmsghdr; the upper halves of its 32-bit fields are padding."""
VECTOR = np.dtype([("base", "u8"), ("size", "u8")])


def speech(sound: Path) -> NDArray[np.uint8]:
    """(frames, 160) bytes of A-law: what is said between the marks."""
    samples, rate = soundfile.read(sound, dtype="int16")
    assert rate == 8000 and samples.ndim == 1, f"{sound}: 8 kHz mono is needed"
    whole = samples[: len(samples) // FRAME * FRAME]
    return np.frombuffer(encode(whole, 8), np.uint8).reshape(-1, FRAME)


class _Inlet:
    """Takes all that waits at a socket, as much as it takes to find a mark."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self._descriptor = sock.fileno()
        self._bytes = np.zeros((BATCH, HEAD), np.uint8)
        self._names = np.zeros((BATCH, 16), np.uint8)
        self._controls = np.zeros((BATCH, 8), np.int64)
        self._vectors = np.zeros(BATCH, VECTOR)
        self._messages = np.zeros(BATCH, MESSAGE)
        rows = np.arange(BATCH, dtype=np.uint64)
        for vectors, field, of in (
            (self._vectors, "base", self._bytes), (self._messages, "name", self._names),
            (self._messages, "iov", self._vectors), (self._messages, "control", self._controls),
        ):  # fmt: skip
            vectors[field] = of.ctypes.data + rows * of.strides[0]
        self._vectors["size"] = HEAD
        self._messages["iovs"] = 1
        self._pointer = ctypes.c_void_p(self._messages.ctypes.data)

    def take(self, kind: int) -> NDArray[Any] | None:
        """What has come, as PACKETs; None for nothing."""
        self._messages["name_size"], self._messages["control_size"] = 16, 64
        count = LIBC.recvmmsg(self._descriptor, self._pointer, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return None
        said = self._bytes[:count]
        out = np.empty(count, PACKET)
        out["at_ns"] = self._controls[:count, 2] * 1_000_000_000 + self._controls[:count, 3]
        out["kind"] = kind
        out["port"] = self._names[:count, 2:4].copy().view(">u2")[:, 0]
        out["type"] = said[:, 1] & 0x7F
        out["sequence"] = said[:, 2:4].copy().view(">u2")[:, 0]
        out["ssrc"] = said[:, 8:12].copy().view(">u4")[:, 0]
        out["marked"], out["leg"], out["half"], out["place"] = first_marks(said[:, HEADER:])
        return out


class _Outlet:
    """The legs of one socket that send at one moment of the 20 ms."""

    def __init__(self, sock: socket.socket, said: NDArray[np.uint8]) -> None:
        self._descriptor, self._said = sock.fileno(), said
        self._legs = np.zeros(MOST_LEGS, np.uint16)
        self._quiet_until = np.zeros(MOST_LEGS, np.int64)  # by leg, a frame
        self._bytes = np.zeros((MOST_LEGS, HEADER + FRAME), np.uint8)
        self._names = np.zeros((MOST_LEGS, 16), np.uint8)
        self._vectors = np.zeros(MOST_LEGS, VECTOR)
        self._messages = np.zeros(MOST_LEGS, MESSAGE)
        rows = np.arange(MOST_LEGS, dtype=np.uint64)
        self._vectors["base"] = self._bytes.ctypes.data + rows * (HEADER + FRAME)
        self._vectors["size"] = HEADER + FRAME
        self._messages["name"] = self._names.ctypes.data + rows * 16
        self._messages["name_size"] = 16
        self._messages["iov"] = self._vectors.ctypes.data + rows * 16
        self._messages["iovs"] = 1
        self.count = 0

    def add(self, leg: int, name: NDArray[np.uint8], quiet_until: int) -> None:
        """Send to an address from now on; silence before that frame."""
        row = self.count
        self._names[row], self._legs[row], self._quiet_until[row] = name, leg, quiet_until
        self._bytes[row, 0], self._bytes[row, 1] = 0x80, 8  # RFC 3550, PCMA
        self._bytes[row, 8:12] = np.array([0x5A000000 + leg], ">u4").view(np.uint8)
        self.count += 1

    def drop(self, keep: NDArray[np.bool_]) -> None:
        left = int(keep.sum())
        for rows in (self._names, self._legs, self._quiet_until, self._bytes):
            rows[:left] = rows[: self.count][keep]
        self.count = left

    def legs(self) -> NDArray[np.uint16]:
        return self._legs[: self.count]

    def send(self, frame: int) -> None:
        n = self.count
        legs = self._legs[:n]
        self._bytes[:n, 2:4] = np.array([frame & 0xFFFF], ">u2").view(np.uint8)
        self._bytes[:n, 4:8] = np.array([frame * FRAME & 0xFFFFFFFF], ">u4").view(np.uint8)
        self._bytes[:n, HEADER:] = self._said[(frame + legs * 37) % len(self._said)]
        for half in (0, 1):
            at = HEADER + half * HALF
            self._bytes[:n, at : at + MARK] = marks(legs, 2 * frame + half)
        self._bytes[:n, HEADER:][self._quiet_until[:n] > frame] = SILENCE
        sent = 0
        while sent < n:
            rest = ctypes.c_void_p(self._messages.ctypes.data + sent * MESSAGE.itemsize)
            done: int = LIBC.sendmmsg(self._descriptor, rest, n - sent, 0)
            if done <= 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += done


class _Generator:
    """The thread's own state."""

    SILENT_S = 0.5  # a leg that is heard of no more for so long has ended

    def __init__(self, sockets: list[socket.socket], sound: Path, quiet_s: float) -> None:
        said = speech(sound)
        self._quiet_frames = (round(quiet_s * 50), 0)  # of callers, of operators
        self._frame = 0
        self._inlets = [_Inlet(one) for one in sockets]
        self._outlets = [[_Outlet(one, said) for one in sockets] for _ in range(PHASES)]
        self._leg_of = np.full((len(KINDS), 65536), -1, np.int32)
        self._heard_ns = np.zeros(65536, np.int64)  # by leg
        self._legs = 0
        self._packets: list[NDArray[Any]] = []
        self._sent_ns: list[tuple[int, int, int]] = []

    def run(self, pipe: Connection, seconds: float) -> None:
        until = time.monotonic() + seconds
        due, turn = time.monotonic_ns(), 0
        while time.monotonic() < until:
            frame, phase = divmod(turn, PHASES)
            self._frame = frame
            time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
            self._sent_ns.append((phase, frame, time.time_ns()))
            for outlet in self._outlets[phase]:
                if outlet.count:
                    outlet.send(frame)
            if phase == 0:
                self._take()
            if turn % (PHASES * 10) == 0:
                self._forget()
                if pipe.poll():
                    break
            due, turn = due + FRAME_NS // PHASES, turn + 1

    def _take(self) -> None:
        for kind, inlet in enumerate(self._inlets):
            while (packets := inlet.take(kind)) is not None:
                self._hear(kind, packets)
                if len(packets) < BATCH:
                    break

    def _hear(self, kind: int, packets: NDArray[Any]) -> None:
        self._packets.append(packets)
        legs = self._leg_of[kind, packets["port"]]
        if (legs < 0).any():
            for port in np.unique(packets["port"][legs < 0]):
                self._meet(kind, int(port))
            legs = self._leg_of[kind, packets["port"]]
        self._heard_ns[legs] = time.monotonic_ns()

    def _meet(self, kind: int, port: int) -> None:
        leg, self._legs = self._legs, self._legs + 1
        self._leg_of[kind, port] = leg
        name = np.zeros(16, np.uint8)
        name[:2] = np.array([socket.AF_INET], "=u2").view(np.uint8)
        name[2:4] = np.array([port], ">u2").view(np.uint8)
        name[4:8] = (127, 0, 0, 1)
        self._outlets[leg % PHASES][kind].add(leg, name, self._frame + self._quiet_frames[kind])

    def _forget(self) -> None:
        before = time.monotonic_ns() - int(self.SILENT_S * 1e9)
        for outlets in self._outlets:
            for kind, outlet in enumerate(outlets):
                keep = self._heard_ns[outlet.legs()] > before
                if not keep.all():
                    gone = outlet.legs()[~keep]
                    self._leg_of[kind, np.isin(self._leg_of[kind], gone)] = -1
                    outlet.drop(keep)

    def save(self, path: Path) -> None:
        packets = np.concatenate(self._packets) if self._packets else np.empty(0, PACKET)
        np.savez(path, packets=packets, sent=np.array(self._sent_ns, np.int64).reshape(-1, 3))


def _generate(pipe: Connection, sound: Path, quiet_s: float, result: Path) -> None:
    """The process: says its ports, and goes on until it is told anything, or nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the parent says when it is over
    with suppress(PermissionError):  # phones don't wait for each other, nor for what else a machine does
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in KINDS]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    generator = _Generator(sockets, sound, quiet_s)
    pipe.send(tuple(one.getsockname()[1] for one in sockets))
    generator.run(pipe, LONGEST_S)
    drops = sum(_drops(one) for one in sockets)
    generator.save(result)
    with suppress(BrokenPipeError):
        pipe.send(drops)


def _drops(sock: socket.socket) -> int:
    """Packets for which there was no room in a socket of ours."""
    inode = os.fstat(sock.fileno()).st_ino
    rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[12]) for row in rows if int(row[9]) == inode)


class Generator:
    """The generator as a process of its own; `ports` are the callers' and the operators'.

    A caller says nothing for the first `quiet_s`.
    """

    def __init__(self, sound: Path, folder: Path, quiet_s: float = 0.0) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._result = folder / "rtp.npz"
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(
            target=_generate, args=(theirs, sound, quiet_s, self._result), daemon=True
        )
        self._process.start()
        theirs.close()
        self.ports: tuple[int, int] = self._pipe.recv()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def finish(self) -> Heard:
        self._pipe.send("end")
        drops = self._pipe.recv()
        self._process.join()
        with np.load(self._result) as found:
            return Heard(found["packets"], found["sent"], drops)

    def close(self) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

"""A worker's way to the machine's one detector, which is a process of its own (`detector`).

Over an abstract Unix socket: a question is `HEAD` and int16 samples, an answer `SIZE` and JSON. A question
holds all that an answer needs, so a successor can give it, who remembers nothing. Each end looks at the
other's user id (unix(7), SO_PEERCRED), since anybody on the machine may take such a name.
"""

import json
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

import structlog

from media.frame import Samples
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict, every_ms
from sipagent.logs import alert
from sipagent.voice.detectors import NOBODY_LISTENS, Detectors

LIMIT_S = 2.0  # of one question, all of it; tones are not heard meanwhile
AGAIN_S = 0.05  # from one attempt to the next: a dead detector is replaced within the limit
TRIES = 2  # of one question: what ends a detector may be in the sound
REST_S = 10.0  # after one that was not answered: keys are to be heard in time, whatever speech does

HEAD = struct.Struct("<??QQI")
"""Whether the words of the call itself are meant, the place (last, stream, at), and how many bytes follow."""
SIZE = struct.Struct("<I")
_PEER = struct.Struct("iII")  # struct ucred: of pid_t, uid_t and gid_t the first alone has a sign

log = structlog.get_logger("sipagent.service.processes.detector")


@dataclass(frozen=True, slots=True)
class DetectorAddress:
    """`name`: of the socket, without its leading zero; `in_call`: whether it is asked in the call, too."""

    name: str
    in_call: bool
    engine: str = "embedding"


class DetectorConnection:
    """One connection, opened when it is needed, and again after it failed. For one thread: the listener's."""

    def __init__(self, name: str, limit_s: float = LIMIT_S, rest_s: float = REST_S) -> None:
        self._name = name
        self._limit_s = limit_s
        self._rest_s = rest_s
        self._socket: socket.socket | None = None
        self._rests_until = 0.0
        self._failed = False

    def ask(self, samples: Samples, in_call: bool, place: StreamPosition | None = None) -> Verdict:
        """Within `limit_s`. DetectorError: it says that it failed, is not there or slow.

        Where it ends meanwhile, its successor is asked, if it comes in time.
        """
        if time.monotonic() < self._rests_until:
            raise DetectorError("the detector did not answer in time a moment ago")
        try:
            answer = self._answer(_question(samples, in_call, place), time.monotonic() + self._limit_s)
        except OSError as failure:
            self._fail(failure)
            raise DetectorError(f"the detector does not answer: {failure}") from failure
        if self._failed:
            self._failed = False
            log.info("detector_back")
        if "error" in answer:
            raise DetectorError(answer["error"])
        return Verdict(Meaning(answer["meaning"]), answer["keyword"], answer["confidence"])

    def _answer(self, question: bytes, until: float) -> dict[str, Any]:
        tries = 0
        while True:
            try:
                if self._socket is None:
                    self._socket = _connected(self._name, until)
                tries += 1
                return _exchange(self._socket, question, until)
            except ConnectionError:
                self._hang_up()
                if tries == TRIES or time.monotonic() + AGAIN_S >= until:
                    raise
                time.sleep(AGAIN_S)  # nothing tells when a name is there again

    def _fail(self, failure: OSError) -> None:
        """An answer that comes later must not be taken for that of the next question."""
        self._hang_up()
        self._rests_until = time.monotonic() + self._rest_s
        if not self._failed:
            self._failed = True
            alert(f"the detector does not answer ({failure}): until it does, only keys are heard here")

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class RemoteDetector:
    """A media.hearing.keyword.Detector."""

    def __init__(self, line: DetectorConnection, in_call: bool, engine: str) -> None:
        self.every_ms = every_ms(engine, in_call)
        self._line = line
        self._in_call = in_call

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return self._line.ask(samples, self._in_call, place)


def remote_detectors(address: DetectorAddress | None) -> Detectors:
    """Of a worker; nothing is asked before somebody speaks."""
    if address is None:
        return NOBODY_LISTENS
    line = DetectorConnection(address.name)
    before, in_call = (RemoteDetector(line, in_call, address.engine) for in_call in (False, True))
    return Detectors(before, in_call if address.in_call else None)


def address(name: str) -> str:
    """In the abstract namespace: no file, and nothing is left of it."""
    return f"\0{name}"


def is_ours(peer: socket.socket) -> bool:
    """Whether the other end runs as who we are."""
    _, user, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(user == os.geteuid())


def received(peer: socket.socket, size: int, until: float | None = None) -> bytes:
    """Exactly so many bytes, by then (monotonic s). Raises TimeoutError, and ConnectionError at the end."""
    content = bytearray()
    while len(content) < size:
        peer.settimeout(None if until is None else _left(until))
        part = peer.recv(size - len(content))
        if not part:
            raise ConnectionError("the connection has ended")
        content += part
    return bytes(content)


def _question(samples: Samples, in_call: bool, place: StreamPosition | None) -> bytes:
    """Without a place nothing more is asked about it."""
    where = place or StreamPosition(0, 0, last=True)
    content = samples.astype("<i2").tobytes()
    return HEAD.pack(in_call, where.last, where.stream, where.at, len(content)) + content


def _exchange(peer: socket.socket, question: bytes, until: float) -> dict[str, Any]:
    peer.settimeout(_left(until))
    peer.sendall(question)
    (size,) = SIZE.unpack(received(peer, SIZE.size, until))
    answer: dict[str, Any] = json.loads(received(peer, size, until))
    return answer


def _connected(name: str, until: float) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.settimeout(_left(until))
        peer.connect(address(name))
        if not is_ours(peer):
            raise ConnectionError("somebody else has its name")
    except OSError:
        peer.close()
        raise
    return peer


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left

"""A worker's connection to the machine's only detector, which is a separate process (`detector`).

Over an abstract Unix socket: a question is `HEAD` and int16 samples, an answer `SIZE` and JSON. A question
has all that an answer needs, so that a new detector, which remembers nothing, can answer it, too. Each end
checks the other's user id (unix(7), SO_PEERCRED), since any user of the machine may take such a name.
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

LIMIT_S = 2.0  # for a whole question; tones are not heard meanwhile
AGAIN_S = 0.05  # from one attempt to the next: a dead detector is replaced within the limit
TRIES = 2  # for one question: its sound may be what kills the detector
REST_S = 10.0  # after a question without answer: keys must be heard in time, even if speech is not

HEAD = struct.Struct("<??QQI")
"""Whether it asks about words in the call, the place (last, stream, at), and how many bytes follow."""
SIZE = struct.Struct("<I")
_PEER = struct.Struct("iII")  # struct ucred: pid_t, uid_t, gid_t; only the first is signed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DetectorAddress:
    """`name`: of the socket, without its leading zero; `in_call`: whether it is also asked in the call."""

    name: str
    in_call: bool
    engine: str = "embedding"


class DetectorConnection:
    """One connection, opened when needed, and again after it failed. Only for the listener's thread."""

    def __init__(self, name: str, limit_s: float = LIMIT_S, rest_s: float = REST_S) -> None:
        self._name = name
        self._limit_s = limit_s
        self._rest_s = rest_s
        self._socket: socket.socket | None = None
        self._rests_until = 0.0
        self._failed = False

    def ask(self, samples: Samples, in_call: bool, place: StreamPosition | None = None) -> Verdict:
        """Ask within `limit_s`. DetectorError: the detector says that it failed, is missing or too slow.

        If it ends meanwhile, its successor is asked, if it starts in time.
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
        return Verdict(**{**answer, "meaning": Meaning(answer["meaning"])})

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
                time.sleep(AGAIN_S)  # no event tells when the name exists again

    def _fail(self, failure: OSError) -> None:
        """Close the connection: a late answer must not be taken for the answer to the next question."""
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
    """A worker's detectors; they connect only when somebody speaks."""
    if address is None:
        return NOBODY_LISTENS
    line = DetectorConnection(address.name)
    before, in_call = (RemoteDetector(line, in_call, address.engine) for in_call in (False, True))
    return Detectors(before, in_call if address.in_call else None)


def address(name: str) -> str:
    """The address in the abstract namespace: no file, so nothing is left behind."""
    return f"\0{name}"


def is_ours(peer: socket.socket) -> bool:
    """Whether the other end runs as our user."""
    _, user, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(user == os.geteuid())


def received(peer: socket.socket, size: int, until: float | None = None) -> bytes:
    """Exactly `count` bytes, by this time (monotonic s). Raises TimeoutError, and ConnectionError at the
    end."""
    content = bytearray()
    while len(content) < size:
        peer.settimeout(None if until is None else _left(until))
        part = peer.recv(size - len(content))
        if not part:
            raise ConnectionError("the connection has ended")
        content += part
    return bytes(content)


def _question(samples: Samples, in_call: bool, place: StreamPosition | None) -> bytes:
    """Encode a question. Without a place nothing more is asked about this speech."""
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

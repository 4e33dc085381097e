"""The detector's child: it loads the models, once for the machine, and answers all workers.

    thread             does
    main               reports every few seconds that questions are answered, until the order to end
    detector-door      lets workers in
    detector-line      one for each worker: reads a question, has it judged in its turn, answers

It ends after the workers, since they ask until their last call has ended.
"""

import contextlib
import json
import select
import socket
import sys
import threading
import time
from dataclasses import asdict
from multiprocessing.connection import Connection

import numpy as np
import structlog

from media.frame import SILENCE, Samples
from media.hearing.keyword import Detector, DetectorError, DetectorUnavailable, StreamPosition
from media.hearing.second_opinion import SecondOpinion
from retention.texts import reason_of
from sipagent.config.load import Config, ConfigError
from sipagent.logs import alert, configure_log
from sipagent.service import children
from sipagent.service.remote_detector import HEAD, SIZE, address, is_ours, received
from sipagent.service.rules import detectors_of
from sipagent.voice.detectors import Detectors, detectors

PULSE_S = 2.0
ANSWER_S = 1.0  # for a worker that no longer reads its answers

log = structlog.get_logger(__name__)


def tell_trouble(connection: "Connection[tuple[str, str], None]", config: Config) -> None:
    """Load what the configuration names, and say which key is wrong and why; "" if none. The process."""
    try:
        detectors(config)
    except DetectorUnavailable as wrong:
        connection.send((wrong.key, reason_of(wrong)))
    else:
        connection.send(("", ""))


def listen(
    connection: "Connection[children.ToSupervisor, children.ToChild]", spec: children.DetectorSpec
) -> None:
    """Answer workers' questions until the supervisor ends it. The whole process."""
    configure_log(spec.log_json, children.DETECTOR)
    try:
        serve(connection, spec, detectors_of(spec.config))
    except (ConfigError, OSError) as failure:
        alert(f"the detector cannot go on: {failure}")
        sys.exit(1)


def serve(
    connection: "Connection[children.ToSupervisor, children.ToChild]",
    spec: children.DetectorSpec,
    found: Detectors,
) -> None:
    """Answer with these detectors. Raises OSError if the address is taken."""
    over = threading.Event()

    def heard(message: children.ToChild) -> None:
        if isinstance(message, children.Drain):  # a reload does not change the words
            over.set()

    def lost() -> None:
        """The supervisor is gone: the workers drain by themselves, and still ask."""
        patience = threading.Timer(spec.drain_s, over.set)
        patience.daemon = True
        patience.start()

    judge = Judge(found)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(address(spec.address.name))
        door.listen(socket.SOMAXCONN)
        threading.Thread(target=_let_in, args=(door, judge), name="detector-door", daemon=True).start()
        link = children.SupervisorLink(connection)
        link.start(heard, lost)
        link.send(children.Ready())
        while not over.wait(PULSE_S):
            judge.wait_turn()
            link.send(children.Alive())
        link.close()


class Judge:
    """One question at a time: a detector is for one thread. Second opinions have a turn of their own."""

    def __init__(self, found: Detectors) -> None:
        self._found = found
        self._turn = threading.Lock()

    def wait_turn(self) -> None:
        """Return once a question can be judged, by each that judges."""
        with self._turn:
            pass
        if isinstance(self._found.before, SecondOpinion):
            self._found.before.wait_turn()

    def answer(self, peer: socket.socket) -> None:
        """Answer a worker's questions until it is gone; then forget its unfinished streams."""
        going_on: dict[int, Detector] = {}
        try:
            with peer:
                while True:
                    self._answer_one(peer, going_on)
        except OSError as ended:  # the worker has ended, or did not wait
            log.debug("line_ended", reason=str(ended))
        finally:
            for stream, detector in going_on.items():
                self._forget(detector, stream)

    def _answer_one(self, peer: socket.socket, going_on: dict[int, Detector]) -> None:
        in_call, last, stream, at, size = HEAD.unpack(received(peer, HEAD.size))
        samples: Samples = np.frombuffer(received(peer, size), dtype="<i2")
        detector = self._found.in_call if in_call else self._found.before
        if detector is None:
            answer: dict[str, object] = {"error": "nothing is listened for"}
        else:
            going_on[stream] = detector
            answer = self._judged(peer, detector, samples, StreamPosition(stream, at, last))
            if last:
                del going_on[stream]
        content = json.dumps(answer).encode()
        peer.settimeout(ANSWER_S)
        peer.sendall(SIZE.pack(len(content)) + content)

    def _judged(
        self, peer: socket.socket, detector: Detector, samples: Samples, place: StreamPosition
    ) -> dict[str, object]:
        try:
            with self._turn:
                if _hung_up(peer):  # no one waits for it any more, but others wait
                    raise ConnectionError("the question was given up")
                first = detector.first if isinstance(detector, SecondOpinion) else detector
                verdict = first.judge(samples, place)
            if isinstance(detector, SecondOpinion):  # which takes longer: others need not wait for it
                verdict = detector.weigh(verdict, samples, place)
            return asdict(verdict)
        except DetectorError as failure:
            return {"error": str(failure)}

    def _forget(self, detector: Detector, stream: int) -> None:
        """Forget a stream, by a last question without sound."""
        with self._turn, contextlib.suppress(DetectorError):
            detector.judge(SILENCE, StreamPosition(stream, 0, last=True))


def _let_in(door: socket.socket, judge: Judge) -> None:
    while True:
        try:
            peer, _ = door.accept()
        except OSError as failure:
            if door.fileno() < 0:  # closed: the end
                return
            log.warning("door", reason=str(failure))  # for example, no free descriptor
            time.sleep(PULSE_S)
            continue
        if is_ours(peer):
            threading.Thread(target=judge.answer, args=(peer,), name="detector-line", daemon=True).start()
        else:
            peer.close()


def _hung_up(peer: socket.socket) -> bool:
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    return bool(poll.poll(0))

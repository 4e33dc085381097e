"""The machine's one detector: a real process with words that this file makes up, over its real socket."""

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from structlog.testing import capture_logs

from media.frame import Samples
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict
from media.hearing.listener import Listener, ListenerFailed
from media.hearing.second_opinion import Likeness, SecondOpinion
from sipagent.agent.admission import SHIPPED
from sipagent.config.layout import EngineLimits
from sipagent.config.load import ConfigError
from sipagent.service.children import Alive, Child, DetectorSpec, Drain, Ready
from sipagent.service.detector import Judge, serve
from sipagent.service.remote_detector import (
    HEAD,
    SIZE,
    DetectorAddress,
    DetectorConnection,
    address,
    is_ours,
    received,
    remote_detectors,
)
from sipagent.service.supervision import ChildSpecs
from sipagent.voice.detectors import NOBODY_LISTENS, Detectors, detectors, hear, read_sound
from tests.room import Room
from tests.tapping import PATIENCE_S, wait_for

HERE = "tests.test_detector"
BROKEN, STUCK, DEADLY, WHERE = -1, -2, -3, -4
LIMIT_S = 0.5
LIMITS = EngineLimits(legs=4)


class Parrot:
    """Says back what the first sample is, or fails as it asks for."""

    every_ms = 100

    def __init__(self, keyword: str, stuck: Path) -> None:
        self._keyword = keyword
        self._stuck = stuck
        self._remembered: set[int] = set()

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        assert place
        self._remembered.add(place.stream)
        if place.last:
            self._remembered.remove(place.stream)
        first = int(samples[0]) if len(samples) else 0
        if first == WHERE:
            return Verdict(Meaning.OTHER, f"{place} {sorted(self._remembered)}")
        if first == BROKEN:
            raise DetectorError("no memory")
        if first == STUCK:
            stuck_before = self._stuck.exists()
            self._stuck.touch()
            if not stuck_before:
                signal.pause()
        if first == DEADLY:
            with self._stuck.open("a") as file:
                print("died", file=file)
            os._exit(1)
        return Verdict(Meaning.REFUSE, f"{self._keyword} {len(samples)}", float(first))


def parrots(connection: "Connection[Any, Any]", spec: DetectorSpec) -> None:
    stuck = marker(spec)
    serve(connection, spec, Detectors(Parrot("before", stuck), Parrot("call", stuck)))


def marker(spec: DetectorSpec) -> Path:
    """There once it is stuck."""
    return spec.config.file.with_name("stuck")


def sound(first: int, size: int = 800) -> Samples:
    return np.full(size, first, dtype=np.int16)


def ended(child: Any) -> int | None:
    """Await the end of a process; its exit code."""
    assert select.select([child], [], [], PATIENCE_S)[0]
    code: int | None = child.close()
    return code


class Where:
    """Where a detector is, or was."""

    def __init__(self, room: Room) -> None:
        self.address = DetectorAddress(f"sipagent-test-{secrets.token_hex(8)}", in_call=True)
        self.post = DetectorSpec(self.address, room.config(), log_json=True, drain_s=0.0)
        self.child: Child | None = None

    def begin(self) -> Child:
        self.child = Child("detector", f"{HERE}:parrots", self.post)
        return self.child

    def start(self) -> Child:
        """It may be asked before it says that it is ready, but not by who waits for that."""
        child = self.begin()
        assert child.connection.poll(PATIENCE_S)
        assert child.connection.recv() == Ready()
        return child

    def kill(self) -> None:
        assert self.child
        self.child.kill()
        ended(self.child)
        self.child = None

    def halt(self) -> None:
        """None of its threads goes on."""
        assert self.child
        os.kill(self.child.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self.child.pid}/task")
        wait_for(lambda: all("\nState:\tT" in (one / "status").read_text() for one in threads.iterdir()))

    def line(self, limit_s: float = PATIENCE_S, rest_s: float = 0.0) -> DetectorConnection:
        return DetectorConnection(self.address.name, limit_s, rest_s)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Where]:
    place = Where(Room(tmp_path / "agent"))
    place.start()
    yield place
    if place.child:
        place.kill()


def both(at: DetectorAddress) -> tuple[Any, Any]:
    """Before the bridge, and in the call."""
    found = remote_detectors(at)
    assert found.before and found.in_call
    return found.before, found.in_call


def test_a_verdict_comes_through_with_all_that_it_says_and_a_question_with_its_place(place: Where) -> None:
    before, in_call = both(place.address)
    assert before.judge(sound(7)) == Verdict(Meaning.REFUSE, "before 800", 7.0)
    assert in_call.judge(sound(8, 240_000)) == Verdict(Meaning.REFUSE, "call 240000", 8.0)
    where = StreamPosition(2**63 - 1, 8000 * 86_400, last=False)
    for detector in (before, in_call):
        assert detector.judge(sound(WHERE), where).keyword == f"{where} [{where.stream}]"
    last = replace(where, last=True)
    assert before.judge(sound(WHERE), last).keyword == f"{last} []"
    assert "last=True" in str(before.judge(sound(WHERE)).keyword)


def test_a_worker_that_is_gone_leaves_nothing_of_what_was_being_said(place: Where) -> None:
    one, other = place.line(), place.line()
    for number in (11, 12):
        one.ask(sound(1), False, StreamPosition(number, 0))
    one.ask(sound(1), False, StreamPosition(11, 320, last=True))
    other.ask(sound(1), False, StreamPosition(20, 0))
    one._hang_up()
    still = StreamPosition(20, 320)
    wait_for(lambda: other.ask(sound(WHERE), False, still).keyword == f"{still} [20]")


def test_who_listens_and_how_often_is_that_of_the_engine() -> None:
    for engine, paces in (("embedding", (100, 800)), ("vosk", (400, 1000))):
        found = both(DetectorAddress("nowhere", in_call=True, engine=engine))
        assert tuple(each.every_ms for each in found) == paces
    assert remote_detectors(None) == NOBODY_LISTENS
    alone = remote_detectors(DetectorAddress("nowhere", in_call=False))
    assert alone.before and alone.in_call is None


@pytest.mark.parametrize("user", [0, 1000, 2**31, 3_000_000_000, 2**32 - 2])
def test_whose_the_other_end_is(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """User ids have 32 bits and no sign; a directory, or a container's map, gives such above 2³¹."""

    class Peer:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
            told = [number.to_bytes(4, sys.byteorder) for number in (4711, user, user)]
            return b"".join(told)[:size]

    for ours in (user, user + 1):
        monkeypatch.setattr(os, "geteuid", lambda mine=ours: mine)
        assert is_ours(cast(socket.socket, Peer())) is (ours == user)


def test_somebody_elses_socket_is_not_asked(monkeypatch: pytest.MonkeyPatch, place: Where) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(DetectorError, match="somebody else"):
        place.line(LIMIT_S).ask(sound(1), False)


def test_neither_a_worker_nor_the_lone_process_carries_a_network() -> None:
    asked = (
        "import sys, sipagent.service.worker, sipagent.service.one_process;"
        "from sipagent.service.remote_detector import *;"
        "remote_detectors(DetectorAddress('x', True)); print({'onnxruntime', 'vosk'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


def test_each_worker_gets_its_own_answers(place: Where) -> None:
    def ask(worker: int) -> list[float | None]:
        line = place.line()
        return [line.ask(sound(100 * worker + turn), False).confidence for turn in range(50)]

    with ThreadPoolExecutor(6) as workers:
        said = list(workers.map(ask, range(6)))
    assert said == [[100.0 * worker + turn for turn in range(50)] for worker in range(6)]


def test_what_the_detector_fails_on_is_told_and_the_next_may_succeed(place: Where) -> None:
    line = place.line()
    with pytest.raises(DetectorError, match="no memory"):
        line.ask(sound(BROKEN), False)
    assert line.ask(sound(3), False).confidence == 3.0


# --- one that is killed, dies or hangs ---


@contextmanager
def asking_aside(line: DetectorConnection, samples: Samples) -> Iterator[Future[Verdict]]:
    with ThreadPoolExecutor(1) as other:
        yield other.submit(line.ask, samples, False)


def test_killed_while_it_judges_then_replaced(place: Where) -> None:
    line = place.line(LIMIT_S)

    def answers() -> bool:
        with suppress(DetectorError):  # a busy machine may take longer than a question may
            return line.ask(sound(2), False).confidence == 2.0
        return False

    with asking_aside(line, sound(STUCK)) as asked, capture_logs() as logs:
        wait_for(marker(place.post).exists)
        place.kill()
        with pytest.raises(DetectorError, match="does not answer"):
            asked.result(PATIENCE_S)
        for _ in range(3):
            with pytest.raises(DetectorError, match="does not answer"):
                line.ask(sound(1), False)
        place.start()
        wait_for(answers)
    assert [one["event"] for one in logs] == ["alert", "detector_back"]


def test_the_successor_of_one_that_was_killed_answers_its_question(place: Where) -> None:
    """Nobody's recording ends with a process."""
    with asking_aside(place.line(), sound(STUCK)) as asked, capture_logs() as logs:
        wait_for(marker(place.post).exists)
        place.kill()
        place.start()
        assert asked.result(PATIENCE_S).confidence == STUCK
    assert logs == []


def test_a_sound_that_ends_detectors_ends_two_at_most(place: Where) -> None:
    line = place.line()
    with asking_aside(line, sound(DEADLY)) as asked:
        for _ in range(2):
            ended(place.child)
            place.begin()
        with pytest.raises(DetectorError):
            asked.result(PATIENCE_S)
    assert marker(place.post).read_text() == "died\n" * 2
    assert line.ask(sound(2), False).confidence == 2.0


def test_one_that_hangs_costs_one_question_its_limit_and_the_next_nothing(place: Where) -> None:
    """Also where more is asked than its socket holds, and where nobody accepts any more."""
    line = place.line(LIMIT_S, rest_s=PATIENCE_S)
    place.halt()
    began = time.monotonic()
    with capture_logs() as logs:
        with pytest.raises(DetectorError, match="timed out"):
            line.ask(sound(1), False)
        assert time.monotonic() - began >= LIMIT_S
        with pytest.raises(DetectorError, match="a moment ago"):
            line.ask(sound(1), False)
    assert len(logs) == 1
    for size in (800, 4_000_000):
        with asking_aside(place.line(LIMIT_S), sound(1, size)) as asked:
            assert isinstance(asked.exception(PATIENCE_S), DetectorError)


def test_the_answer_to_a_question_that_was_given_up_is_not_that_of_the_next(place: Where) -> None:
    line = place.line(LIMIT_S)
    assert place.child
    line.ask(sound(1), False)
    place.halt()
    with pytest.raises(DetectorError):
        line.ask(sound(2), False)
    os.kill(place.child.pid, signal.SIGCONT)
    assert place.line().ask(sound(4), False).confidence == 4.0
    assert line.ask(sound(5), False).confidence == 5.0


def test_the_leg_whose_words_could_not_be_judged_is_told_of(place: Where) -> None:
    """The agent makes of it that the call isn't recorded."""
    place.kill()
    told: list[object] = []
    failed = threading.Event()

    def report(leg: int, conclusion: object) -> None:
        told.append(conclusion)
        if isinstance(conclusion, ListenerFailed):
            failed.set()

    listener = Listener(report, remote_detectors(place.address).before)
    listener.start()
    with ExitStack() as stack:
        stack.callback(listener.stop)
        listener.open(1, tones=True, voice=True)
        speech = (8000 * np.sin(np.arange(16_000) * 0.2) * np.hanning(16_000)).astype(np.int16)
        for at in range(0, len(speech), 160):
            listener.feed(1, speech[at : at + 160])
        listener.close(1)
        assert failed.wait(PATIENCE_S)
    assert any("does not answer" in str(one) for one in told)


def test_it_says_that_it_lives_and_ends_when_told_so_or_alone(place: Where) -> None:
    """Told by a word, or by the supervisor's end; a name that is taken is nobody else's meanwhile."""
    child = place.child
    assert child and child.connection.poll(PATIENCE_S) and child.connection.recv() == Alive()
    with socket.socket(socket.AF_UNIX) as again, pytest.raises(OSError):
        again.bind(address(place.address.name))
    child.send(Drain(0.0))
    assert ended(child) == 0
    child = place.start()
    child.connection.close()
    assert select.select([child], [], [], PATIENCE_S)[0]
    place.child = None


# --- the specs ---


def specs(room: Room) -> ChildSpecs:
    return ChildSpecs(room.config(), LIMITS, log_json=True, drain_s=0.0)


def test_an_engine_is_one_more_process_and_it_hears(tmp_path: Path) -> None:
    """The shipped network, in its real process; what a reload brings waits for a restart."""
    room = Room(tmp_path / "agent")  # as it is shipped
    here = detectors(room.config()).before
    it = specs(room)
    first = it.slots()[0]
    assert it.detector and not it.detector.in_call and (first.name, first.index) == ("detector", None)
    room.set("refusal", 'keywords = ["je refuse", "nobody hears this"]')
    with capture_logs() as logs:
        it.change(room.config())
    assert [one["key"] for one in logs if one["event"] == "needs_restart"] == ["refusal.keywords"]
    child: Any = first.start(())
    try:
        assert child.connection.poll(PATIENCE_S)
        assert child.connection.recv() == Ready()
        verdict = DetectorConnection(it.detector.name, PATIENCE_S).ask(sound(0, 16_000), False)
        assert verdict.meaning is Meaning.OTHER
        there, spoken = remote_detectors(it.detector).before, read_sound(SHIPPED / "fr/notice.wav")
        assert here and there
        heard = hear(there, spoken).verdicts  # the strongest of many questions
        assert heard and heard[0].confidence
        assert heard == hear(here, spoken).verdicts
    finally:
        child.kill()
        ended(child)


def test_without_an_engine_there_is_none_and_a_phrase_that_nothing_hears_stops_the_start(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path / "agent")
    room.set("refusal", 'engine = "none"')
    it = specs(room)
    assert it.detector is None and "detector" not in [place.name for place in it.slots()]
    room.set("refusal", 'engine = "embedding"\nkeywords = ["ne m\'enregistrez pas", "nobody hears this"]')
    with pytest.raises(ConfigError, match=r"refusal\.engine: no head for 'nobody hears this'.*; accepted: "):
        specs(room)


def test_a_second_opinion_holds_no_other_worker_up() -> None:
    asked, over = threading.Event(), threading.Event()

    class Slow:
        def likeness(self, samples: Samples) -> Likeness:
            asked.set()
            assert over.wait(PATIENCE_S)
            return Likeness("je refuse", 40.0)

    class First:
        every_ms = 100

        def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
            refuses = bool(samples[0]) if len(samples) else False
            return Verdict(Meaning.UNCLEAR, "je refuse", 0.9) if refuses else Verdict(Meaning.OTHER)

    judge = Judge(Detectors(SecondOpinion(First(), Slow()), None))
    lines = [socket.socketpair() for _ in range(2)]
    threads = [threading.Thread(target=judge.answer, args=(peer,)) for _, peer in lines]
    for thread in threads:
        thread.start()
    (refusing, _), (talking, _) = lines
    refusing.sendall(asking(sound(1)))
    assert asked.wait(PATIENCE_S)
    talking.sendall(asking(sound(0)))
    assert answered(talking)["meaning"] == "other"
    over.set()
    said = answered(refusing)
    assert said["meaning"] == "refuse"
    judge.wait_turn()
    for line in (refusing, talking):
        line.close()
    for thread in threads:
        thread.join(PATIENCE_S)


def asking(samples: Samples) -> bytes:
    """The last question about a stream, before the bridge."""
    content = samples.astype("<i2").tobytes()
    return HEAD.pack(False, True, 5, 0, len(content)) + content


def answered(line: socket.socket) -> dict[str, Any]:
    (size,) = SIZE.unpack(received(line, SIZE.size, time.monotonic() + PATIENCE_S))
    said: dict[str, Any] = json.loads(received(line, size, time.monotonic() + PATIENCE_S))
    return said

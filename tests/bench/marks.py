"""How soon a refusal has its mark on the disk: `python -m tests.bench.marks`.

A recorder's taps are fed as the bridge does, by one thread, and written by another. The main thread, in place
of the SIP thread, hands a refusal over and goes back to waiting. What is timed is from there to the end of
open(2) with O_CREAT: from then on a kill -9 keeps nothing. On an idle machine, beside as many busy processes
as it has cores, and beside a program that holds the database's lock as well.

Then the whole way, in calls of a running agent: from the packet of the key to the mark, as inotify(7) tells.
"""

import ctypes
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from unittest.mock import patch

import click
import numpy as np

from media.frame import FRAME_SAMPLES, SAMPLE_RATE
from media.recording.tap import Channel, Tap
from retention import marks
from sipagent.agent.recorder import Recorder
from sipagent.softphone.phone import Way
from tests import kept
from tests.bench import report
from tests.bench.office import office
from tests.bench.report import Row
from tests.kept import START, receipt, recording
from tests.live.calls import connect, talk

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
PAUSE_S = 0.05
LIMIT_MS = 5.0
IN_CREATE = 0x100


class Marks:
    """When a mark was made in a folder, ns of the monotonic clock."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(self._events, os.fsencode(folder), IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"inotify: {folder}")

    def wait(self) -> int:
        while True:
            told = os.read(self._events, 4096)
            at_ns = time.monotonic_ns()
            if marks.SUFFIX.encode() in told:
                return at_ns

    def close(self) -> None:
        os.close(self._events)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many that compute all the time."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "retention.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def fed(taps: list[Tap]) -> Iterator[None]:
    """The first two of them, as they come and go: two calls' legs."""
    over, frame = threading.Event(), np.zeros(FRAME_SAMPLES, np.int16)

    def tick() -> None:
        due = time.monotonic()
        while not over.is_set():
            for tap in taps[:2]:
                for channel in Channel:
                    tap.feed(channel, frame, due)
            due += FRAME_S
            over.wait(max(0.0, due - time.monotonic()))

    clock = threading.Thread(target=tick)
    clock.start()
    yield
    over.set()
    clock.join()


def measure(where: str, count: int, busy_processes: int, *, lock: bool) -> Iterator[Row]:
    took, create, made = [], marks._created, SimpleQueue[float]()

    def created(path: Path) -> int:
        descriptor = create(path)
        made.put(time.perf_counter())
        return descriptor

    with tempfile.TemporaryDirectory(prefix="sipagent-bench-") as name, ExitStack() as stack:
        folder, rows = Path(name), [recording(minutes) for minutes in range(count)]
        receipts = [receipt(row, ended_at=None, outcome=None) for row in rows]
        archive = kept.archive(folder)
        stack.callback(archive.store.close)
        recorder = Recorder(archive, "wav", lambda _: None)
        recorder.start()
        stack.callback(recorder.stop)
        for one in receipts:
            recorder.keep_receipt(one)
        taps, ready = [recorder.begin(row, print) for row in rows], threading.Event()
        recorder.later(ready.set)
        ready.wait()
        stack.enter_context(patch.object(marks, "_created", created))
        stack.enter_context(fed(taps))
        stack.enter_context(busy(busy_processes))
        if lock:
            stack.enter_context(locked(folder))
        for one in receipts:
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            recorder.erase(taps.pop(0), one, START)
            took.append((made.get() - began) * 1e3)
    yield report.of(where, took, LIMIT_MS)
    yield Row(f"{where}: p99", report.percentile(took, 0.99), LIMIT_MS, "ms", count=count)


def key_to_mark(name: str, way: Way, count: int) -> Iterator[Row]:
    """In a recorded call that goes on, at any moment; ms."""
    took = []
    with office() as there:
        (caller,), (operator,) = there.callers, there.operators
        moments = random.Random(1)
        for _ in range(count):
            bridge = connect(there.agent, caller, operator)
            there.agent.wait_files(lambda files: any(file.endswith(".part") for file in files))
            talk(bridge.caller, moments.uniform(0.1, 0.4))
            with closing(Marks(there.agent.directory / "recordings")) as made:
                press = bridge.caller.press("9", way)
                at_ns = made.wait()
                took.append((at_ns - bridge.caller.pressed_ns(press)) / 1e6)
            bridge.hang_up()
            operator.skip_calls()
    yield report.of(name, took, LIMIT_MS)


@click.command()
@click.option("--refusals", default=300, show_default=True)
@click.option("--calls", default=20, show_default=True, help="Live ones, for each way of a key.")
@report.as_json_option
def main(refusals: int, calls: int, as_json: bool) -> None:
    """Measure how soon a refusal has its mark; exit 1 where that is too late."""
    cores = os.cpu_count() or 1
    beside = f"the same beside {cores} busy processes"
    live = "in a call, from the key's packet to the mark: RFC 4733"
    parts = {
        "idle": lambda: measure("from the decision to the mark", refusals, 0, lock=False),
        "busy": lambda: measure(beside, refusals, cores, lock=False),
        "locked": lambda: measure("the same, and the database is locked", refusals, cores, lock=True),
        "rfc4733": lambda: key_to_mark(live, "rfc4733", calls),
        "info": lambda: key_to_mark("the same, SIP INFO", "info", calls),
    }
    report.finish("a refusal and its mark, measured on this machine", as_json, parts)


if __name__ == "__main__":
    main()

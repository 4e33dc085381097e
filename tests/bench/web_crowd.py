"""Twenty who listen at once, beside fifty calls that are recorded on the same two cores."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import numpy as np

from retention.sqlite import Store
from retention.vault import new_pair, read_public
from tests.bench.load import RATE, wait_up
from tests.bench.load_cost import spent_s
from tests.bench.load_heard import GAP_MS, Heard
from tests.bench.load_site import SET_UP_S, Site, site
from tests.bench.report import Row
from tests.bench.web_client import AskingError, Client
from tests.bench.web_kept import hours
from tests.bench.web_listeners import Crowd, Told
from tests.bench.web_lists import p95
from tests.bench.web_site import PURPOSE, MemoryWatch, RunningPage, address, enter, page
from tests.kept import archive_of
from tests.peers.process import PeerError

PAGE_MS, MEMORY_MB = 300.0, 150.0
CLICKS_S = 0.25  # between two pages of the one who looks around
SETTLED_S = 3.0


@dataclass(slots=True)
class Phase:
    """A part of the time, by the wall clock in ns, and what was seen in it."""

    name: str
    first_ns: int = 0
    last_ns: int = 0
    pages_ms: list[float] = field(default_factory=list)
    page_cpu_s: float = 0.0
    load: float = 0.0  # of the machine when it began

    @property
    def seconds(self) -> float:
        return (self.last_ns - self.first_ns) / 1e9


def between(heard: Heard, first_ns: int, last_ns: int) -> Heard:
    """What was heard from one moment to another."""
    at = heard.packets["at_ns"]
    return Heard(heard.packets[(at >= first_ns) & (at < last_ns)], heard.sent, heard.drops)


def looked_at(ids: list[str]) -> list[str]:
    """What a visitor looks at, in turn."""
    return ["/recordings", f"/recordings/{ids[0]}", "/", "/recordings?flagged=true", f"/recordings/{ids[-1]}"]


class Visitor:
    """Somebody who looks at one page after the other."""

    def __init__(self, client: Client, paths: list[str]) -> None:
        self._client, self._paths = client, paths
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.spent_ms: list[float] = []
        self.problem: Exception | None = None

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self.problem is not None:
            raise self.problem

    def _look(self) -> None:
        try:
            while not self._over.wait(CLICKS_S):
                path = self._paths[len(self.spent_ms) % len(self._paths)]
                self.spent_ms.append(self._client.get(path).ms)
        except (AskingError, OSError, HTTPException) as problem:  # for who has started it
            self.problem = problem


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured: the calls alone, then with the listeners."""

    calls: int
    up: int
    alone: Phase
    crowded: Phase
    heard: Heard
    told: list[Told]
    idle_mb: float  # PSS of the page before the first listener
    pss_mb: float
    rss_mb: float
    listeners_s: float  # CPU of the listeners themselves
    generator_s: float  # CPU of the calls' generator


def measure(folder: Path, calls: int, listeners: int, seconds: float) -> Run:
    """`seconds` of calls alone, and as many with the listeners; every process is gone afterwards."""
    with ExitStack() as stack:
        public, _ = new_pair(folder / "listening", None, "bench")
        table = address()
        more = {"web": table, "recording": {"recipients": [str(public)]}}
        place = stack.enter_context(site(calls, more=more))
        with Store(place.agent.directory / "retention.db") as store:
            archive = archive_of(store, place.agent.directory / "recordings", place.agent.directory)
            ids = [one.id for one in hours(archive, read_public(public), listeners)]
        running = stack.enter_context(page(place.agent.config, table))
        person = enter(place.agent, running, public)
        return _measure(place, running, person.headers, ids, seconds)


def _measure(
    place: Site, running: RunningPage, headers: Mapping[str, str], ids: list[str], seconds: float
) -> Run:
    client = Client(running.port, headers)
    paths = looked_at(ids)
    with Crowd(running.port, headers, ids, PURPOSE) as crowd:
        for path in paths:  # what is looked at for the first time takes longer
            client.get(path)
        whole_s = place.calls / RATE + SET_UP_S + 2 * seconds + 4 * SETTLED_S
        callers = place.call(place.calls, whole_s, RATE)
        up = wait_up(place)
        time.sleep(SETTLED_S)
        with _phase("alone", running, client, paths) as alone:
            time.sleep(seconds)
        listened, generated = spent_s(crowd.pid), spent_s(place.generator.pid)
        with MemoryWatch(running) as memory, _phase("with listeners", running, client, paths) as crowded:
            crowd.begin()
            time.sleep(seconds)
        listened, generated = spent_s(crowd.pid) - listened, spent_s(place.generator.pid) - generated
        told = crowd.finish()
    if callers.wait(300):
        raise PeerError(f"SIPp: {callers.said()}")
    return Run(
        calls=place.calls, up=up, alone=alone, crowded=crowded, heard=place.generator.finish(), told=told,
        idle_mb=memory.before, pss_mb=memory.pss, rss_mb=memory.rss,
        listeners_s=listened, generator_s=generated,
    )  # fmt: skip


@contextmanager
def _phase(name: str, running: RunningPage, client: Client, paths: list[str]) -> Iterator[Phase]:
    phase = Phase(name, load=os.getloadavg()[0])
    spent = running.spent_s()
    with Visitor(client, paths) as visitor:
        phase.first_ns = time.time_ns()
        yield phase
        phase.last_ns = time.time_ns()
    phase.page_cpu_s = running.spent_s() - spent
    phase.pages_ms = visitor.spent_ms


def _of_phase(run: Run, phase: Phase, limit: bool) -> list[Row]:
    streams = between(run.heard, phase.first_ns, phase.last_ns).streams()
    gaps = np.concatenate([one.gaps_ms for one in streams]) if streams else np.array([np.inf])
    lost = sum(one.lost_packets for one in streams)
    longest, over = float(gaps.max()), int((gaps > GAP_MS).sum())
    asked = p95(f"{phase.name}: a page", phase.pages_ms, PAGE_MS if limit else None)
    return [
        Row(
            f"{phase.name}: longest gap in a call", longest, GAP_MS if limit else None, "ms", count=len(gaps)
        ),
        Row(f"{phase.name}: gaps over {GAP_MS:g} ms", over, 0 if limit else None, "", count=len(gaps)),
        Row(f"{phase.name}: RTP lost", lost, 0 if limit else None, "", count=len(gaps)),
        asked,
        Row(f"{phase.name}: cores that the page takes", phase.page_cpu_s / phase.seconds, None, ""),
        Row(f"{phase.name}: load of the machine before", phase.load, None, ""),
    ]


def rows(run: Run) -> list[Row]:
    """The table."""
    for one in run.told:
        if one.problem is not None:
            print(one.problem, file=sys.stderr)
    n, seconds = len(run.told), run.crowded.seconds
    problems = sum(one.problem is not None for one in run.told)
    silent_ms = max(one.silent_s for one in run.told) * 1e3
    firsts = [one.first_ms for one in run.told]
    heard = [ms for one in run.told for ms in one.heard_ms]
    drawn = [ms for one in run.told for ms in one.drawn_ms]
    whole = [one.drawn_s for one in run.told if one.drawn_s is not None]
    return [
        Row(f"calls of {run.calls} that were not up at once", run.calls - run.up, 0, "", count=run.calls),
        *_of_phase(run, run.alone, limit=False),
        *_of_phase(run, run.crowded, limit=True),
        Row("listeners who were refused something", problems, 0, "", count=n),
        p95("a listener: use asked for → first sound is there", firsts, None),
        p95("a listener: what is heard next", heard, None),
        p95("a listener: a minute to be drawn", drawn, None),
        Row("a listener: the longest without sound", silent_ms, 0, "ms", count=n),
        Row("listeners whose whole recording is drawn", len(whole), None, "", count=n),
        Row("the last of them, after", max(whole, default=np.inf), None, "s", count=len(whole)),
        Row("sent to listeners, MB a second", sum(one.bytes for one in run.told) / 1e6 / seconds, None, ""),
        Row("memory of the page before (PSS)", run.idle_mb, None, "MB"),
        Row(f"memory of the page with {n} listeners (PSS)", run.pss_mb, MEMORY_MB, "MB"),
        Row("the same, RSS", run.rss_mb, MEMORY_MB, "MB"),
        Row("cores that the listeners take themselves", run.listeners_s / seconds, None, ""),
        Row("cores that the calls' generator takes", run.generator_s / seconds, None, ""),
    ]  # fmt: skip

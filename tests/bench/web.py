"""`python -m tests.bench.web`: the page, measured with the real `sipagent web`, by HTTP and a real Chromium.

The first sound of an hour, what a first visit weighs, and twenty listeners beside fifty recorded calls. Each
part makes what it needs, and leaves nothing.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx2
import numpy as np
from playwright.sync_api import BrowserContext, Page, sync_playwright

from media.recording.assemble import settle
from media.recording.chunks import ChunkNote, Kind, PartWriter, Sealer, create_part
from retention.archive import Archive
from retention.records import Recording
from retention.sqlite import Store
from retention.vault import PublicKey, new_pair, read_public
from tests.bench import report
from tests.bench.load_mark import GAP_MS, Heard
from tests.bench.load_site import site
from tests.bench.report import Row, p95
from tests.bench.store import call
from tests.bench.web_listeners import listen
from tests.bench.web_site import (
    PURPOSE,
    AskingError,
    MemoryWatch,
    RunningPage,
    address,
    client,
    enter,
    ms,
    page,
)
from tests.kept import Paths, archive_of
from tests.peers.agent import RunningAgent
from tests.peers.process import PeerError
from tests.web.browser import CHROMIUM
from tests.web.listening import unfold

CORES = 2
OPERATOR = {"operators": {"extensions": ["sip:201@127.0.0.1:5070"]}}
SEEN = "/recordings"
RATE, HOUR_S = 8000, 3600


def hours(archive: Archive, recipient: PublicKey, count: int) -> list[Recording]:
    """So many recordings of an hour each, sealed to one who may listen; newest first."""
    return [_hour(archive, recipient, timedelta(hours=2 + number)) for number in range(count)]


def _hour(archive: Archive, recipient: PublicKey, ago: timedelta) -> Recording:
    """A tone for the caller, another for the operator, loud from the first samples on."""
    receipt, recording = call(0, datetime.now(UTC) - ago)
    ended_at = recording.started_at + timedelta(seconds=HOUR_S)
    recording = replace(
        recording, ended_at=ended_at, duration_s=float(HOUR_S), sample_rate=RATE, path=None, bytes=None,
        sha256=None,
    )  # fmt: skip
    archive.store.add_receipt(replace(receipt, ended_at=ended_at))
    part = archive.open(recording)
    writer = PartWriter(create_part(part), RATE, Sealer(archive.vault.create(recording.id, [recipient])).seal)
    seconds = np.arange(RATE) / RATE
    second = np.stack([np.sin(math.tau * hz * seconds) * 8000 for hz in (440, 880)], axis=1).astype(np.int16)
    for _ in range(HOUR_S):
        writer.write_audio(second)
    writer.write_note(ChunkNote(), Kind.END)
    writer.sync()
    writer.close()
    settle(part, Paths(archive).final(recording.id, "sealed"))
    return archive.close(recording)


# --- a real Chromium: how soon a click on `play` is heard, and what a first visit weighs ---

HOURS = 10  # recordings of an hour; all but one are heard twice
FIRST_SOUND_S = 1.0
ALL_KB, OURS_KB = 1000.0, 150.0
WITHIN_MS = 30_000
LIBSODIUM = "/static/vendor/libsodium"
# What the page tells: how long it takes from the click on `play` until the first sample that is not silence
# is on its way to the loudspeaker, ms.
EAR = """
(() => {
  const connect = AudioNode.prototype.connect;
  let clicked = null, tell = null;
  globalThis.firstSound = new Promise((resolve, reject) => {
    tell = () => resolve(performance.now() - clicked);
    setTimeout(reject, WITHIN_MS, "no sound");
  });
  firstSound.catch(() => null);
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("#play")) clicked ??= performance.now();
  }, true);
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      const ear = new AnalyserNode(this.context, { fftSize: 2048 });
      const samples = new Float32Array(ear.fftSize);
      connect.call(this, ear);
      const timer = setInterval(() => {
        ear.getFloatTimeDomainData(samples);
        if (samples.every((sample) => sample === 0)) return;
        clearInterval(timer);
        tell();
      }, 2);
    }
    return connect.call(this, to, ...rest);
  };
})();
""".replace("WITHIN_MS", str(WITHIN_MS))


def browser(folder: Path) -> Iterator[Row]:
    table = address()
    agent = RunningAgent(folder / "heard", {**OPERATOR, "web": table})
    public, identity = new_pair(folder / "listening", None, "bench")
    with Store(agent.directory / "retention.db") as store:
        archive = archive_of(store, agent.directory / "recordings", agent.directory)
        recordings = hours(archive, read_public(public), HOURS)
    with page(agent, table) as running:
        headers = enter(agent, running, public)
        asking = client(running.port, {**headers, "Accept-Encoding": "gzip, deflate, br"})
        with visits(running, headers["Cookie"]) as context:
            yield from weights(context, asking, recordings[-1], identity)
        asking.close()
        with visits(running, headers["Cookie"]) as context:
            yield from first_sounds(context, recordings[:-1], agent.directory, identity)


@contextmanager
def visits(running: RunningPage, cookie: str) -> Iterator[BrowserContext]:
    """A browser that knows nothing yet, without a window, of somebody who is logged in."""
    options = ["--no-proxy-server", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    origin, (name, _, value) = f"http://127.0.0.1:{running.port}", cookie.partition("=")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        context = chromium.new_context(base_url=origin)
        context.set_default_timeout(WITHIN_MS)
        context.add_init_script(EAR)
        context.add_cookies([{"name": name, "value": value, "url": origin}])
        try:
            yield context
        finally:
            chromium.close()


def opened(shown: Page, recording: Recording, identity: Path) -> None:
    shown.goto(f"/recordings/{recording.id}", wait_until="load")
    unfold(shown)
    shown.set_input_files("#key-file", identity)
    shown.click("#key-open")
    shown.wait_for_selector("#key-opened", state="visible")
    shown.select_option("#purpose", PURPOSE)


def played(shown: Page) -> float:
    """From the click on `play` to the first sound, s."""
    shown.click("#play")
    ms: float = shown.evaluate("firstSound")
    return ms / 1e3


def first_sounds(
    context: BrowserContext, recordings: list[Recording], folder: Path, identity: Path
) -> Iterator[Row]:
    """Each of the recordings twice: first as nobody has heard it, nor has the system its file in memory."""
    for is_new, name in ((True, "an hour nobody has heard, from the disk"), (False, "an hour heard before")):
        spent = []
        for recording in recordings:
            shown = context.new_page()
            opened(shown, recording, identity)
            if is_new:
                assert recording.path is not None
                with (folder / recording.path).open("rb") as file:  # the system drops what it holds of it
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            spent.append(played(shown))
            shown.close()
        yield Row(f"{name}: play → first sound, longest", max(spent), FIRST_SOUND_S, "s", count=len(spent))
        yield report.of(f"{name}: play → first sound", spent, FIRST_SOUND_S, "s")


def weights(
    context: BrowserContext, asking: httpx2.Client, recording: Recording, identity: Path
) -> Iterator[Row]:
    """What a browser without a cache is sent until a recording is heard, but for its sound.

    Weighed by what is sent for it, headers included: a browser does not tell that of its workers.
    """
    shown, got = context.new_page(), set[str]()
    shown.on("request", lambda one: got.add(urlsplit(one.url).path) if one.method == "GET" else None)
    opened(shown, recording, identity)
    played(shown)
    shown.close()
    sizes = {}
    for path in got:
        if "/uses/" not in path:
            answer = asking.get(path)
            head = sum(len(name) + len(value) + 4 for name, value in answer.headers.items())
            sizes[path] = (answer.num_bytes_downloaded + head) / 1e3
    if not any(LIBSODIUM in path for path in sizes):
        raise AskingError(f"libsodium is not among what was asked for: {sizes}")
    ours = sum(size for path, size in sizes.items() if LIBSODIUM not in path)
    yield Row("a first visit, without the sound", sum(sizes.values()), ALL_KB, "kB", count=len(sizes))
    yield Row("the same, all but libsodium", ours, OURS_KB, "kB", count=len(sizes))


# --- twenty who listen at once, beside fifty calls that are recorded on the same two cores ---

PAGE_MS, MEMORY_MB = 300.0, 150.0
CLICKS_S = 0.25  # between two pages of the one who looks around
SETTLED_S = 3.0


@dataclass(slots=True)
class Phase:
    """A part of the time, by the wall clock in ns, and what was seen in it."""

    name: str
    load: float  # of the machine when it began
    first_ns: int = 0
    last_ns: int = 0
    pages_ms: list[float] = field(default_factory=list)
    page_cpu_s: float = 0.0
    problem: Exception | None = None

    @property
    def seconds(self) -> float:
        return (self.last_ns - self.first_ns) / 1e9

    def rows(self, whole: Heard, limit: bool) -> Iterator[Row]:
        streams = whole.between(self.first_ns, self.last_ns).streams()
        gaps = np.concatenate([one.gaps_ms for one in streams]) if streams else np.array([np.inf])
        for name, value, most, unit in (
            ("longest gap in a call", gaps.max(), GAP_MS, "ms"),
            (f"gaps over {GAP_MS:g} ms", (gaps > GAP_MS).sum(), 0, ""),
            ("RTP lost", sum(one.lost_packets for one in streams), 0, ""),
        ):
            yield Row(f"{self.name}: {name}", float(value), most if limit else None, unit, count=len(gaps))
        yield p95(f"{self.name}: a page", self.pages_ms, PAGE_MS if limit else None)
        yield Row(f"{self.name}: cores that the page takes", self.page_cpu_s / self.seconds)
        yield Row(f"{self.name}: load of the machine before", self.load)


@contextmanager
def phase(name: str, running: RunningPage, asking: httpx2.Client, paths: list[str]) -> Iterator[Phase]:
    """A part of the time in which somebody looks at one page after the other."""
    found, spent, over = Phase(name, os.getloadavg()[0]), running.spent_s(), threading.Event()

    def look() -> None:
        try:
            while not over.wait(CLICKS_S):
                found.pages_ms.append(ms(asking.get(paths[len(found.pages_ms) % len(paths)])))
        except (AskingError, httpx2.HTTPError) as problem:  # for who has started it
            found.problem = problem

    visitor = threading.Thread(target=look)
    visitor.start()
    found.first_ns = time.time_ns()
    try:
        yield found
    finally:
        found.last_ns = time.time_ns()
        over.set()
        visitor.join()
    found.page_cpu_s = running.spent_s() - spent
    if found.problem is not None:
        raise found.problem


def crowd(folder: Path, calls: int, listeners: int, seconds: float) -> Iterator[Row]:
    """`seconds` of calls alone, and as many with the listeners; every process is gone afterwards."""
    with ExitStack() as stack:
        public, _ = new_pair(folder / "listening", None, "bench")
        table = address()
        more = {"web": table, "recording": {"recipients": [str(public)]}}
        place = stack.enter_context(site(calls, more=more))
        with Store(place.agent.directory / "retention.db") as store:
            archive = archive_of(store, place.agent.directory / "recordings", place.agent.directory)
            ids = [one.id for one in hours(archive, read_public(public), listeners)]
        running = stack.enter_context(page(place.agent, table))
        headers = enter(place.agent, running, public)
        asking = client(running.port, headers)
        paths = [SEEN, f"{SEEN}/{ids[0]}", "/", f"{SEEN}?flagged=true", f"{SEEN}/{ids[-1]}"]
        for path in paths:  # what is looked at for the first time takes longer
            asking.get(path)
        pool = stack.enter_context(
            ProcessPoolExecutor(1, get_context("spawn"))
        )  # so that nothing waits for it
        pool.submit(os.getpid).result()  # it is there
        callers, up = place.call_all(2 * seconds + 4 * SETTLED_S)
        time.sleep(SETTLED_S)
        with phase("alone", running, asking, paths) as alone:
            time.sleep(seconds)
        with MemoryWatch(running) as memory, phase("with listeners", running, asking, paths) as crowded:
            listening = pool.submit(listen, running.port, headers, ids, PURPOSE, seconds)
            time.sleep(seconds)
        told = listening.result()
        if callers.wait(300):
            raise PeerError(f"SIPp: {callers.said()}")
        heard = place.generator.finish()
    problems = [one.problem for one in told if one.problem is not None]
    for problem in problems:
        print(problem, file=sys.stderr)
    n = len(told)
    yield Row(f"calls of {calls} that were not up at once", calls - up, 0, count=calls)
    yield from alone.rows(heard, limit=False)
    yield from crowded.rows(heard, limit=True)
    yield Row("listeners who were refused something", len(problems), 0, count=n)
    firsts = [one.first_ms for one in told]
    yield p95("a listener: use asked for → first sound is there", firsts, None)
    yield p95("a listener: what is heard next", [ms for one in told for ms in one.heard_ms], None)
    yield p95("a listener: a minute to be drawn", [ms for one in told for ms in one.drawn_ms], None)
    silent_s = max(one.silent_s for one in told)
    yield Row("a listener: the longest without sound", silent_s * 1e3, 0, "ms", count=n)
    yield Row("memory of the page before (PSS)", memory.before, None, "MB")
    yield Row(f"memory of the page with {n} listeners (PSS)", memory.pss, MEMORY_MB, "MB")
    yield Row("the same, RSS", memory.rss, MEMORY_MB, "MB")


@click.command()
@click.option("--calls", default=50, show_default=True, help="Recorded calls beside the listeners.")
@click.option("--listeners", default=20, show_default=True, help="Who listen at once.")
@click.option("--seconds", default=60.0, show_default=True, help="For which they do; before, calls alone.")
@click.option("--only", type=click.Choice(["browser", "crowd"]), multiple=True, help="A part of it.")
@report.as_json_option
def main(calls: int, listeners: int, seconds: float, only: tuple[str, ...], as_json: bool) -> None:
    """Measure the page; exit 1 where a target is missed. Ctrl-C ends all of it."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # all that is started here, too

    def scratch(part: Callable[[Path], Iterator[Row]]) -> Iterator[Row]:
        with tempfile.TemporaryDirectory(prefix="sipagent-web-") as folder:
            yield from part(Path(folder))

    parts = {
        "browser": lambda: scratch(browser),
        "crowd": lambda: scratch(lambda folder: crowd(folder, calls, listeners, seconds)),
    }
    report.finish("the page, measured on this machine", as_json, parts, only)


if __name__ == "__main__":
    main()

"""A real Chromium: how soon a click on `play` is heard, and what a first visit weighs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Request, sync_playwright

from retention.records import Recording
from tests.bench import report
from tests.bench.report import Row
from tests.bench.web_client import AskingError, Client
from tests.bench.web_kept import forget_pages
from tests.bench.web_site import PURPOSE
from tests.web.browser import CHROMIUM

FIRST_SOUND_S = 1.0
ALL_KB, OURS_KB = 1000.0, 150.0
WITHIN_MS = 30_000
LIBSODIUM = "/static/vendor/libsodium"
NEW, KNOWN = "an hour nobody has heard, from the disk", "an hour heard before"

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


@dataclass(frozen=True, slots=True)
class Place:
    """Where the page is, who is logged in by which cookies, and the key file of that person."""

    origin: str
    cookies: Mapping[str, str]
    identity: Path


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's, without a window."""
    options = ["--no-proxy-server", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page of one recording, in a browser that knows nothing yet, by somebody who is logged in."""

    def __init__(self, context: BrowserContext, place: Place) -> None:
        self._page = context.new_page()
        self._place = place

    def open(self, recording: str) -> None:
        """Load the page, and open the key."""
        self._page.goto(f"{self._place.origin}/recordings/{recording}", wait_until="load")
        self._page.set_input_files("#key-file", self._place.identity)
        self._page.click("#key-open")
        self._page.wait_for_selector("#key-opened", state="visible")
        self._page.select_option("#purpose", PURPOSE)

    def play(self) -> float:
        """From the click on `play` to the first sound, s."""
        self._page.click("#play")
        ms: float = self._page.evaluate("firstSound")
        return ms / 1e3

    def asked(self) -> set[str]:
        """Every path that it reads from now on, once."""
        got: set[str] = set()

        def keep(request: Request) -> None:
            if request.method == "GET":
                got.add(urlsplit(request.url).path)

        self._page.on("request", keep)
        return got

    def close(self) -> None:
        self._page.close()


@contextmanager
def visits(browser: Browser, place: Place) -> Iterator[Callable[[], Visit]]:
    """Makes visits of one browser, with one cache."""
    context = browser.new_context()
    context.set_default_timeout(WITHIN_MS)
    context.add_init_script(EAR)
    context.add_cookies(
        [{"name": name, "value": value, "url": place.origin} for name, value in place.cookies.items()]
    )
    try:
        yield lambda: Visit(context, place)
    finally:
        context.close()


def first_sounds(place: Place, recordings: list[Recording], folder: Path) -> list[Row]:
    """Each of the recordings twice: first as nobody has heard it, nor has the system its file in memory."""
    spent: dict[str, list[float]] = {NEW: [], KNOWN: []}
    with chromium() as browser, visits(browser, place) as visit:
        for name, seconds in spent.items():
            for recording in recordings:
                one = visit()
                one.open(recording.id)
                if name == NEW:
                    forget_pages(recording, folder)
                seconds.append(one.play())
                one.close()
    return [
        row
        for name, seconds in spent.items()
        for row in (
            Row(f"{name}: play → first sound, longest", max(seconds), FIRST_SOUND_S, "s", count=len(seconds)),
            report.of(f"{name}: play → first sound", seconds, FIRST_SOUND_S, "s"),
        )
    ]


def weights(place: Place, client: Client, recording: Recording) -> list[Row]:
    """What a browser without a cache is sent until a recording is heard, but for its sound."""
    with chromium() as browser, visits(browser, place) as visit:
        one = visit()
        got = one.asked()
        one.open(recording.id)
        one.play()
        one.close()
    sizes = {path: weight(client, path) for path in sorted(got) if "/uses/" not in path}
    if not any(LIBSODIUM in path for path in sizes):
        raise AskingError(f"libsodium is not among what was asked for: {sizes}")
    ours = sum(size for path, size in sizes.items() if LIBSODIUM not in path)
    return [
        Row("a first visit, without the sound", sum(sizes.values()) / 1e3, ALL_KB, "kB", count=len(sizes)),
        Row("the same, all but libsodium", ours / 1e3, OURS_KB, "kB", count=len(sizes)),
    ]


def weight(client: Client, path: str) -> int:
    """Bytes of an answer as they are sent, headers included; a browser does not tell them of its workers."""
    answer = client.get(path)
    return len(answer.body) + sum(len(name) + len(value) + 4 for name, value in answer.headers.items())

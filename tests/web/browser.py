"""Debian's Chromium, driven by playwright; what it plays, as samples; and what WCAG 2.2 asks of a page,
levels A and AA, as far as a program can look: axe-core, width, keyboard.
"""

import os
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.tapping import PATIENCE_S

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

PATIENCE_MS = 1000 * PATIENCE_S
expect.set_options(timeout=PATIENCE_MS)
OPTIONS = ["--no-proxy-server", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
_CAPTURE = "/captured-by-the-test.js"
_WORKLET = """
registerProcessor("captured", class extends AudioWorkletProcessor {
  process([[left, right]]) {
    if (left) this.port.postMessage([left.slice(), (right ?? left).slice()]);
    return true;
  }
});
"""
BY_WORKLET = """
(() => {
  window.captured = [];
  if (!window.AudioWorklet) return; // not where a page may use it
  addEventListener("click", () => ([window.clickedAt, window.soundedAt] = [performance.now(), 0]), true);
  const add = AudioWorklet.prototype.addModule, connect = AudioNode.prototype.connect;
  AudioWorklet.prototype.addModule = async function (url) {
    await add.call(this, "CAPTURE");
    return add.call(this, url);
  };
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      const shape = { channelCount: 2, channelCountMode: "explicit", numberOfOutputs: 0 };
      const node = new AudioWorkletNode(this.context, "captured", shape);
      node.port.onmessage = ({ data }) => {
        window.captured.push(data);
        if (!window.soundedAt && data[0].some(Boolean)) window.soundedAt = performance.now();
      };
      connect.call(this, node);
    }
    return connect.call(this, to, ...rest);
  };
})();
""".replace("CAPTURE", _CAPTURE)
BY_TRACK = """
(() => {
  window.captured = [];
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      const copy = this.context.createMediaStreamDestination();
      copy.channelCount = 2;
      const [track] = copy.stream.getAudioTracks();
      const { readable } = new MediaStreamTrackProcessor({ track, maxBufferSize: 60000 });
      readable.pipeTo(new WritableStream({
        write(block) {
          const sides = [0, 1].map((planeIndex) => {
            const side = new Float32Array(block.numberOfFrames);
            block.copyTo(side, { planeIndex, format: "f32-planar" });
            return side;
          });
          block.close();
          window.captured.push(sides);
        },
      }));
      connect.call(this, copy);
    }
    return connect.call(this, to, ...rest);
  };
})();
"""
_TAKE = """
() => {
  const blocks = window.captured, size = blocks.reduce((sum, [left]) => sum + left.length, 0);
  const samples = new Int16Array(2 * size);
  let at = 0;
  for (const [left, right] of blocks)
    for (let frame = 0; frame < left.length; frame++) {
      samples[at++] = Math.round(left[frame] * 32768);
      samples[at++] = Math.round(right[frame] * 32768);
    }
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let from = 0; from < bytes.length; from += 8192)
    text += String.fromCharCode(...bytes.subarray(from, from + 8192));
  return btoa(text);
}
"""

Heard = NDArray[np.int16]  # (n, 2): caller, operator


def capturing(app: ASGIApp) -> ASGIApp:
    """The app, with the script that captures: a browser asks for it as for any other of the page."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        script = Response(_WORKLET, media_type="text/javascript")
        await (script if scope.get("path") == _CAPTURE else app)(scope, receive, send)

    return answer


@pytest.fixture(scope="module")
def driver() -> Iterator[Playwright]:
    """What drives browsers: until it ends, the thread of the tests has an event loop."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(driver: Playwright) -> Iterator[Browser]:
    """One for the tests of a file, ended with all that belongs to it."""
    browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=OPTIONS)
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def person(chromium: Browser) -> Iterator[BrowserContext]:
    """Somebody with a browser in English, whose sound is captured."""
    with somebody(chromium) as context:
        yield context


@contextmanager
def somebody(
    browser: Browser, language: str = "en", *, capture: str = BY_WORKLET, **more: Any
) -> Iterator[BrowserContext]:
    """A profile of its own: tabs of it share what a browser keeps. No script in them fails, or is blocked."""
    context = browser.new_context(locale=language, **more)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(capture)
    failed: list[str] = []
    context.on("weberror", lambda error: failed.append(str(error.error)))
    context.on("console", lambda said: failed.append(said.text) if said.type == "error" else None)
    try:
        yield context
    finally:
        context.close()
    wrong = [text for text in failed if not text.startswith("Failed to load resource")]
    assert not wrong, wrong


def heard(page: Page) -> Heard:
    """Every sample that reached the loudspeaker, at the rate of the recording."""
    taken = b64decode(page.evaluate(_TAKE))
    return np.frombuffer(taken, "<i2").reshape(-1, 2)


def until(page: Page, script: str, seconds: float = PATIENCE_S) -> Any:
    """What a script gives once that is true. Playwright's own way evaluates text, which the page forbids."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(script)):
        assert time.monotonic() < end, f"not within {seconds} s: {script}"
        page.wait_for_timeout(20)
    return found


class Unwatched:
    """A Chromium that is driven for moments only: while it is, its pages hold all that they ever loaded."""

    def __init__(self, driver: Playwright, profile: Path) -> None:
        self._driver = driver
        self._profile = profile
        debugged = ["--remote-debugging-port=0", f"--user-data-dir={profile}"]
        command = [str(CHROMIUM), "--headless", *OPTIONS, *debugged, "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @contextmanager
    def visit(self) -> Iterator[Page]:
        """Its page, which goes on when the visit is over."""
        place = self._profile / "DevToolsActivePort"
        end = time.monotonic() + 20
        while not place.exists() or "\n" not in place.read_text():
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        port = place.read_text().partition("\n")[0]
        browser = self._driver.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
        yield browser.contexts[0].pages[0]
        browser.close()

    def memory_mib(self) -> int:
        """Of all processes that show pages."""
        profile, all = f"--user-data-dir={self._profile}", 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):
                command = (process / "cmdline").read_bytes().decode()  # its title: words between spaces
                if "--type=renderer" in command and profile in command:
                    pages = (process / "statm").read_text().split()[1]
                    all += int(pages) * os.sysconf("SC_PAGE_SIZE")
        assert all, "there is no such process"
        return all >> 20

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def sounding(samples: Heard) -> Heard:
    """From the first sample that is not silent to the last."""
    loud = np.flatnonzero(samples.any(axis=1))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
NARROW: ViewportSize = {"width": 390, "height": 844}
TABLET: ViewportSize = {"width": 768, "height": 1024}
WIDE: ViewportSize = {"width": 1280, "height": 900}
ZOOMED: ViewportSize = {"width": 640, "height": 450}  # 1280 × 900 at 200 %
REFLOW: ViewportSize = {"width": 320, "height": 256}  # 1280 × 1024 at 400 %, WCAG 1.4.10

_FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
# what can be reached, each numbered; of radio buttons with one name one is reached, the others by arrows
_NUMBER = f"""() => {{
  const names = new Set();
  return [...document.querySelectorAll("{_FOCUSABLE}")].filter((one) => {{
    if (one.disabled || !one.checkVisibility({{ visibilityProperty: true }})) return false;
    if (one.type === "radio" && names.size === names.add(one.name).size) return false;
    return true;
  }}).map((one, number) => {{ one.dataset.number = number; return one.outerHTML.slice(0, 120); }});
}}"""
_FROM_THE_TOP = """() => {
  const first = document.createElement("span");
  first.tabIndex = -1;
  document.body.prepend(first);
  first.focus();
  window.scrollTo(0, 0);
}"""
_WHERE = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const told = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const inside = box.bottom > 0 && box.top < innerHeight && box.width > 0;
  return { number: one.dataset.number ?? null, html: one.outerHTML.slice(0, 120), told, inside };
}"""


@cache
def _script() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds, a line for each element."""
    page.evaluate(_script())
    found: dict[str, Any] = page.evaluate(
        "(tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] })", list(TAGS)
    )
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """What makes the page wider than its window, if anything."""
    found: list[str] = page.evaluate("""() => {
      const wide = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= wide) return [];
      return [...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > wide + 1)
        .map((one) => one.outerHTML.slice(0, 120)).slice(0, 5);
    }""")
    return found


def unreached(page: Page) -> list[str]:
    """What the Tab key does not reach in one round, of all that can be used, or reaches unseen."""
    there = page.evaluate(_NUMBER)
    page.evaluate(_FROM_THE_TOP)
    seen: dict[str, None] = {}
    faults: list[str] = []
    for _ in range(3 * len(there) + 10):  # some fields have several stops: the parts of a date
        page.keyboard.press("Tab")
        where = page.evaluate(_WHERE)
        if where is None:
            break
        if where["number"] is not None and where["number"] not in seen:
            seen[where["number"]] = None
            if not where["told"]:
                faults.append(f"no outline: {where['html']}")
            if not where["inside"]:
                faults.append(f"out of sight: {where['html']}")
    else:
        faults.append("the focus never leaves the page again")
    order = [int(number) for number in seen]
    if order != sorted(order):
        faults.append(f"the order of the focus is not that of the page: {order}")
    return faults + [f"not reached: {html}" for number, html in enumerate(there) if str(number) not in seen]

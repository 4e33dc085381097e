"""Debian's Chromium, driven by playwright, and what it plays, as samples.

capturing(app)  gives the browser what it needs for it
heard(page)     what reached the destination of an AudioContext: (n, 2) int16
BY_TRACK        captures without anything of the server, which may be another process
"""

import os
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

_OPTIONS = ["--no-proxy-server", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
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
    browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=_OPTIONS)
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
    context.set_default_timeout(10_000)
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


def until(page: Page, script: str, seconds: float = 20) -> Any:
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
        command = [str(CHROMIUM), "--headless", *_OPTIONS, *debugged, "about:blank"]
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

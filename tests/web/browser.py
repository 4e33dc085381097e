"""Debian's Chromium, driven by playwright, and what it plays, as samples.

capturing(app)  gives the browser what it needs for it
heard(page)     what reached the destination of an AudioContext: (n, 2) int16
"""

import os
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

_CAPTURE = "/captured-by-the-test.js"
_WORKLET = """
registerProcessor("captured", class extends AudioWorkletProcessor {
  process([[left, right]]) {
    if (left) this.port.postMessage([left.slice(), (right ?? left).slice()]);
    return true;
  }
});
"""
_WRAP = """
(() => {
  window.captured = [];
  const add = AudioWorklet.prototype.addModule, connect = AudioNode.prototype.connect;
  AudioWorklet.prototype.addModule = async function (url) {
    await add.call(this, "CAPTURE");
    return add.call(this, url);
  };
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      const shape = { channelCount: 2, channelCountMode: "explicit", numberOfOutputs: 0 };
      const node = new AudioWorkletNode(this.context, "captured", shape);
      node.port.onmessage = ({ data }) => window.captured.push(data);
      connect.call(this, node);
    }
    return connect.call(this, to, ...rest);
  };
})();
""".replace("CAPTURE", _CAPTURE)
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


@contextmanager
def running(*arguments: str) -> Iterator[Browser]:
    """A Chromium of its own, ended with all that belongs to it."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*root, "--no-proxy-server", *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for the tests of a file: while it runs, the thread of the tests has an event loop."""
    with running() as browser:
        yield browser


@pytest.fixture
def person(chromium: Browser) -> Iterator[BrowserContext]:
    """Somebody with a browser in English, whose sound is captured."""
    with somebody(chromium) as context:
        yield context


@contextmanager
def somebody(browser: Browser, language: str = "en") -> Iterator[BrowserContext]:
    """A profile of its own: tabs of it share what a browser keeps."""
    context = browser.new_context(locale=language)
    context.set_default_timeout(10_000)
    context.add_init_script(_WRAP)
    try:
        yield context
    finally:
        context.close()


def heard(page: Page) -> Heard:
    """Every sample that reached the loudspeaker, at the rate of the recording."""
    taken = b64decode(page.evaluate(_TAKE))
    return np.frombuffer(taken, "<i2").reshape(-1, 2)


def sounding(samples: Heard) -> Heard:
    """From the first sample that is not silent to the last."""
    loud = np.flatnonzero(samples.any(axis=1))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]

"""Listeners without browsers: each asks for what the player asks for, when it would, and throws it away.

The player (sipagent/web/static/playing.js, sound.js) has two things under way. What is heard is asked for in
steps, and is a few seconds ahead of the ear. What is drawn is the whole recording, asked for in large spans,
each after a pause as long as the one before took. A process of its own, so that nothing here waits for it.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import NamedTuple

import httpx2

from tests.bench.web_site import AskingError, client, ms
from tests.peers.agent import Json

AHEAD_S, STEP_S, SCAN_S, BUCKETS = 8, 4, 60, 2400  # as the player's scripts have them
OPENED_MB_S = 75.0  # as Chromium opens what is sealed, and looks for its peaks
APART_S = 0.25  # between two who begin
_SPAN = re.compile(r"(\d+)-(\d+)/(\d+)")
_DATA = re.compile(r'data-(uses|csrf)="([^"]*)"')


@dataclass(slots=True)
class Told:
    """What one listener saw: ms of answers, s without sound."""

    first_ms: float = 0.0  # from asking for the use to the first sound's last byte
    heard_ms: list[float] = field(default_factory=list)
    drawn_ms: list[float] = field(default_factory=list)
    silent_s: float = 0.0  # the longest that nothing was left to hear
    problem: str | None = None


class Span(NamedTuple):
    """What an answer holds, in s of the recording."""

    first_s: float
    last_s: float
    all_s: float


class Listener:
    """One who listens to a recording from its beginning, and what was seen meanwhile: `told`."""

    def __init__(self, port: int, headers: Mapping[str, str], recording: str, purpose: str) -> None:
        self._told = Told()
        self._recording, self._purpose = recording, purpose
        self._hearing, self._drawing = client(port, headers), client(port, headers)  # answers come at once
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._try, args=(self._listen,))]
        self.start = self._threads[0].start  # ask for the recording's page, then for its use, then listen
        self.over = self._over.set  # ask for nothing more

    def finish(self) -> Told:
        for thread in self._threads:  # the first one may add another
            thread.join()
        self._hearing.close()
        self._drawing.close()
        return self._told

    def _try(self, do: Callable[..., None], *arguments: object) -> None:
        try:
            do(*arguments)
        except (AskingError, httpx2.HTTPError, KeyError, ValueError) as error:
            self._told.problem = f"{self._recording}: {type(error).__name__}: {error}"

    def _listen(self) -> None:
        told, asking = self._told, self._hearing
        seen = asking.get(f"/recordings/{self._recording}").text
        data = {name: unescape(value) for name, value in _DATA.findall(seen)}
        asking.headers["X-CSRF-Token"] = data["csrf"]
        asked = time.perf_counter()
        use: Json = asking.post(data["uses"], json={"purpose": self._purpose}).json()
        span, _ = _sound(asking, use, 0, STEP_S)
        began = time.perf_counter()
        told.first_ms = (began - asked) * 1e3
        self._threads.append(threading.Thread(target=self._try, args=(self._draw, use, span)))
        self._threads[-1].start()
        while span.last_s < span.all_s:
            left = span.last_s - (time.perf_counter() - began)
            if self._over.wait(max(0.0, left - AHEAD_S)):
                return
            following, answer = _sound(asking, use, span.last_s, span.last_s + STEP_S)
            told.heard_ms.append(ms(answer))
            missed = time.perf_counter() - began - span.last_s
            if missed > 0:  # the ear has waited, and goes on later
                told.silent_s = max(told.silent_s, missed)
                began += missed
            span = following

    def _draw(self, use: Json, span: Span) -> None:
        while span.last_s < span.all_s:
            asked = time.perf_counter()
            piece = math.ceil(span.all_s * use["sample_rate"] / BUCKETS) / use["sample_rate"]
            drawn = span.last_s // piece * piece  # up to where the drawing is whole
            span, answer = _sound(self._drawing, use, drawn, drawn + SCAN_S)
            self._told.drawn_ms.append(ms(answer))
            opening = len(answer.content) / 1e6 / OPENED_MB_S
            if self._over.wait(2 * opening + time.perf_counter() - asked):
                return


def _sound(asking: httpx2.Client, use: Json, from_s: float, to_s: float) -> tuple[Span, httpx2.Response]:
    """What is asked for, and what of the recording it is, by the header. Raises AskingError."""
    answer = asking.get(use["sound"], params={"from": f"{from_s:g}", "to": f"{to_s:g}"})
    found = _SPAN.fullmatch(answer.headers.get("sound-span", ""))
    if found is None:
        raise AskingError(f"no span of sound: {dict(answer.headers)}")
    return Span(*(int(number) / use["sample_rate"] for number in found.groups())), answer


def listen(
    port: int, headers: Mapping[str, str], recordings: list[str], purpose: str, seconds: float
) -> list[Told]:
    """What it was like for so many who listen for so long, one beginning shortly after the other."""
    until = time.monotonic() + seconds
    listeners = [Listener(port, headers, recording, purpose) for recording in recordings]
    for listener in listeners:
        listener.start()
        time.sleep(APART_S)
    time.sleep(max(0.0, until - time.monotonic()))
    for listener in listeners:
        listener.over()
    return [listener.finish() for listener in listeners]

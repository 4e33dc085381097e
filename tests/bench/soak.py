"""Callers without a pause at full capacity, in both shapes: does it outlive them?

There are as many callers as the service takes, and each calls again the moment that the last call has ended:
in the notice, the window, while phones ring, after some talk, having refused or not. So every INVITE finds
room, and each that is refused is a fault; its receipt tells by whom. What processes and handles weigh is
looked at all the while.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from sipagent.softphone.phone import Call, Phone, PhoneTimeout
from tests.attack.site import SHAPES, Shape, Site
from tests.bench import report
from tests.bench.proc import Memory
from tests.bench.report import Row
from tests.live.calls import figures
from tests.tapping import wait_for

CALLERS = {"alone": 1, "edge": 4}
LOOK_S = 5.0
ANSWER_S = 10.0
TALK_S = (0.1, 0.3, 0.8, 1.5, 3.0)  # until a caller hangs up: in the notice, the window, the hunt, the talk
REFUSES = 0.2  # of all callers, in the end
NO_ROOM = (503, 486)
FLAT = 1.10  # the last third of the looks beside the first
SPARE_MB, SPARE_HANDLES = 8, 8


@dataclass
class Seen:
    """What has come of it: final statuses, the Call-IDs of those refused for want of room, and looks."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    looks: list[Memory] = field(default_factory=list)


class Line:
    """One caller, on a thread of its own."""

    def __init__(self, site: Site, phone: Phone, seen: Seen, until: float, seed: int) -> None:
        self._site, self._phone, self._seen, self._until = site, phone, seen, until
        self._random = random.Random(seed)
        self.thread = threading.Thread(target=self._run, name=f"caller-{seed}")

    def _run(self) -> None:
        while time.monotonic() < self._until:
            call = self._phone.call(self._site.uri())
            status = self._status(call)
            self._seen.statuses[status] += 1
            if status in NO_ROOM:
                self._seen.refused.append(call.call_id)
            with self._phone.loop.lock:
                self._phone.calls.clear()
                self._phone.seen.clear()

    def _status(self, call: Call) -> int:
        """0 where there was no final answer."""
        try:
            status = call.wait_status(ANSWER_S)
        except PhoneTimeout:
            call.cancel()
            return 0
        if call.answered_ns is None:
            return status
        with suppress(PhoneTimeout):  # who talks until then hears no end: that is what is wanted
            call.loop.wait_for(lambda: call.ended_ns is not None, self._random.choice(TALK_S), "end")
            return 1  # it was we who were to hang up
        if self._random.random() < REFUSES:
            call.press("9")
        call.hang_up()
        return status


def soak(shape: Shape, minutes: float, stack: ExitStack) -> tuple[Site, Seen]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-soak-")))
    callers = CALLERS[shape]
    site = Site(folder / "agent", stack, shape, capacity={"calls": callers}, retention={"period": "1 day"})
    desks = [site.phone(f"20{n}", 1000.0, "127.0.0.4") for n in range(2 * callers)]
    for desk in desks:
        desk.answer = site.desk.answer
    site.agent.rewrite(operators={"extensions": [desk.uri for desk in desks]})
    site.start()
    seen, began = Seen(), time.monotonic()
    until = began + minutes * 60
    phones = [site.phone(f"+3361234567{n}", 440.0, "127.0.0.2") for n in range(callers)]
    lines = [Line(site, phone, seen, until, n) for n, phone in enumerate(phones)]
    for line in lines:
        line.thread.start()
    while time.monotonic() < until:
        seen.looks.append(Memory.now(site.agent.pid))
        for desk in desks:
            forget(desk)
        progress(shape, time.monotonic() - began, minutes * 60, seen)
        threading.Event().wait(min(LOOK_S, max(0.0, until - time.monotonic())))
    for line in lines:
        line.thread.join()
    return site, seen


def forget(desk: Phone) -> None:
    """Calls that are over, and all messages: the phones must not grow either."""
    with desk.loop.lock:
        desk.calls[:] = [call for call in desk.calls if call.ended_ns is None]
        desk.seen.clear()


def progress(shape: Shape, past_s: float, whole_s: float, seen: Seen) -> None:
    if sys.stderr.isatty():
        calls = sum(seen.statuses.values())
        print(f"\r{shape}: {past_s:4.0f} of {whole_s:.0f} s, {calls} calls ", end="", file=sys.stderr)


def rows(shape: Shape, minutes: float) -> Iterator[Row]:
    with ExitStack() as stack:
        site, seen = soak(shape, minutes, stack)
        site.agent.wait_no_legs(60)
        with suppress(AssertionError):  # it is among the rows
            wait_for(lambda: figures(site.figures_port)["sipagent_calls_in_progress"] == 0)
        told, refused = figures(site.figures_port), refused_by(site, seen)
        events = site.agent.log_events
    third = max(1, len(seen.looks) // 3)
    memory, handles = (
        [
            statistics.median(getattr(look, name) for look in part)
            for part in (seen.looks[:third], seen.looks[-third:])
        ]
        for name in ("pss", "handles")
    )
    count, logged = seen.statuses, Counter(event.get("event") for event in events)
    other = sum(n for status, n in count.items() if status not in (0, 1, 200, *NO_ROOM, 603))
    for name, value, limit, unit in (
        ("calls", count.total(), None, ""),
        ("603", count[603], 0, ""),
        ("503 or 486 with room", len(seen.refused), 0, ""),
        *((f"of these, {by}", n, None, "") for by, n in refused.items()),
        ("passed on by a worker without room", logged["call_passed_on"], None, ""),
        ("without an answer, or ended by us", count[0] + count[1], 0, ""),
        ("other statuses", other, 0, ""),
        ("calls left", told["sipagent_calls_in_progress"], 0, ""),
        ("legs lost", told["sipagent_legs_lost_total"], 0, ""),
        ("processes that died", sum("has died" in str(event.get("reason")) for event in events), 0, ""),
        ("alerts", logged["alert"], 0, ""),
        ("memory at the end", memory[1], memory[0] * FLAT + SPARE_MB, "MB"),
        ("handles at the end", handles[1], handles[0] + SPARE_HANDLES, ""),
    ):
        yield Row(f"{shape}: {name}", value, limit, unit)


def refused_by(site: Site, seen: Seen) -> Counter[str]:
    """Who has refused how many: `edge: full`, `edge: untaken` where a worker had no room, `agent`, …"""
    wanted = set(seen.refused)
    with suppress(AssertionError):  # it is among them, as one without a receipt
        wait_for(lambda: wanted <= {receipt["call_id"] for receipt in site.agent.receipts()})
    events = {receipt["call_id"]: receipt["events"] for receipt in site.agent.receipts()}
    return Counter(f"by {events[id][-1]['by']}" if events.get(id) else "no receipt" for id in seen.refused)


@click.command(help=__doc__)
@click.option("--minutes", default=10.0, show_default=True, help="For each shape.")
@click.option("--shape", "shapes", type=click.Choice(SHAPES), multiple=True, default=SHAPES)
@report.as_json_option
def main(minutes: float, shapes: tuple[Shape, ...], as_json: bool) -> None:
    parts: dict[str, Callable[[], Iterator[Row]]] = {shape: partial(rows, shape, minutes) for shape in shapes}
    report.finish("Callers without a pause at full capacity", as_json, parts)


if __name__ == "__main__":
    main()

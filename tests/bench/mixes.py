"""How far the quality in receipts is from what a line of ours did to the sound: losses one by one and in
bursts, delay, jitter, packets out of turn. Calls at once on agents of one process each; the mixes are drawn
from a seed, one for each leg.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from media.frame import FRAME_SAMPLES, SAMPLE_RATE
from sipagent.agent.quality import IMPAIRMENTS, Level, Stream, burst_ratio, leg_quality, mos, rating
from sipagent.softphone.loop import Loop
from sipagent.softphone.phone import Answering
from sipagent.softphone.rtp import SteadyTone
from tests.bench import report
from tests.bench.report import Row
from tests.live.calls import CALLER_HZ, OPERATOR_HZ, talk
from tests.peers.agent import Json, RunningAgent
from tests.relay import FarPhone, Mix, SoundLine

AT_ONCE = 2  # calls
BUFFER_MS = 20.0  # a jitter buffer holds a packet at least
SEED = 11


def drawn(count: int) -> list[Mix]:
    """The first is a perfect line."""
    chance = random.Random(SEED)
    found = [Mix()]
    while len(found) < count:
        jitter_ms = chance.choice((0.0, 0.0, 10.0, 30.0, 60.0))
        found.append(
            Mix(
                loss=chance.choice((0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)),
                burst=chance.choice((1.0, 1.0, 2.0, 4.0)),
                delay_ms=chance.choice((0.0, 10.0, 40.0, 80.0, 150.0, 250.0)),
                jitter_ms=jitter_ms,
                # beside jitter nobody could say which of them still come in time
                reorder=0.0 if jitter_ms else chance.choice((0.0, 0.0, 0.02)),
                seed=len(found),
            )
        )
    return found


def true_mos(line: SoundLine) -> float:
    """By what the line did; what it let come out of turn came too late to be played."""
    way = line.there
    sent, unheard = len(way.between), way.lost + way.overtaken
    ratio = burst_ratio(way.lost, way.bursts, sent)
    return mos(rating(*IMPAIRMENTS["PCMA"], unheard / sent, ratio, way.delay_ms + BUFFER_MS))


class Place:
    """An agent of one call, its caller and its operator, each behind a line."""

    def __init__(self, stack: ExitStack, loop: Loop, folder: Path) -> None:
        self.caller = stack.enter_context(FarPhone(loop, "+33612345678"))
        self.desk = stack.enter_context(FarPhone(loop, "201"))
        self.caller.sound = lambda: SteadyTone(CALLER_HZ)
        self.desk.sound = lambda: SteadyTone(OPERATOR_HZ)
        self.desk.answer = Answering()
        self.agent = RunningAgent(folder, {"operators": {"extensions": [self.desk.uri]}}).start()
        stack.callback(self.agent.stop)

    def call(self, mixes: tuple[Mix, Mix]) -> None:
        """Begin one, whose two lines are so."""
        for phone, mix in zip((self.caller, self.desk), mixes, strict=True):
            phone.mixes = mix, Mix(delay_ms=mix.delay_ms)
        self.up = self.caller.call(self.agent.uri())

    def ended(self, count: int) -> list[tuple[Json, SoundLine]]:
        """Hang up; what the receipt tells of each side, and what its line did to all that has come."""
        for call in (self.up, self.desk.calls[-1]):
            call.rtp.play(None)
        lines = [phone.line.there for phone in (self.caller, self.desk)]
        self.up.loop.wait_for(lambda: all(one.is_through for one in lines), 5, "last packet")
        self.up.hang_up()
        self.desk.calls[-1].wait_ended()
        receipts = sorted(self.agent.wait_receipts(count), key=lambda one: one["started_at"])
        told = receipts[-1]["quality"]
        return [(told["caller"], self.caller.line), (told["operator"], self.desk.line)]


def measured(count: int, seconds: float) -> list[tuple[Json, SoundLine]]:
    """Of each mix what was told of it, and its line."""
    mixes, found = drawn(count + count % 2), list[tuple[Json, SoundLine]]()
    pairs = [*zip(mixes[::2], mixes[1::2], strict=True)]
    with tempfile.TemporaryDirectory() as folder, Loop() as loop, ExitStack() as stack:
        places = [Place(stack, loop, Path(folder) / str(n)) for n in range(min(AT_ONCE, len(pairs)))]
        for first in range(0, len(pairs), len(places)):
            busy = [*zip(places, pairs[first : first + len(places)], strict=False)]
            for place, pair in busy:
                place.call(pair)
            for place, _ in busy:
                place.up.wait_answered()
                place.desk.wait_call()
            talk(busy[0][0].up, seconds)
            for place, _ in busy:
                found += place.ended(first // len(places) + 1)
    return found[:count]


def rows(count: int, seconds: float) -> Iterator[Row]:
    """The worst of all mixes, and what it costs. Where that is allowed, phones and agents come before all
    else that the machine does: what it is late with is no fault of the line."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    found = measured(count, seconds)
    wrong = [abs(told["mos"] - true_mos(line)) for told, line in found]
    yield report.of(f"MOS, difference from the line's, {count} mixes", wrong, None, "")
    yield Row("the same, the worst", max(wrong), 0.1, "", count=count)
    lossy = [(told, line.there) for told, line in found if line.there.lost]
    for name, counted in (("lost", "lost"), ("lost_bursts", "bursts")):
        off = [100 * abs(told[name] - getattr(way, counted)) / getattr(way, counted) for told, way in lossy]
        yield Row(f"{name}, difference from the line's, the worst", max(off), 10, "%", count=len(off))
    trips = [
        abs(told["rtt_ms"] - 2 * line.there.mix.delay_ms)
        for told, line in found
        if told["rtt_ms"] is not None
    ]
    yield report.of("round trip, difference from the line's", trips, None)
    yield Row("legs without a round trip", count - len(trips), 0, "", count=count)
    yield Row("CPU of level and figures, a call-minute", cpu_a_minute(), 0.01, "s")


def cpu_a_minute() -> float:
    """Of the caller's level and both sides' figures, in s; what the engine is asked is beside it."""
    sound = np.random.default_rng(1).normal(0, 3000, 60 * SAMPLE_RATE).astype(np.int16)
    blocks = np.split(sound, len(sound) // FRAME_SAMPLES)
    streams = (Stream("PCMA", 2900, lost=100, bursts=60, rtt_ms=30.0),)
    began, often = time.process_time(), 20
    for _ in range(often):
        level = Level()
        for block in blocks:
            level.hear(block)
        leg_quality(streams, level)
        leg_quality(streams)
    return (time.process_time() - began) / often

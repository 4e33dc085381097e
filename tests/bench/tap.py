"""What the tap costs: python -m tests.bench.tap [--json].

Each round is the time between two turns of the writer: N calls' frames are fed as the bridge would, then
it writes, both timed as CPU of the thread. Beside it, what sealing adds (the same minute sealed and in clear,
and a key for two recipients), what a sync takes on this disk, what it costs to make the FLAC or to give the
sealed file its name, how much memory a tap holds before its writer's turn, and feeding and writing in real
time with the real writer's thread.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, samples_of
from media.recording.assemble import assemble, settle
from media.recording.tap import SYNC_EVERY_S, WRITE_EVERY_S, Channel, Tap, TapWriter
from retention.recording_files import LocalFiles
from retention.records import new_id
from retention.vault import Vault, new_pair, read_public

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
ROUND_FRAMES = round(WRITE_EVERY_S / FRAME_S)
SYNC_ROUNDS = round(SYNC_EVERY_S / WRITE_EVERY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of `taps` calls recorded at the same time; CPU in s per call and minute of call."""

    taps: int
    feed_us: float
    feed_us_p99: float
    feed_cpu: float
    writer_cpu: float
    assemble_cpu: float
    sync_ms: float
    sync_ms_max: float
    memory_kib: float
    real_time_cpu: float
    real_time_drops: int
    seal_cpu: float
    key_cpu: float
    settle_cpu: float


class NoWriter(TapWriter):
    """Leaves the turns to the bench."""

    def add(self, tap: Tap) -> None:
        pass

    def remove(self, tap: Tap) -> None:
        pass


def speech(seconds: float) -> list[memoryview]:
    """Frames of something about as hard to pack as speech on the telephone: shaped noise in bursts."""
    rng = np.random.default_rng(7)
    count = round(seconds * SAMPLE_RATE)
    voice = np.convolve(rng.standard_normal(count), np.hanning(9), mode="same")
    envelope = np.clip(np.sin(np.arange(count) * (2 * np.pi / (2.3 * SAMPLE_RATE))), 0.02, 1)
    pcm = (voice * envelope * 1500).astype(np.int16).tobytes()
    view = memoryview(pcm)  # a slice of it is copied when it is fed, as a frame of the bridge's is
    size = FRAME_SAMPLES * 2
    return [view[start : start + size] for start in range(0, len(pcm) - size + 1, size)]


def fail(reason: str) -> None:
    raise SystemExit(f"the tap has failed: {reason}")


def open_taps(count: int, directory: Path, writer: TapWriter) -> list[Tap]:
    taps = [Tap(directory / f"{number}.part", fail, writer=writer) for number in range(count)]
    for tap in taps:
        tap.start()
    return taps


def feed_frame(taps: list[Tap], frames: list[memoryview], tick: int, at: float) -> list[float]:
    """One frame of both legs to every tap; CPU seconds of each feed."""
    spent = []
    for number, tap in enumerate(taps):
        for channel in Channel:
            samples = samples_of(frames[(tick + 7 * number + 3 * channel) % len(frames)])
            began = time.thread_time_ns()
            tap.feed(channel, samples, at)
            spent.append((time.thread_time_ns() - began) / 1e9)
    return spent


def spend(job: Callable[[], object]) -> float:
    began = time.thread_time()
    job()
    return time.thread_time() - began


def clock_cost() -> float:
    """What reading the clock around a feed adds to it, in CPU seconds."""
    pairs = [(time.thread_time_ns(), time.thread_time_ns()) for _ in range(20_000)]
    return statistics.median(after - before for before, after in pairs) / 1e9


def run_in_rounds(count: int, rounds: int, frames: list[memoryview], directory: Path) -> dict[str, float]:
    """Feed and write by hand, faster than in real time."""
    taps = open_taps(count, directory, NoWriter())
    own = clock_cost()
    feeds: list[float] = []
    syncs: list[float] = []
    writing = 0.0
    for number in range(rounds):
        for tick in range(number * ROUND_FRAMES, (number + 1) * ROUND_FRAMES):
            feeds.extend(spent - own for spent in feed_frame(taps, frames, tick, 1000 + (tick + 1) * FRAME_S))
        writing += sum(spend(tap.write_out) for tap in taps)
        if number % SYNC_ROUNDS == 0:
            for tap in taps:
                began = time.perf_counter()
                writing += spend(tap.sync)
                syncs.append(time.perf_counter() - began)
    for tap in taps:
        tap.finish()
    parts = sorted(directory.glob("*.part"))[:20]
    making = sum(spend(lambda part=part: assemble(part, part.with_suffix(".flac"), "flac")) for part in parts)  # type: ignore[misc]
    minutes = rounds * ROUND_FRAMES * FRAME_S / 60
    return {
        "feed_us": statistics.median(feeds) * 1e6,
        "feed_us_p99": statistics.quantiles(feeds, n=100)[98] * 1e6,
        "feed_cpu": sum(feeds) / count / minutes,
        "writer_cpu": writing / count / minutes,
        "assemble_cpu": making / len(parts) / minutes,
        "sync_ms": statistics.median(syncs) * 1e3,
        "sync_ms_max": max(syncs) * 1e3,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """CPU in s of one call of a minute: what sealing adds to writing it, its key, and its end."""

    seal_cpu: float
    key_cpu: float
    settle_cpu: float


def sealing(folder: Path, calls: int = 15) -> Sealing:
    """One minute in clear and sealed, in turns, so that a busy machine hits both: medians of `calls`.

    Nothing is taken off for the FLAC, which a sealed recording has no need of.
    """
    stems = [folder / "keys" / name for name in ("first", "second")]
    recipients = [new_pair(stem, None, stem.name)[0] for stem in stems]
    vault, frames = Vault(LocalFiles(folder, folder / "vault", folder)), speech(60)
    writing, keys, ends = [], [], []
    for number in range(calls):
        id, made = new_id(datetime.now(UTC)), list[bytes]()

        def make_key(id: str = id, made: list[bytes] = made) -> None:
            made.append(vault.create(id, [read_public(path) for path in recipients]))

        keys.append(spend(make_key))
        clear = write_minute(folder / f"{number}.part", frames, None)
        sealed = write_minute(folder / f"{id}.part", frames, made[0])
        writing.append(sealed - clear)
        ends.append(spend(lambda id=id: settle(folder / f"{id}.part", folder / f"{id}.sealed")))  # type: ignore[misc]
    return Sealing(
        seal_cpu=statistics.median(writing),
        key_cpu=statistics.median(keys),
        settle_cpu=statistics.median(ends),
    )


def write_minute(part: Path, frames: list[memoryview], key: bytes | None) -> float:
    """CPU in s of all that the writer does for one minute, syncs and end included."""
    tap = Tap(part, fail, writer=NoWriter())
    spent = spend(lambda: tap.start(key))
    for tick in range(len(frames)):
        feed_frame([tap], frames, tick, 1000 + (tick + 1) * FRAME_S)
        if (tick + 1) % ROUND_FRAMES == 0:
            spent += spend(tap.write_out)
        if (tick + 1) % (ROUND_FRAMES * SYNC_ROUNDS) == 0:
            spent += spend(tap.sync)
    return spent + spend(tap.finish)


def sealing_cpu(folder: Path) -> float:
    """CPU in s that sealing adds to a recorded minute of a call that lasts no longer: two have its key."""
    cost = sealing(folder)
    return cost.seal_cpu + cost.key_cpu


def memory_kib(count: int, frames: list[memoryview], directory: Path) -> float:
    """KiB that each tap holds right before a turn of the writer."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    taps = open_taps(count, directory, NoWriter())
    for tick in range(ROUND_FRAMES):
        feed_frame(taps, frames, tick, 1000 + (tick + 1) * FRAME_S)
    held = (tracemalloc.get_traced_memory()[0] - before) / count / 1024
    tracemalloc.stop()
    for tap in taps:
        tap.abandon()
    return held


def run_in_real_time(
    count: int, seconds: float, frames: list[memoryview], directory: Path
) -> tuple[float, int]:
    """Feed as a bridge does, with the real writer: CPU s per call-minute of all threads, and drops."""
    taps = open_taps(count, directory, TapWriter())
    clock = threading.Event()
    began_cpu, began = time.process_time(), time.monotonic()
    ticks = round(seconds / FRAME_S)
    for tick in range(ticks):
        clock.wait(max(0.0, began + (tick + 1) * FRAME_S - time.monotonic()))
        now = time.monotonic()
        for number, tap in enumerate(taps):
            for channel in Channel:
                tap.feed(channel, samples_of(frames[(tick + 7 * number + 3 * channel) % len(frames)]), now)
    spent = time.process_time() - began_cpu
    drops = sum(tap.finish().drops for tap in taps)
    return spent / count / (seconds / 60), drops


def measure(count: int, call_minutes: float, seconds: float, directory: Path) -> Cost:
    frames = speech(60)
    rounds = max(20, round(call_minutes * 60 / count / (ROUND_FRAMES * FRAME_S)))
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        by_hand = run_in_rounds(count, rounds, frames, Path(scratch))
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        cpu, drops = run_in_real_time(count, seconds, frames, Path(scratch))
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        memory = memory_kib(count, frames, Path(scratch))
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        sealed = asdict(sealing(Path(scratch)))
    return Cost(taps=count, memory_kib=memory, real_time_cpu=cpu, real_time_drops=drops, **by_hand, **sealed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON list instead of the table")
    parser.add_argument("--taps", type=int, nargs="+", default=[2, 50, 200], help="calls at the same time")
    parser.add_argument("--call-minutes", type=float, default=40.0, help="sound to feed for each line")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the run in real time")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: the temporary one")
    options = parser.parse_args()
    costs = [
        measure(count, options.call_minutes, options.seconds, options.directory) for count in options.taps
    ]
    if options.json:
        json.dump([asdict(cost) for cost in costs], sys.stdout, indent=1)
        print()
        return
    for name in Cost.__dataclass_fields__:
        values = (getattr(cost, name) for cost in costs)
        print(f"{name:<16}" + "".join(f"{value:>12.4g}" for value in values))


if __name__ == "__main__":
    main()

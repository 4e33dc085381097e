"""What the tap costs: python -m tests.bench.tap [--json].

Each round is the time between two turns of the writer: N calls' frames are fed as the bridge would, then
it writes, both timed as CPU of the thread. Beside it, what sealing adds (the same minute sealed and in clear,
and a key for two recipients), what a sync takes on this disk, and what it costs to make the FLAC or to give
the sealed file its name.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import numpy as np

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, samples_of
from media.recording.assemble import assemble, settle
from media.recording.tap import SYNC_EVERY_S, WRITE_EVERY_S, Channel, Tap, TapWriter
from retention.recording_files import LocalFiles
from retention.records import new_id
from retention.vault import Vault, new_pair, read_public
from tests.bench import report
from tests.bench.report import Row

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
ROUND_FRAMES = round(WRITE_EVERY_S / FRAME_S)
SYNC_ROUNDS = round(SYNC_EVERY_S / WRITE_EVERY_S)
Cost = dict[str, float]
"""CPU in s per call and minute of call where the name says no unit."""


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
    view = memoryview((voice * envelope * 1500).astype(np.int16).tobytes())
    size = FRAME_SAMPLES * 2  # a slice is copied when it is fed, as a frame of the bridge's is
    return [view[start : start + size] for start in range(0, len(view) - size + 1, size)]


FRAMES = speech(60)


def fail(reason: str) -> None:
    raise SystemExit(f"the tap has failed: {reason}")


def open_taps(count: int, directory: Path, writer: TapWriter) -> list[Tap]:
    taps = [Tap(directory / f"{number}.part", fail, writer=writer) for number in range(count)]
    for tap in taps:
        tap.start()
    return taps


def feed_frame(taps: list[Tap], tick: int) -> list[float]:
    """One frame of both legs to every tap; CPU seconds of each feed."""
    spent, at = [], 1000 + (tick + 1) * FRAME_S
    for number, tap in enumerate(taps):
        for channel in Channel:
            samples = samples_of(FRAMES[(tick + 7 * number + 3 * channel) % len(FRAMES)])
            began = time.thread_time_ns()
            tap.feed(channel, samples, at)
            spent.append((time.thread_time_ns() - began) / 1e9)
    return spent


def spend(job: Callable[[], object]) -> float:
    """CPU of a job, s."""
    began = time.thread_time()
    job()
    return time.thread_time() - began


def in_rounds(count: int, call_minutes: float, directory: Path) -> Cost:
    """Feed and write by hand, faster than in real time."""
    pairs = [(time.thread_time_ns(), time.thread_time_ns()) for _ in range(20_000)]
    own = statistics.median(after - before for before, after in pairs) / 1e9  # what reading the clock adds
    taps = open_taps(count, directory, NoWriter())
    feeds, syncs, writing = list[float](), list[float](), 0.0
    rounds = max(20, round(call_minutes * 60 / count / (ROUND_FRAMES * FRAME_S)))
    for number in range(rounds):
        for tick in range(number * ROUND_FRAMES, (number + 1) * ROUND_FRAMES):
            feeds.extend(spent - own for spent in feed_frame(taps, tick))
        writing += sum(spend(tap.write_out) for tap in taps)
        for tap in taps if number % SYNC_ROUNDS == 0 else ():
            began = time.perf_counter()
            writing += spend(tap.sync)
            syncs.append(time.perf_counter() - began)
    for tap in taps:
        tap.finish()
    parts = sorted(directory.glob("*.part"))[:20]
    making = sum(spend(lambda: assemble(part, part.with_suffix(".flac"), "flac")) for part in parts)  # noqa: B023
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


def sealing(folder: Path, calls: int = 15) -> Cost:
    """What sealing adds to writing one call of a minute, its key, and its end: medians of so many.

    In clear and sealed in turns, so that a busy machine hits both. Nothing is taken off for the FLAC, which a
    sealed recording has no need of.
    """
    stems = [folder / "keys" / name for name in ("first", "second")]
    recipients = [read_public(new_pair(stem, None, stem.name)[0]) for stem in stems]
    vault = Vault(LocalFiles(folder, folder / "vault", folder))
    costs: dict[str, list[float]] = {"seal_cpu": [], "key_cpu": [], "settle_cpu": []}
    for number in range(calls):
        id = new_id(datetime.now(UTC))
        began = time.thread_time()
        key = vault.create(id, recipients)
        costs["key_cpu"].append(time.thread_time() - began)
        clear = write_minute(folder / f"{number}.part", None)
        costs["seal_cpu"].append(write_minute(folder / f"{id}.part", key) - clear)
        began = time.thread_time()
        settle(folder / f"{id}.part", folder / f"{id}.sealed")
        costs["settle_cpu"].append(time.thread_time() - began)
    return {name: statistics.median(values) for name, values in costs.items()}


def write_minute(part: Path, key: bytes | None) -> float:
    """CPU in s of all that the writer does for one minute, syncs and end included."""
    tap = Tap(part, fail, writer=NoWriter())
    spent = spend(lambda: tap.start(key))
    for tick in range(len(FRAMES)):
        feed_frame([tap], tick)
        if (tick + 1) % ROUND_FRAMES == 0:
            spent += spend(tap.write_out)
        if (tick + 1) % (ROUND_FRAMES * SYNC_ROUNDS) == 0:
            spent += spend(tap.sync)
    return spent + spend(tap.finish)


def rows(count: int, call_minutes: float, directory: Path | None) -> Iterator[Row]:
    for part in (
        lambda folder: in_rounds(count, call_minutes, folder),
        sealing,
    ):
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            for name, value in part(Path(scratch)).items():
                is_cpu = name.endswith("_cpu")  # of a call and minute
                yield Row(f"{count} calls: {name}", value * 1e3 if is_cpu else value, None, "ms" * is_cpu)


@click.command(help=__doc__)
@click.option("--taps", type=int, multiple=True, default=[2, 50, 200], help="Calls at the same time.")
@click.option("--call-minutes", default=40.0, help="Sound to feed for each number of calls.")
@click.option("--directory", type=click.Path(path_type=Path), help="On the disk to measure.")
@report.as_json_option
def main(taps: tuple[int, ...], call_minutes: float, directory: Path | None, as_json: bool) -> None:
    parts = {str(count): partial(rows, count, call_minutes, directory) for count in taps}
    report.finish("what the tap costs", as_json, parts)


if __name__ == "__main__":
    main()

"""What keeping costs: `python -m tests.bench.store`. Lists, purge, verification and locks over many rows."""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click
import numpy as np
from rich.progress import track

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, samples_of
from media.recording.tap import SYNC_EVERY_S, WRITE_EVERY_S, Channel, Tap, TapWriter
from retention.archive import Archive
from retention.purge import Terms, purge
from retention.recording_files import LocalFiles
from retention.records import Receipt, Recording, Status, due_date, new_id, reference_of
from retention.rows.counts import recordings
from retention.rows.pages import Row as Columns
from retention.rows.pages import batches
from retention.rows.selection import Selection
from retention.sqlite import Store
from retention.vault import Identity, Vault, new_pair, read_public
from retention.verify import verify
from sipagent.agent.recorder import Closing, Recorder
from tests import kept
from tests.bench import report
from tests.bench.report import Row
from tests.kept import Paths, archive_of
from tests.peers.agent import RunningAgent

TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
NOW = datetime.now(UTC)
APART = timedelta(seconds=150)  # between two calls: a million in five years, of which a tenth are kept
KEPT = timedelta(days=180)
IN_ONE_TRANSACTION = 5000
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
ROUND_FRAMES = round(WRITE_EVERY_S / FRAME_S)
SYNC_ROUNDS = round(SYNC_EVERY_S / WRITE_EVERY_S)
SOUND = b"a file of a few bytes: what is measured is the work about it"
SHA256 = hashlib.sha256(SOUND).hexdigest()


class TimedStore(Store):
    """Knows how long its longest read was; while it lasts, nobody can write."""

    longest_s = 0.0
    reads = 0

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Columns]:
        began = time.perf_counter()
        rows = super()._read(sql, values, anyhow=anyhow)
        self.longest_s = max(self.longest_s, time.perf_counter() - began)
        self.reads += 1
        return rows


def call(number: int, newest: datetime) -> tuple[Receipt, Recording]:
    """The `number`-th call before `newest`, recorded, with its receipt."""
    at = newest - number * APART
    id = new_id(at)
    recording = kept.recording(
        id=id, call_id=f"{number:x}@192.0.2.7", started_at=at, ended_at=at + timedelta(minutes=3),
        duration_s=171.2, caller=f"+336{number % 10**8:08d}", operator="sip:201@pbx.example.net",
        status=Status.CLOSED, path=f"recordings/{id}.flac", bytes=len(SOUND), sha256=SHA256, pauses=(),
        expires_at=due_date(at, "6 months"),
    )  # fmt: skip
    receipt = kept.receipt(
        recording, answered_at=at + timedelta(seconds=1), connected_at=at + timedelta(seconds=20),
        ended_at=recording.ended_at, decided_at=at + timedelta(seconds=18), notice_played_ms=12000,
    )  # fmt: skip
    return receipt, recording


def fill(store: Store, calls: Iterable[tuple[Receipt, Recording]], total: int) -> None:
    """Receipts and recordings, each with its entry in the chain."""
    told = track(calls, f"{total} calls", total, transient=True)
    for batch in batches(told, IN_ONE_TRANSACTION):
        with store.write():
            for receipt, recording in batch:
                store.add_receipt(receipt)
                store.add_recording(recording)


def years_of_calls(count: int) -> Iterator[tuple[Receipt, Recording]]:
    """What a service has kept that has answered so many: old ones lead to nobody any more."""
    for number in range(count):
        receipt, recording = call(number, NOW)
        if receipt.started_at < NOW - KEPT:
            yield receipt.anonymous(), recording.tombstone(Status.PURGED, recording.expires_at)
        else:
            yield receipt, recording


def give_files(archive: Archive) -> None:
    """Sound, metadata and key of every recording that is kept; of the sound, a few bytes."""
    for folder in (Paths(archive).recordings, Paths(archive).vault):
        folder.mkdir(exist_ok=True)
    first = ""
    for row in (one for one in archive.store.recordings() if one.purged_at is None):
        if not first:
            first = row.id
            archive.vault.create(first, [Identity(bytes(32), "bench").public])
            key = Paths(archive).key(first).read_text()
        Paths(archive).key(row.id).write_text(key.replace(first, row.id))
        Paths(archive).final(row.id, "flac").write_bytes(SOUND)
        Paths(archive).metadata(row.id).write_text(json.dumps(row.to_json()))


def seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def lists(folder: Path, count: int) -> Iterator[Row]:
    """Over `count` recordings: the newest 50, the longest read of the longest listings, and verification."""
    agent = RunningAgent(folder / "agent", {"operators": {"extensions": ["sip:201@127.0.0.1:5070"]}})
    with TimedStore(agent.directory / "retention.db") as store:
        fill(store, years_of_calls(count), count)
        archive = archive_of(store, agent.directory / "recordings", agent.directory)
        give_files(archive)
        newest = [seconds(lambda: store.recordings(Selection(limit=50))) * 1e3 for _ in range(20)]
        yield report.of(f"list of the newest 50 of {count}, in the library", newest, 100)
        by_filter = {name: slowest_list(store, chosen) for name, chosen in filters(store).items()}
        name = max(by_filter, key=lambda name: by_filter[name])
        yield Row(f"50 by the slowest filter: {name}", by_filter[name], 50, "ms", count=len(by_filter))
        store.longest_s = 0.0
        for _ in store.each_receipt():
            pass
        if store.receipts(Selection(caller=("+33699999999",))):
            raise SystemExit("the caller who never called has called")
        for status in Status:
            recordings(store, status)
        rows, spent = chain_and_tables(archive)
    command = [sys.executable, "-m", "sipagent", "--config", str(agent.config), "list", "--limit", "50"]
    took = [seconds(lambda: subprocess.run(command, check=True, capture_output=True)) * 1e3 for _ in range(7)]
    yield report.of("the same as a command", took, 500)
    lock = "longest lock of a reader: lists, sums, verify"
    yield Row(lock, store.longest_s * 1e3, 100, "ms", count=store.reads)
    yield Row("verify, for each row of chain and tables", spent / rows * 1e6, 20, "µs", count=rows)


def filters(store: Store) -> dict[str, Selection]:
    """Each filter alone, and with few or no rows."""
    middle = store.recordings(Selection(limit=500))[-1]
    return {
        "behind one": Selection(after=middle.id),
        "a day": Selection(since=middle.started_at - timedelta(days=1), until=middle.started_at),
        "a number": Selection(number=middle.caller),
        "the end of a number": Selection(caller=(f"{middle.caller}"[-4:],)),
        "the beginning of a number": Selection(caller=(f"{middle.caller}"[:9],)),
        "a reference": Selection(reference=reference_of(middle.id)),
        "an operator": Selection(operator="201"),
        "an operator of no call": Selection(operator="202"),
        "flagged": Selection(flagged=True),
        "held": Selection(held=True),
        "open": Selection(status=Status.OPEN),
        "purged": Selection(status=Status.PURGED),
        "refused": Selection(decision="refused"),
        "failed": Selection(outcome="failed"),
    }


def slowest_list(store: Store, chosen: Selection) -> float:
    """The slower of both lists of the newest 50, in ms."""
    page = replace(chosen, limit=50)
    listing: list[Callable[[], object]] = [lambda: store.receipts(page)]
    if not page.decision:  # which the table of recordings has no index for: nobody lists by it there
        listing.append(lambda: store.recordings(page))
    return max(map(seconds, listing)) * 1e3


def chain_and_tables(archive: Archive) -> tuple[int, float]:
    """Verify everything; how many rows, and the time until it came to the files."""
    began, until = time.perf_counter(), 0.0

    def step(what: str, done: int, total: int) -> None:
        nonlocal until
        if what != "files":
            until = time.perf_counter()

    found = verify(archive, step)
    if found.problems:
        raise SystemExit(f"{found.problems[0].where}: {found.problems[0].problem}")
    return sum(found.counts[kind] for kind in ("chain", "receipts", "recordings")), until - began


def purges(folder: Path, count: int) -> Iterator[Row]:
    """What it takes to remove `count` expired recordings with all their files."""
    with TimedStore(folder / "retention.db") as store:
        fill(store, (call(number, NOW - timedelta(days=200)) for number in range(count)), count)
        archive = archive_of(store, folder / "recordings", folder)
        give_files(archive)
        store.longest_s = 0.0
        spent = seconds(lambda: purge(archive, NOW, TERMS))
        left = sum(1 for path in folder.rglob("*") if path.is_file()) - len(list(folder.glob("retention.*")))
    if left:
        raise SystemExit(f"{left} files are left after the purge")
    yield Row(f"purge of {count} expired, time for each", spent / count * 1e3, 2, "ms", count=count)
    yield Row("longest lock of a reader meanwhile", store.longest_s * 1e3, 100, "ms", count=store.reads)


def closing(folder: Path, count: int) -> Iterator[Row]:
    """How long the SIP thread is kept by the end of a recording."""
    spent = []
    with Store(folder / "retention.db") as store:
        worker = Recorder(archive_of(store, folder / "recordings", folder), "flac", fail)
        worker.start()
        for number in range(count):
            receipt, row = call(number, NOW)
            worker.keep_receipt(receipt)
            opened = replace(row, status=Status.OPEN, path=None, sha256=None, bytes=None)
            tap, end = worker.begin(opened, fail), Closing(ended_at=NOW, operator=row.operator, flagged=False)
            spent.append(seconds(partial(worker.keep, tap, opened, end)) * 1e3)
        worker.stop()
    yield report.of("the SIP thread, while a recording is closed", spent, 0.5)


def speech(seconds: float) -> list[memoryview]:
    """Frames of something about as hard to pack as speech on the telephone: shaped noise in bursts."""
    rng = np.random.default_rng(7)
    count = round(seconds * SAMPLE_RATE)
    voice = np.convolve(rng.standard_normal(count), np.hanning(9), mode="same")
    envelope = np.clip(np.sin(np.arange(count) * (2 * np.pi / (2.3 * SAMPLE_RATE))), 0.02, 1)
    view = memoryview((voice * envelope * 1500).astype(np.int16).tobytes())
    size = FRAME_SAMPLES * 2  # a slice is copied when it is fed, as a frame of the bridge's is
    return [view[start : start + size] for start in range(0, len(view) - size + 1, size)]


class NoWriter(TapWriter):
    """Leaves the turns to the bench."""

    def add(self, tap: Tap) -> None:
        pass

    def remove(self, tap: Tap) -> None:
        pass


def sealing(folder: Path, calls: int = 15) -> float:
    """CPU s that sealing adds to a call of a minute, with its key for two: medians of so many.

    In clear and sealed in turns, so that a busy machine hits both. Nothing is taken off for the FLAC, which a
    sealed recording has no need of.
    """
    stems = [folder / "keys" / name for name in ("first", "second")]
    recipients = [read_public(new_pair(stem, None, stem.name)[0]) for stem in stems]
    vault = Vault(LocalFiles(folder, folder / "vault", folder))
    keys, seals = list[float](), list[float]()
    for number in range(calls):
        id = new_id(datetime.now(UTC))
        began = time.thread_time()
        key = vault.create(id, recipients)
        keys.append(time.thread_time() - began)
        clear = write_minute(folder / f"{number}.part", None)
        seals.append(write_minute(folder / f"{id}.part", key) - clear)
    return statistics.median(keys) + statistics.median(seals)


def write_minute(part: Path, key: bytes | None) -> float:
    """CPU in s of all that the writer does for one minute, syncs and end included."""
    tap = Tap(part, fail, writer=NoWriter())
    spent, frames = spend(lambda: tap.start(key)), speech(60)
    for tick in range(len(frames)):
        for number, channel in enumerate(Channel):
            samples = samples_of(frames[(tick + 3 * number) % len(frames)])
            tap.feed(channel, samples, 1000 + (tick + 1) * FRAME_S)
        if (tick + 1) % ROUND_FRAMES == 0:
            spent += spend(tap.write_out)
        if (tick + 1) % (ROUND_FRAMES * SYNC_ROUNDS) == 0:
            spent += spend(tap.sync)
    return spent + spend(tap.finish)


def spend(job: Callable[[], object]) -> float:
    """CPU of a job, s."""
    began = time.thread_time()
    job()
    return time.thread_time() - began


def fail(reason: str, because: str = "") -> None:
    raise SystemExit(f"the tap has failed: {reason}")


def sealed(folder: Path) -> Iterator[Row]:
    """Of a call that lasts no longer than a minute; two have its key."""
    yield Row("CPU of sealing per recorded call-minute", sealing(folder) * 1e3, 50, "ms")


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Recordings, and receipts, in the tables.")
@click.option("--expired", default=100_000, show_default=True, help="Recordings for the purge.")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="On the disk to measure.")
@report.as_json_option
def main(rows: int, expired: int, directory: Path | None, as_json: bool) -> None:
    """Measure the store against its targets; exit 1 where one is missed."""

    def scratch(part: Callable[..., Iterator[Row]], *more: int) -> Iterator[Row]:
        with tempfile.TemporaryDirectory(prefix="sipagent-bench-", dir=directory) as folder:
            yield from part(Path(folder), *more)

    parts = {
        "closing": lambda: scratch(closing, 200),
        "sealing": lambda: scratch(sealed),
        "lists": lambda: scratch(lists, rows),
        "purge": lambda: scratch(purges, expired),
    }
    report.finish("what is kept, measured on this machine", as_json, parts)


if __name__ == "__main__":
    main()

"""What the database bears of many workers at once: `python -m tests.bench.crowd`.

Each process writes what a worker writes of a call, without a pause; fifty of them are a hundred calls. What
is needed is far less: `NEEDED` of calls of half a minute.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import click

from retention.archive import Archive
from retention.records import Ids, due_date
from retention.rows.chain import read_head
from retention.rows.counts import RECEIPTS_AT_ONCE
from retention.sqlite import Store
from retention.verify import verify
from sipagent.edge.rpc import RejectedCall
from sipagent.service.edge import receipt_of
from tests.bench import report
from tests.bench.report import Row
from tests.bench.store import SOUND
from tests.driving import RULES
from tests.kept import Paths, archive_of, receipt, recording

CALLS, CALL_S = 100, 30.0
PATIENCE_S = 120.0
LONGEST_S = 5.0  # a third of what a writer waits


def write_call(archive: Archive, ids: Ids, timed: Callable[[Callable[[], object]], None]) -> None:
    """The transactions of one recorded call, from its receipt to its file."""
    at = datetime.now(UTC)
    row = recording(id=ids.new(at), started_at=at, expires_at=due_date(at, "6 months"))
    first = receipt(row, ended_at=None, outcome=None, decision="undecided", decided_by=None)
    store, allowed = archive.store, replace(first, decision="allowed", decided_by="silence")
    timed(lambda: store.add_receipt(first))
    timed(lambda: store.update_receipt(allowed))  # decided
    timed(lambda: store.update_receipt(replace(allowed, connected_at=at)))  # bridged
    timed(lambda: store.update_receipt(replace(allowed, connected_at=at)))  # recorded
    timed(lambda: archive.open(row))
    Paths(archive).final(row.id, "flac").write_bytes(SOUND)
    timed(lambda: store.update_receipt(receipt(row)))
    timed(lambda: archive.close(row))


WRITES = 7  # of a call
NEEDED = CALLS / CALL_S * WRITES  # transactions a second


def worker(
    folder: Path, index: int, seconds: float, start: Barrier, results: SimpleQueue[list[float]]
) -> None:
    """A process: call after call; how long each transaction took, in s."""
    spent: list[float] = []

    def timed(write: Callable[[], object]) -> None:
        began = time.perf_counter()
        write()
        spent.append(time.perf_counter() - began)

    with Store(folder / "retention.db", worker=index) as store:
        archive, ids = archive_of(store, folder / "recordings", folder), Ids(index)
        start.wait(PATIENCE_S)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            write_call(archive, ids, timed)
    results.put(spent)


def crowd(folder: Path, workers: int, seconds: float) -> Iterator[Row]:
    """So many processes, as fast as they can; nothing may be locked out, and nothing be lost."""
    Store(folder / "retention.db").close()
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(workers + 1), fork.SimpleQueue()
    processes = [
        fork.Process(target=worker, args=(folder, index, seconds, start, results)) for index in range(workers)
    ]
    for process in processes:
        process.start()
    start.wait(PATIENCE_S)
    began = time.monotonic()
    spent = [took for _ in processes for took in results.get()]
    lasted = time.monotonic() - began
    for process in processes:
        process.join()
    check(folder, len(spent) // WRITES)
    name, limit = f"{workers} workers that write without a pause: time for each transaction", 1e3 * LONGEST_S
    yield Row(name, lasted / len(spent) * 1e3, 1e3 / NEEDED, "ms", count=len(spent))
    yield report.of("the same: each waited and wrote", [took * 1e3 for took in spent], limit)
    yield Row("the same: the longest", max(spent) * 1e3, limit, "ms", count=len(spent))


def check(folder: Path, calls: int) -> None:
    """All of it is there."""
    with Store(folder / "retention.db") as store:
        found = verify(archive_of(store, folder / "recordings", folder))
        if found.problems or len(store.recordings()) != calls or store.in_progress():
            raise SystemExit(f"{calls} calls were written, and not all is there: {found.problems[:3]}")
        if read_head(folder / "retention.head") != store.head():
            raise SystemExit("the head is not the last one")


def batches(folder: Path, count: int) -> Iterator[Row]:
    """How long the supervisor keeps the others waiting while it writes what the edge rejected."""
    ids, at = Ids(), datetime.now(UTC)
    to, caller = "sip:+33323063006@192.0.2.1", "<sip:+33612345678@x>"
    call = RejectedCall(at, "full", 503, "a84b4c76", to, caller, "", "")
    spent = []
    with Store(folder / "rejected.db") as store:
        for _ in range(count):
            receipts = [receipt_of(call, ids, RULES) for _ in range(RECEIPTS_AT_ONCE)]
            began = time.perf_counter()
            with store.write():
                for one in receipts:
                    store.add_receipt(one)
            spent.append((time.perf_counter() - began) * 1e3)
    yield report.of(f"{RECEIPTS_AT_ONCE} receipts of rejected calls in one transaction", spent, 250)


@click.command()
@click.option("--workers", default=CALLS // 2, show_default=True)
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="On the disk to measure.")
@report.as_json_option
def main(workers: int, seconds: float, directory: Path | None, as_json: bool) -> None:
    """Measure the store under many writers against its targets; exit 1 where one is missed."""
    with tempfile.TemporaryDirectory(prefix="sipagent-bench-", dir=directory) as folder:
        parts = {
            "crowd": lambda: crowd(Path(folder), workers, seconds),
            "rejected": lambda: batches(Path(folder), 20),
        }
        report.finish("one database, many workers, measured on this machine", as_json, parts)


if __name__ == "__main__":
    main()

"""How many calls a second three hosts bring into their database, from what waits in their journals."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from retention.records import Receipt, Recording, Status, new_id
from sipagent.agent.stored import journal_of
from sipagent.config.load import load
from tests.bench.cluster_calls import hosts
from tests.bench.report import Row
from tests.bench.store import NOW, call
from tests.cluster.site import Site
from tests.peers.process import PeerError

CALLS = 1500  # that wait on each host
AT_ONCE = 50
LONGEST_S = 90.0
LOOK_S = 0.1


def rows() -> list[Row]:
    """Their agents run, the lines to the database are cut, calls are written, and the lines flow again."""
    with hosts({"a": 1, "b": 1, "c": 1}, 1, durable=True) as site:
        for host in site.hosts.values():
            host.lines.cut_databases()
        with ProcessPoolExecutor(3) as pool:
            list(pool.map(_write, [host.agent.config for host in site.hosts.values()], site.hosts))
        for host in site.hosts.values():
            host.lines.flow()
        a_second = _arriving(site, CALLS * len(site.hosts))
    return [
        Row("calls shipped by three hosts, ms each", 1000 / a_second, 5, "ms", count=CALLS * 3),
        Row("that is, a second", a_second, None, ""),
    ]


def _write(config: Path, host: str) -> None:
    """So many calls, each in the four steps in which a call is written."""
    with journal_of(load(config), 0) as journal:
        for first in range(0, CALLS, AT_ONCE):
            calls = [_call(number, host) for number in range(first, first + AT_ONCE)]
            with journal.write():
                for receipt, recording in calls:
                    journal.add_receipt(replace(receipt, ended_at=None, outcome=None))
                    journal.add_recording(replace(recording, status=Status.OPEN, ended_at=None))
            with journal.write():
                for receipt, recording in calls:
                    journal.update_recording(recording)
                    journal.update_receipt(receipt)


def _call(number: int, host: str) -> tuple[Receipt, Recording]:
    receipt, recording = call(number, NOW - timedelta(minutes=5))
    id = new_id(receipt.started_at, 0, host)
    return replace(receipt, id=id, recording_id=id), replace(recording, id=id)


def _arriving(site: Site, wanted: int) -> float:
    """Calls a second, from the first that came to the last."""
    began: tuple[float, int] | None = None
    deadline = time.monotonic() + LONGEST_S
    with site.engines.first.connect(site.engines.database) as connection:
        while True:
            (there,) = connection.execute(
                "SELECT count(*) FROM receipts JOIN recordings USING (id) WHERE outcome IS NOT NULL"
            ).fetchone() or (0,)
            now = time.monotonic()
            if there and began is None:
                began = now, there
            if began is not None and there >= wanted:
                return float((there - began[1]) / max(now - began[0], LOOK_S))
            if now > deadline:
                raise PeerError(f"after {LONGEST_S:g} s {there} of {wanted} calls")
            time.sleep(LOOK_S)  # nothing tells

"""What a shared database and an object store cost in CPU: one load, on a host alone and on one of several."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retention.vault import new_pair
from tests.bench.load import RATE, wait_up
from tests.bench.load_cost import Spent
from tests.bench.load_site import SET_UP_S, Site, site
from tests.bench.report import Row
from tests.cluster.engines import Engines
from tests.peers.agent import RunningAgent
from tests.peers.process import PeerError

CLOSED_S = 90.0


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU s a recorded call-minute: while all calls are up; and with set-up, end, shipping and upload."""

    steady_s: float
    whole_s: float
    up: int


@contextmanager
def _shared(folder: Path, stack: ExitStack) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    engines = Engines(folder, stack)
    yield {
        "cluster": {"host": "a"},
        "retention": {"database": engines.first.conninfo(engines.database)},
        "objects": {
            "url": f"s3://{engines.bucket}/kept", "endpoint": engines.store.endpoint, "region": "eu-west-3",
            "credentials_file": str(engines.store.credentials_file(folder)),
        },
    }  # fmt: skip


def measure(calls: int, seconds: float, shared: bool) -> Cost:
    """All calls at once for so long; both hosts seal what they record."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-cost-")))
        public, _ = new_pair(folder / "recordings", None, "DPO")
        more: dict[str, Mapping[str, Any]] = {"recording": {"recipients": [str(public)]}}
        if shared:
            more |= stack.enter_context(_shared(folder, stack))
        place = stack.enter_context(site(calls, more=more))
        return _measure(place, seconds)


def _measure(place: Site, seconds: float) -> Cost:
    roots = [place.agent.pid]
    time.sleep(2)  # what a start leaves to do
    began = Spent.now(roots)
    place.call(place.calls, place.calls / RATE + SET_UP_S + seconds + 2, RATE)
    up = wait_up(place)
    steady, since = Spent.now(roots), time.monotonic()
    time.sleep(seconds)
    steadied, lasted = Spent.now(roots), time.monotonic() - since
    _wait_quiet(place.agent)
    minutes = up * (place.calls / RATE + SET_UP_S + seconds + 2) / 60
    return Cost(
        steadied.since(steady) * 60 / lasted / max(up, 1),
        Spent.now(roots).since(began) / max(minutes, 0.01),
        up,
    )


def _wait_quiet(agent: RunningAgent) -> None:
    """Until no call is left, and nothing of any is being written."""
    until = time.monotonic() + CLOSED_S
    while any(name.endswith(".part") for name in agent.files()) or agent.ended() < 1:
        if time.monotonic() > until:
            raise PeerError(f"after {CLOSED_S:g} s calls are still recorded")
        time.sleep(0.3)
    time.sleep(3)  # what is shipped and put up after the end


def rows(calls: int, seconds: float, turns: int = 2) -> list[Row]:
    """In turns, so that what else the machine does falls upon both."""
    alone, shared = [], []
    for _ in range(turns):
        alone.append(measure(calls, seconds, False))
        shared.append(measure(calls, seconds, True))
    before, after = (min(one.steady_s for one in some) for some in (alone, shared))
    whole_before, whole_after = (min(one.whole_s for one in some) for some in (alone, shared))
    up = min(one.up for one in alone + shared)
    return [
        Row("calls that were not up at once", float(calls - up), 0, "", count=calls),
        Row("CPU per recorded call-minute, a host alone", before, None, "s", count=up),
        Row("the same, one of several", after, None, "s", count=up),
        Row("more by", (after / before - 1) * 100, 10, "%", count=up),
        Row(
            "the same with set-up, end, shipping and upload, more by",
            (whole_after / whole_before - 1) * 100,
            None,
            "%",
        ),
    ]

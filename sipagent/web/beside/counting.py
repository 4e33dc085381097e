"""Counts the figures of a period beside the answers: a million rows take a while, and nobody waits for them.

One period at a time, in the order in which they were asked for. What was counted is given again for a minute.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.rows.store import StoreError
from retention.rules import counts
from retention.rules.statistics import Statistics
from sipagent.config.load import Config
from sipagent.lookup.figures import Row, Tally, count, no_figures, rows_of

FRESH_S = 60.0
MOST = 12  # periods that are remembered, and as many that wait


@dataclass(frozen=True, slots=True)
class Counted:
    """The figures of a period, or the `problem` that kept them from being counted.

    `tally`: of each table, its rows and those that the chain knows of. `parts`: what was drawn of it, by
    language.
    """

    at: datetime
    figures: Statistics
    tally: Tally
    problem: str | None = None
    parts: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far it is: rows that were counted, of how many at most."""

    done: int = 0
    total: int = 0


class Counting:
    """Any thread asks; one of its own counts, while there is something to count."""

    def __init__(self, store: Callable[[], Rows], config: Config, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._counted: OrderedDict[Selection, tuple[float, Counted]] = OrderedDict()
        self._asked: OrderedDict[Selection, Progress] = OrderedDict()
        self._counts = False

    def of(self, period: Selection) -> Counted | Progress:
        """The figures; or how far they are, for who asks again. A period may have to ask twice to wait."""
        with self._lock:
            known = self._counted.get(period)
            if known is not None and time.monotonic() - known[0] < FRESH_S:
                return known[1]
            if period not in self._asked and len(self._asked) < MOST:
                self._asked[period] = Progress()
            if not self._counts:
                self._counts = True
                threading.Thread(target=self._run, name="counting", daemon=True).start()
            return self._asked.get(period) or Progress()

    def wait(self, timeout_s: float) -> bool:
        """Whether all that was asked for is counted, after so long at most."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._counts, timeout_s)

    def _run(self) -> None:
        try:
            while (period := self._next()) is not None:
                self._keep(period, self._figures(period))
        finally:
            with self._changed:
                self._counts = False
                self._changed.notify_all()

    def _next(self) -> Selection | None:
        with self._lock:
            return next(iter(self._asked), None)

    def _figures(self, period: Selection) -> Counted:
        figures = no_figures(self._config)
        try:
            tally = self._count(period, figures, self._asked[period])
        except StoreError as error:
            return Counted(self._clock(), figures, {}, str(error))
        return Counted(self._clock(), figures, tally)

    def _keep(self, period: Selection, counted: Counted) -> None:
        with self._lock:
            self._counted[period] = time.monotonic(), counted
            self._counted.move_to_end(period)
            while len(self._counted) > MOST:
                self._counted.popitem(last=False)
            del self._asked[period]

    def _count(self, period: Selection, figures: Statistics, progress: Progress) -> Tally:
        """Raises StoreError."""
        store = self._store()
        tally = counts.reconcile(store)
        progress.total = rows_of(tally)
        count(store, period, figures, partial(_counted, progress))
        return tally


def _counted(progress: Progress, rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        progress.done += 1
        yield row

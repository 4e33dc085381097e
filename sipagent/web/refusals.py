"""Keeps what the page refuses in the trace, but no more than some rows a minute: a flood is counted."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from retention.recording import Access
from retention.rows.rows import Rows

A_MINUTE = timedelta(minutes=1)
MOST = 30  # rows in it


class Refusals:
    """Any thread. What was only counted is written with the first refusal of a later minute."""

    def __init__(self, store: Rows, clock: Callable[[], datetime], most: int = MOST) -> None:
        self._store = store
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._since = clock()
        self._kept = 0
        self._counted = 0

    def keep(self, refused: Access) -> None:
        """Write it as refused, or count it. Raises StoreError."""
        with self._lock:
            counted = self._turn_of_the_minute()
            writes = self._kept < self._most
            self._kept += writes
            self._counted += not writes
        if counted:
            more = Access(
                at=self._clock(),
                action=refused.action,
                outcome="refused",
                detail=f"{counted} more refused requests, each without a line of its own",
            )
            self._store.add_access(more)
        if writes:
            self._store.add_access(replace(refused, outcome="refused"))

    def _turn_of_the_minute(self) -> int:
        """How many were counted in a minute that is over."""
        if self._clock() - self._since < A_MINUTE:
            return 0
        counted, self._counted = self._counted, 0
        self._since, self._kept = self._clock(), 0
        return counted

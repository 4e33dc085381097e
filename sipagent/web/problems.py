"""Answers that refuse, and their lines in the trace.

The function of an address raises a `Problem`; the guard answers it, to a program as
application/problem+json (RFC 9457). What the page refuses is kept in the trace, but no more than some
rows a minute: of a flood the rest is counted.
"""

import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from retention.records import Access
from retention.rows.rows import Rows

KIND = "application/problem+json"
"""The media type of a problem (RFC 9457)."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A problem (RFC 9457). `detail` is one line; more fields say more."""

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):
    """An answer other than what was asked for; `detail` is one English line, of `retention` or a
    `Reason`; `more` are fields beside it."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def to_json(self, detail: str) -> dict[str, Any]:
        """The JSON of the problem; `detail` is one line, in the reader's language."""
        told = Told(type="about:blank", title=self.status.phrase, status=int(self.status), detail=detail)
        return {**asdict(told), **self.more}


def unforeseen(error: BaseException) -> dict[str, str]:
    """Fields for the log about an unforeseen error: its kind and place, and none of the input."""
    found = traceback.extract_tb(error.__traceback__)
    where = f"{found[-1].filename}:{found[-1].lineno}" if found else ""
    return {"kind": type(error).__name__, "where": where}


A_MINUTE = timedelta(minutes=1)
MOST_REFUSALS = 30  # rows in it


class RefusedRequests:
    """Any thread. What was only counted is written with the first refusal of a later minute."""

    def __init__(self, store: Rows, clock: Callable[[], datetime], most: int = MOST_REFUSALS) -> None:
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

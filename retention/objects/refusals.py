"""Removes from the store what rows and marks of this host say must go, again and again until it has gone.

The mark of a refusal is enough: it is there before any row says so. What must go is `removing` in its rows,
and stays on that list through every restart. What could not be removed is tried again after one second, then
after twice that, and so on, up to a minute.
"""

import time
from dataclasses import dataclass

from retention.object_rows import State
from retention.objects.client import ObjectError
from retention.objects.pieces import Host
from retention.objects.removals import Wrong, remove_hidden, remove_rows, remove_unknown
from retention.rows.store import StoreError

_REFUSED = "refused"
_AGAIN_S = (1.0, 60.0)
_AT_ONCE = 250  # recordings


@dataclass(slots=True)
class _Again:
    due: float = 0.0
    pause_s: float = _AGAIN_S[0]

    def later(self, now: float) -> None:
        self.due, self.pause_s = now + self.pause_s, min(2 * self.pause_s, _AGAIN_S[1])


class Refusals:
    """`turn` removes all that is due; one thread calls it."""

    def __init__(self, host: Host) -> None:
        self.failures = 0
        self._bucket = host.bucket
        self._store = host.store
        self._marks = host.marks
        self._clock = host.clock
        self._again: dict[str, _Again] = {}
        self._marked: set[str] = set()  # of which all was removed since they were marked

    def turn(self) -> Wrong:
        """What could not be removed now, by id. Raises StoreError, OSError."""
        now = time.monotonic()
        marked = [id for id in self._marks.ids() if self._is_refused(id)]
        self._marked &= {*marked}
        fresh = [id for id in marked if id not in self._marked and self._may(id, now)]
        wrong = self._marked_ones(fresh, now)
        listed = [id for id in self._store.objects.removing() if self._may(id, now)]
        for some in (listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE)):
            wrong |= self._listed(some, now)
        self._again = {id: again for id, again in self._again.items() if again.due > now or id in wrong}
        self.failures += len(wrong)
        return wrong

    def _marked_ones(self, ids: list[str], now: float) -> Wrong:
        """Those that must go by their mark alone, whatever the database does."""
        wrong: Wrong = {}
        if not ids:
            return wrong
        try:
            self._store.objects.remove(ids, anyhow=True)
            wrong = self._listed(ids, now)
        except StoreError:
            for id in ids:
                try:
                    remove_unknown(self._bucket, id)
                except ObjectError as fault:
                    wrong[id] = fault
                    self._later(id, now)
        for id in ids:
            if id not in wrong:
                self._without_hidden(id, wrong, now)
        self._marked |= {id for id in ids if id not in wrong}
        return wrong

    def _without_hidden(self, id: str, wrong: Wrong, now: float) -> None:
        try:
            remove_hidden(self._bucket, id)
        except ObjectError as fault:
            wrong[id] = fault
            self._later(id, now)

    def _listed(self, ids: list[str], now: float) -> Wrong:
        rows = [row for row in self._store.objects.of(ids) if row.state is State.REMOVING]
        wrong = remove_rows(self._bucket, self._store.objects, rows, self._clock())
        for id in {row.id for row in self._store.objects.of(ids) if row.state is State.REMOVING}:
            self._later(id, now)
        return wrong

    def _is_refused(self, id: str) -> bool:
        mark = self._marks.read(id)
        return mark is not None and mark.decision == _REFUSED

    def _may(self, id: str, now: float) -> bool:
        again = self._again.get(id)
        return again is None or now >= again.due

    def _later(self, id: str, now: float) -> None:
        self._again.setdefault(id, _Again()).later(now)

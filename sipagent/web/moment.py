"""Calls and operators as they are just now, and who is told when that changes.

It is read from the database, as everything here: from receipts that have not ended, and recordings that are
open. A receipt is written when a call comes, when it is decided whether it may be recorded, and with each
conversation that begins; so nobody sees here whom an operator's phone rings for, who holds, or whether a
recording pauses. Of a caller there is nothing but the call's reference.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import structlog

from retention.records import Event, Json, Receipt, Record, reference_of
from retention.reserve import is_running
from retention.rows.rows import Rows, StoreError
from retention.rows.selection import Selection
from retention.texts import Reason
from sipagent.call.machines import BRIDGED
from sipagent.languages.labels import N_
from sipagent.operations.today import PlannedSpecial, planned
from sipagent.web.problems import unforeseen

log = structlog.get_logger(__name__)

EVERY_S = 1.0  # between two looks, while somebody watches
LOCK_S = 10.0  # between two looks at whether an agent runs

_FAILED = Reason(N_("the calls could not be read; the log of the page says why"))

State = Literal["notice", "waits", "talks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ongoing(Record):
    """A call: `since` when it is in this state; `operator` is the address of who talks, or has talked last.

    `recorded`: whether a recording of it is open; `decision` and `decided_by` say why not.
    """

    id: str
    began_at: datetime
    state: State
    since: datetime
    operator: str | None
    recorded: bool
    decision: str
    decided_by: str | None

    @property
    def reference(self) -> str:
        """The six digits that people know the call by."""
        return reference_of(self.id)

    def to_json(self) -> Json:
        """As an event tells it."""
        return Record.to_json(self) | {"reference": self.reference}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorNow(Record):
    """One of the configuration; free as far as is known where there is no `call` (an id)."""

    operator: str
    call: str | None = None
    since: datetime | None = None

    def to_json(self) -> Json:
        """As an event tells it."""
        return Record.to_json(self) | {"reference": self.call and reference_of(self.call)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Record):
    """Calls and operators at a time, and what is different then, or will be. Two moments are equal if nothing
    has changed between them.

    `unreadable`: rows of calls that cannot be read; `running`: whether an agent is at work, else the calls
    are what one has left; `fault`: why nothing could be read, what is told is of before then.
    """

    at: datetime = field(compare=False)
    calls: tuple[Ongoing, ...] = ()
    operators: tuple[OperatorNow, ...] = ()
    today: tuple[PlannedSpecial, ...] = ()
    unreadable: int = 0
    running: bool = True
    fault: str | None = None


class Looking:
    """Reads the moment, for any thread. `operators`: the addresses that are configured, when asked for."""

    def __init__(
        self, store: Rows, operators: Callable[[], Sequence[str]], clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._operators = operators
        self._clock = clock
        self._lock = threading.Lock()  # two at once would each take the other for an agent
        self._runs: tuple[float, bool] | None = None  # when that was looked at (s since the epoch)

    def __call__(self) -> Moment:
        """Read the present moment. Raises StoreError."""
        at = self._clock()
        damaged: list[str] = []
        receipts = self._store.open_receipts(lambda id, _: damaged.append(id))
        recorded = self._store.open_recordings()
        calls = tuple(ongoing(receipt, recorded=receipt.id in recorded) for receipt in receipts)
        talking = {call.operator: call for call in calls if call.state == "talks"}
        return Moment(
            at=at,
            calls=calls,
            operators=tuple(_operator(uri, talking.get(uri)) for uri in self._operators()),
            today=tuple(planned(self._store, at)),
            unreadable=len(damaged),
            running=self._running(at.timestamp()),
        )

    def _running(self, now: float) -> bool:
        with self._lock:
            if self._runs is None or abs(now - self._runs[0]) >= LOCK_S:
                places = self._store.places
                self._runs = now, places is not None and is_running(places)
            return self._runs[1]


def ongoing(receipt: Receipt, *, recorded: bool) -> Ongoing:
    """A call in progress, from its receipt."""
    state: State
    if receipt.connected_at is not None:
        joined = [event.at for event in receipt.events if event.what.startswith(BRIDGED)]
        state, since = "talks", max(joined, default=receipt.connected_at)
    elif receipt.decision == "undecided":
        state, since = "notice", receipt.started_at
    else:
        state, since = "waits", receipt.decided_at or receipt.started_at
    return Ongoing(
        id=receipt.id,
        began_at=receipt.started_at,
        state=state,
        since=since,
        operator=receipt.operator,
        recorded=recorded,
        decision=receipt.decision,
        decided_by=receipt.decided_by,
    )


def _operator(uri: str, call: Ongoing | None) -> OperatorNow:
    return (
        OperatorNow(operator=uri)
        if call is None
        else OperatorNow(operator=uri, call=call.id, since=call.since)
    )


AWAY_FOR = timedelta(minutes=30)
_RECENT = 100  # receipts
_THERE = ("busy", "hung up", "given up for another caller")  # what says that somebody is at a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall(Record):
    """What a screen on the wall shows: counts alone, which lead to nobody.

    `first_since`: when the first of those who wait began to. `busy`: in a call, or resting after one. `away`:
    where it rang last, within AWAY_FOR, nobody was. `closed_until`: where the service is closed today.
    """

    at: datetime
    calls: int
    waiting: int
    first_since: datetime | None
    free: int
    busy: int
    away: int
    running: bool
    closed_until: datetime | None


def wall_of(moment: Moment, recent: Sequence[Receipt], wrap_up_s: float) -> Wall:
    """`recent`: the receipts of AWAY_FOR."""
    waits = [call.since for call in moment.calls if call.state == "waits"]
    rests = {
        one.operator
        for one in recent
        if one.connected_at and one.ended_at and (moment.at - one.ended_at).total_seconds() < wrap_up_s
    }
    busy = [one.operator for one in moment.operators if one.call or one.operator in rests]
    others = [one.operator for one in moment.operators if one.operator not in busy]
    events = [event for one in recent for event in one.events]
    away = sum(_is_away(uri, events) for uri in others)
    return Wall(
        at=moment.at,
        calls=len(moment.calls),
        waiting=len(waits),
        first_since=min(waits, default=None),
        free=len(others) - away,
        busy=len(busy),
        away=away,
        running=moment.running,
        closed_until=next((one.until_at for one in moment.today if one.in_force and one.closed), None),
    )


def _is_away(uri: str, events: Iterable[Event]) -> bool:
    """Whether the last that is told of this phone is that nobody was there."""
    told = [one for one in events if one.what == f"{BRIDGED}{uri}" or one.what.startswith(f"{uri}: ")]
    last = max(told, key=lambda one: one.at, default=None)
    return last is not None and not last.what.startswith(BRIDGED) and not last.what.endswith(_THERE)


def look_for_wall(look: Looking, store: Rows, wrap_up_s: float) -> Wall:
    """Raises StoreError."""
    moment = look()
    recent = store.receipts(Selection(since=moment.at - AWAY_FOR, limit=_RECENT))
    return wall_of(moment, recent, wrap_up_s)


class Watcher:
    """One who watches, in a task of an event loop."""

    def __init__(self, seen: Moment | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._moment = seen
        self._is_new = asyncio.Event()
        if seen is not None:
            self._is_new.set()

    async def next(self, patience_s: float) -> Moment | None:
        """The moment, once it is another than the one before; None where it stays for that long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_new.wait(), patience_s)
        if not self._is_new.is_set():
            return None
        self._is_new.clear()
        return self._moment

    def tell(self, moment: Moment) -> None:
        """Of any thread. What was not yet seen of before is left out."""
        with suppress(RuntimeError):  # its loop is over
            self._loop.call_soon_threadsafe(self._take, moment)

    def _take(self, moment: Moment) -> None:
        self._moment = moment
        self._is_new.set()


class Watching:
    """All who watch: one thread looks for them, once a second, and only while there is somebody."""

    def __init__(self, look: Callable[[], Moment], every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._changed = threading.Condition()  # guards all that follows
        self._watchers: set[Watcher] = set()
        self._thread: threading.Thread | None = None
        self._last: Moment | None = None
        self._logged: dict[str, str] = {}  # the error that nobody foresaw

    @property
    def count(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @contextmanager
    def watcher(self) -> Iterator[Watcher]:
        """One more who watches, in the task that asks; the first moment comes at once, or soon."""
        with self._changed:
            one = Watcher(self._last)
            self._watchers.add(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_on, name="watching", daemon=True)
                self._thread.start()
        try:
            yield one
        finally:
            with self._changed:
                self._watchers.discard(one)
                self._changed.notify_all()

    def _look_on(self) -> None:
        while True:
            moment = self._seen()
            with self._changed:
                if moment is not None and moment != self._last:
                    self._last = moment
                    for one in self._watchers:
                        one.tell(moment)
                self._changed.wait_for(lambda: not self._watchers, self._every_s)
                if not self._watchers:
                    self._thread = self._last = None
                    return

    def _seen(self) -> Moment | None:
        try:
            return self._look()
        except (StoreError, OSError) as fault:
            return self._unread(str(fault))
        except Exception as wrong:  # noqa: BLE001 - a thread that died would freeze what people watch
            if (known := unforeseen(wrong)) != self._logged:
                self._logged = known
                log.error("answer_failed", **known)
            return self._unread(_FAILED)

    def _unread(self, why: str) -> Moment | None:
        """The last moment that could be read, with the fault that hides the present one."""
        return None if self._last is None else replace(self._last, fault=why)

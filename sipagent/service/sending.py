"""Tells another program what happened: posts the events of the outbox until each is taken, or three days are
over.

An event is signed as Standard Webhooks has it (github.com/standard-webhooks, spec/standard-webhooks.md): the
HMAC-SHA256 of `id.timestamp.body` under each secret, so that one can be changed while both count. An answer
of 2xx is enough. It is noted after it came: who is killed between the two sends the event once more, with
the same id, by which the receiver knows it.

**Whose turn.** One host at a time: `Rows.alone`. Its death frees the turn.

**When.** The thread sleeps until an attempt is due, or somebody has written: of a database on this host the
exported head of the chain says so; hosts that share one look every few seconds.

**What fails** is tried again later and later, and so is the receiver as a whole: a moment after each failure
nothing is sent, longer each time, so that one that is away is not asked for each event that waits.
"""

import hmac
import json
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog

from retention import outbox
from retention.outbox import OutboxEvent
from retention.post import WHOLE_S, Exchange, Fence, NoAnswer
from retention.rows.chain import ChainHeadError, read_head
from retention.rows.rows import DamagedRow, Rows, StoreError
from sipagent import logs
from sipagent.agent.stored import is_here, store_of
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables import EventsTable
from sipagent.service.control import Alarms, attempt

SENDING = "events"  # one host at a time does this
TRIED_FOR = timedelta(days=3)
FIRST_S, LONGEST_S = 5.0, 1800.0  # between two attempts of one event
LONGEST_REST_S = 60.0  # of the receiver
LONGEST_ASKED_S = 3600.0  # that a receiver may ask for
HEAD_S = 1.0  # between two looks at the exported head
SHARED_S = 5.0  # between two looks at a database that hosts share
EVERY_S = 60.0  # in any case
LATE_S = 300.0  # after which a receiver that takes nothing is told of
END_S = 5.0  # that a database which stands still is waited for
AT_ONCE = 100  # events in one read
ALERTS = 1000  # that wait for the database; what is beyond stands in the log
FAULTS = (OSError, StoreError, ConfigError)

log = structlog.get_logger(__name__)


def signed(secrets: Sequence[bytes], id: str, at: int, content: bytes) -> dict[str, str]:
    """The headers of an event that is sent `at`, in seconds since the epoch."""
    told = f"{id}.{at}.".encode() + content
    by_each = (b64encode(hmac.digest(secret, told, "sha256")).decode() for secret in secrets)
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{one}" for one in by_each),
    }


def later_s(failures: int, longest_s: float) -> float:
    """How long to wait after so many failures, one at least."""
    return min(FIRST_S * 2.0 ** min(failures - 1, 20), longest_s)


def asked_s(none: NoAnswer, now: datetime) -> float:
    """How long a receiver that is too busy asks to be left alone (RFC 9110 section 10.2.3), an hour at most;
    0 where it does not ask."""
    if none.status not in (429, 503) or none.retry_after is None:
        return 0.0
    asked = none.retry_after.strip()
    try:
        seconds = float(asked) if asked.isdecimal() else (parsedate_to_datetime(asked) - now).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a time zone
        return 0.0
    return max(0.0, min(seconds, LONGEST_ASKED_S))


@dataclass(frozen=True, slots=True)
class EventFigures:
    """Of this host, but for what waits and what was given up, which is of all."""

    events_delivered: int = 0
    event_failures: int = 0
    events_waiting: int = 0
    events_behind_seconds: float = 0.0
    events_given_up: int = 0


class Sending:
    """The thread `events`, with its own connection to the store. `alert` is called on it."""

    def __init__(
        self,
        config: Config,
        alert: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._place = config  # of the database, which stays the same until the service restarts
        self._alarms = Alarms(alert)
        self._clock = clock
        self._delivered = self._failures = 0
        self._seen = outbox.Waiting(0, None, 0)
        self._in_a_row = 0  # attempts that failed since the receiver took one
        self._taken_at = 0.0  # when it did, or the first of these was made; monotonic, as all below
        self._rests_until = 0.0
        self._alerts: deque[tuple[str, str | None, datetime]] = deque(maxlen=ALERTS)
        self._exchange: Exchange | None = None
        self._over = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    @property
    def figures(self) -> EventFigures:
        """The latest state. Any thread."""
        seen = self._seen
        behind = 0.0 if seen.since is None else max(0.0, (self._clock() - seen.since).total_seconds())
        return EventFigures(self._delivered, self._failures, seen.waiting, behind, seen.failed)

    @property
    def is_on(self) -> bool:
        """Whether anybody is told."""
        return self._config.events is not None

    def start(self) -> None:
        self._thread.start()

    def reload(self, config: Config) -> None:
        """Tell another receiver, or none, from now on."""
        self._config = config
        self._rests_until = 0.0
        self._due.set()

    def alerted(self, reason: str, call: str | None) -> None:
        """Have it told what somebody has to see to. Any thread; it waits for nothing."""
        if self._config.events is not None:
            self._alerts.append((reason, call, self._clock()))
            self._due.set()

    def stop(self) -> None:
        """Cut what is being sent: the next start sends it again."""
        self._over.set()
        self._due.set()
        if self._exchange is not None:
            self._exchange.cut()
        self._thread.join(END_S)

    # --- the thread ---

    def _run(self) -> None:
        while not self._over.is_set():
            if self._config.events is None or not attempt(self._serve, FAULTS, self._fails):
                self._due.wait(None if self._config.events is None else SHARED_S)
                self._due.clear()

    def _fails(self, fault: str) -> None:
        self._alarms.tell(f"events wait: {fault}", name="fails")

    def _serve(self) -> None:
        """Over one connection, as long as it works and there is somebody to tell."""
        with store_of(self._place) as store:
            while not self._over.is_set() and (told := self._config.events) is not None:
                head = self._head()
                wait_s = self._turn(store, told)
                self._alarms.end("fails")
                self._wait(wait_s, head)

    def _wait(self, wait_s: float, head: int | None) -> None:
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not self._due.wait(min(left_s, HEAD_S)):
            if self._head() != head:
                break
        self._due.clear()  # before `_over` is looked at: `stop` sets it first

    def _head(self) -> int | None:
        """The last entry of the chain on this host, as its file says; None if it says nothing, or the chain
        is not here."""
        if not is_here(self._place):
            return None
        try:
            head = read_head(self._place.places.head)
        except (OSError, ChainHeadError):  # of which `verify` tells
            return None
        return None if head is None else head.seq

    def _turn(self, store: Rows, told: EventsTable) -> float:
        """Send what is due; how long to wait then."""
        now = self._clock()
        while self._alerts:
            outbox.tell_alert(store, *self._alerts[0], now)
            self._alerts.popleft()
        rests = False
        with store.alone(SENDING) as alone:
            if alone:
                outbox.tell_overdue(store, now.astimezone(self._place.service.timezone).date(), now)
                rests = not self._send_all(store, told)
        self._seen = outbox.waiting(store)
        waits_s = [EVERY_S if alone and is_here(self._place) else SHARED_S]
        if (at := outbox.next_at(store, now)) is not None:  # also what became due since it was asked for
            waits_s.append((at - self._clock()).total_seconds())
        if rests:
            return max(0.0, self._rests_until - time.monotonic())
        return max(HEAD_S, min(waits_s))

    def _send_all(self, store: Rows, told: EventsTable) -> bool:
        """Whether all that is due was tried. What arrives of one read, each of another call, is noted at
        once."""
        while events := outbox.due(store, self._clock(), AT_ONCE):
            secrets = self._config.event_secrets()
            arrived: list[str] = []
            try:
                for event in events:
                    rests = time.monotonic() < self._rests_until
                    if rests or self._over.is_set() or told != self._config.events:
                        return False
                    if self._is_taken(store, event, told, secrets):
                        arrived.append(event.id)
            finally:
                self._note(store, arrived)
        return True

    def _note(self, store: Rows, arrived: Sequence[str]) -> None:
        if not arrived:
            return
        with store.write():
            for id in arrived:
                outbox.delivered(store, id, self._clock())
        self._delivered += len(arrived)
        if self._alarms.end("late"):
            log.info("events", detail="the receiver takes what had waited")

    def _is_taken(self, store: Rows, event: OutboxEvent, told: EventsTable, secrets: Sequence[bytes]) -> bool:
        try:
            content = json.dumps(outbox.body(store, event, told.personal)).encode()
        except DamagedRow as damaged:  # of one call, which holds up no other
            self._note_failure(store, event, str(damaged), 0.0)
            return False
        headers = signed(secrets, event.id, int(self._clock().timestamp()), content)
        self._exchange = Exchange(told.webhook, 0, headers, content, Fence(told.allow_private))
        try:
            if self._over.is_set():  # `stop` may not have seen the exchange
                return False
            self._exchange.answer(WHOLE_S)
        except NoAnswer as none:
            if not self._over.is_set():
                self._note_failure(store, event, none.problem, asked_s(none, self._clock()))
            return False
        finally:
            self._exchange = None
        self._in_a_row = 0
        return True

    def _note_failure(self, store: Rows, event: OutboxEvent, problem: str, asks_s: float) -> None:
        now, at = self._clock(), time.monotonic()
        self._failures += 1
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._taken_at = at
        self._rests_until = at + max(asks_s, later_s(self._in_a_row, LONGEST_REST_S))
        again_s = max(asks_s, later_s(event.attempts + 1, LONGEST_S))
        ends = event.since + TRIED_FOR
        again = min(now + timedelta(seconds=again_s), max(ends, now + timedelta(seconds=FIRST_S)))
        given_up = now >= ends and event.attempts > 0
        outbox.failed(store, event.id, now, problem, None if given_up else again)
        if given_up:
            self._alarms.tell(
                f"event {event.id} is given up: {problem}; see `sipagent events`", name="given up"
            )
        elif at - self._taken_at >= LATE_S:
            self._alarms.tell(f"events are not taken: {problem}; each is tried for three days", name="late")


@contextmanager
def sending(config: Config, alert: Callable[[str], None]) -> Iterator[Sending]:
    """Have the thread run, and be told of each alert in the log."""
    thread = Sending(config, alert)
    thread.start()
    logs.alerted = thread.alerted
    try:
        yield thread
    finally:
        logs.alerted = None
        thread.stop()

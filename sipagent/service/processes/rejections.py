"""Calls that the edge has rejected before any worker saw them: no room, or too many at once.

They come in bursts, and are written in batches, one transaction for each, with a pause in between, so that
workers can write about calls in progress. The first of each hour have receipts, the others are counted
together (`retention.rows.rejected`). What a full disk or a busy database refuses is tried again with the next
batch.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from retention.archive.reserve import Reserve, ReserveError, ReserveFull, read_reserve, take_in
from retention.recording import Ids, Receipt, Sum
from retention.rows.rejected import PendingRejections
from retention.rows.rows import Rows
from retention.rows.store import StoreError
from sipagent.agent.admission import Admission
from sipagent.agent.figures import Ending, Figures
from sipagent.agent.turned_away import rejected
from sipagent.config.identity import call_id, called_number, caller_number
from sipagent.edge.rejected import RejectedCall as Told

PAUSE_S = 0.5  # between two batches
ENDING: Ending = ("rejected", "undecided", "sip")

log = structlog.get_logger(__name__)


class Rejections:
    """The thread `rejections`. `alert` is called on it; `opened` gives it its own store."""

    def __init__(
        self,
        opened: Callable[[], Rows],
        rules: Admission,
        alert: Callable[[str], None],
        reserve: Reserve | None = None,
    ) -> None:
        """`reserve` is for counts that the database does not take, also those of the last run."""
        self._opened = opened
        self._reserve = reserve
        self._rules = rules
        self._alert = alert
        self._ids = Ids(host=rules.host)
        self._come: queue.SimpleQueue[Told] = queue.SimpleQueue()  # those that get receipts
        self._kept = PendingRejections()
        self._count = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rejections")
        self._failed = False
        self._secured: list[Sum] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what has come so far, if it can be written, then end."""
        self._over.set()
        self._thread.join()

    def add(self, call: Told) -> None:
        """Add a call that the edge has rejected; from one thread, which never waits here."""
        self._count += 1
        if self._kept.takes(call.at):
            self._come.put(call)
        else:
            self._kept.count(call.at, call.status, _by(call))

    def reload(self, rules: Admission) -> None:
        """Keep later receipts by these rules."""
        self._rules = rules

    def figures(self) -> Figures:
        """What has been counted; any thread."""
        return Figures(ended={ENDING: self._count} if self._count else {})

    # --- on the thread ---

    def _run(self) -> None:
        store = self._taken_in()
        over = False
        while not over:
            over = self._over.is_set()
            self._take()
            while self._kept.due(datetime.now(UTC), over=over):
                store = store or self._store()
                if store is None or not self._write(store, over) or not over:
                    break
            self._secure()
            if not over:
                self._over.wait(PAUSE_S)
        if store:
            store.close()
        if self._reserve:
            self._reserve.close()

    def _taken_in(self) -> Rows | None:
        """Write what the last run left in the reserve, if anything; then the reserve is ours."""
        if self._reserve is None:
            return None
        store = None
        try:
            if read_reserve(self._reserve.path):
                store = self._store()
                if store is None:
                    self._reserve = None  # it stays as it is, for the next start
                    return None
                take_in(store, self._reserve.path)
            self._reserve.allocate()
        except (OSError, ReserveError, StoreError) as fault:
            self._alert(f"the reserve of rejected calls: {fault}")
            self._reserve = None
        return store

    def _secure(self) -> None:
        """Put their counts into the reserve for the next start: while they can't be written, and at the
        end."""
        over, waits = self._over.is_set(), self._kept.all()
        lost = f"{sum(one.count for one in waits)} rejected calls could not be written down"
        if self._reserve is None:
            if over and waits:
                self._alert(lost)
            return
        try:
            if not waits or not (self._failed or over):
                self._reserve.empty()
            elif waits != self._secured:
                self._reserve.write(waits)
                self._secured = waits
        except (OSError, ReserveFull) as fault:
            self._alert(f"the reserve of rejected calls: {fault}; {lost}")

    def _store(self) -> Rows | None:
        try:
            return self._opened()
        except StoreError as fault:
            self._tell(fault)
            return None

    def _write(self, store: Rows, over: bool) -> bool:
        """Write a batch, if any."""
        began = time.monotonic()
        try:
            written = self._kept.write(store, datetime.now(UTC), over=over)
        except StoreError as fault:
            self._tell(fault)
            return False
        self._failed = False
        took_ms = round((time.monotonic() - began) * 1000)
        if written:
            log.info("rejected_by_the_edge", calls=written, took_ms=took_ms)
        return True

    def _tell(self, fault: StoreError) -> None:
        """Report a problem once, until writing works again."""
        if not self._failed:
            self._failed = True
            self._alert(f"receipts of rejected calls: {fault}; they are tried again")

    def _take(self) -> None:
        """Make receipts of new ones."""
        with suppress(queue.Empty):
            while True:
                self._kept.add(receipt_of(self._come.get_nowait(), self._ids, self._rules))


def receipt_of(call: Told, ids: Ids, rules: Admission) -> Receipt:
    """What is kept of a call that the edge has rejected."""
    message = _message(call)
    return rejected(
        ids.new(call.at),
        call.at,
        call.status,
        rules,
        call_id=call_id(message),
        caller=caller_number(message, rules.country),
        called=called_number(message, rules.country),
        by=_by(call),
    )


def _by(call: Told) -> str:
    return f"edge: {call.why}"


def _message(call: Told) -> str:
    """The message as the agent would have read it. No field can add a line."""
    headers = (
        ("Call-ID", call.call_id),
        ("From", call.from_),
        ("P-Asserted-Identity", call.asserted),
        ("Privacy", call.privacy),
    )
    lines = (f"{name}: {_line(value)}" for name, value in headers if value)
    return "\r\n".join((f"INVITE {_line(call.called)} SIP/2.0", *lines, "", ""))


def _line(text: str) -> str:
    return " ".join(text.splitlines())

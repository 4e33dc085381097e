"""Receipts of the calls that the edge has rejected, which no worker ever saw: for want of room, or too many.

They come in bursts, and are written in batches: one transaction for many, one batch after the other with a
pause between them, so that workers, who write about calls in progress, have their turn. What a full disk or a
busy database does not take is tried again with the next batch.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from retention.recording import Ids, Receipt
from retention.store import Store, StoreError
from sipagent.admission import Admission
from sipagent.edge_rejected import Rejected
from sipagent.figures import Ending, Figures
from sipagent.identity import call_id, called_number, caller_number
from sipagent.turned_away import rejected

PAUSE_S = 0.5  # between two batches
BATCH = 200  # receipts
WAITING = 20_000  # receipts in memory: what comes beyond them is counted alone
ENDING: Ending = ("rejected", "undecided", "sip")

log = structlog.get_logger("sipagent.edge")


class Rejections:
    """The thread `rejections`. `alert` is called on it; `opened` gives it a store of its own."""

    def __init__(self, opened: Callable[[], Store], rules: Admission, alert: Callable[[str], None]) -> None:
        self._opened = opened
        self._rules = rules
        self._alert = alert
        self._ids = Ids()
        self._come: queue.SimpleQueue[Rejected] = queue.SimpleQueue()
        self._count = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rejections")
        self._failed = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what has come so far, if it can be written, then end."""
        self._over.set()
        self._thread.join()

    def add(self, call: Rejected) -> None:
        """The edge has rejected this one; one thread, which never waits here."""
        self._count += 1
        if self._come.qsize() < WAITING:
            self._come.put(call)

    def reload(self, rules: Admission) -> None:
        """Keep the receipts to come as these say."""
        self._rules = rules

    def figures(self) -> Figures:
        """What has been counted; any thread."""
        return Figures(ended={ENDING: self._count} if self._count else {})

    # --- on the thread ---

    def _run(self) -> None:
        waiting: list[Receipt] = []
        store: Store | None = None
        while True:
            over = self._over.is_set()
            waiting += self._receipts(WAITING if over else BATCH - len(waiting))
            if waiting:
                store = store or self._store()
                if store and self._write(store, waiting):
                    waiting = []
            if over:
                break
            self._over.wait(PAUSE_S)
        if store:
            store.close()
        if waiting:
            self._alert(f"{len(waiting)} receipts of rejected calls could not be written")

    def _store(self) -> Store | None:
        try:
            return self._opened()
        except StoreError as fault:
            self._tell(fault)
            return None

    def _write(self, store: Store, receipts: Sequence[Receipt]) -> bool:
        """All of them, or none."""
        began = time.monotonic()
        try:
            with store.write():
                for receipt in receipts:
                    store.add_receipt(receipt)
        except StoreError as fault:
            self._tell(fault)
            return False
        self._failed = False
        took_ms = round((time.monotonic() - began) * 1000)
        log.info("rejected_by_the_edge", calls=len(receipts), took_ms=took_ms)
        return True

    def _tell(self, fault: StoreError) -> None:
        """Once, until it goes well again."""
        if not self._failed:
            self._failed = True
            self._alert(f"receipts of rejected calls: {fault}; they are tried again")

    def _receipts(self, most: int) -> list[Receipt]:
        found: list[Receipt] = []
        while len(found) < most:
            try:
                found.append(receipt_of(self._come.get_nowait(), self._ids, self._rules))
            except queue.Empty:
                break
        return found


def receipt_of(call: Rejected, ids: Ids, rules: Admission) -> Receipt:
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
        by=f"edge: {call.why}",
    )


def _message(call: Rejected) -> str:
    """As the agent would have read it. No field brings in a line of its own."""
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

"""Receipts of calls that are over before their caller has acknowledged an answer, behind an edge.

An edge that hears nothing of a worker gives the call to another one, or refuses it, and says so. That word
may come after the end; then the receipt is not ours to leave.
"""

from retention.recording import Receipt

HOLD_S = 5.0  # longer than an edge waits for a worker


class Unsure:
    """Those that wait. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Receipt]] = []

    @property
    def deadline(self) -> float | None:
        return min((due for due, _ in self._waiting), default=None)

    def add(self, receipt: Receipt, now: float) -> None:
        self._waiting.append((now + HOLD_S, receipt))

    def forget(self, call_id: str) -> None:
        """The edge has given up on this Call-ID."""
        self._waiting = [(due, one) for due, one in self._waiting if one.call_id != call_id]

    def sure(self, now: float) -> list[Receipt]:
        """Those that are ours by now, each once."""
        found = [one for due, one in self._waiting if due <= now]
        self._waiting = [(due, one) for due, one in self._waiting if due > now]
        return found

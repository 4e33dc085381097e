"""Whether a call may be recorded: a machine of its own, beside the call's phase.

    UNDECIDED ─▶ ALLOWED ─▶ NOT_ALLOWED ─▶ REFUSED        (each may also skip ahead, none goes back)

REFUSED is absorbing. Silence in objection mode is "not refused", and `by = "silence"` says just that; it
is never called consent (GDPR articles 4(11) and 21).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sipagent.call.events import Method


class Decision(StrEnum):
    UNDECIDED = "undecided"
    ALLOWED = "allowed"
    NOT_ALLOWED = "not_allowed"
    REFUSED = "refused"


MAY_BECOME: dict[Decision, frozenset[Decision]] = {
    Decision.UNDECIDED: frozenset({Decision.ALLOWED, Decision.NOT_ALLOWED, Decision.REFUSED}),
    Decision.ALLOWED: frozenset({Decision.NOT_ALLOWED, Decision.REFUSED}),
    Decision.NOT_ALLOWED: frozenset({Decision.REFUSED}),
    Decision.REFUSED: frozenset(),
}

DecidedBy = Literal[
    "silence",
    "dtmf",
    "voice",
    "unclear",
    "sampling",
    "notice_failed",
    "operator",
    "disabled",
    "recorder_fault",
    "sip",
]
DecidedIn = Literal["choice", "notice", "window", "call"]


@dataclass(frozen=True, slots=True)
class Consent:
    """The decision so far, and how it came about: by what, when (monotonic s), in which part of the call."""

    decision: Decision = Decision.UNDECIDED
    by: DecidedBy | None = None
    at: float | None = None
    phase: DecidedIn | None = None
    method: Method | None = None
    keyword: str | None = None
    confidence: float | None = None

    @property
    def allowed(self) -> bool:
        return self.decision is Decision.ALLOWED

    @property
    def refused(self) -> bool:
        return self.decision is Decision.REFUSED

    def becomes(self, later: "Consent") -> bool:
        """Whether the machine may move to `later`."""
        return later.decision in MAY_BECOME[self.decision]

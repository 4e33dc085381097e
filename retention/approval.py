"""What one person asks for and another has to agree to: a hold, its renewal or end, an export for a court."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from retention.recording import Json, Record, RecordError


class Asked(StrEnum):
    """What can be asked for."""

    HOLD = "hold"
    RENEW = "renew"
    RELEASE = "release"
    EXPORT = "export"


class State(StrEnum):
    """The life of what was asked for: pending → approved | refused | withdrawn; an export approved → used."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    USED = "used"


@dataclass(frozen=True, kw_only=True)  # without slots: `super` would not find its class
class Approval(Record):
    """One thing that was asked for, and what came of it.

    `id` is its number, 0 where it is not kept yet. `by` and `decided_by` are accounts; `review` is a day,
    `2027-05-31`. What leads to a person is null once it is forgotten.
    """

    id: int = 0
    at: datetime
    action: str  # of Asked
    recording_id: str
    by: str | None
    ground: str | None = None  # of a hold
    reference: str | None = None
    review: str | None = None  # of a hold
    purpose: str | None = None  # of an export
    channel: str | None = None  # of an export
    reason: str | None = None
    state: str = State.PENDING.value
    decided_at: datetime | None = None
    decided_by: str | None = None
    answer: str | None = None

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises RecordError."""
        number = json.get("id", 0)
        if type(number) is not int:
            raise RecordError(f"approval: id: {number!r} is not a number")
        fields = {name: value for name, value in json.items() if name != "id"}
        return replace(super().from_json(fields), id=number)

    def row(self) -> Json:
        """What is kept of it, without its number."""
        return {name: value for name, value in self.to_json().items() if name != "id"}

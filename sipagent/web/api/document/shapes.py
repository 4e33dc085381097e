"""What answers look like, where it is more than a row of what is kept: for the document alone.

Nothing is made of these types. The tests hold each answer to them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from retention.recording import Access, Note, Pause, Receipt, Recording, Status


@dataclass(frozen=True, kw_only=True)
class Copy:
    """An exported copy: where it went, and whether it is still there."""

    path: str
    at: datetime
    by: str | None
    exists: bool


@dataclass(frozen=True, kw_only=True)
class ShownRecording(Recording):
    """All that is known of a call with a recording."""

    reference: str
    due_at: datetime
    sealed_to: list[str] | None
    receipt: Receipt | None
    notes: list[Note]
    copies: list[Copy]
    accesses: list[Access]


@dataclass(frozen=True, kw_only=True)
class ShownCall:
    """All that is known of a call without a recording."""

    id: str
    status: None
    reference: str
    due_at: None
    sealed_to: None
    receipt: Receipt
    notes: list[Note]
    copies: list[Copy]
    accesses: list[Access]


Shown = ShownRecording | ShownCall


@dataclass(frozen=True, kw_only=True)
class HeldRecording(Recording):
    """A recording on hold."""

    review_overdue: bool


@dataclass(frozen=True, kw_only=True)
class SealedKey:
    """The key of a recording, sealed to the asker's public key: a SealedBox of libsodium, in base64."""

    public: str
    sealed: str


@dataclass(frozen=True, kw_only=True)
class Use:
    """A use that is in the trace, and what it gives."""

    id: int
    recording: str
    action: Literal["play", "export"]
    purpose: str
    sealed: bool
    key: SealedKey | None
    sound: str
    bytes: int | None
    sha256: str | None
    sample_rate: int | None
    channels: int | None
    duration_s: float | None
    pauses: list[Pause]
    incomplete: bool


@dataclass(frozen=True, kw_only=True)
class RemovedRecording:
    """What a recording was, before it was deleted."""

    ended_at: datetime | None
    duration_s: float | None
    status: Status
    bytes: int | None
    sha256: str | None
    purged_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class KnownCopy:
    """An exported copy that still exists."""

    path: str
    at: datetime
    by: str | None


@dataclass(frozen=True, kw_only=True)
class Link:
    """An entry of the chain."""

    seq: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A call that was forgotten before its time, and what proves it."""

    id: str
    deleted_at: datetime
    by: str | None
    reason: str | None
    started_at: datetime
    recording: RemovedRecording | None
    receipt: bool
    notes: int
    copies: list[KnownCopy]
    chain: Link


@dataclass(frozen=True, kw_only=True)
class Stays:
    """A call that could not be forgotten, and why."""

    id: str
    why: str


@dataclass(frozen=True, kw_only=True)
class DeletedOfPerson:
    """What was forgotten of one person, and what stays."""

    deleted: list[Deleted]
    stays: list[Stays]


@dataclass(frozen=True, kw_only=True)
class Filed:
    """An analysis that was filed."""

    note: Note
    erased: bool
    held: str | None
    copies: list[KnownCopy]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended: its exit code and its JSON, or in its place the line of a `problem`."""

    at: datetime
    by: str
    exit: int
    said: Any
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Whether a command runs, and how it ended last, since the page was started."""

    running: bool
    last: Ran | None


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How far the figures are: rows that were counted, of how many at most."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Told:
    """A problem (RFC 9457). `detail` is one line; more fields say more."""

    type: str
    title: str
    status: int
    detail: str

"""What answers look like, where it is more than a row of what is kept: for the document alone.

Nothing is made of these types. The tests hold each answer to them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from retention.records import Access, Note, Pause, Receipt, Recording, Status


@dataclass(frozen=True, kw_only=True)
class ExportedCopy:
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
    copies: list[ExportedCopy]
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
    copies: list[ExportedCopy]
    accesses: list[Access]


Shown = ShownRecording | ShownCall


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
class FiledAnalysis:
    """An analysis that was filed."""

    note: Note
    erased: bool
    held: str | None
    copies: list[KnownCopy]

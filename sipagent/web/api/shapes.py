"""What answers look like, where it is more than a row of what is kept: for the document alone.

Nothing is made of these types. The tests hold each answer to them. `Figures` is the shape of `stats
--json`.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from retention.records import Access, Note, Pause, Receipt, Recording, Status, Sum


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


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of some calls, in s; null without any."""

    count: int
    median_s: float | None
    p90_s: float | None
    longest_s: float | None
    mean_s: float | None
    total_s: float | None


@dataclass(frozen=True, kw_only=True)
class Waits(Lengths):
    """How many lie between two of the edges `up_to_s`, the upper one included; last, those above all."""

    up_to_s: list[int]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class ByWhat:
    """A decision, and by what it was taken."""

    total: int
    by: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Refusals, of those who were asked."""

    total: int
    asked: int
    rate: float | None
    by_channel: dict[str, int]
    by_dtmf_method: dict[str, int]
    by_phase: dict[str, int]
    by_channel_and_phase: dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class OfHour:
    """The calls of an hour of the day, all days together, by their decision."""

    hour: int
    calls: int
    allowed: int
    refused: int
    not_allowed: int
    undecided: int


@dataclass(frozen=True, kw_only=True)
class OfDay:
    """The calls of a day, by their decision."""

    day: date
    calls: int
    allowed: int
    refused: int
    not_allowed: int
    undecided: int


@dataclass(frozen=True, kw_only=True)
class OfNumber:
    """The calls to one of the service's numbers; `other`: to any other."""

    called: str
    language: str | None
    calls: int
    reached: int
    refused: int


@dataclass(frozen=True, kw_only=True)
class OfOperator:
    """The calls of an operator."""

    operator: str
    calls: int
    refused: int
    stops: int


@dataclass(frozen=True, kw_only=True)
class Fates:
    """What has become of recordings; `held` are some of those `kept`."""

    kept: int
    held: int
    purged: int
    erased: int
    failed: int
    open: int


@dataclass(frozen=True, kw_only=True)
class OfMonth(Fates):
    """Those of a month, `2026-11`."""

    month: str


@dataclass(frozen=True, kw_only=True)
class OfRecordings(Fates):
    """All recordings."""

    total: int
    flagged: int
    incomplete: int
    bytes_kept: int
    seconds_kept: float | None
    by_month: list[OfMonth]


@dataclass(frozen=True, kw_only=True)
class Both:
    """How many rows there are, and how many the chain knows of."""

    rows: int
    chain: int


@dataclass(frozen=True, kw_only=True)
class FiguresOfAll:
    """The figures of a period."""

    since: datetime | None
    until: datetime | None
    timezone: str
    calls: int
    in_sums: int
    lost: list[Sum]
    outcomes: dict[str, int]
    answer_rate: float | None
    decisions: dict[str, ByWhat]
    refusals: Refused
    waits: Waits
    given_up_after: Lengths
    durations: Lengths
    per_day: list[OfDay]
    per_hour: list[OfHour]
    numbers: list[OfNumber]
    operator_stops: int
    unheard: int
    recordings: OfRecordings
    reconciled: dict[str, bool | Both]  # `agrees`, and each table


@dataclass(frozen=True, kw_only=True)
class FiguresByOperator(FiguresOfAll):
    """With those of each operator."""

    operators: list[OfOperator]


Figures = FiguresOfAll | FiguresByOperator

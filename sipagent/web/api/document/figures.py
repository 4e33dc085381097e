"""The shape of `stats --json`, for the document alone: see `shapes`."""

from dataclasses import dataclass
from datetime import date, datetime

from retention.recording import Sum


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

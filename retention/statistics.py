"""Figures from receipts and recordings: how many, how long, how often refused, and where.

Pure: rows come in one at a time, only counts stay. Memory grows with the days that are counted, never with
the calls. Nothing here leads to a caller; operators are named as in the receipts, until these forget them
(`receipts_period`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any

from retention.records import LegQuality, Quality, Receipt, Record, Recording, Status, Sum
from retention.rows.counts import LOST

OUTCOMES = ("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed")
DECISIONS = ("allowed", "refused", "not_allowed", "undecided")
CHANNELS = ("dtmf", "voice", "unclear", "sip")
METHODS = ("rfc4733", "info", "inband")
PHASES = ("choice", "notice", "window", "call")
IN_PROGRESS = "in_progress"
OTHER = "other"  # a number that is not one of the service's: the caller chose it
STOPPED = "stop code"  # the event that an operator's key leaves in a receipt
AWAITED = "the operator may begin the recording"  # the event of one that waits for a key
BEGUN = "record code"  # and of that key
BRIDGED = "bridged with "  # the event that says with whom the caller talks from then on

OPINIONS = (("best", 4.34), ("high", 4.03), ("medium", 3.6), ("low", 3.1), ("poor", 0.0))
"""How users judge a line, and from which MOS on: ITU-T G.109, by G.107's table B.1."""
UNRATED = "unrated"  # of a codec without values
WORST = 5  # hours that are told

_REACHED = ("connected", "transferred")
_MISSED = ("abandoned", "unavailable", "failed")
_UNASKED = ("sampling", "disabled", "notice_failed")  # these callers were not asked, or not to the end
_LONGEST_S = 86_400  # longer ones are counted as this

# Upper edges, in s, of the waits that a plot shows.
WAIT_EDGES = (10, 20, 30, 45, 60, 90, 120, 180, 300)


class Spread:
    """Lengths of time, exact to 0.1 s: one counter for every tenth that occurs, up to a day."""

    def __init__(self) -> None:
        self._tenths: Counter[int] = Counter()
        self.count = 0
        self.longest_s: float | None = None
        self._total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count a length; ignores one that a clock made negative."""
        seconds = max(seconds, 0.0)
        self.count += 1
        self._total_s += seconds
        self.longest_s = max(self.longest_s or 0.0, seconds)
        self._tenths[round(min(seconds, _LONGEST_S) * 10)] += 1

    def quantile(self, share: float) -> float | None:
        """The shortest length that a share `q` of all does not exceed (nearest rank), in s."""
        left = share * self.count
        for tenth in sorted(self._tenths):
            left -= self._tenths[tenth]
            if left <= 0:
                return tenth / 10
        return None

    def up_to(self, edges: Collection[int]) -> list[int]:
        """How many lie between two edges (s), the upper one included; last, those above all edges."""
        counts = [0] * (len(edges) + 1)
        for tenth, count in self._tenths.items():
            counts[sum(tenth > edge * 10 for edge in edges)] += count
        return counts

    def lengths(self) -> "Lengths":
        """All of it."""
        return Lengths(**self._lengths())

    def waits(self) -> "Waits":
        """With how many lie between the edges of a plot."""
        return Waits(**self._lengths(), up_to_s=WAIT_EDGES, counts=tuple(self.up_to(WAIT_EDGES)))

    def _lengths(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "median_s": self.quantile(0.5),
            "p90_s": self.quantile(0.9),
            "longest_s": _tenths(self.longest_s),
            "mean_s": _tenths(self._total_s / self.count if self.count else None),
            "total_s": _tenths(self._total_s),
        }


@dataclass(slots=True)
class Calls:
    """Counts of calls that have something in common: a number, an operator."""

    calls: int = 0
    reached: int = 0
    refused: int = 0
    stops: int = 0


@dataclass(slots=True)
class RecordingFates(Record):
    """What has become of recordings. `held` counts some of those `kept`, which are whole and on disk."""

    kept: int = 0
    held: int = 0
    purged: int = 0
    erased: int = 0
    failed: int = 0
    open: int = 0


_FATES = {
    Status.CLOSED: "kept",
    Status.PURGING: "purged",
    Status.PURGED: "purged",
    Status.ERASED: "erased",
    Status.FAILED: "failed",
    Status.OPEN: "open",
}


@dataclass(slots=True)
class RecordingCounts:
    """Counts of recordings; `months` by the month of the call, `2026-11`."""

    total: int = 0
    fates: RecordingFates = field(default_factory=RecordingFates)
    months: dict[str, RecordingFates] = field(default_factory=lambda: defaultdict(RecordingFates))
    flagged: int = 0
    incomplete: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def add(self, row: Recording, month: str) -> None:
        """Count a recording."""
        self.total += 1
        self.flagged += row.flagged
        self.incomplete += row.incomplete
        for fates in (self.fates, self.months[month]):
            fate = _FATES[row.status]
            setattr(fates, fate, getattr(fates, fate) + 1)
            fates.held += row.status is Status.CLOSED and row.hold is not None
        if row.status is Status.CLOSED:
            self.bytes += row.bytes or 0
            self.seconds += row.duration_s or 0.0

    def result(self) -> "OfRecordings":
        """Oldest month first."""
        return OfRecordings(
            **asdict(self.fates),
            total=self.total,
            flagged=self.flagged,
            incomplete=self.incomplete,
            bytes_kept=self.bytes,
            seconds_kept=_tenths(self.seconds),
            by_month=tuple(OfMonth(month=name, **asdict(one)) for name, one in sorted(self.months.items())),
        )


@dataclass(slots=True)
class Line:
    """What came in on legs of one side, or in one hour."""

    legs: int = 0
    packets: int = 0
    lost: int = 0
    mos: Counter[int] = field(default_factory=Counter)  # in hundredths
    opinions: Counter[str] = field(default_factory=Counter)

    def add(self, leg: LegQuality) -> None:
        """Count a leg on which something came."""
        self.legs += 1
        self.packets += leg.packets
        self.lost += leg.lost
        if leg.mos is not None:
            self.mos[round(leg.mos * 100)] += 1
        self.opinions[opinion(leg.mos)] += 1

    @property
    def lost_share(self) -> float | None:
        """Of the packets that were sent."""
        return _share(self.lost, self.packets + self.lost)

    @property
    def mean_mos(self) -> float | None:
        """None without any."""
        count = self.mos.total()
        return round(sum(mos * n for mos, n in self.mos.items()) / count / 100, 2) if count else None

    def quantile(self, share: float) -> float | None:
        """The lowest MOS that a share of all does not exceed."""
        left = share * self.mos.total()
        for mos in sorted(self.mos):
            left -= self.mos[mos]
            if left <= 0:
                return mos / 100
        return None


def opinion(mos: float | None) -> str:
    """One of OPINIONS, or `unrated`."""
    return UNRATED if mos is None else next(name for name, least in OPINIONS if mos >= least)


# --- what is told: JSON has these fields; lengths in s, null without any ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths(Record):
    """Of some calls, in s; null without any."""

    count: int
    median_s: float | None
    p90_s: float | None
    longest_s: float | None
    mean_s: float | None
    total_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits(Lengths):
    """How many lie between two of the edges `up_to_s`, the upper one included; last, those above all."""

    up_to_s: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByWhat(Record):
    """A decision, and by what it was taken."""

    total: int
    by: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals(Record):
    """Refusals, of those who were asked."""

    total: int
    asked: int
    rate: float | None
    by_channel: dict[str, int]
    by_dtmf_method: dict[str, int]
    by_phase: dict[str, int]
    by_channel_and_phase: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByDecision(Record):
    calls: int
    allowed: int
    refused: int
    not_allowed: int
    undecided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfHour(_ByDecision):
    """The calls of an hour of the day, all days together, by their decision."""

    hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfDay(_ByDecision):
    """The calls of a day, by their decision."""

    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class OfNumber(Record):
    """The calls to one of the service's numbers; `other`: to any other."""

    called: str
    language: str | None
    calls: int
    reached: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfOperator(Record):
    """The calls of an operator."""

    operator: str
    calls: int
    refused: int
    stops: int


@dataclass(slots=True, kw_only=True)
class OfMonth(RecordingFates):
    """Those of a month, `2026-11`."""

    month: str


@dataclass(slots=True, kw_only=True)
class OfRecordings(RecordingFates):
    """All recordings."""

    total: int
    flagged: int
    incomplete: int
    bytes_kept: int
    seconds_kept: float | None
    by_month: tuple[OfMonth, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLine(Record):
    """Of the legs of one side, `caller` or `operator`, on which something came."""

    side: str
    legs: int
    lost_share: float | None
    mean_mos: float | None
    median_mos: float | None
    p10_mos: float | None
    opinions: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLineHour(Record):
    """Of callers' legs whose calls began within an hour from `at` on."""

    at: datetime
    legs: int
    lost_share: float | None
    mean_mos: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLines(Record):
    """How calls sounded; the worst hours of the trunk, by their mean MOS."""

    one_way: int
    sides: tuple[OfLine, ...]
    worst_hours: tuple[OfLineHour, ...]


@dataclass(frozen=True, kw_only=True)
class CallFigures(Record):
    """Figures of calls and recordings; hours, days and months in the service's zone."""

    calls: int
    in_sums: int
    lost: tuple[Sum, ...]
    outcomes: dict[str, int]
    answer_rate: float | None
    decisions: dict[str, ByWhat]
    refusals: Refusals
    waits: Waits
    given_up_after: Lengths
    durations: Lengths
    per_day: tuple[OfDay, ...]
    per_hour: tuple[OfHour, ...]
    numbers: tuple[OfNumber, ...]
    operator_stops: int
    awaited: int
    begun: int
    unheard: int
    not_recorded: dict[str, int]
    line: OfLines
    recordings: OfRecordings


@dataclass(frozen=True, kw_only=True)
class FiguresByOperator(CallFigures):
    """With those of each operator."""

    operators: tuple[OfOperator, ...]


class Statistics:
    """Feed it every row of a period, in any order.

    `zone` is where days and months begin; `numbers` are the service's own (E.164) and the language each is
    answered in, None if the caller chooses. Calls to any other are counted together, under `OTHER`, so that
    random dialling adds no rows.
    """

    def __init__(self, zone: tzinfo, numbers: Mapping[str, str | None] | None = None) -> None:
        self.calls = 0
        self.outcomes: Counter[str] = Counter()
        self.decisions: Counter[tuple[str, str]] = Counter()  # decision, by what
        self.refusals: Counter[tuple[str, str, str]] = Counter()  # channel, DTMF method, phase
        self.waits, self.given_up, self.durations = Spread(), Spread(), Spread()
        self.days: dict[date, Counter[str]] = defaultdict(Counter)  # of decisions
        self.hours: dict[int, Counter[str]] = defaultdict(Counter)  # of decisions, by the hour of the day
        named = dict(numbers or {})
        other = named.pop(OTHER, None)
        self.languages: dict[str, str | None] = {**named, OTHER: other}
        self.numbers = {number: Calls() for number in self.languages}
        self.operators: dict[str, Calls] = defaultdict(Calls)
        self.kept = RecordingCounts()
        self.awaited = 0  # recordings that an operator might begin; as long as receipts have their events
        self.begun = 0  # and those that one has begun
        self.unheard = 0  # not recorded because nobody could judge what was said
        self.not_recorded: Counter[str] = Counter()  # that should have been, wholly; by the reason
        self.one_way = 0
        self.lines = {"caller": Line(), "operator": Line()}
        self.line_hours: dict[datetime, Line] = defaultdict(Line)  # of callers, by when the hour began
        self.in_sums = 0  # calls without a receipt
        self.lost: list[Sum] = []  # calls whose receipts could not be written; not counted elsewhere
        self._zone = zone

    # rows

    def receipt(self, row: Receipt) -> None:
        """Count a call."""
        outcome = IN_PROGRESS if row.ended_at is None else row.outcome or "failed"
        self.calls += 1
        self.outcomes[outcome] += 1
        self.decisions[row.decision, row.decided_by or ""] += 1
        self.unheard += row.unheard
        if row.not_recorded_because:
            self.not_recorded[row.not_recorded_because] += 1
        happened = {event.what for event in row.events}
        self.awaited += AWAITED in happened
        self.begun += {AWAITED, BEGUN} <= happened
        self._at(row.started_at, row.decision, 1)
        if row.decision == "refused":
            self.refusals[row.decided_by or "", row.dtmf_method or "", row.phase or ""] += 1
        self._lengths(row, outcome)
        self._shares(row, outcome)
        if row.quality is not None:
            self._line(row.started_at, row.quality)

    def sum(self, row: Sum) -> None:
        """Add calls that were rejected and counted together, or whose receipts are lost."""
        if row.what == LOST:
            self.lost.append(row)
            return
        self.calls += row.count
        self.in_sums += row.count
        self.outcomes["rejected"] += row.count
        self.decisions["undecided", "sip"] += row.count
        self._at(row.from_at, "undecided", row.count)
        self.numbers[OTHER].calls += row.count

    def recording(self, row: Recording) -> None:
        """Count one recording."""
        self.kept.add(row, f"{self._day(row.started_at):%Y-%m}")

    def _at(self, at: datetime, decision: str, count: int) -> None:
        self.days[self._day(at)][decision] += count
        self.hours[at.astimezone(self._zone).hour][decision] += count

    def _day(self, at: datetime) -> date:
        return at.astimezone(self._zone).date()

    def _line(self, at: datetime, quality: Quality) -> None:
        self.one_way += quality.one_way is not None
        for side, line in self.lines.items():
            leg: LegQuality | None = getattr(quality, side)
            if leg is not None and leg.packets:
                line.add(leg)
                if side == "caller":
                    self.line_hours[at.replace(minute=0, second=0, microsecond=0)].add(leg)

    def _lengths(self, row: Receipt, outcome: str) -> None:
        if row.answered_at is None:
            return
        if row.connected_at is not None:
            self.waits.add((row.connected_at - row.answered_at).total_seconds())
            if row.ended_at is not None:
                self.durations.add((row.ended_at - row.connected_at).total_seconds())
        elif outcome == "abandoned" and row.ended_at is not None:
            self.given_up.add((row.ended_at - row.answered_at).total_seconds())

    def _shares(self, row: Receipt, outcome: str) -> None:
        places = [self.numbers.get(row.called or OTHER, self.numbers[OTHER])]
        if row.operator is not None:
            places.append(self.operators[row.operator])
        for place in places:
            place.calls += 1
            place.reached += outcome in _REACHED
            place.refused += row.decision == "refused"
        stops = _stops(row)
        places[0].stops += stops.total()
        for operator in filter(None, stops):
            self.operators[operator].stops += stops[operator]

    # figures

    @property
    def answer_rate(self) -> float | None:
        """The share of calls that reached an operator, of those that could have; None without any.

        Leaves out calls rejected before the answer, outside opening hours, and still on.
        """
        reached = sum(self.outcomes[outcome] for outcome in _REACHED)
        return _share(reached, reached + sum(self.outcomes[outcome] for outcome in _MISSED))

    @property
    def asked(self) -> int:
        """How many callers heard that they may refuse and had the time to."""
        return sum(
            count
            for (decision, by), count in self.decisions.items()
            if decision != "undecided" and by not in _UNASKED
        )

    @property
    def refused(self) -> int:
        """How many did."""
        return self.refusals.total()

    @property
    def refusal_rate(self) -> float | None:
        """The share of those asked who refused; None without any."""
        return _share(self.refused, self.asked)

    @property
    def stops(self) -> int:
        """How often an operator's key stopped a recording."""
        return sum(one.stops for one in self.numbers.values())

    @property
    def worst_hours(self) -> list[tuple[datetime, Line]]:
        """In which callers sounded worst; none in which all sounded best."""
        rated = ((hour, line) for hour, line in self.line_hours.items() if line.mos)
        worse = [(line.mean_mos or 0.0, hour, line) for hour, line in rated]
        return [
            (hour.astimezone(self._zone), line)
            for mos, hour, line in sorted(worse, key=lambda one: one[:2])
            if mos < OPINIONS[0][1]
        ][:WORST]

    def channels(self) -> dict[str, Counter[str]]:
        """Refusals by channel, and in each by phase; the known ones first."""
        table: dict[str, Counter[str]] = {channel: Counter() for channel in CHANNELS}
        for (channel, _, phase), count in sorted(self.refusals.items()):
            table.setdefault(channel, Counter())[phase] += count
        return table

    def methods(self) -> Counter[str]:
        """Refusals by key, by how the key was received."""
        methods: Counter[str] = Counter()
        for (_, method, _), count in self.refusals.items():
            if method:
                methods[method] += count
        return methods

    def result(self) -> FiguresByOperator:
        """All of it."""
        return FiguresByOperator(
            calls=self.calls,
            in_sums=self.in_sums,
            lost=tuple(self.lost),
            outcomes=_known(self.outcomes, (*OUTCOMES, IN_PROGRESS)),
            answer_rate=self.answer_rate,
            decisions=self._by_what(),
            refusals=self._refusals(),
            waits=self.waits.waits(),
            given_up_after=self.given_up.lengths(),
            durations=self.durations.lengths(),
            per_day=tuple(OfDay(day=day, **_by_decision(one)) for day, one in sorted(self.days.items())),
            per_hour=tuple(
                OfHour(hour=hour, **_by_decision(one)) for hour, one in sorted(self.hours.items())
            ),
            numbers=tuple(
                OfNumber(
                    called=number,
                    language=self.languages[number],
                    calls=one.calls,
                    reached=one.reached,
                    refused=one.refused,
                )
                for number, one in self.numbers.items()
            ),
            operators=tuple(
                OfOperator(operator=operator, calls=one.calls, refused=one.refused, stops=one.stops)
                for operator, one in sorted(self.operators.items())
            ),
            operator_stops=self.stops,
            awaited=self.awaited,
            begun=self.begun,
            unheard=self.unheard,
            not_recorded=dict(self.not_recorded),
            line=self._lines(),
            recordings=self.kept.result(),
        )

    def _lines(self) -> OfLines:
        def told(line: Line) -> dict[str, Any]:
            return {name: getattr(line, name) for name in ("legs", "lost_share", "mean_mos")}

        names = (*(name for name, _ in OPINIONS), UNRATED)
        return OfLines(
            one_way=self.one_way,
            sides=tuple(
                OfLine(
                    side=side,
                    median_mos=line.quantile(0.5),
                    p10_mos=line.quantile(0.1),
                    opinions={name: line.opinions[name] for name in names},
                    **told(line),
                )
                for side, line in self.lines.items()
            ),
            worst_hours=tuple(OfLineHour(at=at, **told(line)) for at, line in self.worst_hours),
        )

    def _by_what(self) -> dict[str, ByWhat]:
        by: dict[str, dict[str, int]] = {decision: {} for decision in DECISIONS}
        for (decision, what), count in sorted(self.decisions.items()):
            by.setdefault(decision, {})[what or "nothing"] = count
        return {decision: ByWhat(total=sum(counts.values()), by=counts) for decision, counts in by.items()}

    def _refusals(self) -> Refusals:
        phases: Counter[str] = Counter()
        for (_, _, phase), count in self.refusals.items():
            phases[phase] += count
        channels = self.channels()
        return Refusals(
            total=self.refused,
            asked=self.asked,
            rate=self.refusal_rate,
            by_channel={channel: counts.total() for channel, counts in channels.items()},
            by_dtmf_method=_known(self.methods(), METHODS),
            by_phase=_known(phases, PHASES),
            by_channel_and_phase={channel: _known(counts, PHASES) for channel, counts in channels.items()},
        )


def _by_decision(counts: Counter[str]) -> dict[str, int]:
    return {"calls": counts.total()} | {decision: counts[decision] for decision in DECISIONS}


def _stops(row: Receipt) -> Counter[str]:
    """How often each operator's key stopped it; by the decision, if the receipt has lost its events.

    After a transfer the receipt names the last operator who talked with the caller; the events name all.
    """
    stops: Counter[str] = Counter()
    talks = row.operator or ""
    for event in row.events:
        if event.by == "operator" and event.what.startswith(BRIDGED):
            talks = event.what.removeprefix(BRIDGED)
        elif event.by == "operator" and event.what == STOPPED:
            stops[talks] += 1
    if not stops and row.decided_by == "operator":
        stops[talks] += 1
    return stops


def _known(counts: Counter[str], names: Collection[str]) -> dict[str, int]:
    """The counts of the known, also if zero, then of what else occurs."""
    return {name: counts[name] for name in names} | {
        name or "unknown": count for name, count in sorted(counts.items()) if name not in names
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)

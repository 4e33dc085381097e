"""The counts of an agent, as a value; of several agents, the sum. A worker sends its own over the link.

Nothing in it leads to a person. Counts begin anew with the process that counts; counts that a dead
worker had sent stay in the sum, so that no count of the whole ever goes back.

Operators' phones that were rung in vain are counted for each extension, and logged if out of order. A phone
that is busy, declines or rings without an answer works: it is only counted. One that is off, sends nothing
or refuses for another reason is logged once, and then once in a while until it answers.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import structlog

from retention.records import LegQuality, Quality
from sipagent.call import events as e

AGAIN_S = 600.0  # between two lines about the same phone: each caller who waits rings it again and again
WORKS: frozenset[e.DialProblem] = frozenset({"busy", "declined", "no_answer"})

log = structlog.get_logger(__name__)


class Phones:
    """The SIP thread's; `counts` may be copied on any. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()  # by extension and problem
        self._told: dict[str, float] = {}  # the extensions that we dial, so as many as are configured

    def failed(self, report: e.ReportOperator, extensions: Collection[str], call: str, now: float) -> None:
        """`extensions`: those that are counted, so that figures have no more labels than they."""
        uri, problem = report.uri, report.problem
        if uri in extensions:
            self.counts[uri, problem] += 1
        if problem not in WORKS and now - self._told.get(uri, -AGAIN_S) >= AGAIN_S:
            self._told[uri] = now
            log.warning("operator_failed", call=call, operator=uri, problem=problem, status=report.status)

    def talks(self, uri: str | None) -> None:
        """There is a conversation with this one."""
        if uri is not None and self._told.pop(uri, None) is not None:
            log.info("operator_back", operator=uri)


EVERY_S = 1.0  # how often a worker tells them, where they have changed

LINE_EDGES: dict[str, tuple[float, ...]] = {
    "mos": (2.0, 2.58, 3.1, 3.6, 4.03, 4.34),  # of ITU-T G.109, and G.107 annex B
    "loss_ratio": (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    "jitter_seconds": (0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
}
SIDES = ("caller", "operator")
SUM = "sum"
Ending = tuple[str, str, str]
"""Of a call: its outcome, its decision, and by what (`decided_by`, empty for nothing)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`calls`: those that are up now; `waiting`: receipts that the database does not have yet; `faults`: by
    part; `phones`: operators rung in vain, by extension and problem; `fatal`: the last messages that workers
    were given before they crashed (`crashes`), by kind, media lines and size; `line`: legs by figure, side
    and the first of LINE_EDGES that is not below theirs, or infinity, and the SUM of theirs; all else counts
    what has happened.

    `malformed`, `unsupported`: messages that the edge refused or dropped for what was in them.
    """

    calls: int = 0
    ended: Mapping[Ending, int] = field(default_factory=dict)
    strangers: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    dropped_frames: int = 0
    lost_legs: int = 0
    foreign_packets: int = 0
    malformed: int = 0
    unsupported: int = 0
    waiting: int = 0
    lost: int = 0  # receipts
    crashes: int = 0  # of workers
    phones: Mapping[tuple[str, str], int] = field(default_factory=dict)
    fatal: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    unheard: int = 0  # calls, see Receipt.unheard
    late: int = 0  # processes that were too late with something just now
    refused_late: int = 0  # calls
    one_way: int = 0  # calls, see Quality.one_way
    line: Mapping[tuple[str, str, float | str], float] = field(default_factory=dict)


BY_NAME = ("ended", "faults", "phones", "fatal", "line")
SUMS = [each.name for each in fields(Figures) if each.name not in BY_NAME]


class Tally:
    """The agent's own counts, on its own thread; `figures` may be called on any."""

    def __init__(self) -> None:
        self.ended: Counter[Ending] = Counter()
        self.unheard = 0
        self.refused_late = 0
        self.strangers = self._told_strangers = 0
        self.tap_faults = 0
        self.lost_legs = 0
        self.foreign_packets = 0
        self.phones = Phones()
        self.one_way = 0
        self.line: defaultdict[tuple[str, str, float | str], float] = defaultdict(float)

    def measured(self, quality: Quality) -> None:
        """The quality of a call that is over."""
        self.one_way += quality.one_way is not None
        for side in SIDES:
            leg: LegQuality | None = getattr(quality, side)
            if leg is None or not leg.packets:
                continue
            self._observe("mos", side, leg.mos)
            self._observe("loss_ratio", side, leg.lost / (leg.packets + leg.lost))
            self._observe("jitter_seconds", side, leg.jitter_ms and leg.jitter_ms / 1000)

    def _observe(self, name: str, side: str, value: float | None) -> None:
        if value is not None:
            edge = next((one for one in LINE_EDGES[name] if value <= one), math.inf)
            self.line[name, side, edge] += 1
            self.line[name, side, SUM] += value

    def count_stranger(self) -> None:
        self.strangers += 1
        self.tell_strangers()

    def tell_strangers(self, beside: int = 0) -> None:
        """With those that the engine has kept out; at 1, 2, 4, 8, …: a scan must not fill the log."""
        total = self.strangers + beside
        if total.bit_length() > self._told_strangers.bit_length():
            self._told_strangers = total
            log.warning("strangers", count=total)

    def figures(self, others: Figures) -> Figures:
        """With what others have counted."""
        return total((others, self._own()))

    def _own(self) -> Figures:
        return Figures(
            ended=dict(self.ended.copy()),
            unheard=self.unheard,
            refused_late=self.refused_late,
            strangers=self.strangers,
            faults={"tap": self.tap_faults},
            phones=dict(self.phones.counts.copy()),
            lost_legs=self.lost_legs,
            foreign_packets=self.foreign_packets,
            one_way=self.one_way,
            line=self.line.copy(),
        )


def total(all: Iterable[Figures]) -> Figures:
    """Of several that count side by side."""
    named: dict[str, Counter[Any]] = {name: Counter() for name in BY_NAME}
    sums: Counter[str] = Counter()
    for one in all:
        for name, counts in named.items():
            counts.update(getattr(one, name))
        sums.update({name: getattr(one, name) for name in SUMS})
    found: dict[str, Any] = {name: dict(counts) for name, counts in named.items()}
    return Figures(**(found | sums))


class Telling:
    """A worker's: has `send` tell its figures when they have changed, every second at most."""

    def __init__(self, figures: Callable[[], Figures], send: Callable[[Figures], None]) -> None:
        self._figures = figures
        self._send = send
        self._told = Figures()
        self._due = 0.0

    def look(self, now: float) -> None:
        """To be called in every turn; `now` is monotonic s."""
        if now >= self._due:
            self._due = now + EVERY_S
            self.tell()

    def tell(self) -> None:
        """At the end: what has changed since the last second."""
        figures = self._figures()
        if figures != self._told:
            self._told = figures
            self._send(figures)

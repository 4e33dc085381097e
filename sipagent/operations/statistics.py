"""Count the calls of a period, and look whether the draws in their receipts are those of the seed.

    count_period   the figures, and whether the rows are those that the chain knows of
    figures_of     the same as JSON has it
    audit          every draw again

Nothing is changed. A draw is in a receipt's events, until the personal fields of the receipt are emptied, and
the events, too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from retention.records import Json, Receipt, Record, host_of
from retention.rows import counts
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.statistics import OTHER, CallFigures, FiguresByOperator, Statistics
from retention.texts import Reason
from sipagent.config.sampling import Draw, Seed, draw
from sipagent.text.statistics import Tally

if TYPE_CHECKING:
    from sipagent.config.load import Config


Row = TypeVar("Row")


class Through(Protocol):
    """Gives the rows on, one at a time."""

    def __call__(self, rows: Iterable[Row], /) -> Iterable[Row]: ...


def count_period(
    config: "Config", store: Rows, period: Selection, through: Callable[[int], Through]
) -> tuple[Statistics, Tally]:
    """Count every row of the period, read in pages: no writer waits, and rows do not stay in memory.

    Receipts and recordings come through what `through` gives for the number of all there are, whatever the
    period: it tells how far it is. Raises StoreError.
    """
    tally, figures = counts.reconcile(store), no_figures(config)
    passing = through(sum(tally[name][0] for name in ("receipts", "recordings")))
    for receipt in passing(store.each_receipt(period)):
        figures.receipt(receipt)
    for recording in passing(store.each_recording(period)):
        figures.recording(recording)
    for together in store.each_sum(period.since, period.until):
        figures.sum(together)
    return figures, tally


def no_figures(config: "Config") -> Statistics:
    """Those of a service, before anything is counted."""
    return Statistics(config.service.timezone, _numbers(config))


def _numbers(config: "Config") -> dict[str, str | None]:
    """The service's numbers, each with the language that it is answered in; None if a key decides."""
    language = None if config.prompts.choices else config.service.language
    return {**dict.fromkeys((*config.trunk.numbers, OTHER), language), **config.prompts.languages}


@dataclass(slots=True)
class Audit:
    """`calls` and `drawn` by share; `wrong`: a receipt's id, and what is wrong with its draw.

    `undrawn` counts receipts of calls for which nothing was drawn (rejected, closed, recording switched off),
    `forgotten` those whose events are gone, `elsewhere` those of calls that another host drew for.
    """

    calls: Counter[float] = field(default_factory=Counter)
    drawn: Counter[float] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    undrawn: int = 0
    forgotten: int = 0
    elsewhere: int = 0

    def to_json(self) -> Json:
        """Shares in falling order; `expected` is the average number of drawn calls."""
        return {
            "calls": self.calls.total(),
            "drawn": self.drawn.total(),
            "shares": [
                {
                    "share": share,
                    "calls": count,
                    "drawn": self.drawn[share],
                    "expected": round(share * count, 1),
                }
                for share, count in sorted(self.calls.items(), reverse=True)
            ],
            "undrawn": self.undrawn,
            "forgotten": self.forgotten,
            "elsewhere": self.elsewhere,
            "wrong": [{"id": id, "problem": problem} for id, problem in self.wrong],
        }


def audit(receipts: Iterable[Receipt], seed: Seed | None, host: str | None = None) -> Audit:
    """Repeat every draw. Without a seed no draw can be repeated, so each is wrong.

    `host`: which of several this is; each has a seed of its own, and draws of others are only counted.
    """
    found = Audit()
    for receipt in receipts:
        draws = [one for event in receipt.events if (one := Draw.read(event.what))]
        if host is not None and _is_of_another(receipt.id, draws, seed, host):
            found.elsewhere += 1
            continue
        if len(draws) == 1:
            found.calls[draws[0].share] += 1
            found.drawn[draws[0].share] += draws[0].drawn
        elif receipt.is_forgotten:
            found.forgotten += 1
        elif not draws:
            found.undrawn += 1
        found.wrong += ((receipt.id, problem) for problem in _problems(receipt, draws, seed))
    return found


def _is_of_another(id: str, draws: list[Draw], seed: Seed | None, host: str) -> bool:
    """Whether another host drew; before there were several, ids named none: then the seed tells."""
    if (of := host_of(id)) is not None:
        return of != host
    return bool(draws) and (seed is None or draws[0].seed != seed.name)


def _problems(receipt: Receipt, draws: list[Draw], seed: Seed | None) -> Iterator[str]:
    recorded = receipt.recording_id is not None or receipt.decision == "allowed"
    if len(draws) > 1:
        yield Reason("tells of {0} draws", len(draws))
    elif draws:
        yield from _unlike(receipt.id, draws[0], seed)
        if recorded and not draws[0].drawn:
            yield Reason("not drawn, and could be recorded all the same")
        if draws[0].drawn and receipt.decided_by == "sampling":
            yield Reason("drawn, and treated as if it was not")
    elif not receipt.is_forgotten and (recorded or receipt.decided_by == "sampling"):
        yield (
            Reason("tells of no draw, and could be recorded")
            if recorded
            else Reason("not drawn, and tells of no draw")
        )


def _unlike(id: str, told: Draw, seed: Seed | None) -> Iterator[str]:
    """The differences between a draw and the seed. A draw without a value needs no seed."""
    if told.value is None:
        return
    if seed is None or told.seed != seed.name:
        yield Reason("drawn with the seed {0}, which is not the one at hand", told.seed)
    elif draw(seed, id, told.share) != told:
        yield Reason("tells of {0!r}, and the seed says {1!r}", told.value, seed.value(id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Both(Record):
    """How many rows there are, and how many the chain knows of."""

    rows: int
    chain: int


@dataclass(frozen=True, kw_only=True)
class OfPeriod(Record):
    """The period, and whether its rows are those that the chain knows of: `agrees`, and each table."""

    since: datetime | None
    until: datetime | None
    timezone: str
    reconciled: dict[str, bool | Both]


@dataclass(frozen=True, kw_only=True)
class PeriodFigures(CallFigures, OfPeriod):
    """The figures of a period."""


@dataclass(frozen=True, kw_only=True)
class PeriodFiguresByOperator(FiguresByOperator, OfPeriod):
    """With those of each operator, as `stats --json` prints them."""


def figures_of(
    config: "Config", figures: Statistics, period: Selection, tally: Tally
) -> PeriodFiguresByOperator:
    """The figures of a period, once they are counted."""
    return PeriodFiguresByOperator.of(
        figures.result(),
        since=period.since,
        until=period.until,
        timezone=str(config.service.timezone),
        reconciled={
            "agrees": all(rows == chain for rows, chain in tally.values()),
            **{name: Both(rows=rows, chain=chain) for name, (rows, chain) in tally.items()},
        },
    )

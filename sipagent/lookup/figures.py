"""Counts the figures of a period: for `stats`, and for the page and its interface."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.rules.statistics import OTHER, Statistics

if TYPE_CHECKING:
    from sipagent.config.load import Config

Tally = dict[str, tuple[int, int]]  # of each table: its rows, and those that the chain knows of
Row = TypeVar("Row")


class Through(Protocol):
    """Gives the rows on, one at a time."""

    def __call__(self, rows: Iterable[Row], /) -> Iterable[Row]: ...


def no_figures(config: "Config") -> Statistics:
    """Those of a service, before anything is counted."""
    return Statistics(config.service.timezone, _numbers(config))


def count(store: Rows, period: Selection, figures: Statistics, through: Through) -> None:
    """Count every row of the period, read in pages: no writer waits, and rows do not stay in memory.

    Receipts and recordings come `through` what tells how far it is. Raises StoreError.
    """
    for receipt in through(store.each_receipt(period)):
        figures.receipt(receipt)
    for recording in through(store.each_recording(period)):
        figures.recording(recording)
    for together in store.each_sum(period.since, period.until):
        figures.sum(together)


def rows_of(tally: Tally) -> int:
    """How many rows there are to count, whatever the period."""
    return sum(tally[name][0] for name in ("receipts", "recordings"))


def _numbers(config: "Config") -> dict[str, str | None]:
    """The service's numbers, each with the language that it is answered in; None if a key decides."""
    language = None if config.prompts.choices else config.service.language
    return {**dict.fromkeys((*config.trunk.numbers, OTHER), language), **config.prompts.languages}

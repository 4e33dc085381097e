"""Copies the chain and every table from one database into another, and compares them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retention.moving.arriving import Arrivals, Arriving, of_columns
from retention.rows.chain import TABLES, ChainHead
from retention.rows.pages import PAGE, Listing, batches
from retention.rows.rows import Rows
from retention.storage.places import Places

Progress = Callable[[str, int, int], None]  # what, done, total

_AT_ONCE = 500  # rows in one transaction: as many have their keys in one bundle


def copy_rows(source: Rows, target: Arrivals, progress: Progress) -> dict[str, int]:
    """Copy all that is not there yet; how many rows there are of each table. Raises StoreError."""
    counted = {}
    for table, listing, total in _tables(source):
        count = 0
        for rows in batches(source.each(listing), _AT_ONCE):
            target.take(table, rows)
            count += len(rows)
            progress(table, count, total)
        counted[table] = count
    if (row := source.rejected_row()) is not None:
        target.keep_rejected_row(row)
    if (row := source.clock_row()) is not None:
        target.keep_clock_row(row)
    return counted


def other_rows(source: Rows, target: Rows, progress: Progress) -> Iterator[str]:
    """What is not the same in both, by table and name. Raises StoreError."""
    for table, listing, total in _tables(source):
        theirs, nothing = target.each(listing), dict[str, object]()
        for count, mine in enumerate(source.each(listing), 1):
            row = next(theirs, nothing)
            if of_columns(table, row) != of_columns(table, mine):
                yield f"{table} {next(iter(mine.values()))}"
            if count % PAGE == 0:
                progress(f"comparing {table}", count, total)
        for row in theirs:
            yield f"{table} {next(iter(row.values()))}"


@contextmanager
def copied_to(source: Rows, path: Path) -> Iterator[ChainHead]:
    """Copy whichever database into a new file of this machine; its head. Nobody writes a row until the end.

    What led to a person is in clear there, as in any file of ours. Raises StoreError.
    """
    with source.still() as head:
        with Arriving(path) as copy:
            copy_rows(source, copy, lambda what, done, total: None)
        Places(path).turn.unlink(missing_ok=True)
        yield head


def _tables(source: Rows) -> Iterator[tuple[str, Listing, int]]:
    """Each with how to read it in order, and how much of it there is."""
    tally = source.tally()
    yield "chain", Listing(table="chain", order=("seq",)), source.head().seq
    for table in TABLES.values():
        yield table, Listing(table=table, order=("id",)), tally[table]

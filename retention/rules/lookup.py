"""Which call is meant: by its id, the beginning of its id, or the reference that people tell each other."""

import re
from collections.abc import Iterator

from retention.rows.pages import Listing
from retention.rows.rows import Rows

_TABLES = ("recordings", "receipts")
_REFERENCE = re.compile(r"\d{6}", re.ASCII)
_BEHIND = "~"  # sorts after any character of an id


def ids_meant(store: Rows, typed: str, most: int) -> list[str]:
    """The ids that `typed` may stand for, up to `most`: that very id, else all that it may name.

    First those with this reference, newest first; then those that begin with it, in order. Raises StoreError.
    """
    found: dict[str, None] = {}
    for id in _each_meant(store, typed, most):
        found[id] = None
        if id == typed or len(found) == most:
            break
    return [typed] if typed in found else [*found]


def ids_beginning(
    store: Rows, table: str, beginning: str, most: int, *, newest: bool = False
) -> Iterator[str]:
    """The ids of `recordings` or `receipts` with this beginning, up to `most`, in order, or newest first.

    Reads no more rows than these. Raises StoreError.
    """
    rows = Listing(
        table=table,
        order=("id",),
        columns="id",
        start=beginning or None,
        stop=beginning + _BEHIND if beginning else None,
        descending=newest,
        limit=most,
    )
    return (row["id"] for row in store.each(rows))


def _each_meant(store: Rows, typed: str, most: int) -> Iterator[str]:
    for table in _TABLES:
        exact = next(ids_beginning(store, table, typed, 1), None)  # the shortest comes first
        if exact == typed:
            yield exact
    for table in _TABLES if _REFERENCE.fullmatch(typed) else ():
        yield from _of_reference(store, table, typed)
    for table in _TABLES:
        yield from ids_beginning(store, table, typed, most)


def _of_reference(store: Rows, table: str, reference: str) -> Iterator[str]:
    rows = Listing(
        table=table,
        order=("started_at", "id"),
        columns="id",
        indexed=f"{store.dialect.ending('id', 7)} = ?",
        indexed_values=[f"-{reference}"],
        descending=True,
    )
    return (row["id"] for row in store.each(rows))

"""The SQL of PostgreSQL, where it differs."""

import re
from dataclasses import replace
from functools import lru_cache

from retention.rows.dialect import SQLITE, Dialect
from retention.rows.pages import Listing

# conditions that have an index in the order of time or number; this begins with the condition itself
LED = ("purged_at IS NULL", "sealed IS NOT NULL", "ended_at IS NULL", "hold IS NOT NULL", "flagged = 1")
_VALUE = re.compile(r"((?:\w+\.)?(?:status|outcome|decision)) = (?:\?|'(\w+)')")


def led(listing: Listing) -> Listing:
    """Which rows are new and which old, no planner knows: of purged recordings it would go through all others
    first, by time. So the order says what the index begins with, and only that index has it."""
    if listing.found_first or listing.order[0].rpartition(".")[2] not in ("started_at", "id"):
        return listing
    if listing.indexed.rpartition(".")[2] in LED:
        return replace(listing, led_by=f"({listing.indexed})", led_value=True)
    if (match := _VALUE.fullmatch(listing.indexed)) is not None:
        value = match[2] if match[2] is not None else listing.indexed_values[0]
        return replace(listing, led_by=match[1], led_value=value, indexed="", indexed_values=())
    return listing


POSTGRES = Dialect(
    personal="sealed IS NOT NULL",
    ending=lambda column, length: f"right({column}, {length})",
    join="JOIN",
    numbers=SQLITE.numbers,  # receipts and recordings have a column of this name
    decisions=True,
    led=led,
)


@lru_cache(maxsize=1000)
def with_marks(sql: str) -> str:
    """A statement with psycopg's placeholders. No text of ours has a question mark in a literal."""
    return sql.replace("%", "%%").replace("?", "%s")

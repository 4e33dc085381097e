"""What differs between the SQL of two databases. Everything else is written so that both understand it.

Placeholders are `?`; whoever speaks to a database that has others puts them in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from retention.rows.pages import Listing

_NUMBERED = {**dict.fromkeys(("accesses", "notes", "sums", "approvals"), "id"), "chain": "seq"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """`personal`: the condition that a row leads to a person; an index has it. `ending(column, length)`: the
    last characters of a text. `join`: of two tables, the rows of the first found first. `numbers`: of each
    table, the column that grows with each row. `decisions`: recordings have an index of them, too. `led` says
    by what a listing is led, where a planner could take another index than the one that it is for."""

    personal: str
    ending: Callable[[str, int], str]
    join: str
    numbers: Mapping[str, str]
    decisions: bool = False
    led: Callable[[Listing], Listing] = lambda listing: listing


SQLITE = Dialect(
    personal="salt IS NOT NULL",
    ending=lambda column, length: f"substr({column}, -{length})",
    join="CROSS JOIN",
    numbers=_NUMBERED | dict.fromkeys(("receipts", "recordings"), "rowid"),
)

"""Tables for people. Whatever a caller can choose is escaped, and markup is never read from it.

A terminal gets as many columns as it has room for; a pipe gets them all, uncut.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retention.recording import Access, Receipt, Recording
from sipagent.cli_base import Workplace
from sipagent.cli_times import full, length, short, size
from sipagent.identity import printable

Row = TypeVar("Row")

WIDE = 110  # characters, from which everything has room
_PIPE = 400  # nobody reads a pipe by its width
_CELL = 200  # characters of one value

STYLES = {
    "closed": "green",
    "open": "yellow",
    "erased": "dim",
    "purging": "yellow",
    "purged": "dim",
    "failed": "bold red",
    "allowed": "green",
    "refused": "yellow",
    "not_allowed": "yellow",
    "undecided": "dim",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
}


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column: its heading, what it shows of a row, and whether a narrow terminal has it."""

    heading: str
    show: Callable[[Row], str | None]
    wide_only: bool = False
    right: bool = False
    shrinks: bool = False  # may be cut to fit; the others never are


def console(*, stderr: bool = False) -> Console:
    """Where tables go: as wide as the terminal, or endless into a pipe. Honours NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    screen = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not screen.is_terminal and "COLUMNS" not in screen._environ:
        screen.width = _PIPE
    return screen


def cell(value: str | None) -> Text:
    """One value, safe to show, in the colour of what it says."""
    text = printable(value, _CELL) if value else "–"
    return Text(text, style=STYLES.get(text, "dim" if value is None else ""))


def show_table(rows: Iterable[Row], columns: Sequence[Column[Row]], screen: Console) -> None:
    """Print the rows under their headings."""
    wide = screen.width >= WIDE
    shown = [column for column in columns if wide or not column.wide_only]
    table = Table(box=None, padding=(0, 2 if wide else 1, 0, 0), pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=4 if column.shrinks else None,
        )
    for row in rows:
        table.add_row(*(cell(column.show(row)) for column in shown))
    screen.print(table)


def show_fields(fields: Iterable[tuple[str, str | None]], screen: Console, title: str = "") -> None:
    """Print names and values, one a line; a value that is too long for the line goes on below."""
    if title:
        screen.print(Text(f"\n{title}", style="bold"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(f"  {name}" if title else name, cell(value))
    screen.print(table)


def user_part(address: str | None) -> str | None:
    """`201` of `sip:201@pbx.example.net`."""
    return address.partition(":")[2].partition("@")[0] or address if address and ":" in address else address


def marks(row: Recording) -> str:
    """What is special of a recording."""
    words = {"held": row.hold is not None, "flagged": row.flagged, "incomplete": row.incomplete}
    return ", ".join(word for word, true in words.items() if true) or " "


def recording_columns(work: Workplace, rows: Sequence[Recording], screen: Console) -> list[Column[Recording]]:
    """For `list`."""
    when = full if screen.width >= WIDE else short
    columns: list[Column[Recording]] = [
        Column("id", lambda row: row.id),
        Column("began", lambda row: when(work.local(row.started_at))),
        Column("length", lambda row: length(row.duration_s), right=True),
        Column("caller", lambda row: row.caller),
        Column("called", lambda row: row.called, wide_only=True),
        Column("operator", lambda row: user_part(row.operator), shrinks=True),
        Column("status", lambda row: row.status.value),
        Column("size", lambda row: size(row.bytes), wide_only=True, right=True),
        Column("expires", lambda row: f"{work.local(row.expires_at):%Y-%m-%d}", wide_only=True),
    ]
    if any(marks(row).strip() for row in rows):
        columns.append(Column("marks", marks, shrinks=True))
    return columns


def receipt_columns(work: Workplace, screen: Console) -> list[Column[Receipt]]:
    """For `calls`."""
    when = full if screen.width >= WIDE else short
    return [
        Column("id", lambda row: row.id),
        Column("began", lambda row: when(work.local(row.started_at))),
        Column("waited", lambda row: length(_seconds(row, "answered_at", "connected_at")), True, True),
        Column("talked", lambda row: length(_seconds(row, "connected_at", "ended_at")), right=True),
        Column("caller", lambda row: row.caller),
        Column("called", lambda row: row.called, wide_only=True),
        Column("operator", lambda row: user_part(row.operator), wide_only=True, shrinks=True),
        Column("outcome", lambda row: row.outcome or ("in progress" if row.ended_at is None else None)),
        Column("decision", lambda row: row.decision),
        Column("by", lambda row: row.decided_by, shrinks=True),
    ]


def access_columns(work: Workplace) -> list[Column[Access]]:
    """For the trace of uses, in `show`."""
    return [
        Column("at", lambda use: full(work.local(use.at))),
        Column("action", lambda use: use.action),
        Column("purpose", lambda use: use.purpose),
        Column("by", lambda use: f"{use.by or '–'} ({use.system_user or '–'})"),
        Column("outcome", lambda use: use.outcome),
        Column("detail", lambda use: "; ".join(filter(None, (use.reference, use.detail))) or None),
    ]


def _seconds(row: Receipt, first: str, last: str) -> float | None:
    start, end = getattr(row, first), getattr(row, last)
    return (end - start).total_seconds() if start and end else None

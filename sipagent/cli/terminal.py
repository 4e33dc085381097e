"""What people see at a terminal: moments and amounts, tables, a bar for long work, findings of checks.

All text that a caller can choose is escaped, and its markup is never used. A terminal gets as many
columns as fit; a pipe gets them all, uncut. The bar is on stderr, at a terminal only; nothing into a pipe
or a mail of cron. Moments and amounts are pure: the present is an argument.
"""

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from gettext import gettext, ngettext, pgettext
from gettext import gettext as _
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retention.records import Receipt, Record, Recording, has_sound, seconds_between
from sipagent.cli.program import Form, Workplace, print_csv, print_json
from sipagent.config.errors import Finding, is_plain
from sipagent.config.identity import printable
from sipagent.languages.labels import Kind, identity, label, length, marks, operators
from sipagent.languages.spoken import shown
from sipagent.languages.typography import NARROW
from sipagent.languages.typography import WIDE as NO_BREAK

if TYPE_CHECKING:
    from rich.progress import TaskID


def short(local: datetime) -> str:
    """`24 Nov 23:20`, `24 nov. 23:20`."""
    return f"{local:%d} {_months()[local.month - 1]} {local:%H:%M}"


def _months() -> tuple[str, ...]:
    return (
        *(pgettext("month", "Jan"), pgettext("month", "Feb"), pgettext("month", "Mar")),
        *(pgettext("month", "Apr"), pgettext("month", "May"), pgettext("month", "Jun")),
        *(pgettext("month", "Jul"), pgettext("month", "Aug"), pgettext("month", "Sep")),
        *(pgettext("month", "Oct"), pgettext("month", "Nov"), pgettext("month", "Dec")),
    )


def full(local: datetime) -> str:
    """`2026-11-24 23:20:00`, in every language: nobody reads it wrong, it sorts, and `--since` takes it."""
    return f"{local:%Y-%m-%d %H:%M:%S}"


def distance(at: datetime, now: datetime) -> str:
    """`in 181 days`, `3 hours ago`: in whole units, rounded down."""
    seconds = abs((at - now).total_seconds())
    if seconds < 60:
        return _("now")
    if seconds >= 86400:
        count = int(seconds // 86400)
        words = ngettext("{n} day", "{n} days", count)
    elif seconds >= 3600:
        count = int(seconds // 3600)
        words = ngettext("{n} hour", "{n} hours", count)
    else:
        count = int(seconds // 60)
        words = ngettext("{n} minute", "{n} minutes", count)
    ahead, ago = _("in {time}"), _("{time} ago")
    return (ahead if at > now else ago).format(time=words.format(n=count))


def size(count: int | None) -> str:
    """`4.2 MB`; a dash if unknown."""
    if count is None:
        return "–"
    if count < 1000:
        return _("{amount} B").format(amount=count)
    amount = float(count)
    for unit in (_("{amount} kB"), _("{amount} MB"), _("{amount} GB")):
        amount /= 1000
        if amount < 999.95:
            return unit.format(amount=figure(amount, ".1f"))
    return _("{amount} TB").format(amount=figure(amount / 1000, ".1f"))


def figure(value: float, form: str = ",") -> str:
    """`1,234.5` by that form, with the marks of the language."""
    marks = {",": pgettext("thousands", ","), ".": pgettext("decimals", ".")}
    return "".join(marks.get(char, char) for char in format(value, form))


def percent(share: float | None, decimals: int = 1) -> str:
    """`46.5%`; a dash if unknown."""
    return "–" if share is None else _("{amount}%").format(amount=figure(share * 100, f".{decimals}f"))


def in_seconds(seconds: float | None) -> str:
    """`9.5 s`; a dash if unknown."""
    return "–" if seconds is None else _("{amount} s").format(amount=figure(seconds, ".1f"))


Row = TypeVar("Row")

WIDE, WIDER = 110, 150  # from this many characters on, more columns fit
_PIPE = 400  # a pipe has no width
_CELL = 200  # characters of one value
_FIXED = 40  # characters of a column that does not shrink: the name of our files has 34 at most
_SCREENFUL = 100  # rows
_LEAST = 6  # the least characters of a column

STYLES = {  # by the code, whatever it is called
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
    "running": "green",
    "draining": "yellow",
    "stopped": "dim",
    "lost": "bold red",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
    "waiting": "yellow",
    "delivered": "green",
}


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column: its heading, and what it shows of a row."""

    heading: str
    show: Callable[[Row], str | Text | None]  # a Text is as it is, and comes from `coded`
    room: int = 0  # characters that the terminal must have to show this column
    right: bool = False
    shrinks: bool = False  # may be cut to fit; other columns are not
    wraps: bool = False  # continues on the next line instead of being cut: sentences
    goes: int = 0  # left out if the terminal is too narrow for all: 1 first; 0 never


class _Screen(Console):
    """A console that does not end a line at a no-break space, as rich would."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as rich does."""
        super().print(*(_unbroken(one, self.width) for one in objects), **how)


def _unbroken(content: Any, width: int) -> Any:
    """A text with its lines ended where they may end; anything else as it is."""
    plain = content.plain if isinstance(content, Text) else content
    if not isinstance(plain, str) or not {NO_BREAK, NARROW} & set(plain):
        return content
    lines = "\n".join("\n".join(textwrap.wrap(line, width) or [""]) for line in plain.split("\n"))
    return Text(lines, style=content.style) if isinstance(content, Text) else lines


def console(*, stderr: bool = False) -> Console:
    """The output of tables: as wide as the terminal, or unlimited into a pipe. Respects NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    screen = _Screen(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not screen.is_terminal and "COLUMNS" not in screen._environ:
        screen.width = _PIPE
    return screen


def cell(value: str | Text | None) -> Text:
    """One value, safe to show."""
    if isinstance(value, Text):
        return value
    return Text(_safe(value) if value else "–", style="dim" if value is None else "")


def coded(kind: Kind, code: str | None) -> Text | None:
    """The words for a code, in the colour for its meaning."""
    return Text(_safe(label(kind, str(code))), style=STYLES.get(code, "")) if code else None


def _safe(value: str) -> str:
    return printable(value, _CELL, is_plain)


def newest(rows: Sequence[Row], screen: Console, asked: int | None) -> Sequence[Row]:
    """The rows that a screen shows without a limit from the user; says so. A pipe gets all."""
    if asked is not None or not screen.is_terminal or len(rows) <= _SCREENFUL:
        return rows
    said = _("The newest {n} of {all}; --limit {all} shows all.").format(n=_SCREENFUL, all=len(rows))
    screen.print(f"{said}\n", style="dim")
    return rows[:_SCREENFUL]


def is_for_table(rows: Sequence[Record], none: str, form: Form | None) -> bool:
    """Print them as JSON or CSV, or that there is none; else they are still to be shown."""
    if form:
        (print_json if form == "json" else print_csv)([row.to_json() for row in rows])
    elif not rows:
        console().print(none)
    return bool(rows) and not form


def show_table(rows: Iterable[Row], columns: Sequence[Column[Row]], screen: Console) -> None:
    """Print the rows under their headings. An id is never cut, since people copy it.

    If it is still too wide without the optional columns, lines continue below: nothing is cut without a sign.
    """
    shown = [column for column in columns if column.room <= screen.width]
    cells = [[cell(column.show(row)) for column in shown] for row in rows]
    if any(column.heading for column in shown):
        cells.insert(0, [Text(_heading(column.heading), style="bold") for column in shown])
    widths = [max(row[place].cell_len for row in cells) for place in range(len(shown))]
    while _least(shown, widths) > screen.width and any(column.goes for column in shown):
        place = min((one for one in range(len(shown)) if shown[one].goes), key=lambda one: shown[one].goes)
        del shown[place], widths[place]
        for row in cells:
            del row[place]
    if screen.width == _PIPE or _least(shown, widths) > screen.width:
        _show_plain(cells, shown, widths, screen)
    else:
        _show_fitted(cells, shown, widths, screen)


def show_titled(
    title: str, rows: Sequence[Row], columns: Sequence[Column[Row]], screen: Console, style: str = "bold"
) -> None:
    """Print rows under a title, if there are any."""
    if rows:
        screen.print(f"\n{title}", style=style)
        show_table(rows, columns, screen)


def _heading(english: str) -> str:
    """A column is made where no language is known yet."""
    return gettext(english) if english else ""


def _least(columns: Sequence[Column[Row]], widths: Sequence[int]) -> int:
    """The least width of these columns in characters, with a space between two."""
    flexible = [column.shrinks or column.wraps for column in columns]
    gap, fitted = _fit(widths, flexible, room=0)
    return sum(fitted) + gap * (len(fitted) - 1)


def _show_plain(
    cells: Sequence[Sequence[Text]], columns: Sequence[Column[Row]], widths: Sequence[int], screen: Console
) -> None:
    """Print into a pipe: the lines of the table without colours, many times faster."""
    for row in cells:
        for text, column, width in zip(row, columns, widths, strict=True):
            text.align("right" if column.right else "left", width)
        print("  ".join(text.plain for text in row).rstrip(), file=screen.file)


def _show_fitted(
    cells: Sequence[Sequence[Text]], columns: Sequence[Column[Row]], widths: Sequence[int], screen: Console
) -> None:
    gap, widths = _fit(widths, [column.shrinks or column.wraps for column in columns], screen.width)
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, show_header=False)
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wraps else "ellipsis"
        table.add_column(
            justify=justify, no_wrap=not column.wraps, overflow=overflow, min_width=width, max_width=width
        )
    for row in cells:
        table.add_row(*(_unbroken(text, width) for text, width in zip(row, widths, strict=True)))
    screen.print(table)


def _fit(widths: Sequence[int], shrinks: Sequence[bool], room: int) -> tuple[int, list[int]]:
    """The gap between columns and their widths, so that they fit: the gap shrinks first."""
    widths = [
        width if flexible else min(width, _FIXED) for width, flexible in zip(widths, shrinks, strict=True)
    ]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= room else 1
    excess = sum(widths) + gap * (len(widths) - 1) - room
    for index in sorted(range(len(widths)), key=lambda index: -widths[index]):
        if shrinks[index] and excess > 0:
            cut = min(excess, max(widths[index] - _LEAST, 0))
            widths[index] -= cut
            excess -= cut
    return gap, widths


def show_fields(fields: Iterable[tuple[str, str | Text | None]], screen: Console, title: str = "") -> None:
    """Print names and values, one a line; a value too long for the line continues below."""
    if title:
        screen.print(Text(f"\n{title}", style="bold"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [(f"  {name}" if title else name, cell(value)) for name, value in fields]
    room = screen.width - max((len(name) for name, _ in rows), default=0) - 2
    for name, text in rows:
        table.add_row(name, _unbroken(text, max(room, _LEAST)))
    screen.print(table)


def marks_of(row: Recording) -> str:
    """What is special of a recording, in words."""
    return ", ".join(label("mark", one) for one in marks(row))


def recording_columns(work: Workplace, rows: Sequence[Recording], screen: Console) -> list[Column[Recording]]:
    """For `list`."""
    columns: list[Column[Recording]] = [
        Column("id", lambda row: row.id),
        Column("began", lambda row: _when(work.local(row.started_at), screen), goes=3),
        Column("length", lambda row: length(row.duration_s if has_sound(row) else None), right=True, goes=2),
        Column("caller", lambda row: _number(row.caller)),
        Column("called", lambda row: _number(row.called), room=WIDER),
        Column("operator", operators, shrinks=True, goes=1),
        Column("status", lambda row: coded("status", row.status)),
        Column("size", lambda row: size(row.bytes if has_sound(row) else None), room=WIDER, right=True),
        Column("expires", lambda row: f"{work.local(row.expires_at):%Y-%m-%d}", room=WIDE),
    ]
    if any(map(marks, rows)):
        columns.append(Column("marks", lambda row: marks_of(row) or " ", shrinks=True))
    return columns


def receipt_columns(work: Workplace, screen: Console) -> list[Column[Receipt]]:
    """For `calls`."""
    return [
        Column("id", lambda row: row.id),
        Column("began", lambda row: _when(work.local(row.started_at), screen), goes=2),
        Column("waited", lambda row: length(seconds_between(row, "answered_at", "connected_at")), WIDE, True),
        Column("talked", lambda row: length(seconds_between(row, "connected_at", "ended_at")), WIDE, True),
        Column("caller", lambda row: _number(row.caller), goes=3),
        Column("number", lambda row: identity(row) or None, room=WIDE, shrinks=True),
        Column("called", lambda row: _number(row.called), room=WIDER),
        Column("operator", operators, room=WIDE, shrinks=True),
        Column("outcome", outcome, goes=1),
        Column("decision", lambda row: coded("decision", row.decision)),
        Column("by", lambda row: coded("by", row.decided_by), room=WIDE, shrinks=True),
    ]


def outcome(row: Receipt) -> str | Text | None:
    """How a call ended."""
    return coded("outcome", row.outcome) or (_("in progress") if row.ended_at is None else None)


def _number(number: str | None) -> str | None:
    return printable(number, 16) if number else None  # E.164 has 15 digits and a plus


def _when(local: datetime, screen: Console) -> str:
    return f"{local:%Y-%m-%d %H:%M}" if screen.width >= WIDE else short(local)


Step = Callable[[str, int, int], None]  # what, done, total: its name in English

BAR_FROM = 20  # from this many recordings on, a bar shows


@contextmanager
def steps(many: int = BAR_FROM) -> Iterator[Step]:
    """A bar for each `what` of at least `many`."""
    from rich.progress import Progress  # slow to import; most commands show none

    screen = console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bars: dict[str, TaskID] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(gettext(what), visible=False)
            progress.update(bars[what], completed=done, total=total, visible=total >= many)

        yield step


@contextmanager
def steps_of(what: str, many: int = BAR_FROM) -> Iterator[Callable[[int, int], None]]:
    """One bar, moved by `step(done, total)`."""
    with steps(many) as step:
        yield partial(step, what)


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print them, and give the exit code: 1 if one is an error."""
    if as_json:
        print_json([{"level": f.level, "what": f.what, "detail": f.detail} for f in findings])
    else:
        _print_findings(findings)
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _print_findings(findings: Sequence[Finding]) -> None:
    columns: list[Column[Finding]] = [
        Column("", lambda finding: coded("level", finding.level)),
        Column("", lambda finding: shown(finding.what)),
        Column("", lambda finding: shown(finding.detail), wraps=True),
    ]
    screen = console()
    show_table(findings, columns, screen)
    errors, warnings = (sum(finding.level == level for finding in findings) for level in ("error", "warning"))
    said = (
        ngettext("{n} error", "{n} errors", errors).format(n=errors),
        ngettext("{n} warning", "{n} warnings", warnings).format(n=warnings),
    )
    screen.print(f"\n{', '.join(said)}", style="dim")

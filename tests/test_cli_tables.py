"""What a terminal shows: tables in its width, bars of what takes long; and what a pipe gets of that."""

import io

import pytest
from rich.console import Console

from sipagent.cli import terminal
from sipagent.cli.terminal import (
    Column,
    cell,
    coded,
    newest,
    show_fields,
    show_table,
    steps,
    steps_of,
    user_part,
)


def screen(width: int, *, is_terminal: bool = False) -> Console:
    file = io.StringIO()
    return Console(file=file, width=width, force_terminal=is_terminal, markup=False, highlight=False)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_gap_gives_way_before_what_shrinks_and_that_before_the_rest() -> None:
    columns: list[Column[str]] = [Column("id", lambda row: "1234567890"), Column("long", str, shrinks=True)]
    for width, line in (
        (26, "1234567890  abcdefghijkl"),
        (23, "1234567890 abcdefghijkl"),
        (19, "1234567890 abcdefg…"),
    ):
        out = screen(width)
        show_table(["abcdefghijkl"], columns, out)
        assert printed(out).splitlines()[-1].rstrip() == line, width


def test_columns_need_their_room_and_leave_in_their_order_before_any_is_cut_off() -> None:
    wide: list[Column[str]] = [Column("name", str), Column("more", lambda row: "here", room=100)]
    shown = []
    for width in (80, 100):
        show_table(["x"], wide, out := screen(width))
        shown.append("here" in printed(out))
    assert shown == [False, True]
    row = ("20261124T222000123-w3-482913", "24 Nov 23:20", "+33612345678", "connected", "not_allowed")
    columns: list[Column[tuple[str, ...]]] = [
        Column("id", lambda row: row[0]),
        Column("began", lambda row: row[1], goes=2),
        Column("caller", lambda row: row[2], goes=3),
        Column("outcome", lambda row: row[3], goes=1),
        Column("decision", lambda row: row[4]),
    ]
    for width, there in ((80, "01234"), (77, "01234"), (75, "0124"), (60, "024"), (45, "04"), (30, "04")):
        show_table([row], columns, out := screen(width))
        last = printed(out).splitlines()[-1]
        assert [str(place) for place in range(5) if row[place] in last] == [*there], width


def test_cells_are_text_and_nothing_else() -> None:
    assert cell("[red]x\x1b[0m").plain == "[red]x\\x1b[0m"
    assert cell(None).plain == "–" and len(cell("A" * 10_000).plain) == 200
    assert (shown := coded("status", "closed")) and shown.style == "green"
    assert coded("status", None) is None
    users = ("sip:201@pbx.example.net", "201", None, "sip:@x")
    assert [*map(user_part, users)] == ["201", "201", None, "sip:@x"]


def test_a_pipe_gets_the_same_lines_whatever_its_width() -> None:
    columns: list[Column[tuple[str, str]]] = [
        Column("name", lambda row: row[0]),
        Column("length", lambda row: row[1], right=True),
        Column("more", lambda row: "x" * 60 if row[0] == "one" else None, shrinks=True, room=100),
    ]
    lines = []
    for width in (399, 400):
        show_table([("one", "é"), ("日本", "12:00:00")], columns, out := screen(width))
        lines.append([line.rstrip() for line in printed(out).splitlines()])
    assert lines[0] == lines[1] and len(lines[0]) == 3


def test_fields_fold_and_lose_nothing() -> None:
    show_fields([("SHA-256", "ab" * 32), ("empty", None)], out := screen(30), "File")
    assert "".join(printed(out).split()).count("ab") >= 32 and "–" in printed(out)


def test_a_screen_gets_the_newest_and_a_pipe_gets_all() -> None:
    rows, out = list(range(150)), screen(80, is_terminal=True)
    assert newest(rows, out, None) == rows[:100] and "The newest 100 of 150" in printed(out)
    assert newest(rows, out, 150) == newest(rows, screen(80), None) == rows


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_takes_long_has_a_bar(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """A pipe gets nothing, not even the empty line that rich leaves: cron would send it by mail."""
    out = screen(80, is_terminal=is_terminal)
    monkeypatch.setattr(terminal, "console", lambda stderr: out)
    with steps(20) as step:
        step("chain", 10, 40)
        step("files", 3, 19)
    with steps_of("sealing", 20) as one:
        one(30, 40)
    shown = ("chain", "sealing", "75%") if is_terminal else ()
    assert [text for text in ("chain", "files", "sealing", "75%") if text in printed(out)] == [*shown]
    assert is_terminal or printed(out) == ""

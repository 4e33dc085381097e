"""What a terminal shows: tables in its width, bars of what takes long; and what a pipe gets of that."""

import io

import pytest
from rich.console import Console

from sipagent.cli import terminal
from sipagent.cli.terminal import cell, coded, newest, steps, steps_of, user_part


def screen(width: int, *, is_terminal: bool = False) -> Console:
    file = io.StringIO()
    return Console(file=file, width=width, force_terminal=is_terminal, markup=False, highlight=False)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_cells_are_text_and_nothing_else() -> None:
    assert cell("[red]x\x1b[0m").plain == "[red]x\\x1b[0m"
    assert cell(None).plain == "–" and len(cell("A" * 10_000).plain) == 200
    assert (shown := coded("status", "closed")) and shown.style == "green"
    assert coded("status", None) is None
    users = ("sip:201@pbx.example.net", "201", None, "sip:@x")
    assert [*map(user_part, users)] == ["201", "201", None, "sip:@x"]


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

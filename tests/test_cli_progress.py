import io

import pytest
from rich.console import Console

from sipagent.cli import terminal
from sipagent.cli.terminal import steps, steps_of


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    made = Console(file=io.StringIO(), force_terminal=True, width=80, legacy_windows=False)
    monkeypatch.setattr(terminal, "console", lambda stderr: made)
    return made


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_what_takes_long_has_a_bar(screen: Console) -> None:
    with steps(20) as step:
        step("chain", 10, 40)
        step("files", 3, 19)
    assert "chain" in shown(screen) and "files" not in shown(screen)


def test_one_bar_moves(screen: Console) -> None:
    with steps_of("sealing", 20) as step:
        step(30, 40)
    assert "sealing" in shown(screen) and "75%" in shown(screen)


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the empty line that rich leaves: cron would send it by mail."""
    made = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(terminal, "console", lambda stderr: made)
    with steps(20) as step:
        step("chain", 40, 40)
    assert shown(made) == ""

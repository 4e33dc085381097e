"""A bar on stderr for long work, at a terminal only; nothing into a pipe or a mail of cron."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from gettext import gettext

from rich.progress import Progress, TaskID

from sipagent.cli.tables import console

Step = Callable[[str, int, int], None]  # what, done, total: its name in English

MANY = 20  # from this many recordings on, a bar shows


@contextmanager
def steps(many: int = MANY) -> Iterator[Step]:
    """A bar for each `what` of at least `many`."""
    screen = console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bars: dict[str, TaskID] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(gettext(what), visible=False)
            progress.update(bars[what], completed=done, total=total, visible=total >= many)

        yield step


@contextmanager
def steps_of(what: str, many: int = MANY) -> Iterator[Callable[[int, int], None]]:
    """One bar, moved by `step(done, total)`."""
    with steps(many) as step:
        yield partial(step, what)

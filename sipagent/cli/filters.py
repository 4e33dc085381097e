"""The filters that `list` and `calls` share: options of the command line → a Selection."""

from collections.abc import Callable
from gettext import gettext as _
from typing import Any

import click

from retention.recording import Status
from retention.rows.selection import Selection
from sipagent.cli.base import Decorated, Workplace, now
from sipagent.lookup import filters

_MOMENT = "a date, a date and time, yesterday, 12h, 7d, 2w"
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--since", metavar="TIME", help=f"Begun at or after: {_MOMENT}."),
    click.option("--until", metavar="TIME", help="Begun before; a date alone includes that day."),
    click.option("--caller", metavar="NUMBER", help="As you would dial it, or how it begins or ends."),
    click.option(
        "--reference",
        metavar="R",
        help="The call's own: 482913, as the operator tells where no number has come.",
    ),
    click.option("--operator", metavar="EXTENSION", help="201, or the whole address."),
    click.option(
        "--status", type=click.Choice([status.value for status in Status]), help="Of the recording."
    ),
    click.option("--held", is_flag=True, help="Only what is on legal hold."),
    click.option("--flagged", is_flag=True, help="Only what an operator has flagged."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most the N newest."),
)


def filter_options(command: Decorated) -> Decorated:
    """Add the options that `selection` understands."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def selection(work: Workplace, **asked: Any) -> Selection:
    """Read the options. Raises ConfigError, and click.UsageError for one that cannot be read."""
    try:
        return filters.selection(work.config, now(), **asked)
    except filters.FilterError as error:
        said = _("{option}: {problem}").format(option=f"--{error.name}", problem=error.problem)
        raise click.UsageError(said, click.get_current_context()) from error


def period_of(work: Workplace, since: str | None, until: str | None) -> Selection:
    """Read only the options of the period. Raises the errors of `selection`."""
    return selection(work, since=since, until=until)

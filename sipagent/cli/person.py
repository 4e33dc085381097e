"""All calls of one person: `--caller` of `export` and `delete`."""

from collections.abc import Sequence
from gettext import gettext as _

import click

from retention.archive.archive import Archive
from retention.rules.deletion import KeptCall
from sipagent.cli.base import Decorated, Failure, Workplace
from sipagent.cli.tables import Column, coded, console, operators, show_table
from sipagent.cli.times import full
from sipagent.languages.labels import label
from sipagent.lookup.amounts import length
from sipagent.lookup.person import calls_of_caller


def caller_option(command: Decorated) -> Decorated:
    """`--caller`."""
    return click.option(
        "--caller", metavar="NUMBER", help="In place of ID: all of this caller's, the whole number."
    )(command)


def one_of_the_two(id: str | None, caller: str | None) -> None:
    """Raises click.UsageError unless exactly one is given."""
    if (id is None) == (caller is None):
        both = _("both are given; accepted: ID, or --caller NUMBER")
        neither = _("neither is given; accepted: ID, or --caller NUMBER")
        raise click.UsageError(neither if id is None else both, click.get_current_context())


def calls_of(work: Workplace, archive: Archive, typed: str) -> list[KeptCall]:
    """What is kept of the calls from this number, oldest first. Raises click.UsageError, Failure for none."""
    try:
        found = calls_of_caller(archive.store, typed, work.config.service.country)
    except ValueError as error:
        raise click.UsageError(
            _("{option}: {problem}").format(option="--caller", problem=error), click.get_current_context()
        ) from error
    if not found:
        said = _("{number}: no call of this caller is kept; accepted: the whole number")
        raise Failure(said.format(number=typed))
    return found


def show_calls(work: Workplace, archive: Archive, calls: Sequence[KeptCall]) -> None:
    """Show on stderr the calls that a question is about."""

    def held(call: KeptCall) -> str | None:
        return label("mark", "held") if call.recording and archive.hold_of(call.recording) else None

    columns: list[Column[KeptCall]] = [
        Column("id", lambda call: call.id),
        Column("began", lambda call: full(work.local(call.started_at)), goes=2),
        Column(
            "length", lambda call: length(call.recording.duration_s if call.recording else None), right=True
        ),
        Column("operator", _operators, shrinks=True, goes=1),
        Column("recording", lambda call: coded("status", call.recording.status if call.recording else None)),
        Column("hold", held),
    ]
    show_table(calls, columns, console(stderr=True))


def _operators(call: KeptCall) -> str | None:
    row = call.receipt or call.recording
    return operators(row) if row else None

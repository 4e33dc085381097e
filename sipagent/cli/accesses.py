"""Who used what, when and why: `accesses`. Nothing here changes anything."""

from collections.abc import Callable, Mapping
from gettext import gettext as _
from gettext import ngettext
from itertools import islice

import click

from retention.records import Access
from retention.rows.selection import Selection
from sipagent.cli.options import period_of
from sipagent.cli.program import (
    Decorated,
    Workplace,
    json_option,
    meant,
    optional_id_argument,
    print_json,
)
from sipagent.cli.terminal import WIDE, WIDER, Column, coded, console, full, newest, show_table
from sipagent.languages.labels import detail_of

_OUTCOMES = ("begun", "done", "refused", "failed")
_MOMENT = "a date, a date and time, yesterday, 12h, 7d, 2w"


def _filters(command: Decorated) -> Decorated:
    options = (
        click.option("--since", metavar="TIME", help=f"At or after: {_MOMENT}."),
        click.option("--until", metavar="TIME", help="Before; a date alone includes that day."),
        click.option(
            "--by", metavar="WHO", help="A name that was given, a login, or a user of the system; or a part."
        ),
        click.option("--action", metavar="A", help="export, play, delete, purge, hold, rotate, …"),
        click.option("--purpose", metavar="P", help="What it was for."),
        click.option("--outcome", type=click.Choice(_OUTCOMES), help="What came of it."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most the N newest."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("accesses")
@optional_id_argument
@_filters
@json_option
@click.pass_obj
def accesses_command(
    work: Workplace,
    /,
    id: str | None,
    *,
    since: str | None,
    until: str | None,
    by: str | None,
    action: str | None,
    purpose: str | None,
    outcome: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List every use of recordings, or of one: what, who, when, why; begun, done, refused or failed.

    The newest come first.

    \b
    Examples:
      sipagent accesses --since 7d
      sipagent accesses 20261124T222000123-482913 --action export --json
    """
    period = period_of(work, since, until)
    archive = work.archive()
    store = archive.store
    if id is not None and next(store.each_access(id), None) is None:  # those of a lost row still exist
        id = meant(archive, id)
    fits = _choice(period, by, {"action": action, "purpose": purpose, "outcome": outcome})
    # in the order of the trace, which does not depend on a clock
    rows = list(islice(filter(fits, store.each_access(id, newest=True)), limit))
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if not rows:
        screen.print(_("No use matches."))
        return
    show_table(newest(rows, screen, limit), _columns(work), screen)
    said = ngettext("{n} use", "{n} uses", len(rows)).format(n=len(rows))
    screen.print(f"\n{said}", style="dim")


def _choice(period: Selection, by: str | None, equal: Mapping[str, str | None]) -> Callable[[Access], bool]:
    who, first, end = by and by.casefold(), period.since, period.until

    def fits(row: Access) -> bool:
        names = "\n".join(filter(None, (row.by, row.system_user, row.login))).casefold()
        return (
            (first is None or row.at >= first)
            and (end is None or row.at < end)
            and (who is None or who in names)
            and all(value in (None, getattr(row, name)) for name, value in equal.items())
        )

    return fits


def _who(row: Access) -> str | None:
    """The name given; without one the account's or the system's, in brackets."""
    known = row.login or row.system_user
    return row.by or (f"({known})" if known else None)


def _columns(work: Workplace) -> list[Column[Access]]:
    return [
        Column("at", lambda row: full(work.local(row.at))),
        Column("action", lambda row: coded("action", row.action)),
        Column("outcome", lambda row: coded("use", row.outcome)),
        Column("recording", lambda row: row.recording_id),
        Column("purpose", lambda row: coded("purpose", row.purpose), shrinks=True),
        Column("by", _who, shrinks=True),
        Column("user", lambda row: row.login or row.system_user, room=WIDE, shrinks=True),
        Column("reference", lambda row: row.reference, room=WIDE, shrinks=True),
        Column("detail", lambda row: detail_of(row) or None, room=WIDER, wraps=True),
    ]

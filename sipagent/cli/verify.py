"""Proof that what is kept is still what was written: `verify`, `stamp`.

`verify` checks chain, files and stamps, and changes nothing. `stamp` has a third party's time stamp put
on what was written so far.
"""

from gettext import gettext, ngettext
from gettext import gettext as _
from pathlib import Path

import click
from rich.console import Console

from retention.verify import Mismatch
from sipagent.cli.program import PRESENT, Workplace, json_option, print_json
from sipagent.cli.terminal import Column, console, figure, full, is_for_table, show_fields, show_table, steps
from sipagent.config.identity import printable
from sipagent.languages.spoken import shown
from sipagent.operations.verify import (
    COUNTED,
    BadStamp,
    KeptStamp,
    StampMade,
    Verification,
    archive_to_verify,
    stamp_now,
    stamps_there,
    verify_all,
)

_FINDING: list[Column[Mismatch]] = [
    Column("where", lambda found: shown(found.where)),
    Column("problem", lambda found: shown(found.problem), wraps=True),
]
_LONG = 2000  # from this many of anything on, progress shows


@click.command("verify")
@click.option(
    "--head",
    "heads",
    multiple=True,
    type=PRESENT,
    metavar="FILE",
    help="A copy of retention.head kept elsewhere; more than one may be given.",
)
@click.option("--deep", is_flag=True, help="Read objects too, whose hashes their store tells.")
@json_option
@click.pass_obj
@click.pass_context
def verify_command(
    ctx: click.Context, work: Workplace, /, *, heads: tuple[Path, ...], deep: bool, as_json: bool
) -> None:
    """Check the chain of all that was written, every row against it, every file, every time stamp.

    Finds what was changed, dropped, cut off, put back to an earlier state, or put there; names each in one
    line (exit 1 then). What was lost with a database, as the chain itself says since it was rebuilt, is shown
    apart. The agent may run meanwhile. Anyone who can rewrite the database can rewrite retention.head beside
    it: only a copy kept elsewhere, and time stamps, prove anything.

    \b
    Examples:
      sipagent verify
      sipagent verify --head /mnt/safe/retention.head --json
    """
    archive = archive_to_verify(work.config)
    with steps(_LONG) as step:
        found = verify_all(work.config, archive, step, heads, deep=deep)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found, console())
    ctx.exit(1 if found.problems else 0)


def _show(found: Verification, screen: Console) -> None:
    looked_at = [(gettext(name), figure(found.counts[name])) for name in COUNTED]
    looked_at += [
        (_("head"), figure(found.head.seq)),
        ("", found.head.hash),  # a line of its own: it fills one
    ]
    show_fields(looked_at, screen)
    if found.lost:
        title = _("Lost, as the chain says itself:")
        screen.print(f"\n{title}", style="bold yellow")
        show_table(found.lost, _FINDING, screen)
    if not found.problems:
        said = _("All of it is as it was written.")
        screen.print(f"\n{said}", style="green")
        return
    n = len(found.problems)
    title = ngettext("{n} problem:", "{n} problems:", n).format(n=n)
    screen.print(f"\n{title}", style="bold red")
    show_table(found.problems, _FINDING, screen)


@click.command("stamp")
@click.option(
    "--list", "listed", is_flag=True, help="Show the stamps there are, the newest first, unchecked."
)
@json_option
@click.pass_obj
def stamp_command(work: Workplace, /, *, listed: bool, as_json: bool) -> None:
    """Have the chain's head stamped by the authority of retention.timestamp_url (RFC 3161).

    The agent does it by itself every hour. `verify` checks the stamps; so does openssl, without this program.

    \b
    Examples:
      sipagent stamp
      sipagent stamp --list
    """
    if listed:
        _list_stamps(work, stamps_there(work.config), as_json)
    else:
        _tell_stamp(work, stamp_now(work.config), as_json)


def _tell_stamp(work: Workplace, made: StampMade, as_json: bool) -> None:
    last = made.stamp
    if as_json:
        print_json(made.to_json())
    elif last is not None:
        new = _("stamped entry {seq}: {when}, {authority}")
        old = _("the head has not moved since the stamp of entry {seq}: {when}, {authority}")
        when, authority = full(work.local(last.at)), printable(last.authority)
        click.echo((new if made.stamped else old).format(seq=last.seq, when=when, authority=authority))


def _list_stamps(work: Workplace, rows: list[KeptStamp | BadStamp], as_json: bool) -> None:
    columns: list[Column[KeptStamp | BadStamp]] = [
        Column("file", lambda row: row.file),
        Column("at", lambda row: full(work.local(row.at)) if isinstance(row, KeptStamp) else None),
        Column("authority", lambda row: row.authority if isinstance(row, KeptStamp) else None, shrinks=True),
        Column(
            "hash", lambda row: row.hash if isinstance(row, KeptStamp) else shown(row.problem), shrinks=True
        ),
    ]
    if is_for_table(rows, _("No stamps."), "json" if as_json else None):
        show_table(rows, columns, console())

"""Proof that what is kept is still what was written: `verify`, `stamp`; and for a caller, `receipt`.

`verify` checks chain, files, roots and stamps, and changes nothing. `stamp` has a third party's time stamp
put on what was written so far. `receipt` gives a caller what `receipt verify` checks anywhere.
"""

import json
from gettext import gettext, ngettext
from gettext import gettext as _
from pathlib import Path

import click
from rich.console import Console

from retention.files import write_whole
from retention.verify import Mismatch
from sipagent.cli import program
from sipagent.cli.options import MOMENT, period_of
from sipagent.cli.terminal import (
    Column,
    coded,
    console,
    figure,
    full,
    is_for_table,
    show_fields,
    show_table,
    show_titled,
    steps,
)
from sipagent.config.identity import printable
from sipagent.languages.spoken import shown
from sipagent.operations import verify as op

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
    type=program.PRESENT,
    metavar="FILE",
    help="A copy of retention.head kept elsewhere; more than one may be given.",
)
@click.option("--deep", is_flag=True, help="Read objects too, whose hashes their store tells.")
@program.json_option
@click.pass_obj
def verify_command(work: program.Workplace, /, *, heads: tuple[Path, ...], deep: bool, as_json: bool) -> int:
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
    archive = op.archive_to_verify(work.config)
    with steps(_LONG) as step:
        found = op.verify_all(work.config, archive, step, heads, deep=deep)
    if as_json:
        program.print_json(found.to_json())
    else:
        _show(found, console())
    return int(bool(found.problems))


def _show(found: op.Verification, screen: Console) -> None:
    looked_at = [(gettext(name), figure(found.counts[name])) for name in op.COUNTED]
    looked_at += [
        (_("head"), figure(found.head.seq)),
        ("", found.head.hash),  # a line of its own: it fills one
    ]
    show_fields(looked_at, screen)
    show_titled(_("Lost, as the chain says itself:"), found.lost, _FINDING, screen, "bold yellow")
    if not found.problems:
        said = _("All of it is as it was written.")
        screen.print(f"\n{said}", style="green")
        return
    n = len(found.problems)
    title = ngettext("{n} problem:", "{n} problems:", n).format(n=n)
    show_titled(title, found.problems, _FINDING, screen, "bold red")


@click.command("stamp")
@click.option(
    "--list", "listed", is_flag=True, help="Show the stamps there are, the newest first, unchecked."
)
@program.json_option
@click.pass_obj
def stamp_command(work: program.Workplace, /, *, listed: bool, as_json: bool) -> None:
    """Have the chain's head stamped by the authority of retention.timestamp_url (RFC 3161).

    The agent does it by itself every hour. `verify` checks the stamps; so does openssl, without this program.

    \b
    Examples:
      sipagent stamp
      sipagent stamp --list
    """
    if listed:
        _list_stamps(work, op.stamps_there(work.config), as_json)
    else:
        _tell_stamp(work, op.stamp_now(work.config), as_json)


def _tell_stamp(work: program.Workplace, made: op.StampMade, as_json: bool) -> None:
    last = made.stamp
    if as_json:
        program.print_json(made.to_json())
    elif last is not None:
        new = _("stamped entry {seq}: {when}, {authority}")
        old = _("the head has not moved since the stamp of entry {seq}: {when}, {authority}")
        when, authority = full(work.local(last.at)), printable(last.authority)
        click.echo((new if made.stamped else old).format(seq=last.seq, when=when, authority=authority))


def _list_stamps(work: program.Workplace, rows: list[op.KeptStamp | op.BadStamp], as_json: bool) -> None:
    columns: list[Column[op.KeptStamp | op.BadStamp]] = [
        Column("file", lambda row: row.file),
        Column("at", lambda row: full(work.local(row.at)) if isinstance(row, op.KeptStamp) else None),
        Column(
            "authority", lambda row: row.authority if isinstance(row, op.KeptStamp) else None, shrinks=True
        ),
        Column(
            "hash",
            lambda row: row.hash if isinstance(row, op.KeptStamp) else shown(row.problem),
            shrinks=True,
        ),
    ]
    if is_for_table(rows, _("No stamps."), "json" if as_json else None):
        show_table(rows, columns, console())


class _Receipt(program.Program):
    """A group in which what is no command is the call whose receipt is wanted."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named, or `give`."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["give", *args])


@click.group("receipt", cls=_Receipt)
def receipt_group() -> None:
    """Give a caller the receipt of a call: `receipt REFERENCE`; check one; list the roots to publish.

    A receipt is a file for the caller alone. With the root of a day, which you publish (roots/DATE.json
    beside the database), it proves what was written of the call and when: `receipt verify` tells, on any
    machine. Be sure who asks: six digits can be guessed, and a number is no proof either.

    \b
    Examples:
      sipagent receipt 482913 --out receipt.json
      sipagent receipt verify receipt.json --root 2026-11-24.json
      sipagent receipt roots --since 7d
    """


@receipt_group.command("give", hidden=True)
@program.id_argument
@click.option("--out", type=program.FILE, metavar="FILE", help="Write it there; else it is printed.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@program.words_by_option
@click.pass_obj
def give_command(
    work: program.Workplace, /, *, id: str, out: Path | None, force: bool, by: str | None
) -> None:
    """Give the receipt of a call, in JSON: from the day after the call on."""
    if out is not None and (why := program.why_not_written(out, force)):
        raise program.Failure(why)
    archive = work.archive()
    made = op.give_receipt(
        archive, program.meant(archive, id), program.attempt("receipt", by=by), program.now()
    )
    if out is None:
        program.print_json(made.to_json())
        return
    write_whole(out, json.dumps(made.to_json(), indent=1).encode() + b"\n")
    click.echo(_("{file}, for the root of {date}").format(file=out, date=made.head.date))


@receipt_group.command("verify", short_help="Check a receipt, with no more than the published root.")
@click.argument("file", type=program.PRESENT)
@click.option(
    "--root",
    "roots",
    type=program.PRESENT,
    multiple=True,
    required=True,
    metavar="FILE",
    help="The published root of its day; later ones, too, to see that they continue it.",
)
@program.json_option
def verify_receipt_command(file: Path, *, roots: tuple[Path, ...], as_json: bool) -> None:
    """Check a receipt: whether it leads to this root, and what is kept is signed. Exit 1 if not.

    It needs no configuration and no network.

    \b
    Examples:
      sipagent receipt verify receipt.json --root 2026-11-24.json
    """
    found = op.check_files(file, roots)
    if as_json:
        program.print_json(found.to_json())
        return
    screen, kept = console(), found.kept
    nothing = _("no recording")
    show_fields(
        [
            (_("call"), found.id),
            (_("written"), f"{full(found.at)} UTC"),
            (_("decision"), coded("decision", found.decision)),
            (_("outcome"), coded("outcome", found.outcome)),
            (_("root of"), found.date),
            ("", found.root),
            (_("kept on"), f"{full(kept.at)} UTC"),
            (_("recording"), coded("status", kept.recording) if kept.recording else nothing),
            (_("until"), f"{full(kept.expires_at)} UTC" if kept.sound and kept.expires_at else None),
        ],
        screen,
    )
    said = _("It was written until the end of that day (UTC), and nothing of it was changed since.")
    screen.print(f"\n{said}", style="green")


@receipt_group.command("roots", short_help="The roots of the days, to be published.")
@click.option("--since", metavar="TIME", help=f"Of that day or later: {MOMENT}.")
@program.form_option
@click.pass_obj
def roots_command(work: program.Workplace, /, *, since: str | None, form: program.Form | None) -> None:
    """List the root of each day, the newest first: files that you publish, where nobody can take them back.

    \b
    Examples:
      sipagent receipt roots --since 7d
    """
    rows = op.published_roots(work.config, period_of(work, since, None).since)
    columns: list[Column[op.PublishedRoot]] = [
        Column("date", lambda row: row.date),
        Column("entries", lambda row: figure(row.size), right=True),
        Column("stamped", lambda row: _("yes") if row.stamped else _("no")),
        Column("root", lambda row: row.root, shrinks=True),
        Column("file", lambda row: row.file),
    ]
    if is_for_table(rows, _("No roots yet: the first one is made after midnight (UTC)."), form):
        show_table(rows, columns, console())

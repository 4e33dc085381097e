"""What a caller can check: `receipt` gives it, `receipt verify` checks it anywhere, `receipt roots` lists the
files to publish."""

import json
from gettext import gettext as _
from pathlib import Path

import click

from retention.files import write_whole
from sipagent.cli.options import MOMENT, period_of
from sipagent.cli.program import (
    FILE,
    PRESENT,
    Form,
    Program,
    Workplace,
    attempt,
    form_option,
    id_argument,
    json_option,
    meant,
    now,
    print_json,
    words_by_option,
)
from sipagent.cli.terminal import Column, coded, console, figure, full, is_for_table, show_fields, show_table
from sipagent.operations.receipts import PublishedRoot, check_files, give_receipt, published_roots


class _Receipt(Program):
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
@id_argument
@click.option("--out", type=FILE, metavar="FILE", help="Write it there; else it is printed.")
@words_by_option
@click.pass_obj
def give_command(work: Workplace, /, *, id: str, out: Path | None, by: str | None) -> None:
    """Give the receipt of a call, in JSON: from the day after the call on."""
    archive = work.archive()
    made = give_receipt(archive, meant(archive, id), attempt("receipt", by=by), now())
    if out is None:
        print_json(made.to_json())
        return
    write_whole(out, json.dumps(made.to_json(), indent=1).encode() + b"\n")
    click.echo(_("{file}, for the root of {date}").format(file=out, date=made.head.date))


@receipt_group.command("verify", short_help="Check a receipt, with no more than the published root.")
@click.argument("file", type=PRESENT)
@click.option(
    "--root",
    "roots",
    type=PRESENT,
    multiple=True,
    required=True,
    metavar="FILE",
    help="The published root of its day; later ones, too, to see that they continue it.",
)
@json_option
def verify_command(file: Path, *, roots: tuple[Path, ...], as_json: bool) -> None:
    """Check a receipt: whether it leads to this root, and what is kept is signed. Exit 1 if not.

    It needs no configuration and no network.

    \b
    Examples:
      sipagent receipt verify receipt.json --root 2026-11-24.json
    """
    found = check_files(file, roots)
    if as_json:
        print_json(found.to_json())
        return
    screen, kept = console(), found.kept
    nothing = _("no recording")
    show_fields(
        [
            (_("call"), found.id),
            (_("written"), full(found.at)),
            (_("decision"), coded("decision", found.decision)),
            (_("outcome"), coded("outcome", found.outcome)),
            (_("root of"), found.date),
            ("", found.root),
            (_("kept on"), full(kept.at)),
            (_("recording"), coded("status", kept.recording) if kept.recording else nothing),
            (_("until"), full(kept.expires_at) if kept.sound and kept.expires_at else None),
        ],
        screen,
    )
    said = _("It was written until the end of that day (UTC), and nothing of it was changed since.")
    screen.print(f"\n{said}", style="green")


@receipt_group.command("roots", short_help="The roots of the days, to be published.")
@click.option("--since", metavar="TIME", help=f"Of that day or later: {MOMENT}.")
@form_option
@click.pass_obj
def roots_command(work: Workplace, /, *, since: str | None, form: Form | None) -> None:
    """List the root of each day, the newest first: files that you publish, where nobody can take them back.

    \b
    Examples:
      sipagent receipt roots --since 7d
    """
    rows = published_roots(work.config, period_of(work, since, None).since)
    columns: list[Column[PublishedRoot]] = [
        Column("date", lambda row: row.date),
        Column("entries", lambda row: figure(row.size), right=True),
        Column("stamped", lambda row: _("yes") if row.stamped else _("no")),
        Column("root", lambda row: row.root, shrinks=True),
        Column("file", lambda row: row.file),
    ]
    if is_for_table(rows, _("No roots yet: the first one is made after midnight (UTC)."), form):
        show_table(rows, columns, console())

"""Rebuilds a lost database: `rebuild`."""

from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click

from retention.archive.rebuild import Rebuilt, Unrebuilt, rebuild
from sipagent.cli.base import Workplace, attempt, json_option, print_json
from sipagent.cli.passphrase import identity_option, passphrase_option, unlock
from sipagent.cli.progress import steps_of
from sipagent.cli.tables import Column, console, show_table
from sipagent.config.finding import counted
from sipagent.languages.labels import N_
from sipagent.languages.reason import shown

_PROBLEMS: list[Column[Unrebuilt]] = [
    Column("file", lambda found: found.name),
    Column("problem", lambda found: shown(found.problem), wraps=True),
]


@click.command("rebuild", short_help="Make a lost database again.")
@identity_option()
@passphrase_option
@json_option
@click.pass_obj
@click.pass_context
def rebuild_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    identity: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a lost database again, from the files beside the recordings, holds included.

    Of a sealed recording it takes an --identity to know who called and who answered; without one the
    recording comes back all the same, and another run completes it. Receipts, uses, analyses and tombstones
    are in the database alone, and lost with it. Begins a new segment of the chain.

    A row of a recording that cannot be read is written again. A database that is damaged as a whole must be
    moved away first. A backup of it is better than none: put it in its place, and this restores what came
    later. What a mark says must be erased is erased, and does not come back. Purging waits afterwards until
    the clock is confirmed: see `purge`.

    \b
    Exit codes:
      0  all is back
      1  something could not be recovered, or not wholly: it says what
      2  an option cannot be read

    \b
    Examples:
      sipagent rebuild
      sipagent rebuild --identity recordings.key
    """
    opener = None if identity is None else unlock(identity, passphrase_file)
    archive = work.archive(make=True)
    with steps_of(N_("reading")) as step:
        done = rebuild(archive, opener, step)
    archive.store.add_access(attempt("rebuild", detail=", ".join(_counts(done))))
    if as_json:
        problems = [{"name": problem.name, "problem": problem.problem} for problem in done.problems]
        print_json(
            {
                "restored": done.restored,
                "held": done.held,
                "completed": done.completed,
                "repaired": done.repaired,
                "nameless": done.nameless,
                "known": done.known,
                "problems": problems,
            }
        )
    else:
        _show(done)
    ctx.exit(1 if done.problems or done.nameless else 0)


def _counts(done: Rebuilt) -> list[str]:
    """For the trace, which is English."""
    return [
        f"{counted(len(done.restored), 'recording')} restored",
        *([f"{len(done.held)} on hold"] if done.held else []),
        *([f"{len(done.completed)} completed"] if done.completed else []),
        *([f"{len(done.repaired)} repaired"] if done.repaired else []),
        *([f"{len(done.nameless)} still sealed as to whom they are of"] if done.nameless else []),
        counted(len(done.problems), "problem"),
    ]


def _show(done: Rebuilt) -> None:
    screen = console()
    held = set(done.held)
    for id in done.restored:
        said = _("restored  {id}, on hold") if id in held else _("restored  {id}")
        screen.print(said.format(id=id))
    for id in done.completed:
        screen.print(_("completed {id}").format(id=id))
    for id in done.repaired:
        said = _("repaired  {id}: its row could not be read, and is now as its metadata says")
        screen.print(said.format(id=id))
    n, known = len(done.restored), done.known
    screen.print(
        ", ".join(
            (
                ngettext("{n} restored", "{n} restored", n).format(n=n),
                ngettext("{n} was known.", "{n} were known.", known).format(n=known),
            )
        )
    )
    if done.restored:
        screen.print(
            _("Receipts, uses, analyses and tombstones from before are lost: see `sipagent verify`.")
        )
    if n := len(done.nameless):
        said = ngettext(
            "Of {n} recording it is still sealed who called and who answered; accepted: --identity KEYFILE",
            "Of {n} recordings it is still sealed who called and who answered; accepted: --identity KEYFILE",
            n,
        )
        screen.print(f"\n{said.format(n=n)}")
    if done.problems:
        title = _("Not recovered, or not wholly:")
        screen.print(f"\n{title}", style="bold")
        show_table(done.problems, _PROBLEMS, screen)

"""The draws of the sample, repeated: `draws`."""

from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import Any

import click

from retention.recording import Json, to_text
from retention.rows.selection import Selection
from sipagent.cli.base import Failure, Workplace, json_option, print_json
from sipagent.cli.filters import period_of
from sipagent.cli.tables import Column, console, show_table
from sipagent.cli.times import figure
from sipagent.config.draws import Audit, audit
from sipagent.config.sampling import Seed
from sipagent.config.seed import SeedError, read_seed
from sipagent.languages.reason import shown

_SHOWN = 20  # lines of errors; --json has all


@click.command("draws", short_help="Repeat every draw of the sample, and compare.")
@click.option("--since", metavar="TIME", help="Calls begun at or after: a date, yesterday, 7d, 2w.")
@click.option("--until", metavar="TIME", help="Calls begun before; a date alone includes that day.")
@click.option(
    "--seed",
    "seed_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A copy of the seed; default: the one beside the database.",
)
@json_option
@click.pass_obj
@click.pass_context
def draws_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    since: str | None,
    until: str | None,
    seed_file: Path | None,
    as_json: bool,
) -> None:
    """Draw again for every call whose receipt tells of its draw, and compare.

    Which calls may be recorded is drawn before the notice, from the call's id and a secret seed; the receipt
    tells share and draw. Exit 1 where a draw is another than the seed says, was made with another seed, or a
    call could be recorded that had not been drawn. Where hosts share a database, each draws with its own
    seed: what others drew is only counted.

    \b
    Examples:
      sipagent draws --since 2026-11-01 --until 2026-11-30
      sipagent draws --seed /media/auditor/retention.seed --json
    """
    period = period_of(work, since, until)
    seed = _seed(seed_file or work.config.places.seed, named=seed_file is not None)
    found = audit(work.archive().store.each_receipt(period), seed, work.config.host)
    if as_json:
        print_json(_json(found, period, seed))
    else:
        _show(found, seed)
    if found.wrong:
        said = ngettext(
            "{n} draw cannot be confirmed, beginning with {id}",
            "{n} draws cannot be confirmed, beginning with {id}",
            len(found.wrong),
        )
        raise Failure(said.format(n=len(found.wrong), id=found.wrong[0][0]))


def _seed(path: Path, *, named: bool) -> Seed | None:
    """The seed; None if no agent has made one yet: then nothing was drawn, either."""
    try:
        return read_seed(path)
    except SeedError as error:
        raise Failure(*error.args) from error
    except FileNotFoundError:
        if named:
            raise
        return None


def _json(found: Audit, period: Selection, seed: Seed | None) -> Json:
    return {
        "since": period.since and to_text(period.since),
        "until": period.until and to_text(period.until),
        "seed": seed and seed.name,
        **found.to_json(),
    }


def _show(found: Audit, seed: Seed | None) -> None:
    screen = console()
    json = found.to_json()
    columns: list[Column[dict[str, Any]]] = [
        Column("share", lambda row: figure(row["share"], ".6g"), right=True),
        Column("calls", lambda row: str(row["calls"]), right=True),
        Column("drawn", lambda row: str(row["drawn"]), right=True),
        Column("expected", lambda row: figure(row["expected"], ".1f"), right=True),
    ]
    if json["shares"]:
        show_table(json["shares"], columns, screen)
        screen.print("")
    if found.wrong:
        wrong: list[Column[tuple[str, str]]] = [
            Column("id", lambda row: row[0]),
            Column("problem", lambda row: shown(row[1]), wraps=True),
        ]
        show_table(found.wrong[:_SHOWN], wrong, screen)
        screen.print("")
    screen.print(_summary(found, seed), style="dim")


def _summary(found: Audit, seed: Seed | None) -> str:
    n = found.calls.total()
    said = [
        ngettext("{n} draw", "{n} draws", n).format(n=n),
        _("seed {name}").format(name=seed.name) if seed else _("no seed yet"),
    ]
    if n := found.undrawn:
        said.append(ngettext("{n} call without a draw", "{n} calls without a draw", n).format(n=n))
    if n := found.forgotten:
        said.append(ngettext("{n} receipt too old to tell", "{n} receipts too old to tell", n).format(n=n))
    if n := found.elsewhere:
        said.append(ngettext("{n} call of another host", "{n} calls of other hosts", n).format(n=n))
    return ", ".join(said)

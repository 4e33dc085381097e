"""Lists what is kept: `list`, `calls`. Nothing here changes anything."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from gettext import gettext as _
from gettext import ngettext
from typing import Any

import click

from retention.records import Recording, Sum, has_sound
from retention.rows.counts import LOST, REJECTED
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from sipagent.cli.options import filter_options, selection
from sipagent.cli.program import Workplace, json_option, print_json
from sipagent.cli.terminal import (
    Column,
    coded,
    console,
    figure,
    full,
    newest,
    receipt_columns,
    recording_columns,
    show_table,
    size,
)
from sipagent.languages.labels import length, of_them_there

OUTCOMES = ("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed")
DECISIONS = ("allowed", "refused", "not_allowed", "undecided")


@click.command("list")
@filter_options
@json_option
@click.pass_obj
def list_command(work: Workplace, /, as_json: bool, **options: Any) -> None:
    """List recordings, the newest first.

    \b
    Examples:
      sipagent list --since yesterday
      sipagent list --caller "06 12 34 56 78" --json
      sipagent list --reference 482913
    """
    store, chosen = work.archive().store, selection(work, **options)
    rows = store.recordings(chosen)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if rows:
        show_table(newest(rows, screen, options["limit"]), recording_columns(work, rows, screen), screen)
        screen.print(f"\n{_in_all(rows)}", style="dim")
    else:
        screen.print(_("No recording matches."))
    if options["caller"] or options["reference"]:  # a person's request concerns these, too
        others = sum(call.recording_id is None for call in store.each_receipt(chosen))
        if others:
            said = ngettext(
                "Not recorded, but kept: {n} call, see `sipagent calls`.",
                "Not recorded, but kept: {n} calls, see `sipagent calls`.",
                others,
            )
            screen.print(said.format(n=others))


def _in_all(rows: Sequence[Recording]) -> str:
    """`5 recordings, 4 of them there: 16:20, 8.4 MB`: removed ones have no length or size."""
    there = [row for row in rows if has_sound(row)]
    in_all = ngettext("{n} recording", "{n} recordings", len(rows)).format(n=len(rows))
    seconds, bytes = sum(row.duration_s or 0 for row in there), sum(row.bytes or 0 for row in there)
    amount = f"{length(seconds)}, {size(bytes)}"
    if len(there) == len(rows):
        return f"{in_all}, {amount}"
    return of_them_there(in_all, len(there), amount)


@click.command("calls")
@filter_options
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How the call ended.")
@click.option("--decision", type=click.Choice(DECISIONS), help="Whether it could be recorded.")
@click.option("--sums", is_flag=True, help="Those that are counted together, and have no receipt each.")
@json_option
@click.pass_obj
def calls_command(work: Workplace, /, as_json: bool, sums: bool, **options: Any) -> None:
    """List the receipts of all calls, recorded or not, the newest first.

    Of rejected calls the first thousand an hour have receipts; what comes beyond is counted together, a line
    a minute (--sums).

    \b
    Examples:
      sipagent calls --since 7d --decision refused
      sipagent calls --since 2026-11-24 --until 2026-11-24 --json
      sipagent calls --sums --since 7d
    """
    store, chosen = work.archive().store, selection(work, **options)
    together = list(_together(store, chosen))[::-1]
    if sums:
        _show_sums(work, together[: options["limit"]], as_json=as_json)
        return
    rows = store.receipts(chosen)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if rows:
        show_table(newest(rows, screen, options["limit"]), receipt_columns(work, screen), screen)
        said = ngettext("{n} call", "{n} calls", len(rows)).format(n=len(rows))
        screen.print(f"\n{said}", style="dim")
    else:
        screen.print(_("No call matches."))
    count = sum(one.count for one in together if one.what == REJECTED)
    if count:
        said = ngettext(
            "{n} rejected call is counted with others: see `sipagent calls --sums`.",
            "{n} rejected calls are counted together: see `sipagent calls --sums`.",
            count,
        )
        screen.print(said.format(n=figure(count)))
    count = sum(one.count for one in together if one.what == LOST)
    if count:
        said = ngettext(
            "{n} receipt was lost: see `sipagent calls --sums`.",
            "{n} receipts were lost: see `sipagent calls --sums`.",
            count,
        )
        screen.print(said.format(n=figure(count)))


def _together(store: Rows, chosen: Selection) -> Iterator[Sum]:
    """The part that is counted in sums, which only tell when, how many and with which answer."""
    asked = replace(chosen, since=None, until=None, limit=None, outcome=None, decision=None)
    may_be = chosen.outcome in (None, "rejected") and chosen.decision in (None, "undecided")
    return store.each_sum(chosen.since, chosen.until) if may_be and asked == Selection() else iter(())


def _show_sums(work: Workplace, sums: Sequence[Sum], *, as_json: bool) -> None:
    if as_json:
        print_json([one.to_json() for one in sums])
        return
    screen = console()
    columns: list[Column[Sum]] = [
        Column("from", lambda one: full(work.local(one.from_at))),
        Column("until", lambda one: full(work.local(one.until_at))),
        Column("calls", lambda one: figure(one.count), right=True),
        Column("what", lambda one: coded("sum", one.what)),
        Column("answered", lambda one: None if one.code is None else str(one.code)),
        Column("by", lambda one: one.by),
    ]
    if sums:
        show_table(sums, columns, screen)
    else:
        screen.print(_("No call is counted so."))

"""Looking at what is kept: `list`, `calls`. Nothing here changes anything."""

from typing import Any

import click

from sipagent.cli_base import Workplace, json_option, print_json
from sipagent.cli_filters import filter_options, selection
from sipagent.cli_tables import console, newest, receipt_columns, recording_columns, show_table
from sipagent.cli_times import counted, length, size

OUTCOMES = ("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed")
DECISIONS = ("allowed", "refused", "not_allowed", "undecided")


@click.command("list", short_help="The recordings, newest first.")
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
        seconds, bytes = sum(row.duration_s or 0 for row in rows), sum(row.bytes or 0 for row in rows)
        screen.print(f"\n{counted(len(rows), 'recording')}, {length(seconds)}, {size(bytes)}", style="dim")
    else:
        screen.print("No recording matches.")
    if options["caller"] or options["reference"]:  # whoever answers a person's request must not miss these
        others = sum(call.recording_id is None for call in store.each_receipt(chosen))
        if others:
            screen.print(f"Not recorded, but kept: {counted(others, 'call')}, see `sipagent calls`.")


@click.command("calls", short_help="The receipts of all calls, newest first.")
@filter_options
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How the call ended.")
@click.option("--decision", type=click.Choice(DECISIONS), help="Whether it could be recorded.")
@json_option
@click.pass_obj
def calls_command(work: Workplace, /, as_json: bool, **options: Any) -> None:
    """List the receipts of all calls, recorded or not, the newest first.

    \b
    Examples:
      sipagent calls --since 7d --decision refused
      sipagent calls --since 2026-11-24 --until 2026-11-24 --json
    """
    rows = work.archive().store.receipts(selection(work, **options))
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if not rows:
        screen.print("No call matches.")
        return
    show_table(newest(rows, screen, options["limit"]), receipt_columns(work, screen), screen)
    screen.print(f"\n{counted(len(rows), 'call')}", style="dim")

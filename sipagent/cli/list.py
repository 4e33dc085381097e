"""Lists what is kept: `list`, `calls`; who used what, when and why: `accesses`. Nothing here changes
anything."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from gettext import gettext as _
from gettext import ngettext
from itertools import islice
from typing import Any

import click

from retention.records import Access, Sum
from retention.rows.counts import LOST, REJECTED
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from sipagent.cli.options import MOMENT, filter_options, limit_option, period_of, selection
from sipagent.cli.program import Form, Workplace, form_option, meant, optional_id_argument
from sipagent.cli.terminal import (
    WIDE,
    WIDER,
    Column,
    coded,
    console,
    figure,
    full,
    is_for_table,
    newest,
    receipt_columns,
    recording_columns,
    show_table,
    size,
)
from sipagent.languages.labels import detail_of, of_them_there

OUTCOMES = ("connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed")
DECISIONS = ("allowed", "refused", "not_allowed", "undecided")


@click.command("list")
@filter_options
@form_option
@click.pass_obj
def list_command(work: Workplace, /, form: Form | None, **options: Any) -> None:
    """List recordings, the newest first.

    \b
    Examples:
      sipagent list --since yesterday
      sipagent list --caller "06 12 34 56 78" --json
      sipagent list --reference 482913
    """
    store, chosen = work.archive().store, selection(work, **options)
    rows = store.recordings(chosen)
    screen = console()
    if is_for_table(rows, _("No recording matches."), form):
        show_table(newest(rows, screen, options["limit"]), recording_columns(work, rows, screen), screen)
        in_all = ngettext("{n} recording", "{n} recordings", len(rows)).format(n=len(rows))
        screen.print(f"\n{of_them_there(in_all, rows, size)}", style="dim")
    # a person's request concerns these, too
    if (options["caller"] or options["reference"]) and not form:
        others = sum(call.recording_id is None for call in store.each_receipt(chosen))
        if others:
            said = ngettext(
                "Not recorded, but kept: {n} call, see `sipagent calls`.",
                "Not recorded, but kept: {n} calls, see `sipagent calls`.",
                others,
            )
            screen.print(said.format(n=others))


@click.command("calls")
@filter_options
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How the call ended.")
@click.option("--decision", type=click.Choice(DECISIONS), help="Whether it could be recorded.")
@click.option("--sums", is_flag=True, help="Those that are counted together, and have no receipt each.")
@form_option
@click.pass_obj
def calls_command(work: Workplace, /, form: Form | None, sums: bool, **options: Any) -> None:
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
        _show_sums(work, together[: options["limit"]], form)
        return
    rows = store.receipts(chosen)
    screen = console()
    if is_for_table(rows, _("No call matches."), form):
        show_table(newest(rows, screen, options["limit"]), receipt_columns(work, screen), screen)
        said = ngettext("{n} call", "{n} calls", len(rows)).format(n=len(rows))
        screen.print(f"\n{said}", style="dim")
    if form:
        return
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


def _show_sums(work: Workplace, sums: Sequence[Sum], form: Form | None) -> None:
    columns: list[Column[Sum]] = [
        Column("from", lambda one: full(work.local(one.from_at))),
        Column("until", lambda one: full(work.local(one.until_at))),
        Column("calls", lambda one: figure(one.count), right=True),
        Column("what", lambda one: coded("sum", one.what)),
        Column("answered", lambda one: None if one.code is None else str(one.code)),
        Column("by", lambda one: one.by),
    ]
    if is_for_table(sums, _("No call is counted so."), form):
        show_table(sums, columns, console())


_USES = ("begun", "done", "refused", "failed")


@click.command("accesses")
@optional_id_argument
@click.option("--since", metavar="TIME", help=f"At or after: {MOMENT}.")
@click.option("--until", metavar="TIME", help="Before; a date alone includes that day.")
@click.option(
    "--by", metavar="WHO", help="A name that was given, a login, or a user of the system; or a part."
)
@click.option("--action", metavar="A", help="export, play, delete, purge, hold, rotate, …")
@click.option("--purpose", metavar="P", help="What it was for.")
@click.option("--outcome", type=click.Choice(_USES), help="What came of it.")
@limit_option
@form_option
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
    form: Form | None,
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
    if is_for_table(rows, _("No use matches."), form):
        screen = console()
        show_table(newest(rows, screen, limit), _use_columns(work), screen)
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


def _use_columns(work: Workplace) -> list[Column[Access]]:
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

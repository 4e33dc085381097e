"""Events for other programs: `events` lists what waits, what failed and what arrived; `events retry`."""

from gettext import gettext as _
from gettext import ngettext

import click

from retention.outbox import Delivery, OutboxEvent, events, ids_beginning, put_back
from sipagent.cli.options import limit_option
from sipagent.cli.program import (
    Form,
    Program,
    Workplace,
    attempt,
    form_option,
    one_of,
    words_by_option,
)
from sipagent.cli.terminal import WIDE, WIDER, Column, coded, console, full, is_for_table, newest, show_table
from sipagent.operations import traced


@click.group("events", cls=Program, invoke_without_command=True, subcommand_metavar="[retry ID]")
@click.option("--failed", is_flag=True, help="Only those that were given up.")
@limit_option
@form_option
@click.pass_context
def events_group(ctx: click.Context, failed: bool, limit: int | None, form: Form | None) -> None:
    """List events for other programs (events.webhook): those that wait, failed or arrived within a week, the
    newest first.

    An event is tried for three days, the events of a call in their order. One that failed stays in the list
    until it is put back, or its call's receipt loses its names.

    \b
    Examples:
      sipagent events
      sipagent events --failed --json
      sipagent events retry evt_5f2c
    """
    if ctx.invoked_subcommand is not None:
        return
    work: Workplace = ctx.obj
    store = work.archive().store
    rows, screen = events(store, failed=failed, limit=limit), console()
    if not is_for_table(rows, _("No events."), form):
        return
    columns: list[Column[OutboxEvent]] = [
        Column("id", lambda one: one.id),
        Column("when", lambda one: full(work.local(one.at))),
        Column("event", lambda one: one.type.value),
        Column("call", lambda one: one.call, room=WIDER),
        Column("state", lambda one: coded("delivery", one.state.value)),
        Column("tried", lambda one: str(one.attempts), right=True, room=WIDE),
        Column("next", lambda one: full(work.local(one.next_at)) if one.next_at else None, room=WIDER),
        Column("why", lambda one: one.why, shrinks=True),
    ]
    show_table(newest(rows, screen, limit), columns, screen)
    lost = sum(one.state is Delivery.FAILED for one in rows)
    if lost:
        said = ngettext(
            "{n} has failed: see that its receiver answers, then `sipagent events retry ID`.",
            "{n} have failed: see that their receiver answers, then `sipagent events retry ID`.",
            lost,
        )
        screen.print(f"\n{said.format(n=lost)}", style="bold red")


@events_group.command("retry")
@click.argument("id")
@words_by_option
@click.pass_obj
def retry_command(work: Workplace, /, id: str, by: str | None) -> None:
    """Have an event that failed tried again, for three more days. A beginning of its id is enough, where no
    other has it.

    \b
    Example:
      sipagent events retry evt_5f2c --by "M. Durand"
    """
    archive = work.archive()
    event = one_of(id, ids_beginning(archive.store, id))
    trace = attempt("retry", by=by)
    with traced(archive, trace, lambda told: told):
        put_back(archive.store, event, trace)
    click.echo(_("{id}: waits again").format(id=event))

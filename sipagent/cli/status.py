"""How a running agent is, `status`, the hosts that share a database, `hosts`, and what other
programs are told, `events`.

`status` asks what Prometheus asks; so it disturbs nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from gettext import gettext as _
from gettext import ngettext
from http.client import HTTPException
from typing import Any

import click

from retention.outbox import Delivery, OutboxEvent, events, ids_beginning, put_back
from retention.records import HostState, Record
from sipagent.agent.stored import shared_of
from sipagent.cli.options import limit_option
from sipagent.cli.program import (
    Failure,
    Form,
    Program,
    Workplace,
    attempt,
    form_option,
    json_option,
    now,
    one_of,
    print_json,
    words_by_option,
)
from sipagent.cli.terminal import (
    WIDE,
    WIDER,
    Column,
    coded,
    console,
    distance,
    full,
    is_for_table,
    newest,
    show_fields,
    show_table,
    size,
)
from sipagent.config.load import HostPort
from sipagent.languages.spoken import fault
from sipagent.operations import traced
from sipagent.service.control import reachable, scraped

PATIENCE_S = 5.0

Figures = Mapping[str, float]
"""By name; of those with labels the sum."""


@click.command("status")
@json_option
@click.pass_obj
def status_command(work: Workplace, as_json: bool) -> int:
    """Ask the running agent how it is, by its figures (metrics.listen).

    Exit 1 where it does not answer, or the trunk's registrar does not know it: then no call can come.

    \b
    Examples:
      sipagent status
      sipagent status --json
    """
    listen = work.config.metrics.listen
    if listen is None:
        raise Failure(_('metrics.listen is absent, so nobody can be asked; accepted: "127.0.0.1:9464"'))
    status = _status(*_asked(listen))
    if as_json:
        print_json(status.to_json())
    else:
        show_fields(_fields(status, work), console())
    return int(status.registered is False)


@dataclass(frozen=True, kw_only=True)
class DifferentNow(Record):
    """What callers of this agent find now: it is closed, or they hear a message before the notice."""

    message: str | None
    until_at: datetime


def _asked(listen: HostPort) -> tuple[Figures, DifferentNow | None]:
    """Raises Failure where nobody answers, or somebody else."""
    from prometheus_client.parser import text_string_to_metric_families  # slow to import

    host, port = reachable(listen)
    try:
        families = list(text_string_to_metric_families(scraped(listen, PATIENCE_S).decode()))
    except (OSError, HTTPException, ValueError) as error:
        why = fault(error) if isinstance(error, OSError) else str(error)
        raise Failure(
            _("{host}:{port}: the agent does not answer ({why})").format(host=host, port=port, why=why)
        ) from error
    figures: dict[str, float] = {}
    different = None
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == "sipagent_today_until_timestamp_seconds":
            until = datetime.fromtimestamp(sample.value, UTC)
            different = DifferentNow(message=sample.labels["message"] or None, until_at=until)
        figures[sample.name] = figures.get(sample.name, 0.0) + sample.value
    if "sipagent_calls_in_progress" not in figures:
        raise Failure(_("{host}:{port}: who answers is not the agent").format(host=host, port=port))
    return figures, different


@dataclass(frozen=True, kw_only=True)
class AgentStatus(Record):
    """How an agent is; null for what it does not have, such as a store of objects."""

    registered: bool | None
    today: DifferentNow | None
    board_shared: bool | None
    calls: int
    calls_limit: int
    refused_late: int | None
    processes_late: int | None
    last_purge: datetime | None
    receipts_waiting: int
    recordings: int | None
    held: int | None
    overdue: int | None
    unerased: int | None
    obstacles: int | None
    purge_suspended: int | None
    free_bytes: int | None
    shared_database_up: int | None
    journal_rows: int | None
    journal_lag_s: int | None
    object_store_up: int | None
    uploads_waiting_bytes: int | None
    uploads_behind_s: int | None
    removals_pending: int | None
    events_waiting: int | None
    events_behind_s: int | None
    events_given_up: int | None


_FIGURES = {  # what each is called for Prometheus, where that is another name
    "calls": "calls_in_progress",
    "refused_late": "calls_refused_late_total",
    "recordings": "recordings_kept",
    "held": "recordings_held",
    "overdue": "recordings_overdue",
    "unerased": "erasures_pending",
    "obstacles": "recording_obstacles",
    "free_bytes": "disk_free_bytes",
    "journal_rows": "journal_rows_waiting",
    "journal_lag_s": "journal_lag_seconds",
    "uploads_behind_s": "uploads_behind_seconds",
    "events_behind_s": "events_behind_seconds",
}


def _status(figures: Figures, different: DifferentNow | None) -> AgentStatus:
    told: dict[str, Any] = {}
    for one in fields(AgentStatus):
        value = figures.get(f"sipagent_{_FIGURES.get(one.name, one.name)}")
        told[one.name] = None if value is None else int(value)
    purged = figures["sipagent_purge_last_success_timestamp_seconds"]
    told["last_purge"] = datetime.fromtimestamp(purged, UTC) if purged else None
    for name in ("registered", "board_shared"):
        told[name] = None if told[name] is None else bool(told[name])
    return AgentStatus(**told | {"today": different})


def _fields(status: AgentStatus, work: Workplace) -> Iterator[tuple[str, str | None]]:
    yes, no = _("yes"), _("no")
    boards = {True: _("shared by all hosts"), False: _("away; this host goes by busy phones")}
    yield _("calls"), _("{calls} of {limit}").format(calls=status.calls, limit=status.calls_limit)
    yield _("refused, the machine being late"), _count(status.refused_late)
    yield _("processes that are late"), _count(status.processes_late)
    yield _("registered"), {None: _("not configured"), True: yes, False: no}[status.registered]
    if different := status.today:
        until = full(work.local(different.until_at))
        said = _("message {name} until {time}") if different.message else _("closed until {time}")
        yield _("today"), said.format(name=different.message, time=until)
    if status.board_shared is not None:
        yield _("operators' board"), boards[status.board_shared]
    yield _("recordings"), _count(status.recordings)
    yield _("on hold"), _count(status.held)
    yield _("overdue"), _count(status.overdue)
    yield _("to be erased"), _count(status.unerased)
    yield _("obstacles"), _count(status.obstacles)
    yield _("last purge"), distance(status.last_purge, now()) if status.last_purge else None
    waits = status.purge_suspended
    yield _("purge waits"), None if waits is None else yes if waits else no
    yield _("receipts waiting"), _count(status.receipts_waiting)
    yield _("free disk"), size(status.free_bytes)
    answers = {1: _("answers"), 0: _("does not answer")}
    if status.shared_database_up is not None:
        said = _("{rows}, the first for {seconds} s")
        yield _("shared database"), answers[status.shared_database_up]
        waiting = said.format(rows=status.journal_rows, seconds=status.journal_lag_s)
        yield _("rows in the journal"), waiting
    if status.object_store_up is not None:
        said, waiting = _("{size}, the first for {seconds} s"), size(status.uploads_waiting_bytes)
        yield _("object store"), answers[status.object_store_up]
        yield _("to go up"), said.format(size=waiting, seconds=status.uploads_behind_s)
        yield _("to be removed there"), _count(status.removals_pending)
    if status.events_waiting is not None:
        said = _("{n}, the first for {seconds} s")
        yield _("events waiting"), said.format(n=status.events_waiting, seconds=status.events_behind_s)
        yield _("events given up"), _count(status.events_given_up)


def _count(count: int | None) -> str | None:
    return None if count is None else str(count)


@dataclass(frozen=True, kw_only=True)
class SharingHost(Record):
    """One of the hosts that share the database. `lag_s`: for how long its oldest row waits."""

    host: str
    state: HostState
    version: str
    calls: int
    draining: bool
    lag_rows: int
    lag_s: float
    seen_at: datetime
    lease_until: datetime | None


@click.command("hosts")
@form_option
@click.pass_obj
def hosts_command(work: Workplace, form: Form | None) -> int:
    """List the hosts that share the database: version, calls, what waits in the journal, and the last word.

    Exit 1 where one is lost: its lease has ended, and others complete its calls.

    \b
    Examples:
      sipagent hosts
      sipagent hosts --json
    """
    if work.config.shared is None:
        problem = _("retention.database is a file of this machine: no other host shares it")
        raise Failure(problem)
    with shared_of(work.config) as store:
        now = store.now()
        hosts = [
            SharingHost.of(one, state=one.state(now), lag_s=round(one.lag_s(now), 1)) for one in store.hosts()
        ]
    lost = sum(host.state is HostState.LOST for host in hosts)
    if is_for_table(hosts, _("No host has been here yet."), form):
        screen = console()
        show_table(hosts, _columns(now), screen)
        if lost:
            said = ngettext(
                "{n} host is lost: others complete its calls, and close or erase its recordings.",
                "{n} hosts are lost: others complete their calls, and close or erase their recordings.",
                lost,
            )
            screen.print("\n" + said.format(n=lost), style="bold red")
    return int(lost > 0)


def _columns(now: datetime) -> list[Column[SharingHost]]:
    return [
        Column(_("Host"), lambda host: host.host),
        Column(_("State"), lambda host: coded("host", host.state)),
        Column(_("Version"), lambda host: host.version),
        Column(_("Calls"), lambda host: str(host.calls), right=True),
        Column(_("Rows that wait"), lambda host: str(host.lag_rows), right=True),
        Column(_("Behind"), lambda host: f"{host.lag_s:.0f} s", right=True),
        Column(_("Last word"), lambda host: _ago(host.seen_at, now)),
    ]


def _ago(at: datetime, now: datetime) -> str:
    seconds = max(0, int((now - at).total_seconds()))
    return distance(at, now) if seconds >= 60 else _("{n} s ago").format(n=seconds)


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

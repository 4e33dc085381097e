"""How a running agent is, `status`, and the hosts that share a database, `hosts`.

`status` asks what Prometheus asks; so it disturbs nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from gettext import gettext as _
from gettext import ngettext
from http.client import HTTPException

import click

from retention.records import Host, HostState, Json, to_text
from sipagent.agent.stored import shared_of
from sipagent.cli.program import Failure, Workplace, json_option, now, print_json
from sipagent.cli.terminal import Column, coded, console, distance, show_fields, show_table, size
from sipagent.config.load import HostPort
from sipagent.languages.spoken import fault
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
    figures = _asked(listen)
    if as_json:
        print_json(_status_json(figures))
    else:
        show_fields(_fields(figures), console())
    return int(figures.get("sipagent_registered") == 0)


def _asked(listen: HostPort) -> Figures:
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
    for sample in (sample for family in families for sample in family.samples):
        figures[sample.name] = figures.get(sample.name, 0.0) + sample.value
    if "sipagent_calls_in_progress" not in figures:
        raise Failure(_("{host}:{port}: who answers is not the agent").format(host=host, port=port))
    return figures


def _status_json(figures: Figures) -> Json:
    purged = figures["sipagent_purge_last_success_timestamp_seconds"]
    registered, shared = figures.get("sipagent_registered"), figures.get("sipagent_board_shared")
    return {
        "registered": None if registered is None else bool(registered),
        "board_shared": None if shared is None else bool(shared),
        "calls": int(figures["sipagent_calls_in_progress"]),
        "calls_limit": int(figures["sipagent_calls_limit"]),
        "last_purge": to_text(datetime.fromtimestamp(purged, UTC)) if purged else None,
        "receipts_waiting": int(figures["sipagent_receipts_waiting"]),
        **{
            name: int(figures[f"sipagent_{figure}"]) if f"sipagent_{figure}" in figures else None
            for name, figure in (
                ("recordings", "recordings_kept"),
                ("held", "recordings_held"),
                ("overdue", "recordings_overdue"),
                ("unerased", "erasures_pending"),
                ("obstacles", "recording_obstacles"),
                ("purge_suspended", "purge_suspended"),
                ("free_bytes", "disk_free_bytes"),
                ("shared_database_up", "shared_database_up"),
                ("journal_rows", "journal_rows_waiting"),
                ("journal_lag_s", "journal_lag_seconds"),
                ("object_store_up", "object_store_up"),
                ("uploads_waiting_bytes", "uploads_waiting_bytes"),
                ("uploads_behind_s", "uploads_behind_seconds"),
                ("removals_pending", "removals_pending"),
            )
        },
    }


def _fields(figures: Figures) -> list[tuple[str, str | None]]:
    said = _status_json(figures)
    yes, no = _("yes"), _("no")

    def count(name: str) -> str | None:
        return None if said[name] is None else str(said[name])

    registered = _("not configured") if said["registered"] is None else yes if said["registered"] else no
    boards = {True: _("shared by all hosts"), False: _("away; this host goes by busy phones")}
    shared = boards.get(said["board_shared"])
    purged = figures["sipagent_purge_last_success_timestamp_seconds"]
    return [
        (_("calls"), _("{calls} of {limit}").format(calls=said["calls"], limit=said["calls_limit"])),
        (_("registered"), registered),
        *([(_("operators' board"), shared)] if shared else []),
        (_("recordings"), count("recordings")),
        (_("on hold"), count("held")),
        (_("overdue"), count("overdue")),
        (_("to be erased"), count("unerased")),
        (_("obstacles"), count("obstacles")),
        (_("last purge"), distance(datetime.fromtimestamp(purged, UTC), now()) if purged else None),
        (
            _("purge waits"),
            None if said["purge_suspended"] is None else yes if said["purge_suspended"] else no,
        ),
        (_("receipts waiting"), count("receipts_waiting")),
        (_("free disk"), size(said["free_bytes"])),
        *_shared(said),
        *_stored(said),
    ]


def _shared(said: Json) -> list[tuple[str, str | None]]:
    """Only where hosts share a database."""
    if said["shared_database_up"] is None:
        return []
    waits = _("{rows}, the first for {seconds} s")
    return [
        (_("shared database"), _("answers") if said["shared_database_up"] else _("does not answer")),
        (_("rows in the journal"), waits.format(rows=said["journal_rows"], seconds=said["journal_lag_s"])),
    ]


def _stored(said: Json) -> list[tuple[str, str | None]]:
    """Only where recordings are objects."""
    if said["object_store_up"] is None:
        return []
    waits = _("{size}, the first for {seconds} s")
    waiting = size(said["uploads_waiting_bytes"])
    return [
        (_("object store"), _("answers") if said["object_store_up"] else _("does not answer")),
        (_("to go up"), waits.format(size=waiting, seconds=said["uploads_behind_s"])),
        (_("to be removed there"), str(said["removals_pending"])),
    ]


@click.command("hosts")
@json_option
@click.pass_obj
def hosts_command(work: Workplace, as_json: bool) -> int:
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
        hosts, now = store.hosts(), store.now()
    lost = [host for host in hosts if host.state(now) is HostState.LOST]
    if as_json:
        print_json([_host_json(host, now) for host in hosts])
        return int(bool(lost))
    screen = console()
    if not hosts:
        screen.print(_("No host has been here yet."))
        return 0
    show_table(hosts, _host_columns(now), screen)
    if lost:
        said = ngettext(
            "{n} host is lost: others complete its calls, and close or erase its recordings.",
            "{n} hosts are lost: others complete their calls, and close or erase their recordings.",
            len(lost),
        )
        screen.print("\n" + said.format(n=len(lost)), style="bold red")
    return int(bool(lost))


def _host_columns(now: datetime) -> list[Column[Host]]:
    return [
        Column(_("Host"), lambda host: host.host),
        Column(_("State"), lambda host: coded("host", host.state(now))),
        Column(_("Version"), lambda host: host.version),
        Column(_("Calls"), lambda host: str(host.calls), right=True),
        Column(_("Rows that wait"), lambda host: str(host.lag_rows), right=True),
        Column(_("Behind"), lambda host: f"{host.lag_s(now):.0f} s", right=True),
        Column(_("Last word"), lambda host: _ago(host.seen_at, now)),
    ]


def _ago(at: datetime, now: datetime) -> str:
    seconds = max(0, int((now - at).total_seconds()))
    return distance(at, now) if seconds >= 60 else _("{n} s ago").format(n=seconds)


def _host_json(host: Host, now: datetime) -> Json:
    return {
        "host": host.host,
        "state": host.state(now).value,
        "version": host.version,
        "calls": host.calls,
        "draining": host.draining,
        "lag_rows": host.lag_rows,
        "lag_s": round(host.lag_s(now), 1),
        "seen_at": to_text(host.seen_at),
        "lease_until": None if host.lease_until is None else to_text(host.lease_until),
    }

"""The hosts that share a database: `hosts`."""

from datetime import datetime
from gettext import gettext as _
from gettext import ngettext

import click

from retention.host import Host, HostState
from retention.recording import Json, to_text
from sipagent.agent.recorder.stored import shared_of
from sipagent.cli.base import Failure, Workplace, json_option, print_json
from sipagent.cli.tables import Column, coded, console, show_table
from sipagent.cli.times import distance


@click.command("hosts", short_help="The hosts that share the database.")
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
        print_json([_json(host, now) for host in hosts])
        return int(bool(lost))
    screen = console()
    if not hosts:
        screen.print(_("No host has been here yet."))
        return 0
    show_table(hosts, _columns(now), screen)
    if lost:
        said = ngettext(
            "{n} host is lost: others complete its calls, and close or erase its recordings.",
            "{n} hosts are lost: others complete their calls, and close or erase their recordings.",
            len(lost),
        )
        screen.print("\n" + said.format(n=len(lost)), style="bold red")
    return int(bool(lost))


def _columns(now: datetime) -> list[Column[Host]]:
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


def _json(host: Host, now: datetime) -> Json:
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

"""How a running agent is: `status`. It asks what Prometheus asks; so it disturbs nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from gettext import gettext as _
from http.client import HTTPException

import click

from retention.recording import Json, to_text
from sipagent.cli.base import Failure, Workplace, json_option, now, print_json
from sipagent.cli.tables import console, show_fields
from sipagent.cli.times import distance, size
from sipagent.config.load import HostPort
from sipagent.languages.system import fault
from sipagent.service.scraped import reachable, scraped

PATIENCE_S = 5.0

Figures = Mapping[str, float]
"""By name; of those with labels the sum."""


@click.command("status", short_help="How the running agent is.")
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
        print_json(_json(figures))
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


def _json(figures: Figures) -> Json:
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
    said = _json(figures)
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

"""One recording removed before its time: `delete`."""

import click

from retention.purge import remove
from retention.recording import Access, Status
from retention.use import already_purged, without_number
from sipagent.cli_base import Failure, Workplace, find, id_argument, now, system_user


@click.command("delete", short_help="Remove one recording before it expires.")
@id_argument
@click.option("--reason", required=True, metavar="R", help="Why, e.g. the reference of the person's request.")
@click.option("--by", required=True, metavar="WHO", help="Your name.")
@click.pass_obj
def delete_command(work: Workplace, id: str, reason: str, by: str) -> None:
    """Remove one recording before it expires; its receipt keeps no personal field either.

    \b
    Example:
      sipagent delete 20261124T222000123-4f2a9c --reason "request 2026-118" --by "M. Durand"
    """
    if not reason.strip() or not by.strip():
        raise click.UsageError("--reason and --by say something", click.get_current_context())
    archive = work.archive(make=True)
    recording = find(archive, id)
    if recording.purged_at is not None:
        raise Failure(f"{id}: {already_purged(recording)}")
    if recording.status is Status.OPEN:
        raise Failure(f"{id}: the call is still in progress")
    trace = Access(
        at=now(),
        action="delete",
        by=without_number(by, recording),
        system_user=system_user(),
        detail=without_number(reason, recording),
    )
    if not remove(archive, id, now(), trace, receipt_too=True):
        raise Failure(f"{id}: it is on hold")
    click.echo(f"{id}: deleted")

"""`keys rotate`: seals what is sealed again, to the recipients in the present configuration."""

from dataclasses import replace
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click

from retention.archive.rotation import Rotation, rotate
from retention.storage.keys import Identity, KeysError, PublicKey, read_public
from sipagent.cli.base import Failure, Workplace, attempt, by_option, json_option, now, print_json
from sipagent.cli.passphrase import identity_option, passphrase_option, unlock
from sipagent.cli.progress import steps_of
from sipagent.cli.tables import Column, console, show_table
from sipagent.languages.labels import N_
from sipagent.languages.reason import shown

_SHOWN = 20  # how many failures to show; more have one reason


@click.command("rotate", short_help="Seal all recordings to the recipients of now.")
@identity_option(required=True)
@passphrase_option
@by_option
@json_option
@click.pass_obj
@click.pass_context
def rotate_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    identity: Path,
    passphrase_file: Path | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Seal every recording to the recipients that the configuration names now, in place of those it was for.

    First add new listeners to recording.recipients, remove old ones, and restart the agent; then call this.
    It needs a private key that can open the recordings. A former recipient can no longer listen, except to
    copies of recording and key that were made before. If it is interrupted, call it again.

    \b
    Example:
      sipagent keys rotate --identity /media/usb/recordings.key --by "M. Durand"
    """
    recipients = _named(work)
    opener = unlock(identity, passphrase_file)
    done = _rotate(work, opener, recipients, by)
    if as_json:
        print_json(
            {
                "recipients": [key.id for key in recipients],
                "sealed": list(done.sealed),
                "already": done.already,
                "failed": [{"id": id, "problem": problem} for id, problem in done.failed],
            }
        )
    else:
        _show(done, _names(recipients))
    ctx.exit(1 if done.failed else 0)


def _named(work: Workplace) -> list[PublicKey]:
    """The recipients of the configuration. Raises Failure."""
    try:
        keys = [read_public(path) for path in work.config.recording.recipients]
    except KeysError as error:
        raise Failure(*error.args) from error
    if not keys:
        raise Failure(_("recording.recipients is empty: there is nobody to seal to"))
    return list(dict.fromkeys(keys))


def _rotate(work: Workplace, opener: Identity, recipients: list[PublicKey], by: str | None) -> Rotation:
    """Rotate, with a line in the trace before, and one for the result."""
    archive = work.archive(make=True)
    trace = attempt("rotate", by=by)
    begun = f"begun with {opener.public}, to be for {_names(recipients)}"
    archive.store.add_access(replace(trace, detail=begun))
    with steps_of(N_("sealing")) as step:
        done = rotate(archive, opener, recipients, step)
    counts = f"{len(done.sealed)} sealed anew, {done.already} were so already, {len(done.failed)} failed"
    outcome = "failed" if done.failed else "done"
    ended = f"{counts}; for {_names(recipients)}"
    archive.store.add_access(replace(trace, at=now(), outcome=outcome, detail=ended))
    return done


def _names(recipients: list[PublicKey]) -> str:
    return ", ".join(map(str, recipients))


def _show(done: Rotation, names: str) -> None:
    screen = console()
    n = len(done.sealed)
    said = ngettext("{n} recording sealed anew, for {names}.", "{n} recordings sealed anew, for {names}.", n)
    screen.print(said.format(n=n, names=names))
    if done.already:
        said = ngettext("{n} already so.", "{n} already so.", done.already)
        screen.print(said.format(n=done.already))
    if done.failed:
        title = _("Left as they were:")
        screen.print(f"\n{title}", style="bold red")
        columns: list[Column[tuple[str, str]]] = [
            Column("id", lambda failed: failed[0]),
            Column("problem", lambda failed: shown(failed[1]), wraps=True),
        ]
        show_table(done.failed[:_SHOWN], columns, screen)
        if len(done.failed) > _SHOWN:
            rest = len(done.failed) - _SHOWN
            said = ngettext("and {n} more; --json names all", "and {n} more; --json names all", rest)
            screen.print(said.format(n=rest))

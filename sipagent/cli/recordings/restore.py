"""Puts a backup back into an empty place: `restore`."""

from functools import partial
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.archive.kept_files import Problem
from retention.archive.verify import verify
from retention.backup.manifest import CONFIG, CONFIGURATION, Manifest
from retention.backup.restoring import (
    Settled,
    Source,
    Target,
    checked,
    doubt,
    put_back,
    refuse_what_is_there,
    settle,
)
from retention.recording import Json, to_text
from retention.rules.clock import read_clock
from retention.stamps.stamp import proven
from retention.storage.files import alone, make_folder, share_owner, write_whole
from retention.storage.marks import Marks
from sipagent.agent.recorder.stored import archive_of, files_in, is_here, spool_of, store_of
from sipagent.cli.base import Failure, Workplace, attempt, json_option, now, print_json, words_by_option
from sipagent.cli.progress import steps
from sipagent.cli.times import full
from sipagent.languages.labels import N_
from sipagent.languages.reason import shown

if TYPE_CHECKING:
    from sipagent.config.load import Config

_READABLE = 0o640  # a file of the configuration: by the group of its folder, which is the service's


@click.command("restore", short_help="Put a backup back, into an empty place.")
@click.argument("backup", type=click.Path(path_type=Path, file_okay=False), metavar="BACKUP")
@click.option("--clock-ok", is_flag=True, help="With --by: the clock is right, whatever confirms it.")
@words_by_option
@json_option
@click.pass_obj
@click.pass_context
def restore_command(
    ctx: click.Context, work: Workplace, /, *, backup: Path, clock_ok: bool, by: str | None, as_json: bool
) -> None:
    """Put a backup back into an empty place, where no agent runs, and verify it.

    Where there is no configuration, that of the backup is written to --config; else it stays as it is. Every
    file is compared with the manifest before anything is written. What has expired since, or was refused,
    does not come back. What was deleted for a person after the backup does, and must be deleted again: the
    certificates tell. Can be repeated after a crash.

    \b
    Exit codes:
      0  all is back
      1  refused, or something is not as it was: it says what
      2  an option cannot be read

    \b
    Examples:
      sipagent restore /mnt/backups/sipagent-20261127T030000Z
      sipagent restore --config /etc/sipagent/config.toml BACKUP
    """
    if clock_ok and by is None:
        raise click.UsageError(_("--clock-ok: --by is needed"), ctx)
    with steps() as step:
        manifest = checked(backup, partial(step, N_("reading")))
        clock = read_clock()
        if not clock_ok and (why := doubt(manifest, clock)) is not None:
            raise Failure(_("{why}; accepted, once it is right: --clock-ok --by WHO").format(why=shown(why)))
        config, new = _configuration(work, backup)
        if not is_here(config):
            said = _(
                "hosts share the database; accepted: a configuration with one of its own, then `migrate`"
            )
            raise Failure(said)
        places, target = config.places, _target(config)
        make_folder(places.folder)
        try:
            with alone(places.lock):
                refuse_what_is_there(target, backup)
                _write(config.file, new)
                source = Source(backup=backup, manifest=manifest, files=files_in(backup))
                count = put_back(source, target, now(), partial(step, N_("writing")))
                archive = archive_of(config, store_of(config))
                told = f"a backup of {to_text(manifest.made_at)}"
                trace = attempt("restore", by=by, detail=told)
                stamped = proven(archive.store, config.retention.timestamp_ca)
                done = settle(archive, manifest, work.terms, clock, trace, stamped=stamped, clock_ok=clock_ok)
                problems = verify(archive, step).problems
        except BlockingIOError as running:
            raise Failure(_("{path}: an agent is running").format(path=places.lock)) from running
    if as_json:
        print_json(_told(manifest, count, done, problems))
    else:
        _show(work, manifest, count, done, problems)
    ctx.exit(1 if problems or done.failed or done.suspended else 0)


def _target(config: "Config") -> Target:
    return Target(
        places=config.places,
        files=spool_of(config),
        marks=Marks(config.recording.directory),
        period=config.retention.period,
    )


def _configuration(work: Workplace, backup: Path) -> "tuple[Config, dict[Path, Path]]":
    """The configuration, and the files to write where it is the backup's: here, and there.

    Raises ConfigError; Failure for a file that is there already, or a backup without a configuration.
    """
    from sipagent.config.load import parse, read

    if work.named is None or work.named.exists():
        return work.config, {}
    named, theirs = work.named, backup / CONFIGURATION
    new = {}
    for path in sorted(theirs.rglob("*")):
        name = path.relative_to(theirs)
        if path.is_file():
            new[named if name == Path(CONFIG) else named.parent / name] = path
    for here in new:
        if here.exists():
            raise Failure(_("{path}: is there already; accepted: an empty place").format(path=here))
    return parse(read(theirs / CONFIG), named), new


def _write(file: Path, new: dict[Path, Path]) -> None:
    """The configuration last, so that a crash leaves none."""
    for here, there in sorted(new.items(), key=lambda pair: pair[0] == file):
        _make(here.parent)
        write_whole(here, there.read_bytes())
        here.chmod(_READABLE)


def _make(folder: Path) -> None:
    """A folder, and those above it, for whoever may read what is above."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o750)
        share_owner(folder)


def _told(manifest: Manifest, count: int, done: Settled, problems: list[Problem]) -> Json:
    purged = done.purged
    return {
        "made_at": to_text(manifest.made_at),
        "recordings": count,
        "erased": done.erased,
        "unfinished": done.unfinished,
        "purged": [gone.id for gone in purged.removed] if purged else [],
        "failed": [{"id": id, "problem": problem} for id, problem in done.failed],
        "suspended": done.suspended,
        "problems": [{"where": one.where, "problem": one.problem} for one in problems],
    }


def _show(work: Workplace, manifest: Manifest, count: int, done: Settled, problems: list[Problem]) -> None:
    made = full(work.local(manifest.made_at))
    click.echo(
        ngettext("{n} recording is back, as of {at}", "{n} recordings are back, as of {at}", count).format(
            n=count, at=made
        )
    )
    for ids, said in (
        ([gone.id for gone in done.purged.removed] if done.purged else [], _("{id}: had expired")),
        (done.erased, _("{id}: was refused, or erased by an operator")),
        (done.unfinished, _("{id}: its call was on when the backup was made; its sound is not in it")),
    ):
        for id in ids:
            click.echo(said.format(id=id))
    for where, problem in (*done.failed, *((one.where, one.problem) for one in problems)):
        click.echo(_("{where}: {problem}").format(where=shown(where), problem=shown(problem)), err=True)
    if done.suspended:
        said = _("purging is suspended: {why}; accepted, once the clock is right: purge --clock-ok --by WHO")
        click.echo(said.format(why=shown(done.suspended)), err=True)
    if not problems:
        click.echo(_("All of it is as it was written."))
    click.echo(_("What was deleted for a person after {at} is back: delete it again.").format(at=made))

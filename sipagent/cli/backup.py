"""Copies of all that is kept, and what comes back after a loss: `backup`, `restore`, `rebuild`.

`backup` copies while calls go on. `restore` puts a backup back into an empty place. `rebuild` makes a
lost database again, from what lies beside the recordings.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention import backup as copies
from retention.clock import read_clock
from retention.files import alone, make_folder, share_owner, write_whole
from retention.marks import Marks
from retention.rebuild import Rebuilt, Unrebuilt, rebuild
from retention.records import Json, Record, to_text
from retention.stamps import proven
from retention.texts import Reason
from retention.verify import Mismatch, verify
from sipagent import __version__
from sipagent.agent.stored import archive_of, copied_to_of, files_in, is_here, is_there, spool_of, store_of
from sipagent.cli import program
from sipagent.cli.options import identity_option, passphrase_option, unlock
from sipagent.cli.terminal import Column, console, full, show_titled, size, steps, steps_of
from sipagent.config.errors import counted
from sipagent.languages.labels import N_, happening
from sipagent.languages.spoken import shown
from sipagent.operations.purge import NotRemoved

if TYPE_CHECKING:
    from sipagent.config.load import Config


@click.command("backup")
@click.argument("directory", type=program.FOLDER, metavar="DIR")
@click.option(
    "--keep",
    type=click.IntRange(min=1, max=3650),
    metavar="DAYS",
    help="How long it will be kept: what expires before that is left out.",
)
@click.option("--secrets", is_flag=True, help="With passwords and the private key for TLS.")
@program.json_option
@click.pass_obj
def backup_command(
    work: program.Workplace, /, *, directory: Path, keep: int | None, secrets: bool, as_json: bool
) -> None:
    """Copy all that is kept into a new folder in DIR, private, and named by the time.

    The agent may run: calls go on, and what is refused or erased meanwhile is not in it. It has the database,
    closed recordings with metadata and sealed keys, marks, reserves, stamps, the chain's head, the seed, and
    the configuration with prompts and public keys. No private key of who listens, and passwords only with
    --secrets. It says until when it may be kept: a recording in it then expires.

    \b
    Examples:
      sipagent backup /var/backups/sipagent
      sipagent backup --keep 7 --json /mnt/backups
    """
    config = work.config
    if not is_there(config):
        raise program.Failure(_("{path}: there is no database yet").format(path=config.database))
    archive, at = work.archive(), program.now()
    taken, missing = _configured(config, secrets=secrets)
    wish = copies.BackupRequest(
        folder=directory,
        now=at,
        program=__version__,
        terms=work.terms,
        keep=None if keep is None else timedelta(days=keep),
        configuration=taken,
    )
    archive.store.add_access(program.attempt("backup", at=at, detail=str(directory.absolute())))
    with steps() as step:
        path, manifest = copies.back_up(archive, wish, files_in, step, copied_to_of(archive.store))
    old = copies.past(directory, at)
    if as_json:
        program.print_json(
            _backup_json(path, manifest)
            | {"not_in_it": [str(one) for one in missing], "past": [str(one) for one, _until in old]}
        )
    else:
        _show_backup(work, path, manifest, missing)
        for one, until in old:
            said = _("{path}: may be kept no longer, since {until}: remove it")
            click.echo(said.format(path=one, until=full(work.local(until))))


def _backup_json(path: Path, manifest: copies.Manifest) -> Json:
    return {
        "backup": str(path),
        "made_at": to_text(manifest.made_at),
        "keep_until": manifest.keep_until and to_text(manifest.keep_until),
        "recordings": len(manifest.recordings),
        "left_out": [*manifest.left_out],
        "bytes": sum(one.bytes for one in manifest.files),
        "head": manifest.head,
    }


def _show_backup(work: program.Workplace, path: Path, manifest: copies.Manifest, missing: list[Path]) -> None:
    count, total = len(manifest.recordings), size(sum(one.bytes for one in manifest.files))
    said = ngettext("{path}: {n} recording, {size}", "{path}: {n} recordings, {size}", count)
    click.echo(said.format(path=path, n=count, size=total))
    if manifest.left_out:
        count = len(manifest.left_out)
        said = ngettext(
            "{n} recording is not in it: it expires before the backup goes",
            "{n} recordings are not in it: they expire before the backup goes",
            count,
        )
        click.echo(said.format(n=count))
    for one in missing:
        click.echo(_("{path} is not in it: keep a copy elsewhere").format(path=one))
    if manifest.keep_until is not None:
        until = full(work.local(manifest.keep_until))
        click.echo(_("Remove it by {until}: then the first recording in it expires").format(until=until))


def _configured(config: "Config", *, secrets: bool) -> tuple[dict[str, Path], list[Path]]:
    """The configuration's files by their names in a backup, and those that it names and are not taken.

    A file that lies elsewhere is not taken: nobody knows where it belongs on another machine.
    """
    edge, recording, kept, web = config.edge, config.recording, config.retention, config.web
    named = [*recording.recipients, edge.certificate, edge.ca, kept.timestamp_ca, web.certificate, web.logo]
    named += [config.trunk.identity_roots]
    hidden = [config.trunk.password_file, config.operators.password_file, edge.private_key]
    hidden += [web.private_key, web.oidc_client_secret_file, kept.database_password_file]
    hidden += [config.objects.credentials_file] if config.objects else []
    hidden += [config.events.secret_file] if config.events else []
    for prompts in config.prompt_sets():
        named += [path for sound in prompts.sounds for path in (sound, sound.with_suffix(".txt"))]
    named += [path for path in (config.base / "prompts").rglob("*") if path.is_file()]
    named += [path for path in config.refusal.heads.rglob("*") if path.is_file()]
    taken, missing = {copies.CONFIG: config.file}, []
    for path in dict.fromkeys(filter(None, [*named, *hidden])):
        if path.is_file():
            if path.is_relative_to(config.base) and (secrets or path not in hidden):
                taken[path.relative_to(config.base).as_posix()] = path
            else:
                missing.append(path)
    return taken, missing


@dataclass(frozen=True, kw_only=True)
class Restored(Record):
    """What is back, and what is not. `suspended`: why nothing was purged, null if it was."""

    made_at: datetime
    recordings: int
    erased: tuple[str, ...]
    unfinished: tuple[str, ...]
    purged: tuple[str, ...]
    failed: tuple[NotRemoved, ...]
    suspended: str | None
    problems: tuple[Mismatch, ...]


_READABLE = 0o640  # a file of the configuration: by the group of its folder, which is the service's


@click.command("restore")
@click.argument("backup", type=program.FOLDER, metavar="BACKUP")
@click.option("--clock-ok", is_flag=True, help="With --by: the clock is right, whatever confirms it.")
@program.words_by_option
@program.json_option
@click.pass_obj
def restore_command(
    work: program.Workplace, /, *, backup: Path, clock_ok: bool, by: str | None, as_json: bool
) -> int:
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
        raise click.UsageError(_("--clock-ok: --by is needed"))
    with steps() as step:
        manifest = copies.checked(backup, partial(step, N_("reading")))
        clock = read_clock()
        if not clock_ok and (why := copies.doubt(manifest, clock)) is not None:
            raise program.Failure(
                _("{why}; accepted, once it is right: --clock-ok --by WHO").format(why=shown(why))
            )
        config, new = _configuration(work, backup)
        if not is_here(config):
            said = _(
                "hosts share the database; accepted: a configuration with one of its own, then `migrate`"
            )
            raise program.Failure(said)
        places, target = config.places, _target(config)
        make_folder(places.folder)
        try:
            with alone(places.lock):
                copies.refuse_what_is_there(target, backup)
                _write(config.file, new)
                source = copies.CheckedBackup(backup=backup, manifest=manifest, files=files_in(backup))
                count = copies.put_back(source, target, program.now(), partial(step, N_("writing")))
                archive = archive_of(config, store_of(config))
                told = Reason("a backup of {0}", to_text(manifest.made_at))
                trace = program.attempt("restore", by=by, detail=told)
                stamped = proven(archive.store, config.retention.timestamp_ca)
                done = copies.settle(
                    archive, manifest, work.terms, clock, trace, stamped=stamped, clock_ok=clock_ok
                )
                problems = tuple(verify(archive, step).problems)
        except BlockingIOError as running:
            raise program.Failure(_("{path}: an agent is running").format(path=places.lock)) from running
    restored = Restored(
        made_at=manifest.made_at,
        recordings=count,
        erased=tuple(done.erased),
        unfinished=tuple(done.unfinished),
        purged=tuple(gone.id for gone in done.purged.removed) if done.purged else (),
        failed=tuple(NotRemoved(id=id, problem=problem) for id, problem in done.failed),
        suspended=done.suspended,
        problems=problems,
    )
    if as_json:
        program.print_json(restored.to_json())
    else:
        _show_restored(work, restored)
    return int(bool(problems or done.failed or done.suspended))


def _target(config: "Config") -> copies.RestoreTarget:
    return copies.RestoreTarget(
        places=config.places,
        files=spool_of(config),
        marks=Marks(config.recording.directory),
        period=config.retention.period,
    )


def _configuration(work: program.Workplace, backup: Path) -> "tuple[Config, dict[Path, Path]]":
    """The configuration, and the files to write where it is the backup's: here, and there.

    Raises ConfigError; Failure for a file that is there already, or a backup without a configuration.
    """
    from sipagent.config.load import parse, read

    if work.named is None or work.named.exists():
        return work.config, {}
    named, theirs = work.named, backup / copies.CONFIGURATION
    new = {}
    for path in sorted(theirs.rglob("*")):
        name = path.relative_to(theirs)
        if path.is_file():
            new[named if name == Path(copies.CONFIG) else named.parent / name] = path
    for here in new:
        if here.exists():
            raise program.Failure(_("{path}: is there already; accepted: an empty place").format(path=here))
    return parse(read(theirs / copies.CONFIG), named), new


def _write(file: Path, new: dict[Path, Path]) -> None:
    """The configuration last, so that a crash leaves none."""
    for here, there in sorted(new.items(), key=lambda pair: pair[0] == file):
        _make_folder(here.parent)
        write_whole(here, there.read_bytes())
        here.chmod(_READABLE)


def _make_folder(folder: Path) -> None:
    """A folder, and those above it, for whoever may read what is above."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o750)
        share_owner(folder)


def _show_restored(work: program.Workplace, done: Restored) -> None:
    made, n = full(work.local(done.made_at)), done.recordings
    said = ngettext("{n} recording is back, as of {at}", "{n} recordings are back, as of {at}", n)
    click.echo(said.format(n=n, at=made))
    for ids, said in (
        (done.purged, _("{id}: had expired")),
        (done.erased, _("{id}: was refused, or erased by an operator")),
        (done.unfinished, _("{id}: its call was on when the backup was made; its sound is not in it")),
    ):
        for id in ids:
            click.echo(said.format(id=id))
    wrong = [(one.id, one.problem) for one in done.failed]
    for where, problem in (*wrong, *((one.where, one.problem) for one in done.problems)):
        click.echo(_("{where}: {problem}").format(where=shown(where), problem=shown(problem)), err=True)
    if done.suspended:
        said = _("purging is suspended: {why}; accepted, once the clock is right: purge --clock-ok --by WHO")
        click.echo(said.format(why=happening(done.suspended)), err=True)
    if not done.problems:
        click.echo(_("All of it is as it was written."))
    click.echo(_("What was deleted for a person after {at} is back: delete it again.").format(at=made))


_PROBLEMS: list[Column[Unrebuilt]] = [
    Column("file", lambda found: found.name),
    Column("problem", lambda found: shown(found.problem), wraps=True),
]


@click.command("rebuild")
@identity_option()
@passphrase_option
@program.json_option
@click.pass_obj
def rebuild_command(
    work: program.Workplace, /, *, identity: Path | None, passphrase_file: Path | None, as_json: bool
) -> int:
    """Make a lost database again, from the files beside the recordings, holds included.

    Of a sealed recording it takes an --identity to know who called and who answered; without one the
    recording comes back all the same, and another run completes it. Receipts, uses, analyses and tombstones
    are in the database alone, and lost with it. Begins a new segment of the chain.

    A row of a recording that cannot be read is written again. A database that is damaged as a whole must be
    moved away first. A backup of it is better than none: put it in its place, and this restores what came
    later. What a mark says must be erased is erased, and does not come back. Purging waits afterwards until
    the clock is confirmed: see `purge`.

    \b
    Exit codes:
      0  all is back
      1  something could not be recovered, or not wholly: it says what
      2  an option cannot be read

    \b
    Examples:
      sipagent rebuild
      sipagent rebuild --identity recordings.key
    """
    opener = None if identity is None else unlock(identity, passphrase_file)
    archive = work.archive(make=True)
    with steps_of(N_("reading")) as step:
        done = rebuild(archive, opener, step)
    archive.store.add_access(program.attempt("rebuild", detail=", ".join(_rebuilt_counts(done))))
    if as_json:
        program.print_json(done.to_json())
    else:
        _show_rebuilt(done)
    return int(bool(done.problems or done.nameless))


def _rebuilt_counts(done: Rebuilt) -> list[str]:
    """For the trace, which is English."""
    return [
        f"{counted(len(done.restored), 'recording')} restored",
        *([Reason("{0} on hold", len(done.held))] if done.held else []),
        *([Reason("{0} completed", len(done.completed))] if done.completed else []),
        *([Reason("{0} repaired", len(done.repaired))] if done.repaired else []),
        *([Reason("{0} still sealed as to whom they are of", len(done.nameless))] if done.nameless else []),
        counted(len(done.problems), "problem"),
    ]


def _show_rebuilt(done: Rebuilt) -> None:
    screen = console()
    held = set(done.held)
    for id in done.restored:
        said = _("restored  {id}, on hold") if id in held else _("restored  {id}")
        screen.print(said.format(id=id))
    for id in done.completed:
        screen.print(_("completed {id}").format(id=id))
    for id in done.repaired:
        said = _("repaired  {id}: its row could not be read, and is now as its metadata says")
        screen.print(said.format(id=id))
    n, known = len(done.restored), done.known
    screen.print(
        ", ".join(
            (
                ngettext("{n} restored", "{n} restored", n).format(n=n),
                ngettext("{n} was known.", "{n} were known.", known).format(n=known),
            )
        )
    )
    if done.restored:
        screen.print(
            _("Receipts, uses, analyses and tombstones from before are lost: see `sipagent verify`.")
        )
    if n := len(done.nameless):
        said = ngettext(
            "Of {n} recording it is still sealed who called and who answered; accepted: --identity KEYFILE",
            "Of {n} recordings it is still sealed who called and who answered; accepted: --identity KEYFILE",
            n,
        )
        screen.print(f"\n{said.format(n=n)}")
    show_titled(_("Not recovered, or not wholly:"), done.problems, _PROBLEMS, screen)

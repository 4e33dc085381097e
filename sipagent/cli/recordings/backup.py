"""Copies all that is kept, while calls go on: `backup`."""

from datetime import timedelta
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retention.backup.making import Wish, back_up, past
from retention.backup.manifest import CONFIG, Manifest
from retention.recording import Json, to_text
from sipagent import __version__
from sipagent.agent.recorder.stored import copied_to_of, files_in, is_there
from sipagent.cli.base import Failure, Workplace, attempt, json_option, now, print_json
from sipagent.cli.progress import steps
from sipagent.cli.times import full, size
from sipagent.config.tables.spoken import PromptFiles

if TYPE_CHECKING:
    from sipagent.config.load import Config


@click.command("backup", short_help="Copy all that is kept; the agent may run.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option(
    "--keep",
    type=click.IntRange(min=1, max=3650),
    metavar="DAYS",
    help="How long it will be kept: what expires before that is left out.",
)
@click.option("--secrets", is_flag=True, help="With passwords and the private key for TLS.")
@json_option
@click.pass_obj
def backup_command(
    work: Workplace, /, *, directory: Path, keep: int | None, secrets: bool, as_json: bool
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
        raise Failure(_("{path}: there is no database yet").format(path=config.database))
    archive, at = work.archive(), now()
    taken, missing = _configured(config, secrets=secrets)
    wish = Wish(
        folder=directory,
        now=at,
        program=__version__,
        terms=work.terms,
        keep=None if keep is None else timedelta(days=keep),
        configuration=taken,
    )
    archive.store.add_access(attempt("backup", at=at, detail=str(directory.absolute())))
    with steps() as step:
        path, manifest = back_up(archive, wish, files_in, step, copied_to_of(archive.store))
    old = past(directory, at)
    if as_json:
        print_json(
            _told(path, manifest)
            | {"not_in_it": [str(one) for one in missing], "past": [str(one) for one, _until in old]}
        )
    else:
        _show_backup(work, path, manifest, missing)
        for one, until in old:
            said = _("{path}: may be kept no longer, since {until}: remove it")
            click.echo(said.format(path=one, until=full(work.local(until))))


def _told(path: Path, manifest: Manifest) -> Json:
    return {
        "backup": str(path),
        "made_at": to_text(manifest.made_at),
        "keep_until": manifest.keep_until and to_text(manifest.keep_until),
        "recordings": len(manifest.recordings),
        "left_out": [*manifest.left_out],
        "bytes": sum(one.bytes for one in manifest.files),
        "head": manifest.head,
    }


def _show_backup(work: Workplace, path: Path, manifest: Manifest, missing: list[Path]) -> None:
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
    named = [*recording.recipients, edge.certificate, edge.ca, kept.timestamp_ca, web.certificate]
    hidden = [config.trunk.password_file, config.operators.password_file, edge.private_key]
    hidden += [web.private_key, web.oidc_client_secret_file, kept.database_password_file]
    hidden += [config.objects.credentials_file] if config.objects else []
    for prompts in config.prompt_sets():
        sounds = [getattr(prompts, name) for name in (*PromptFiles.model_fields, "choose")]
        named += [path for sound in filter(None, sounds) for path in (sound, sound.with_suffix(".txt"))]
    named += [path for path in (config.base / "prompts").rglob("*") if path.is_file()]
    named += [path for path in config.refusal.heads.rglob("*") if path.is_file()]
    taken, missing = {CONFIG: config.file}, []
    for path in dict.fromkeys(filter(None, [*named, *hidden])):
        if path.is_file():
            if path.is_relative_to(config.base) and (secrets or path not in hidden):
                taken[path.relative_to(config.base).as_posix()] = path
            else:
                missing.append(path)
    return taken, missing

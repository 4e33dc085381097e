"""Listening to a recording or taking a copy: `export`, `play`. No use without its line in the trace."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from retention import files
from retention.archive import Archive
from retention.recording import Access, Recording
from retention.use import ACCESS_REQUEST, why_not, without_number
from sipagent import cli_sound
from sipagent.cli_base import Decorated, Failure, Workplace, by_option, find, id_argument, now, system_user
from sipagent.cli_sound import FORMATS, Sound


def use_options(command: Decorated) -> Decorated:
    """What a use must say of itself, and which side is heard."""
    options = (
        click.option("--purpose", metavar="P", help=f"One of retention.purposes, or {ACCESS_REQUEST}."),
        by_option,
        click.option("--reference", metavar="R", help="Of the request or the file that asks for it."),
        click.option(
            "--channel",
            type=click.Choice(list(cli_sound.CHANNELS)),
            default="both",
            show_default=True,
            help="Which side.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("export", short_help="Copy a recording into a WAV or FLAC file.")
@id_argument
@use_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=".wav or .flac.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def export_command(
    work: Workplace,
    /,
    id: str,
    *,
    purpose: str | None,
    by: str | None,
    reference: str | None,
    channel: str,
    out: Path,
    force: bool,
) -> None:
    """Copy a recording into a WAV or FLAC file, for a stated purpose.

    The use is kept in the trace, also when it is refused; so is where the copy went.

    \b
    Example:
      sipagent export 20261124T222000123-4f2a9c --purpose quality --by "M. Durand" --out call.wav
    """
    format = FORMATS.get(out.suffix.lower())
    if format is None:
        raise click.UsageError(f"--out: {out} is not named .wav or .flac", click.get_current_context())
    use = Access(at=now(), action="export", purpose=purpose, by=by, reference=reference)
    target = out.absolute()

    def obstacle() -> str | None:
        if target.parent.resolve() == work.config.recording.directory.resolve():
            return f"{out} is among the recordings; the copy goes elsewhere"
        if target.exists() and not force:
            return f"{out} exists; --force replaces it"
        return None if target.parent.is_dir() else f"{target.parent} is not a directory"

    def copy(file: Path, traced: Callable[[str], None]) -> None:
        temporary = target.with_name(f".{target.name}.{id}.tmp")
        try:
            cli_sound.write(Sound(file, channel), temporary, format)
            traced(f"{channel} to {target}")  # no copy without its line
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    _use(work, id, use, copy, obstacle)
    click.echo(f"{out}")


@click.command("play", short_help="Play a recording to the sound card.")
@id_argument
@use_options
@click.pass_obj
def play_command(
    work: Workplace,
    /,
    id: str,
    *,
    purpose: str | None,
    by: str | None,
    reference: str | None,
    channel: str,
) -> None:
    """Play a recording to the sound card, for a stated purpose.

    \b
    Example:
      sipagent play 20261124T222000123-4f2a9c --purpose quality --by "M. Durand"
    """
    use = Access(at=now(), action="play", purpose=purpose, by=by, reference=reference)

    def listen(file: Path, traced: Callable[[str], None]) -> None:
        sound = Sound(file, channel)
        traced(channel)
        cli_sound.play(sound)

    _use(work, id, use, listen)


def _use(
    work: Workplace,
    id: str,
    use: Access,
    act: Callable[[Path, Callable[[str], None]], None],
    obstacle: Callable[[], str | None] = lambda: None,
) -> None:
    """Check, verify, trace, act. Whatever is refused or fails leaves a line too. Raises Failure."""
    archive = work.archive(make=True)
    recording = find(archive, id)
    use = replace(use, recording_id=id, system_user=system_user())

    def trace(outcome: str, detail: str) -> None:
        archive.store.add_access(_discreet(replace(use, outcome=outcome, detail=detail), recording))

    refusal = (
        why_not(recording, use.purpose, use.by, use.reference, work.config.retention.purposes) or obstacle()
    )
    if refusal is not None:
        trace("refused", refusal)
        raise Failure(f"{id}: {refusal}")
    try:
        act(_verified(archive, recording), lambda detail: trace("done", detail))
    except (Failure, OSError) as error:
        trace("failed", str(error))
        raise


def _verified(archive: Archive, recording: Recording) -> Path:
    file = archive.file(recording.id)
    if file is None:
        raise Failure(f"{recording.id}: its file is missing")
    if files.sha256(file) != recording.sha256:
        raise Failure(f"{recording.id}: {file.name} is not the file that was recorded: its hash differs")
    return file


def _discreet(use: Access, recording: Recording) -> Access:
    return replace(
        use,
        reference=without_number(use.reference, recording),
        detail=without_number(use.detail, recording),
        by=without_number(use.by, recording),
    )

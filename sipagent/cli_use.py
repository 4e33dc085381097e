"""Listening to a recording or taking a copy: `export`, `play`. No use without its line in the trace."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from retention import files
from retention.archive import Archive
from retention.copies import told
from retention.keys import KeysError
from retention.purge import due
from retention.recording import Access, Recording
from retention.use import ACCESS_REQUEST, discreet, nothing_to_use, purposes_of, why_not
from sipagent import cli_sound
from sipagent.cli_base import Decorated, Failure, Workplace, by_option, find, id_argument, now, system_user
from sipagent.cli_copy import new_file
from sipagent.cli_passphrase import identity_option, passphrase_option, unlock
from sipagent.cli_sound import FORMATS, Sound

_BOTH_SIDES = (
    "the copy holds both sides, the operator's voice with them; whether the person gets both or the caller's "
    "alone is for the data protection officer to decide (GDPR article 15(3) and (4); --channel)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a use says of itself, and which side is heard."""

    purpose: str | None
    by: str | None
    reference: str | None
    channel: str
    identity: Path | None
    passphrase_file: Path | None


def use_options(command: Decorated) -> Decorated:
    """Those of `Asked`."""
    options = (
        click.option(
            "--purpose",
            metavar="P",
            help=f"One of retention.purposes, {ACCESS_REQUEST}, or the ground of its hold.",
        ),
        by_option,
        click.option("--reference", metavar="R", help="Of the request or the file that asks for it."),
        click.option(
            "--channel",
            type=click.Choice(list(cli_sound.CHANNELS)),
            default="both",
            show_default=True,
            help="Which side. Of an access request you decide: see `export --help`.",
        ),
        identity_option(),
        passphrase_option,
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
def export_command(work: Workplace, /, id: str, *, out: Path, force: bool, **asked: Any) -> None:
    """Copy a recording into a WAV or FLAC file, for a stated purpose.

    The use is kept in the trace, also when it is refused; so is where the copy went.

    Of an access request the data protection officer decides which side the person gets. What the operator
    says of the caller is the caller's data too, and a copy must be intelligible (GDPR article 15(3)), which
    one side of a conversation may not be: that speaks for `both`. The voice is the operator's own, and a copy
    must not harm others' rights (article 15(4)): where that weighs more, `caller`.

    \b
    Examples:
      sipagent export 20261124T222000123-482913 --purpose quality --by "M. Durand" --out call.wav
      sipagent export 20261124T222000123-482913 --purpose access_request --reference 2026-118
          --by "M. Durand" --channel both --out call.flac --identity recordings.key
    """
    format = FORMATS.get(out.suffix.lower())
    if format is None:
        raise click.UsageError(f"--out: {out} is not named .wav or .flac", click.get_current_context())
    target = out.absolute()

    def obstacle() -> str | None:
        if target.parent.resolve() == work.config.recording.directory.resolve():
            return f"{out} is among the recordings; the copy goes elsewhere"
        if target.exists() and not force:
            return f"{out} exists; --force replaces it"
        return None if target.parent.is_dir() else f"{target.parent} is not a directory"

    def copy(recording: Recording, sound: Sound, traced: Callable[[str], None]) -> None:
        with new_file(target, replace=force) as (descriptor, name):
            cli_sound.write(sound, descriptor, format)
            traced(told(sound.channel, target, recording))  # no copy without its line
            name()

    _use(work, id, "export", Asked(**asked), copy, obstacle=obstacle)
    click.echo(click.format_filename(out))
    unchosen = click.get_current_context().get_parameter_source("channel") is ParameterSource.DEFAULT
    if asked["purpose"] == ACCESS_REQUEST and unchosen:
        click.echo(f"sipagent: {_BOTH_SIDES}", err=True)


@click.command("play", short_help="Play a recording to the sound card.")
@id_argument
@use_options
@click.pass_obj
def play_command(work: Workplace, /, id: str, **asked: Any) -> None:
    """Play a recording to the sound card, for a stated purpose.

    \b
    Example:
      sipagent play 20261124T222000123-482913 --purpose quality --by "M. Durand"
    """

    def listen(recording: Recording, sound: Sound, traced: Callable[[str], None]) -> None:
        traced(sound.channel)
        cli_sound.play(sound)

    _use(work, id, "play", Asked(**asked), listen)


def _use(
    work: Workplace,
    id: str,
    action: str,
    asked: Asked,
    act: Callable[[Recording, Sound, Callable[[str], None]], None],
    *,
    obstacle: Callable[[], str | None] = lambda: None,
) -> None:
    """Check, verify, trace, act. Whatever is refused or fails leaves a line too. Raises Failure."""
    archive = work.archive(make=True)
    recording = find(archive, id)
    use = Access(
        at=now(),
        action=action,
        recording_id=id,
        purpose=asked.purpose,
        by=asked.by,
        system_user=system_user(),
        reference=asked.reference,
    )

    purposes = work.config.retention.purposes
    # a purpose stays in the chain for ever; whatever else was typed stands in the detail, which is forgotten
    named = use.purpose if use.purpose in purposes_of(recording, purposes) else None

    def trace(outcome: str, detail: str) -> None:
        told = replace(use, purpose=named, outcome=outcome, detail=detail)
        archive.store.add_access(discreet(told, recording))

    def traced(detail: str) -> None:
        with archive.store.write():  # a purge, or a refusal, may have come meanwhile
            if (gone := nothing_to_use(archive.store.recording(id))) is not None:
                raise Failure(f"{id}: {gone}")
            trace("done", detail)

    due_at = due(recording, work.terms.period)
    refusal = why_not(recording, use, purposes, due_at) or obstacle()
    if refusal is not None:
        trace("refused", refusal)
        raise Failure(f"{id}: {refusal}")
    try:
        act(recording, _sound(archive, recording, asked), traced)
    except (Failure, OSError) as error:
        trace("failed", str(error))
        raise


def _sound(archive: Archive, recording: Recording, asked: Asked) -> Sound:
    """The file, once it is known to be the one that was recorded."""
    file = archive.file(recording.id)
    if file is None:
        raise Failure(f"{recording.id}: its file is missing")
    if files.sha256(file) != recording.sha256:
        raise Failure(f"{recording.id}: {file.name} is not the file that was recorded: its hash differs")
    if file.suffix != ".sealed":
        return Sound(file, asked.channel)
    if asked.identity is None:
        raise Failure(
            f"{recording.id}: it is sealed; accepted: --identity KEYFILE of {_who(archive, recording)}"
        )
    identity = unlock(asked.identity, asked.passphrase_file)
    try:
        key = archive.vault.key(recording.id, identity)
    except KeysError as error:
        raise Failure(str(error)) from error
    return Sound(file, asked.channel, key)


def _who(archive: Archive, recording: Recording) -> str:
    """Those who can listen to it."""
    try:
        return " or ".join(str(key) for key in archive.vault.recipients(recording.id))
    except KeysError as error:
        raise Failure(str(error)) from error

"""Plays a recording or copies it: `export`, `play`. Every use leaves a line in the trace.

The sound goes into a WAV or FLAC, into a vCon, or to the sound card, one second at a time.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from gettext import gettext, ngettext
from gettext import gettext as _
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, BinaryIO

import click
import numpy as np
import soundfile
from click.core import ParameterSource
from numpy.typing import NDArray

from media import MediaError
from media.recording.assemble import read_sound
from media.recording.chunks import CHANNELS as STORED_CHANNELS
from retention.archive import Archive
from retention.erase import KeptCall
from retention.recording_files import FileKind, finished, sha256
from retention.records import Recording
from retention.rows.rows import StoreError
from retention.signed import signer_of
from retention.texts import Reason, WithReason
from retention.use import ACCESS_REQUEST, nothing_to_use, told_of_export
from retention.vault import Identity
from sipagent.cli.options import (
    agree,
    caller_option,
    calls_of,
    identity_option,
    one_of_the_two,
    passphrase_option,
    show_calls,
    unlock,
    yes_option,
)
from sipagent.cli.program import (
    Failure,
    Workplace,
    all_of,
    attempt,
    by_option,
    find,
    id_argument,
    meant,
    new_file,
    now,
    optional_id_argument,
    refusal_line,
)
from sipagent.config.identity import printable
from sipagent.languages.labels import N_, missing_sound
from sipagent.operations.approvals import rules_of
from sipagent.operations.uses import row_of, using
from sipagent.operations.vcon import CallVcon

Samples = NDArray[np.int16]  # (n, channels) int16

CHANNELS = {"caller": 0, "operator": 1, "both": None}  # left, right
FORMATS = {".wav": "WAV", ".flac": "FLAC"}
SOUND, VCON = "sound", "vcon"

_MORE = 1 << 16  # bytes
_PLACE = re.compile(r"^\w+: (?:\w+:\d+: )?")  # `aplay: main:831: `, before what is wrong

# PCM on stdin, so that playing writes nothing to disk
_PLAYERS = {
    "aplay": ("-q", "-t", "raw", "-f", "S16_LE", "-r", "{rate}", "-c", "{channels}"),
    "paplay": ("--raw", "--format=s16le", "--rate={rate}", "--channels={channels}"),
    "play": ("-q", "-t", "raw", "-e", "signed", "-b", "16", "-L", "-r", "{rate}", "-c", "{channels}", "-"),
}


class RecordingSound:
    """A stored recording, or one channel of it; a sealed one with its key. Raises Failure, AssemblyError."""

    def __init__(self, path: Path, channel: str, key: bytes | None = None) -> None:
        self.channel = channel
        self._index = CHANNELS[channel]
        self.rate: int
        if key is None:
            self.rate, stored, self._blocks = _in_clear(path)
        else:
            reading = read_sound(path, key)
            self.rate, stored, self._blocks = reading.rate, STORED_CHANNELS, reading.blocks()
        if self._index is not None and self._index >= stored:
            said = Reason("{file}: it has no {channel} channel", file=path.name, channel=channel)
            raise Failure(said)
        self.channels = stored if self._index is None else 1

    def blocks(self) -> Iterator[Samples]:
        """The samples, (n, channels) int16; once."""
        for block in self._blocks:
            yield block if self._index is None else block[:, self._index : self._index + 1]


def _in_clear(path: Path) -> tuple[int, int, Iterator[Samples]]:
    """Rate in Hz, channels, samples."""
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise Failure("{0}: {1}", path.name, error.error_string) from error

    def blocks() -> Iterator[Samples]:
        with file:
            yield from file.blocks(file.samplerate, dtype="int16", always_2d=True)

    return file.samplerate, file.channels, blocks()


def write(sound: RecordingSound, descriptor: int, format: str) -> None:
    """Copy only the sound into an open file; `format` is a value of FORMATS.

    Raises OSError; Failure if the system gives no reason.
    """
    try:
        with soundfile.SoundFile(
            descriptor, "w", sound.rate, sound.channels, "PCM_16", format=format, closefd=False
        ) as copy:
            for block in sound.blocks():
                copy.write(block)
    except soundfile.LibsndfileError as error:
        _ask_again(descriptor)
        raise Failure(Reason("the copy cannot be written: {why}", why=error.error_string)) from error


def _ask_again(descriptor: int) -> None:
    """On a full disk libsndfile only says that the system failed; ask the system. Raises OSError."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    os.pwrite(descriptor, bytes(_MORE), end)


def play(sound: RecordingSound) -> None:
    """Play it to its end. Raises Failure: no access to the sound card, or it refuses the sound."""
    if (device := _library()) is not None:
        _play_by_library(device, sound)
        return
    player = next((name for name in _PLAYERS if which(name)), None)
    if player is None:
        said = N_("no way to a sound card; install one of {programs}, or use `sipagent export`")
        raise Failure(Reason(said, programs=", ".join(_PLAYERS)))
    options = [option.format(rate=sound.rate, channels=sound.channels) for option in _PLAYERS[player]]
    _play_by_program([player, *options], sound)


def _library() -> Any:
    """The module sounddevice; None without it, or without PortAudio."""
    if find_spec("sounddevice") is None:
        return None
    try:
        return import_module("sounddevice")
    except OSError:
        return None


def _play_by_library(device: Any, sound: RecordingSound) -> None:
    try:
        with device.OutputStream(sound.rate, channels=sound.channels, dtype="int16") as stream:
            for block in sound.blocks():
                stream.write(block)
    except device.PortAudioError as error:
        raise Failure(_no_card(f"sounddevice: {error}")) from error


def _play_by_program(command: Sequence[str], sound: RecordingSound) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as player:
        stdin = player.stdin
        if stdin is None:
            raise Failure(Reason("{file} cannot be written to", file=command[0]))
        with suppress(BrokenPipeError):  # it says why on stderr
            for block in sound.blocks():
                stdin.write(block.astype("<i2").tobytes())
            stdin.close()
        said = player.stderr.read().decode(errors="replace") if player.stderr else ""
    if player.returncode != 0:
        last = said.strip().rpartition("\n")[2]  # the lines above it name places in ALSA's own source
        why = _PLACE.sub("", last) or Reason("exit code {code}", code=player.returncode)
        raise Failure(_no_card(Reason("{program}: {why}", program=command[0], why=why)))


def _no_card(why: str) -> Reason:
    said = N_("no sound card takes it ({why}); accepted: a machine with one, or `sipagent export`")
    return Reason(said, why=why)


Traced = Callable[[str, str], object]  # outcome and detail, into the trace

_BOTH_SIDES = N_(
    "the copy holds both sides, the operator's voice with them; whether the person gets both or the caller's "
    "alone is for the data protection officer to decide (GDPR article 15(3) and (4); --channel)"
)


@dataclass(frozen=True, kw_only=True)
class UseAsked:
    """A use: its purpose and author, the side to be heard, and the key."""

    purpose: str | None
    by: str | None
    reference: str | None
    channel: str
    identity: Path | None
    passphrase_file: Path | None

    @cached_property
    def unlocked(self) -> Identity | None:
        """The use with its identity: the passphrase is asked for once. Raises Failure, KeysError."""
        return None if self.identity is None else unlock(self.identity, self.passphrase_file)


use_options = all_of(
    click.option(
        "--purpose",
        metavar="P",
        help=f"One of retention.purposes, {ACCESS_REQUEST}, or the ground of its hold.",
    ),
    by_option,
    click.option("--reference", metavar="R", help="Of the request or the file that asks for it."),
    click.option(
        "--channel",
        type=click.Choice(list(CHANNELS)),
        default="both",
        show_default=True,
        help="Which side. Of an access request you decide: see `export --help`.",
    ),
    identity_option(),
    passphrase_option,
)
"""The options of `UseAsked`."""


@click.command("export")
@optional_id_argument
@caller_option
@use_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=".wav or .flac, of a vCon .vcon; with --caller a folder, for a file each.",
)
@click.option(
    "--format",
    type=click.Choice((SOUND, VCON)),
    default=SOUND,
    show_default=True,
    help="The sound alone, or a signed vCon, of a call without a recording, too.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@yes_option
@click.pass_obj
def export_command(
    work: Workplace,
    /,
    id: str | None,
    *,
    caller: str | None,
    out: Path,
    format: str,
    force: bool,
    yes: bool,
    **asked: Any,
) -> None:
    """Copy a recording into a WAV or FLAC file, or a call into a vCon, for a stated purpose.

    The use is kept in the trace, also when it is refused; so is where the copy went.

    A vCon (draft-ietf-vcon-vcon-core-04) is JSON, signed: who talked, the sound, what is missing from it,
    what was decided, how and by which law. Where there is no sound it says so: a refusal has one, too. A copy
    of one side names nobody of the other, and points to the whole one.

    Of an access request the data protection officer decides which side the person gets. What the operator
    says of the caller is the caller's data too, and a copy must be intelligible (GDPR article 15(3)), which
    one side of a conversation may not be: that speaks for `both`. The voice is the operator's own, and a copy
    must not harm others' rights (article 15(4)): where that weighs more, `caller`.

    With --caller all recordings of a person go into a folder; they are shown before, and you are asked. The
    exit code is 1 if any could not be copied.

    \b
    Examples:
      sipagent export 20261124T222000123-482913 --purpose quality --by "M. Durand" --out call.wav
      sipagent export 482913 --purpose access_request --reference 2026-118
          --by "M. Durand" --channel both --out call.flac --identity recordings.key
      sipagent export --caller "06 12 34 56 78" --purpose access_request --reference 2026-118
          --by "M. Durand" --channel both --out request-2026-118/
      sipagent export 482913 --format vcon --purpose access_request --reference 2026-118
          --by "M. Durand" --channel caller --out call.vcon --identity recordings.key
    """
    one_of_the_two(id, caller)
    what = UseAsked(**asked)
    suffixes, named = (FORMATS, _("--out: {file} is not named .wav or .flac"))
    if format == VCON:
        suffixes, named = {".vcon": VCON}, _("--out: {file} is not named .vcon")
    if caller is not None:
        _export_all(work, caller, what, out, format, force=force, yes=yes)
    elif out.suffix.lower() not in suffixes or out.is_dir():
        raise click.UsageError(named.format(file=out))
    else:
        archive = work.archive(make=True)
        of = (
            find(archive, str(id))
            if format == SOUND
            else KeptCall.find(archive.store, meant(archive, str(id)))
        )
        _export(work, archive, of, what, out, force=force)
    unchosen = click.get_current_context().get_parameter_source("channel") is ParameterSource.DEFAULT
    if what.purpose == ACCESS_REQUEST and unchosen:
        click.echo(f"sipagent: {gettext(_BOTH_SIDES)}", err=True)


def _export_all(
    work: Workplace, caller: str, asked: UseAsked, out: Path, format: str, *, force: bool, yes: bool
) -> None:
    """Raises click.UsageError, Failure."""
    if out.exists() and not out.is_dir():
        raise click.UsageError(_("--out: {file} is not a folder").format(file=out))
    archive = work.archive(make=True)
    calls = calls_of(work, archive, caller)
    rows: Sequence[Recording | KeptCall] = calls
    if format == SOUND:
        rows = [call.recording for call in calls if call.recording and not nothing_to_use(call.recording)]
    if not rows:
        raise Failure(_("{number}: no recording of this caller is there").format(number=caller))
    if not yes:
        show_calls(work, archive, calls)
    question = ngettext(
        "Copy {n} recording of {caller} into {file}?",
        "Copy {n} recordings of {caller} into {file}?",
        len(rows),
    )
    if format == VCON:
        question = ngettext(
            "Copy {n} call of {caller} into {file}?", "Copy {n} calls of {caller} into {file}?", len(rows)
        )
    agree(question.format(n=len(rows), caller=printable(caller), file=out), yes=yes)
    out.mkdir(mode=0o700, exist_ok=True)
    failed: list[str] = []
    for row in rows:
        try:
            name = f"{row.id}.{'flac' if format == SOUND else VCON}"
            _export(work, archive, row, asked, out / name, force=force)
        except StoreError:
            raise
        except (WithReason, MediaError) as refusal:
            failed.append(refusal_line(refusal))
    if failed:
        raise Failure("; ".join(failed))


def _export(
    work: Workplace, archive: Archive, of: Recording | KeptCall, asked: UseAsked, out: Path, *, force: bool
) -> None:
    target, row = out.absolute(), of if isinstance(of, Recording) else of.receipt or of.recording
    assert row is not None

    def obstacle() -> str | None:
        if target.parent.resolve() == work.config.recording.directory.resolve():
            return Reason("{file} is among the recordings; the copy goes elsewhere", file=str(out))
        if target.exists() and not force:
            return Reason("{file} exists; --force replaces it", file=str(out))
        folder = target.parent
        return None if folder.is_dir() else Reason("{file} is not a directory", file=str(folder))

    with (
        _used(work, archive, of, "export", asked, obstacle=obstacle) as (sound, traced),
        new_file(target, replace=force) as (descriptor, name),
    ):
        if isinstance(of, Recording):
            write(sound(asked.channel), descriptor, FORMATS[out.suffix.lower()])
            told = told_of_export(asked.channel, target, row)
        else:
            _write_vcon(_vcon(work, archive, of, sound, target.parent), asked.channel, descriptor)
            told = told_of_export(f"{asked.channel}, vCon", target, row)
        traced("done", told)  # no copy without its line
        name()
    click.echo(click.format_filename(out))
    recording = row_of(of)
    for kind, told in missing_sound(recording) if recording else ():
        click.echo(_("missing in the recording: {kind}, {told}").format(kind=kind, told=told), err=True)


def _vcon(work: Workplace, archive: Archive, call: KeptCall, sound: "Opened", folder: Path) -> CallVcon:
    """What is told of it; meanwhile its sound is in a nameless file in `folder`, where the copy goes."""
    places, present = archive.store.places, now()
    assert places is not None  # all but tests

    @contextmanager
    def wav(channel: str) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile(dir=folder) as file:
            write(sound(channel), file.fileno(), "WAV")
            yield file

    rules, signer = rules_of(work.config, present), signer_of(places, present.year)
    return CallVcon(archive, call, work.config.service, rules, signer, wav)


def _write_vcon(vcon: CallVcon, channel: str, descriptor: int) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        for piece in vcon.pieces(channel):
            file.write(piece)


@click.command("play")
@id_argument
@use_options
@click.pass_obj
def play_command(work: Workplace, /, id: str, **asked: Any) -> None:
    """Play a recording to the sound card, for a stated purpose.

    The trace says `begun` before anything is heard, then `done`, or `failed` where no sound card took it.

    \b
    Example:
      sipagent play 20261124T222000123-482913 --purpose quality --by "M. Durand"
    """
    archive = work.archive(make=True)
    with _used(work, archive, find(archive, id), "play", UseAsked(**asked)) as (opened, traced):
        sound = opened(asked["channel"])
        traced("begun", sound.channel)  # no one hears anything without its line
        try:
            play(sound)
        except KeyboardInterrupt:
            traced("done", Reason("{0}, stopped before its end", sound.channel))
            raise
        traced("done", sound.channel)


Opened = Callable[[str], RecordingSound]  # of a side


@contextmanager
def _used(
    work: Workplace,
    archive: Archive,
    of: Recording | KeptCall,
    action: str,
    asked: UseAsked,
    *,
    obstacle: Callable[[], str | None] = lambda: None,
) -> Iterator[tuple[Opened, Traced]]:
    """What opens the sound of a use, and what writes its lines. Raises UseRefused, Failure, OSError."""
    use = attempt(action, purpose=asked.purpose, by=asked.by, reference=asked.reference)
    row = row_of(of)
    with (
        using(archive, of, use, rules_of(work.config, use.at), obstacle) as traced,
        _sound(archive, row, asked) if row and not nothing_to_use(row) else nullcontext(_silent) as sound,
    ):
        yield sound, traced


def _silent(channel: str) -> RecordingSound:
    raise AssertionError(f"there is no sound of {channel}: nobody asks for it")


@contextmanager
def _sound(archive: Archive, recording: Recording, asked: UseAsked) -> Iterator[Opened]:
    """What opens the sound, after a check that its file is the recorded one. Raises Failure, OSError."""
    kind = finished(archive.files, recording.id)
    if kind is None:
        raise Failure(Reason("{id}: its file is missing", id=recording.id))
    if sha256(archive.files, recording.id, kind) != recording.sha256:
        name = archive.files.name(recording.id, kind)
        said = N_("{id}: {file} is not the file that was recorded: its hash differs")
        raise Failure(Reason(said, id=recording.id, file=name))
    key = _key(archive, recording, asked) if kind is FileKind.SEALED else None
    with archive.files.fetch(recording.id, kind) as file:
        yield lambda channel: RecordingSound(file, channel, key)


def _key(archive: Archive, recording: Recording, asked: UseAsked) -> bytes:
    """The key of a sealed file. Raises Failure, KeysError."""
    if asked.unlocked is not None:
        return archive.vault.key(recording.id, asked.unlocked)
    who = " or ".join(map(str, archive.vault.recipients(recording.id)))
    raise Failure(
        Reason("{id}: it is sealed; accepted: --identity KEYFILE of {who}", id=recording.id, who=who)
    )

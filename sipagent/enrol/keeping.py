"""What is kept of a person: written whole or not at all, replaced, forgotten, removed when it has expired.

The format is `media.training.enrolled`'s. A head that has learnt from somebody names that person's folder
(`Head.voices`), and goes with it. Folders are 0700, files 0600.
"""

import io
import shutil
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import HeadError, load_head
from media.training.enrolled import PERSON, EnrolledError, EnrolledPerson, Saying, read_person, write_person
from retention.files import make_folder, private_file, share_owner, sync_folder
from sipagent.config.tables import VOICES_MOST_DAYS, folder_name
from sipagent.enrol.flow import ScriptStep

UNFINISHED = timedelta(hours=1)  # a folder is filled in less


@dataclass(frozen=True, slots=True, eq=False)
class TakenSaying:
    """A saying that was good: (n,) int16 at 8 kHz."""

    step: ScriptStep
    sound: Samples


@dataclass(frozen=True, slots=True)
class Colleague:
    """Who lends a voice: `language` is the one that is spoken, `number` what the call came from."""

    name: str
    number: str
    language: str


@dataclass(frozen=True, slots=True)
class ForgottenVoice:
    """What has gone: the person's folder, by its name, if it was there, and the files of heads."""

    voice: str
    sound: bool
    heads: tuple[Path, ...]


def is_kept(folder: Path, name: str) -> bool:
    """Whether a voice of that person's is there, readable or not."""
    return (folder / folder_name(name)).exists()


def keep(
    folder: Path,
    who: Colleague,
    consented_at: datetime,
    days: int,
    takes: Sequence[TakenSaying],
    *,
    replaces: bool = False,
) -> EnrolledPerson:
    """Write all of it; `replaces`: in the place of what that person had lent before.

    OSError: nothing is left of it; also where a voice is there that may not be replaced.
    """
    make_folder(folder)
    name = folder_name(who.name)
    place, filled, old = folder / name, folder / f".{name}.new", folder / f".{name}.old"
    try:
        person = _fill(filled, who, consented_at, days, takes)
        _remove(old)
        if replaces and place.exists():
            place.rename(old)
        try:
            filled.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    except OSError:
        _remove(filled)
        raise
    sync_folder(folder)
    _remove(old)
    return replace(person, folder=place)


def _fill(
    folder: Path, who: Colleague, consented_at: datetime, days: int, takes: Sequence[TakenSaying]
) -> EnrolledPerson:
    _remove(folder)
    folder.mkdir(mode=0o700)
    share_owner(folder)
    sayings = []
    for nth, taken in enumerate(takes, 1):
        file = f"{nth:02}.wav"
        with private_file(folder / file) as sound:
            sound.write(as_wav(taken.sound))
        share_owner(folder / file)
        sayings.append(Saying(file, taken.step.text, taken.step.phrase))
    person = EnrolledPerson(
        folder=folder,
        name=who.name,
        language=who.language,
        number=who.number,
        consented_at=consented_at,
        expires_at=consented_at + timedelta(days=days),
        sayings=tuple(sayings),
    )
    write_person(folder, person)
    (folder / PERSON).chmod(0o600)
    share_owner(folder / PERSON)
    sync_folder(folder)
    return person


def as_wav(sound: Samples) -> bytes:
    """The file of (n,) int16 at 8 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        wav.writeframes(sound.astype("<i2").tobytes())
    return file.getvalue()


def voices(folder: Path) -> Iterator[tuple[Path, EnrolledPerson | EnrolledError]]:
    """Each person's folder, by name, and who that is, or why it can't be told."""
    for place in _folders(folder):
        if not place.name.startswith("."):
            try:
                yield place, read_person(place)
            except EnrolledError as wrong:
                yield place, wrong


def forget(folder: Path, heads: Path, name: str) -> ForgottenVoice:
    """Remove what a person has lent, and the heads that learnt from it: these first, as they name the person.

    Raises HeadError for a head that can't be read, when all the others are gone; OSError.
    """
    voice = folder_name(name)
    found = list(_learnt(heads, voice))
    gone = tuple(path for path, wrong in found if wrong is None)
    for path in gone:
        path.unlink()
        path.with_suffix(".md").unlink(missing_ok=True)
    places = [folder / one for one in (voice, f".{voice}.new", f".{voice}.old", f".{voice}.gone")]
    there = bool(voice) and places[0].exists()
    if there:
        places[0].rename(places[-1])
    if voice:
        for place in places[1:]:
            _remove(place)
    if there:
        sync_folder(folder)
    if unread := [wrong for _, wrong in found if wrong]:
        raise unread[0]
    return ForgottenVoice(voice, there, gone)


def expire(
    folder: Path, heads: Path, now: datetime, days: int = VOICES_MOST_DAYS, *, dry: bool = False
) -> list[ForgottenVoice]:
    """Forget whoever's time has passed, and what was never finished; `dry`: only say so. `days`: as they are
    configured now.

    Raises HeadError for a head that can't be read, when all the others are gone; OSError.
    """
    due = [place.name for place, person in voices(folder) if expires_at(place, person, days) <= now]
    if dry:
        return [ForgottenVoice(voice, sound=True, heads=heads_of(heads, voice)) for voice in due]
    _sweep(folder, now)
    gone, unread = [], []
    for voice in due:
        try:
            gone.append(forget(folder, heads, voice))
        except HeadError as wrong:
            unread.append(wrong)
    if unread:
        raise unread[0]
    return gone


def expires_at(place: Path, person: EnrolledPerson | EnrolledError, days: int = VOICES_MOST_DAYS) -> datetime:
    """Until when a folder may be kept: as it was said, or less where `days` are fewer by now.

    Of one that can't be read, so long after it was written.
    """
    if isinstance(person, EnrolledPerson):
        return min(person.expires_at, person.consented_at + timedelta(days=days))
    return _changed(place) + timedelta(days=days)


def _sweep(folder: Path, now: datetime) -> None:
    """What a crash has left: the voice that was being replaced comes back, the rest goes."""
    for place in _folders(folder):
        if place.name.startswith(".") and _changed(place) + UNFINISHED < now:
            whole = folder / place.name.removeprefix(".").removesuffix(".old")
            if place.suffix == ".old" and not whole.exists():
                place.rename(whole)
            else:
                _remove(place)


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _changed(place: Path) -> datetime:
    return datetime.fromtimestamp(place.stat().st_mtime).astimezone()


def heads_of(heads: Path, voice: str) -> tuple[Path, ...]:
    """The heads that can be read and name that voice."""
    return tuple(path for path, wrong in _learnt(heads, voice) if wrong is None)


def _learnt(heads: Path, voice: str) -> Iterator[tuple[Path, HeadError | None]]:
    """The heads that name a voice, and those that can't be read, which `check` tells of."""
    for path in sorted(heads.glob("*.npz")):
        try:
            if voice in load_head(path).voices:
                yield path, None
        except HeadError as wrong:
            yield path, wrong


def _remove(place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)

"""Colleagues who lent their voices: what `sipagent enrol` keeps, and `train-keyword --voices` trains on.

    FOLDER/ann_martin/person.json    who, in which language, consent, until when it may be kept
    FOLDER/ann_martin/01.wav …       what was said, as it came over the line: 8 kHz, mono, 16 bit

A person's folder is whole or absent: it is filled under a name that begins with a dot, and then renamed.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from media import MediaError
from media.hearing.spotter import plain

PERSON = "person.json"
LEAST_PEOPLE, MOST_FITS = 3, 10
"""From how many persons on each is left out once, and how many trainings that takes at most."""


class EnrolledError(MediaError):
    """A folder that holds no person; str() is one line."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A file of a person's folder. `phrase` is the configured phrase in it; None: it refuses nothing."""

    file: str
    text: str
    phrase: str | None


@dataclass(frozen=True, slots=True)
class EnrolledPerson:
    """`consented_at` and `expires_at` are UTC, with a zone; `number` is what the person called from."""

    folder: Path
    name: str
    language: str
    number: str
    consented_at: datetime
    expires_at: datetime
    sayings: tuple[Saying, ...]


def write_person(folder: Path, person: EnrolledPerson) -> None:
    """Write `person.json` into a folder that has the sounds."""
    told = asdict(person) | {
        "consented_at": person.consented_at.isoformat(),
        "expires_at": person.expires_at.isoformat(),
    }
    del told["folder"]
    (folder / PERSON).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_person(folder: Path) -> EnrolledPerson:
    """EnrolledError for a folder without a readable `person.json`, or with a sound missing."""
    try:
        told = json.loads((folder / PERSON).read_text(encoding="utf-8"))
        person = EnrolledPerson(
            folder=folder,
            name=str(told["name"]),
            language=str(told["language"]),
            number=str(told["number"]),
            consented_at=datetime.fromisoformat(told["consented_at"]),
            expires_at=datetime.fromisoformat(told["expires_at"]),
            sayings=tuple(Saying(each["file"], each["text"], each["phrase"]) for each in told["sayings"]),
        )
        if person.expires_at.tzinfo is None:
            raise ValueError("expires_at is without a zone")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnrolledError("{0}: nobody's voice: {1}", folder, error) from error
    if missing := [each.file for each in person.sayings if not (folder / each.file).is_file()]:
        raise EnrolledError("{0}: {1} is missing", folder, missing[0])
    return person


def enrolled(folder: Path) -> list[EnrolledPerson]:
    """Everybody in a folder, by name of their folders; none where it is missing."""
    if not folder.is_dir():
        return []
    return [
        read_person(each)
        for each in sorted(folder.iterdir())
        if each.is_dir() and not each.name.startswith(".")
    ]


Unused = Literal["expired", "language", "phrase"]
"""Why a person is left out: kept too long, speaks another language, did not say the phrase."""


def sayings_of(person: EnrolledPerson, phrase: str | None) -> list[Path]:
    """The files in which the phrase is said, however it is written; for None those that refuse nothing."""
    return [
        person.folder / each.file
        for each in person.sayings
        if (each.phrase and plain(each.phrase)) == (phrase and plain(phrase))
    ]


def usable(
    people: list[EnrolledPerson], phrase: str, language: str, now: datetime
) -> tuple[list[EnrolledPerson], list[tuple[EnrolledPerson, Unused]]]:
    """Who can be trained on for a phrase, and who cannot. EnrolledError for a sound that cannot be read."""
    used, unused = [], []
    for person in people:
        if why := _unused(person, phrase, language, now):
            unused.append((person, why))
        else:
            _readable([*sayings_of(person, phrase), *sayings_of(person, None)])
            used.append(person)
    return used, unused


def left_out(count: int) -> list[tuple[int, ...]]:
    """Who is left out of each training, by number: of many persons several at once, of too few nobody."""
    if count < LEAST_PEOPLE:
        return []
    return [tuple(range(first, count, MOST_FITS)) for first in range(min(count, MOST_FITS))]


def _unused(person: EnrolledPerson, phrase: str, language: str, now: datetime) -> Unused | None:
    if person.expires_at <= now:
        return "expired"
    if person.language != language:
        return "language"
    return None if sayings_of(person, phrase) else "phrase"


def _readable(sounds: list[Path]) -> None:
    import soundfile  # the service, which removes what has expired, needs none

    for path in sounds:
        try:
            told = soundfile.info(path)
        except (OSError, soundfile.LibsndfileError) as error:
            raise EnrolledError("{0}: no sound that can be read", path) from error
        if told.channels != 1 or not told.frames:
            raise EnrolledError("{0}: accepted: sound of one channel", path)

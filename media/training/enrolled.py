"""Colleagues who lent their voices: what `sipagent enrol` keeps, and `train-keyword --voices` trains on.

    FOLDER/ann_martin/person.json    who, in which language, consent, until when it may be kept
    FOLDER/ann_martin/01.wav …       what was said, as it came over the line: 8 kHz, mono, 16 bit

A person's folder is whole or absent: it is filled under a name that begins with a dot, and then renamed.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

PERSON = "person.json"


class EnrolledError(Exception):
    """A folder that holds no person; str() is one line."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A file of a person's folder. `phrase` is the configured phrase in it; None: it refuses nothing."""

    file: str
    text: str
    phrase: str | None


@dataclass(frozen=True, slots=True)
class Person:
    """`consented_at` and `expires_at` are UTC, with a zone; `number` is what the person called from."""

    folder: Path
    name: str
    language: str
    number: str
    consented_at: datetime
    expires_at: datetime
    sayings: tuple[Saying, ...]

    def said(self, phrase: str | None) -> list[Path]:
        """The files in which the phrase is said; for None those that refuse nothing."""
        return [self.folder / each.file for each in self.sayings if each.phrase == phrase]


def write_person(folder: Path, person: Person) -> None:
    """Write `person.json` into a folder that has the sounds."""
    told = asdict(person) | {
        "consented_at": person.consented_at.isoformat(),
        "expires_at": person.expires_at.isoformat(),
    }
    del told["folder"]
    (folder / PERSON).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_person(folder: Path) -> Person:
    """EnrolledError for a folder without a readable `person.json`, or with a sound missing."""
    try:
        told = json.loads((folder / PERSON).read_text(encoding="utf-8"))
        person = Person(
            folder=folder,
            name=str(told["name"]),
            language=str(told["language"]),
            number=str(told["number"]),
            consented_at=datetime.fromisoformat(told["consented_at"]),
            expires_at=datetime.fromisoformat(told["expires_at"]),
            sayings=tuple(Saying(each["file"], each["text"], each["phrase"]) for each in told["sayings"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnrolledError(f"{folder}: nobody's voice: {error}") from error
    if missing := [each.file for each in person.sayings if not (folder / each.file).is_file()]:
        raise EnrolledError(f"{folder}: {missing[0]} is missing")
    return person


def enrolled(folder: Path) -> list[Person]:
    """Everybody in a folder, by name of their folders; none where it is missing."""
    if not folder.is_dir():
        return []
    return [
        read_person(each)
        for each in sorted(folder.iterdir())
        if each.is_dir() and not each.name.startswith(".")
    ]

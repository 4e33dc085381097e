"""All that lies anywhere: who can be heard in it, and what leads to a caller of ours without any key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.sound import IN_CLEAR, heard_in, key_in
from tests.sealed_reader import MAGIC

ID = re.compile(r"\d{8}T\d{9}(?:-[a-z]\w*)*-\d{6}")
_ENOUGH = 65_536  # of a file that has no key of its own: whether any other opens its beginning


@dataclass(slots=True)
class Place:
    """Bytes, and where they lie."""

    where: str
    content: bytes

    @property
    def id(self) -> str:
        """Of the recording that they belong to by their name; empty where that names none."""
        found = ID.search(self.where.rpartition("/")[2]) or ID.search(self.where)
        return found[0] if found else ""


@dataclass(slots=True)
class Found:
    """`heard`: where, the recording's id, and who can be heard there for how many marks of 10 ms.

    `keys`: ids of which a key is there. `sealed`: ids of which sealed sound is there, opened or not.
    `in_clear`: where sound lies that nothing seals.
    """

    heard: list[tuple[str, str, dict[int, int]]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    sealed: set[str] = field(default_factory=set)
    in_clear: list[str] = field(default_factory=list)

    def of(self, id: str) -> dict[int, int]:
        """Who can be heard in any bytes of a recording."""
        found: dict[int, int] = {}
        for _, whose, speakers in self.heard:
            for who, count in speakers.items() if whose == id else ():
                found[who] = max(found.get(who, 0), count)
        return found


def files_below(folder: Path, leave_out: frozenset[str] = frozenset()) -> Iterator[Place]:
    """Every file below a folder but those beneath what is left out; what goes meanwhile is gone."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not leave_out & set(path.relative_to(folder).parts):
            try:
                yield Place(str(path.relative_to(folder.parent)), path.read_bytes())
            except FileNotFoundError:
                continue


def versions_of(versions: dict[tuple[str, str], bytes]) -> Iterator[Place]:
    """What a store has, version by version."""
    for (name, version), content in versions.items():
        yield Place(f"store {version}/{name}", content)


def search(places: Iterable[Place], private: bytes) -> Found:
    """Open whatever can be opened with this private key and any key that it opens."""
    found, sounds = Found(), []
    keys: dict[str, list[bytes]] = {}
    for place in places:
        if key := key_in(place.content, private):
            found.keys.add(place.id)
            keys.setdefault(place.id, []).append(key)
        elif MAGIC in place.content:
            sounds.append(place)
            found.sealed.add(place.id)
        if IN_CLEAR.search(place.content):
            found.in_clear.append(place.where)
    every = [key for some in keys.values() for key in some]
    for place in sounds:
        speakers = heard_in(place.content, keys.get(place.id, ()))
        if not speakers and place.id not in keys:
            speakers = heard_in(place.content[:_ENOUGH], every)
        if speakers:
            found.heard.append((place.where, place.id, speakers))
    return found


def words_in(places: Iterable[Place], words: Iterable[bytes]) -> list[str]:
    """Where any of these lies in clear."""
    wanted = re.compile(b"|".join(map(re.escape, words)))
    return [
        f"{place.where}: {said[0].decode()}" for place in places if (said := wanted.search(place.content))
    ]

"""What keeps every call from being recorded, as far as it can be known before one: keys, and where files go.

refuse_unrecordable(config)   at a start and a reload: a mistake of the configuration's is an error
obstacles(config)             at any time, for whoever watches: these, and what the machine has come to
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retention.storage.keys import KeysError, read_public
from sipagent.config.load import Config, ConfigError

VAULT = "retention.database"  # the key that the vault's place follows from


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`mistake`: the configuration names something that will never do; else it may pass."""

    key: str
    problem: str
    mistake: bool

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"


def refuse_unrecordable(config: Config) -> None:
    """Raises ConfigError where by mistake every call would go unrecorded, though it is announced."""
    for obstacle in obstacles(config):
        if obstacle.mistake:
            accepted = "what lets calls be recorded, or recording.enabled = false"
            raise ConfigError(config.file, obstacle.key, obstacle.problem, accepted)


def obstacles(config: Config) -> list[Obstacle]:
    """All that there are; none where nothing is to be recorded."""
    return [*_keys(config), *_places(config)] if config.recording.enabled else []


def _keys(config: Config) -> Iterator[Obstacle]:
    for path in config.recording.recipients:
        try:
            read_public(path)
        except KeysError as wrong:
            yield Obstacle("recording.recipients", str(wrong), mistake=True)


def _places(config: Config) -> Iterator[Obstacle]:
    yield from _place("recording.directory", config.recording.directory)
    if config.recording.recipients:
        yield from _place(VAULT, config.places.vault)


def _place(key: str, folder: Path) -> Iterator[Obstacle]:
    """A folder that files can be made in; one that is not there yet will be made."""
    try:
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not there.is_dir():
            yield Obstacle(key, f"{there} is not a directory", mistake=True)
        elif not os.access(there, os.W_OK | os.X_OK):
            yield Obstacle(key, f"{there} cannot be written to", mistake=False)
    except OSError as failure:
        yield Obstacle(key, f"{folder}: {failure.strerror}", mistake=False)

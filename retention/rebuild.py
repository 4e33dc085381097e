"""A lost database, again, from the JSON beside the recordings."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retention import files
from retention.archive import Archive
from retention.recording import RecordError, Recording, Status
from retention.store import UnknownId

SIZE_LIMIT = 1 << 20  # bytes; no metadata of ours is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be recovered, or not wholly. `name` is a file in the directory."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What `rebuild` did."""

    restored: tuple[str, ...]  # ids
    known: int  # that the database had already
    problems: tuple[Problem, ...]


def rebuild(archive: Archive) -> Rebuilt:
    """Add a row for each recording that has none, from its JSON. Rows that exist are left as they are.

    - JSON without its sound: the row is `failed`, so that the purge removes the JSON when it expires;
    - another hash than the JSON says: the row says so by keeping the hash of the JSON;
    - sound without JSON: nothing is known of it, not even that the caller allowed it. It is reported, and
      purged once its name says that it has expired.

    Receipts and accesses are not beside the recordings and cannot be recovered. Raises StoreError, OSError.
    """
    restored: list[str] = []
    problems: list[Problem] = []
    known = 0
    for id in sorted({id for _, id in archive.names() if id is not None}):
        try:
            archive.store.recording(id)
        except UnknownId:
            row, found = _recover(archive, id)
            problems += found
            if row is not None:
                archive.store.add_recording(row)
                restored.append(id)
        else:
            known += 1
    problems += [
        Problem(name=name, problem="not a file of the agent") for name, id in archive.names() if id is None
    ]
    return Rebuilt(restored=tuple(restored), known=known, problems=tuple(problems))


def _recover(archive: Archive, id: str) -> tuple[Recording | None, list[Problem]]:
    metadata, file = archive.metadata(id), archive.file(id)
    if not metadata.exists():
        return None, [
            Problem(name=name, problem="no metadata beside it: not recoverable")
            for name in _names(archive, id)
        ]
    try:
        row = _read(metadata, id)
    except RecordError as error:
        return None, [Problem(name=metadata.name, problem=str(error))]
    if file is None:
        lost = replace(row, status=Status.FAILED, incomplete=True, path=None)
        return lost, [Problem(name=metadata.name, problem="its recording is missing")]
    row = replace(row, status=Status.CLOSED, path=archive.relative(file), purged_at=None)
    return row, list(_differences(file, row))


def _read(path: Path, id: str) -> Recording:
    """Raises RecordError for anything that is not the metadata of this id."""
    with path.open("rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    try:
        row = Recording.from_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not readable: {error}") from error
    if row.id != id:
        raise RecordError(f"it is of another recording, {row.id}")
    return row


def _differences(file: Path, row: Recording) -> Iterator[Problem]:
    if row.sha256 is None:
        yield Problem(name=file.name, problem="its metadata has no hash to verify it by")
    elif files.sha256(file) != row.sha256:
        yield Problem(name=file.name, problem="it is not the file that was recorded: its hash differs")


def _names(archive: Archive, id: str) -> list[str]:
    return [name for name, owner in archive.names() if owner == id]

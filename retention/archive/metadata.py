"""Compares what lies beside a recording with its row: `ID.json`, which `rebuild` believes, and the sealed
key."""

import json
from collections.abc import Iterator

from retention.archive.archive import Archive
from retention.recording import Json, RecordError, Recording, Status
from retention.rows.chain import PERSONAL, as_told, public
from retention.rows.store import StoreError
from retention.storage.keys import KeysError
from retention.storage.recording_files import FileKind

_OWN = ("path", "sealed")  # not in the row: where it lay, and what only its recipients can read


def beside(archive: Archive, id: str) -> list[tuple[str, str]]:
    """What is wrong with the metadata and the key of a closed recording: a name, and the problem.

    Never says a value. `orphans` reports what is missing.
    """
    found = list(_beside(archive, id))
    if not found:
        return found
    if archive.files.is_here(id, FileKind.METADATA):
        # perhaps seen between the file and the row: no one else writes once the database is ours
        with archive.store.write():
            return list(_beside(archive, id))
    before = _state(archive, id)
    while True:  # a store is asked without a turn, which would wait for it
        found, after = list(_beside(archive, id)), _state(archive, id)
        if after == before:
            return found
        before = after


def _state(archive: Archive, id: str) -> tuple[object, ...] | None:
    """Which row there is, and which JSON counts, which change together; None for what cannot be read."""
    try:
        return archive.store.recording(id), archive.files.identity(id, FileKind.METADATA)
    except (StoreError, OSError):
        return None


def _beside(archive: Archive, id: str) -> Iterator[tuple[str, str]]:
    try:
        row = archive.store.recording(id)
    except StoreError:
        return  # damaged, and named as such
    if row.status is not Status.CLOSED:
        return
    if (problem := _metadata(archive, row)) is not None:
        yield archive.files.name(id, FileKind.METADATA), problem
    if archive.vault.has(id):
        try:
            archive.vault.recipients(id)
        except (KeysError, OSError) as error:
            yield archive.files.name(id, FileKind.KEY), _after_path(error)


def _metadata(archive: Archive, row: Recording) -> str | None:
    try:
        told = as_told("recording", archive.read_metadata(row.id))
    except FileNotFoundError:
        return None
    except RecordError:
        return "not readable"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    record = as_told("recording", _as_outside(row.to_json(), sealed="sealed" in told))
    names = (told.keys() | record.keys()) - set(_OWN)
    other = [name for name in sorted(names) if told.get(name) != record.get(name)]
    return f"says otherwise than the database: {', '.join(other)}" if other else None


def _as_outside(record: Json, *, sealed: bool) -> Json:
    """The metadata as the archive writes it."""
    record = record | (dict.fromkeys(PERSONAL["recording"]) | public("recording", record) if sealed else {})
    return dict(json.loads(json.dumps(record)))


def _after_path(error: Exception) -> str:
    """`is not the sealed key of …` of `/…/vault/ID.key: is not the sealed key of …`."""
    return str(error).rpartition(": ")[2]

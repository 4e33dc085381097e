"""What rows and files do not agree on, in both directions.

Leaves out what a mark says must be erased (see `erasure`), and what waits for its row in a reserve.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from retention.archive.archive import Archive
from retention.archive.reserve import recordings_in
from retention.recording import Status
from retention.rows.store import StoreError, UnknownId
from retention.storage.recording_files import FORMATS, FileKind

_FINISHED = tuple(f".{kind}" for kind in FORMATS)
GONE = (Status.ERASED, Status.FAILED, Status.PURGED)  # nothing of these may be on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One disagreement. `id` is null for a file that is not ours; `name` is a file in the directory, or
    `vault/…` in the vault."""

    name: str
    id: str | None
    problem: str
    in_vault: bool = False
    rowless: bool = False  # the database does not know this id
    forbidden: bool = False  # the row says that this file must not exist


def orphans(archive: Archive) -> list[Orphan]:
    """Files without a row, files whose row says that they are gone, and closed rows whose file is gone.

    Calls may begin and end meanwhile: a row exists before its file, and a file before its row is closed. So
    rows are read before and after the listing.
    """
    before = archive.store.unpurged_statuses()
    left_out = {*archive.marks.ids(), *_waiting(archive)}
    names, keys = archive.names(), archive.keys()
    missing = _missing(archive, {name for name, _ in names}, {name for name, _ in keys}, before)
    names, keys = ([(name, id) for name, id in found if id not in left_out] for found in (names, keys))
    return [*_unexpected(archive, names, before), *_unexpected_keys(archive, keys, before), *missing]


def _waiting(archive: Archive) -> frozenset[str]:
    """Those whose row is in a reserve: it is not written yet."""
    places = archive.store.places
    return frozenset() if places is None else recordings_in(places)


def _unexpected(
    archive: Archive, names: Sequence[tuple[str, str | None]], kept: Mapping[str, Status]
) -> Iterator[Orphan]:
    finished = Counter(id for name, id in names if name.endswith(_FINISHED))
    for name, id in names:
        if id is None:
            yield Orphan(name=name, id=None, problem="not a file of the agent")
            continue
        status = _present(archive, id, kept)
        if status is None or status in GONE:
            yield from _without_right(archive, name, id, status)
        elif status is Status.CLOSED and name.endswith((".part", ".tmp")) and _stays(archive, name):
            problem = "left over from a crash; the recording is closed"
            yield Orphan(name=name, id=id, problem=problem)
        elif finished[id] > 1 and name.endswith(_FINISHED) and (own := _other(archive, id, name)):
            yield Orphan(name=name, id=id, problem=f"not the file of its recording, {own}")


def _other(archive: Archive, id: str, name: str) -> str | None:
    """The name of a recording's file in its row, if it differs; None if the row has none."""
    try:
        path = archive.store.recording(id).path
    except StoreError:
        return None
    own = path and PurePath(path).name
    return None if own == PurePath(name).name else own


def _stays(archive: Archive, name: str) -> bool:
    """Whether it is there while no process can be writing it: what is kept changes within a transaction."""
    with archive.store.write():
        return archive.files.is_there(name)


def _unexpected_keys(
    archive: Archive, keys: Iterable[tuple[str, str | None]], kept: Mapping[str, Status]
) -> Iterator[Orphan]:
    for name, id in keys:
        if id is None:
            yield Orphan(name=name, id=None, problem="not a key of a recording", in_vault=True)
            continue
        status = _present(archive, id, kept)
        if status is None or status in GONE:
            yield from _without_right(archive, name, id, status, in_vault=True)


def _without_right(
    archive: Archive, name: str, id: str, status: Status | None, *, in_vault: bool = False
) -> Iterator[Orphan]:
    if status is None:
        problem = "no row in the database"
        yield Orphan(name=name, id=id, problem=problem, rowless=True, in_vault=in_vault)
    elif archive.files.is_there(name):  # else it was removed while we looked
        problem = f"the recording is {status.value}; restored from a backup?"
        yield Orphan(name=name, id=id, problem=problem, forbidden=True, in_vault=in_vault)


def _missing(
    archive: Archive, names: set[str], keys: set[str], before: Mapping[str, Status]
) -> Iterator[Orphan]:
    for id, status in before.items():
        if status is not Status.CLOSED:
            continue
        found, name = [], partial(archive.files.name, id)
        if not any(name(kind) in names for kind in FORMATS):
            found.append((id, "the file of a closed recording is missing"))
        if name(FileKind.METADATA) not in names:
            found.append((name(FileKind.METADATA), "the metadata of a closed recording is missing"))
        if name(FileKind.SEALED) in names and name(FileKind.KEY) not in keys:
            found.append((name(FileKind.SEALED), "its key is missing from the vault: nobody can open it"))
        if found and id not in archive.marks.ids() and _present(archive, id, {}) is Status.CLOSED:
            for what, problem in found:
                yield Orphan(name=what, id=id, problem=problem)


def _present(archive: Archive, id: str, kept: Mapping[str, Status]) -> Status | None:
    """The status of a row now; looks up those that are not kept, or may have changed meanwhile.

    None where there is no row. A row that cannot be read keeps its files: it counts as the least finished
    status.
    """
    if kept.get(id) is Status.CLOSED:
        return Status.CLOSED
    try:
        return archive.store.recording(id).status
    except UnknownId:
        return None
    except StoreError:
        return Status.OPEN

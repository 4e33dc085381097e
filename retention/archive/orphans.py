"""What rows and files do not agree on, in both directions.

Leaves out what a mark says must be erased (see `erasure`), and what waits for its row in a reserve.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import PurePath

from retention.archive.archive import Archive
from retention.archive.kept_files import CLOSED
from retention.archive.reserve import recordings_in
from retention.recording import Status, host_of, is_id
from retention.rows.pages import BATCH, PAGE, Row, batches
from retention.rows.store import StoreError, UnknownId
from retention.storage.recording_files import FORMATS, Area, FileKind

_FINISHED = tuple(f".{kind}" for kind in FORMATS)
_KNOWN = {status.value: status for status in Status}
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
    missing: bool = False  # the row says that it should exist


Seen = Callable[[int], None]  # so many files and rows were looked at by now


def orphans(archive: Archive, seen: Seen = lambda count: None) -> list[Orphan]:
    """Files without a row, files whose row says that they are gone, and closed rows whose file is gone.

    Calls may begin and end meanwhile: a row exists before its file, and a file before its row is closed. So
    what looks wrong is looked at again. However much there is, only a page of it is in memory.
    """
    found: list[Orphan] = []
    count = 0
    left_out = {*archive.marks.ids(), *_waiting(archive)}
    for area in (Area.RECORDINGS, Area.VAULT):
        for names in batches(archive.files.each_name(area), BATCH):
            asked = [(name, id) for name, id in names if id not in left_out]
            found += _unexpected(archive, area, asked)
            seen(count := count + len(names))
    for rows in batches(archive.store.each(CLOSED), PAGE):
        found += _missing(archive, [row["id"] for row in rows if is_id(str(row["id"]))])
        seen(count := count + len(rows))
    found.sort(key=attrgetter("missing", "in_vault"))  # each of these as it is listed
    return [
        orphan for _, some in groupby(found, attrgetter("missing", "in_vault")) for orphan in _sorted(some)
    ]


def _sorted(found: Iterable[Orphan]) -> list[Orphan]:
    """By name; what is missing stays in the order of its rows."""
    listed = [*found]
    return listed if listed[0].missing else sorted(listed, key=attrgetter("name"))


def _waiting(archive: Archive) -> frozenset[str]:
    """Those whose row is in a reserve: it is not written yet."""
    return frozenset() if archive.here is None else recordings_in(archive.here)


def _unexpected(archive: Archive, area: Area, names: list[tuple[str, str | None]]) -> Iterator[Orphan]:
    in_vault = area is Area.VAULT
    rows = archive.store.states([id for _, id in names if id is not None])
    for name, id in names:
        if id is None:
            problem = "not a key of a recording" if in_vault else "not a file of the agent"
            yield Orphan(name=name, id=None, problem=problem, in_vault=in_vault)
            continue
        row = rows.get(id)
        status = None if row is None else _KNOWN.get(row["status"], Status.OPEN)
        if status is None or status in GONE:
            yield from _without_right(archive, name, id, status, in_vault=in_vault)
        elif in_vault or status is not Status.CLOSED:
            continue
        elif name.endswith((".part", ".tmp")):
            if _stays(archive, name):
                problem = "left over from a crash; the recording is closed"
                yield Orphan(name=name, id=id, problem=problem)
        elif name.endswith(_FINISHED) and (own := _other(archive, row, name)):
            yield Orphan(name=name, id=id, problem=f"not the file of its recording, {own}")


def _other(archive: Archive, row: Row | None, name: str) -> str | None:
    """The name of a recording's file in its row, if that is another one, and there; else None."""
    own = row and row["path"] and PurePath(str(row["path"])).name
    if not own or own == PurePath(name).name or row is None:
        return None
    return own if sum(archive.files.exists(row["id"], kind) for kind in FORMATS) > 1 else None


def _stays(archive: Archive, name: str) -> bool:
    """Whether it is there while no process can be writing it: what is kept changes within a transaction."""
    with archive.store.write():
        return archive.files.is_there(name)


def _without_right(
    archive: Archive, name: str, id: str, status: Status | None, *, in_vault: bool = False
) -> Iterator[Orphan]:
    if status is None:
        problem = "no row in the database"
        known = archive.marks.forbidden(id) or id in _waiting(archive) or _status(archive, id) is not None
        if not known and archive.files.is_there(name):  # else it came, or went, while we looked
            yield Orphan(name=name, id=id, problem=problem, rowless=True, in_vault=in_vault)
    elif status is Status.FAILED and _may_be_whole(archive, id):
        return
    elif archive.files.is_there(name):  # else it was removed while we looked
        problem = f"the recording is {status.value}; restored from a backup?"
        yield Orphan(name=name, id=id, problem=problem, forbidden=True, in_vault=in_vault)


def _may_be_whole(archive: Archive, id: str) -> bool:
    """Whether its host, which others took for lost, may have all of it, and has not told."""
    heard, ended = archive.store.heard_until(host_of(id)), archive.store.recording(id).ended_at
    return heard is None or (ended is not None and heard <= ended)


def _missing(archive: Archive, closed: list[str]) -> Iterator[Orphan]:
    files = archive.files
    for id in closed:
        found, sound = [], files.finished(id)
        if sound is None:
            found.append((id, "the file of a closed recording is missing"))
        if not files.exists(id, FileKind.METADATA):
            name = files.name(id, FileKind.METADATA)
            found.append((name, "the metadata of a closed recording is missing"))
        if sound is FileKind.SEALED and not files.exists(id, FileKind.KEY):
            name = files.name(id, FileKind.SEALED)
            found.append((name, "its key is missing from the vault: nobody can open it"))
        if found and not archive.marks.forbidden(id) and _status(archive, id) is Status.CLOSED:
            for what, problem in found:
                yield Orphan(name=what, id=id, problem=problem, missing=True)


def _status(archive: Archive, id: str) -> Status | None:
    """The status of a row now; None where there is no row.

    A row that cannot be read keeps its files: it counts as the least finished status.
    """
    try:
        return archive.store.recording(id).status
    except UnknownId:
        return None
    except StoreError:
        return Status.OPEN

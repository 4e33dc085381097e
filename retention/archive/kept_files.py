"""Whether what is kept of recordings is what rows say: each file by its hash, each hold where it must be.

Where files are objects, the store says how long they are and what their hash is: it has computed it from what
it has. Only `deep` reads the bytes. So much is asked for at a time as `RecordingFiles.at_once` allows.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from retention.archive.archive import Archive
from retention.archive.leftovers import leftovers
from retention.archive.metadata import beside
from retention.recording import Status, is_id, to_text
from retention.rows.pages import BATCH, Listing, Row, batches
from retention.rows.selection import Selection
from retention.storage.recording_files import FORMATS, FileKind, Stored, sha256

Step = Callable[[int, int], None]  # done, total

CLOSED = Listing(
    table="recordings",
    order=("started_at", "id"),
    columns="id, sha256, bytes, hold",
    indexed="purged_at IS NULL",
    where=["status = ?"],
    values=[Status.CLOSED.value],
)
"""Recordings that have files."""

_LASTS = timedelta(minutes=1)  # what is still to be removed after that is told
_BESIDE = (FileKind.KEY, FileKind.METADATA)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `where` names an entry, a row, or a file."""

    where: str
    problem: str


def each_file(
    archive: Archive, step: Step, *, deep: bool, without: Callable[[str], bool]
) -> Iterator[Problem]:
    """What is wrong with the files of closed recordings; `without(id)`: nothing can be said of what lies
    beside this one. Raises StoreError."""
    total, done = sum(1 for _ in archive.store.each(CLOSED)), 0

    def problems_of(row: Row) -> list[Problem]:
        return [*_file(archive, row, deep=deep, alone=without(row["id"]))]

    with ThreadPoolExecutor(archive.files.at_once, "files") as pool:
        for rows in batches(archive.store.each(CLOSED), BATCH):
            several = archive.files.at_once > 1
            for found in pool.map(problems_of, rows) if several else map(problems_of, rows):
                yield from found
                step(done := done + 1, total)


def each_hold(archive: Archive) -> Iterator[Problem]:
    """Holds that rows have, and objects do not: a store would remove them. Raises StoreError."""
    for row in archive.store.each_recording(Selection(held=True), lambda id, problem: None):
        if row.status is not Status.CLOSED:
            continue
        for kind in (*FORMATS, *_BESIDE):
            try:
                stored = archive.files.stored(row.id, kind) if archive.files.exists(row.id, kind) else None
            except OSError:
                continue  # that it is missing, or cannot be asked for, is told of its file
            if stored is not None and not stored.held:
                yield Problem(archive.files.name(row.id, kind), "its row is on hold, the object is not")


def what_is_left(archive: Archive, now: datetime) -> Iterator[Problem]:
    """What rows say is gone, and a store or a vault still has. Raises StoreError."""
    left = archive.store.objects.removals(now - _LASTS)
    if left.recordings:
        since = "" if left.since is None else f", the first since {to_text(left.since)}"
        problem = f"must be removed from the store, and are not{since}: see `sipagent purge`"
        yield Problem("objects", f"those of {left.recordings} recordings {problem}")
    if twice := {row.id for row in leftovers(archive) if row.at < now - _LASTS}:
        problem = "are kept twice, or in pieces beside the whole: see `sipagent purge`"
        yield Problem("objects", f"those of {len(twice)} recordings {problem}")
    if keys := archive.store.keys_left():
        yield Problem("vault", f"{keys} keys of rows must be removed, and are not: see `sipagent purge`")


def _file(archive: Archive, row: Row, *, deep: bool, alone: bool) -> Iterator[Problem]:
    """Check one file, and what lies beside it, unless `alone`: its row is not what it should be."""
    id, files = row["id"], archive.files
    kind = files.finished(id) if is_id(str(id)) else None
    if kind is None:
        return
    try:
        stored = files.stored(id, kind)
        if not _is_as_recorded(archive, kind, row, None if deep else stored):
            yield Problem(files.name(id, kind), "its hash is not that of the file that was recorded")
        elif stored is not None and stored.held and not row["hold"]:
            yield Problem(files.name(id, kind), "the object is on hold, its row is not")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and archive.store.recording(id).status is not Status.CLOSED:
            return  # a purge has removed it meanwhile
        yield Problem(files.name(id, kind), f"cannot be read: {error.strerror}")
    for what, problem in () if alone else beside(archive, id):
        yield Problem(what, problem)


def _is_as_recorded(archive: Archive, kind: FileKind, row: Row, stored: Stored | None) -> bool:
    """By what a store says, where it does. Raises OSError."""
    told = str(row["sha256"])
    if stored is not None and stored.sha256 is not None:
        return stored.sha256 == told and row["bytes"] in (None, stored.bytes)
    return sha256(archive.files, row["id"], kind) == told

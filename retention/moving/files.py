"""Copies what is kept of recordings from one place to another, and compares it there.

A file gets its name only whole, so a name that is there tells that nothing of it is missing; whether it is
the right one the comparison says.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from retention.archive.archive import Archive
from retention.backup.manifest import copy
from retention.moving.settled import closed
from retention.recording import Status
from retention.rows.store import StoreError
from retention.rules import counts
from retention.storage.files import make_folder, private_file, share_owner
from retention.storage.recording_files import FORMATS, Area, FileKind, RecordingFiles, sha256

Step = Callable[[int, int], None]  # done, total

_METADATA_LIMIT = 1 << 20  # bytes; none of ours, nor a sealed key, is longer


@dataclass(frozen=True, slots=True)
class Unequal:
    """A file that is not in both places, or another; `name` as people see it."""

    id: str
    kind: FileKind
    name: str


def kinds_of(files: RecordingFiles, id: str) -> list[FileKind]:
    """What there is of a closed recording."""
    sound = files.finished(id)
    kinds = [FileKind.KEY, *([sound] if sound else []), FileKind.METADATA]
    return [kind for kind in kinds if files.exists(id, kind)]


def copy_files(source: Archive, target: RecordingFiles, step: Step) -> int:
    """Copy what is kept of each closed recording, the key first, unless it is there; how many files were
    copied. Raises StoreError, OSError."""
    total, copied = counts.recordings(source.store, Status.CLOSED), 0
    target.prepare()
    for done, id in enumerate(closed(source), 1):
        for kind in kinds_of(source.files, id):
            if not target.exists(id, kind):
                copy_file(source.files, target, id, kind)
                copied += 1
        step(done, total)
    return copied


def copy_file(source: RecordingFiles, target: RecordingFiles, id: str, kind: FileKind) -> None:
    """Copy one file, in place of one that may be there. Raises OSError."""
    with source.open(id, kind) as reading:
        if kind not in FORMATS:
            target.write(id, kind, reading.read(_METADATA_LIMIT))
            return
        path = target.spool(id, kind)
        make_folder(path.parent)
        arriving = path.with_name(f"{path.name}.tmp")
        with private_file(arriving) as writing:
            copy(reading, writing)
            share_owner(arriving)
            writing.flush()
            os.fsync(writing.fileno())
    arriving.replace(path)
    target.keep(id, kind)


def remove_gone(source: Archive, target: RecordingFiles) -> int:
    """Remove there what a run before this one has copied, and what has been purged or erased here since; of
    how many recordings. Raises StoreError, OSError."""
    gone = 0
    for area in Area:
        ids = {id for _, id in target.names(area) if id is not None and not _is_closed(source, id)}
        for error in target.remove_all(area, [*ids]).values():
            raise error
        gone += len(ids)
    return gone


def unequal(source: Archive, target: RecordingFiles, step: Step) -> Iterator[Unequal]:
    """Compare every file by its hash, in both places. Raises StoreError, OSError."""
    total = counts.recordings(source.store, Status.CLOSED)
    for done, id in enumerate(closed(source), 1):
        for kind in kinds_of(source.files, id):
            if not is_equal(source.files, target, id, kind):
                yield Unequal(id, kind, source.files.name(id, kind))
        step(done, total)


def is_equal(source: RecordingFiles, target: RecordingFiles, id: str, kind: FileKind) -> bool:
    """Whether both places have the same bytes. Raises OSError."""
    try:
        return sha256(source, id, kind) == sha256(target, id, kind)
    except FileNotFoundError:
        return False


def _is_closed(source: Archive, id: str) -> bool:
    try:
        return source.store.recording(id).status is Status.CLOSED
    except StoreError:
        return True  # unknown, or damaged: not ours to judge

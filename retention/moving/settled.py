"""Whether anything is still to be done where the rows are: then they can't move yet, and why."""

from collections.abc import Iterator

from retention.archive.archive import Archive
from retention.archive.erasure import pending
from retention.archive.kept_files import CLOSED
from retention.archive.reserve import ReserveError, read_reserve
from retention.recording import Status
from retention.rules import counts
from retention.storage.recording_files import FileKind


def unsettled(archive: Archive) -> Iterator[str]:
    """What an agent or a purge must end first, one line each. Raises StoreError, OSError."""
    if calls := len(archive.store.open_receipts(lambda id, problem: None)):
        yield f"calls have not ended in it ({calls}): start the agent once, and stop it"
    elif calls := counts.recordings(archive.store, Status.OPEN):
        yield f"recordings are not finished ({calls}): start the agent once, and stop it"
    if waiting := [*_waiting(archive)]:
        yield f"{waiting[0]}: calls wait in it for the database: start the agent once, and stop it"
    if left := pending(archive):
        yield f"{left[0]}: must be erased, and is not: see `sipagent purge`"
    if half := counts.recordings(archive.store, Status.PURGING):
        yield f"recordings are half purged ({half}): see `sipagent purge`"


def in_clear(archive: Archive) -> list[str]:
    """The closed recordings that are stored in clear, oldest first: they may not leave this machine."""
    kinds = (FileKind.FLAC, FileKind.WAV)
    return [id for id in closed(archive) if archive.files.finished(id) in kinds]


def closed(archive: Archive) -> Iterator[str]:
    """The ids of all closed recordings, oldest first. Raises StoreError."""
    return (row["id"] for row in archive.store.each(CLOSED))


def _waiting(archive: Archive) -> Iterator[str]:
    places = archive.store.places
    for path in [] if places is None else places.reserves().values():
        try:
            if read_reserve(path):
                yield path.name
        except ReserveError:
            yield path.name

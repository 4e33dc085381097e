"""What a process that died had begun is finished: who may not be recorded is erased, the rest is kept.

All of it at the start of the service; what one worker left, where another takes its place. Nothing is touched
that belongs to a worker which is alive: see `retention.progress`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from media.recording.assemble import Format
from retention.archive.archive import Archive, ArchiveError
from retention.archive.erasure import REFUSED, allows, finish, pending
from retention.archive.progress import of_the_living
from retention.archive.reserve import ReserveError, left_behind, take_in
from retention.recording import Event, Receipt, Recording, Status
from retention.rows.rows import Rows
from retention.rows.store import StoreError, UnknownId
from retention.storage.recording_files import FileKind
from sipagent.agent.recorder.jobs import FAULTS
from sipagent.agent.recorder.recorder import Closing, close, flag
from sipagent.call.machines.story import FLAGGED


def recover(
    archive: Archive,
    format: Format,
    now: datetime,
    alert: Callable[[str], None],
    left: Collection[str] | None = None,
) -> list[Receipt]:
    """Finish these calls, or all that nobody is at work on; the receipts of those that had not ended.

    What had waited for the database comes first, out of the reserves of those that are gone.

    A mark is believed whatever the rows say: what it is of goes first, without the database. Neither has a
    part whose receipt is not `allowed` a right to be there, unless it was the recorder that failed. A row
    that cannot be read is told of; it hinders neither the start nor a refusal. Raises StoreError, OSError.
    """
    store, marked = archive.store, archive.marks.ids()
    refused = [id for id in marked if (mark := archive.marks.read(id)) and mark.decision == REFUSED]
    archive.remove(
        refused, anyhow=True
    )  # whoever is at work on it does the same; what does not go is told below
    if left is None:
        take_in_reserves(store, () if store.places is None else left_behind(store.places), alert)
        others = of_the_living(store, marked)
        ids = [id for id in _unfinished(archive) if id not in others]
        receipts = store.open_receipts(lambda id, problem: alert(f"recovery of {id}: {problem}"))
        opened = [receipt.id for receipt in receipts if receipt.id not in others]
    else:
        ids = [id for id in left if _is_unfinished(archive, id)]
        opened = list(left)
    for id in sorted(ids, key=lambda id: _may_be_kept(archive, id)):
        with _told(id, alert):
            _recover(archive, format, id, now)
    ended: list[Receipt] = []
    for id in opened:
        with _told(id, alert):
            ended += _end(archive, id, now)
    return ended


def take_in_reserves(store: Rows, paths: Iterable[Path], alert: Callable[[str], None]) -> list[str]:
    """Write what is in them into the database; ids of the calls. Raises StoreError."""
    ids: list[str] = []
    for path in paths:
        try:
            ids += take_in(store, path)
        except (OSError, ReserveError) as fault:
            alert(f"the reserve: {fault}")
    return ids


def _unfinished(archive: Archive) -> list[str]:
    """Recordings that are open, that are to go whatever they are, or damaged."""
    found: dict[str, None] = {}

    def note(id: str, problem: str) -> None:
        found[id] = None

    for row in archive.unfinished(note):
        found[row.id] = None
    return [*found | dict.fromkeys(pending(archive, note))]


def _is_unfinished(archive: Archive, id: str) -> bool:
    """Whether the recording of this call is open, must go, or is damaged; false where there is none."""
    if archive.marks.forbidden(id):
        return True
    try:
        status = archive.store.recording(id).status
        must_go = not allows(archive.store.receipt(id))
    except UnknownId:
        return False
    except StoreError:
        return True
    return status is Status.OPEN or (status is Status.CLOSED and must_go)


def _may_be_kept(archive: Archive, id: str) -> bool:
    if archive.marks.forbidden(id):
        return False
    try:
        return allows(archive.store.receipt(id))
    except StoreError:
        return False


def _says(receipt: Receipt, what: str) -> bool:
    return any(event.what == what for event in receipt.events)


def _recover(archive: Archive, format: Format, id: str, now: datetime) -> None:
    if archive.marks.forbidden(id):
        _believe_mark(archive, id, now)
        return
    try:
        receipt = archive.store.receipt(id)
    except UnknownId:  # nothing says that it may be there
        archive.erase(id, now)
        raise ArchiveError("had no receipt, and was erased") from None
    if allows(receipt):
        recording = archive.store.recording(id)
        died = _last_sound(archive, recording, now)
        closing = Closing(
            ended_at=died,
            operator=receipt.operator or recording.operator,
            operators=receipt.operators,
            flagged=_says(receipt, FLAGGED),
        )
        close(archive, recording, format, closing)
    else:
        finish(archive, id, now)


def _believe_mark(archive: Archive, id: str, now: datetime) -> None:
    """Whose rows are not there by now, they never will be: the sound is gone, and the mark may go."""
    try:
        finish(archive, id, now)
    except UnknownId:
        if not archive.store.whole:
            return  # the database that hosts share may know it: the purge asks that one, and keeps trying
        archive.marks.remove(id)
        raise ArchiveError("had been marked, is gone, and the database does not know it") from None


def _end(archive: Archive, id: str, now: datetime) -> Iterator[Receipt]:
    receipt = archive.store.receipt(id)
    if receipt.ended_at is not None:
        return
    event = Event(at=now, what="the agent had died in this call", by="agent")
    if receipt.recording_id and _says(receipt, FLAGGED):
        flag(archive, receipt.recording_id)  # one that had been kept before it was flagged
    ended = replace(receipt, outcome="failed", ended_at=now, events=(*receipt.events, event))
    archive.store.update_receipt(ended)
    yield ended


@contextmanager
def _told(id: str, alert: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except FAULTS as fault:
        alert(f"recovery of {id}: {fault}")
    except Exception as fault:  # noqa: BLE001 - the next one may be of a caller who refused
        alert(f"recovery of {id}: {fault!r}, which nobody foresaw")


def _last_sound(archive: Archive, recording: Recording, now: datetime) -> datetime:
    """When the part, or the finished file, was last written to."""
    for kind in (FileKind.PART, archive.files.finished(recording.id)):
        if kind and archive.files.exists(recording.id, kind):
            return archive.files.written_at(recording.id, kind)
    return now

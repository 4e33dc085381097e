"""What a process that died had begun is finished: who may not be recorded is erased, the rest is kept.

All of it at the start of the service; what one worker left, where another takes its place. Nothing is touched
that belongs to a worker which is alive: see `retention.progress`.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from media.assemble import Format
from retention.archive import Archive, ArchiveError
from retention.progress import of_the_living
from retention.recording import Event, Receipt, Recording, Status
from retention.selection import Selection
from retention.store import StoreError, UnknownId
from sipagent.recorder import FAULTS, Closing, close, erase, flag
from sipagent.story import ERASED, FLAGGED


def recover(
    archive: Archive,
    format: Format,
    now: datetime,
    alert: Callable[[str], None],
    left: Collection[str] | None = None,
) -> list[Receipt]:
    """Finish these calls, or all that nobody is at work on; the receipts of those that had not ended.

    A part whose receipt is not `allowed` has no right to be there, unless it was the recorder that failed; it
    goes first. A row that cannot be read is told of; it hinders neither the start nor a refusal.
    Raises StoreError, OSError.
    """
    store = archive.store
    if left is None:
        others = of_the_living(store)
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


def _unfinished(archive: Archive) -> list[str]:
    """Recordings that are open, that were kept before the call went on to what erases them, or damaged."""
    damaged: list[str] = []

    def note(id: str, problem: str) -> None:
        damaged.append(id)

    unfinished = [row.id for row in archive.unfinished(note)]
    kept_at_first = [
        receipt.id
        for decision in ("refused", "not_allowed")
        for receipt in archive.store.each_receipt(Selection(status=Status.CLOSED, decision=decision), note)
        if not _allows(receipt)
    ]
    return [*unfinished, *kept_at_first, *damaged]


def _is_unfinished(archive: Archive, id: str) -> bool:
    """The same of one call."""
    try:
        status = archive.store.recording(id).status
        must_go = not _allows(archive.store.receipt(id))
    except UnknownId:
        return False
    except StoreError:
        return True
    return status is Status.OPEN or (status is Status.CLOSED and must_go)


def _may_be_kept(archive: Archive, id: str) -> bool:
    try:
        return _allows(archive.store.receipt(id))
    except StoreError:
        return False


def _allows(receipt: Receipt) -> bool:
    """Whether what was recorded may stay: it was allowed to its end, and no key has had it erased since."""
    allowed = receipt.decision == "allowed" or receipt.decided_by == "recorder_fault"
    return allowed and not _says(receipt, ERASED)


def _says(receipt: Receipt, what: str) -> bool:
    return any(event.what == what for event in receipt.events)


def _recover(archive: Archive, format: Format, id: str, now: datetime) -> None:
    try:
        receipt = archive.store.receipt(id)
    except UnknownId:  # nothing says that it may be there
        archive.erase(id, now)
        raise ArchiveError("had no receipt, and was erased") from None
    if _allows(receipt):
        recording = archive.store.recording(id)
        died = _last_sound(archive, recording, now)
        closing = Closing(ended_at=died, operator=recording.operator, flagged=_says(receipt, FLAGGED))
        close(archive, recording, format, closing)
    else:
        erase(archive, receipt, now)


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
    for path in (archive.part(recording.id), archive.file(recording.id)):
        if path and path.exists():
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return now

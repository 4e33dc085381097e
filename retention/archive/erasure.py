"""What must be erased after a refusal or an operator's key: rows and files, even after a crash.

Each step is safe to repeat: the files go, the receipt says so, then the row, then the mark goes. What cannot
be removed (a read-only folder, a failing disk) is found again by its mark or its rows, and the next process
tries again. A legal hold keeps what an operator wanted erased; never what the caller refused.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from retention.archive.archive import Archive
from retention.archive.progress import lasting
from retention.recording import Receipt, Record, Status
from retention.rows.faults import HeadNotWritten
from retention.rows.pages import Listing
from retention.rows.store import Damaged, StoreError, UnknownId
from retention.storage.marks import Mark, says_erased

REFUSED = "refused"
_STEPS = 2  # that write
Kept = TypeVar("Kept", bound=Record)
_FORBIDS = "receipts.id = recordings.id AND receipts.decision IN ('refused', 'not_allowed')"
_FORBIDDEN = Listing(
    table="recordings",
    order=("started_at", "id"),
    columns="id",
    indexed="purged_at IS NULL",
    where=["status = 'closed'", f"EXISTS (SELECT 1 FROM receipts WHERE {_FORBIDS})"],
)


def allows(receipt: Receipt) -> bool:
    """Whether what was recorded may stay: it was allowed to its end, and no key has erased it since."""
    allowed = receipt.decision == "allowed" or receipt.decided_by == "recorder_fault"
    return allowed and not says_erased(receipt)


def pending(archive: Archive, damaged: Damaged = lambda id, problem: None) -> list[str]:
    """Recordings that must be erased and are not completely, sorted; without those that a hold keeps.

    `damaged(id, problem)` is told of rows that cannot be read. Raises StoreError, OSError.
    """
    found = set(archive.marks.ids())
    for row in archive.unfinished(damaged):
        if _must_go(archive, row.id, damaged):
            found.add(row.id)
    found |= {id for id in _forbidden(archive) if _must_go(archive, id, damaged)}
    return sorted(id for id in found if not _is_kept_by_hold(archive, id))


def stuck(archive: Archive) -> list[str]:
    """What is `pending` and stays so: not what a running agent is working on. Raises StoreError, OSError."""
    return lasting(pending(archive), lambda found: [id for id in found if _is_pending(archive, id)])


def _is_pending(archive: Archive, id: str) -> bool:
    if archive.marks.forbidden(id):
        return True
    row = _known(archive.store.recording, id)
    return row is not None and row.status in (Status.OPEN, Status.CLOSED)


def finish(archive: Archive, id: str, at: datetime, mark: Mark | None = None) -> None:
    """Erase a recording: files, receipt and row, and then its mark, if there is one.

    If the caller refused, or nothing can hold it yet, its files are removed without waiting for the database:
    on a full disk this makes room for the rows. Raises UnknownId for a call that the database does not know,
    whose mark stays: its rows may come later; StoreError, ArchiveError; OSError for a file that cannot be
    removed; by then the receipt says that it must be.
    """
    mark = mark or archive.marks.read(id)
    if mark is not None and mark.decision == REFUSED:
        archive.remove([id], anyhow=True)  # what cannot be removed is tried again below
    try:
        _tell(archive, id, at, mark)
    except UnknownId:
        _remove(archive, id)
        raise
    except StoreError:
        if not _goes_anyhow(archive, id, mark):
            raise
        _remove(archive, id)
        _tell(archive, id, at, mark)
    archive.marks.remove(id)


def _tell(archive: Archive, id: str, at: datetime, mark: Mark | None) -> None:
    """Do each step, even if the chain's head cannot be written. Raises UnknownId if there is no row at
    all."""
    for _ in range(_STEPS):
        with suppress(HeadNotWritten):
            _tell_once(archive, id, at, mark)
            return
    _tell_once(archive, id, at, mark)


def _tell_once(archive: Archive, id: str, at: datetime, mark: Mark | None) -> None:
    """The receipt first, then the row."""
    store = archive.store
    decision = None if mark is None else mark.decision
    with store.write():
        receipt, row = _known(store.receipt, id), _known(store.recording, id)
        if receipt is not None:
            told = receipt if mark is None else mark.onto(receipt)
            decision = told.decision
            if told != receipt:
                store.update_receipt(told)
        elif row is None:
            raise UnknownId(f"{id}: no such id")
    if row is None or row.status in (Status.PURGING, Status.PURGED):
        store.objects.remove([id], anyhow=True)
        _remove(archive, id)
    else:
        archive.erase(id, at, decision)


def _remove(archive: Archive, id: str) -> None:
    for error in archive.remove([id], anyhow=True).values():
        raise error


def _goes_anyhow(archive: Archive, id: str, mark: Mark | None) -> bool:
    """Whether no hold can keep it: the caller refused, or it was not closed yet. Raises StoreError."""
    if mark is not None and mark.decision == REFUSED:
        return True
    receipt = _known(archive.store.receipt, id)
    if receipt is not None and receipt.decision == REFUSED:
        return True
    return archive.store.recording(id).status is Status.OPEN


def _forbidden(archive: Archive) -> Iterator[str]:
    """Closed, but their receipts may say that they must go."""
    return (str(row["id"]) for row in archive.store.each(_FORBIDDEN))


def _must_go(archive: Archive, id: str, damaged: Damaged) -> bool:
    try:
        receipt = archive.store.receipt(id)
        return receipt.decision != "undecided" and not allows(receipt)
    except UnknownId:
        return False  # the next start decides, as for what was never decided: see `recovery`
    except StoreError as problem:
        damaged(id, str(problem))
        return False


def _is_kept_by_hold(archive: Archive, id: str) -> bool:
    """Never against the caller: see the database's own triggers."""
    try:
        row = archive.store.recording(id)
        if row.hold is None:
            return False
        mark = archive.marks.read(id)
        return REFUSED not in (archive.store.receipt(id).decision, mark.decision if mark else None)
    except StoreError:
        return False


def _known(find: Callable[[str], Kept], id: str) -> Kept | None:
    try:
        return find(id)
    except UnknownId:
        return None

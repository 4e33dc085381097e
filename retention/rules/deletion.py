"""Deletes one call before its date, because a person asked for it, and proves it. (GDPR article 17.)

What is removed: the recording with its key and its metadata, what leads to a person in its row and in the
call's receipt, the text of every analysis. What stays: the exact times, the number that was dialled, how the
call ended and what was decided, the length and hash of the file, and the line in the trace that says who
removed it and why. That has no name or number of the caller; but anyone with other records of the call can
match them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from errno import EAGAIN
from typing import TypeVar

from retention.archive.archive import Archive, why_held
from retention.recording import Access, Receipt, Recording, Status
from retention.rows.chain import ChainHead, is_personal
from retention.rows.rows import Rows
from retention.rows.store import UnknownId
from retention.rules.copies import Copy, known_copies
from retention.rules.removing import finish
from retention.rules.use import already_purged, discreet

Kept = TypeVar("Kept")


class NotDeleted(Exception):
    """The call is not deleted; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What is kept of a call: a recording, a receipt, or both."""

    id: str
    started_at: datetime
    recording: Recording | None
    receipt: Receipt | None

    @classmethod
    def find(cls, store: Rows, id: str) -> "KeptCall":
        """What is kept of this call. Raises UnknownId if there is nothing."""
        recording, receipt = _known(store.recording, id), _known(store.receipt, id)
        row = recording or receipt
        if row is None:
            raise UnknownId(f"{id}: no such id")
        return cls(id, row.started_at, recording, receipt)

    def discreet(self, trace: Access) -> Access:
        """The trace without caller and operator: one row may still name them when the other no longer
        does."""
        for row in (self.recording, self.receipt):
            trace = trace if row is None else discreet(trace, row)
        return trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What was done. `call` is what was kept before; `trace` says when it was asked for, by whom and why.

    `receipt`: whether the call's receipt led to a person until now; `notes`: analyses that lost their text;
    `copies` were exported and still exist; `entry` is the entry of the chain that tells of the deletion.
    """

    call: KeptCall
    trace: Access
    receipt: bool
    notes: int
    copies: tuple[Copy, ...]
    entry: ChainHead


def delete(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete this call now; after a crash the next purge finishes it.

    `clock` tells when the sound is gone. Raises NotDeleted, UnknownId, StoreError; OSError for a file or a
    key that cannot be removed: the next purge tries again.
    """
    store = archive.store
    with store.write():
        call = KeptCall.find(store, id)
        receipt = call.receipt is not None and is_personal("receipt", call.receipt.to_json())
        notes = store.forget_notes_of(id)
        if (reason := _held(archive, call) or _why_not(call, receipt or notes > 0)) is not None:
            raise NotDeleted(reason)
        trace = call.discreet(replace(trace, action="delete", recording_id=id))
        store.add_access(trace)
        going = call.recording is not None and archive.begin_purge(id)
        archive.forget_caller(id)
        entry = store.head()
    if going:
        entry = finish(archive, id, clock())
    if problem := store.forget_keys().problem:
        raise OSError(EAGAIN, problem, id)
    return Deletion(
        call=call,
        trace=trace,
        receipt=receipt,
        notes=notes,
        copies=tuple(copy for copy in known_copies(store, id) if copy.exists),
        entry=entry,
    )


def why_stays(archive: Archive, call: KeptCall) -> str | None:
    """Why `delete` would leave this call as it is, in one line; None if it would go. Raises StoreError."""
    receipt = call.receipt is not None and is_personal("receipt", call.receipt.to_json())
    notes = any(is_personal("note", note.to_json()) for note in archive.store.notes(call.id))
    return _held(archive, call) or _why_not(call, receipt or notes)


def _held(archive: Archive, call: KeptCall) -> str | None:
    why = None if call.recording is None else why_held(archive, call.recording)
    return why and f"it is {why}; see `release`"


def _why_not(call: KeptCall, more: bool) -> str | None:
    """Why it is kept; `more`: whether anything besides the recording leads to a person."""
    recording, receipt = call.recording, call.receipt
    open_recording = recording is not None and recording.status is Status.OPEN
    if open_recording or (receipt is not None and receipt.ended_at is None):
        return "the call is still in progress"
    if recording is None:
        return None if more else "this call has no recording, and its receipt leads to nobody"
    return already_purged(recording) if recording.purged_at is not None and not more else None


def _known(find: Callable[[str], Kept], id: str) -> Kept | None:
    try:
        return find(id)
    except UnknownId:
        return None

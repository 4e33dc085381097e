"""Show all that is known of one call."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from retention.archive import Archive
from retention.erase import KeptCall
from retention.purge import due
from retention.records import Access, Note, Receipt, Record, Recording, reference_of
from retention.use import ExportedCopy, known_copies
from retention.vault import KeysError


@dataclass(frozen=True, kw_only=True)
class ShownRecording(Recording):
    """All that is known of a call with a recording: `show --json`.

    `due_at`: when the recording goes, if nothing holds it. `sealed_to`: who can listen; null if it is in
    clear, or gone.
    """

    reference: str
    due_at: datetime
    sealed_to: tuple[str, ...] | None
    receipt: Receipt | None
    notes: tuple[Note, ...]
    copies: tuple[ExportedCopy, ...]
    accesses: tuple[Access, ...]

    @property
    def recording(self) -> Recording:
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class ShownCall(Record):
    """All that is known of a call without a recording."""

    id: str
    status: None = None
    reference: str
    due_at: None = None
    sealed_to: None = None
    receipt: Receipt
    notes: tuple[Note, ...]
    copies: tuple[ExportedCopy, ...]
    accesses: tuple[Access, ...]

    @property
    def recording(self) -> None:
        """There is none."""


Shown = ShownRecording | ShownCall


def show(archive: Archive, id: str, period: str) -> Shown:
    """All that is known of an id; `period`: how long recordings are kept. Raises UnknownId, StoreError."""
    store = archive.store
    call = KeptCall.find(store, id)
    more: dict[str, Any] = {
        "reference": reference_of(id),
        "receipt": call.receipt,
        "notes": tuple(store.notes(id)),
        "copies": known_copies(store, id),
        "accesses": tuple(store.accesses(id)),
    }
    row = call.recording
    if row is None:
        return ShownCall(id=id, **more)
    return ShownRecording.of(row, due_at=due(row, period), sealed_to=_sealed_to(archive, id), **more)


def _sealed_to(archive: Archive, id: str) -> tuple[str, ...] | None:
    if not archive.vault.has(id):
        return None
    try:
        return tuple(map(str, archive.vault.recipients(id)))
    except KeysError:
        return ()  # `verify` says what is wrong with it

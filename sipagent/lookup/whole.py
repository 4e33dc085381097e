"""All that is known of one call."""

from dataclasses import dataclass

from retention.archive.archive import Archive
from retention.recording import Access, Json, Note, Receipt, Recording, reference_of, to_text
from retention.rules.copies import Copy, known_copies
from retention.rules.deletion import KeptCall
from retention.rules.purge import due
from retention.storage.keys import KeysError


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRecord:
    """Everything about one id; at least a recording or a receipt."""

    id: str
    recording: Recording | None
    receipt: Receipt | None
    notes: list[Note]
    copies: list[Copy]
    accesses: list[Access]
    sealed_to: list[str] | None  # who can listen; None if it is in clear, or gone

    def to_json(self, period: str) -> Json:
        """As `show --json` prints it; `period`: how long recordings are kept, by the configuration."""
        row, receipt = self.recording, self.receipt
        own: Json = row.to_json() if row else {"id": self.id, "status": None}
        return own | {
            "reference": reference_of(self.id),
            "due_at": to_text(due(row, period)) if row else None,
            "sealed_to": self.sealed_to,
            "receipt": receipt.to_json() if receipt else None,
            "notes": [note.to_json() for note in self.notes],
            "copies": [copy_json(copy) for copy in self.copies],
            "accesses": [access.to_json() for access in self.accesses],
        }


def whole_record(archive: Archive, id: str) -> WholeRecord:
    """All that is known of an id. Raises UnknownId, StoreError."""
    store = archive.store
    call = KeptCall.find(store, id)
    return WholeRecord(
        id=id,
        recording=call.recording,
        receipt=call.receipt,
        notes=store.notes(id),
        copies=known_copies(store, id),
        accesses=store.accesses(id),
        sealed_to=_sealed_to(archive, id),
    )


def copy_json(copy: Copy) -> Json:
    """`exists`: whether it is still there; true where nobody can look."""
    return {"path": str(copy.path), "at": to_text(copy.at), "by": copy.by, "exists": copy.exists}


def _sealed_to(archive: Archive, id: str) -> list[str] | None:
    if not archive.vault.has(id):
        return None
    try:
        return [str(key) for key in archive.vault.recipients(id)]
    except KeysError:
        return []  # `verify` says what is wrong with it

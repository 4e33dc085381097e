"""Uses a recording: checks, then the line in the trace, and only then the sound. A refusal leaves one, too.

Whoever hands out sound asks here first: `export` and `play`, the page, the interface for programs. No sound
is handed out whose use is not committed, and none whose recording was purged a moment before.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from retention.archive.archive import Archive
from retention.recording import Access, Recording
from retention.rules.use import discreet, nothing_to_use, purposes_of, why_not


class UseRefused(Exception):
    """The use is refused; `str()` is one line that says why, and is in the trace."""


class Use:
    """A use that is allowed, but not in the trace yet: `begin` comes before any sound."""

    def __init__(
        self, archive: Archive, recording: Recording, use: Access, purposes: Collection[str]
    ) -> None:
        self._archive = archive
        self._recording = recording
        # a purpose stays in the chain forever; other text goes into the detail, which is emptied later
        purpose = use.purpose if use.purpose in purposes_of(recording, purposes) else None
        self._use = replace(use, recording_id=recording.id, purpose=purpose)

    def begin(self, outcome: str = "done", detail: str | None = None) -> int:
        """Commit the use, if the sound is still there; its number. Raises UseRefused, of which nothing is in
        the trace yet; StoreError."""
        store = self._archive.store
        with store.write():  # a purge, or a refusal, may have come first
            if (gone := nothing_to_use(store.recording(self._recording.id))) is not None:
                raise UseRefused(gone)
            return self.tell(outcome, detail)

    def tell(self, outcome: str, detail: str | None) -> int:
        """Leave one more line about it: how it ended. Raises StoreError."""
        told = replace(self._use, outcome=outcome, detail=detail)
        return self._archive.store.add_access(discreet(told, self._recording))


def allowed(
    archive: Archive,
    recording: Recording,
    use: Access,
    purposes: Collection[str],
    due_at: datetime,
    *,
    obstacle: Callable[[], str | None] = lambda: None,
) -> Use:
    """The use, if it is allowed: see `use.why_not`. `obstacle` says what else is in its way, if anything.

    Raises UseRefused with its line in the trace; StoreError.
    """
    found = Use(archive, recording, use, purposes)
    refusal = why_not(recording, use, purposes, due_at) or obstacle()
    if refusal is not None:
        found.tell("refused", refusal)
        raise UseRefused(refusal)
    return found


def begin_use(
    archive: Archive,
    recording: Recording,
    use: Access,
    purposes: Collection[str],
    due_at: datetime,
    *,
    obstacle: Callable[[], str | None] = lambda: None,
) -> int:
    """Commit a use whose sound can be handed out at once, with its outcome and detail; its number.

    Raises UseRefused with its line in the trace; StoreError.
    """
    found = allowed(archive, recording, use, purposes, due_at, obstacle=obstacle)
    try:
        return found.begin(use.outcome, use.detail)
    except UseRefused as gone:
        found.tell("refused", str(gone))
        raise

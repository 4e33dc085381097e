"""What this host reaches of another one's recordings, to end them in its place (`retention.journal.lost`)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from media.recording.assemble import AssemblyError, Format
from retention.archive.archive import Archive
from retention.archive.erasure import REFUSED
from retention.recording import Pause, Recording, Status
from sipagent.agent.recorder.recorder import made


class ReachedRecordings:
    """Those whose rows are in `archive`, that of all hosts.

    `gather(id)` puts what is up of one into the spool of this host; whether anything was. What began sealed
    stays so; the rest is kept as `format`.
    """

    def __init__(self, archive: Archive, format: Format, gather: Callable[[str], bool]) -> None:
        self._archive = archive
        self._format: Format = format
        self._gather = gather

    def close(self, recording: Recording) -> Recording | None:
        """Make it whole of what can be reached; its row, `closed` and `incomplete`. None: nothing can.

        Raises OSError, ArchiveError.
        """
        files, id = self._archive.files, recording.id
        if files.finished(id) is None and not self._gather(id):
            return None
        try:
            sound = made(self._archive, id, self._format)
        except AssemblyError:  # what is up is no sound
            return None
        kind = files.finished(id)
        if sound is None or kind is None:
            return None
        size = files.keep(id, kind, partial(self._archive.marks.naming, id))
        closed = replace(
            recording,
            status=Status.CLOSED,
            ended_at=datetime.now(UTC),
            duration_s=sound.duration_s,
            sample_rate=sound.rate,
            channels=2,
            path=files.in_row(id, kind),
            bytes=size,
            sha256=sound.sha256,
            pauses=tuple(Pause(from_s=start, to_s=end) for start, end in sound.pauses),
            incomplete=True,
        )
        self._archive.describe(closed)
        return closed

    def erase(self, id: str) -> None:
        """Remove all of it that can be reached, keys first. Raises OSError."""
        receipt = self._archive.store.some_receipts([id]).get(id)
        refused = receipt is None or receipt.decision == REFUSED
        for error in self._archive.remove([id], anyhow=refused).values():
            raise error

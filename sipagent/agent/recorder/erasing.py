"""Erasing that waits for nobody: first the mark of a refusal is on the disk, then the sound goes from it.

Who has taken the decision makes the mark: one small file, not yet synced, a matter of microseconds, so that a
process that is killed right after the key keeps nothing (see `retention.marks`). Another thread would be let
in too late on a busy machine. Only where the disk does not answer just then, it is the thread `mark` that
waits for it. `eraser` makes the mark last and removes key and sound. What the rows have to say comes after
that, from whoever writes them; nothing here ever touches the database.

Where no mark can be made, on a full disk or in a folder that is read-only, the sound is removed all the
same; what does not go is found by its rows: see `retention.erasure`.
"""

from collections.abc import Callable

from retention.archive.archive import Archive
from retention.storage.marks import Mark
from sipagent.agent.recorder.jobs import Job, Worker


class Erasing:
    """`alert` is called on its threads, and on those of `put`."""

    def __init__(self, archive: Archive, alert: Callable[[str], None]) -> None:
        self._archive = archive
        self._mark = Worker("mark", alert)
        self._eraser = Worker("eraser", alert)

    @property
    def faults(self) -> int:
        """How often either thread has failed."""
        return self._mark.faults + self._eraser.faults

    def start(self) -> None:
        self._mark.start()
        self._eraser.start()

    def stop(self) -> None:
        """Do all that was asked for, then end."""
        self._mark.stop()
        self._eraser.stop()

    def put(self, mark: Mark, remove: Job, then: Job, *, stalled: bool) -> None:
        """Mark a recording now, then have it removed, then the rest done, whatever failed.

        From here on no file of it gets a name any more. `stalled`: the disk does not answer, so do not wait
        for it.
        """
        self._archive.marks.forbid(mark.id)
        if stalled:
            self._mark.put(lambda: self._make(mark, remove, then))
        else:
            self._make(mark, remove, then)

    def _make(self, mark: Mark, remove: Job, then: Job) -> None:
        descriptor = None
        try:
            descriptor = self._archive.marks.make(mark)
        except OSError as fault:
            self._mark.tell(f"{mark.id}: has no mark: {fault.strerror}")
        self._eraser.put(lambda: self._erase(descriptor, remove, then))

    def _erase(self, descriptor: int | None, remove: Job, then: Job) -> None:
        try:
            if descriptor is not None:
                self._archive.marks.sync(descriptor)
        finally:
            try:
                remove()
            finally:
                then()

"""Moves rows and files, so that the chain stays the same chain.

1. Nobody writes where they are, to the end; nothing may be half done there (`settled`).
2. A note beside the database says that a move has begun (`storage.moved`): what is copied outlives nothing
   unnoticed.
3. Entries of the chain and rows come as they are, with their numbers and salts: no entry is made anew, so an
   exported head and every time stamp stay good. Then files, each under its name only once it is whole.
4. All of it is compared: every entry and every row with what is here, each entry with the one before it, and
   each file by its hash.
5. The note says that it is done: from now on nothing is written here. Then the rows there are for use, and
   their trace says where they are from.

Killed at any moment, it is begun again and goes on: what is there already is not copied again. Where rows
have been written here since, what had come is removed first. What is here stays as it was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from retention.archive.archive import Archive
from retention.moving.arriving import Arrivals, Origin
from retention.moving.files import copy_file, copy_files, remove_gone, unequal
from retention.moving.rows import Progress, copy_rows, other_rows
from retention.moving.settled import in_clear, unsettled
from retention.recording import Access, Recording, Status
from retention.rows.chain import ChainHead
from retention.rows.selection import Selection
from retention.rules import counts
from retention.rules.purge import due
from retention.storage.marks import ArchiveError
from retention.storage.moved import Moved
from retention.storage.recording_files import RecordingFiles

_SHOWN = 3  # of what is wrong


class MoveError(ArchiveError):
    """It cannot move, or did not arrive as it was; `str()` is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where it goes, which people call `name`. `files`: None where these stay where they are. `sealed_only`:
    nothing in clear may be there."""

    name: str
    rows: Arrivals
    files: RecordingFiles | None
    sealed_only: bool = False


@dataclass(slots=True, kw_only=True)
class Done:
    """What has moved. `head`: the last entry that both chains have; `until`: when the first recording here
    expires, None where none does; `accounts`: how many accounts and tokens the caller has taken along;
    `again`: it was all there before."""

    head: ChainHead
    until: datetime | None
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    accounts: int = 0
    again: bool = False


def move(
    source: Archive,
    target: Target,
    trace: Access,
    period: str | None,
    progress: Progress = lambda what, done, total: None,
) -> Done:
    """Have all that is kept in `target`, where nothing else may be; it is complete and compared when this
    returns. `trace`: what the trace says there; `period`: the configured one.

    After a crash it is called again, with the same target. The caller knows that no agent runs. Raises
    MoveError, StoreError, OSError.
    """
    with source.store.still() as head:
        work = _Moving(source, target, trace, progress, Done(head=head, until=_until(source, period)))
        work.begin()
        if not work.done.again:
            work.rows()
            work.files()
            work.compare()
        work.finish()
    return work.done


def _until(source: Archive, period: str | None) -> datetime | None:
    """When the first recording expires that nothing holds."""
    rows = source.store.each_recording(Selection(status=Status.CLOSED), lambda id, problem: None)
    return min((due(row, period) for row in rows if source.hold_of(row) is None), default=None)


@dataclass(slots=True)
class _Moving:
    source: Archive
    target: Target
    trace: Access
    progress: Progress
    done: Done

    def begin(self) -> None:
        """Look whether it may begin, or go on. Raises MoveError."""
        for why in unsettled(self.source):
            raise MoveError(f"{self._here()}: {why}")
        if self.target.sealed_only and (clear := in_clear(self.source)):
            raise MoveError(
                f"recordings are stored in clear ({len(clear)}, the last of them {clear[-1]}): only what is "
                "sealed may leave this machine; accepted: without objects until they have expired"
            )
        rows = self.target.rows
        mine, theirs = Origin(self._here(), self.done.head), rows.origin()
        if theirs is not None and theirs.name != mine.name:
            raise MoveError(f"{self.target.name}: what comes from {theirs.name} is not all there yet")
        if theirs is None and rows.hash_of(mine.head.seq) == mine.head.hash:
            self.done.again = True
        elif theirs is None and not rows.is_empty():
            raise MoveError(f"{self.target.name}: has other rows; accepted: a database without any")
        self._note(done=False)
        if not self.done.again and theirs != mine:
            rows.clear()
            rows.begin(mine)

    def rows(self) -> None:
        """Copy the chain, then every table."""
        self.done.rows = copy_rows(self.source.store, self.target.rows, self.progress)

    def files(self) -> None:
        """Copy what is kept of recordings."""
        if (to := self.target.files) is not None:
            remove_gone(self.source, to)
            copy_files(self.source, to, self._step("files"))
            for row in self._held():
                to.hold(row.id, held=True)

    def compare(self) -> None:
        """Compare all of it. Raises MoveError."""
        wrong = [*other_rows(self.source.store, self.target.rows, self.progress)]
        if (to := self.target.files) is not None:
            for other in [*unequal(self.source, to, self._step("comparing files"))]:
                copy_file(self.source.files, to, other.id, other.kind)  # of a run that a power cut ended
            wrong += [one.name for one in unequal(self.source, to, self._step("comparing files"))]
            wrong += [f"the hold of {row.id}" for row in self._held() if to.differs(row.id, held=True)]
            self.done.files = counts.recordings(self.source.store, Status.CLOSED)
        if wrong:
            more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise MoveError(f"{self.target.name}: not as it is here: {', '.join(wrong[:_SHOWN])}{more}")

    def finish(self) -> None:
        """Write nothing here any more, then let what is there be used."""
        self._note(done=True)
        rows = self.target.rows
        if not self.done.again:
            rows.finish(replace(self.trace, action="migrate", detail=f"from {self._here()}"))
        rows.export()

    # steps

    def _held(self) -> Iterator[Recording]:
        """What a hold keeps: also the store of objects, where that can."""
        held = self.source.store.each_recording(Selection(held=True), lambda id, problem: None)
        return (row for row in held if row.status is Status.CLOSED)

    def _note(self, *, done: bool) -> None:
        note = Moved(to=self.target.name, at=self.trace.at, until=self.done.until, done=done)
        self.source.store.tell_moved(note)

    def _here(self) -> str:
        return str(self.source.store.path)

    def _step(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.progress(what, done, total)

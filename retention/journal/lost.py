"""What the others do for a host whose lease has ended: its calls get their receipts, its recordings an end.

- One process does it, under a lock of the database. In each transaction it looks again whether the lease has
  ended: a host that says anything is left alone.
- Receipts come first (`outcome = failed`, event `host lost`): so whoever had refused is known before anything
  is made of sound.
- Of a recording the sound comes before the row. A crash in between does it again; each step may be repeated.

A host that lives after all ships what really happened, which wins: see `merging`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from retention.archive.erasure import allows
from retention.host import Host, HostState
from retention.journal.hosts import Shared
from retention.journal.merging import lost
from retention.recording import Recording, Status, host_of
from retention.rows.pages import batches
from retention.rows.store import StoreError

COMPLETING = "lost hosts"  # what one process does at a time
ONLY = "-"  # the name of a host that needs none
_BATCH = 100  # receipts in one transaction


class LostRecordings(Protocol):
    """What others can reach of a lost host's recordings. Everything may be repeated; raises OSError."""

    def close(self, recording: Recording) -> Recording | None:
        """Make it whole of what can be reached; its row, `closed` and `incomplete`. None: nothing can."""

    def erase(self, id: str) -> None:
        """Remove all of it that can be reached, keys first."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What was done for one host; `failed`: recordings with what went wrong, to be tried again."""

    host: str
    receipts: tuple[str, ...]
    closed: tuple[str, ...]
    erased: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was to be done."""
        return not (self.receipts or self.closed or self.erased or self.failed)


def name_of(id: str) -> str:
    """The host that a call belongs to."""
    return host_of(id) or ONLY


class LostHosts:
    """`itself`: the host that looks, which is never lost to itself. `damaged(id, problem)` is told of rows
    that cannot be read."""

    def __init__(
        self,
        shared: Shared,
        recordings: LostRecordings,
        itself: str,
        damaged: Callable[[str, str], None] = lambda id, problem: None,
    ) -> None:
        self._shared = shared
        self._recordings = recordings
        self._itself = itself
        self._damaged = damaged

    def complete(self) -> list[Completed]:
        """Do what is to be done; nothing where another process does it now. Raises StoreError."""
        with self._shared.alone(COMPLETING) as alone:
            done = [self._complete(host) for host in self._lost()] if alone else []
        return [one for one in done if not one.is_empty]

    def _lost(self) -> list[Host]:
        now = self._shared.now()
        lost = [host for host in self._shared.hosts() if host.state(now) is HostState.LOST]
        return [host for host in lost if host.host != self._itself]

    def _complete(self, host: Host) -> Completed:
        name = host.host
        receipts = self._receipts(name)
        closed, erased, failed = [], [], []
        for recording in self._open_recordings(name):
            try:
                status = self._end(name, recording)
            except (OSError, StoreError) as error:
                failed.append((recording.id, str(error)))
                continue
            if status is Status.ERASED:
                erased.append(recording.id)
            elif status is not None:
                closed.append(recording.id)
        return Completed(name, tuple(receipts), tuple(closed), tuple(erased), tuple(failed))

    def _receipts(self, name: str) -> list[str]:
        opened = [one for one in self._shared.open_receipts(self._damaged) if name_of(one.id) == name]
        done: list[str] = []
        for some in batches(opened, _BATCH):
            with self._shared.write():
                if not self._is_lost(name):
                    break
                now = self._shared.now()
                there = self._shared.some_receipts([one.id for one in some]).values()
                ended = [lost(one, now) for one in there if one.ended_at is None]
                self._shared.keep_many(ended, (), ())
            done += [one.id for one in ended]
        return done

    def _open_recordings(self, name: str) -> Iterator[Recording]:
        ids = sorted(id for id in self._shared.open_recordings() if name_of(id) == name)
        for some in batches(ids, _BATCH):
            yield from self._shared.some_recordings(some).values()

    def _end(self, name: str, recording: Recording) -> Status | None:
        """What it is in the end; None where the host has a word again."""
        id = recording.id
        receipt = self._shared.some_receipts([id]).get(id)
        if receipt is not None and receipt.ended_at is None:
            return None
        may_stay = receipt is not None and allows(receipt)
        whole = self._recordings.close(recording) if may_stay else None
        if not may_stay:  # else its host may have all of it, and live on: it needs the key that is up
            self._recordings.erase(id)
        with self._shared.write():
            there = self._shared.some_recordings([id]).get(id)
            still = self._shared.some_receipts([id]).get(id)
            if (
                not self._is_lost(name)
                or there is None
                or there.status is not Status.OPEN
                or still != receipt
            ):
                return None
            row = whole or self._without_sound(recording, may_stay=may_stay)
            self._shared.keep_many((), [row], ())
        return row.status

    def _without_sound(self, recording: Recording, *, may_stay: bool) -> Recording:
        return replace(
            recording,
            status=Status.FAILED if may_stay else Status.ERASED,
            ended_at=self._shared.now(),
            path=None,
            bytes=None,
            sha256=None,
        )

    def _is_lost(self, name: str) -> bool:
        """Looked at again within a transaction: no word of the host can come before it ends."""
        host = self._shared.host(name)
        return host is not None and host.state(self._shared.now()) is HostState.LOST

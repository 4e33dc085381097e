"""Ships what is in a journal to the database that hosts share: in order, in batches, exactly once; and does
what a host that is lost no longer can.

- Rows and `hosts.shipped` are one transaction of the shared database, then they leave the journal: after a
  crash in between nothing is shipped twice, what has arrived only leaves.
- Of each entry the *present* row is shipped, merged with what is there: a row that changed twice is shipped
  once, and nothing that others did is undone.
- Beside the number of the last entry stand its hash and the journal's identity: so a new journal, or an older
  copy of one that was put back, is not taken for what was there.

**Who lives** is told by the database's own clock. A host renews its lease while its process runs and
reaches the database. A lease that ended means that the others must do what it can't. It does not mean
that its calls are over: they need no database.

**Merging** says what a row of a journal becomes where the shared database has one already. Pure. The
journal's row wins: who had the call knows it best. But what was done meanwhile is never undone:

- a refusal stays one, whoever knew it, and what was erased or purged stays gone;
- a hold stays, and the sound that it holds, but for what the caller refused;
- what was forgotten is not told again;
- a call that its host has ended stays as it ended, but for a refusal or an erasure: what a crash brings back
  out of a reserve may be older, and its rows have left the journal;
- `host lost`, which another host had completed the call with, gives way to what really happened; both events
  stay.

Merging is stable: merged once more with the same row of the journal, nothing changes.

**A lost host's** calls get their receipts, its recordings an end:

- One process does it, under a lock of the database. In each transaction it looks again whether the lease has
  ended: a host that says anything is left alone.
- Receipts come first (`outcome = failed`, event `host lost`): so whoever had refused is known before anything
  is made of sound.
- Of a recording the sound comes before the row. A crash in between does it again; each step may be repeated.

A host that lives after all ships what really happened, which wins.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Protocol

from retention.erase import allows
from retention.journal import BATCH, Journal, Shipment
from retention.marks import ERASED, REFUSED, says_erased
from retention.records import (
    Event,
    Host,
    HostState,
    Receipt,
    Recording,
    Status,
    Sum,
    from_text,
    host_of,
    to_text,
)
from retention.rows.pages import batches
from retention.rows.rows import Damaged, StoreError
from retention.shortfall import is_recorded_now, shortfall

RENEWALS = 4  # in the time of a lease


class NameTaken(StoreError):
    """Another host of that name lives."""


class ShippingDatabase(Protocol):
    """The shared database, as far as shipping and hosts need it. Everything raises StoreError; what may pass
    raises TryAgain."""

    def write(self) -> AbstractContextManager[None]:
        """One transaction; no other host writes rows meanwhile."""

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction that writes no rows, and waits for nobody who does."""

    def now(self) -> datetime:
        """By the database's clock."""

    def some_receipts(self, ids: Sequence[str]) -> dict[str, Receipt]: ...

    def some_recordings(self, ids: Sequence[str]) -> dict[str, Recording]: ...

    def open_receipts(self, damaged: Damaged | None = None) -> list[Receipt]:
        """Those of calls that have not ended."""

    def open_recordings(self) -> frozenset[str]:
        """The ids of those that are being made."""

    def expect(self, rows: int) -> None:
        """Prepare for this many new rows, before the transaction that adds them."""

    def keep_many(
        self, receipts: Sequence[Receipt], recordings: Sequence[Recording], sums: Sequence[Sum]
    ) -> None:
        """Add them, or replace the whole rows; receipts first."""

    def has_sum(self, sum: Sum) -> bool:
        """Whether one like it is there."""

    def host(self, name: str) -> Host | None: ...

    def hosts(self) -> list[Host]:
        """By their names."""

    def keep_host(self, host: Host) -> None:
        """Add it, or replace its row."""

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Whether no other process does `what` now; none can until the end."""


LOST, LIVES = "host lost", "host back"  # events
FAILED = "failed"

_DECISION = ("decision", "decided_by", "decided_at", "phase", "dtmf_method", "keyword", "confidence")
_STAYING = (LOST, LIVES, ERASED)  # events that others may have added
_GONE = (Status.PURGING, Status.PURGED)


def lost_receipt(receipt: Receipt, at: datetime) -> Receipt:
    """The receipt of a call whose host is gone, completed."""
    event = Event(at=at, what=LOST, by="agent")
    why = receipt.not_recorded_because or ("host_lost" if is_recorded_now(receipt) else None)
    told = (*receipt.events, event)
    return replace(receipt, outcome=FAILED, ended_at=at, events=told, not_recorded_because=why)


def is_lost(receipt: Receipt) -> bool:
    """Whether another host completed it, and its own has said nothing since."""
    told = [event.what for event in receipt.events if event.what in (LOST, LIVES)]
    return bool(told) and told[-1] == LOST


def merged_receipt(ours: Receipt, there: Receipt, at: datetime) -> Receipt:
    """`ours` is the journal's, `there` the shared one; `at` is now."""
    if _is_final(there) and not _says_more(ours, there):
        return there
    told = [event for event in there.events if event.what in _STAYING and event not in ours.events]
    if is_lost(there):
        told.append(Event(at=at, what=LIVES, by="agent"))
    merged = replace(ours, events=(*ours.events, *told))
    if there.decision == REFUSED != ours.decision:
        merged = replace(merged, **{name: getattr(there, name) for name in _DECISION})
    return merged.anonymous() if there.is_forgotten else merged


def merged_recording(ours: Recording, there: Recording, receipt: Receipt | None) -> Recording:
    """`receipt` is the merged one of its call."""
    gone = there.purged_at is not None or there.status in _GONE or there.status is Status.ERASED
    older = ours.status in (Status.OPEN, Status.FAILED) and there.status is Status.CLOSED
    if gone or (older and receipt is not None and _is_final(receipt)):
        return there
    if there.hold is not None:
        if ours.status is Status.ERASED and receipt is not None and receipt.decision == REFUSED:
            return ours
        if ours.status is not Status.CLOSED:
            return there
        return replace(ours, hold=there.hold, flagged=ours.flagged or there.flagged)
    if there.status is Status.OPEN or ours.status is not Status.CLOSED:
        return ours
    return replace(ours, hold=None, flagged=ours.flagged or there.flagged)


def must_go(recording: Recording, receipt: Receipt | None) -> bool:
    """Whether nothing of it may be there, neither at its host nor in a store."""
    if recording.status in (Status.ERASED, Status.FAILED, Status.PURGED) or recording.purged_at is not None:
        return True
    return recording.hold is None and receipt is not None and not allows(receipt) and _is_decided(receipt)


def _is_final(receipt: Receipt) -> bool:
    """Whether the call's own host has ended it, and was never taken for lost in it."""
    was_lost = any(event.what == LOST for event in receipt.events)
    return receipt.ended_at is not None and not was_lost and not receipt.is_forgotten


def _says_more(ours: Receipt, there: Receipt) -> bool:
    refused = ours.decision == REFUSED != there.decision
    return refused or (says_erased(ours) and not says_erased(there))


def _is_decided(receipt: Receipt) -> bool:
    return receipt.decision != "undecided"


@dataclass(frozen=True, slots=True)
class Presence:
    """What a host says of itself."""

    calls: int = 0
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one batch came to. `gone`: recordings of which nothing may be left at this host either; `held`:
    those on hold whose sound this host has put in place of another's; `damaged`: rows that cannot be read,
    and stay in the journal; `missing`: entries whose rows the shared database had, and has no more, since an
    older state of it came back."""

    entries: int = 0
    rows: int = 0
    gone: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    missing: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


class Shipper:
    """Of one host's journal. For one thread, and one process."""

    def __init__(
        self, journal: Journal, shared: ShippingDatabase, host: str, version: str, lease_s: float
    ) -> None:
        self._journal = journal
        self._shared = shared
        self._host = host
        self._version = version
        self._lease_s = lease_s
        self._identity: str | None = None  # once both have agreed
        self._shipped = 0
        self._doubtful = 0  # up to this entry, the shared database may have had it from a newer journal

    def ship(self, presence: Presence, limit: int = BATCH) -> Sent | None:
        """Ship one batch, and renew the lease; None if nothing waits: then nothing is done.

        Raises StoreError; NameTaken while another host of this name lives.
        """
        back = self._agree(presence)
        batch = self._journal.pending(limit)
        if batch is None:
            return None if back == Sent() else back
        self._shared.expect(sum(entry.was == 0 for entry in batch.entries))
        with self._shared.write():
            host = self._shared.host(self._host)
            if host is None or (host.journal, host.shipped) != (self._identity, self._shipped):
                self._identity = None  # the database is another one by now: agree anew
                return Sent()
            now = self._shared.now()
            sent = back + self._back(host, now) + self._merge(batch, now)
            lag = max(0, self._journal.head().seq - batch.last.seq)
            oldest_at = from_text(batch.entries[-1].at) if lag else None
            arrived = replace(host, shipped=batch.last.seq, shipped_hash=batch.last.hash)
            self._shared.keep_host(self._present(arrived, presence, now, lag, oldest_at))
        self._shipped = batch.last.seq
        self._journal.drop(batch)
        return sent

    def renew(self, presence: Presence) -> Sent:
        """Say that this host lives, and what waits; what its return came to, if it was taken for lost.

        Raises StoreError.
        """
        back = self._agree(presence)
        lag = self._journal.lag()
        known = self._shared.host(self._host)
        was_lost = known is not None and known.state(self._shared.now()) is HostState.LOST
        with self._shared.write() if was_lost else self._shared.transaction():
            host = self._shared.host(self._host)
            if host is None or host.journal != self._identity:
                self._identity = None
                raise NameTaken(f"{self._host}: another journal writes under this name")
            now = self._shared.now()
            if was_lost:
                back += self._back(host, now)
            elif host.state(now) is HostState.LOST:
                return back  # by a moment: the next time tells it all
            self._shared.keep_host(self._present(host, presence, now, lag.rows, lag.oldest_at))
        return back

    def leave(self) -> bool:
        """End in order; false where something waits, so that another host has to look after it."""
        self._agree(Presence())
        if self._journal.lag().rows:
            return False
        with self._shared.write():
            host = self._shared.host(self._host)
            if host is None or host.journal != self._identity:
                return False
            now = self._shared.now()
            left = replace(host, calls=0, lag_rows=0, oldest_at=None, seen_at=now, lease_until=None)
            self._shared.keep_host(left)
        return True

    # steps

    def _present(
        self, host: Host, presence: Presence, now: datetime, lag: int, oldest_at: datetime | None
    ) -> Host:
        return replace(
            host,
            version=self._version,
            calls=presence.calls,
            draining=presence.draining,
            lag_rows=lag,
            oldest_at=oldest_at,
            seen_at=now,
            lease_until=now + timedelta(seconds=self._lease_s),
        )

    def _agree(self, presence: Presence) -> Sent:
        """Know on both sides the same last entry that has arrived; what has arrived leaves the journal."""
        if self._identity is not None:
            return Sent()
        identity, shipped = self._journal.identity, self._journal.shipped
        known_hash = self._journal.hash_of(shipped) or ""
        with self._shared.write():
            now = self._shared.now()
            fresh = Host(host=self._host, version=self._version, journal=identity, seen_at=now)
            host = self._shared.host(self._host) or fresh
            missing = 0
            if host.journal != identity:
                if host.lease_until is not None and host.lease_until >= now:
                    raise NameTaken(
                        f"cluster.host: another host is called {self._host!r}, or this one's journal is new; "
                        f"accepted: another name, or wait until {to_text(host.lease_until)}"
                    )
                host = replace(host, journal=identity, shipped=shipped, shipped_hash=known_hash)
            elif host.shipped < shipped:  # an older state of the shared database came back
                missing = shipped - host.shipped
                host = replace(host, shipped=shipped, shipped_hash=known_hash)
            elif host.shipped > shipped and self._journal.hash_of(host.shipped) != host.shipped_hash:
                identity = self._journal.renew_identity()  # an older copy of the journal was
                self._doubtful = self._journal.head().seq
                host = replace(host, journal=identity, shipped=shipped, shipped_hash=known_hash)
            back = self._back(host, now) + Sent(missing=missing)
            self._shared.keep_host(self._present(host, presence, now, host.lag_rows, host.oldest_at))
        for batch in self._arrived(host.shipped):
            self._journal.drop(batch)
        self._identity, self._shipped = identity, host.shipped
        return back

    def _arrived(self, upto: int) -> Iterator[Shipment]:
        while (left := upto - self._journal.shipped) > 0:
            batch = self._journal.pending(min(left, BATCH))
            if batch is None:
                return
            yield batch

    def _back(self, host: Host, now: datetime) -> Sent:
        """Tell of the calls that are still on, which others may have completed after the lease had ended."""
        return self._merge(self._journal.staying(), now) if host.state(now) is HostState.LOST else Sent()

    def _merge(self, batch: Shipment, now: datetime) -> Sent:
        ids = [row.id for row in batch.receipts] + [row.id for row in batch.recordings]
        receipts = self._shared.some_receipts([*dict.fromkeys(ids)])
        recordings = self._shared.some_recordings([row.id for row in batch.recordings])
        told: list[Receipt] = []
        for ours in batch.receipts:
            there = receipts.get(ours.id)
            merged = ours if there is None else merged_receipt(ours, there, now)
            if merged != there:
                told.append(merged)
            receipts[ours.id] = merged
        kept: list[Recording] = []
        gone, held = [], []
        for row in batch.recordings:
            known, receipt = recordings.get(row.id), receipts.get(row.id)
            result = row if known is None else merged_recording(row, known, receipt)
            if result != known:
                kept.append(result)
            if must_go(result, receipt) and not must_go(row, None):
                gone.append(row.id)
            if result.hold is not None and row.hold is None:
                held.append(row.id)
        sums = [one for seq, one in batch.sums if seq > self._doubtful or not self._shared.has_sum(one)]
        self._shared.keep_many(told, kept, sums)
        return Sent(
            entries=len(batch.entries),
            rows=len(told) + len(kept) + len(sums),
            gone=tuple(gone),
            held=tuple(held),
            damaged=batch.damaged,
        )


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
        shared: ShippingDatabase,
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
                ended = [lost_receipt(one, now) for one in there if one.ended_at is None]
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
            why = shortfall(still, row) if still else None
            told = [replace(still, not_recorded_because=why)] if still and why else []
            self._shared.keep_many(told, [row], ())
        return row.status

    def _without_sound(self, recording: Recording, *, may_stay: bool) -> Recording:
        status = Status.FAILED if may_stay else Status.ERASED
        gone = replace(recording, status=status, ended_at=self._shared.now())
        return replace(gone, path=None, bytes=None, sha256=None)

    def _is_lost(self, name: str) -> bool:
        """Looked at again within a transaction: no word of the host can come before it ends."""
        host = self._shared.host(name)
        return host is not None and host.state(self._shared.now()) is HostState.LOST

"""Ships what is in a journal to the shared database: in order, in batches, exactly once.

- Rows and `hosts.shipped` are one transaction of the shared database, then they leave the journal: after a
  crash in between nothing is shipped twice, what has arrived only leaves.
- Of each entry the *present* row is shipped, merged with what is there (`merging`): a row that changed twice
  is shipped once, and nothing that others did is undone.
- Beside the number of the last entry stand its hash and the journal's identity: so a new journal, or an older
  copy of one that was put back, is not taken for what was there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from retention.host import Host, HostState
from retention.journal.hosts import NameTaken, Shared, lease
from retention.journal.journal import BATCH, Batch, Journal
from retention.journal.merging import merged_receipt, merged_recording, must_go
from retention.recording import Receipt, Recording, from_text, to_text


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
        return Sent(
            entries=self.entries + other.entries,
            rows=self.rows + other.rows,
            gone=self.gone + other.gone,
            held=self.held + other.held,
            damaged=self.damaged + other.damaged,
            missing=self.missing + other.missing,
        )


class Shipper:
    """Of one host's journal. For one thread, and one process."""

    def __init__(self, journal: Journal, shared: Shared, host: str, version: str, lease_s: float) -> None:
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
            lease_until=lease(now, self._lease_s),
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

    def _arrived(self, upto: int) -> Iterator[Batch]:
        while (left := upto - self._journal.shipped) > 0:
            batch = self._journal.pending(min(left, BATCH))
            if batch is None:
                return
            yield batch

    def _back(self, host: Host, now: datetime) -> Sent:
        """Tell of the calls that are still on, which others may have completed after the lease had ended."""
        return self._merge(self._journal.staying(), now) if host.state(now) is HostState.LOST else Sent()

    def _merge(self, batch: Batch, now: datetime) -> Sent:
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

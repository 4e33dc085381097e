"""The rows by their type: receipts, recordings, uses, notes, sums. What each write adds to the chain is the
business of `chained`; how long one waits for another process, that of each database.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from heapq import merge
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import TypeVar

from retention.approval import Approval
from retention.object_rows import ObjectRows
from retention.recording import (
    Access,
    Note,
    Receipt,
    Record,
    RecordError,
    Recording,
    Sum,
    begun_at,
    to_text,
)
from retention.rows import expiring
from retention.rows.chained import Chained
from retention.rows.columns import from_row
from retention.rows.faults import DamagedRow, StoreError, UnknownId
from retention.rows.pages import Listing, Row
from retention.rows.selection import Key, Selection, follow_each_other, listings

Damaged = Callable[[str, str], None]
Kept = TypeVar("Kept", bound=Record)

_BY_TIME = ("started_at", "id")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of the keys of rows that are forgotten, where a database needs them to forget.

    How many keys were removed, how many (or bundles with some) are still there, and why: `problem`.
    """

    keys: int = 0
    left: int = 0
    problem: str = ""


class Rows(Chained):
    """The tables of what is kept, over whichever database. Calls that begin here are `worker`'s, where there
    are several.

    A listing tells `damaged(id, problem)` of each row that cannot be read; where it is given none, such a row
    ends it.
    """

    worker: int | None = None
    shared = False
    """Whether calls are written elsewhere first: then a call that is on may yet change what is kept of it."""
    whole = True
    """Whether what it does not know is known nowhere: not so in the journal of one host among several."""

    @cached_property
    def objects(self) -> ObjectRows:
        """Where bytes lie in a store of objects."""
        return ObjectRows(self)

    # receipts

    def add_receipt(self, receipt: Receipt) -> None:
        """Raises StoreError if the id is taken."""
        with self.write():
            self._insert("receipts", receipt.to_json())
            if self.worker is not None and receipt.ended_at is None:
                self._keep("in_progress", {"id": receipt.id, "worker": self.worker})

    def update_receipt(self, receipt: Receipt) -> None:
        """Replace the whole row. Raises UnknownId."""
        self._update("receipts", receipt.to_json())

    def keep_receipt(self, receipt: Receipt) -> None:
        """Add it, or replace the whole row."""
        with self.write():
            try:
                self.update_receipt(receipt)
            except UnknownId:
                self.add_receipt(receipt)

    def receipt(self, id: str) -> Receipt:
        """Raises UnknownId."""
        return self._typed(Receipt, self._row("receipts", id))

    def receipts(self, selection: Selection | None = None, damaged: Damaged | None = None) -> list[Receipt]:
        """Those that match, newest first."""
        return list(self.each_receipt(selection, damaged))

    def each_receipt(
        self, selection: Selection | None = None, damaged: Damaged | None = None
    ) -> Iterator[Receipt]:
        """The receipts that match, newest first, one at a time."""
        return self._chosen(Receipt, "receipts", selection or Selection(), damaged)

    def open_receipts(self, damaged: Damaged | None = None) -> list[Receipt]:
        """Receipts of calls that have not ended, or whose agent died."""
        listing = Listing(table="receipts", order=_BY_TIME, indexed="ended_at IS NULL")
        return list(self._each(Receipt, listing, damaged))

    def in_progress(self) -> dict[str, int]:
        """The worker of each call in progress, by the call's id: see `progress`."""
        rows = self._read("SELECT id, worker FROM in_progress ORDER BY id", [])
        return {row["id"]: row["worker"] for row in rows}

    def personal_receipts(
        self, expired: datetime, started: datetime, damaged: Damaged | None = None
    ) -> Iterator[Receipt]:
        """Receipts that lead to a person, and began before `started`, or expired before `expired`."""
        due = expiring.receipts(expired, started, self.dialect)
        return chain(*(self._each(Receipt, one, damaged) for one in due))

    # recordings

    def add_recording(self, recording: Recording) -> None:
        """Raises StoreError if the id is taken."""
        self._insert("recordings", recording.to_json())

    def update_recording(self, recording: Recording) -> None:
        """Replace the whole row. Raises UnknownId; StoreError if a hold forbids it."""
        self._update("recordings", recording.to_json())

    def recording(self, id: str) -> Recording:
        """Raises UnknownId."""
        return self._typed(Recording, self._row("recordings", id))

    def recordings(
        self, selection: Selection | None = None, damaged: Damaged | None = None
    ) -> list[Recording]:
        """Those that match, newest first."""
        return list(self.each_recording(selection, damaged))

    def each_recording(
        self, selection: Selection | None = None, damaged: Damaged | None = None
    ) -> Iterator[Recording]:
        """The recordings that match, newest first, one at a time."""
        return self._chosen(Recording, "recordings", selection or Selection(), damaged)

    def open_recordings(self) -> frozenset[str]:
        """The ids of recordings that are being made, or whose agent died."""
        listing = Listing(table="recordings", order=_BY_TIME, columns="id", indexed="status = 'open'")
        return frozenset(row["id"] for row in self._listed(listing))

    def states(self, ids: Sequence[str]) -> dict[str, Row]:
        """`id`, `status`, `path` and `sha256` of these recordings as rows have them, by id; up to a batch."""
        return {row["id"]: row for row in self._some("recordings", ids, columns="id, status, path, sha256")}

    def perhaps_due(
        self, expired: datetime, started: datetime, damaged: Damaged | None = None
    ) -> Iterator[Recording]:
        """Recordings not purged, and begun before `started` or expired before `expired`; or half purged."""
        return chain(*(self._each(Recording, one, damaged) for one in expiring.recordings(expired, started)))

    # accesses

    def add_access(self, access: Access) -> int:
        """Add a line to the trace of uses; its number."""
        return int(self._insert("accesses", access.to_json()))

    def add_accesses(self, accesses: Sequence[Access]) -> None:
        """Add lines to the trace of uses, in a few statements."""
        if accesses:
            with self.write():
                self._ledger.add_many("accesses", [access.to_json() for access in accesses])

    def access(self, number: int) -> Access:
        """One line of the trace. Raises UnknownId."""
        return self._typed(Access, self._row("accesses", number))

    def numbered_accesses(self, *, before: int | None = None, limit: int) -> list[tuple[int, Access]]:
        """The newest lines of the trace with their numbers, newest first; `before`: those before this one."""
        listing = Listing(table="accesses", order=("id",), descending=True, limit=limit, stop=before)
        return [(row["id"], self._typed(Access, row)) for row in self.each(listing)]

    def accesses(self, recording_id: str | None = None) -> list[Access]:
        """Uses of one recording, or of all; oldest first."""
        return list(self.each_access(recording_id))

    def each_access(self, recording_id: str | None = None, *, newest: bool = False) -> Iterator[Access]:
        """Uses of one recording, or of all, one at a time; oldest or newest first."""
        if recording_id is None:
            return self._each(Access, Listing(table="accesses", order=("id",), descending=newest))
        order = "id DESC" if newest else "id"
        sql = f"SELECT * FROM accesses WHERE recording_id = ? ORDER BY {order}"
        return (self._typed(Access, row) for row in self._rows("accesses", sql, [recording_id]))

    def accesses_of(self, ids: Sequence[str]) -> list[Access]:
        """Uses of these recordings, oldest first; up to a batch."""
        rows = sorted(self._some("accesses", ids, "recording_id"), key=itemgetter("id"))
        return [self._typed(Access, row) for row in rows]

    def forget_accesses(self, before: datetime) -> int:
        """Empty the names in the trace of uses made before `before`, except of recordings still kept."""
        return self._forget(expiring.accesses(before, self.dialect))

    def count_old_accesses(self, before: datetime) -> int:
        """How many that would be."""
        return sum(1 for _ in self.each(expiring.accesses(before, self.dialect)))

    # approvals

    def add_approval(self, approval: Approval) -> Approval:
        """Keep what was asked for; with its number."""
        return replace(approval, id=int(self._insert("approvals", approval.row())))

    def update_approval(self, approval: Approval) -> None:
        """Replace the whole row. Raises UnknownId; StoreError if it was decided already."""
        with self.write():
            if not self._ledger.update("approvals", approval.id, approval.row()):
                raise UnknownId(f"{approval.id}: no such number")

    def approval(self, number: int) -> Approval:
        """Raises UnknownId."""
        return self._typed(Approval, self._row("approvals", number))

    def approvals(self, recording_id: str) -> list[Approval]:
        """What was asked for of one recording, oldest first."""
        sql = "SELECT * FROM approvals WHERE recording_id = ? ORDER BY id"
        return [self._typed(Approval, row) for row in self._rows("approvals", sql, [recording_id])]

    def each_approval(
        self, *, pending: bool = False, before: int | None = None, limit: int | None = None
    ) -> Iterator[Approval]:
        """Newest first; `pending`: only what nobody has decided; `before`: asked for before this number."""
        indexed = "state = 'pending'" if pending else ""
        order = Listing(table="approvals", order=("id",), indexed=indexed, descending=True)
        return self._each(Approval, replace(order, stop=before, limit=limit))

    def forget_approvals(self, before: datetime) -> int:
        """Empty the names in what was asked for before `before`, except of recordings still kept."""
        return self._forget(expiring.approvals(before, self.dialect))

    def count_old_approvals(self, before: datetime) -> int:
        """How many that would be."""
        return sum(1 for _ in self.each(expiring.approvals(before, self.dialect)))

    # notes

    def add_note(self, note: Note) -> None:
        """File the analysis of a recording."""
        self._insert("notes", note.to_json())

    def notes(self, recording_id: str) -> list[Note]:
        """The notes of one recording, oldest first."""
        sql = "SELECT * FROM notes WHERE recording_id = ? ORDER BY id"
        return [self._typed(Note, row) for row in self._rows("notes", sql, [recording_id])]

    def forget_notes(self, expired: datetime, written: datetime | None = None) -> int:
        """Empty text and author of notes that expired at `expired` or are older than `written`; how many."""
        return self._forget(expiring.notes(expired, written, self.dialect))

    def forget_notes_of(self, recording_id: str) -> int:
        """Empty text and author of the notes of one recording; how many."""
        personal = expiring.personal_notes(self.dialect)
        return self._forget(replace(personal, where=["recording_id = ?"], values=[recording_id]))

    def count_expired_notes(self, expired: datetime, written: datetime | None = None) -> int:
        """How many that would be."""
        return sum(1 for _ in self.each(expiring.notes(expired, written, self.dialect)))

    # calls that are counted together

    def add_sum(self, sum: Sum) -> None:
        """One more."""
        self._insert("sums", sum.to_json())

    def each_sum(
        self, since: datetime | None = None, until: datetime | None = None, damaged: Damaged | None = None
    ) -> Iterator[Sum]:
        """Sums that began at or after `since` and before `until`, as they were written."""
        bounds = (("from_at >= ?", since), ("from_at < ?", until))
        where = [condition for condition, at in bounds if at is not None]
        values = [to_text(at) for _, at in bounds if at is not None]
        return self._each(Sum, Listing(table="sums", order=("id",), where=where, values=values), damaged)

    def has_sum(self, sum: Sum) -> bool:
        """Whether one like it is there."""
        after = sum.from_at + timedelta(milliseconds=1)
        return any(one == sum for one in self.each_sum(sum.from_at, after))

    # many at a time

    def some_receipts(self, ids: Sequence[str]) -> dict[str, Receipt]:
        """Those of these that there are, by id."""
        return {row["id"]: self._typed(Receipt, row) for row in self._some("receipts", ids)}

    def some_recordings(self, ids: Sequence[str]) -> dict[str, Recording]:
        """Those of these that there are, by id."""
        return {row["id"]: self._typed(Recording, row) for row in self._some("recordings", ids)}

    def keep_many(
        self, receipts: Sequence[Receipt], recordings: Sequence[Recording], sums: Sequence[Sum]
    ) -> None:
        """Add them, or replace the whole rows, each once; receipts first. Of no worker's calls."""
        with self.write():
            self._ledger.keep_many("receipts", [row.to_json() for row in receipts])
            self._ledger.keep_many("recordings", [row.to_json() for row in recordings])
            for sum in sums:
                self.add_sum(sum)

    def expect(self, rows: int) -> None:
        """Prepare for this many new rows, before the transaction that adds them."""

    def _some(self, table: str, ids: Sequence[str | int], by: str = "id", columns: str = "*") -> list[Row]:
        sql = f"SELECT {columns} FROM {table} WHERE {by} IN ({', '.join('?' * len(ids))})"
        return self._opened(table, self._read(sql, ids, anyhow=True)) if ids else []

    # tables of one row

    def rejected_row(self) -> Row | None:
        """How many rejected calls have receipts in which hour: see `rejected`."""
        return self._only_row("rejected")

    def keep_rejected_row(self, row: Row) -> None:
        """Replace it."""
        self._keep("rejected", row)

    def clock_row(self) -> Row | None:
        """What was seen of the clock: see `clock` among the rules."""
        return self._only_row("clock")

    def keep_clock_row(self, row: Row) -> None:
        """Replace it."""
        self._keep("clock", row)

    # keys of rows, in a database that remembers what was written

    def forget_keys(self) -> Forgotten:
        """Remove from the vault what opens rows that are forgotten, where any does. Raises TryAgain.

        Each write has tried to, so this finds what could not be removed then, or a crash has left.
        """
        return Forgotten()

    def keys_left(self) -> int:
        """How many keys and bundles of keys should be gone, and are there. Raises TryAgain."""
        return 0

    def renew_words(self, over: Callable[[], bool] = lambda: False) -> int:
        """Have rows found by their words again where these went together with others; how many rows.

        Raises StoreError.
        """
        return 0

    # rows by their type

    def _chosen(
        self, kind: type[Kept], table: str, chosen: Selection, damaged: Damaged | None
    ) -> Iterator[Kept]:
        behind = None if chosen.after is None else self._key(chosen.after)
        sought = self.searching.sought(self._read, table, chosen)
        every = listings(table, chosen, behind, sought, self.dialect)
        found = [self._each(kind, one, damaged) for one in every]
        if follow_each_other(every):
            return islice(chain.from_iterable(found), chosen.limit)
        return islice(merge(*found, key=attrgetter("started_at", "id"), reverse=True), chosen.limit)

    def _key(self, id: str) -> Key:
        """Where a call is among all. Raises UnknownId."""
        for table in ("recordings", "receipts"):
            for row in self._read(f"SELECT started_at, id FROM {table} WHERE id = ?", [id]):
                return row["started_at"], row["id"]
        if (begun := begun_at(id)) is None:
            raise UnknownId(f"{id}: no such id")
        return to_text(begun), id

    def _each(self, kind: type[Kept], listing: Listing, damaged: Damaged | None = None) -> Iterator[Kept]:
        for row in self._listed(listing, anyhow=damaged is not None):
            try:
                kept = self._typed(kind, row)
            except StoreError as error:
                if damaged is None:
                    raise
                damaged(str(row["id"]), str(error))
            else:
                yield kept

    def _typed(self, kind: type[Kept], row: Row) -> Kept:
        """Raises DamagedRow; `verify` says more about it."""
        try:
            return kind.from_json(from_row(row))
        except RecordError as error:
            cure = "; see `sipagent rebuild`" if kind is Recording else ""
            raise DamagedRow(f"{self.path}: {row.get('id')}: {error}{cure}") from error

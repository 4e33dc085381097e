"""The rows of a database, whichever it is: what can be wrong with it, its tables and their chain, the rows
by type.

    StoreError          the database cannot be used
      DamagedRow        the row exists, but cannot be read
      TryAgain          it cannot be written now
        Busy            another process has been writing for too long
        NoRoom          the disk is full
      HeadNotWritten    the rows are written, the file of the chain's head is not
      UnknownId         there is no such row

`Rows` is what every database of ours has: rows by table, the chain that tells of them, and receipts,
recordings, uses, notes, sums by their type. Transactions, turns and connections are the business of each
engine: `write` and `_asking`.

`ids_meant` says which call is meant: by its id, the beginning of its id, or the reference that people
tell each other.
"""

import json
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from heapq import merge
from itertools import chain, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from retention.files import Moved, Places
from retention.records import (
    Access,
    Approval,
    Json,
    Note,
    Receipt,
    Record,
    RecordError,
    Recording,
    Special,
    Sum,
    begun_at,
    to_text,
)
from retention.rows import selection
from retention.rows.chain import (
    LOST,
    SEGMENT,
    TABLES,
    ChainEntry,
    ChainHead,
    ChainHeadError,
    Ledger,
    Lost,
    export_head,
    from_row,
    read_head,
)
from retention.rows.object_rows import ObjectRows
from retention.rows.pages import Dialect, Listing, Row, breathing, each_row
from retention.rows.selection import Key, Searching, Selection, follow_each_other, listings
from retention.texts import Reason, WithReason, reason_of, strerror


class StoreError(WithReason):
    """The database cannot be used; `str()` is one line that says why."""


class DamagedRow(StoreError):
    """The row exists, but cannot be read."""


class TryAgain(StoreError):
    """The database cannot be written now: it is locked, out of reach, or damaged as a whole."""


class Busy(TryAgain):
    """Another process has been writing for too long."""


class NoRoom(TryAgain):
    """The disk is full."""


class HeadNotWritten(StoreError):
    """The rows are written, but the file of the chain's head still has an earlier one."""


class UnknownId(StoreError):
    """There is no such row."""


@contextmanager
def sqlite_errors_of(path: Path | str) -> Iterator[None]:
    """SQLite's error about the database at `path`, as one of ours."""
    try:
        yield
    except (sqlite3.Error, RecordError) as error:
        reason = reason_of(error)
        if isinstance(error, sqlite3.Error):
            reason = Reason(reason.partition(" with text ")[0])  # of a value that is damaged
        raise _kind(error)(Reason("{0}: {1}{2}", path, reason, _cure(error))) from error


_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_MAY_PASS = (
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
)


def _kind(error: Exception) -> type[StoreError]:
    """The kind of an error, by SQLite's primary result code: the last byte of the extended one."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return NoRoom
    return Busy if code in _BUSY else TryAgain if code in _MAY_PASS else StoreError


def _cure(error: Exception) -> str:
    """What can be done about a file that is damaged."""
    if getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ""
    return Reason("; accepted: a backup in its place, or `sipagent rebuild` once it is moved away")


COUNTED = 20_000  # entries in one read


Damaged = Callable[[str, str], None]
Kept = TypeVar("Kept", bound=Record)

_BY_TIME = ("started_at", "id")


@dataclass(frozen=True, slots=True)
class ForgottenKeys:
    """What became of the keys of rows that are forgotten, where a database needs them to forget.

    How many keys were removed, how many (or bundles with some) are still there, and why: `problem`.
    """

    keys: int = 0
    left: int = 0
    problem: str = ""


class Rows(ABC):
    """The tables of what is kept in one database, and their chain. Safe from several threads.

    `path` names it in messages. `places`: where this host has what belongs to it; none for tests. Calls that
    begin here are `worker`'s, where there are several. A listing tells `damaged(id, problem)` of each row
    that cannot be read; where it is given none, such a row ends it.
    """

    path: Path | str
    places: Places | None
    dialect: Dialect
    searching: Searching
    _ledger: Ledger

    worker: int | None = None
    shared = False
    """Whether calls are written elsewhere first: then a call that is on may yet change what is kept of it."""
    whole = True
    """Whether what it does not know is known nowhere: not so in the journal of one host among several."""

    def heard_until(self, host: str | None) -> datetime | None:
        """Up to when all is here that this host has written, by its clock; None if that is not known."""
        return datetime.max.replace(tzinfo=UTC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    @abstractmethod
    def write(self) -> AbstractContextManager[None]:
        """One transaction for all that is written inside; an exception undoes it.

        Can be nested: each block that an exception leaves is undone, even if it is caught later. At the end
        the chain's new head is exported; raises StoreError if that fails, with the rows written.
        """

    @abstractmethod
    def still(self) -> AbstractContextManager[ChainHead]:
        """The last entry of the chain. Nobody writes a row until the end. Raises StoreError."""

    @abstractmethod
    def tell_moved(self, moved: Moved) -> None:
        """Keep a note of where the rows go; once that is `done`, no row is written here any more."""

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether no other host does `what` now; none can until the end. Of a single host, always."""
        yield True

    @abstractmethod
    def missing_guards(self) -> list[str]:
        """Triggers that the database should have, but that are missing or different."""

    @abstractmethod
    def _asking(self) -> AbstractContextManager[None]:
        """Ask the database, alone among the threads of this process; its errors become ours."""

    # the chain

    def head(self) -> ChainHead:
        """The last entry of the chain."""
        with self._asking():
            return self._ledger.head()

    def hash_of(self, seq: int) -> str | None:
        """The hash (hex) of one entry of the chain, if there is one."""
        with self._asking():
            return self._ledger.hash_of(seq)

    def knows(self, head: ChainHead) -> bool:
        """Whether an exported head is in the chain, or the chain says that it was lost."""
        with self._asking():
            return self._ledger.knows(head)

    def entries(self, seqs: Sequence[int]) -> dict[int, ChainEntry]:
        """The entries of the chain with these seqs, as far as they exist; up to a page."""
        if not seqs:
            return {}
        marks = ", ".join("?" * len(seqs))
        rows = self._read(f"SELECT * FROM chain WHERE seq IN ({marks})", seqs, anyhow=True)
        return {row["seq"]: ChainEntry(**row) for row in rows}

    def entries_of(self, id: str) -> dict[str, ChainEntry]:
        """The entries that tell the present state of a call's receipt and recording, by their kind."""
        found = {}
        for kind in ("receipt", "recording"):
            rows = self._read(f"SELECT chain_seq FROM {TABLES[kind]} WHERE id = ?", [id])
            for entry in self.entries([row["chain_seq"] for row in rows]).values():
                found[kind] = entry
        return found

    def tally(self) -> dict[str, int]:
        """How many rows of each table the chain knows of."""
        return {table: self._count_firsts(kind) for kind, table in TABLES.items()}

    def begin_segment(self, reason: str) -> None:
        """Mark in the chain that what follows was written after a loss, continuing from the exported head."""
        with self.write():
            self._ledger.begin_segment(reason, self._lost_head())

    def last_segment(self) -> str:
        """Why the newest segment of the chain was begun."""
        sql = "SELECT subject FROM chain WHERE kind = ? AND was = 0 ORDER BY seq DESC LIMIT 1"
        return "".join(row["subject"] for row in self._read(sql, [SEGMENT]))

    # rows

    def each(self, listing: Listing) -> Iterator[Row]:
        """Raw rows, also damaged ones, for `verify` and sums; a read blocks others only briefly."""
        return self._listed(listing, anyhow=True)

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Rows of a table that the chain does not tell of."""
        return self._read(sql, values)

    def change(self, sql: str, values: Sequence[object] = ()) -> None:
        """Change such a table, inside `write`."""
        self._ledger.tables.execute(sql, values)

    def change_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Change such a table once for each of these values, inside `write`."""
        self._ledger.tables.execute_many(sql, every)

    def _listed(self, listing: Listing, *, anyhow: bool = False) -> Iterator[Row]:
        led = self.dialect.led(listing)
        return each_row(partial(self._read, anyhow=anyhow), led, partial(self._opened, listing.rows_of))

    def _insert(self, table: str, record: Json) -> str | int:
        with self.write():
            return self._ledger.insert(table, record)

    def _update(self, table: str, record: Json) -> None:
        with self.write():
            if not self._ledger.update(table, record["id"], record):
                raise UnknownId("{0}: no such id", record["id"])

    def _row(self, table: str, id: str | int) -> Row:
        rows = self._rows(table, f"SELECT * FROM {table} WHERE id = ?", [id])
        if not rows:
            raise UnknownId("{0}: no such id", id)
        return rows[0]

    def _rows(self, table: str, sql: str, values: Sequence[object]) -> list[Row]:
        """Whole rows of one table."""
        return self._opened(table, self._read(sql, values))

    def _opened(self, table: str, rows: list[Row]) -> list[Row]:
        return self._ledger.tables.opened(table, rows)

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Row]:
        with self._asking():
            tables = self._ledger.tables
            return tables.read_anyhow(sql, values) if anyhow else tables.read(sql, values)

    def _only_row(self, table: str) -> Row | None:
        return next(iter(self._read(f"SELECT * FROM {table}", [])), None)

    def _keep(self, table: str, row: Row) -> None:
        """Add a row of a table that the chain doesn't tell of, or replace it. The first column is its key."""
        with self.write():
            self._put(table, row)

    def _put(self, table: str, row: Row) -> None:
        """Replace the one row of a table, within a transaction that there is."""
        key, *others = row
        changes = ", ".join(f"{name} = excluded.{name}" for name in others)
        sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        self._ledger.tables.execute(f"{sql} ON CONFLICT ({key}) DO UPDATE SET {changes}", [*row.values()])

    def _forget(self, listing: Listing) -> int:
        count = 0
        for rows in breathing(self._listed(listing)):
            with self.write():
                count += self._ledger.forget_many(listing.table, [row["id"] for row in rows])
        return count

    def _count_firsts(self, kind: str) -> int:
        """Some thousands at a time: they come from an index alone."""
        part = f"SELECT seq FROM chain WHERE kind = ? AND was = 0 AND seq > ? ORDER BY seq LIMIT {COUNTED}"
        sql = f"SELECT count(*) AS n, max(seq) AS last FROM ({part}) AS part"
        count, behind = 0, 0
        while behind is not None:
            (row,) = self._read(sql, [kind, behind])
            count, behind = count + row["n"], row["last"]
        return count

    # the exported head

    def _begin_chain(self) -> None:
        """Begin the chain of a new database; it continues from an exported head."""
        if (nothing := self._ledger.head()).seq == 0:
            lost = self._lost_head()
            if lost is None:
                self._export(nothing)  # so that no crash leaves a chain without its file
            self._ledger.begin_segment(Reason("a new database") if lost is None else LOST, lost)

    def _lost_head(self) -> Lost:
        """The exported head, if the chain does not have it: its database is gone, or an older one was
        restored."""
        try:
            exported = None if self.places is None else read_head(self.places.head)
        except ChainHeadError:
            return "unknown"
        return None if exported is None or self._ledger.knows(exported) else exported

    def _export(self, head: ChainHead) -> None:
        if self.places is None:
            return
        path = self.places.head
        try:
            export_head(path, head, self._ledger.knows)
        except OSError as error:
            raise HeadNotWritten("{0}: {1}", path, strerror(error)) from error

    @cached_property
    def objects(self) -> ObjectRows:
        """Where bytes lie in a store of objects."""
        return ObjectRows(self)

    # receipts

    def add_receipt(self, receipt: Receipt) -> None:
        """Raises StoreError if the id is taken."""
        with self.write():
            self._add_receipt(receipt, receipt.to_json())

    def _add_receipt(self, receipt: Receipt, record: Json) -> None:
        self._ledger.insert("receipts", record)
        if self.worker is not None and receipt.ended_at is None:
            self._put("in_progress", {"id": receipt.id, "worker": self.worker})

    def update_receipt(self, receipt: Receipt) -> None:
        """Replace the whole row. Raises UnknownId."""
        self._update("receipts", receipt.to_json())

    def keep_receipt(self, receipt: Receipt) -> None:
        """Add it, or replace the whole row; why it is not recorded stays, if that is known."""
        with self.write():
            if receipt.recording_id and not receipt.not_recorded_because:
                for row in self._read(
                    "SELECT not_recorded_because AS why FROM receipts WHERE id = ?", [receipt.id]
                ):
                    receipt = replace(receipt, not_recorded_because=row["why"])
            record = receipt.to_json()
            if not self._ledger.update("receipts", receipt.id, record):
                self._add_receipt(receipt, record)

    def receipt(self, id: str) -> Receipt:
        """Raises UnknownId."""
        return self._typed(Receipt, self._row("receipts", id))

    def receipt_row(self, id: str) -> Row:
        """One as it is kept, with its salt and the number of its entry. Raises UnknownId."""
        return self._row("receipts", id)

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
        """The worker of each call in progress, by the call's id: see `reserve`."""
        rows = self._read("SELECT id, worker FROM in_progress ORDER BY id", [])
        return {row["id"]: row["worker"] for row in rows}

    def personal_receipts(
        self, expired: datetime, started: datetime, damaged: Damaged | None = None
    ) -> Iterator[Receipt]:
        """Receipts that lead to a person, and began before `started`, or expired before `expired`."""
        due = selection.expiring_receipts(expired, started, self.dialect)
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
        return chain(
            *(self._each(Recording, one, damaged) for one in selection.expiring_recordings(expired, started))
        )

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

    def forget_names(self, before: datetime) -> int:
        """Empty the names in the trace of uses, and in what was asked for, before `before`, except of
        recordings still kept; how many."""
        return sum(map(self._forget, selection.old_names(before, self.dialect)))

    def count_old_names(self, before: datetime) -> int:
        """How many that would be."""
        return sum(1 for old in selection.old_names(before, self.dialect) for _ in self.each(old))

    # approvals

    def add_approval(self, approval: Approval) -> Approval:
        """Keep what was asked for; with its number."""
        return replace(approval, id=int(self._insert("approvals", approval.row())))

    def update_approval(self, approval: Approval) -> None:
        """Replace the whole row. Raises UnknownId; StoreError if it was decided already."""
        with self.write():
            if not self._ledger.update("approvals", approval.id, approval.row()):
                raise UnknownId("{0}: no such number", approval.id)

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
        return self._forget(selection.expiring_notes(expired, written, self.dialect))

    def forget_notes_of(self, recording_id: str) -> int:
        """Empty text and author of the notes of one recording; how many."""
        personal = selection.personal_notes(self.dialect)
        return self._forget(replace(personal, where=["recording_id = ?"], values=[recording_id]))

    def count_expired_notes(self, expired: datetime, written: datetime | None = None) -> int:
        """How many that would be."""
        return sum(1 for _ in self.each(selection.expiring_notes(expired, written, self.dialect)))

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

    def expect(self, rows: int) -> None:  # noqa: B027 - where keys are to be made, they are
        """Prepare for this many new rows, before the transaction that adds them."""

    def _some(self, table: str, ids: Sequence[str | int], by: str = "id", columns: str = "*") -> list[Row]:
        sql = f"SELECT {columns} FROM {table} WHERE {by} IN ({', '.join('?' * len(ids))})"
        return self._opened(table, self._read(sql, ids, anyhow=True)) if ids else []

    # tables of one row

    def rejected_row(self) -> Row | None:
        """How many rejected calls have receipts in which hour: see `counts`."""
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

    def specials(self) -> tuple[Special, ...]:
        """What is different today, or will be, as it was set last. Raises StoreError."""
        row = self._only_row("today")
        try:
            return tuple(map(Special.from_json, json.loads(row["specials"]))) if row else ()
        except ValueError as error:
            raise DamagedRow("{0}: {1}: {2}", self.path, "today", reason_of(error)) from error

    def add_special(self, special: Special) -> Special:
        """One more, inside `write`; with its number, which no other had."""
        row = self._only_row("today")
        numbered = replace(special, number=row["last"] + 1 if row else 1)
        self.keep_specials((*self.specials(), numbered))
        return numbered

    def keep_specials(self, specials: Sequence[Special]) -> None:
        """Have these in place of those that there are."""
        row, text = self._only_row("today"), json.dumps([one.to_json() for one in specials])
        last = max((row["last"] if row else 0, *(one.number for one in specials)))
        self._keep("today", {"id": 1, "last": last, "specials": text})

    # keys of rows, in a database that remembers what was written

    def forget_keys(self) -> ForgottenKeys:
        """Remove from the vault what opens rows that are forgotten, where any does. Raises TryAgain.

        Each write has tried to, so this finds what could not be removed then, or a crash has left.
        """
        return ForgottenKeys()

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
            raise UnknownId("{0}: no such id", id)
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
            cure = Reason("; see `sipagent rebuild`") if kind is Recording else ""
            raise DamagedRow("{0}: {1}: {2}{3}", self.path, row.get("id"), error, cure) from error


_TABLES = ("recordings", "receipts")
_REFERENCE = re.compile(r"\d{6}", re.ASCII)
_BEHIND = "~"  # sorts after any character of an id


def ids_meant(store: Rows, typed: str, most: int) -> list[str]:
    """The ids that `typed` may stand for, up to `most`: that very id, else all that it may name.

    First those with this reference, newest first; then those that begin with it, in order. Raises StoreError.
    """
    found: dict[str, None] = {}
    for id in _each_meant(store, typed, most):
        found[id] = None
        if id == typed or len(found) == most:
            break
    return [typed] if typed in found else [*found]


def ids_beginning(
    store: Rows, table: str, beginning: str, most: int, *, newest: bool = False
) -> Iterator[str]:
    """The ids of `recordings` or `receipts` with this beginning, up to `most`, in order, or newest first.

    Reads no more rows than these. Raises StoreError.
    """
    rows = Listing(
        table=table,
        order=("id",),
        columns="id",
        start=beginning or None,
        stop=beginning + _BEHIND if beginning else None,
        descending=newest,
        limit=most,
    )
    return (row["id"] for row in store.each(rows))


def _each_meant(store: Rows, typed: str, most: int) -> Iterator[str]:
    for table in _TABLES:
        exact = next(ids_beginning(store, table, typed, 1), None)  # the shortest comes first
        if exact == typed:
            yield exact
    for table in _TABLES if _REFERENCE.fullmatch(typed) else ():
        yield from _of_reference(store, table, typed)
    for table in _TABLES:
        yield from ids_beginning(store, table, typed, most)


def _of_reference(store: Rows, table: str, reference: str) -> Iterator[str]:
    rows = Listing(
        table=table,
        order=("started_at", "id"),
        columns="id",
        indexed=f"{store.dialect.ending('id', 7)} = ?",
        indexed_values=[f"-{reference}"],
        descending=True,
    )
    return (row["id"] for row in store.each(rows))

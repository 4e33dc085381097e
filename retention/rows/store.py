"""The rows: receipts, recordings, accesses, notes, and the chain over them, in one SQLite database that
several processes share.

Every write is one short `BEGIN IMMEDIATE` transaction, which also appends to the chain; a second process
waits for its turn (`retention.rows.turn`), up to `TURN_S`. Reads are short, too: `retention.rows.pages`. One
connection behind a lock serves all threads of a process.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlite_utils import Database

from retention.recording import (
    Access,
    Json,
    Note,
    Receipt,
    Record,
    RecordError,
    Recording,
    Status,
    Sum,
    to_text,
)
from retention.rows import expiring
from retention.rows.chain import TABLES, ChainEntry, ChainHead, Lost
from retention.rows.chain_head import ChainHeadError, export_head, read_head
from retention.rows.columns import from_row
from retention.rows.connection import connect
from retention.rows.faults import (
    Busy,
    DamagedRow,
    HeadNotWritten,
    NoRoom,
    StoreError,
    TryAgain,
    UnknownId,
    named,
)
from retention.rows.ledger import Ledger
from retention.rows.pages import Listing, Row, breathing, each_row
from retention.rows.schema import GUARDS, MIGRATIONS, unknown_migrations
from retention.rows.selection import Selection, newest, receipt_conditions, recording_conditions
from retention.rows.turn import TurnError, Turns
from retention.storage.places import Places

__all__ = ["Damaged", "DamagedRow", "NoRoom", "Store", "StoreError", "UnknownId"]

BUSY_S = 15.0  # how long to wait for another process's transaction
TURN_S = 60.0  # and for those of all processes before this one: on a slow disk, fifty of them take a while
COUNTED = 20_000  # entries in one read

Damaged = Callable[[str, str], None]
Kept = TypeVar("Kept", bound=Record)

_BY_TIME = ("started_at", "id")


class Store:
    """The database at `path`, created if missing; `:memory:` for tests. Safe from several threads.

    `clock` gives the times of the chain; calls that begin here belong to `worker`, if there are several.
    Raises StoreError: not a database, not writable, made by a newer version, or busy for too long. A listing
    tells `damaged(id, problem)` of each row that cannot be read; without `damaged`, such a row ends it.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        worker: int | None = None,
    ) -> None:
        self.path = path
        self.worker = worker
        self.places = None if str(path) == ":memory:" else Places(Path(path))
        self._turns = None if self.places is None else Turns(self.places.turn, TURN_S)
        self._lock = threading.RLock()
        with named(self.path):
            self._db = self._connected()
            self._ledger = Ledger(self._db.conn, clock)
            newer = unknown_migrations(self._db)
            if newer:
                self._db.close()
                raise StoreError(f"{path}: written by a newer sipagent (it has {newer[-1]}); update sipagent")
            if MIGRATIONS.pending(self._db):
                with self.write():  # taken first, so that two processes do not both migrate
                    if MIGRATIONS.pending(self._db):
                        self._migrate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside; an exception undoes it.

        Can be nested: each block that an exception leaves is undone, even if it is caught later. At the end
        the chain's new head is exported; raises StoreError if that fails, with the rows written.
        """
        with self._lock, named(self.path):
            connection = self._db.conn
            if connection.in_transaction:
                with self._part():
                    yield
                return
            with self._turn():
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    connection.commit()  # can fail, too, if a reader does not end: nothing may stay open
                except BaseException:
                    self._ledger.appended = None
                    connection.rollback()
                    raise
                head, self._ledger.appended = self._ledger.appended, None
                if head is not None and self.places is not None:
                    self._export(self.places.head, head)

    # receipts

    def add_receipt(self, receipt: Receipt) -> None:
        """Raises StoreError if the id is taken."""
        with self.write():
            self._insert("receipts", receipt.to_json())
            if self.worker is not None and receipt.ended_at is None:
                row = [receipt.id, self.worker]
                self._db.execute("INSERT OR REPLACE INTO in_progress (id, worker) VALUES (?, ?)", row)

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
        chosen = selection or Selection()
        return self._each(Receipt, newest("receipts", receipt_conditions(chosen), chosen), damaged)

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
        return chain(*(self._each(Receipt, one, damaged) for one in expiring.receipts(expired, started)))

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
        chosen = selection or Selection()
        few = ["hold IS NOT NULL"] if chosen.held else []
        if chosen.status is Status.OPEN:
            few.append("purged_at IS NULL")
        listing = newest("recordings", recording_conditions(chosen), chosen, *few)
        return self._each(Recording, listing, damaged)

    def kept_statuses(self) -> dict[str, Status]:
        """The status of every recording not purged yet, by id; without rows whose status cannot be read."""
        listing = Listing(
            table="recordings", order=_BY_TIME, columns="id, status", indexed="purged_at IS NULL"
        )
        known = {status.value: status for status in Status}
        return {row["id"]: known[row["status"]] for row in self.each(listing) if row["status"] in known}

    def each_kept(self, started: datetime | None = None) -> Iterator[Recording]:
        """Recordings not purged yet, with or without sound; oldest first. `started`: begun before."""
        stop = None if started is None else to_text(started)
        listing = Listing(table="recordings", order=_BY_TIME, indexed="purged_at IS NULL", stop=stop)
        return self._each(Recording, listing)

    def perhaps_due(
        self, expired: datetime, started: datetime, damaged: Damaged | None = None
    ) -> Iterator[Recording]:
        """Recordings not purged, and begun before `started` or expired before `expired`; or half purged."""
        return chain(*(self._each(Recording, one, damaged) for one in expiring.recordings(expired, started)))

    # accesses

    def add_access(self, access: Access) -> None:
        """Add a line to the trace of uses."""
        self._insert("accesses", access.to_json())

    def accesses(self, recording_id: str | None = None) -> list[Access]:
        """Uses of one recording, or of all; oldest first."""
        return list(self.each_access(recording_id))

    def each_access(self, recording_id: str | None = None, *, newest: bool = False) -> Iterator[Access]:
        """Uses of one recording, or of all, one at a time; oldest or newest first."""
        if recording_id is None:
            return self._each(Access, Listing(table="accesses", order=("id",), descending=newest))
        order = "id DESC" if newest else "id"
        sql = f"SELECT * FROM accesses WHERE recording_id = ? ORDER BY {order}"
        return (self._typed(Access, row) for row in self._read(sql, [recording_id]))

    def forget_accesses(self, before: datetime) -> int:
        """Empty the names in the trace of uses made before `before`, except of recordings still kept."""
        return self._forget(expiring.accesses(before))

    def count_old_accesses(self, before: datetime) -> int:
        """How many that would be."""
        return sum(1 for _ in self.each(expiring.accesses(before)))

    # notes

    def add_note(self, note: Note) -> None:
        """File the analysis of a recording."""
        self._insert("notes", note.to_json())

    def notes(self, recording_id: str) -> list[Note]:
        """The notes of one recording, oldest first."""
        rows = self._read("SELECT * FROM notes WHERE recording_id = ? ORDER BY id", [recording_id])
        return [self._typed(Note, row) for row in rows]

    def forget_notes(self, expired: datetime, written: datetime | None = None) -> int:
        """Empty text and author of notes that expired at `expired` or are older than `written`; how many."""
        return self._forget(expiring.notes(expired, written))

    def forget_notes_of(self, recording_id: str) -> int:
        """Empty text and author of the notes of one recording; how many."""
        of_one = replace(expiring.PERSONAL_NOTES, where=["recording_id = ?"], values=[recording_id])
        return self._forget(of_one)

    def count_expired_notes(self, expired: datetime, written: datetime | None = None) -> int:
        """How many that would be."""
        return sum(1 for _ in self.each(expiring.notes(expired, written)))

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

    def rejected_row(self) -> Row | None:
        """How many rejected calls have receipts in which hour; for `retention.rows.rejected`."""
        return next(iter(self._read("SELECT * FROM rejected", [])), None)

    def keep_rejected_row(self, row: Row) -> None:
        """Replace it."""
        with self.write():
            sql = "INSERT OR REPLACE INTO rejected (id, hour, receipts) VALUES (:id, :hour, :receipts)"
            self._db.execute(sql, row)

    # the chain

    def head(self) -> ChainHead:
        """The last entry of the chain."""
        with self._lock, named(self.path):
            return self._ledger.head()

    def hash_of(self, seq: int) -> str | None:
        """The hash (hex) of one entry of the chain, if there is one."""
        with self._lock, named(self.path):
            return self._ledger.hash_of(seq)

    def knows(self, head: ChainHead) -> bool:
        """Whether an exported head is in the chain, or the chain says that it was lost."""
        with self._lock, named(self.path):
            return self._ledger.knows(head)

    def entries(self, seqs: Sequence[int]) -> dict[int, ChainEntry]:
        """The entries of the chain with these seqs, as far as they exist; up to a page."""
        marks = ", ".join("?" * len(seqs))
        rows = self._read(f"SELECT * FROM chain WHERE seq IN ({marks})", seqs, anyhow=True)
        return {row["seq"]: ChainEntry(**row) for row in rows}

    def tally(self) -> dict[str, int]:
        """How many rows of each table the chain knows of."""
        return {table: self._count_firsts(kind) for kind, table in TABLES.items()}

    def missing_guards(self) -> list[str]:
        """Triggers that the database should have, but that are missing or different."""
        there = {row["sql"] for row in self._read("SELECT sql FROM sqlite_master WHERE type = 'trigger'", [])}
        return [guard.split()[2] for guard in GUARDS if guard not in there]

    def begin_segment(self, reason: str) -> None:
        """Mark in the chain that what follows was written after a loss, continuing from the exported head."""
        with self.write():
            self._ledger.begin_segment(reason, self._lost_head())

    # rows

    def each(self, listing: Listing) -> Iterator[Row]:
        """Raw rows, also damaged ones, for `verify` and sums; a read blocks others only briefly."""
        return each_row(partial(self._read, anyhow=True), listing)

    def clock_row(self) -> Row | None:
        """What was seen of the clock; for `retention.rules.clock`."""
        return next(iter(self._read("SELECT * FROM clock", [])), None)

    def keep_clock_row(self, row: Row) -> None:
        """Replace it."""
        with self.write():
            sql = "INSERT OR REPLACE INTO clock (id, seen, suspended) VALUES (:id, :seen, :suspended)"
            self._db.execute(sql, row)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until other processes have written, in their order."""
        if self._turns is None:
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(self._turns.turn())
            except (TurnError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise (Busy if isinstance(error, TurnError) else TryAgain)(
                    f"{self.path}: {reason}"
                ) from error
            yield

    @contextmanager
    def _part(self) -> Iterator[None]:
        """A part of a transaction; if it is undone, the chain continues from where it was before."""
        appended = self._ledger.appended
        try:
            with self._db.atomic():
                yield
        except BaseException:
            self._ledger.appended = appended
            raise

    def _connected(self) -> Database:
        try:
            return connect(self.path, BUSY_S)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def _migrate(self) -> None:
        """Bring the tables up to date. A new chain continues from an exported head."""
        MIGRATIONS.apply(self._db)
        if (nothing := self._ledger.head()).seq == 0:
            lost = self._lost_head()
            if lost is None and self.places is not None:
                self._export(self.places.head, nothing)  # so that no crash leaves a chain without its file
            self._ledger.begin_segment("a new database" if lost is None else "the database was lost", lost)
            self._ledger.adopt()

    def _lost_head(self) -> Lost:
        """The exported head, if the chain does not have it: its database is gone, or an older one was
        restored."""
        try:
            exported = None if self.places is None else read_head(self.places.head)
        except ChainHeadError:
            return "unknown"
        return None if exported is None or self._ledger.knows(exported) else exported

    def _export(self, path: Path, head: ChainHead) -> None:
        try:
            export_head(path, head, self._ledger.knows)
        except OSError as error:
            raise HeadNotWritten(f"{path}: {error.strerror}") from error

    def _each(self, kind: type[Kept], listing: Listing, damaged: Damaged | None = None) -> Iterator[Kept]:
        for row in each_row(self._read, listing) if damaged is None else self.each(listing):
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

    def _forget(self, listing: Listing) -> int:
        count = 0
        for rows in breathing(each_row(self._read, listing)):
            with self.write():
                count += sum(self._ledger.forget(listing.table, row["id"]) for row in rows)
        return count

    def _count_firsts(self, kind: str) -> int:
        """Some thousands at a time: they come from an index alone."""
        part = f"SELECT seq FROM chain WHERE kind = ? AND was = 0 AND seq > ? ORDER BY seq LIMIT {COUNTED}"
        count, behind = 0, 0
        while behind is not None:
            (row,) = self._read(f"SELECT count(*) AS n, max(seq) AS last FROM ({part})", [kind, behind])
            count, behind = count + row["n"], row["last"]
        return count

    def _insert(self, table: str, record: Json) -> None:
        with self.write():
            self._ledger.insert(table, record)

    def _update(self, table: str, record: Json) -> None:
        with self.write():
            if not self._ledger.update(table, record["id"], record):
                raise UnknownId(f"{record['id']}: no such id")

    def _row(self, table: str, id: str) -> Row:
        rows = self._read(f"SELECT * FROM {table} WHERE id = ?", [id])
        if not rows:
            raise UnknownId(f"{id}: no such id")
        return rows[0]

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Row]:
        with self._lock, named(self.path):
            return self._ledger.read_anyhow(sql, values) if anyhow else self._ledger.read(sql, values)

"""The journal: what the calls of one host write, until the shared database has it.

A database like that of a single host, but its rows may leave it. Its chain is its outbox: `pending` gives
what was written after `shipped`, `drop` lets go of what has arrived: rows of calls that are over, and the
entries that nothing needs any more. What stays is what the calls in progress need.

`Wakes` is a word to another process that something was written: a byte in a named pipe. Who writes never
waits and needs no listener: a pipe that is full says enough.
"""

import os
import select
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from retention.erase import allows
from retention.files import share_owner
from retention.records import Json, Receipt, Record, RecordError, Recording, Status, Sum, from_text
from retention.rows.chain import TABLES, ChainEntry, ChainHead, from_row
from retention.rows.pages import Row
from retention.rows.rows import DamagedRow, StoreError, sqlite_errors_of
from retention.sqlite import Store

_MOST = 1 << 16  # bytes: all that a pipe has


class Wakes:
    """One end; both are alike. Makes the pipe if it is missing. Raises OSError."""

    def __init__(self, path: Path) -> None:
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
            share_owner(path)
        # for reading too: so it opens without anybody at the other end, and no write of ours is an error
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

    def tell(self) -> None:
        """Wake who waits, or will."""
        with suppress(BlockingIOError):
            os.write(self._descriptor, b"\0")

    def wait(self, patience_s: float | None) -> bool:
        """Whether somebody has told something, within that time."""
        told, _, _ = select.select([self._descriptor], [], [], patience_s)
        if told:
            with suppress(BlockingIOError):
                os.read(self._descriptor, _MOST)
        return bool(told)

    def close(self) -> None:
        """Close this end."""
        os.close(self._descriptor)


MOST_BYTES = 4 << 30  # of the journal: a million calls; beyond that it is full, as a disk is
BATCH = 500  # entries that are shipped at a time
_PAGE = 4096  # bytes
_SPARE = 256  # pages that may lie empty in the file
_AT_ONCE = 1024  # pages that it gives back in one step, which writers wait for
_OF_CALLS = ("receipt", "recording")
_TABLES = tuple(TABLES[kind] for kind in (*_OF_CALLS, "sum"))  # what calls write
_STAYS = frozenset(f"{table}_stay" for table in (*TABLES.values(), "chain"))  # guards that it goes without
Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True, slots=True)
class Shipment:
    """What is to be shipped next: the present rows that the entries up to `last` are about.

    A row that changed twice is in it once; one that changed again since comes again.
    """

    last: ChainHead
    entries: tuple[ChainEntry, ...]
    receipts: tuple[Receipt, ...]
    recordings: tuple[Recording, ...]
    sums: tuple[tuple[int, Sum], ...]  # with the entry of each
    damaged: tuple[tuple[str, str], ...]  # what cannot be read and so is not shipped: name, problem


@dataclass(frozen=True, slots=True)
class Lag:
    """How much waits: `rows`, entries of the chain; `oldest_at`, when the first of them was made."""

    rows: int
    oldest_at: datetime | None

    def seconds(self, now: datetime) -> float:
        """For how long the first has waited."""
        return 0.0 if self.oldest_at is None else max(0.0, (now - self.oldest_at).total_seconds())


class Journal(Store):
    """The journal at `path`, created if missing. Raises StoreError."""

    whole = False

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        worker: int | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._most_pages = max(1, most_bytes // _PAGE)
        self.wakes: Wakes | None = None
        super().__init__(path, clock, worker)
        try:
            self._prepare()
            if self.places is not None:
                self.wakes = Wakes(self.places.written)
        except OSError as error:
            super().close()
            raise StoreError(f"{path}: {error.strerror}") from error
        except BaseException:
            super().close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self.wakes is not None:
            self.wakes.close()
            self.wakes = None
        super().close()

    def missing_guards(self) -> list[str]:
        """As of any database, but for those that keep rows from leaving."""
        return [name for name in super().missing_guards() if name not in _STAYS]

    # what waits

    @property
    def identity(self) -> str:
        """What tells this journal from any other, also from one before it at the same place."""
        return str(self._row_of_journal()["identity"])

    @property
    def shipped(self) -> int:
        """The last entry that the shared database has."""
        return int(self._row_of_journal()["shipped"])

    def renew_identity(self) -> str:
        """Become another journal: for a copy of an older state, put back in the place of the newer one."""
        with self.write():
            fresh = token_hex(16)
            self._connection.execute("UPDATE journal SET identity = ?", [fresh])
        return fresh

    def lag(self) -> Lag:
        """What waits to be shipped."""
        shipped = self.shipped
        oldest = self._read("SELECT at FROM chain WHERE seq > ? ORDER BY seq LIMIT 1", [shipped])
        rows = max(0, self.head().seq - shipped)
        return Lag(rows, from_text(oldest[0]["at"]) if oldest else None)

    def used(self) -> float:
        """Which part of what it may take on the disk it takes."""
        (pages,) = self._read("PRAGMA page_count", [])
        (spare,) = self._read("PRAGMA freelist_count", [])
        return float((pages["page_count"] - spare["freelist_count"]) / self._most_pages)

    def pending(self, limit: int = BATCH) -> Shipment | None:
        """What comes next in order, at most so many entries of the chain; None if nothing waits."""
        sql = "SELECT * FROM chain WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._read(sql, [self.shipped, limit], anyhow=True)
        if not rows:
            return None
        entries = tuple(ChainEntry(**row) for row in rows)
        damaged: list[tuple[str, str]] = []
        return Shipment(
            ChainHead(entries[-1].seq, entries[-1].hash),
            entries,
            tuple(row for _, row in self._rows_of("receipt", Receipt, entries, damaged)),
            tuple(row for _, row in self._rows_of("recording", Recording, entries, damaged)),
            tuple(self._rows_of("sum", Sum, entries, damaged)),
            tuple(damaged),
        )

    def staying(self) -> Shipment:
        """The rows of calls in progress, for a host that was taken for lost: others may have changed them."""
        receipts = tuple(self.open_receipts(_skip))
        ids = sorted({*self.open_recordings(), *(receipt.id for receipt in receipts)})
        recordings = (self._typed(Recording, row) for row in self._some("recordings", ids))
        return Shipment(self.head(), (), receipts, tuple(recordings), (), ())

    def drop(self, batch: Shipment) -> None:
        """The shared database has this batch: let go of what is over. Again is no error."""
        last = batch.last.seq
        with self.write():
            entries = [*batch.entries, *self.entries([self.shipped]).values()]  # which was the last until now
            needless = {seq for entry in entries for seq in (entry.seq, entry.was)}
            needed = {0, last}
            self._connection.execute("UPDATE journal SET shipped = max(shipped, ?)", [last])
            for seq, row in self._read_rows("sum", entries):
                if seq <= last:
                    self._delete("sums", "id", [row["id"]])
            for id, rows in self._calls(entries).items():
                seqs = {row["chain_seq"] for row in rows.values()}
                if max(seqs) <= last and _is_over(rows.get("receipt"), rows.get("recording")):
                    for kind in rows:
                        self._delete(TABLES[kind], "id", [id])
                    needless |= seqs
                else:
                    needed |= seqs
            self._delete("chain", "seq", sorted(needless - needed))
        self._shrink()

    # steps

    def _insert(self, table: str, record: Json) -> str | int:
        if table not in _TABLES:
            raise StoreError(f"{self.path}: rows of {table} belong in the shared database")
        return super()._insert(table, record)

    def _export(self, head: ChainHead) -> None:
        """Something was written, which a commit has made last."""
        try:
            super()._export(head)
        finally:
            if self.wakes is not None:
                self.wakes.tell()

    def _connected(self) -> sqlite3.Connection:
        """What was deleted may leave the file only where that is said before its first table."""
        connection = super()._connected()
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()
        connection.execute(f"PRAGMA max_page_count = {self._most_pages}").fetchall()
        return connection

    def _prepare(self) -> None:
        """Rows may leave; the journal knows itself, and what has left."""
        there = {row["name"] for row in self._read("SELECT name FROM sqlite_master", [])}
        stays = [name for name in _STAYS if name in there]
        if "journal" in there and not stays:
            return
        with self.write():
            for name in stays:
                self._connection.execute(f"DROP TRIGGER IF EXISTS {name}")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS journal "
                "(id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL, shipped INTEGER NOT NULL)"
            )
            self._connection.execute(
                "INSERT OR IGNORE INTO journal (id, identity, shipped) VALUES (1, ?, 0)", [token_hex(16)]
            )

    def _row_of_journal(self) -> Row:
        row = self._only_row("journal")
        assert row is not None
        return row

    def _shrink(self) -> None:
        """Give back what lies empty in the file, once that is much."""
        with self._lock, sqlite_errors_of(self.path):
            (spare,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if spare > _SPARE:
            with self._lock, sqlite_errors_of(self.path), self._turn():
                # a script: `execute` would take one step, which gives back one page
                self._connection.executescript(f"PRAGMA incremental_vacuum({_AT_ONCE})")

    def _rows_of(
        self, kind: str, type: type[Kind], entries: Iterable[ChainEntry], damaged: list[tuple[str, str]]
    ) -> Iterator[tuple[int, Kind]]:
        """The present rows that these entries are about, each with the entry of its state; in their order."""
        for seq, row in self._read_rows(kind, entries):
            try:
                yield seq, self._typed(type, row)
            except DamagedRow as error:
                damaged.append((f"{kind} {row['id']}", str(error)))

    def _read_rows(self, kind: str, entries: Iterable[ChainEntry]) -> list[tuple[int, Row]]:
        """Without those that have left already."""
        ids = [*dict.fromkeys(_key(entry) for entry in entries if entry.kind == kind)]
        there = {row["id"]: row for row in self._some(TABLES[kind], ids)}
        return [(there[id]["chain_seq"], there[id]) for id in ids if id in there]

    def _calls(self, entries: Iterable[ChainEntry]) -> dict[str, dict[str, Row]]:
        """Both rows of each call that the entries are about, by kind."""
        ids = [*dict.fromkeys(entry.subject for entry in entries if entry.kind in _OF_CALLS)]
        calls: dict[str, dict[str, Row]] = {}
        for kind in _OF_CALLS:
            for row in self._some(TABLES[kind], ids):
                calls.setdefault(row["id"], {})[kind] = row
        return calls

    def _delete(self, table: str, key: str, values: Iterable[str | int]) -> None:
        for value in values:
            self._connection.execute(f"DELETE FROM {table} WHERE {key} = ?", [value])


def _skip(id: str, problem: str) -> None:
    """It was told of, or will be, when it is shipped."""


def _key(entry: ChainEntry) -> str | int:
    return int(entry.subject) if entry.kind == "sum" else entry.subject


def _is_over(receipt: Row | None, recording: Row | None) -> bool:
    """Whether nothing is left to do of this call. A row that cannot be read stays, for a person to see."""
    if receipt is None or receipt["ended_at"] is None:
        return False
    if recording is None:
        return True
    try:
        may_stay = allows(Receipt.from_json(from_row(receipt)))
        status = Recording.from_json(from_row(recording)).status
    except RecordError:
        return False
    return status is not Status.OPEN and (may_stay or status is not Status.CLOSED)

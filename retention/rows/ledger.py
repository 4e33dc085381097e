"""Writes rows together with their entry in the chain. The caller has a transaction open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields, replace
from datetime import datetime
from typing import Protocol

from retention.recording import Json, to_text
from retention.rows.chain import (
    ALTERED,
    GENESIS,
    PERSONAL,
    SEGMENT,
    TABLES,
    ChainEntry,
    ChainHead,
    Lost,
    canonical,
    commitment,
    is_personal,
    link,
    new_salt,
    public_text,
)
from retention.rows.columns import as_read, record_of, to_row
from retention.rows.differences import differences
from retention.rows.pages import Row
from retention.sqlite.tables import inserting

ENTRY = tuple(column.name for column in fields(ChainEntry))  # the columns of the chain
KINDS = {table: kind for kind, table in TABLES.items()}


class Tables(Protocol):
    """What the ledger asks of a database. Methods raise the errors of its driver.

    Rows that come and go have the columns of `columns.to_row`, whatever the tables keep of them.
    """

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query, as they are kept; leaves no cursor open."""
        ...

    def read_anyhow(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Like `read`, for rows that may be damaged: a byte that is not UTF-8 becomes U+FFFD."""
        ...

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        ...

    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values."""
        ...

    def opened(self, table: str, rows: list[Row]) -> list[Row]:
        """Rows as they are kept → as they went in."""
        ...

    def insert(self, table: str, row: Row) -> None:
        """Add a whole row."""
        ...

    def update(self, table: str, id: str | int, row: Row) -> None:
        """Write columns of a row that is there; either none that leads to a person, or all."""
        ...

    def insert_many(self, table: str, rows: Sequence[Row]) -> None:
        """Add whole rows, all with the same columns."""
        ...

    def update_many(self, table: str, rows: Sequence[Row]) -> None:
        """Write whole rows that are there, by their ids."""
        ...


class Ledger:
    """The chain of one database, and the rows that it is about; `clock` says when an entry was made.

    Methods raise the errors of the database's driver. `appended` is the newest head, for the caller that
    commits, until it is taken.
    """

    def __init__(self, tables: Tables, clock: Callable[[], datetime]) -> None:
        self.tables = tables
        self._clock = clock
        self.appended: ChainHead | None = None

    def head(self) -> ChainHead:
        """The last entry there is."""
        rows = self.tables.read_anyhow("SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1")
        return ChainHead(**rows[0]) if rows else ChainHead(0, GENESIS)

    def hash_of(self, seq: int) -> str | None:
        """The hash of one entry, if there is one."""
        rows = self.tables.read_anyhow("SELECT hash FROM chain WHERE seq = ?", [seq])
        return str(rows[0]["hash"]) if rows else None

    def knows(self, head: ChainHead) -> bool:
        """Whether the chain has this head, or continues after it."""
        if head == ChainHead(0, GENESIS) or self.hash_of(head.seq) == head.hash:
            return True
        sql = "SELECT 1 FROM chain WHERE kind = ? AND was = 0 AND public LIKE ?"
        return bool(self.tables.read(sql, [SEGMENT, f'%"hash":"{head.hash}"%']))

    # writing

    def insert(self, table: str, record: Json) -> str | int:
        """Add a row; its id. A record without `id` gets the next number."""
        record = as_read(record)
        key: str | int = record.get("id") or self._next_id(table)
        of_the_chain = self._append(table, str(key), record, None, 0)
        self.tables.insert(table, {"id": key} | to_row(record) | of_the_chain)
        return key

    def update(self, table: str, id: str | int, record: Json) -> bool:
        """Replace a row; false if it is missing. If it was not what its entry says, one more entry tells
        that."""
        rows = self.tables.read_anyhow(f"SELECT * FROM {table} WHERE id = ?", [id])
        if not (rows := self.tables.opened(table, rows)):
            return False
        before, record = rows[0], as_read(record)
        if not self._is_as_told(KINDS[table], before):
            self.tables.execute(inserting("chain", ENTRY), astuple(self._altered(KINDS[table], before)))
        of_the_chain = self._append(table, str(id), record, before["salt"], before["chain_seq"])
        self.tables.update(table, id, to_row(record) | of_the_chain)
        return True

    def keep_many(self, table: str, records: Sequence[Json]) -> None:
        """Add rows with ids, or replace them, each once: as `insert` and `update`, in a few statements."""
        every = {record["id"]: record for record in records}
        self._write(table, every, self._there(table, [*every]))

    def add_many(self, table: str, records: Sequence[Json]) -> None:
        """Add rows that get the next numbers: as `insert`, in a few statements."""
        first = self._next_id(table)
        self._write(table, dict(enumerate(records, first)), {})

    def forget_many(self, table: str, ids: Sequence[int]) -> int:
        """Empty only what leads to a person in these rows; how many were not empty yet."""
        kind = KINDS[table]
        there = {id: row for id, row in self._there(table, ids).items() if row["salt"] is not None}
        nobody = dict.fromkeys(PERSONAL[kind])
        self._write(table, {id: record_of(kind, row) | nobody for id, row in there.items()}, there)
        return len(there)

    def begin_segment(self, reason: str, lost: Lost) -> None:
        """Begin a chain, or continue after `lost`, the head of a lost database: from its number and hash."""
        before = {"seq": lost.seq, "hash": lost.hash} if isinstance(lost, ChainHead) else lost
        if isinstance(lost, ChainHead) and lost.seq > self.head().seq:
            self.appended = lost
        self._add(SEGMENT, reason, 0, "", canonical({"reason": reason, "previous": before}))

    # steps

    def _there(self, table: str, ids: Sequence[str | int]) -> dict[str | int, Row]:
        """Those of these rows that there are, as they went in."""
        if not ids:
            return {}
        sql = f"SELECT * FROM {table} WHERE id IN ({', '.join('?' * len(ids))})"
        return {row["id"]: row for row in self.tables.opened(table, self.tables.read_anyhow(sql, ids))}

    def _write(self, table: str, records: Mapping[str | int, Json], there: Mapping[str | int, Row]) -> None:
        """Add or replace whole rows, by their ids; `there` are those to be replaced, as they are now."""
        if not records:
            return
        kind = KINDS[table]
        told = self._entries([row["chain_seq"] for row in there.values()])
        entries: list[ChainEntry] = []
        added: list[Row] = []
        replaced: list[Row] = []
        for id, record in records.items():
            before = there.get(id)
            if before is not None and not _tells(told.get(before["chain_seq"]), kind, before):
                entries.append(self._altered(kind, before))
            salt, was = (None, 0) if before is None else (before["salt"], before["chain_seq"])
            read = as_read(record)
            entry, of_the_chain = self._about(kind, str(id), read, salt, was)
            entries.append(entry)
            (added if before is None else replaced).append({"id": id} | to_row(read) | of_the_chain)
        self.tables.execute_many(inserting("chain", ENTRY), [astuple(entry) for entry in entries])
        self.tables.insert_many(table, added)
        self.tables.update_many(table, replaced)

    def _is_as_told(self, kind: str, row: Row) -> bool:
        """Whether a row is in the state that its entry tells: a new entry must not cover what was altered."""
        return _tells(self._entries([row["chain_seq"]]).get(row["chain_seq"]), kind, row)

    def _entries(self, seqs: Sequence[int]) -> dict[int, ChainEntry]:
        if not seqs:
            return {}
        marks = ", ".join("?" * len(seqs))
        rows = self.tables.read_anyhow(f"SELECT * FROM chain WHERE seq IN ({marks})", seqs)
        return {row["seq"]: ChainEntry(**row) for row in rows}

    def _append(self, table: str, subject: str, record: Json, salt: str | None, was: int) -> Json:
        """Add an entry about a row; returns what the row must keep of the chain."""
        entry, of_the_chain = self._about(KINDS[table], subject, record, salt, was)
        self.tables.execute(inserting("chain", ENTRY), astuple(entry))
        return of_the_chain

    def _about(
        self, kind: str, subject: str, record: Json, salt: str | None, was: int
    ) -> tuple[ChainEntry, Json]:
        """The next entry, about a row, and what the row must keep of the chain."""
        if not is_personal(kind, record):
            salt = None
        elif salt is None:
            salt = new_salt(kind, record)
        proof = commitment(kind, record, salt), public_text(kind, record)
        entry = self._next(kind, subject, was, *proof)
        return entry, {"salt": salt, "chain_seq": entry.seq}

    def _altered(self, kind: str, row: Row) -> ChainEntry:
        """The next entry, which tells that a row was not what its own says."""
        told = canonical({"entry": row["chain_seq"]})
        return self._next(ALTERED, f"{kind} {row['id']}", 0, "", told)

    def _add(self, kind: str, subject: str, was: int, personal: str, public: str) -> int:
        entry = self._next(kind, subject, was, personal, public)
        self.tables.execute(inserting("chain", ENTRY), astuple(entry))
        return entry.seq

    def _next(self, kind: str, subject: str, was: int, personal: str, public: str) -> ChainEntry:
        """The entry after the last; the caller writes it."""
        before = self.appended or self.head()
        at = to_text(self._clock())
        entry = ChainEntry(before.seq + 1, at, kind, subject, was, personal, public, hash="")
        entry = replace(entry, hash=link(before.hash, entry))
        self.appended = ChainHead(entry.seq, entry.hash)
        return entry

    def _next_id(self, table: str) -> int:
        (row,) = self.tables.read(f"SELECT coalesce(max(id), 0) + 1 AS next FROM {table}")
        return int(row["next"])


def _tells(entry: ChainEntry | None, kind: str, row: Row) -> bool:
    """Whether it tells the present state of this row."""
    if entry is None or (entry.kind, entry.subject) != (kind, str(row["id"])):
        return False
    return not differences(kind, row, entry)

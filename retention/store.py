"""The rows: receipts, recordings, accesses, in one SQLite database that several processes share.

`journal_mode=DELETE`, `synchronous=EXTRA` and `secure_delete=ON`, because what a purge removes must not
survive in a write-ahead log or a free page, and what was reported as done must survive a power cut.
Every write is one short `BEGIN IMMEDIATE` transaction; whoever comes second waits up to `BUSY_S`.
One connection behind a lock serves all threads of a process.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlite_utils import Database
from sqlite_utils.db import NotFoundError

from retention.recording import Access, Json, Receipt, RecordError, Recording, Status, to_text
from retention.schema import MIGRATIONS, unknown_migrations

BUSY_S = 15.0  # how long to wait for another process's transaction
# SQLite's waiters do not queue, they look again after up to 100 ms: who writes much pauses longer than that
BREATH_S = 0.12


class StoreError(Exception):
    """The database cannot be used; `str()` is one line that says why."""


class UnknownId(StoreError):
    """There is no such row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows to list, newest first. Absent: any.

    `caller` holds forms of one number; a row matches if its number begins or ends with one of them.
    `operator` is a whole address, or its user part. `until` is exclusive.
    """

    since: datetime | None = None
    until: datetime | None = None
    caller: tuple[str, ...] = ()
    operator: str | None = None
    status: Status | None = None
    held: bool = False
    flagged: bool = False
    outcome: str | None = None  # receipts only
    decision: str | None = None
    limit: int | None = None


class Store:
    """The database at `path`, made if it is missing; `:memory:` for tests. Safe from several threads.

    Raises StoreError: not a database, not writable, made by a newer version, or busy for too long.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._named_errors():
            self._db = _connect(path)
            newer = unknown_migrations(self._db)
            if newer:
                self._db.close()
                raise StoreError(f"{path}: written by a newer sipagent (it has {newer[-1]}); update sipagent")
            if MIGRATIONS.pending(self._db):
                with self.write():  # taken first, so that two processes do not both migrate
                    MIGRATIONS.apply(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside; an exception undoes it. Nests."""
        with self._lock, self._named_errors():
            connection = self._db.conn
            if connection.in_transaction:
                yield
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    # receipts

    def add_receipt(self, receipt: Receipt) -> None:
        """Raises StoreError if the id is taken."""
        self._insert("receipts", receipt.to_json())

    def update_receipt(self, receipt: Receipt) -> None:
        """Replace the whole row. Raises UnknownId."""
        self._update("receipts", receipt.to_json())

    def receipt(self, id: str) -> Receipt:
        """Raises UnknownId."""
        return Receipt.from_json(self._row("receipts", id))

    def receipts(self, selection: Selection | None = None) -> list[Receipt]:
        """Those that match, newest first."""
        where, values = _receipt_conditions(selection or Selection())
        return [Receipt.from_json(row) for row in self._rows("receipts", where, values, selection)]

    def open_receipts(self) -> list[Receipt]:
        """Of calls that have not ended, or whose agent died."""
        return [Receipt.from_json(row) for row in self._rows("receipts", ["ended_at IS NULL"], [])]

    def personal_receipts(self, before: datetime) -> list[Receipt]:
        """Of calls that began before `before` and still lead to a person, oldest first."""
        personal = "(call_id IS NOT NULL OR caller IS NOT NULL OR operator IS NOT NULL OR keyword IS NOT NULL"
        where = ["started_at < ?", f"{personal} OR events <> '[]')"]
        rows = self._rows("receipts", where, [to_text(before)], order="started_at, id")
        return [Receipt.from_json(row) for row in rows]

    # recordings

    def add_recording(self, recording: Recording) -> None:
        """Raises StoreError if the id is taken."""
        self._insert("recordings", recording.to_json())

    def update_recording(self, recording: Recording) -> None:
        """Replace the whole row. Raises UnknownId."""
        self._update("recordings", recording.to_json())

    def recording(self, id: str) -> Recording:
        """Raises UnknownId."""
        return Recording.from_json(self._row("recordings", id))

    def recordings(self, selection: Selection | None = None) -> list[Recording]:
        """Those that match, newest first."""
        where, values = _recording_conditions(selection or Selection())
        return [Recording.from_json(row) for row in self._rows("recordings", where, values, selection)]

    def statuses(self) -> dict[str, Status]:
        """Of every recording, by id."""
        with self._lock, self._named_errors():
            rows = self._db.execute("SELECT id, status FROM recordings").fetchall()
        return {id: Status(status) for id, status in rows}

    def perhaps_due(self, expired: datetime, started: datetime) -> list[Recording]:
        """Not purged, and expired at `expired`, or begun before `started`, or half purged; oldest first."""
        due = "(expires_at <= ? OR started_at < ? OR status = ?)"
        values = [to_text(expired), to_text(started), Status.PURGING.value]
        rows = self._rows("recordings", ["purged_at IS NULL", due], values, order="started_at, id")
        return [Recording.from_json(row) for row in rows]

    # accesses

    def add_access(self, access: Access) -> None:
        """One more line in the trace of uses."""
        self._insert("accesses", access.to_json())

    def accesses(self, recording_id: str | None = None) -> list[Access]:
        """Of one recording, or all; oldest first."""
        where = [] if recording_id is None else ["recording_id = ?"]
        values = [] if recording_id is None else [recording_id]
        return [Access.from_json(row) for row in self._rows("accesses", where, values, order="id")]

    # rows

    def _insert(self, table: str, json: Json) -> None:
        with self.write():
            self._db.table(table).insert(_to_row(json))

    def _update(self, table: str, json: Json) -> None:
        with self.write():
            try:
                self._db.table(table).update(json["id"], _to_row(json))
            except NotFoundError:
                raise UnknownId(f"{json['id']}: no such id") from None

    def _row(self, table: str, id: str) -> Json:
        rows = self._rows(table, ["id = ?"], [id], order="id")
        if not rows:
            raise UnknownId(f"{id}: no such id")
        return rows[0]

    def _rows(
        self,
        table: str,
        where: Sequence[str],
        values: Sequence[object],
        selection: Selection | None = None,
        order: str = "started_at DESC, id DESC",
    ) -> list[Json]:
        limit = selection.limit if selection else None
        with self._lock, self._named_errors():
            rows = self._db.table(table).rows_where(
                " AND ".join(where) or None, list(values), order_by=order, limit=limit
            )
            return [_from_row(row) for row in rows]

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, RecordError) as error:
            raise StoreError(f"{self.path}: {error}") from error


def _connect(path: Path | str) -> Database:
    if str(path) != ":memory:":
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # SQLite would make it 0644
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    for setting in ("journal_mode=DELETE", "synchronous=EXTRA", "secure_delete=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return Database(connection, execute_plugins=False)


def _to_row(json: Json) -> Json:
    return {
        name: json_text(value) if isinstance(value, (list, dict)) else value for name, value in json.items()
    }


def _from_row(row: dict[str, Any]) -> Json:
    nested = ("notice", "pauses", "hold", "events")
    flags = ("incomplete", "flagged")
    plain: Json = {}
    for name, value in row.items():
        if name in nested and value is not None:
            plain[name] = json.loads(value)
        else:
            plain[name] = bool(value) if name in flags else value
    return plain


def json_text(value: object) -> str:
    """Compact JSON, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _common_conditions(selection: Selection) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []

    def add(condition: str, *parameters: object) -> None:
        where.append(condition)
        values.extend(parameters)

    if selection.since is not None:
        add("started_at >= ?", to_text(selection.since))
    if selection.until is not None:
        add("started_at < ?", to_text(selection.until))
    if selection.caller:
        form = "substr(caller, 1, length(?)) = ? OR substr(caller, -length(?)) = ?"
        add(
            f"({' OR '.join([form] * len(selection.caller))})",
            *(n for n in selection.caller for _ in range(4)),
        )
    if selection.operator is not None:
        add("(operator = ? OR instr(operator, ':' || ? || '@') > 0)", selection.operator, selection.operator)
    if selection.decision is not None:
        add("decision = ?", selection.decision)
    return where, values


def _recording_state(selection: Selection) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    if selection.status is not None:
        where.append("status = ?")
        values.append(selection.status.value)
    if selection.held:
        where.append("hold IS NOT NULL")
    if selection.flagged:
        where.append("flagged = 1")
    return where, values


def _recording_conditions(selection: Selection) -> tuple[list[str], list[object]]:
    where, values = _common_conditions(selection)
    state, state_values = _recording_state(selection)
    return where + state, values + state_values


def _receipt_conditions(selection: Selection) -> tuple[list[str], list[object]]:
    where, values = _common_conditions(selection)
    state, state_values = _recording_state(selection)
    if state:
        where.append(f"recording_id IN (SELECT id FROM recordings WHERE {' AND '.join(state)})")
        values += state_values
    if selection.outcome is not None:
        where.append("outcome = ?")
        values.append(selection.outcome)
    return where, values

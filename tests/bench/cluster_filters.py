"""The first page by every filter, out of very many calls in the shared database.

A call every 150 s: those of the last six months lead to people, all others are tombstones. Rows are made here
and copied in past the rules, which have nothing to say about what is only looked at.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from retention.postgres.connection import Connection
from retention.postgres.database import SEALED
from retention.postgres.row_keys import MOST_KEYS, FolderBlobs, KeyKind, RowKey, RowKeys
from retention.postgres.store import SealedStore, hashes, period_of, sealed
from retention.records import Record, Status, due_date, to_text
from retention.rows.chain import new_salt, to_row
from retention.rows.pages import Row as TableRow
from retention.rows.selection import Selection
from tests.bench import report
from tests.bench.report import Row
from tests.bench.store import NOW, call
from tests.postgres import Server, database_of, primary
from tests.sealed import sealed_store

SETTINGS = {"shared_buffers": "512MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}
KEPT = timedelta(days=182)
OPERATORS = 20
OFTEN, RARELY = "+33600000001", "+33600000002"
TIMES = 5
_BATCH = 10_000
_INDEXES = """SELECT indexdef FROM pg_indexes WHERE tablename IN ('receipts', 'recordings')
    AND indexname NOT IN (SELECT conname FROM pg_constraint)"""

Ask = Callable[[SealedStore, Selection], Sequence[Record]]

_FILTERS: dict[str, Callable[[datetime], Selection]] = {
    "all": lambda now: Selection(),
    "a day a year ago": lambda now: Selection(since=now - timedelta(366), until=now - timedelta(365)),
    "a number that calls often": lambda now: Selection(number=OFTEN),
    "a number that called once": lambda now: Selection(number=RARELY),
    "a number that never called": lambda now: Selection(number="+33600000003"),
    "the end of a number": lambda now: Selection(caller=(RARELY[-6:],)),
    "an operator": lambda now: Selection(operator="op7"),
    "an operator on a day": lambda now: Selection(
        operator="op7", since=now - timedelta(100), until=now - timedelta(99)
    ),
    "an operator that there never was": lambda now: Selection(operator="nobody"),
    "a reference that there never was": lambda now: Selection(reference="ffffff"),
    "held": lambda now: Selection(held=True),
    "flagged": lambda now: Selection(flagged=True),
    "failed": lambda now: Selection(status=Status.FAILED),
    "closed": lambda now: Selection(status=Status.CLOSED),
    "purged": lambda now: Selection(status=Status.PURGED),
    "refused": lambda now: Selection(decision="refused"),
    "held by an operator": lambda now: Selection(held=True, operator="op7"),
    "flagged a year ago": lambda now: Selection(flagged=True, until=now - timedelta(365)),
}
_OF_CALLS: dict[str, Callable[[datetime], Selection]] = {
    "abandoned": lambda now: Selection(outcome="abandoned"),
    "of an outcome that there never was": lambda now: Selection(outcome="nothing"),
    "unrecorded": lambda now: Selection(unrecorded=True),
    "unrecorded and refused": lambda now: Selection(unrecorded=True, decision="refused"),
}


def rows(count: int, say: Callable[[str], None]) -> list[Row]:
    """So many calls, and how long the first 50 by each filter take."""
    with (
        tempfile.TemporaryDirectory(prefix="sipagent-filters-") as folder,
        primary("127.0.0.14", SETTINGS) as server,
    ):
        conninfo, vault = server.database(), Path(folder) / "vault"
        sealed_store(conninfo, vault, host="a").close()
        fill(server, conninfo, vault, count, say)
        return [*measured(conninfo, vault)]


def measured(conninfo: str, vault: Path) -> Iterator[Row]:
    """Each filter, the first time by a program that knows no key yet."""
    for name, selection in _FILTERS.items():
        yield _timed(f"recordings: {name}", conninfo, vault, selection(NOW), SealedStore.recordings)
    for name, selection in (_FILTERS | _OF_CALLS).items():
        yield _timed(f"calls: {name}", conninfo, vault, selection(NOW), SealedStore.receipts)


def _timed(name: str, conninfo: str, vault: Path, selection: Selection, ask: Ask) -> Row:
    first = replace(selection, limit=50)
    took: list[float] = []
    for _ in range(2):
        with sealed_store(conninfo, vault) as store:
            took.append(_once(store, first, ask))
    with sealed_store(conninfo, vault) as store:
        took += [_once(store, first, ask) for _ in range(TIMES)]
    return report.of(name, took, 100)


def _once(store: SealedStore, selection: Selection, ask: Ask) -> float:
    began = time.perf_counter()
    ask(store, selection)
    return (time.perf_counter() - began) * 1000


# --- what there is ---


def fill(server: Server, conninfo: str, vault: Path, count: int, say: Callable[[str], None]) -> None:
    """The calls and their recordings, the oldest first; the indexes are made afterwards."""
    name = database_of(conninfo)
    keys = RowKeys(Connection(conninfo, None), FolderBlobs(vault), "a")
    indexes = [definition for (definition,) in server.execute(_INDEXES, name)]
    with server.connect(name, "postgres") as connection:
        connection.execute("SET session_replication_role = replica")  # no rules
        for index in indexes:
            connection.execute(f"DROP INDEX {index.partition(' ON ')[0].split()[-1]}".encode())
        filling = _Filling(keys)
        numbers = range(count - 1, -1, -1)
        for first in range(0, count, _BATCH):
            made = [filling.call(number) for number in numbers[first : first + _BATCH]]
            for table, which in (("receipts", 0), ("recordings", 1)):
                _copy(connection, table, [pair[which] for pair in made if pair[which] is not None])
            say(f"{min(first + _BATCH, count):,} calls")
        for period, key in filling.words.items():
            values = [period, key.name]
            connection.execute("INSERT INTO search_keys (period, key, whole) VALUES (%s, %s, true)", values)
        connection.execute("DELETE FROM key_removals")
        for index in indexes:
            connection.execute(index.encode())
        for table in ("receipts", "recordings", "search_keys"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())
    keys.close()


class _Filling:
    """Rows as they are kept, `number` calls before now."""

    def __init__(self, keys: RowKeys) -> None:
        self._keys = keys
        self.words: dict[str, RowKey] = {}

    def call(self, number: int) -> tuple[TableRow, TableRow | None]:
        receipt, recording = call(number, NOW)
        person = {
            "caller": OFTEN if number % 50 == 3 else RARELY if number == 777 else receipt.caller,
            "operator": f"sip:op{number % OPERATORS}@pbx.example.net",
        }
        row = receipt.to_json() | person
        row["outcome"] = "abandoned" if number % 4 == 1 else "connected"
        if number % 20 == 2:
            row |= {"decision": "refused", "recording_id": None}
        other = recording.to_json() | person
        other["flagged"] = number % 40 == 8
        if number % 1000 == 9:
            other["status"] = Status.FAILED.value
        due = due_date(recording.started_at, "6 months")
        is_kept = number < KEPT / timedelta(seconds=150)
        if is_kept and number % 4000 == 100:
            other["hold"] = {"ground": "criminal", "review": "2027-01-01"}
        if not is_kept:
            if other["status"] != Status.FAILED.value:
                other["status"] = Status.PURGED.value
            other |= {"purged_at": to_text(due), "path": None}
        kept = self._kept("receipts", row, is_kept)
        return kept, None if row["recording_id"] is None else self._kept("recordings", other, is_kept)

    def _kept(self, table: str, record: dict[str, Any], is_kept: bool) -> TableRow:
        row = to_row(record)
        columns = {name: row.get(name) for name in SEALED[table]} | {"salt": new_salt("receipt", record)}
        kept = {name: value for name, value in row.items() if name not in SEALED[table]} | {"chain_seq": 0}
        if table == "recordings":
            kept["hold"] = row["hold"]
        empty = dict.fromkeys(("sealed", "key", "search", "number_hash", "start_hash", "end_hash"))
        kept |= empty | {"operator_hash": None}
        if is_kept:
            key = self._key(KeyKind.ROW)
            kept |= {"sealed": sealed(key.raw, table, row["id"], columns), "key": key.name}
            period = period_of(row["started_at"])
            if period not in self.words:
                self.words[period] = self._key(KeyKind.SEARCH)
            kept |= hashes(self.words[period], to_row(record))
        return kept

    def _key(self, kind: KeyKind) -> RowKey:
        stock = self._keys._stocks[kind]
        if not stock.keys:
            self._keys.reserve(MOST_KEYS, kind)
        return self._keys.take(kind)


def _copy(connection: psycopg.Connection[Any], table: str, rows: list[TableRow | None]) -> None:
    there = [row for row in rows if row is not None]
    if not there:
        return
    names = ", ".join(f'"{name}"' for name in there[0])
    with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN".encode()) as copy:
        for row in there:
            copy.write_row([*row.values()])

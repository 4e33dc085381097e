"""Lists out of very many calls in the shared database.

Rows are copied in past the rules, which have nothing to say about what is only looked at.

A call every 150 s. `lists`: the newest are real, those behind them fill the table, made by the server itself.
`filters`: all rows are real; those of the last six months lead to people, all others are tombstones.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import psycopg

from retention.postgres.connection import Connection
from retention.postgres.row_keys import MOST_KEYS, FolderBlobs, KeyKind, RowKey, RowKeys
from retention.postgres.schema import SEALED
from retention.postgres.store import SealedStore, hashes, period_of, sealed
from retention.records import Record, Status, due_date, to_text
from retention.rows.chain import new_salt, to_row
from retention.rows.pages import Row as TableRow
from retention.rows.selection import Selection
from tests.bench import report
from tests.bench.report import Row
from tests.bench.store import APART, NOW, call
from tests.postgres import Server, database_of, primary
from tests.sealed import sealed_store

SETTINGS = {"shared_buffers": "512MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}
LIST_MS = 100
KEPT = timedelta(days=182)
OPERATORS = 20
OFTEN, RARELY = "+33600000001", "+33600000002"
Ask = Callable[[SealedStore, Selection], Sequence[Record]]


@contextmanager
def database() -> Iterator[tuple[Server, str, Path]]:
    """An empty one: its server, how it is reached, and the folder of its keys."""
    with (
        tempfile.TemporaryDirectory(prefix="sipagent-rows-") as folder,
        primary("127.0.0.14", SETTINGS) as server,
    ):
        conninfo, vault = server.database(), Path(folder) / "vault"
        sealed_store(conninfo, vault, host="a").close()
        yield server, conninfo, vault


@contextmanager
def filling(server: Server, conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection without rules; indexes are made afterwards."""
    name = database_of(conninfo)
    indexes = server.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('receipts', 'recordings')"
        " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        name,
    )
    with server.connect(name, "postgres") as connection:
        connection.execute("SET session_replication_role = replica")
        for index, _ in indexes:
            connection.execute(f"DROP INDEX {index}".encode())
        yield connection
        for _, definition in indexes:
            connection.execute(definition.encode())
        for table in ("receipts", "recordings", "search_keys"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())


def timed(conninfo: str, vault: Path, name: str, chosen: Selection, *, ask: Ask, least: int = 0) -> Row:
    """The first 50, by programs that have just begun and know no key yet, then by one again and again."""
    took = []
    for times in (1, 1, 5):
        with sealed_store(conninfo, vault) as store:
            for _ in range(times):
                began = time.perf_counter()
                found = ask(store, replace(chosen, limit=50))
                took.append((time.perf_counter() - began) * 1000)
                assert len(found) >= least, f"{name}: {len(found)} found"
    return report.of(name, took, LIST_MS)


# --- lists ---

REAL = 400  # of the newest: some months of them are on a page, a day, with a number
_AT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
# behind the newest, 150 s apart; a tenth is kept, each under a key of its own, the others have forgotten
_FILL = f"""
    INSERT INTO recordings (id, started_at, ended_at, expires_at, status, called, decision, bytes, sha256,
        channels, sample_rate, incomplete, flagged, duration_s, purged_at, chain_seq, sealed, key)
    SELECT to_char(at, 'YYYYMMDD"T"HH24MISSMS') || '-hz-' || lpad((n % 1000000)::text, 6, '0'),
        to_char(at, '{_AT}'), to_char(at + interval '3 min', '{_AT}'),
        to_char(at + interval '6 months', '{_AT}'),
        CASE WHEN kept THEN 'closed' ELSE 'purged' END, '+33323063006', 'allowed',
        2880000, repeat('ab', 32), 2, 8000, 0, 0, 171.2,
        CASE WHEN kept THEN NULL ELSE to_char(at + interval '6 months', '{_AT}') END, 0,
        CASE WHEN kept THEN decode(repeat('5a', 320), 'hex') END, CASE WHEN kept THEN 'old/' || n END
    FROM (SELECT n, timestamptz '{{since}}' - n * interval '150 s' AS at, n % 10 = 0 AS kept
          FROM generate_series({{first}}, {{last}}) AS n) AS calls
"""
_STEP = 250_000


def lists(count: int) -> Iterator[Row]:
    """The newest 50, and those of a number, out of so many."""
    with database() as (server, conninfo, vault):
        newest = [call(number, NOW) for number in range(REAL)]
        with sealed_store(conninfo, vault, host="a") as store:
            store.expect(2 * REAL)
            with store.write():
                for receipt, recording in newest:
                    store.add_receipt(receipt)
                    store.add_recording(recording)
        since = newest[-1][1].started_at.isoformat()
        with filling(server, conninfo) as connection:
            for first in range(1, count + 1, _STEP):
                last = min(first + _STEP - 1, count)
                connection.execute(_FILL.format(since=since, first=first, last=last).encode())
                click.echo(f"{last:,} rows", err=True)
        for name, chosen, least in (
            (f"list of the newest 50 of {count:,}", Selection(), 50),
            ("the same of one number", Selection(number=newest[7][1].caller), 1),
        ):
            yield timed(conninfo, vault, name, chosen, ask=SealedStore.recordings, least=least)


# --- filters ---

_BATCH = 10_000
_YEAR = NOW - timedelta(365)
_FILTERS: dict[str, Selection] = {
    "all": Selection(),
    "a day a year ago": Selection(since=_YEAR - timedelta(1), until=_YEAR),
    "a number that calls often": Selection(number=OFTEN),
    "a number that called once": Selection(number=RARELY),
    "a number that never called": Selection(number="+33600000003"),
    "the end of a number": Selection(caller=(RARELY[-6:],)),
    "an operator": Selection(operator="op7"),
    "an operator on a day": Selection(operator="op7", since=NOW - timedelta(100), until=NOW - timedelta(99)),
    "an operator that there never was": Selection(operator="nobody"),
    "a reference that there never was": Selection(reference="ffffff"),
    "held": Selection(held=True),
    "flagged": Selection(flagged=True),
    "failed": Selection(status=Status.FAILED),
    "closed": Selection(status=Status.CLOSED),
    "purged": Selection(status=Status.PURGED),
    "refused": Selection(decision="refused"),
    "held by an operator": Selection(held=True, operator="op7"),
    "flagged a year ago": Selection(flagged=True, until=_YEAR),
}
_OF_CALLS: dict[str, Selection] = {
    "abandoned": Selection(outcome="abandoned"),
    "of an outcome that there never was": Selection(outcome="nothing"),
    "unrecorded": Selection(unrecorded=True),
    "unrecorded and refused": Selection(unrecorded=True, decision="refused"),
}


def filters(count: int) -> Iterator[Row]:
    """So many calls, and how long the first 50 by each filter take."""
    with database() as (server, conninfo, vault):
        keys = RowKeys(Connection(conninfo, None), FolderBlobs(vault), "a")
        made = _Rows(keys)
        with filling(server, conninfo) as connection:
            for first in range(count, 0, -_BATCH):  # the oldest first
                calls = [made.call(number) for number in range(first - 1, max(first - _BATCH, 0) - 1, -1)]
                for table, rows in zip(("receipts", "recordings"), zip(*calls, strict=True), strict=True):
                    _copy(connection, table, [row for row in rows if row is not None])
                click.echo(f"{count - max(first - _BATCH, 0):,} calls", err=True)
            for period, key in made.words.items():
                connection.execute(
                    "INSERT INTO search_keys (period, key, whole) VALUES (%s, %s, true)", [period, key.name]
                )
            connection.execute("DELETE FROM key_removals")
        keys.close()
        for name, chosen in _FILTERS.items():
            yield timed(conninfo, vault, f"recordings: {name}", chosen, ask=SealedStore.recordings)
        for name, chosen in (_FILTERS | _OF_CALLS).items():
            yield timed(conninfo, vault, f"calls: {name}", chosen, ask=SealedStore.receipts)


class _Rows:
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
        is_kept = number < KEPT / APART
        if is_kept and number % 4000 == 100:
            other["hold"] = {"ground": "criminal", "review": "2027-01-01"}
        if not is_kept:
            if other["status"] != Status.FAILED.value:
                other["status"] = Status.PURGED.value
            due = due_date(recording.started_at, "6 months")
            other |= {"purged_at": to_text(due), "path": None}
        kept = self._kept("receipts", row, is_kept)
        return kept, None if row["recording_id"] is None else self._kept("recordings", other, is_kept)

    def _kept(self, table: str, record: dict[str, Any], is_kept: bool) -> TableRow:
        row = to_row(record)
        columns = {name: row.get(name) for name in SEALED[table]} | {"salt": new_salt("receipt", record)}
        kept = {name: value for name, value in row.items() if name not in SEALED[table]} | {"chain_seq": 0}
        if table == "recordings":
            kept["hold"] = row["hold"]
        empty = ("sealed", "key", "search", "number_hash", "start_hash", "end_hash", "operator_hash")
        kept |= dict.fromkeys(empty)
        if is_kept:
            key = self._key(KeyKind.ROW)
            kept |= {"sealed": sealed(key.raw, table, row["id"], columns), "key": key.name}
            period = period_of(row["started_at"])
            if period not in self.words:
                self.words[period] = self._key(KeyKind.SEARCH)
            kept |= hashes(self.words[period], row)
        return kept

    def _key(self, kind: KeyKind) -> RowKey:
        if not self._keys._stocks[kind].keys:
            self._keys.reserve(MOST_KEYS, kind)
        return self._keys.take(kind)


def _copy(connection: psycopg.Connection[Any], table: str, rows: list[TableRow]) -> None:
    if rows:
        names = ", ".join(f'"{name}"' for name in rows[0])
        with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row([*row.values()])

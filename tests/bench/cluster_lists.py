"""Lists out of very many rows in the shared database: the newest are real, those behind fill the table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from retention.postgres.store import SealedStore
from retention.rows.selection import Selection
from tests.bench import report
from tests.bench.report import Row
from tests.bench.store import NOW, call
from tests.postgres import Server, database_of, primary
from tests.sealed import sealed_store

SETTINGS = {"shared_buffers": "512MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}
REAL = 400  # of the newest: some months of them are on a page, a day, with a number
TIMES = 20
AT = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
# behind the newest, 150 s apart; a tenth is kept, each under a key of its own, the others have forgotten
_FILL = f"""
    INSERT INTO recordings (id, started_at, ended_at, expires_at, status, called, decision, bytes, sha256,
        channels, sample_rate, incomplete, flagged, duration_s, purged_at, chain_seq, sealed, key)
    SELECT to_char(at, 'YYYYMMDD"T"HH24MISSMS') || '-hz-' || lpad((n % 1000000)::text, 6, '0'),
        to_char(at, '{AT}'), to_char(at + interval '3 min', '{AT}'),
        to_char(at + interval '6 months', '{AT}'),
        CASE WHEN kept THEN 'closed' ELSE 'purged' END, '+33323063006', 'allowed',
        2880000, repeat('ab', 32), 2, 8000, 0, 0, 171.2,
        CASE WHEN kept THEN NULL ELSE to_char(at + interval '6 months', '{AT}') END, 0,
        CASE WHEN kept THEN decode(repeat('5a', 320), 'hex') END, CASE WHEN kept THEN 'old/' || n END
    FROM (SELECT n, timestamptz '{{since}}' - n * interval '150 s' AS at, n % 10 = 0 AS kept
          FROM generate_series({{first}}, {{last}}) AS n) AS calls
"""
_STEP = 250_000


def fill(server: Server, conninfo: str, since: datetime, rows: int, say: Callable[[str], None]) -> None:
    """So many recordings before `since`, by the server itself; the indexes are made afterwards."""
    name = database_of(conninfo)
    indexes = [
        row[0]
        for row in server.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'recordings' AND indexname NOT IN"
            " (SELECT conname FROM pg_constraint)",
            name,
        )
    ]
    with server.connect(name, "postgres") as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers
        for statement in indexes:
            connection.execute(f"DROP INDEX {statement.split()[statement.split().index('ON') - 1]}".encode())
        for first in range(1, rows + 1, _STEP):
            last = min(first + _STEP - 1, rows)
            connection.execute(_FILL.format(since=since.isoformat(), first=first, last=last).encode())
            say(f"{last} rows")
        for statement in indexes:
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE recordings")


def rows(count: int, say: Callable[[str], None]) -> list[Row]:
    """The newest 50, those of a number and those that are held, each as often as it takes to be sure."""
    with (
        tempfile.TemporaryDirectory(prefix="sipagent-lists-") as folder,
        primary("127.0.0.14", SETTINGS) as server,
    ):
        conninfo, vault = server.database(), Path(folder) / "vault"
        with sealed_store(conninfo, vault, host="a") as store:
            newest = [call(number, NOW) for number in range(REAL)]
            store.expect(2 * REAL)
            with store.write():
                for receipt, recording in newest:
                    store.add_receipt(receipt)
                    store.add_recording(recording)
        fill(server, conninfo, newest[-1][1].started_at, count, say)
        caller = newest[7][1].caller
        assert caller is not None
        return [
            _timed(conninfo, vault, f"list of the newest 50 of {count:,}", Selection(limit=50), 50),
            _timed(conninfo, vault, "the same of one number", Selection(number=caller, limit=50), 1),
        ]


def _timed(conninfo: str, vault: Path, name: str, selection: Selection, expected: int) -> Row:
    took = [_first(conninfo, vault, selection, expected)]
    with sealed_store(conninfo, vault) as store:
        took += [_once(store, selection, expected) for _ in range(TIMES)]
    return report.of(name, took, 100)


def _first(conninfo: str, vault: Path, selection: Selection, expected: int) -> float:
    """By a program that has just begun: it knows no key yet."""
    with sealed_store(conninfo, vault) as store:
        return _once(store, selection, expected)


def _once(store: SealedStore, selection: Selection, expected: int) -> float:
    began = time.perf_counter()
    found = store.recordings(selection)
    took = (time.perf_counter() - began) * 1000
    assert len(found) == expected and found[0].caller, f"{len(found)} found"
    return took

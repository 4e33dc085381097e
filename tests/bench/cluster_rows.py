"""Lists out of very many calls in the shared database.

A call every 150 s. The newest are real; those behind them fill the table, made by the server itself, past the
rules, which have nothing to say about what is only looked at.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from retention.rows.selection import Selection
from tests.bench import report
from tests.bench.report import Row
from tests.bench.store import NOW, call
from tests.postgres import database_of, primary
from tests.sealed import sealed_store

SETTINGS = {"shared_buffers": "512MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}
LIST_MS = 100
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
    with (
        tempfile.TemporaryDirectory(prefix="sipagent-rows-") as folder,
        primary("127.0.0.14", SETTINGS) as server,
    ):
        conninfo, vault = server.database(), Path(folder) / "vault"
        newest = [call(number, NOW) for number in range(REAL)]
        with sealed_store(conninfo, vault, host="a") as store:
            store.expect(2 * REAL)
            with store.write():
                for receipt, recording in newest:
                    store.add_receipt(receipt)
                    store.add_recording(recording)
        with server.connect(database_of(conninfo), "postgres") as connection:
            connection.execute("SET session_replication_role = replica")
            since = newest[-1][1].started_at.isoformat()
            for first in range(1, count + 1, _STEP):
                last = min(first + _STEP - 1, count)
                connection.execute(_FILL.format(since=since, first=first, last=last).encode())
                click.echo(f"{last:,} rows", err=True)
            for table in ("receipts", "recordings", "search_keys"):
                connection.execute(f"VACUUM ANALYZE {table}".encode())
        for name, chosen, least in (
            (f"list of the newest 50 of {count:,}", Selection(limit=50), 50),
            ("the same of one number", Selection(number=newest[7][1].caller, limit=50), 1),
        ):
            yield report.of(name, _took(conninfo, vault, chosen, least), LIST_MS)


def _took(conninfo: str, vault: Path, chosen: Selection, least: int) -> list[float]:
    """ms, by programs that have just begun and know no key yet, then by one again and again."""
    took = []
    for times in (1, 1, 5):
        with sealed_store(conninfo, vault) as store:
            for _ in range(times):
                began = time.perf_counter()
                assert len(store.recordings(chosen)) >= least
                took.append((time.perf_counter() - began) * 1000)
    return took

"""What a caller's receipt costs among as many entries as a large office has in a century:
`python -m tests.bench.receipts`. That it proves what it says, and no other: `tests/test_roots.py`."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from retention.records import to_text
from retention.roots import (
    caller_receipt,
    make_root,
)
from tests import kept
from tests.bench import report
from tests.bench.report import Row
from tests.kept import sqlite

TOMORROW = datetime.now(UTC) + timedelta(days=1)


def among(entries: int) -> Iterator[Row]:
    """Entries whose hashes are random, behind one real call."""
    with (
        tempfile.TemporaryDirectory(prefix="sipagent-receipts-") as folder,
        kept.archive(Path(folder)).store as store,
    ):
        store.add_receipt(kept.receipt(row := kept.recording()))
        database = sqlite(store)
        for trigger in database.triggers:
            database.execute(f"DROP TRIGGER {trigger.name}")
        columns, at = "seq, at, kind, subject, was, personal, public, hash", to_text(datetime.now(UTC))
        more = range(store.head().seq + 1, entries + 1)
        database.execute("BEGIN")
        database.conn.executemany(
            f"INSERT INTO chain ({columns}) VALUES (?, ?, 'access', '1', 0, '', '', ?)",
            ((seq, at, os.urandom(32).hex()) for seq in more),
        )
        database.execute("COMMIT")
        began = time.perf_counter()
        assert make_root(store, TOMORROW) is not None
        yield Row(f"the first root of {entries:,} entries", time.perf_counter() - began, None, "s")
        took = []
        for _ in range(100):
            began = time.perf_counter()
            made = caller_receipt(store, row.id, TOMORROW)
            took.append((time.perf_counter() - began) * 1000)
        yield report.p95("a receipt among them", took, 50)
        yield Row("its proof", len(json.dumps(made.proof)), 2000, "bytes")
        began = time.perf_counter()
        make_root(store, TOMORROW + timedelta(days=1))
        yield Row("the next root", (time.perf_counter() - began) * 1000, None, "ms")


@click.command()
@click.option("--entries", default=10_000_000, show_default=True, help="Among which a receipt is looked for.")
@report.as_json_option
def main(entries: int, as_json: bool) -> None:
    """Measure receipts; exit 1 where a target is missed."""
    report.finish("callers' receipts", as_json, {"among": lambda: among(entries)})


if __name__ == "__main__":
    main()

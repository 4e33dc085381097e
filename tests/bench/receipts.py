"""What a caller's receipt costs and proves: `python -m tests.bench.receipts`.

Receipts of many calls, each checked by its two files alone; a database that is rewritten in a thousand ways,
each time with hashes that fit again; and the proof among so many entries as a large office has in a century.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from retention import merkle
from retention.archive import Archive
from retention.records import to_text
from retention.roots import (
    CallerReceipt,
    Root,
    RootError,
    caller_receipt,
    check_receipt,
    make_root,
    read_receipt,
    read_root,
)
from retention.rows.chain import ChainEntry, link
from retention.rows.pages import BATCH, batches
from tests import kept
from tests.bench import report
from tests.bench.report import Row
from tests.kept import sqlite

CALLS, CHECKED, TAMPERED = 10_000, 500, 1_000
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@contextmanager
def _archive() -> Iterator[Archive]:
    with tempfile.TemporaryDirectory(prefix="sipagent-receipts-") as folder:
        archive = kept.archive(Path(folder))
        yield archive
        archive.store.close()


def _calls(archive: Archive, count: int) -> list[str]:
    rows = [kept.recording(minutes) for minutes in range(count)]
    with archive.store.write():
        for some in batches(rows, BATCH):
            archive.store.keep_many([kept.receipt(row) for row in some], [], [])
    return [row.id for row in rows]


def receipts() -> Iterator[Row]:
    """Each by its file and the root's, read anew."""
    with _archive() as archive, tempfile.TemporaryDirectory() as folder:
        ids = _calls(archive, CALLS)
        root = make_root(archive.store, TOMORROW)
        assert root is not None and archive.store.places is not None
        published, file = archive.store.places.roots / f"{root.date}.json", Path(folder) / "receipt.json"
        took, wrong = [], 0
        for id in ids:
            began = time.perf_counter()
            text = json.dumps(caller_receipt(archive.store, id, TOMORROW).to_json())
            took.append((time.perf_counter() - began) * 1000)
            file.write_text(text)
            try:
                check_receipt(read_receipt(file), read_root(published))
            except RootError:
                wrong += 1
        yield Row("receipts that do not lead to the published root", wrong, 0, count=CALLS)
        yield report.of("one receipt", took, None)


def tampering() -> Iterator[Row]:
    """The chain rewritten by somebody who has it all, and the day's root made anew; a receipt was given."""
    pick = random.Random(33)
    with _archive() as archive:
        ids = _calls(archive, CHECKED)
        root = make_root(archive.store, TOMORROW)
        assert root is not None
        rows = archive.store.read("SELECT * FROM chain ORDER BY seq")
        entries = [ChainEntry(**row) for row in rows]
        held = [caller_receipt(archive.store, id, TOMORROW) for id in ids]
    found = {kind: 0 for kind in ("leaf", "order", "root", "roll-back", "fork")}
    for number in range(TAMPERED):
        kind = [*found][number % len(found)]
        found[kind] += _is_found(kind, pick, entries, root, pick.choice(held))
    for kind, count in found.items():
        yield Row(f"not found of what was tampered with: {kind}", TAMPERED // len(found) - count, 0)


def _is_found(
    kind: str, pick: random.Random, entries: Sequence[ChainEntry], root: Root, receipt: CallerReceipt
) -> bool:
    at = pick.randrange(1, len(entries) - 1)
    changed = [*entries]
    match kind:
        case "leaf":
            changed[at] = replace(changed[at], public=changed[at].public + " ")
        case "order":
            changed[at], changed[at + 1] = changed[at + 1], changed[at]
        case "roll-back":
            del changed[at:]
        case "fork":
            later = to_text(TOMORROW)
            changed[at:] = [replace(one, at=later) for one in changed[at:]]
    tree, before = merkle.Frontier(), "0" * 64
    for seq, entry in enumerate(changed, root.first):
        before = link(before, replace(entry, seq=seq))
        tree.add(bytes.fromhex(before))
    made = hashlib.sha256(pick.randbytes(8)) if kind == "root" else None
    again = replace(root, size=tree.size, root=made.hexdigest() if made else tree.root().hex())
    try:
        check_receipt(receipt, again)
    except RootError:
        return True
    return False


def among(entries: int) -> Iterator[Row]:
    """Entries whose hashes are random, behind one real call."""
    with _archive() as archive:
        (id,) = _calls(archive, 1)
        store, database = archive.store, sqlite(archive.store)
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
            made = caller_receipt(store, id, TOMORROW)
            took.append((time.perf_counter() - began) * 1000)
        yield report.p95("a receipt among them", took, 50)
        yield Row("its proof", len(json.dumps(made.proof)), 2000, "bytes")
        began = time.perf_counter()
        make_root(store, TOMORROW + timedelta(days=1))
        yield Row("the next root", (time.perf_counter() - began) * 1000, None, "ms")


@click.command()
@click.option("--entries", default=10_000_000, show_default=True, help="Among which a receipt is looked for.")
@click.option("--only", type=click.Choice(["receipts", "tampering", "among"]), multiple=True)
@report.as_json_option
def main(entries: int, only: tuple[str, ...], as_json: bool) -> None:
    """Measure receipts; exit 1 where a target is missed."""
    parts = {"receipts": receipts, "tampering": tampering, "among": lambda: among(entries)}
    report.finish("callers' receipts", as_json, parts, only)


if __name__ == "__main__":
    main()

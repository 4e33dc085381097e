"""kill -9 of who makes and removes keys of rows, at every step; and hosts that do so at once, and are killed.

Afterwards the next purge finishes it: what was forgotten is gone from the vault, what is kept opens.
"""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from retention.postgres.store import SealedStore
from retention.records import Receipt
from retention.rows.rows import TryAgain
from retention.rows.selection import Selection
from tests.crashing import killed_before
from tests.kept import CALLER, receipt, recording
from tests.sealed import ask, keys_in, run, sealed_store, tables

TABLES_OF_DATABASE = tables

pytestmark = pytest.mark.slow


def keys_of(database: str) -> dict[str, str | None]:
    return {row["id"]: row["key"] for row in ask(database, "SELECT id, key FROM receipts")}


def finished(store: SealedStore, database: str) -> None:
    """What the next purge does, a quarter of an hour later."""
    since = "SET since = since - interval '20 minutes'"
    for table in ("key_removals", "key_revisions"):
        run(database, f"UPDATE {table} {since}")
    gone = store.forget_keys()
    assert (gone.left, gone.problem) == (0, "") and store.keys_left() == 0


def assert_whole(store: SealedStore, database: str, vault: Path, kept: list[Receipt]) -> None:
    """The vault has the keys of what is kept, and no others; each bundle once."""
    needed = {row["key"] for row in ask(database, "SELECT key FROM receipts WHERE key IS NOT NULL")}
    needed |= {row["key"] for row in ask(database, "SELECT key FROM search_keys WHERE key IS NOT NULL")}
    assert set(keys_in(vault)) == needed
    files = [path for path in vault.rglob("*") if path.is_file()]
    assert len(files) == len({path.parent for path in files})
    store.keys._remembered.clear()
    assert {one.id: one for one in store.receipts() if one.caller} == {one.id: one for one in kept}
    assert {one.id for one in store.receipts(Selection(number=CALLER))} == {one.id for one in kept}


def test_killed_at_each_step_of_forgetting(database: str, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    died, number, kept = set(), 0, []
    while True:
        with sealed_store(database, vault, host="a") as store:
            gone, stays = receipt(recording(10 * number)), receipt(recording(10 * number + 1))
            for one in (gone, stays):
                store.add_receipt(one)
            kept.append(stays)
        key = keys_of(database)[gone.id]

        def forget(one: Receipt = gone) -> None:
            with sealed_store(database, vault, host="a") as store:
                store.update_receipt(one.anonymous())

        step = killed_before(number, forget)
        with sealed_store(database, vault, host="b") as store:
            if store.receipt(gone.id).caller is not None:
                store.update_receipt(gone.anonymous())
            finished(store, database)
            assert key not in keys_in(vault)
            assert_whole(store, database, vault, kept)
        if step is None:
            break
        died.add(step.partition(" ")[0])
        number += 1
    assert died >= {"create", "write", "half", "sync", "replace", "unlink"} and number > 10


def test_killed_at_each_step_of_keeping(database: str, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    kept: list[Receipt] = []
    number = 0
    while True:
        one = receipt(recording(10 * number))

        def add(one: Receipt = one) -> None:
            with sealed_store(database, vault, host="a") as store:
                store.add_receipt(one)

        step = killed_before(number, add)
        with sealed_store(database, vault, host="a") as store:
            store.keep_receipt(one)
            kept.append(one)
            finished(store, database)
            assert_whole(store, database, vault, kept)
        if step is None:
            break
        number += 1
    assert number > 5


def test_hosts_that_are_killed_while_others_go_on(database: str, tmp_path: Path) -> None:
    vault, chosen = tmp_path / "vault", random.Random(11)
    told, tells = os.pipe()
    for round in range(4):
        hosts = [_forked(database, vault, round * 3 + number, tells) for number in range(3)]
        for host in hosts[:2]:
            for _ in range(chosen.randint(5, 15)):  # rows of any of them
                os.read(told, 1)
            os.kill(host, signal.SIGKILL)
        os.kill(hosts[2], signal.SIGTERM)
        endings = [os.waitstatus_to_exitcode(os.waitpid(host, 0)[1]) for host in hosts]
        assert endings == [-signal.SIGKILL, -signal.SIGKILL, 0]
    os.close(told)
    os.close(tells)
    with sealed_store(database, vault, host="a") as store:
        for one in store.receipts():
            if one.outcome == "to forget" and one.caller is not None:
                store.update_receipt(one.anonymous())
        finished(store, database)
        there = store.receipts()
        kept = [one for one in there if one.outcome == "to keep"]
        assert len(kept) > 10 and all(one.caller == CALLER for one in kept)
        assert_whole(store, database, vault, kept)


def _forked(database: str, vault: Path, number: int, tells: int) -> int:
    """A host that writes a byte to `tells` for each row."""
    child = os.fork()
    if child:
        return child
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(1))
    try:
        with sealed_store(database, vault, host="a") as store:
            minutes = 100_000 * number
            while not over:
                minutes += 1
                with suppress(TryAgain):
                    one = receipt(recording(minutes), outcome=("to keep", "to forget")[minutes % 2])
                    store.add_receipt(one)
                    if one.outcome == "to forget":
                        store.update_receipt(one.anonymous())
                    os.write(tells, b".")
        os._exit(0)
    finally:
        os._exit(1)

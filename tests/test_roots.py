"""Roots and callers' receipts: the tree by its definition, what a receipt proves, each tampering found."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path

import pytest

from retention import merkle
from retention.archive import Archive
from retention.erase import delete
from retention.records import Access, to_text
from retention.roots import (
    CallerReceipt,
    NoRootYet,
    Root,
    RootError,
    TreeHead,
    caller_receipt,
    check_receipt,
    check_roots,
    make_root,
    newest,
    read_receipt,
    read_root,
    root_files,
)
from retention.rows.chain import ChainEntry, link
from tests import tiers
from tests.both import opened
from tests.kept import CALLER, keep, recording, sqlite

LEAVES = [hashlib.sha256(bytes([i])).digest() for i in range(70)]


def _defined(leaves: list[bytes]) -> bytes:
    """The root by RFC 9162 section 2.1.1, word for word."""
    if len(leaves) < 2:
        return merkle.leaf(leaves[0]) if leaves else hashlib.sha256().digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return merkle.node(_defined(leaves[:half]), _defined(leaves[half:]))


def _nodes(level: int, place: int) -> bytes:
    return _defined(LEAVES[place << level : (place + 1) << level])


def test_each_leaf_of_each_tree_is_proved_and_no_other() -> None:
    tree = merkle.Frontier()
    for size in range(len(LEAVES)):
        root = _defined(LEAVES[:size])
        assert tree.root() == root == merkle.root(_nodes, size)
        for index in range(size):
            proof = merkle.inclusion(_nodes, index, size)
            proved = [at for at in range(size) if merkle.is_included(LEAVES[index], at, size, proof, root)]
            assert proved == [index]
            assert not merkle.is_included(LEAVES[index - 1 if index else -1], index, size, proof, root)
            assert not merkle.is_included(LEAVES[index], index, size, [*proof, root], root)
            assert not proof or not merkle.is_included(LEAVES[index], index, size, proof[:-1], root)
        tree.add(LEAVES[size])


def test_each_tree_continues_those_before_it_and_no_other() -> None:
    for new in range(1, 40):
        root = _defined(LEAVES[:new])
        for old in range(1, new + 1):
            proof = merkle.consistency(_nodes, old, new)
            assert merkle.is_consistent(old, _defined(LEAVES[:old]), new, root, proof)
            assert not merkle.is_consistent(old, _defined(LEAVES[1 : old + 1]), new, root, proof)
            forked = [*LEAVES[: old - 1], LEAVES[-1], *LEAVES[old:new]]
            assert not merkle.is_consistent(old, _defined(LEAVES[:old]), new, _defined(forked), proof)


class Place:
    """A chain with some calls; days go by as the tests say."""

    def __init__(self, archive: Archive) -> None:
        self.archive, self.store = archive, archive.store
        self.tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert archive.store.places is not None
        self.folder = archive.store.places.roots
        self.minute = 0

    def call(self) -> str:
        self.minute += 1
        return keep(self.archive, recording(self.minute)).id

    def root(self, days: int = 0) -> Root:
        made = make_root(self.store, self.tomorrow + timedelta(days=days))
        assert made is not None
        return made

    def receipt(self, id: str) -> CallerReceipt:
        return caller_receipt(self.store, id, self.tomorrow)

    def rewrite(self, change: Callable[[list[dict[str, object]]], None]) -> None:
        """The chain as somebody who has the database makes it: every hash fits again."""
        database = sqlite(self.store)
        rows = list(database.table("chain").rows_where(order_by="seq"))
        change(rows)
        for trigger in database.triggers:
            database.execute(f"DROP TRIGGER {trigger.name}")
        database.execute("DELETE FROM chain")
        before = "0" * 64
        for seq, row in enumerate(rows, 1):
            entry = ChainEntry(**{**row, "seq": seq})
            before = link(before, entry)
            database.table("chain").insert({**row, "seq": seq, "hash": before})
        database.conn.commit()
        for path in self.folder.iterdir():
            path.unlink()


@pytest.fixture
def place(archive: Archive) -> Place:
    return Place(archive)


def test_a_receipt_leads_to_the_root_of_its_day_by_the_two_files_alone(place: Place, tmp_path: Path) -> None:
    ids = [place.call() for _ in range(5)]
    with pytest.raises(NoRootYet, match="ask again tomorrow"):
        place.receipt(ids[0])
    root = place.root()
    assert make_root(place.store, place.tomorrow) is None
    for id in ids:
        (tmp_path / "receipt.json").write_text(json.dumps(place.receipt(id).to_json()))
        told = read_receipt(tmp_path / "receipt.json")
        check_receipt(told, read_root(place.folder / f"{root.date}.json"))
        assert told.entry["subject"] == id and told.personal and told.personal["caller"] == CALLER
        assert told.statement.kept.recording == "closed" and told.statement.kept.sound
    assert CALLER not in (place.folder / f"{root.date}.json").read_text()


def test_what_is_written_after_midnight_is_of_the_next_root(place: Place) -> None:
    place.call()
    first = place.root()
    later = place.call()
    with pytest.raises(NoRootYet):
        place.receipt(later)
    second = place.root(1)
    assert (second.previous, second.size > first.size) == (TreeHead.of(first), True)
    check_receipt(place.receipt(later), second)
    check_roots([*map(read_root, root_files(place.folder))])
    place.store.add_access(Access(at=datetime.now(UTC), action="purge"))
    place.root(2)
    check_roots([*map(read_root, root_files(place.folder))])


def test_a_purged_calls_receipt_still_checks_and_its_leaf_leads_to_nobody(place: Place) -> None:
    id = place.call()
    root, before = place.root(), None
    before = place.receipt(id)
    delete(
        place.archive, id, Access(at=place.tomorrow, action="delete", detail="asked"), lambda: place.tomorrow
    )
    check_receipt(before, root)
    place.root(1)
    after = place.receipt(id)
    assert (after.personal, after.salt, after.statement.kept.personal, after.statement.kept.sound) == (
        None,
        None,
        False,
        False,
    )
    assert CALLER not in json.dumps(after.to_json())


@pytest.mark.parametrize("entries", [3, 256, 257, 700])
def test_nodes_that_are_kept_say_what_the_chain_does(place: Place, entries: int) -> None:
    id = place.call()
    for _ in range(entries):
        place.store.add_access(Access(at=datetime.now(UTC), action="purge"))
    root = place.root()
    tree = merkle.Frontier()
    for row in place.store.read("SELECT hash FROM chain ORDER BY seq"):
        tree.add(bytes.fromhex(row["hash"]))
    assert (tree.size, tree.root().hex()) == (root.size, root.root)
    check_receipt(place.receipt(id), root)
    for path in place.folder.glob("nodes-*"):
        path.write_bytes(bytes(32) * 7)  # of another chain, or damaged
    again = place.root(1)
    assert again.root == root.root
    check_receipt(place.receipt(id), again)


def _tamper(kind: str, pick: random.Random, place: Place) -> None:
    def leaf(rows: list[dict[str, object]]) -> None:
        row = pick.choice(rows)
        row["public"] = str(row["public"]) + " "

    def order(rows: list[dict[str, object]]) -> None:
        one = pick.randrange(len(rows) - 1)
        rows[one], rows[one + 1] = rows[one + 1], rows[one]

    def rolled_back(rows: list[dict[str, object]]) -> None:
        del rows[pick.randrange(2, len(rows)) :]

    def forked(rows: list[dict[str, object]]) -> None:
        start = pick.randrange(1, len(rows))
        rows[start:] = [{**row, "at": to_text(datetime.now(UTC))} for row in rows[start:]]

    place.rewrite({"leaf": leaf, "order": order, "roll-back": rolled_back, "fork": forked}[kind])


@pytest.mark.parametrize("kind", ["leaf", "order", "roll-back", "fork"])
@pytest.mark.parametrize("seed", range(tiers.depth(2, 10)))
def test_who_rewrites_the_database_cannot_make_the_root_again(place: Place, kind: str, seed: int) -> None:
    ids = [place.call() for _ in range(4)]
    published = place.root()
    held = [place.receipt(id) for id in ids]
    _tamper(kind, random.Random(seed), place)
    again = place.root()
    assert again.date == published.date
    for receipt in held:
        check_receipt(receipt, published)
        with pytest.raises(RootError):
            check_receipt(receipt, again)
    with pytest.raises(RootError):  # and who shows both roots shows it, too
        check_roots([published, replace(again, date="2999-01-01")])
    with pytest.raises(RootError):
        check_roots([published, replace(again, date="2999-01-01", consistency=("no hash",))])


def _changes(receipt: CallerReceipt, pick: random.Random) -> list[CallerReceipt]:
    def other(hex: str) -> str:
        at = pick.randrange(len(hex))
        return hex[:at] + ("0" if hex[at] != "0" else "1") + hex[at + 1 :]

    kept, public = receipt.statement.kept, receipt.entry["public"]
    at = pick.randrange(len(receipt.proof))
    proof = receipt.proof
    return [
        replace(receipt, entry=receipt.entry | {"public": public.replace("allowed", "refused")}),
        replace(receipt, entry=receipt.entry | {"seq": receipt.entry["seq"] + 1}),
        replace(receipt, entry=receipt.entry | {"seq": "1"}),
        replace(receipt, previous=other(receipt.previous)),
        replace(receipt, personal=receipt.personal and receipt.personal | {"caller": "+33600000000"}),
        replace(receipt, personal=None),
        replace(receipt, salt=other(receipt.salt or "")),
        replace(receipt, salt=None),
        replace(receipt, proof=(*proof[:at], other(proof[at]), *proof[at + 1 :])),
        replace(receipt, proof=(*proof, proof[0])),
        replace(receipt, proof=proof[1:]),
        replace(receipt, proof=proof[::-1] if proof != proof[::-1] else ()),
        replace(receipt, statement=replace(receipt.statement, kept=replace(kept, sound=not kept.sound))),
        replace(receipt, statement=replace(receipt.statement, signature=other(receipt.statement.signature))),
        replace(receipt, statement=replace(receipt.statement, key="1999")),
    ]  # fmt: skip


@pytest.mark.parametrize("where", [["head"], ["statement"], ["statement", "kept"]])
def test_a_receipt_with_nothing_where_something_must_be_is_not_readable(
    place: Place, tmp_path: Path, where: list[str]
) -> None:
    id = place.call()
    place.root()
    told = place.receipt(id).to_json()
    *above, last = where
    reduce(dict.__getitem__, above, told)[last] = None
    (tmp_path / "receipt.json").write_text(json.dumps(told))
    with pytest.raises(RootError, match="is not readable"):
        read_receipt(tmp_path / "receipt.json")


def test_a_receipt_that_was_changed_proves_nothing(place: Place) -> None:
    ids = [place.call() for _ in range(4)]
    root = place.root()
    receipts = [place.receipt(id) for id in ids]
    for receipt in receipts:
        for changed in _changes(receipt, random.Random(1)):
            with pytest.raises(RootError):
                check_receipt(changed, root)
    mixed = replace(receipts[0], statement=receipts[1].statement)
    with pytest.raises(RootError, match="another call"):
        check_receipt(mixed, root)


def test_a_changed_row_gives_no_receipt(place: Place) -> None:
    id = place.call()
    place.root()
    database = sqlite(place.store)
    database.execute("UPDATE receipts SET decision = 'refused' WHERE id = ?", [id])
    with pytest.raises(RootError, match="see `verify`"):
        place.receipt(id)


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"version": "sipagent-receipt-1"}', '{"version": 7}', "\0"]
)
def test_files_that_are_none_are_told_in_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "one.json"
    path.write_text(content)
    for read in (read_receipt, read_root):
        with pytest.raises(RootError, match=r"is not (readable|of the form)"):
            read(path)


def test_without_a_chain_there_is_no_root(tmp_path: Path) -> None:
    with opened(tmp_path / "retention.db") as store:
        made = make_root(store, datetime.now(UTC) - timedelta(days=3))
    assert made is None and newest(tmp_path / "roots") is None

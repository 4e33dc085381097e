"""The chain's head in its file: written in any order, never back, and left alone where it shows a loss."""

import fcntl
import json
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from retention.files import Places
from retention.rows.chain import GENESIS, ChainHead, ChainHeadError, damaged_path, export_head, read_head
from retention.rows.rows import StoreError
from retention.sqlite import Store
from tests.crashing import killed_before, steps
from tests.kept import recording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "retention.head"


def head(seq: int) -> ChainHead:
    return ChainHead(seq, f"{seq:064x}")


def known(_: ChainHead) -> bool:
    return True


def test_it_is_one_line_of_json_of_one_length_that_nobody_else_reads(path: Path) -> None:
    assert read_head(path) is None
    path.touch(0o600)
    assert read_head(path) is None
    for seq in (1, 9, 10, 99_999, 10**18):
        export_head(path, head(seq), known)
        content = path.read_bytes()
        assert json.loads(content) == {"seq": seq, "hash": f"{seq:064x}"} and len(content) == 160
        assert content.endswith(b"\n") and content.count(b"\n") == 1
        assert path.stat().st_mode & 0o777 == 0o600 and read_head(path) == head(seq)


def test_a_later_head_stays_and_one_that_the_chain_does_not_know(path: Path) -> None:
    for seq in (3, 5, 4, 1):
        export_head(path, head(seq), known)
    assert read_head(path) == head(5)
    export_head(path, head(9), lambda exported: exported != head(5))
    assert read_head(path) == head(5)


HASH = b"ab" * 32


@pytest.mark.parametrize("content", [
    b"{", b"[]", b"7", b"\xff\xfe", b" " * 160, b"[" * 99_999,
    b'{"seq": 1}', b'{"seq": "x", "hash": "y"}', b'{"seq": 1, "hash": 7}', b'{"seq": 1, "hash": "ab"}',
    *(b'{"seq": %s, "hash": "%s"}' % (seq, HASH) for seq in (b"Infinity", b"-1", b"true", b"1" + b"0" * 30)),
])  # fmt: skip
def test_what_is_no_head_is_told_and_kept_aside(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ChainHeadError, match=r"^retention\.head: not the head of a chain$"):
        read_head(path)
    export_head(path, head(9), lambda _: False)
    assert read_head(path) == head(9) and path.stat().st_size == 160
    assert damaged_path(path).read_bytes() == content[:4096]
    assert damaged_path(path).stat().st_mode & 0o777 == 0o600


def test_it_is_never_written_through_a_link(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        export_head(path, head(1), known)
    assert other.read_bytes() == b"mine"


def test_it_is_never_read_between_two_halves_of_a_write(path: Path) -> None:
    export_head(path, head(3), known)
    read: list[ChainHead | None] = []
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.pwrite(file.fileno(), b'{"seq": 4, "ha', 0)
        reader = threading.Thread(target=lambda: read.append(read_head(path)))
        reader.start()
        reader.join(0.2)
        assert reader.is_alive()
        os.pwrite(file.fileno(), json.dumps({"seq": 4, "hash": head(4).hash}).encode(), 0)
    reader.join()
    assert read == [head(4)]


def test_each_commit_exports_the_head_a_read_and_an_undone_write_none(tmp_path: Path, path: Path) -> None:
    with Store(tmp_path / "retention.db") as store:
        seen = [read_head(path)]
        for n in range(3):
            store.add_recording(recording(n))
            seen.append(read_head(path))
            assert seen[-1] == store.head()
        assert [one.seq for one in seen if one] == [1, 2, 3, 4]
        before = path.read_bytes()
        store.recordings()
        with pytest.raises(ZeroDivisionError), store.write():
            store.add_recording(recording(7))
            raise ZeroDivisionError
        assert path.read_bytes() == before
        with store.write():
            store.add_recording(recording(8))
            store.add_recording(recording(9))
        assert read_head(path) == store.head() == ChainHead(6, store.head().hash)
        assert store.knows(ChainHead(0, GENESIS))  # nothing yet is known to every chain
        for unknown in (ChainHead(0, "ab" * 32), ChainHead(1, GENESIS), ChainHead(99, os.urandom(32).hex())):
            assert not store.knows(unknown)


def test_a_head_that_cannot_be_exported_is_told_in_one_line(tmp_path: Path, path: Path) -> None:
    with Store(tmp_path / "retention.db") as store:
        path.unlink()
        path.mkdir()
        with pytest.raises(StoreError, match=r"retention\.head: Is a directory$"):
            store.add_recording(recording())
        assert len(store.recordings()) == 1  # it is written, and says so nowhere else


def test_whatever_the_moment_of_a_crash_the_chain_knows_its_head(tmp_path: Path) -> None:
    whole = steps(lambda: first_days(tmp_path / "whole.db"))
    assert {"create whole.head", "head whole.head", "insert chain", "commit"} <= set(whole)
    for number, step in enumerate(whole):
        database = tmp_path / f"{number}.db"
        killed_before(number, partial(first_days, database))
        with Store(database) as store:
            exported = read_head(Places(database).head)
            assert exported is not None and store.knows(exported), step
            store.add_recording(recording(9))
            assert read_head(Places(database).head) == store.head(), step
            first = store.entries([1])[1]
            assert (first.kind, first.subject) == ("segment", "a new database"), step


def first_days(database: Path) -> None:
    with Store(database) as store:
        store.add_recording(recording())
        store.add_recording(recording(1))

"""Stamps of a chain that hosts share: whoever had one made, all have it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.files import Places
from retention.postgres.database import SharedStore
from retention.records import Access
from retention.stamps import (
    Stamped,
    StampedElsewhere,
    StampError,
    Stamps,
    newest,
    proven,
    stamp_head,
    stamps_of,
    verify_stamps,
)
from tests.peers.tsa import Answer, Authority
from tests.postgres import Server, fresh
from tests.shared import prepare, shared_store


@pytest.fixture
def hosts(postgres: Server, tmp_path: Path) -> Iterator[tuple[SharedStore, SharedStore]]:
    """One database as two hosts see it, each with a folder of its own."""
    with fresh(postgres, prepare) as conninfo:
        a, b = (shared_store(conninfo, places=Places(tmp_path / name / "shared.db")) for name in "ab")
        for host in (a, b):
            assert host.places is not None
            host.places.folder.mkdir()
        with a, b:
            yield a, b


def write(store: SharedStore) -> None:
    """Move the head."""
    store.add_access(Access(at=datetime.now(UTC), action="purge"))


def stamp(store: SharedStore, tsa: Authority) -> Stamped:
    made = stamp_head(store, tsa.url, tsa.ca)
    assert made is not None
    return made


def of(store: SharedStore) -> Stamps:
    kept = stamps_of(store)
    assert kept is not None
    return kept


def good(store: SharedStore, tsa: Authority) -> int:
    report = verify_stamps(of(store), store.hash_of, tsa.ca)
    assert report.problems == ()
    return report.good


def folder(store: SharedStore) -> Path:
    assert store.places is not None
    return store.places.stamps


def test_all_hosts_have_what_one_has_had_stamped(
    hosts: tuple[SharedStore, SharedStore], tsa: Authority
) -> None:
    a, b = hosts
    write(a)
    made = stamp(a, tsa)
    last = newest(of(b))
    assert last is not None and (last.seq, last.hash, last.at) == (made.seq, made.hash, made.at)
    assert last.path == folder(b) / made.path.name and not last.path.exists()
    assert good(b, tsa) == 1 and proven(b, tsa.ca)() == made.at
    assert stamp_head(b, tsa.url, tsa.ca) is None, "its head has not moved"
    assert last.path.read_bytes() == made.path.read_bytes()
    write(b)
    stamp(b, tsa)
    assert good(a, tsa) == good(b, tsa) == 2


def test_a_lost_database_takes_no_stamp_along(hosts: tuple[SharedStore, SharedStore], tsa: Authority) -> None:
    a, b = hosts
    write(a)
    made = stamp(a, tsa)
    with a.write():
        a.change("DELETE FROM stamps")
    with pytest.raises(FileNotFoundError, match=made.path.name):
        of(b).content(made.seq)
    (folder(a) / f"{made.seq + 1}.tsr").write_bytes(made.path.read_bytes())
    (folder(a) / f"{made.seq + 2}.tsr").write_bytes(b"no stamp")
    assert good(b, tsa) == 0
    for seq in (made.seq + 1, made.seq + 2):
        write(a)
        with pytest.raises(StampError):
            stamp_head(a, tsa.url, tsa.ca)
        (folder(a) / f"{seq}.tsr").unlink()
    assert good(b, tsa) == 1


def test_one_host_at_a_time(hosts: tuple[SharedStore, SharedStore], tsa: Authority) -> None:
    a, b = hosts
    write(a)
    asked, answered = threading.Event(), threading.Event()

    def slowly(query: bytes) -> Answer:
        asked.set()
        assert answered.wait(10)
        return Answer(tsa.reply(query))

    tsa.answer = slowly
    first = threading.Thread(target=stamp, args=(a, tsa))
    first.start()
    assert asked.wait(10)
    with pytest.raises(StampedElsewhere, match="another host is having it stamped"):
        stamp_head(b, tsa.url, tsa.ca)
    answered.set()
    first.join()
    assert good(b, tsa) == 1

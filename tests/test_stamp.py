"""FolderStamps of a chain's head: made, refused, kept, and found out when chain or stamp was changed."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention import stamps as authority
from retention.archive import Archive
from retention.files import Places
from retention.postgres.database import SharedStore
from retention.records import Access
from retention.rows.rows import Rows
from retention.stamps import (
    FolderStamps,
    Stamped,
    StampedElsewhere,
    StampError,
    StampProblem,
    StampReport,
    each_stamp,
    newest,
    proven,
    stamp_head,
    stamps_of,
    verify_stamps,
)
from tests import old_stamp
from tests.peers.tsa import NAME, Answer, Authority
from tests.postgres import Server, fresh
from tests.shared import prepare, shared_store
from tests.tapping import PATIENCE_S

OTHER = "ab" * 32


class Place:
    """A chain, its folder of stamps, and who stamps it."""

    def __init__(self, store: Rows, folder: Path, tsa: Authority) -> None:
        self.store, self.folder, self.tsa = store, folder, tsa
        self.kept = FolderStamps(folder)

    def write(self) -> None:
        """Move the head."""
        self.store.add_access(Access(at=datetime.now(UTC), action="purge"))

    def stamp(self) -> Stamped | None:
        return stamp_head(self.store, self.tsa.url, self.tsa.ca)

    def must(self) -> Stamped:
        """Stamp a head that has moved."""
        made = self.stamp()
        assert made is not None
        return made

    def refused(self) -> str:
        """Why there is no stamp; nothing is kept then."""
        before = self.names()
        with pytest.raises(StampError) as refusal:
            self.stamp()
        assert self.names() == before
        return str(refusal.value)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    def verify(self, hashes: dict[int, str] | None = None) -> StampReport:
        """Against the chain, or against one that has these."""

        def hash_of(seq: int) -> str | None:
            return self.store.hash_of(seq) if hashes is None else hashes.get(seq)

        return verify_stamps(self.kept, hash_of, self.tsa.ca)


@pytest.fixture
def place(archive: Archive, tmp_path: Path, tsa: Authority) -> Place:
    return Place(archive.store, Places(tmp_path / "retention.db").stamps, tsa)


def test_the_head_is_stamped_and_openssl_verifies_what_is_kept(place: Place) -> None:
    made, head = place.must(), place.store.head()
    assert (made.seq, made.hash, made.authority) == (head.seq, head.hash, NAME)
    assert made.path == place.folder / f"{head.seq}.tsr" and place.names() == [f"{head.seq}.tsr"]
    assert made == newest(place.kept)
    assert (place.folder.stat().st_mode & 0o777, made.path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert "Verification: OK" in place.tsa.verify(made.path, made.hash)
    with pytest.raises(subprocess.CalledProcessError):
        place.tsa.verify(made.path, OTHER)


def test_a_head_is_stamped_once_each_time_with_a_nonce_of_its_own(place: Place) -> None:
    first = place.must()
    assert place.stamp() is None and len(place.tsa.queries) == 1
    place.write()
    second = place.must()
    assert second.seq == first.seq + 1 and second.at >= first.at
    assert list(each_stamp(place.kept)) == [second, first]
    second.path.unlink()
    place.must()
    assert len({query[-11:-3] for query in place.tsa.queries}) == 3


def test_what_proves_nothing_is_not_kept(place: Place) -> None:
    digest = bytes.fromhex(place.store.head().hash)

    def other(digest: bytes) -> Callable[[bytes], Answer]:
        return lambda query: Answer(place.tsa.reply(authority.stamp_query(digest, 1 << 62)))

    for answer, said in (
        (other(digest), "answers another question: its nonce differs"),
        (lambda query: Answer(status=503), "HTTP 503"),
    ):
        place.tsa.answer = answer
        assert place.refused() == f"{place.tsa.url}: {said}"
    asked = len(place.tsa.queries)
    place.tsa.ca.unlink()
    assert place.refused() == f"{place.tsa.ca}: No such file or directory"
    assert len(place.tsa.queries) == asked


def test_nobody_else_stamps_meanwhile_but_calls_go_on(place: Place) -> None:
    seq = place.store.head().seq

    def answer(query: bytes) -> Answer:
        assert place.refused() == "another process is having it stamped at this moment"
        place.write()  # no transaction is open
        return Answer(place.tsa.reply(query))

    place.tsa.answer = answer
    assert place.must().seq == seq and place.store.head().seq == seq + 1
    assert place.verify() == StampReport(1, ())
    place.tsa.answer = lambda query: Answer(place.tsa.reply(query))
    assert place.must().seq == seq + 1


def test_a_chain_that_ends_before_its_stamp_or_was_written_anew_is_not_stamped(place: Place) -> None:
    made = place.must()
    later = made.path.rename(place.folder / f"{made.seq + 5}.tsr")
    ends = f"{later.name}: the chain ends at {made.seq}, before what was stamped: see `verify`"
    assert place.refused() == ends
    later.unlink()
    place.write()
    place.must().path.replace(place.folder / f"{made.seq + 2}.tsr")
    place.write()
    assert place.refused() == f"{made.seq + 2}.tsr: the chain has another hash there: see `verify`"


def test_a_stamp_of_a_later_time_or_that_says_nothing_stops_the_next(place: Place) -> None:
    made = place.must()
    made.path.write_bytes(made.path.read_bytes().replace(b"\x18\x0f20", b"\x18\x0f29"))
    place.write()
    assert place.refused().startswith(f"{place.tsa.url}: its clock is behind the last stamp's: 20")
    made.path.write_bytes(b"")
    assert place.refused() == f"stamps/{made.seq}.tsr: is not a time stamp response"
    problem = StampProblem(f"{made.seq}.tsr", "is not a time stamp response")
    assert list(each_stamp(place.kept)) == [problem]
    assert place.verify() == StampReport(0, (problem,))


def test_stamps_prove_the_chain_as_it_was(place: Place) -> None:
    steps: list[tuple[int, int]] = []
    for _ in range(3):
        place.must()
        place.write()
    for stray in ("notes.txt", "007.tsr", "9.tsr.tmp", "٣.tsr"):
        (place.folder / stray).touch()
    report = verify_stamps(place.kept, place.store.hash_of, place.tsa.ca, lambda *step: steps.append(step))
    assert report == StampReport(3, ())
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_a_chain_or_a_stamp_that_was_changed_is_found_out(place: Place) -> None:
    made = place.must()
    name, at = f"{made.seq}.tsr", f"of {made.at:%Y-%m-%d %H:%M:%S} UTC"

    def told(hashes: dict[int, str] | None = None) -> str:
        report = place.verify(hashes)
        (problem,) = report.problems
        assert (report.good, problem.name) == (0, name)
        return problem.problem

    assert told({made.seq: OTHER}) == f"stamps {made.hash[:16]}…, not abababababababab…"
    assert told({}) == f"{at}: the chain has no entry {made.seq}"
    response = bytearray(made.path.read_bytes())
    response[-1] ^= 1
    made.path.write_bytes(response)
    assert told() == "its signature does not fit"
    made.path.unlink()
    made.path.mkdir()
    assert told() == "cannot be read: Is a directory"


def test_the_times_go_on_as_the_chain_does(place: Place) -> None:
    made = place.must()
    stamps = [
        (made.at, made.hash, made.path.read_bytes()),
        (old_stamp.AT, old_stamp.DIGEST.hex(), old_stamp.RESPONSE),
    ]
    made.path.unlink()
    with place.tsa.ca.open("a") as ca:
        ca.write(old_stamp.CA)
    (early_at, early, early_answer), (late_at, late, late_answer) = sorted(stamps)
    (place.folder / "7.tsr").write_bytes(late_answer)
    (place.folder / "10.tsr").write_bytes(early_answer)
    form = "%Y-%m-%d %H:%M:%S UTC"
    said = f"of {early_at:{form}}, before that of 7.tsr, {late_at:{form}}"
    assert place.verify({7: late, 10: early}) == StampReport(1, (StampProblem("10.tsr", said),))
    (place.folder / "7.tsr").rename(place.folder / "11.tsr")
    assert place.verify({11: late, 10: early}) == StampReport(2, ())


def test_where_nothing_can_be_checked_it_says_so_once(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.must()
    place.write()
    place.must()
    report = verify_stamps(place.kept, place.store.hash_of, None)
    said = "2 not checked: retention.timestamp_ca names no certificates to check them against"
    assert report == StampReport(0, (StampProblem("stamps", said),))
    monkeypatch.setattr(authority, "find_spec", lambda name: None)
    (problem,) = place.verify().problems
    assert problem.problem == f"2 not checked: {authority.NO_LIBRARY}"
    with pytest.raises(StampError):
        list(each_stamp(place.kept))


# --- of a chain that hosts share: whoever had one made, all have it ---


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


def of(store: SharedStore) -> FolderStamps:
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
        assert answered.wait(PATIENCE_S)
        return Answer(tsa.reply(query))

    tsa.answer = slowly
    first = threading.Thread(target=stamp, args=(a, tsa))
    first.start()
    assert asked.wait(PATIENCE_S)
    with pytest.raises(StampedElsewhere, match="another host is having it stamped"):
        stamp_head(b, tsa.url, tsa.ca)
    answered.set()
    first.join()
    assert good(b, tsa) == 1

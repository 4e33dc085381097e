"""The shared database goes away, comes back, is another, or says nothing.

No thread hangs, and nothing is half written.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import socket

import pytest

from retention.files import Places
from retention.postgres import connection as connection_module
from retention.postgres.database import TURN, SharedStore
from retention.rows.rows import Busy, StoreError, TryAgain
from retention.rows.selection import Selection
from retention.verify import verify
from tests.both import by_hand, raw
from tests.kept import archive_of, receipt, recording
from tests.postgres import Server, primary
from tests.relay import Relay
from tests.shared import prepare, shared_store
from tests.tapping import PATIENCE_S


@pytest.fixture
def store(mortal_url: str) -> Iterator[SharedStore]:
    with shared_store(mortal_url) as store:
        yield store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All waits are short."""
    monkeypatch.setattr(connection_module, "ANSWER_S", 0.5)
    monkeypatch.setattr(connection_module, "TURN_S", 1.0)
    monkeypatch.setattr(connection_module, "_LATE_S", 0.3)
    monkeypatch.setattr(connection_module, "_IDLE_S", 1.5)
    monkeypatch.setitem(connection_module._ALWAYS, "connect_timeout", 2)  # no less is possible


def soon(action: Callable[[], object], kind: type[StoreError] = TryAgain) -> str:
    """What an action is told, which fails in time."""
    began = time.monotonic()
    with pytest.raises(kind) as error:
        action()
    assert time.monotonic() - began < PATIENCE_S
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the server goes, and comes back ---


def test_while_it_is_stopped_all_is_told_to_wait(mortal: Server, store: SharedStore) -> None:
    first, second = recording(), recording(1)
    store.add_recording(first)
    mortal.stop()
    for action in (
        store.recordings,
        store.head,
        lambda: store.add_recording(second),
        lambda: shared_store(f"postgresql://sipagent@{mortal.host}:{mortal.port}/x"),
    ):
        told = soon(action)
        assert told.startswith("the shared database does not answer; ") and "nothing is lost" in told
    mortal.start()
    store.add_recording(second)
    assert [row.id for row in store.recordings()] == [second.id, first.id]


def test_a_restart_within_a_transaction_undoes_it_whole(mortal: Server, store: SharedStore) -> None:
    before = store.head()

    def write() -> None:
        with store.write():
            store.add_recording(recording())
            mortal.restart()
            for _ in range(2):
                soon(lambda: store.add_recording(recording(1)))
            soon(store.recordings)

    soon(write)
    assert store.recordings() == [] and store.head() == before
    store.add_recording(recording())
    assert store.head().seq == before.seq + 1


def test_kills_in_the_midst_of_commits_leave_whole_transactions(
    mortal: Server, mortal_url: str, tmp_path: Path
) -> None:
    chance = random.Random(16)
    done: list[str] = []
    over = threading.Event()
    hung: list[threading.Thread] = []

    def write(number: int) -> None:
        with shared_store(mortal_url) as store:
            minute = 10_000 * number
            while not over.is_set():
                minute += 1
                row = recording(minute)
                try:
                    with store.write():
                        store.add_receipt(receipt(row))
                        store.add_recording(row)
                        store.update_receipt(receipt(row, decision="refused"))
                except TryAgain:
                    over.wait(0.05)
                else:
                    done.append(row.id)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for round in range(5):
        wanted = len(done) + chance.randrange(5, 40)
        until = time.monotonic() + 20
        while len(done) < wanted and time.monotonic() < until:
            over.wait(0.005)
        assert len(done) >= wanted, f"round {round}: only {len(done)} written"
        mortal.kill()
        mortal.start()
    over.set()
    for writer in writers:
        writer.join(30)
        hung += [writer] if writer.is_alive() else []
    assert hung == []
    with shared_store(mortal_url) as store:
        receipts, recordings = store.receipts(), store.recordings()
        assert {row.id for row in receipts} == {row.id for row in recordings} >= set(done)
        assert {row.decision for row in receipts} == {"refused"}
        found = verify(archive_of(store, tmp_path / "recordings", tmp_path)).problems
        assert [one for one in found if "refused" not in one.problem and "erased" not in one.problem] == []
        assert store.head().seq == 1 + 3 * len(receipts)


# --- the line is cut ---


class CuttingRelay(Relay):
    """Cuts the line once: at a COMMIT, before the server has it, or when it has answered."""

    cut_at = ""

    def _turn_to(self, one: socket) -> None:
        if one in self._peers and self.cut_at:
            from_server = one.getpeername() == self.target
            if b"COMMIT" in one.recv(65_536, 2) and from_server is (self.cut_at == "answer"):  # MSG_PEEK
                self.cut_at = ""
                self._drop(one)
                return
        super()._turn_to(one)


@pytest.fixture
def relay(mortal: Server) -> Iterator[CuttingRelay]:
    relay = CuttingRelay((mortal.host, mortal.port), "127.0.0.13")
    yield relay
    relay.close()


@pytest.fixture
def behind(relay: Relay, mortal: Server, mortal_url: str) -> Iterator[SharedStore]:
    """A store whose line can be cut."""
    with shared_store(through(relay, mortal, mortal_url)) as store:
        yield store


def through(relay: Relay, mortal: Server, mortal_url: str) -> str:
    host, port = relay.address
    return mortal_url.replace(f"{mortal.host}:{mortal.port}", f"{host}:{port}")


@pytest.mark.parametrize("cut_at", ["question", "answer"])
def test_a_commit_that_never_came_is_told_and_one_whose_answer_was_lost_is_found_done(
    relay: CuttingRelay, behind: SharedStore, tmp_path: Path, cut_at: str
) -> None:
    row = recording()
    behind.places = Places(tmp_path / "retention.db")
    relay.cut_at = cut_at
    if cut_at == "question":
        soon(lambda: behind.add_recording(row))
        assert relay.cut_at == "" and behind.recordings() == []
    behind.add_recording(row)
    assert relay.cut_at == "" and behind.recordings() == [row] and behind.head().seq == 2
    assert behind.knows(behind.head()) and behind.places.head.exists()


@pytest.mark.parametrize("stalls", [False, True])
def test_a_line_that_is_cut_or_says_nothing_is_told_and_comes_back(
    impatient: None, relay: CuttingRelay, mortal: Server, mortal_url: str, stalls: bool
) -> None:
    with shared_store(through(relay, mortal, mortal_url)) as behind:
        behind.add_recording(recording())
        (relay.stall if stalls else relay.cut)()
        soon(behind.recordings)
        soon(lambda: behind.add_recording(recording(1)))
        soon(lambda: shared_store(through(relay, mortal, mortal_url)))
        relay.flow()
        behind.add_recording(recording(1))
        assert len(behind.recordings()) == 2


def test_who_vanishes_in_its_turn_keeps_the_others_waiting_for_a_moment_only(
    impatient: None, relay: CuttingRelay, mortal: Server, mortal_url: str
) -> None:
    with shared_store(mortal_url) as other, shared_store(through(relay, mortal, mortal_url)) as behind:

        def write() -> None:
            with behind.write():
                behind.add_recording(recording())
                relay.stall()
                told = soon(lambda: other.add_recording(recording(1)), Busy)
                assert "others have been writing for too long" in told
                until = time.monotonic() + 10
                while time.monotonic() < until:
                    try:
                        other.add_recording(recording(1))
                        break
                    except Busy:
                        continue
                else:
                    pytest.fail("the turn was never given up")
                behind.add_recording(recording(2))

        soon(write)
        relay.flow()
        assert [row.started_at for row in behind.recordings()] == [recording(1).started_at]


# --- it is slow ---


def test_a_statement_that_is_too_slow_is_ended(impatient: None, mortal_url: str) -> None:
    with shared_store(mortal_url) as store:
        assert "too slow" in soon(lambda: raw(store, "SELECT pg_sleep(99)"))
        with pytest.raises(TryAgain), store.write():
            store.add_recording(recording())
            by_hand(store, "SELECT pg_sleep(9)")
        assert store.recordings() == []


def test_a_turn_that_does_not_come_is_told_and_leaves_nothing_open(
    impatient: None, mortal: Server, mortal_url: str
) -> None:
    with shared_store(mortal_url) as store, mortal.connect(mortal_url.rpartition("/")[2]) as other:
        other.execute(f"SELECT pg_advisory_lock({TURN})".encode())
        for _ in range(2):
            soon(lambda: store.add_recording(recording()), Busy)
        assert store.recordings() == []  # reads wait for nobody
        other.execute(f"SELECT pg_advisory_unlock({TURN})".encode())
        store.add_recording(recording())
        (found,) = raw(store, "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'")
        assert found["n"] == 0


# --- a standby ---


def test_a_standby_reads_and_takes_over(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(primary("127.0.0.12"))
        conninfo = first.database(prepare)
        name = conninfo.rpartition("/")[2]
        second = stack.enter_context(first.standby("127.0.0.13"))
        both = f"postgresql://sipagent@{first.host}:{first.port},{second.host}:{second.port}/{name}"
        store = stack.enter_context(shared_store(both))
        reader = stack.enter_context(shared_store(second.conninfo(name)))
        store.add_recording(recording())
        second.wait_replayed(first)
        assert reader.recordings() == store.recordings() and reader.missing_guards() == []
        told = soon(lambda: reader.add_recording(recording(1)))
        assert "it is a standby, or read-only" in told and "nothing is lost" in told
        first.kill()
        soon(lambda: store.add_recording(recording(1)))
        second.promote()
        store.add_recording(recording(1))
        reader.add_recording(recording(2))
        assert len(store.recordings(Selection(limit=9))) == 3
        found = verify(archive_of(store, tmp_path / "recordings", tmp_path)).problems
        assert [one for one in found if "chain" in one.where] == []

"""A host among others, with a real PostgreSQL that goes away, is killed, stands still, or fails over.

Calls are being written meanwhile: none waits, nothing is lost or doubled.
"""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from retention.journal import Journal
from retention.postgres.connection import ANSWER_S
from retention.records import HostState, Status, new_id
from retention.shipping import LIVES, LOST
from sipagent.agent.stored import journal_of, store_of
from sipagent.config.load import Config
from sipagent.service import cluster
from sipagent.service.cluster import Completing, Shipping, among_hosts
from tests.configured import SMALL, read
from tests.kept import START, receipt, recording
from tests.postgres import Server, fresh, primary
from tests.tapping import Overtaken

LEASE_S = 4
LONGEST_S = 2.0  # that a call may wait for its row; one fsync of a busy disk, and nothing else


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that may be stopped and killed."""
    with primary() as server:
        yield server


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    if not server.running:
        server.start()
    with fresh(server) as conninfo:
        yield conninfo
        if not server.running:
            server.start()


def config_of(folder: Path, url: str, host: str = "a") -> Config:
    """All hosts have one folder: it is the vault that they share."""
    extra = (
        f'[retention]\ndatabase = "{url}"\n'
        f'[cluster]\nhost = "{host}"\njournal = "{host}.db"\nlease_s = {LEASE_S}\n'
    )
    return read(SMALL + extra, folder / "config.toml")


def until(condition: Callable[[], bool], patience_s: float = 30.0) -> None:
    """A machine that is busy, and a database that comes back, take their time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # what other threads and processes do tells nobody


@dataclass
class Host:
    """A host without calls of its own: they are written as its workers would."""

    config: Config
    shipping: Shipping
    journal: Journal
    alerts: list[str]
    ids: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def write(self, *, ends: bool = True) -> str:
        at = START + timedelta(milliseconds=len(self.ids))
        row = replace(recording(), id=new_id(at, 0, self.config.host), started_at=at)
        told = receipt(row, ended_at=None, outcome=None)
        self._timed(lambda: self.journal.add_receipt(told))
        self.ids.append(row.id)
        self._timed(lambda: self.journal.add_recording(row))
        if ends:
            self._timed(lambda: self.journal.update_recording(replace(row, status=Status.CLOSED)))
            self._timed(lambda: self.journal.update_receipt(receipt(row)))
        return row.id

    def _timed(self, step: Callable[[], None]) -> None:
        began = time.monotonic()
        step()
        self.longest_s = max(self.longest_s, time.monotonic() - began)

    def has_shipped_more_than(self, rows: int) -> bool:
        return self.shipping.figures.shipped > rows

    def has_shipped(self) -> bool:
        return self.journal.lag().rows == 0


@contextmanager
def host_at(config: Config) -> Iterator[Host]:
    alerts: list[str] = []
    with among_hosts(config, alerts.append) as ours, journal_of(config, worker=0) as journal:
        assert ours is not None and isinstance(journal, Journal)
        yield Host(config, ours, journal, alerts)


@contextmanager
def writing(host: Host) -> Iterator[None]:
    """Calls come all the time."""
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.02):
            host.write()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def judge(hosts: list[Host]) -> None:
    """Every call is there once, as it was, and nothing is left behind."""
    for host in hosts:
        until(host.has_shipped, 60)
        assert host.longest_s < LONGEST_S
        assert host.journal.receipts() == [] and host.journal.recordings() == []
    with store_of(hosts[0].config) as shared:
        ids = sorted(itertools.chain.from_iterable(host.ids for host in hosts))
        assert sorted(told.id for told in shared.receipts()) == ids
        assert sorted(row.id for row in shared.recordings()) == ids
        assert {told.outcome for told in shared.receipts()} <= {"connected"}
        assert {row.status for row in shared.recordings()} <= {Status.CLOSED}
        assert shared.tally()["receipts"] == len(ids)


def test_what_is_written_is_there_at_once(tmp_path: Path, url: str) -> None:
    with host_at(config_of(tmp_path, url)) as host:
        until(lambda: host.shipping.figures.up)
        id = host.write()
        until(host.has_shipped, 5)
        with store_of(host.config) as shared:
            assert shared.receipt(id).outcome == "connected"
        judge([host])
        assert host.alerts == []
    with store_of(host.config) as shared:
        (row,) = shared.hosts()  # type: ignore[attr-defined]
        assert row.state(shared.now()) is HostState.STOPPED  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, id="stopped", marks=pytest.mark.slow),
        pytest.param(signal.SIGQUIT, id="at once", marks=pytest.mark.slow),
        pytest.param(None, id="killed"),
    ],
)
def test_the_database_is_away_and_comes_back(
    tmp_path: Path, server: Server, url: str, how: signal.Signals | None
) -> None:
    with host_at(config_of(tmp_path, url)) as host:
        with writing(host):
            until(lambda: host.shipping.figures.up and host.has_shipped_more_than(0))
            if how is None:
                server.kill()
            else:
                server.stop(how)
            until(lambda: not host.shipping.figures.up)
            written = len(host.ids)
            until(lambda: len(host.ids) > written + 10)
            until(lambda: host.shipping.figures.rows > 10)
            server.start()
            until(lambda: host.shipping.figures.up, 20)
        judge([host])
        assert len(host.alerts) == 1 and "what calls write waits in the journal" in host.alerts[0]


@pytest.mark.slow
def test_the_database_stands_still(tmp_path: Path, server: Server, url: str) -> None:
    """It takes what it is sent, and never answers."""
    with host_at(config_of(tmp_path, url)) as host:
        with writing(host):
            until(lambda: host.shipping.figures.up and host.has_shipped_more_than(0))
            server.pause()
            try:
                until(lambda: not host.shipping.figures.up, 2 * cluster.SILENT_S)
            finally:
                server.resume()
        judge([host])


def test_the_end_waits_for_no_database_that_stands_still(
    tmp_path: Path, server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SILENT_S", 1.0)
    monkeypatch.setattr(cluster, "END_S", 1.0)
    with ExitStack() as stack:
        host = stack.enter_context(host_at(config_of(tmp_path, url)))
        until(lambda: host.shipping.figures.up)
        server.pause()
        try:
            host.write()
            until(lambda: not host.shipping.figures.up)
            began = time.monotonic()
            stack.close()
            assert time.monotonic() - began < ANSWER_S
        finally:
            server.resume()
            host.shipping._thread.join()


def test_a_stop_between_two_steps_of_the_thread_lost_is_not_lost(tmp_path: Path, url: str) -> None:
    thread = Completing(config_of(tmp_path, url), pytest.fail)
    thread._every_s, thread._over = 3600.0, Overtaken(thread._due)
    thread.start()
    try:
        until(lambda: not thread._thread.is_alive())
    finally:
        thread.stop()


@pytest.mark.slow
def test_a_standby_is_promoted_while_calls_are_written(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(primary())
        second = stack.enter_context(first.standby())
        first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        first.execute("SELECT pg_reload_conf()")
        name = first.database().rpartition("/")[2]
        url = f"postgresql://sipagent@127.0.0.1:{first.port},127.0.0.1:{second.port}/{name}"
        hosts = [stack.enter_context(host_at(config_of(tmp_path, url, host))) for host in "ab"]
        with writing(hosts[0]), writing(hosts[1]):
            for host in hosts:
                until(partial(host.has_shipped_more_than, 50))
            second.wait_replayed(first)
            first.kill()
            second.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            second.promote()
            for host in hosts:
                shipped = host.shipping.figures.shipped
                until(partial(host.has_shipped_more_than, shipped + 20))
        judge(hosts)


def test_the_host_begins_and_ends_without_the_database(tmp_path: Path, server: Server, url: str) -> None:
    config = config_of(tmp_path, url)
    server.stop()
    with host_at(config) as host:
        host.write()
    with journal_of(config) as journal:
        assert journal.receipt(host.ids[0]).outcome == "connected"
    server.start()
    with host_at(config) as again:
        again.ids = host.ids
        judge([again])


def test_a_host_that_is_lost_is_completed_by_another_and_lives_after_all(tmp_path: Path, url: str) -> None:
    lost, other = config_of(tmp_path, url), config_of(tmp_path, url, "b")
    with journal_of(lost, worker=0) as journal:
        with host_at(lost) as host:
            id = host.write(ends=False)
            until(host.has_shipped)
            # its process dies: nothing of it says anything any more
            host.shipping._leave = lambda: None  # type: ignore[method-assign]
        until(lambda: _is_lost(other, "a"), 3 * LEASE_S)
        with host_at(other), store_of(other) as shared:
            until(lambda: shared.receipt(id).outcome == "failed", 30)
            until(lambda: shared.recording(id).status is Status.FAILED)
            assert [event.what for event in shared.receipt(id).events] == [LOST]
        with host_at(lost) as host, store_of(lost) as shared:
            until(lambda: shared.receipt(id).ended_at is None)
            journal.update_receipt(receipt(journal.recording(id)))
            until(lambda: shared.receipt(id).outcome == "connected")
            assert [event.what for event in shared.receipt(id).events] == [LOST, LIVES]


@pytest.mark.slow
def test_nobody_is_lost_to_the_first_who_reaches_a_database_that_was_away(
    tmp_path: Path, server: Server, url: str
) -> None:
    """While it was away no host could renew its lease."""
    first, second = (config_of(tmp_path, url, name) for name in ("a", "b"))
    with host_at(first) as ours, host_at(second) as other:
        id = ours.write(ends=False)
        until(ours.has_shipped)
        server.kill()
        time.sleep(LEASE_S + 2)  # whoever comes back first sees that all leases have ended
        server.start()
        until(lambda: not (_is_lost(first, "a") or _is_lost(first, "b")))
        time.sleep(LEASE_S)
        with store_of(first) as shared:
            told = shared.receipt(id)
        assert told.ended_at is None and LOST not in [event.what for event in told.events]
        assert other.has_shipped()


def _is_lost(config: Config, name: str) -> bool:
    with store_of(config) as shared:
        host = shared.host(name)  # type: ignore[attr-defined]
        return host is not None and host.state(shared.now()) is HostState.LOST  # type: ignore[attr-defined]

"""A host among others, with a real PostgreSQL that goes away, is killed or stands still.

Calls are being written meanwhile: none waits, nothing is lost or doubled. `tests/cluster` does the same to
three whole hosts.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from retention.journal import Journal
from retention.recording_files import FileKind
from retention.records import HostState, Status, new_id
from retention.shipping import LIVES, LOST, Sent
from sipagent.agent.stored import archive_of, journal_of, store_of
from sipagent.config.load import Config
from sipagent.service import cluster
from sipagent.service.cluster import Completing, Shipping, among_hosts
from tests.configured import SMALL, read
from tests.kept import SOUND, START, keep, receipt, recording
from tests.postgres import Server
from tests.tapping import Overtaken, wait_for

LEASE_S = 0.6  # shorter than any that a configuration may name: it is waited for


def config_of(folder: Path, url: str, host: str = "a", *, lease_s: float = LEASE_S) -> Config:
    """All hosts have one folder: it is the vault that they share."""
    extra = f'[retention]\ndatabase = "{url}"\n[cluster]\nhost = "{host}"\njournal = "{host}.db"\n'
    config = read(SMALL + extra, folder / "config.toml")
    assert config.cluster is not None
    return config.model_copy(update={"cluster": config.cluster.model_copy(update={"lease_s": lease_s})})


@dataclass
class Host:
    """A host without calls of its own: they are written as its workers would."""

    config: Config
    shipping: Shipping
    journal: Journal
    alerts: list[str]
    ids: list[str] = field(default_factory=list)

    def write(self, *, ends: bool = True) -> str:
        at = START + timedelta(milliseconds=len(self.ids))
        row = replace(recording(), id=new_id(at, 0, self.config.host), started_at=at)
        self.journal.add_receipt(receipt(row, ended_at=None, outcome=None))
        self.ids.append(row.id)
        self.journal.add_recording(row)
        if ends:
            self.journal.update_recording(replace(row, status=Status.CLOSED))
            self.journal.update_receipt(receipt(row))
        return row.id

    @property
    def up(self) -> bool:
        return self.shipping.figures.shared_database_up

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


def judge(*hosts: Host) -> None:
    """Every call is there once, as it was, and nothing is left behind."""
    for host in hosts:
        wait_for(host.has_shipped)
        assert host.journal.receipts() == [] and host.journal.recordings() == []
    with store_of(hosts[0].config) as shared:
        ids = sorted(itertools.chain.from_iterable(host.ids for host in hosts))
        assert sorted(told.id for told in shared.receipts()) == ids
        assert sorted(row.id for row in shared.recordings()) == ids
        assert {told.outcome for told in shared.receipts()} <= {"connected"}
        assert {row.status for row in shared.recordings()} <= {Status.CLOSED}
        assert shared.tally()["receipts"] == len(ids)


def state_of(config: Config, name: str) -> HostState | None:
    """As the shared database has it."""
    with store_of(config) as shared:
        host = shared.host(name)  # type: ignore[attr-defined]
        return None if host is None else host.state(shared.now())  # type: ignore[attr-defined]


def test_calls_are_written_while_the_database_is_killed_and_comes_back(
    tmp_path: Path, mortal: Server, mortal_url: str
) -> None:
    with host_at(config_of(tmp_path, mortal_url)) as host:
        id = host.write()
        wait_for(host.has_shipped)  # what is written is there at once
        with store_of(host.config) as shared:
            assert shared.receipt(id).outcome == "connected" and host.alerts == []
        with writing(host):
            wait_for(lambda: host.up and host.shipping.figures.shipped > 0)
            mortal.kill()
            wait_for(lambda: not host.up)
            written = len(host.ids)
            wait_for(lambda: len(host.ids) > written + 10)  # which nothing holds up
            wait_for(lambda: host.shipping.figures.journal_rows_waiting > 10)
            mortal.start()
            wait_for(lambda: host.up)
        judge(host)
        away = [one for one in host.alerts if "what calls write waits in the journal" in one]
        assert len(away) == 1
    assert state_of(host.config, "a") is HostState.STOPPED


def test_the_end_waits_for_no_database_that_stands_still(
    tmp_path: Path, mortal: Server, mortal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes what it is sent, and never answers: that is seen, too."""
    monkeypatch.setattr(cluster, "SILENT_S", 0.5)
    monkeypatch.setattr(cluster, "END_S", 0.5)
    with ExitStack() as stack, capture_logs() as logs:
        host = stack.enter_context(host_at(config_of(tmp_path, mortal_url)))
        wait_for(lambda: host.up)
        mortal.pause()
        try:
            host.write()
            wait_for(lambda: not host.up)
            stack.close()
            assert "left_in_the_journal" in [line["event"] for line in logs]
        finally:
            mortal.resume()
            host.shipping._thread.join()


def test_a_stop_between_two_steps_of_the_thread_lost_is_not_lost(tmp_path: Path, mortal_url: str) -> None:
    thread = Completing(config_of(tmp_path, mortal_url, lease_s=3600.0), pytest.fail)
    thread._over = Overtaken(thread._due)
    thread.start()
    try:
        wait_for(lambda: not thread._thread.is_alive())
    finally:
        thread.stop()


def test_what_others_have_decided_is_done_to_the_files_of_this_host(tmp_path: Path, database: str) -> None:
    """Its caller has refused, somebody has deleted it, or it has been purged; other recordings stay."""
    config = config_of(tmp_path, database, lease_s=3600.0)
    thread = Completing(config, pytest.fail)
    refused, deleted, stays = (recording(minutes) for minutes in range(3))
    with store_of(config) as shared:
        archive = archive_of(config, shared)
        for row in (refused, deleted, stays):
            keep(archive, row)
        shared.update_receipt(receipt(refused, decision="refused", decided_by="dtmf"))
        purged = recording(3)
        archive.files.spool.path(purged.id, FileKind.FLAC).write_bytes(SOUND)
        thread.start()
        try:
            for _ in range(2):  # again is no error
                thread.heed(Sent(gone=(refused.id, deleted.id, purged.id), held=(stays.id,)))
                wait_for(lambda: {id for _, id in archive.names()} == {stays.id})
            wait_for(lambda: thread._told.empty() and not archive.marks.ids())
        finally:
            thread.stop()
        assert not thread._thread.is_alive()


def test_the_host_begins_and_ends_without_the_database(
    tmp_path: Path, mortal: Server, mortal_url: str
) -> None:
    config = config_of(tmp_path, mortal_url)
    mortal.stop()
    with host_at(config) as host:
        host.write()
    with journal_of(config) as journal:
        assert journal.receipt(host.ids[0]).outcome == "connected"
    mortal.start()
    with host_at(config) as again:
        again.ids = host.ids
        judge(again)


def test_a_host_that_is_lost_is_completed_by_another_and_lives_after_all(
    tmp_path: Path, mortal_url: str
) -> None:
    lost, other = config_of(tmp_path, mortal_url), config_of(tmp_path, mortal_url, "b")
    with journal_of(lost, worker=0) as journal:
        with host_at(lost) as host:
            id = host.write(ends=False)
            wait_for(host.has_shipped)
            # its process dies: nothing of it says anything any more
            host.shipping._leave = lambda: None  # type: ignore[method-assign]
        with host_at(other), store_of(other) as shared:
            wait_for(lambda: shared.receipt(id).outcome == "failed")
            wait_for(lambda: shared.recording(id).status is Status.FAILED)
            assert [event.what for event in shared.receipt(id).events] == [LOST]
        with host_at(lost), store_of(lost) as shared:
            wait_for(lambda: shared.receipt(id).ended_at is None)
            journal.update_receipt(receipt(journal.recording(id)))
            wait_for(lambda: shared.receipt(id).outcome == "connected")
            assert [event.what for event in shared.receipt(id).events] == [LOST, LIVES]


def test_nobody_is_lost_to_the_first_who_reaches_a_database_that_was_away(
    tmp_path: Path, mortal: Server, mortal_url: str
) -> None:
    """While it was away no host could renew its lease."""
    first, second = (config_of(tmp_path, mortal_url, name, lease_s=4.0) for name in "ab")
    with host_at(first) as ours, host_at(second):
        id = ours.write(ends=False)
        wait_for(ours.has_shipped)
        wait_for(lambda: state_of(first, "b") is HostState.RUNNING)
        mortal.kill()
        time.sleep(4.1)  # whoever comes back first sees that all leases have ended
        mortal.start()
        wait_for(lambda: [state_of(first, name) for name in "ab"] == [HostState.RUNNING] * 2)
        time.sleep(4.1)
        with store_of(first) as shared:
            told = shared.receipt(id)
        assert told.ended_at is None and LOST not in [event.what for event in told.events]

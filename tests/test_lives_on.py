"""A host that others took for lost lives on: they have closed its recording, and it closes it once more. In
the end there is one recording, all of it, and nothing in the store that is not needed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from media.recording.tap import Tap
from retention.erase import erase_files, replaced
from retention.journal import Journal
from retention.objects.bucket import object_name, piece_name
from retention.objects.object_files import ObjectFiles, forget_gathered
from retention.objects.uploads import Uploads, tell_objects
from retention.purge import purge
from retention.recording_files import FileKind
from retention.records import Host as HostRow
from retention.records import Recording, Status
from retention.rows.object_rows import ObjectRow, State, new_put
from retention.shipping import LostHosts, Presence, Shipper
from retention.vault import public_line
from retention.verify import verify, wrong_beside
from sipagent.agent.recorder import ReachedRecordings, Recorder
from tests.kept import START, receipt, recording
from tests.memory_bucket import MemoryBucket
from tests.object_store import archive_of_calls, archive_through, host_of
from tests.settling import settle
from tests.shared_sqlite import SharedInSqlite
from tests.tapping import expected, feed, wait_for
from tests.test_hold import TERMS
from tests.test_pieces import ANN, heard, whole
from tests.test_recorder import CLOSING, begin

LEASE_S = 12.0


class Shared(SharedInSqlite):
    """As the shared database goes by what hosts say of their journals."""

    def heard_until(self, host: str | None) -> datetime | None:
        seen = self.host(host or "")
        return None if seen is None or seen.lag_rows else seen.seen_at


class Hosts:
    """Host `a` has a call, host `b` does what there is to do for `a` and for all."""

    def __init__(self, folder: Path, alerts: list[str]) -> None:
        self.now = datetime.now(UTC)
        self.bucket = MemoryBucket()
        self.shared = Shared(folder / "shared.db", lambda: self.now)
        (folder / "a").mkdir()
        (folder / "ann.pub").write_text(public_line(ANN.public))
        self.journal = Journal(folder / "a" / "journal.db")
        calls = archive_of_calls(folder / "a", self.bucket, self.journal)
        self.recorder = Recorder(calls, "flac", alerts.append, (folder / "ann.pub",))
        self.recorder.start()
        self.a = archive_through(folder / "a", self.bucket, self.shared)
        self.b = archive_through(folder / "b", self.bucket, self.shared)
        host = replace(
            host_of(folder / "a", self.bucket, self.journal),
            known=lambda id: self.shared.some_recordings([id]).get(id),
            rewrite=self.rewrite,
        )
        self.uploads, self.here = Uploads(host, step_s=0.0), host.here
        self.shipper = Shipper(self.journal, self.shared, "a", "1.0", LEASE_S)

    def close(self) -> None:
        self.recorder.stop()
        self.uploads.close()
        self.journal.close()
        self.shared.close()

    def rewrite(self, id: str) -> None:
        self.a.rewrite(id, lambda row: row)

    @property
    def of_b(self) -> ObjectFiles:
        assert isinstance(self.b.files, ObjectFiles)
        return self.b.files

    def turn(self) -> None:
        """What is in the spool of `a` goes up, and the others know."""
        self.uploads.pace.succeeded()
        assert self.uploads.turn() == []
        tell_objects(self.journal, self.shared)

    def ship(self) -> None:
        while self.shipper.ship(Presence()) is not None:
            pass

    def begin(self, *, up: bool) -> tuple[Recording, Tap]:
        """A recording in progress, of which 2 s are `up`, or its key alone; all know of it."""
        row = recording(operator=None)
        row = replace(row, id=row.id.replace("-", "-ha-", 1))
        tap = begin(self.recorder, row, 0)
        self.say(tap, row, 0)
        if not up:
            self.uploads._step_s = 1e12  # no piece is due before it is taken for lost
        self.turn()
        self.ship()
        return row, tap

    def say(self, tap: Tap, row: Recording, second: int) -> None:
        """Two seconds more."""
        feed(tap, second * 8000, (second + 2) * 8000)
        part = self.here.path(row.id, FileKind.PART)
        wait_for(lambda: part.exists() and part.stat().st_size > (second + 2) * 32000)

    def ends(self, tap: Tap, row: Recording) -> None:
        self.recorder.keep(tap, row, CLOSING)
        self.recorder.keep_receipt(receipt(row))
        settle(self.recorder)

    def is_lost(self) -> None:
        """The lease of `a` ends, and `b` looks."""
        self.now += timedelta(seconds=2 * LEASE_S)
        reached = ReachedRecordings(self.b, "flac", self.of_b.gather)
        (done,) = LostHosts(self.shared, reached, "b").complete()
        assert not done.failed

    def purge(self) -> None:
        self.now = datetime.now(UTC) + timedelta(hours=1)
        self.shipper.renew(Presence())
        purge(self.b, START, TERMS)

    def there(self) -> set[tuple[str, str]]:
        return {(name, version) for name, some in self.bucket.objects.items() for version in some}

    def named(self, id: str) -> set[tuple[str, str | None]]:
        rows = self.shared.objects.of([id])
        return {(row.name, row.version) for row in rows if row.state is State.THERE}

    def problems(self) -> str:
        return "\n".join(f"{one.where}: {one.problem}" for one in verify(self.b).problems)


@pytest.fixture
def hosts(tmp_path: Path, alerts: list[str]) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path, alerts)
    yield hosts
    hosts.close()


@pytest.mark.parametrize("told", ["sound first", "row first"])
def test_a_host_that_was_taken_for_lost_closes_its_recording_itself(hosts: Hosts, told: str) -> None:
    row, tap = hosts.begin(up=True)
    hosts.is_lost()
    assert hosts.shared.recording(row.id).incomplete
    hosts.say(tap, row, 2)
    hosts.turn()  # another piece, which nobody needs
    hosts.ends(tap, row)
    for step in (hosts.turn, hosts.ship) if told == "sound first" else (hosts.ship, hosts.turn):
        step()
        hosts.shipper.renew(Presence())
        purge(hosts.b, START, TERMS)  # whatever is known by then, nothing that counts goes
    hosts.turn()
    for _ in range(2):
        hosts.purge()
    done = hosts.shared.recording(row.id)
    assert (done.status, done.incomplete, done.duration_s) == (Status.CLOSED, False, 4.0)
    assert np.array_equal(heard(hosts.b, row.id), expected(32000))
    assert hosts.there() == hosts.named(row.id)
    assert sorted(name for name, _ in hosts.there()) == whole(row.id)
    assert not any(hosts.here.exists(row.id, kind) for kind in FileKind)
    assert wrong_beside(hosts.b, row.id) == []
    told_by_json = json.loads(hosts.bucket.content(object_name(row.id, FileKind.METADATA)))
    assert (told_by_json["incomplete"], told_by_json["sha256"]) == (False, done.sha256)


def test_what_is_left_is_told_and_stays_while_its_host_may_say_more(hosts: Hosts) -> None:
    row, tap = hosts.begin(up=True)
    hosts.is_lost()
    tap.abandon()
    closed, sealed = hosts.shared.recording(row.id), object_name(row.id, FileKind.SEALED)
    rows = [
        put(row.id, name, hosts.bucket.put(name, b"x", "00") or "", kind)
        for name, kind in ((piece_name(row.id, 2), "part"), (sealed, "sealed"))
    ]
    hosts.shared.objects.intend(rows)
    hosts.shared.objects.done((one, one.version) for one in rows)
    assert "those of 1 recordings are kept twice, or in pieces beside the whole" in hosts.problems()
    host = hosts.shared.host("a")
    assert isinstance(host, HostRow)
    hosts.shared.keep_host(replace(host, lag_rows=1))  # the other file may be the one that counts
    purge(hosts.b, START, TERMS)
    assert "kept twice" not in hosts.problems() and len(hosts.there()) == 5
    hosts.shared.keep_host(replace(host, lag_rows=0, seen_at=datetime.now(UTC)))
    purge(hosts.b, START, TERMS)
    assert "kept twice" not in hosts.problems()
    assert hosts.there() == hosts.named(row.id) and len(hosts.there()) == 3
    (kept,) = [one for one in hosts.shared.objects.of([row.id]) if one.kind == "sealed"]
    assert kept.sha256 == closed.sha256


@pytest.mark.parametrize("removed", ["", "by others", "by a purge of its own", "by its uploads"])
def test_a_host_of_which_only_the_key_was_up_has_its_recording_all_the_same(
    hosts: Hosts, removed: str
) -> None:
    """`removed`: by whom, to whom the recording had failed."""
    row, tap = hosts.begin(up=False)
    hosts.is_lost()
    assert hosts.shared.recording(row.id).status is Status.FAILED
    if removed == "by others":
        assert erase_files(hosts.b, [row.id]) == {}
    hosts.ends(tap, row)
    if removed == "by a purge of its own":
        purge(hosts.a, START, TERMS)
    if removed == "by its uploads":
        hosts.turn()
    hosts.ship()
    for _ in range(2):
        hosts.turn()
    assert hosts.shared.recording(row.id).status is Status.CLOSED
    assert np.array_equal(heard(hosts.b, row.id), expected(16000))


def test_of_what_is_removed_while_it_is_gathered_nothing_stays(hosts: Hosts) -> None:
    """Its caller refused on the host that was taken for lost."""
    row, tap = hosts.begin(up=True)
    hosts.say(tap, row, 2)
    hosts.turn()
    hosts.bucket.objects[piece_name(row.id, 2)].clear()
    with pytest.raises(FileNotFoundError):
        hosts.of_b.gather(row.id)
    assert not hosts.of_b.spool.exists(row.id, FileKind.PART)
    tap.abandon()


def test_what_a_process_that_died_had_gathered_goes_once_the_recording_has_an_end(hosts: Hosts) -> None:
    row, tap = hosts.begin(up=True)
    here, states = hosts.of_b.spool, hosts.shared.states
    assert hosts.of_b.gather(row.id) and forget_gathered(here, "b", states) == []
    hosts.shared.update_recording(replace(row, status=Status.ERASED))
    assert forget_gathered(here, "a", states) == [] and here.exists(row.id, FileKind.PART)
    assert forget_gathered(here, "b", states) == [row.id] and not here.exists(row.id, FileKind.PART)
    tap.abandon()


def put(id: str, name: str, version: str, kind: str) -> ObjectRow:
    at = datetime.now(UTC) - timedelta(minutes=5)
    return ObjectRow(
        put=new_put(), name=name, id=id, kind=kind, state=State.PUTTING, at=at, version=version, sha256="00"
    )


def test_without_its_own_sound_nothing_of_a_recording_goes() -> None:
    """It is closed, and its file is yet to come up: the pieces are all there is."""
    row = recording()
    piece = replace(put(row.id, piece_name(row.id, 1), "v1", "part"), state=State.THERE)
    other = replace(put(row.id, object_name(row.id, FileKind.SEALED), "v2", "sealed"), state=State.THERE)
    newer = replace(other, put=new_put(), version="v3", at=other.at + timedelta(seconds=1))
    again = replace(newer, sha256="22")
    for rows, sha256, going in (
        ([piece, other], "11", []),
        ([piece, other], "00", [piece]),
        ([piece, newer, other], "00", [other, piece]),
        ([again, other], "00", [again]),
    ):
        assert replaced(rows, sha256) == going

"""A recording goes up while it grows; what becomes of it there when its call ends, its host dies, or its
caller refuses."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from media.recording.assemble import read_sound
from media.recording.tap import Tap
from retention.archive import Archive
from retention.erase import erase_files, replaced
from retention.holds import agree, differs, place, release
from retention.journal import Journal
from retention.marks import Mark
from retention.objects.bucket import object_name, piece_name
from retention.objects.erase import ObjectEraser
from retention.objects.object_files import ObjectFiles, forget_gathered
from retention.objects.uploads import StoringHost, Uploads, tell_objects
from retention.purge import purge
from retention.recording_files import FileKind
from retention.records import Host as HostRow
from retention.records import Recording, Status
from retention.rows.object_rows import ObjectRow, ObjectRows, State, new_put
from retention.rows.rows import StoreError
from retention.shipping import LostHosts, Presence, Shipper
from retention.sqlite import Store
from retention.vault import public_line
from retention.verify import verify, wrong_beside
from sipagent.agent.recorder import ReachedRecordings, Recorder, close
from tests.kept import ANN, START, TERMS, receipt, recording
from tests.memory_bucket import MemoryBucket
from tests.object_store import (
    Losing,
    archive_of_calls,
    archive_through,
    host_of,
    names_in,
    place_of,
)
from tests.raising import raising
from tests.s3 import Moto, Weed
from tests.settling import settle
from tests.shared_sqlite import SharedInSqlite
from tests.tapping import expected, feed, wait_for
from tests.test_hold import BY, HOLD, LATE
from tests.test_recorder import CLOSING, NOW, begin


class Side:
    """A host: its recorder, and its threads' turns, one at a time."""

    def __init__(self, folder: Path, bucket: Losing, alerts: list[str]) -> None:
        self.folder, self.bucket = folder, bucket
        folder.mkdir(exist_ok=True)
        (folder / "ann.pub").write_text(public_line(ANN.public))
        self.store = Store(folder / "retention.db")
        self.archive = archive_of_calls(folder, bucket, self.store)
        self.recorder = Recorder(self.archive, "flac", alerts.append, (folder / "ann.pub",))
        self.recorder.start()
        self.begin_anew()

    def begin_anew(self) -> None:
        """As after a kill: nothing is known but what is on the disk."""
        self.host: StoringHost = host_of(self.folder, self.bucket, self.store)
        self.uploads = Uploads(self.host, step_s=0.0)
        self.refusals = ObjectEraser(self.host)

    def turn(self) -> None:
        self.uploads.pace.succeeded()  # no waiting
        self.uploads.turn()

    def remove(self) -> dict[str, OSError]:
        self.refusals._again.clear()
        return self.refusals.turn()

    def through(self) -> Archive:
        """That of its commands."""
        return archive_through(self.folder, self.bucket, self.store)

    def states(self, id: str) -> list[tuple[str, State]]:
        return [(row.name.partition(id)[2], row.state) for row in self.store.objects.of([id])]

    def close(self) -> None:
        if self.recorder._quick._thread.is_alive():
            self.recorder.stop()
        self.uploads.close()
        self.store.close()


@pytest.fixture
def bucket(objects: Moto | Weed, tmp_path: Path) -> Losing:
    return Losing(place_of(objects, tmp_path))


@pytest.fixture
def side(bucket: Losing, tmp_path: Path, alerts: list[str]) -> Iterator[Side]:
    side = Side(tmp_path / "a", bucket, alerts)
    yield side
    side.close()


def say(side: Side, tap: Tap, id: str, first: int, seconds: int) -> None:
    """So many seconds more, which are in the part by then, and go up."""
    feed(tap, first * 8000, (first + seconds) * 8000)
    path = side.host.here.path(id, FileKind.PART)
    wait_for(lambda: path.exists() and path.stat().st_size > (first + seconds) * 32000)
    side.turn()


def growing(side: Side) -> tuple[Recording, Tap]:
    """A recording in progress, of which 2 s are up."""
    row = recording(operator=None)
    tap = begin(side.recorder, row, 0)
    say(side, tap, row.id, 0, 2)
    return row, tap


def keep(side: Side, tap: Tap, row: Recording) -> None:
    side.recorder.keep_receipt(receipt(row))
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    side.turn()


def kept(side: Side) -> Recording:
    row, tap = growing(side)
    keep(side, tap, row)
    side.remove()
    return side.store.recording(row.id)


def refuse(side: Side, tap: Tap, row: Recording) -> None:
    side.recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(side.recorder)


def heard(archive: Archive, id: str) -> np.ndarray:
    with archive.files.fetch(id, FileKind.SEALED) as file:
        return np.concatenate(list(read_sound(file, archive.vault.key(id, ANN)).blocks()))


def whole(id: str) -> list[str]:
    """The names of all that stays of a recording."""
    return [object_name(id, kind) for kind in (FileKind.METADATA, FileKind.SEALED, FileKind.KEY)]


def test_a_recording_goes_up_while_it_grows(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    row, tap = growing(side)
    key, first, second = object_name(row.id, FileKind.KEY), piece_name(row.id, 1), piece_name(row.id, 2)
    assert names_in(objects, bucket) == [first, key]
    assert [name for what, name in bucket.asked] == [key, first]  # what none could open is no use to anyone
    say(side, tap, row.id, 2, 2)
    assert names_in(objects, bucket) == [first, second, key]
    side.turn()
    assert bucket.asked[2:] == [("put", second)]  # nothing new, nothing sent
    assert (side.uploads.figures.waiting, side.uploads.figures.behind_s) == (0, 0.0)
    size = side.host.here.path(row.id, FileKind.PART).stat().st_size
    assert side.uploads.figures.sent >= size


def test_while_the_store_is_away_the_spool_keeps_it(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    """And it is not asked at every turn."""
    bucket.failing = lambda what, name: True
    row, tap = growing(side)
    asked = len(bucket.asked)
    side.uploads.turn()
    assert len(bucket.asked) == asked and side.uploads.figures.away
    keep(side, tap, row)
    assert np.array_equal(heard(side.archive, row.id), expected(16000))
    assert side.uploads.figures.waiting > 64000 and names_in(objects, bucket) == []
    bucket.failing = lambda what, name: False
    side.turn()
    assert side.uploads.figures.waiting == 0
    assert np.array_equal(heard(side.through(), row.id), expected(16000))


@pytest.mark.parametrize("said_by", ["the recorder", "a mark alone", "a mark, and no row is known"])
def test_of_who_refuses_nothing_stays_anywhere(
    side: Side, objects: Moto | Weed, bucket: Losing, monkeypatch: pytest.MonkeyPatch, said_by: str
) -> None:
    """A mark is enough where the rows say nothing yet, for the database takes nothing; the key goes first.

    Another tool had put a marker of deletion before a piece, which hides it and keeps it; and where no row is
    known, the store is not listed either.
    """
    row, tap = growing(side)
    say(side, tap, row.id, 2, 2)
    key, beginning = f"{bucket.place.prefix}{piece_name(row.id, 1)}", f"recordings/{row.id}."
    if rows_known := said_by != "a mark, and no row is known":
        objects.client.delete_object(Bucket=bucket.place.bucket, Key=key)
        assert len(list(bucket.versions(beginning) or ())) == 3
    bucket.asked.clear()
    if said_by == "the recorder":
        refuse(side, tap, row)
        assert side.store.recording(row.id).status is Status.ERASED
        assert {state for _, state in side.states(row.id)} == {State.REMOVING}
    else:
        side.archive.marks.make(Mark.of(receipt(row, decision="refused"), NOW))
    with monkeypatch.context() as patch:
        if not rows_known:
            patch.setattr(ObjectRows, "remove", raising(StoreError("the database takes nothing")))
            patch.setattr(bucket, "versions", lambda beginning: None)
        assert side.remove() == {}
    assert bucket.asked[0] == ("remove", object_name(row.id, FileKind.KEY))
    feed(tap, 32000, 40000)
    side.turn()
    assert names_in(objects, bucket) == []
    assert said_by == "the recorder" or list(bucket.versions(beginning) or ()) == []  # it has no bytes
    tap.abandon()


def test_a_refusal_while_a_piece_is_on_its_way(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    row, tap = growing(side)

    def refusing(what: str, name: str) -> bool:
        if (what, name) == ("put", piece_name(row.id, 2)):
            refuse(side, tap, row)
            side.remove()  # finds nothing of that name yet
        return False

    bucket.failing = refusing
    say(side, tap, row.id, 2, 2)
    assert names_in(objects, bucket) == [piece_name(row.id, 2)]
    assert side.remove() == {} and names_in(objects, bucket) == [] and side.states(row.id) == []


def test_what_is_on_hold_is_held_by_the_store_and_goes_once_released(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row, archive = kept(side), side.through()
    held = place(archive, row.id, HOLD, BY)
    assert differs(side.store, row) and not differs(side.store, held)
    assert side.remove() == {}  # the earlier metadata, held as it was
    rows = side.store.objects.of([row.id])
    assert all(one.held for one in rows) and len(rows) == 3
    for one in rows:
        seen = bucket.look(one.name)
        assert seen is not None and seen.held and seen.version == one.version
    assert json.loads(bucket.content(object_name(row.id, FileKind.METADATA)))["hold"] is not None
    assert [stay.id for stay in purge(archive, LATE, TERMS).held] == [row.id]
    released = release(archive, row.id, BY)
    assert not differs(side.store, released) and agree(archive) == []
    assert [gone.id for gone in purge(archive, LATE, TERMS).removed] == [row.id]
    assert names_in(objects, bucket) == []


def test_what_is_held_though_its_row_is_not_is_told_of_and_stays(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row, archive = kept(side), side.through()
    archive.files.hold(row.id, held=True)  # and a crash before the row said so
    assert set(erase_files(archive, [row.id])) == {row.id} and len(names_in(objects, bucket)) == 3
    assert [stay.id for stay in purge(archive, LATE, TERMS).held] == [row.id]
    assert len(names_in(objects, bucket)) == 3 and agree(archive) == []  # that purge has seen to it
    assert [gone.id for gone in purge(archive, LATE, TERMS).removed] == [row.id]


def test_a_later_word_of_another_host_counts(
    side: Side, objects: Moto | Weed, bucket: Losing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put on hold elsewhere before its metadata came up from here; or it was deleted there."""
    monkeypatch.setattr(Store, "whole", False)
    row, tap = growing(side)
    bucket.put(object_name(row.id, FileKind.METADATA), b"{}", hashlib.sha256(b"{}").hexdigest())
    keep(side, tap, row)
    assert bucket.content(object_name(row.id, FileKind.METADATA)) == b"{}"
    row, tap = growing(side)
    gone = replace(row, status=Status.PURGED, purged_at=datetime.now(UTC))
    side.uploads._host = replace(side.host, known=lambda id: gone if id == row.id else None)
    keep(side, tap, row)
    assert not [kind for kind in FileKind if side.host.here.exists(row.id, kind)]
    assert object_name(row.id, FileKind.SEALED) not in names_in(objects, bucket)


@pytest.fixture
def other(bucket: Losing, side: Side, tmp_path: Path) -> Archive:
    """That of host `b`, with the rows of `side`, which is lost, but neither its spool nor any private key."""
    return archive_through(tmp_path / "b", bucket, side.store)


def reached_by(archive: Archive) -> ReachedRecordings:
    assert isinstance(archive.files, ObjectFiles)
    return ReachedRecordings(archive, "flac", archive.files.gather)


def test_the_recording_of_a_lost_host_is_made_whole_of_what_is_up(
    side: Side, other: Archive, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    say(side, tap, row.id, 2, 2)
    done = reached_by(other).close(side.store.recording(row.id))
    again = reached_by(other).close(side.store.recording(row.id))  # after a crash
    assert done is not None and again is not None and replace(again, ended_at=done.ended_at) == done
    assert (done.status, done.incomplete, done.duration_s, done.channels) == (Status.CLOSED, True, 4.0, 2)
    told = json.loads(bucket.content(object_name(row.id, FileKind.METADATA)))
    assert (told["incomplete"], told["sha256"], told["caller"]) == (True, done.sha256, None)
    assert other.vault.unseal(row.id, told["sealed"], ANN)
    side.store.update_recording(done)
    other.change(done)
    assert np.array_equal(heard(other, row.id), expected(32000)) and verify(other).problems == []
    assert names_in(objects, bucket) == whole(row.id)
    assert [path for path in other.files.spool.base.rglob("*") if path.is_file()] == []
    never = recording(1)
    side.store.add_receipt(receipt(never))
    side.store.add_recording(never)
    assert reached_by(other).close(side.store.recording(never.id)) is None
    tap.abandon()


def test_pieces_are_found_though_their_rows_never_came(side: Side, bucket: Losing, tmp_path: Path) -> None:
    row, tap = growing(side)
    with Store(tmp_path / "other.db") as store:
        store.add_receipt(receipt(row))
        store.add_recording(row)
        other = archive_through(tmp_path / "b", bucket, store)
        assert isinstance(other.files, ObjectFiles) and other.files.gather(row.id)
        close(other, row, "flac", CLOSING)
        assert np.array_equal(heard(other, row.id), expected(16000))
        assert not other.files.gather(recording(1).id)
    tap.abandon()


def test_of_a_lost_host_whose_caller_had_refused_nothing_stays(
    side: Side, other: Archive, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    side.store.update_receipt(receipt(row, decision="refused"))
    for _ in range(2):
        reached_by(other).erase(row.id)
        assert names_in(objects, bucket) == []
    tap.abandon()


# --- a host that others took for lost lives on: in the end there is one recording, and nothing else ---


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

"""A recording goes up while it grows; what becomes of it there when its call ends, its host dies, or its
caller refuses."""

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
from retention.erase import erase_files
from retention.holds import agree, differs, place, release
from retention.marks import Mark
from retention.objects.bucket import object_name, piece_name
from retention.objects.erase import ObjectEraser
from retention.objects.object_files import ObjectFiles
from retention.objects.uploads import StoringHost, Uploads
from retention.purge import purge
from retention.recording_files import FileKind
from retention.records import Recording, Status
from retention.rows.object_rows import UNSURE, State
from retention.sqlite import Store
from retention.vault import Identity, public_line
from retention.verify import verify
from sipagent.agent.recorder import ReachedRecordings, Recorder, close
from tests import tiers
from tests.kept import receipt, recording
from tests.object_store import (
    Losing,
    archive_of_calls,
    archive_through,
    bytes_in,
    host_of,
    names_in,
    now,
    place_of,
)
from tests.s3 import Moto, Weed
from tests.settling import settle
from tests.tapping import expected, feed, wait_for
from tests.test_hold import BY, HOLD, LATE, TERMS
from tests.test_recorder import CLOSING, NOW, begin

ANN = Identity(bytes([1]) * 32, "Ann")


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


@pytest.fixture(params=tiers.first("moto", "weed"))
def objects(request: pytest.FixtureRequest) -> Moto | Weed:
    found: Moto | Weed = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(objects: Moto | Weed, tmp_path: Path) -> Losing:
    return Losing(place_of(objects, tmp_path))


@pytest.fixture
def side(bucket: Losing, tmp_path: Path, alerts: list[str]) -> Iterator[Side]:
    side = Side(tmp_path / "a", bucket, alerts)
    yield side
    side.close()


def part_is(side: Side, id: str, seconds: int) -> None:
    path = side.host.here.path(id, FileKind.PART)
    wait_for(lambda: path.exists() and path.stat().st_size > seconds * 32000)


def growing(side: Side) -> tuple[Recording, Tap]:
    """A recording in progress, of which 2 s are up."""
    row = recording(operator=None)
    tap = begin(side.recorder, row)
    part_is(side, row.id, 2)
    side.turn()
    return row, tap


def heard(archive: Archive, id: str) -> np.ndarray:
    with archive.files.fetch(id, FileKind.SEALED) as file:
        return np.concatenate(list(read_sound(file, archive.vault.key(id, ANN)).blocks()))


def test_a_recording_goes_up_while_it_grows(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    row, tap = growing(side)
    key, first = object_name(row.id, FileKind.KEY), piece_name(row.id, 1)
    assert names_in(objects, bucket) == [first, key]
    assert [name for what, name in bucket.asked] == [key, first]  # what none could open is no use to anyone
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    assert names_in(objects, bucket) == [first, piece_name(row.id, 2), key]
    side.turn()
    assert bucket.asked[2:] == [("put", piece_name(row.id, 2))]  # nothing new, nothing sent
    assert side.uploads.figures.waiting == 0


def test_the_finished_file_takes_the_place_of_its_pieces(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    side.turn()
    assert not any(side.host.here.exists(row.id, kind) for kind in FileKind)
    assert side.remove() == {}
    assert names_in(objects, bucket) == [
        object_name(row.id, kind) for kind in (FileKind.METADATA, FileKind.SEALED, FileKind.KEY)
    ]
    archive = side.through()
    assert np.array_equal(heard(archive, row.id), expected(16000)) and verify(archive).problems == []
    assert not archive.store.recording(row.id).incomplete


def test_another_host_closes_what_a_lost_one_had_sent(
    side: Side, objects: Moto | Weed, bucket: Losing, tmp_path: Path, alerts: list[str]
) -> None:
    """With the rows of the lost one; without its spool, and without any private key."""
    row, tap = growing(side)
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    other = archive_through(tmp_path / "b", bucket, side.store)
    files = other.files
    assert isinstance(files, ObjectFiles) and files.gather(row.id)
    close(other, side.store.recording(row.id), "flac", CLOSING)
    done = side.store.recording(row.id)
    assert (done.status, done.incomplete, done.duration_s) == (Status.CLOSED, True, 4.0)
    assert np.array_equal(heard(other, row.id), expected(32000))
    assert names_in(objects, bucket) == [
        object_name(row.id, kind) for kind in (FileKind.METADATA, FileKind.SEALED, FileKind.KEY)
    ]
    assert [path for path in (tmp_path / "b").rglob("*") if path.is_file()] == []
    tap.abandon()


def test_what_is_closed_for_a_lost_host_has_its_metadata(
    side: Side, bucket: Losing, tmp_path: Path, alerts: list[str]
) -> None:
    row, tap = growing(side)
    other = archive_through(tmp_path / "b", bucket, side.store)
    assert isinstance(other.files, ObjectFiles)
    closed = ReachedRecordings(other, "flac", other.files.gather).close(side.store.recording(row.id))
    assert closed is not None and closed.incomplete
    told = json.loads(bucket.content(object_name(row.id, FileKind.METADATA)))
    assert (told["incomplete"], told["sha256"], told["caller"]) == (True, closed.sha256, None)
    assert other.vault.unseal(row.id, told["sealed"], ANN)
    tap.abandon()


def test_pieces_are_found_though_their_rows_never_came(
    side: Side, bucket: Losing, tmp_path: Path, alerts: list[str]
) -> None:
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


def test_of_who_refuses_nothing_stays_anywhere(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    row, tap = growing(side)
    bucket.asked.clear()
    side.recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(side.recorder)
    assert side.store.recording(row.id).status is Status.ERASED
    assert {state for _, state in side.states(row.id)} == {State.REMOVING}
    assert side.remove() == {}
    assert bucket.asked[0] == ("remove", object_name(row.id, FileKind.KEY))
    assert names_in(objects, bucket) == [] and side.states(row.id) == []
    side.turn()
    assert names_in(objects, bucket) == []


def test_a_mark_is_enough(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    """The rows say nothing yet, for the database takes nothing; the key is gone all the same."""
    row, tap = growing(side)
    side.archive.marks.make(Mark.of(receipt(row, decision="refused"), NOW))
    assert side.remove() == {}
    assert names_in(objects, bucket) == []
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    assert names_in(objects, bucket) == []
    tap.abandon()


def test_a_mark_is_enough_without_any_row(
    side: Side, objects: Moto | Weed, bucket: Losing, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, tap = growing(side)
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    side.store.objects.forget(one.put for one in side.store.objects.of([row.id]))
    from retention.objects.erase import erase_unknown

    erase_unknown(bucket, row.id)
    assert names_in(objects, bucket) == []
    tap.abandon()


def test_a_refusal_while_a_piece_is_on_its_way(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    row, tap = growing(side)

    def refuse(what: str, name: str) -> bool:
        if (what, name) == ("put", piece_name(row.id, 2)):
            side.recorder.erase(tap, receipt(row, decision="refused"), NOW)
            settle(side.recorder)
            side.remove()  # finds nothing of that name yet
        return False

    bucket.failing = refuse
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    assert names_in(objects, bucket) == [piece_name(row.id, 2)]
    assert side.remove() == {} and names_in(objects, bucket) == [] and side.states(row.id) == []


def test_a_put_whose_answer_is_lost_is_done_once_more(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row = recording(operator=None)
    tap = begin(side.recorder, row)
    part_is(side, row.id, 2)
    bucket.losing = lambda what, name: name == piece_name(row.id, 1)
    side.turn()
    assert side.uploads.figures.away
    bucket.losing = lambda what, name: False
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.begin_anew()
    side.turn()
    side.turn()
    assert not side.uploads.figures.away
    assert set(names_in(objects, bucket)) == {
        *(piece_name(row.id, number) for number in (1, 2)),
        object_name(row.id, FileKind.KEY),
    }
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    side.turn()
    side.remove()
    assert np.array_equal(heard(side.through(), row.id), expected(32000))
    assert [name for name in names_in(objects, bucket) if ".part" in name] == []


def test_a_put_whose_answer_is_lost_goes_with_a_refusal(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    bucket.losing = lambda what, name: what == "put"
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    side.begin_anew()
    side.recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(side.recorder)
    assert side.remove() == {} and names_in(objects, bucket) == []
    assert side.states(row.id) == [(".part/00002", State.REMOVING)]  # it might have been still on its way
    late = b"arrives after all"
    objects.client().put_object(
        Bucket=bucket.place.bucket, Key=f"{bucket.place.prefix}{piece_name(row.id, 2)}", Body=late
    )
    assert side.remove() == {} and late not in bytes_in(objects, bucket)
    side.refusals._clock = lambda: now() + UNSURE
    assert side.remove() == {} and side.states(row.id) == []


def test_what_cannot_be_removed_now_is_removed_later_its_key_first(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    bucket.failing = lambda what, name: what == "remove" and ".part" in name
    side.recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(side.recorder)
    assert set(side.remove()) == {row.id}
    assert names_in(objects, bucket) == [piece_name(row.id, 1)]
    later = now() + timedelta(seconds=1)
    assert side.store.objects.removals(later).recordings == 1
    side.begin_anew()  # a restart
    assert set(side.remove()) == {row.id}
    bucket.failing = lambda what, name: False
    assert side.remove() == {}
    assert names_in(objects, bucket) == [] and side.store.objects.removals(later).recordings == 0


def test_while_the_store_is_away_the_spool_keeps_it(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    bucket.failing = lambda what, name: True
    row = recording(operator=None)
    tap = begin(side.recorder, row)
    part_is(side, row.id, 2)
    side.turn()
    assert side.uploads.figures.away
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    side.turn()
    assert np.array_equal(heard(side.archive, row.id), expected(16000))
    assert side.uploads.figures.waiting > 64000 and names_in(objects, bucket) == []
    bucket.failing = lambda what, name: False
    side.turn()
    assert side.uploads.figures.waiting == 0
    assert np.array_equal(heard(side.through(), row.id), expected(16000))


def test_a_store_that_fails_is_not_asked_at_every_turn(side: Side, bucket: Losing) -> None:
    row, tap = growing(side)
    bucket.failing = lambda what, name: True
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.uploads.turn()
    asked = len(bucket.asked)
    side.uploads.turn()
    assert len(bucket.asked) == asked and side.uploads.figures.away
    tap.abandon()


def kept(side: Side) -> Recording:
    row, tap = growing(side)
    side.recorder.keep_receipt(receipt(row))
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    side.turn()
    side.remove()
    return side.store.recording(row.id)


def test_what_is_on_hold_is_held_by_the_store_and_goes_once_released(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row = kept(side)
    archive = side.through()
    place(archive, row.id, HOLD, BY)
    assert differs(archive.store, replace(archive.store.recording(row.id), hold=None))
    assert side.remove() == {}  # the earlier metadata, held as it was
    rows = side.store.objects.of([row.id])
    assert all(one.held for one in rows) and len(rows) == 3
    for one in rows:
        seen = bucket.look(one.name)
        assert seen is not None and seen.held and seen.version == one.version
    assert json.loads(bucket.content(object_name(row.id, FileKind.METADATA)))["hold"] is not None
    assert [stay.id for stay in purge(archive, LATE, TERMS).held] == [row.id]
    release(archive, row.id, BY)
    assert not differs(archive.store, archive.store.recording(row.id)) and agree(archive) == []
    assert [gone.id for gone in purge(archive, LATE, TERMS).removed] == [row.id]
    assert names_in(objects, bucket) == []


def test_what_is_held_though_its_row_is_not_is_told_of_and_stays(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row = kept(side)
    archive = side.through()
    archive.files.hold(row.id, held=True)  # and a crash before the row said so
    assert set(erase_files(archive, [row.id])) == {row.id} and len(names_in(objects, bucket)) == 3
    assert [stay.id for stay in purge(archive, LATE, TERMS).held] == [row.id]
    assert len(names_in(objects, bucket)) == 3 and agree(archive) == []  # that purge has seen to it
    assert [gone.id for gone in purge(archive, LATE, TERMS).removed] == [row.id]


def test_a_refusal_goes_through_a_hold_of_ours(side: Side, objects: Moto | Weed, bucket: Losing) -> None:
    row = kept(side)
    place(side.through(), row.id, HOLD, BY)
    side.recorder.erase_kept(receipt(row, decision="refused"), NOW)
    settle(side.recorder)
    assert side.store.recording(row.id).status is Status.ERASED
    assert side.remove() == {} and names_in(objects, bucket) == []


def test_a_later_word_of_another_host_is_not_written_over(
    side: Side, bucket: Losing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put on hold elsewhere before its metadata came up from here."""
    monkeypatch.setattr(Store, "whole", False)
    row, tap = growing(side)
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    bucket.put(object_name(row.id, FileKind.METADATA), b"{}", _sha(b"{}"))
    side.turn()
    assert bucket.content(object_name(row.id, FileKind.METADATA)) == b"{}"


def test_what_was_deleted_elsewhere_does_not_come_up(
    side: Side, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    side.recorder.keep(tap, row, CLOSING)
    settle(side.recorder)
    gone = replace(side.store.recording(row.id), status=Status.PURGED, purged_at=datetime.now(UTC))
    side.uploads._known = lambda id: gone
    side.turn()
    left = {kind for kind in FileKind if side.host.here.exists(row.id, kind)}
    assert left == set() and object_name(row.id, FileKind.SEALED) not in names_in(objects, bucket)


def _sha(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def reached(bucket: Losing, side: Side, tmp_path: Path) -> ReachedRecordings:
    """By host `b`, with the rows of `side`, which is lost."""
    other = archive_through(tmp_path / "b", bucket, side.store)
    assert isinstance(other.files, ObjectFiles)
    return ReachedRecordings(other, "flac", other.files.gather)


def test_the_recording_of_a_lost_host_is_made_whole_of_what_is_up(
    side: Side, reached: ReachedRecordings, bucket: Losing, tmp_path: Path
) -> None:
    row, tap = growing(side)
    feed(tap, 16000, 32000)
    part_is(side, row.id, 4)
    side.turn()
    done = reached.close(side.store.recording(row.id))
    again = reached.close(side.store.recording(row.id))  # after a crash
    assert done is not None and again is not None and replace(again, ended_at=done.ended_at) == done
    assert (done.status, done.incomplete, done.duration_s, done.channels) == (Status.CLOSED, True, 4.0, 2)
    side.store.update_recording(done)
    through = archive_through(tmp_path / "b", bucket, side.store)
    through.change(done)
    assert np.array_equal(heard(through, row.id), expected(32000))
    assert verify(through).problems == []
    tap.abandon()


def test_of_a_lost_host_whose_caller_had_refused_nothing_stays(
    side: Side, reached: ReachedRecordings, objects: Moto | Weed, bucket: Losing
) -> None:
    row, tap = growing(side)
    side.store.update_receipt(receipt(row, decision="refused"))
    reached.erase(row.id)
    assert names_in(objects, bucket) == []
    reached.erase(row.id)
    tap.abandon()


def test_of_what_was_never_up_nothing_is_made(side: Side, reached: ReachedRecordings) -> None:
    row = recording()
    side.store.add_receipt(receipt(row))
    side.store.add_recording(row)
    assert reached.close(side.store.recording(row.id)) is None

"""Recordings that a store of objects keeps: their life is that of files of this machine."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording.assemble import read_sound
from retention.archive import Archive, rotate
from retention.holds import place, release
from retention.marks import Mark, MustGo
from retention.objects.object_files import ObjectFiles, sweep
from retention.purge import purge
from retention.rebuild import rebuild
from retention.recording_files import FileKind, RecordingFiles, finished, in_row, write
from retention.records import Status
from retention.sqlite import Store
from retention.vault import public_line
from retention.verify import orphans, verify
from sipagent.agent.recorder import Recorder, made, recover
from tests import kept
from tests.kept import ANN, BEN, TERMS, receipt, recording
from tests.object_store import Losing, archive_through, names_in, place_of
from tests.s3 import Moto
from tests.tapping import expected
from tests.test_hold import BY, HOLD, LATE
from tests.test_recorder import CLOSING, NOW, begin


@pytest.fixture
def bucket(moto: Moto, tmp_path: Path) -> Losing:
    return Losing(place_of(moto, tmp_path))


@pytest.fixture
def archive(bucket: Losing, tmp_path: Path) -> Archive:
    return archive_through(tmp_path, bucket)


@pytest.fixture(params=["clear", "sealed"])
def recorder(
    request: pytest.FixtureRequest, archive: Archive, alerts: list[str], tmp_path: Path
) -> Iterator[Recorder]:
    (tmp_path / "ann.pub").write_text(public_line(ANN.public))
    recipients = (tmp_path / "ann.pub",) if request.param == "sealed" else ()
    recorder = Recorder(archive, "flac", alerts.append, recipients)
    recorder.start()
    yield recorder
    if recorder._quick._thread.is_alive():
        recorder.stop()


def again(archive: Archive, store: Store) -> RecordingFiles:
    """The files that there were, with another database."""
    files = archive.files
    assert isinstance(files, ObjectFiles)
    return ObjectFiles(files.bucket, store.objects, files.spool)


def left(archive: Archive) -> list[str]:
    return [name for name, _ in (*archive.names(), *archive.keys())]


def is_whole(archive: Archive, id: str) -> bool:
    """Whether all that was said can be heard, and nothing is wrong."""
    kind = finished(archive.files, id)
    assert kind is not None and archive.store.recording(id).path == in_row(archive.files, id, kind)
    key = archive.vault.key(id, ANN) if kind is FileKind.SEALED else None
    with archive.files.fetch(id, kind) as file:
        heard = np.concatenate(list(read_sound(file, key).blocks()))
    return verify(archive).problems == [] and np.array_equal(heard, expected(16000))


def test_what_is_kept_is_heard_held_sealed_to_others_and_goes_in_its_time(
    recorder: Recorder, archive: Archive
) -> None:
    """And where its database was lost, it comes back from its metadata."""
    row = recording(operator=None)
    recorder.keep(begin(recorder, row), row, CLOSING)
    recorder.keep_receipt(receipt(row))
    recorder.stop()
    row = archive.store.recording(row.id)
    assert row.status is Status.CLOSED and is_whole(archive, row.id)
    place(archive, row.id, HOLD, BY)
    assert [stay.id for stay in purge(archive, LATE, TERMS).held] == [row.id] and is_whole(archive, row.id)
    release(archive, row.id, BY)
    assert archive.store.places is not None
    archive.store.close()
    archive.store.places.database.unlink()
    store = Store(archive.store.places.database)
    found = Archive(store, again(archive, store), archive.marks)
    found.files.learn()
    assert {one.problem for one in orphans(found)} == {"no row in the database"}
    done = rebuild(found, ANN)
    assert (done.restored, done.problems) == ([row.id], []) and is_whole(found, row.id)
    assert (store.recording(row.id).caller, store.recording(row.id).path) == (row.caller, row.path)
    is_sealed = found.vault.has(row.id)
    assert rotate(found, ANN, [BEN.public]).sealed == ((row.id,) if is_sealed else ())
    assert not is_sealed or found.vault.recipients(row.id) == (BEN.public,)
    assert [gone.id for gone in purge(found, LATE, TERMS).removed] == [row.id]
    assert left(found) == [] and store.recording(row.id).status is Status.PURGED
    assert verify(found).problems == []


def test_what_a_crash_left_is_kept_at_the_next_start(recorder: Recorder, archive: Archive) -> None:
    """The file, which a store has taken from the spool by then, and an open row."""
    row = recording(operator=None)
    begin(recorder, row)
    recorder.stop()
    made(archive, row.id, "flac")
    kind = finished(archive.files, row.id)
    assert kind is not None
    archive.files.keep(row.id, kind)
    recover(archive, "flac", NOW, pytest.fail)
    assert archive.store.recording(row.id).status is Status.CLOSED and is_whole(archive, row.id)


def test_what_comes_back_from_a_backup_goes_again(archive: Archive) -> None:
    row = kept.keep_by(archive, recording(), FileKind.FLAC)
    kept.remove(archive, row.id, NOW)
    write(archive.files, row.id, FileKind.FLAC, b"from a backup")
    write(archive.files, row.id, FileKind.KEY, b"{}")
    (sound, key) = orphans(archive)
    assert (sound.forbidden, sound.in_vault, key.forbidden, key.in_vault) == (True, False, True, True)
    assert {one.name for one in purge(archive, NOW, TERMS).unlinked} == {sound.name, key.name}
    assert left(archive) == []


def test_what_was_refused_does_not_come_back_by_being_kept(
    archive: Archive, bucket: Losing, moto: Moto
) -> None:
    row = recording()
    archive.open(row)
    archive.files.spool.path(row.id, FileKind.FLAC).write_bytes(kept.SOUND)
    archive.marks.make(Mark.of(receipt(row, decision="refused"), NOW))
    with pytest.raises(MustGo):
        archive.close(row)
    assert names_in(moto, bucket) == []


def test_who_looks_for_copies_that_were_left_takes_none_that_is_used(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that was begun at this moment, nor another's of the same process."""
    locks, swept = fcntl.flock, list[Path]()
    both, folder = (archive.files, again(archive, Store(":memory:"))), archive.files.spool.fetched

    def late(file: Any, how: int) -> None:
        if not swept and folder.exists():
            swept.extend(folder.iterdir())
            sweep(folder)
        locks(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    ids = recording().id, recording(1).id
    for one, id in zip(both, ids, strict=True):
        write(one, id, FileKind.FLAC, id.encode())
    with both[0].fetch(ids[0], FileKind.FLAC) as first, both[1].fetch(ids[1], FileKind.FLAC) as second:
        assert len(swept) == 1 and (first.read_text(), second.read_text()) == ids
    assert list(folder.iterdir()) == []

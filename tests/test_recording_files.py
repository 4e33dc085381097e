"""Whoever keeps recordings, files of this machine or a store of objects: their life is the same."""

import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from media.recording.assemble import read_sound
from retention.archive import Archive, rotate
from retention.erase import erase_files, to_erase
from retention.holds import place, release
from retention.marks import Mark, MustGo
from retention.objects.object_files import ObjectFiles, sweep
from retention.purge import purge
from retention.rebuild import rebuild
from retention.recording_files import Area, FileKind, RecordingFiles, finished, in_row, write
from retention.records import Recording, Status
from retention.rows.rows import Rows
from retention.sqlite import Store
from retention.vault import Identity, public_line
from retention.verify import orphans, verify
from sipagent.agent.recorder import Recorder, made, recover
from tests import kept
from tests.kept import Paths, receipt, recording
from tests.object_store import Losing, archive_through, local_of, names_in, place_of
from tests.office import Office, make_office
from tests.s3 import Moto
from tests.settling import settle
from tests.tapping import expected
from tests.test_hold import BY, HOLD, LATE, TERMS
from tests.test_recorder import CLOSING, NOW, begin

ANN, BEN = Identity(bytes([1]) * 32, "Ann"), Identity(bytes([2]) * 32, "Ben")


@pytest.fixture
def bucket(moto: Moto, tmp_path: Path) -> Losing:
    return Losing(place_of(moto, tmp_path))


@pytest.fixture(params=["local", "objects"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    if request.param == "local":
        return kept.archive(tmp_path)
    return archive_through(tmp_path, request.getfixturevalue("bucket"))


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


def files_again(archive: Archive, store: Store) -> RecordingFiles:
    """Those that there were, with an empty database."""
    files = archive.files
    return ObjectFiles(files.bucket, store.objects, files.spool) if isinstance(files, ObjectFiles) else files


def left(archive: Archive) -> list[str]:
    return [name for name, _ in (*archive.names(), *archive.keys())]


def recorded(recorder: Recorder) -> Recording:
    """One that is kept."""
    row = recording(operator=None)
    recorder.keep(begin(recorder, row), row, CLOSING)
    recorder.keep_receipt(receipt(row))
    recorder.stop()
    return recorder.archive.store.recording(row.id)


def sound_of(archive: Archive, id: str) -> np.ndarray:
    kind = finished(archive.files, id)
    assert kind is not None
    key = archive.vault.key(id, ANN) if kind is FileKind.SEALED else None
    with archive.files.fetch(id, kind) as file:
        return np.concatenate(list(read_sound(file, key).blocks()))


def test_what_is_kept_is_heard_held_and_goes_in_its_time(recorder: Recorder, archive: Archive) -> None:
    row = recorded(recorder)
    kind = finished(archive.files, row.id)
    assert row.status is Status.CLOSED and kind is not None
    assert row.path == in_row(archive.files, row.id, kind)
    assert np.array_equal(sound_of(archive, row.id), expected(16000))
    assert verify(archive).problems == []
    place(archive, row.id, HOLD, BY)
    assert [stay.id for stay in purge(archive, LATE, TERMS).held] == [row.id]
    assert verify(archive).problems == [] and np.array_equal(sound_of(archive, row.id), expected(16000))
    release(archive, row.id, BY)
    assert [gone.id for gone in purge(archive, LATE, TERMS).removed] == [row.id]
    assert left(archive) == []
    assert archive.store.recording(row.id).status is Status.PURGED and verify(archive).problems == []


def test_of_who_refuses_nothing_stays(recorder: Recorder, archive: Archive) -> None:
    row = recording(operator=None)
    tap = begin(recorder, row)
    recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert archive.store.recording(row.id).status is Status.ERASED
    assert left(archive) == [] and to_erase(archive) == []


def test_what_was_kept_is_erased(recorder: Recorder, archive: Archive) -> None:
    row = recording(operator=None)
    recorder.keep(begin(recorder, row), row, CLOSING)
    settle(recorder)
    recorder.erase_kept(receipt(row, decision="refused"), NOW)
    recorder.stop()
    assert archive.store.recording(row.id).status is Status.ERASED and left(archive) == []


def test_the_key_goes_first_and_the_metadata_last(tmp_path: Path, bucket: Losing) -> None:
    archive = archive_through(tmp_path, bucket)
    row = kept.keep_by(archive, recording(), FileKind.FLAC)
    write(archive.files, row.id, FileKind.KEY, b"key")
    bucket.asked.clear()
    erase_files(archive, [row.id])
    kinds = (FileKind.KEY, FileKind.FLAC, FileKind.METADATA)
    assert bucket.asked == [("remove", archive.files.name(row.id, kind)) for kind in kinds]


def test_what_a_crash_left_is_kept_at_the_next_start(
    recorder: Recorder, archive: Archive, alerts: list[str]
) -> None:
    row = recording(operator=None)
    begin(recorder, row)
    recorder.stop()  # its part, whole, and an open row
    recover(archive, "flac", NOW, alerts.append)
    assert archive.store.recording(row.id).status is Status.CLOSED
    assert np.array_equal(sound_of(archive, row.id), expected(16000)) and verify(archive).problems == []


def test_what_a_crash_left_between_the_file_and_its_row_is_kept(
    recorder: Recorder, archive: Archive, alerts: list[str]
) -> None:
    """A store of objects has taken it from the spool by then."""
    row = recording(operator=None)
    begin(recorder, row)
    recorder.stop()
    made(archive, row.id, "flac")
    kind = finished(archive.files, row.id)
    assert kind is not None
    archive.files.keep(row.id, kind)
    recover(archive, "flac", NOW, alerts.append)
    assert archive.store.recording(row.id).status is Status.CLOSED
    assert np.array_equal(sound_of(archive, row.id), expected(16000)) and verify(archive).problems == []


def test_what_was_refused_does_not_come_back_by_being_kept(
    tmp_path: Path, bucket: Losing, moto: Moto
) -> None:
    archive = archive_through(tmp_path, bucket)
    row = recording()
    archive.open(row)
    archive.files.spool.path(row.id, FileKind.FLAC).write_bytes(kept.SOUND)
    archive.marks.make(Mark.of(receipt(row, decision="refused"), NOW))
    with pytest.raises(MustGo):
        archive.close(row)
    assert names_in(moto, bucket) == []


def test_a_lost_database_comes_back_from_the_metadata(recorder: Recorder, archive: Archive) -> None:
    row = recorded(recorder)
    assert archive.store.places is not None
    archive.store.close()
    archive.store.places.database.unlink()
    store = Store(archive.store.places.database)
    again = Archive(store, files_again(archive, store), archive.marks)
    again.files.learn()
    assert {one.problem for one in orphans(again)} == {"no row in the database"}
    done = rebuild(again, ANN)
    assert (done.restored, done.problems) == ([row.id], [])
    assert again.store.recording(row.id).caller == row.caller
    assert again.store.recording(row.id).path == row.path


def test_a_key_is_sealed_to_others(recorder: Recorder, archive: Archive) -> None:
    row = recorded(recorder)
    if not archive.vault.has(row.id):
        assert archive.vault.ids() == []
        return
    assert rotate(archive, ANN, [BEN.public]).sealed == (row.id,)
    assert archive.vault.recipients(row.id) == (BEN.public,) and verify(archive).problems == []


def test_what_comes_back_from_a_backup_goes_again(archive: Archive) -> None:
    row = kept.keep_by(archive, recording(), FileKind.FLAC)
    kept.remove(archive, row.id, NOW)
    write(archive.files, row.id, FileKind.FLAC, b"from a backup")
    write(archive.files, row.id, FileKind.KEY, b"{}")
    (sound, key) = orphans(archive)
    assert (sound.forbidden, sound.in_vault, key.forbidden, key.in_vault) == (True, False, True, True)
    assert {one.name for one in purge(archive, NOW, TERMS).unlinked} == {sound.name, key.name}
    assert left(archive) == []


def test_who_looks_for_copies_that_were_left_takes_none_that_is_used(
    tmp_path: Path, bucket: Losing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that was begun at this moment, nor another's of the same process."""
    archive, locks, swept = archive_through(tmp_path, bucket), fcntl.flock, list[Path]()
    files, others = archive.files, files_again(archive, Store(":memory:"))
    assert isinstance(files, ObjectFiles) and isinstance(others, ObjectFiles)

    def late(file: Any, how: int) -> None:
        if not swept and files.spool.fetched.exists():
            swept.extend(files.spool.fetched.iterdir())
            sweep(files.spool.fetched)
        locks(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    ids = recording().id, recording(1).id
    for one, id in zip((files, others), ids, strict=True):
        write(one, id, FileKind.FLAC, id.encode())
    with (
        files.fetch(ids[0], FileKind.FLAC) as first,
        others.fetch(ids[1], FileKind.FLAC) as second,
    ):
        assert len(swept) == 1
        assert (first.read_text(), second.read_text()) == ids
    assert list(files.spool.fetched.iterdir()) == []


def test_the_commands_ask_whoever_keeps_them(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    bucket: Losing,
    moto: Moto,
) -> None:
    office: Office = make_office(tmp_path, capsys)
    row = office.call()

    def objects(config: object, store: Rows) -> RecordingFiles:
        return ObjectFiles(bucket, store.objects, local_of(tmp_path))

    with office.archive.store as store:
        files = objects(None, store)
        for kind in (FileKind.FLAC, FileKind.METADATA):
            write(files, row.id, kind, Paths(office.archive).files.path(row.id, kind).read_bytes())
        shutil.rmtree(tmp_path / "recordings")
        assert office.run("verify").code == 1
        monkeypatch.setattr("sipagent.agent.stored.files_of", objects)
        assert office.run("verify").code == 0
        out = tmp_path / "copy.wav"
        assert office.run("export", row.id, "--purpose", "quality", "--by", "Ann", "--out", out).code == 0
        assert len(soundfile.read(out)[0]) == 16000
        assert office.run("purge").code == 0 and finished(files, row.id) is FileKind.FLAC
        assert office.run("delete", row.id, "--reason", "a request", "--by", "Ann", "--yes").code == 0
        assert names_in(moto, bucket) == [] and [*files.names(Area.VAULT)] == []
    assert [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()] == []


def test_rows_say_nothing_of_where_the_spool_is(tmp_path: Path, bucket: Losing) -> None:
    archive = archive_through(tmp_path, bucket)
    row = kept.keep_by(archive, replace(recording(), path=None), FileKind.WAV)
    assert row.path == bucket.url(f"recordings/{row.id}.wav")

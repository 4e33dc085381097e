"""kill -9 at random moments of a move into a shared database and a store of objects: then it goes on."""

import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from retention.archive import Archive
from retention.files import read_moved
from retention.marks import Marks
from retention.move import MoveTarget, move
from retention.move_shared import ArrivingShared
from retention.objects.bucket import Bucket, BucketPlace
from retention.objects.object_files import ObjectBlobs, ObjectFiles
from retention.postgres.row_keys import FolderBlobs
from retention.postgres.store import SealedStore
from retention.recording_files import FileKind, LocalFiles, RecordingFiles
from retention.rows.rows import Rows
from retention.sqlite import Store
from retention.vault import Identity
from retention.verify import verify
from tests.kept import archive, keep_by, recording
from tests.moving import TRACE, entries, settled
from tests.object_store import place_of
from tests.s3 import Moto

ROUNDS = 12
ANN = Identity(bytes([1]) * 32, "Ann")


def killed_within(seconds: float, work: Callable[[], object]) -> bool:
    """Do it in a child that is killed after that time; whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    killer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
    killer.start()
    _, status = os.waitpid(child, 0)
    killer.cancel()
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def chain_of(store: Rows) -> list[tuple[object, ...]]:
    rows = store._read("SELECT * FROM chain ORDER BY seq", [])
    return [tuple(row.values()) for row in rows]


def try_at_random(here: Archive, work: Callable[[], object]) -> int:
    """Kill it until it comes to its end; how many times it was killed."""
    here.store.close()
    longest, killed = 0.5, 0
    while killed < ROUNDS and killed_within(random.uniform(0.0, longest), work):
        longest *= 1.2  # so that it comes to its end
        killed += 1
    work()  # to its end; or once more, which is no error
    return killed


def test_into_a_shared_database(tmp_path: Path, database: str) -> None:
    (tmp_path / "here").mkdir()
    here = settled(tmp_path / "here")
    before = entries(tmp_path / "here" / "retention.db")
    there = tmp_path / "there"

    def work() -> None:
        files = LocalFiles(there / "recordings", there / "vault", there)
        with ArrivingShared(database, None, FolderBlobs(there / "vault"), host="a") as rows:
            move(archive(tmp_path / "here"), MoveTarget(name="there", rows=rows, files=files), TRACE, None)

    killed = try_at_random(here, work)
    note = read_moved(tmp_path / "here" / "retention.moved")
    assert note is not None and note.done
    store = SealedStore(database, None, FolderBlobs(there / "vault"), host="a")
    kept = Archive(
        store, LocalFiles(there / "recordings", there / "vault", there), Marks(there / "recordings")
    )
    assert chain_of(store)[:-1] == before, killed
    assert [(one.where, one.problem) for one in verify(kept).problems] == []
    mine = Store(tmp_path / "here" / "retention.db")
    assert store.receipts() == mine.receipts() and store.recordings() == mine.recordings()
    assert store.accesses()[:-1] == mine.accesses()
    store.close()


def test_into_a_store_of_objects_too(tmp_path: Path, database: str, moto: Moto) -> None:
    (tmp_path / "here").mkdir()
    here = archive(tmp_path / "here")
    for number in range(12):
        row = recording(number)
        here.vault.create(row.id, [ANN.public])
        keep_by(here, row, FileKind.SEALED, b"sealed " + row.id.encode() * 100)
    before = entries(tmp_path / "here" / "retention.db")
    place = place_of(moto, tmp_path)

    def work() -> None:
        with ArrivingShared(database, None, ObjectBlobs(Bucket(place)), host="a") as rows:
            target = MoveTarget(
                name="there", rows=rows, files=objects(place, rows, tmp_path), sealed_only=True
            )
            move(archive(tmp_path / "here"), target, TRACE, None)

    killed = try_at_random(here, work)
    store = SealedStore(database, None, ObjectBlobs(Bucket(place)), host="a")
    kept = Archive(store, objects(place, store, tmp_path), Marks(tmp_path / "marks"))
    assert chain_of(store)[:-1] == before, killed
    assert [(one.where, one.problem) for one in verify(kept, deep=True).problems] == []
    store.close()


def objects(place: BucketPlace, rows: Rows, folder: Path) -> RecordingFiles:
    spool = LocalFiles(folder / "moving", folder / "moving" / "vault", folder)
    return ObjectFiles(Bucket(place), rows.objects, spool)

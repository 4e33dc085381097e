"""What recordings as objects cost: CPU of a call-minute, a purge, the memory of an hour. SeaweedFS beside it.

python -m tests.bench.objects [pieces|purge|hour]
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from retention.objects.bucket import Bucket
from retention.objects.uploads import Uploads
from retention.purge import purge
from retention.recording_files import FileKind
from retention.records import Ids, Status
from retention.sqlite import Store
from retention.vault import Identity
from tests import kept
from tests.object_store import archive_of_calls, archive_through, host_of, keep_as_objects, place_of
from tests.s3 import Weed
from tests.test_hold import LATE, TERMS

SECOND = 2 * 2 * 8000 + 200  # bytes of sealed sound
ANN = Identity(bytes([1]) * 32, "Ann")


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pieces(folder: Path, bucket: Bucket, calls: int = 50, seconds: int = 60) -> None:
    """Calls side by side, their sound written without a recorder: what the thread `uploads` costs."""
    store = Store(folder / "retention.db")
    archive, uploads, ids = (
        archive_of_calls(folder, bucket, store),
        Uploads(host_of(folder, bucket, store), 0.0),
        Ids(),
    )
    rows = [kept.recording(0, id=ids.new(kept.START)) for _ in range(calls)]
    for row in rows:
        store.add_receipt(kept.receipt(row, ended_at=None))
        archive.open(row).touch()
        archive.vault.create(row.id, [ANN.public])
    uploads.turn()
    began, used = time.monotonic(), 0.0
    for _ in range(0, seconds, 5):
        for row in rows:
            with archive.files.spool.path(row.id, FileKind.PART).open("ab") as file:
                file.write(os.urandom(5 * SECOND))
        made = cpu_s()
        uploads.turn()
        used += cpu_s() - made
    spool = archive.files.spool.path
    for row in rows:
        spool(row.id, FileKind.PART).rename(spool(row.id, FileKind.SEALED))
        archive.close(row)
    made = cpu_s()
    uploads.turn()
    print(f"{calls} calls of {seconds} s in {time.monotonic() - began:.1f} s")
    end = cpu_s() - made
    print(f"CPU of a call-minute: pieces {1000 * used / calls:.0f} ms, end {1000 * end / calls:.0f} ms")
    uploads.close()


def purged(folder: Path, bucket: Bucket, count: int = 1000) -> None:
    """A purge of recordings that are up: a key, sound and metadata of each."""
    archive, ids = archive_through(folder, bucket), Ids()
    rows = [kept.recording(0, id=ids.new(kept.START), status=Status.CLOSED) for _ in range(count)]
    keep_as_objects(archive, [(kept.receipt(row), row) for row in rows], 8)
    began, used = time.monotonic(), cpu_s()
    report = purge(archive, LATE, TERMS)
    lasted = time.monotonic() - began
    assert len(report.removed) == count and not report.failed, report.failed[:3]
    print(f"purged {count} in {lasted:.1f} s: {count / lasted:.0f} a second, CPU {cpu_s() - used:.1f} s")


def hour(folder: Path, bucket: Bucket) -> None:
    """The finished file of an hour goes up and is fetched again: how much memory that takes."""
    archive = archive_through(folder, bucket)
    row = kept.recording()
    archive.store.add_receipt(kept.receipt(row))
    with archive.open(row).open("wb") as file:
        for _ in range(3600):
            file.write(os.urandom(SECOND))
    spool = archive.files.spool.path
    spool(row.id, FileKind.PART).rename(spool(row.id, FileKind.SEALED))
    bucket.look("nothing")  # what the library takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    archive.close(row)
    with archive.files.fetch(row.id, FileKind.SEALED) as copy:
        size = copy.stat().st_size
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"an hour, {size >> 20} MiB, up and back: {more >> 10} MiB more memory")


JOBS: dict[str, Callable[[Path, Bucket], None]] = {"pieces": pieces, "purge": purged, "hour": hour}


def main(asked: list[str]) -> None:
    """Those that are asked for, or all."""
    with Weed(Path(tempfile.mkdtemp()) / "weed") as store:
        store.start()
        for name in asked or JOBS:
            with tempfile.TemporaryDirectory() as folder:
                JOBS[name](Path(folder), Bucket(place_of(store, Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1:])

"""How fast the purge removes recordings whose sound, key and metadata are objects."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from retention.archive import Archive
from retention.files import Places
from retention.marks import Marks
from retention.objects.bucket import PARALLEL, Bucket, BucketPlace
from retention.objects.object_files import ObjectBlobs, ObjectFiles
from retention.purge import purge
from retention.records import Status
from tests.bench.report import Row
from tests.bench.store import NOW, TERMS, call
from tests.cluster.engines import DATABASES, STORE
from tests.object_store import keep_as_objects, local_of
from tests.postgres import primary
from tests.s3 import REGION, Weed
from tests.sealed import sealed_store

LATER = NOW + timedelta(days=400)
AT_ONCE = 200


def rows(count: int, say: Callable[[str], None]) -> list[Row]:
    """So many that have all expired, on one host that has a line of its own to either."""
    with ExitStack() as stack:
        archive = expired(stack, count, say)
        bucket = _objects(archive).bucket
        before = sum(1 for _ in bucket.versions("") or ())
        began = time.perf_counter()
        purge(archive, LATER, TERMS)
        seconds = time.perf_counter() - began
        left = sum(row.status is not Status.PURGED for row in archive.store.recordings())
        rest = [name for name, _ in bucket.versions("") or () if not name.startswith("rows/")]
    return [
        Row(
            f"purge of {count:,} with {before:,} objects, ms each",
            seconds * 1000 / count,
            5,
            "ms",
            count=count,
        ),
        Row("that is, a second", count / seconds, None, ""),
        Row("recordings and objects left", float(left + len(rest)), 0, ""),
    ]


def expired(stack: ExitStack, count: int, say: Callable[[str], None]) -> Archive:
    """A database and a store that have them."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-purge-")))
    server = primary(DATABASES[0])
    stack.callback(server.close)
    weed = stack.enter_context(Weed(folder / "weed", STORE)).start()
    place = BucketPlace(
        weed.bucket("recordings"), "kept/", weed.endpoint, REGION, weed.credentials_file(folder)
    )
    bucket = Bucket(place)
    store = stack.enter_context(sealed_store(server.database(), ObjectBlobs(bucket), host="a"))
    archive = Archive(
        store,
        ObjectFiles(bucket, store.objects, local_of(folder)),
        Marks(folder / "recordings"),
        Places(folder / "journal.db"),
    )
    for first in range(0, count, AT_ONCE):
        calls = [call(number, NOW) for number in range(first, min(first + AT_ONCE, count))]
        keep_as_objects(archive, calls, PARALLEL // 2)
        say(f"{first + len(calls)} recordings")
    return archive


def _objects(archive: Archive) -> ObjectFiles:
    assert isinstance(archive.files, ObjectFiles)
    return archive.files

"""Buckets of the tests' object stores, and one that loses answers."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from retention.archive import Archive
from retention.marks import Marks
from retention.objects.bucket import Away, Bucket, BucketPlace, object_name
from retention.objects.object_files import ObjectFiles, SpooledFiles
from retention.objects.uploads import StoringHost
from retention.recording_files import FileKind, LocalFiles
from retention.records import Receipt, Recording
from retention.rows.object_rows import ObjectRow, State, new_put
from retention.rows.rows import Rows
from retention.sqlite import Store
from tests.kept import SOUND
from tests.s3 import REGION, Moto, Weed

_NUMBERS = count(1)


def place_of(store: Moto | Weed, folder: Path, endpoint: str | None = None) -> BucketPlace:
    """A new place in a bucket that keeps versions and holds: its prefix, as where others use it too."""
    client, name = store.client, "shared-by-tests"
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        store.bucket(name)  # one: for each bucket a real store makes volumes of its own
    prefix = f"calls-{next(_NUMBERS)}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}/"
    return BucketPlace(name, prefix, endpoint or store.endpoint, REGION, store.credentials_file(folder))


class Losing(Bucket):
    """Does what is asked. `losing(what, name)`: the answer is lost; `failing(what, name)`: it is not done."""

    def __init__(self, place: BucketPlace) -> None:
        super().__init__(place, answer_s=5.0)
        self.losing: Callable[[str, str], bool] = lambda what, name: False
        self.failing: Callable[[str, str], bool] = lambda what, name: False
        self.asked: list[tuple[str, str]] = []

    def put(self, name: str, body: bytes | BinaryIO, sha256: str, *, held: bool = False) -> str | None:
        version: str | None = self._lossy(
            "put", name, lambda: super(Losing, self).put(name, body, sha256, held=held)
        )
        return version

    def remove(self, name: str, version: str | None) -> None:
        self._lossy("remove", name, lambda: super(Losing, self).remove(name, version))

    def remove_many(self, versions: Sequence[tuple[str, str]]) -> Any:
        return self._lossy("remove", versions[0][0], lambda: super(Losing, self).remove_many(versions))

    def _lossy(self, what: str, name: str, work: Callable[[], Any]) -> Any:
        self.asked.append((what, name))
        if self.failing(what, name):
            raise Away(5, "the object store does not answer", self.url(name))
        answer = work()
        if self.losing(what, name):
            raise Away(5, "the object store does not answer", self.url(name))
        return answer


def local_of(folder: Path) -> LocalFiles:
    """The spool of a host whose configuration is in `folder`."""
    return LocalFiles(folder / "recordings", folder / "vault", folder)


def now() -> datetime:
    return datetime.now(UTC)


def archive_through(folder: Path, bucket: Bucket, store: Rows | None = None) -> Archive:
    """That of commands and purge: what they do is done in the store."""
    store = store or Store(folder / "retention.db")
    return Archive(store, ObjectFiles(bucket, store.objects, local_of(folder)), Marks(folder / "recordings"))


def archive_of_calls(folder: Path, bucket: Bucket, store: Store | None = None) -> Archive:
    """That of who carries calls: it waits for no store."""
    store = store or Store(folder / "retention.db")
    return Archive(store, SpooledFiles(bucket, store.objects, local_of(folder)), Marks(folder / "recordings"))


def keep_as_objects(archive: Archive, calls: Sequence[tuple[Receipt, Recording]], at_once: int = 1) -> None:
    """Rows and objects of calls that are over, as hosts leave them; `at_once`: puts."""
    store, files = archive.store, archive.files
    assert isinstance(files, ObjectFiles)
    store.expect(2 * len(calls))
    store.keep_many([receipt for receipt, _ in calls], [recording for _, recording in calls], ())
    puts = {
        ObjectRow(
            put=new_put(),
            name=object_name(row.id, kind),
            id=row.id,
            kind=kind,
            state=State.PUTTING,
            at=row.started_at,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        ): content
        for _, row in calls
        for kind, content in (
            (FileKind.KEY, b"{}"),
            (FileKind.SEALED, SOUND),
            (FileKind.METADATA, json.dumps(row.to_json()).encode()),
        )
    }
    store.objects.intend(puts)
    bucket = files.bucket
    with ThreadPoolExecutor(at_once) as pool:
        versions = pool.map(lambda put: bucket.put(put.name, puts[put], put.sha256 or ""), puts)
        store.objects.done(zip(puts, versions, strict=True))


def host_of(folder: Path, bucket: Bucket, store: Store, marks: Marks | None = None) -> StoringHost:
    """What its threads look at."""
    return StoringHost(
        bucket=bucket,
        store=store,
        here=local_of(folder),
        marks=marks or Marks(folder / "recordings"),
        clock=now,
    )


def names_in(store: Moto | Weed, bucket: Bucket) -> list[str]:
    """The names of all versions that are there, without the prefix, sorted.

    What waits for a deletion asks this and no HEAD: SeaweedFS panics, and hangs up, on a HEAD whose newest
    version is deleted meanwhile.
    """
    prefix = bucket.place.prefix
    there = store.names(bucket.place.bucket, prefix)
    return sorted(name.removeprefix(prefix) for name, _ in there)

"""What this configuration has rows and recordings kept by: the one place that chooses."""

from pathlib import Path
from typing import TYPE_CHECKING

from retention.archive.archive import Archive
from retention.backup.manifest import DATABASE, RECORDINGS
from retention.objects.client import Bucket, BucketPlace
from retention.objects.object_files import ObjectFiles, SpooledFiles
from retention.rows.store import Store
from retention.storage.local_files import LocalFiles
from retention.storage.marks import Marks
from retention.storage.places import Places
from retention.storage.recording_files import RecordingFiles

if TYPE_CHECKING:
    from sipagent.config.load import Config


def store_of(config: "Config") -> Store:
    """The rows of all that is kept, over a connection of its own. Raises StoreError."""
    return Store(config.places.database)


def journal_of(config: "Config", worker: int | None = None) -> Store:
    """The rows that calls are written into, on this host; `worker`: whose calls begin here.

    Where hosts share a database it has them soon; elsewhere they stay here. Raises StoreError.
    """
    return Store(config.places.database, worker=worker)


def files_of(config: "Config", store: Store) -> RecordingFiles:
    """What is kept of recordings outside the database, whose rows are in `store`."""
    here, bucket = spool_of(config), bucket_of(config)
    return here if bucket is None else ObjectFiles(bucket, store.objects, here)


def files_of_calls(config: "Config", store: Store) -> RecordingFiles:
    """The same for who carries calls, and waits for no network; `store`: the one of this host."""
    here, bucket = spool_of(config), bucket_of(config)
    return here if bucket is None else SpooledFiles(bucket, store.objects, here)


def spool_of(config: "Config") -> LocalFiles:
    """What lies on this host: all of it, or what has yet to go to the store of objects."""
    return LocalFiles(config.recording.directory, config.places.vault, config.base)


def bucket_of(config: "Config") -> Bucket | None:
    """The store of objects, if there is one; it is asked nothing yet."""
    told = config.objects
    if told is None:
        return None
    place = BucketPlace(told.bucket, told.prefix, told.endpoint, told.region, told.credentials_file)
    return Bucket(place)


def files_in(root: Path) -> RecordingFiles:
    """What is kept of recordings in a backup, below its root."""
    return LocalFiles(root / RECORDINGS, Places(root / DATABASE).vault, root)


def archive_of(config: "Config", store: Store) -> Archive:
    """The recordings whose rows are in `store`."""
    return Archive(store, files_of(config, store), Marks(config.recording.directory))


def archive_of_calls(config: "Config", store: Store) -> Archive:
    """The same for who carries calls."""
    return Archive(store, files_of_calls(config, store), Marks(config.recording.directory))

"""Chooses the stores of rows and recordings by the configuration, in this one place.

A store is imported where it is chosen: to import all of them takes half a second.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from retention.archive import Archive
from retention.files import Places
from retention.marks import Marks
from retention.recording_files import Area, LocalFiles, RecordingFiles
from retention.rows.pages import Listing
from retention.rows.rows import Rows
from retention.sqlite import Store

if TYPE_CHECKING:
    from retention.accounts.accounts import Accounts
    from retention.backup import CopiedTo
    from retention.move import Arrivals
    from retention.objects.bucket import Bucket
    from retention.postgres.row_keys import Blobs, FolderBlobs
    from retention.postgres.store import SealedStore
    from retention.purge import Terms
    from sipagent.config.load import Config


def store_of(config: "Config") -> Rows:
    """The rows of all that is kept, over a connection of its own. Raises StoreError; TryAgain where hosts
    share a database that does not answer."""
    if config.shared is None:
        return Store(config.places.database)
    return shared_of(config)


def shared_of(config: "Config") -> "SealedStore":
    """Those in the database that hosts share, which is configured. Raises StoreError; TryAgain where it does
    not answer."""
    assert config.shared is not None
    from retention.postgres.store import SealedStore

    return SealedStore(
        config.shared,
        config.shared_password(),
        row_keys_of(config),
        host=config.host,
        places=config.kept_places,
    )


def accounts_of(
    config: "Config",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    seconds: Callable[[], float] | None = None,
) -> "Accounts":
    """The accounts of the page. `seconds`: a clock that never goes back, in place of the one that is meant
    for it. Raises StoreError; TryAgain where hosts share a database that does not answer."""
    places = config.places
    if config.shared is None:
        from retention.accounts.file import FileAccounts

        return FileAccounts(places.accounts, clock, moved=places.moved, seconds=seconds or monotonic)
    from retention.accounts.shared import SharedAccounts

    password, key = config.shared_password(), places.accounts_key
    return SharedAccounts(config.shared, password, key, clock, seconds=seconds)


def accounts_there(config: "Config") -> "Accounts | None":
    """The accounts of the page, for a backup or a move; None if there are none yet. Raises
    StoreError."""
    if config.shared is None:
        return accounts_of(config) if config.places.accounts.exists() else None
    from retention.accounts.shared import are_there

    return accounts_of(config) if are_there(config.shared, config.shared_password()) else None


def accounts_fault(config: "Config") -> str | None:
    """Why nobody can log in at this host, where others may; None without a fault. Raises StoreError where the
    database does not answer."""
    if config.shared is None:
        return None
    from retention.accounts.shared import fault_of_key

    return fault_of_key(config.shared, config.shared_password(), config.places.accounts_key)


def row_keys_of(config: "Config") -> "Blobs":
    """The place of the keys of shared rows; in files here until a store of objects is named."""
    from retention.postgres.row_keys import BUNDLES

    files, bucket = row_key_files(config), bucket_of(config)
    if bucket is None:
        return files
    from retention.objects.object_files import ObjectBlobs, RisingBlobs

    return RisingBlobs(bucket, files) if files.within(BUNDLES) else ObjectBlobs(bucket)


def row_key_files(config: "Config") -> "FolderBlobs":
    """Their place without a store of objects: on this host alone."""
    from retention.postgres.row_keys import FolderBlobs

    return FolderBlobs(config.places.vault)


def journal_of(config: "Config", worker: int | None = None) -> Rows:
    """The rows that calls are written into, on this host; `worker`: whose calls begin here.

    A database that hosts share gets them soon; otherwise they stay here. Raises StoreError.
    """
    if config.shared is None:
        return Store(config.places.database, worker=worker)
    from retention.journal import Journal

    return Journal(config.places.database, worker=worker)


def files_of(config: "Config", store: Rows) -> RecordingFiles:
    """The files of recordings outside the database; their rows are in `store`."""
    here, bucket = spool_of(config), bucket_of(config)
    if bucket is None:
        return here
    from retention.objects.object_files import ObjectFiles

    return ObjectFiles(bucket, store.objects, here)


def files_of_calls(config: "Config", store: Rows) -> RecordingFiles:
    """The files of recordings for a process that carries calls, and waits for no network; `store`: this
    host's."""
    here, bucket = spool_of(config), bucket_of(config)
    if bucket is None:
        return here
    from retention.objects.object_files import SpooledFiles

    return SpooledFiles(bucket, store.objects, here)


def files_apart(config: "Config", store: Rows) -> RecordingFiles:
    """The files of recordings, for a move: of a store of objects, files in the spool of this host are not
    seen, and stay."""
    bucket = bucket_of(config)
    if bucket is None:
        return spool_of(config)
    from retention.objects.object_files import ObjectFiles

    places = config.places.moving
    return ObjectFiles(bucket, store.objects, LocalFiles(places.folder, places.vault, config.base))


def spool_of(config: "Config") -> LocalFiles:
    """The files on this host: all, or those that have yet to go to the store of objects."""
    return LocalFiles(config.recording.directory, config.places.vault, config.base)


def bucket_of(config: "Config") -> "Bucket | None":
    """The store of objects, if there is one; it is asked nothing yet."""
    told = config.objects
    if told is None:
        return None
    return _bucket(told.bucket, told.prefix, told.endpoint, told.region, told.credentials_file)


@cache  # one of each in a process: what speaks to a store is slow to make
def _bucket(*place: Any) -> "Bucket":
    from retention.objects.bucket import Bucket, BucketPlace

    return Bucket(BucketPlace(*place))


def lacks_rows(config: "Config", store: Rows) -> bool:
    """Whether the store of objects has recordings, and `store` has none: then its database is another
    one, or was lost. Raises StoreError, OSError."""
    bucket = bucket_of(config)
    if bucket is None or next(store.each(Listing(table="recordings", order=("id",), limit=1)), None):
        return False
    from retention.objects.bucket import BEGINNING

    return bucket.has_any(BEGINNING[Area.RECORDINGS])


def is_here(config: "Config") -> bool:
    """Whether the rows of all that is kept are in a file of this machine."""
    return config.shared is None


def is_there(config: "Config") -> bool:
    """Whether there is a database: the file of this machine, or one that hosts share, whether it answers or
    not."""
    return config.shared is not None or config.database.exists()


def arriving_of(config: "Config") -> "Arrivals":
    """A database that is filled with the rows of another one. Raises StoreError."""
    from retention.move import Arriving, ArrivingShared

    if config.shared is None:
        return Arriving(config.places.arriving)
    return ArrivingShared(
        config.shared,
        config.shared_password(),
        row_keys_of(config),
        host=config.host,
        places=config.kept_places,
    )


def copied_to_of(store: Rows) -> "CopiedTo":
    """A function that copies these rows into a new file of this machine."""
    if isinstance(store, Store):
        return store.copied_to
    from retention.move import copied_to

    return partial(copied_to, store)


def files_in(root: Path) -> RecordingFiles:
    """The files of recordings in a backup, below its root."""
    from retention.backup import DATABASE, RECORDINGS

    return LocalFiles(root / RECORDINGS, Places(root / DATABASE).vault, root)


def archive_of(config: "Config", store: Rows) -> Archive:
    """The recordings whose rows are in `store`."""
    return Archive(store, files_of(config, store), Marks(config.recording.directory), config.places)


def terms_of(config: "Config") -> "Terms":
    """How long things are kept."""
    from retention.purge import Terms

    kept = config.retention
    return Terms(
        period=kept.period,
        receipts_period=kept.receipts_period,
        analysis_period=kept.analysis_period,
        events=config.events is not None,
    )


def archive_of_calls(config: "Config", store: Rows) -> Archive:
    """The recordings whose rows are in `store`, for who carries calls."""
    return Archive(store, files_of_calls(config, store), Marks(config.recording.directory))

"""Two threads of a host that keeps recordings as objects: one sends up, one removes.

`uploads` sends the files of the spool every second, and writes about them into the database that hosts
share; `removals` looks four times a second for objects that must go. Each has its own connection to the
rows. No call waits for either. A store that is away is logged at once, and then every hour; files that it
does not take wait on the disk.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from retention.marks import ArchiveError, Marks
from retention.objects.bucket import Bucket
from retention.objects.erase import ObjectEraser
from retention.objects.uploads import StoringHost, Uploads, tell_objects
from retention.recording_files import Area
from retention.records import Recording
from retention.rows.object_rows import Removals
from retention.rows.rows import Rows, StoreError, UnknownId
from sipagent.agent import stored
from sipagent.config.load import Config
from sipagent.service.control import Alarms, attempt

UPLOAD_S = 1.0
REMOVE_S = 0.25
LATE = timedelta(seconds=60)  # for which a removal may take its time
FAULTS = (OSError, StoreError, ArchiveError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoringFigures:
    """For how long what is not up has waited, and how much that is; `removals_pending`: recordings of which
    something should have gone from the store a minute ago."""

    object_store_up: bool = True
    uploads_behind_seconds: float = 0.0
    uploads_waiting_bytes: int = 0
    uploaded_bytes: int = 0
    upload_failures: int = 0
    removal_failures: int = 0
    removals_pending: int = 0


class Storing:
    """Both threads. `alert` is called on them."""

    def __init__(self, config: Config, bucket: Bucket, alert: Callable[[str], None]) -> None:
        self._config = config
        self._bucket = bucket
        self._alarms = Alarms(alert)
        self._over = threading.Event()
        self._uploads: Uploads | None = None
        self._refusals: ObjectEraser | None = None
        self._removals = Removals(recordings=0, since=None)
        self._shared: Rows | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(self._upload, UPLOAD_S), name="uploads"),
            threading.Thread(target=self._run, args=(self._remove, REMOVE_S), name="removals"),
        ]

    @property
    def figures(self) -> StoringFigures:
        """Their latest state. Any thread."""
        uploads, refusals = self._uploads, self._refusals
        if uploads is None or refusals is None:
            return StoringFigures()
        seen = uploads.figures
        return StoringFigures(
            object_store_up=not seen.away,
            uploads_behind_seconds=seen.behind_s,
            uploads_waiting_bytes=seen.waiting,
            uploaded_bytes=seen.sent,
            upload_failures=seen.failures,
            removal_failures=refusals.failures,
            removals_pending=self._removals.recordings,
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop each thread once its present job is done; the next start goes on."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    # both

    def _run(self, work: Callable[[ExitStack], Callable[[], None]], pause_s: float) -> None:
        """Begin anew after whatever goes wrong, with another connection."""

        def turns() -> None:
            with ExitStack() as stack:
                turn = work(stack)
                while not self._over.wait(pause_s):
                    turn()

        while not self._over.is_set():
            attempt(turns, FAULTS, partial(self._tell, threading.current_thread().name))
            self._over.wait(pause_s)

    def _host(self, store: Rows) -> StoringHost:
        return StoringHost(
            bucket=self._bucket,
            store=store,
            here=stored.spool_of(self._config),
            marks=Marks(self._config.recording.directory),
            clock=lambda: datetime.now(UTC),
            known=self._known,
            rewrite=self._rewrite,
        )

    def _tell(self, what: str, fault: str) -> None:
        self._alarms.tell(f"{what}: {fault}", name=what)

    # up

    def _upload(self, stack: ExitStack) -> Callable[[], None]:
        store = stack.enter_context(stored.journal_of(self._config))
        uploads = Uploads(self._host(store))
        risen = self._config.shared is None
        stack.callback(uploads.close)
        stack.callback(self._let_go)
        self._uploads = uploads

        def turn() -> None:
            nonlocal risen
            faults = uploads.turn()
            if faults:
                self._tell("uploads", f"{faults[0]}; what is not up waits on this disk")
            elif not uploads.pace.fails and self._alarms.end("uploads"):
                log.info("uploads", detail="the object store takes what had waited")
            if self._config.shared is not None:
                with suppress(StoreError):  # of which the thread that ships tells
                    self._tell_shared(store)
                    if not risen:
                        self._bring_up_keys()
                        risen = True

        return turn

    def _tell_shared(self, store: Rows) -> None:
        here = stored.spool_of(self._config)
        kept = {id for area in Area for _, id in here.names(area) if id is not None}
        if store.objects.untold(1):
            with self._reached() as shared:
                tell_objects(store, shared)
        store.objects.drop_told(kept)

    def _bring_up_keys(self) -> None:
        """Send up the keys of rows that were files of this host before there was an object store."""
        files = stored.row_key_files(self._config)
        with stored.shared_of(self._config) as store:
            if count := store.bring_up(files):
                log.info("uploads", detail=f"keys of rows are in the object store by now, {count} bundles")

    def _known(self, id: str) -> Recording | None:
        """Its row where all hosts have theirs; None where there is none, or nobody answers."""
        if self._config.shared is not None:
            with suppress(StoreError), self._reached() as shared:
                return shared.recording(id)
        return None

    def _rewrite(self, id: str) -> None:
        """A file whose upload fails stays in the spool, and is tried again; so does one that is being erased,
        or changed by another process."""
        with suppress(ArchiveError, StoreError), self._reached() as shared:
            stored.archive_of(self._config, shared).rewrite(id, lambda row: row)

    @contextmanager
    def _reached(self) -> Iterator[Rows]:
        """The rows that all hosts share, over a connection that is kept as long as it works."""
        try:
            if self._shared is None:
                self._shared = stored.store_of(self._config)
            yield self._shared
        except UnknownId:
            raise
        except StoreError:
            self._let_go()
            raise

    def _let_go(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    # away

    def _remove(self, stack: ExitStack) -> Callable[[], None]:
        store = stack.enter_context(stored.journal_of(self._config))
        refusals = ObjectEraser(self._host(store))
        self._refusals = refusals
        looked_at = 0.0

        def turn() -> None:
            nonlocal looked_at
            for id, fault in refusals.turn().items():
                self._tell(
                    id, f"must be removed from the object store, and is not: {fault}; it is tried again"
                )
            if time.monotonic() - looked_at >= UPLOAD_S:
                looked_at = time.monotonic()
                self._removals = store.objects.removals(datetime.now(UTC) - LATE)

        return turn


@contextmanager
def storing(config: Config, alert: Callable[[str], None]) -> Iterator[Storing | None]:
    """Have both threads run, where recordings are objects."""
    bucket = stored.bucket_of(config)
    if bucket is None:
        yield None
        return
    threads = Storing(config, bucket, alert)
    threads.start()
    try:
        yield threads
    finally:
        threads.stop()

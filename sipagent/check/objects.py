"""What `check` can tell of the store of objects: whether it does what it says, and what it still has."""

from collections.abc import Iterator
from datetime import datetime

from retention.objects.canary import try_out
from retention.rows.faults import StoreError, TryAgain
from retention.storage.recording_files import Area, FileKind
from sipagent.agent.recorder.stored import (
    bucket_of,
    is_there,
    journal_of,
    lacks_rows,
    spool_of,
    store_of,
)
from sipagent.check.private import others_may_read, readable
from sipagent.config.finding import Finding, counted, error, ok, warning
from sipagent.config.load import Config
from sipagent.service.hosts.storing import LATE

_WHERE = "objects"
_LEVELS = {"ok": ok, "warning": warning, "error": error}


def object_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Try out the bucket, if there is one. `now` is aware. Raises OSError."""
    bucket, told = bucket_of(config), config.objects
    if bucket is None or told is None:
        return
    path = told.credentials_file
    if path is not None and path.exists() and others_may_read(found := path.stat()):
        yield warning("objects.credentials_file", readable(found))
    for trial in try_out(bucket):
        yield _LEVELS[trial.level](_WHERE, f"{told.url} {trial.said}" if trial.level == "ok" else trial.said)
    if config.database.exists() or config.shared is not None:
        yield from _removals(config, now)
        yield from _rows(config, told.url)
    yield _spool(config)


def _removals(config: Config, now: datetime) -> Iterator[Finding]:
    """Of this host, and of all."""
    where, late = "objects.removals", now - LATE
    found = []
    try:
        if config.database.exists():  # else the agent makes its journal
            with journal_of(config) as journal:
                found.append(journal.objects.removals(late))
        if config.shared is not None:
            with store_of(config) as store:
                found.append(store.objects.removals(late))
    except TryAgain:  # that has been said
        return
    except StoreError as problem:
        yield error(where, str(problem))
        return
    worst = max(found, key=lambda one: one.recordings)
    if not worst.recordings or worst.since is None:
        yield ok(where, "all that had to go is gone")
        return
    since = f"{worst.since:%Y-%m-%d %H:%M} UTC"
    said = counted(worst.recordings, "recording")
    yield error(where, f"of {said} not all is removed, the first since {since}; it is tried again")


def _rows(config: Config, url: str) -> Iterator[Finding]:
    """Recordings that nobody would ever remove."""
    if not is_there(config):
        return
    try:
        with store_of(config) as store:
            if lacks_rows(config, store):
                yield error(_WHERE, f"{url} has recordings, and no row tells of any: see `sipagent rebuild`")
    except StoreError:
        return  # that has been said
    except OSError:
        return  # so has this, when the bucket was tried


def _spool(config: Config) -> Finding:
    """What is not up yet; while calls are on there is always something."""
    names = spool_of(config).each_name(Area.RECORDINGS)
    waiting = sum(name.endswith(f".{FileKind.SEALED}") for name, _ in names)
    return ok("objects.spool", f"{counted(waiting, 'finished recording')} not up yet")

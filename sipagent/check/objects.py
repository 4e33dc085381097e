"""What `check` can tell of the store of objects: whether it does what it says, and what it still has."""

from collections.abc import Iterator
from datetime import datetime

from retention.objects.canary import try_out
from retention.rows.store import StoreError
from retention.storage.recording_files import Area, FileKind
from sipagent.agent.recorder.stored import bucket_of, journal_of, spool_of, store_of
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
        yield _removals(config, now)
    yield _spool(config)


def _removals(config: Config, now: datetime) -> Finding:
    """Of this host, and of all."""
    where, late = "objects.removals", now - LATE
    try:
        with journal_of(config) as journal:
            found = [journal.objects.removals(late)]
        if config.shared is not None:
            with store_of(config) as store:
                found.append(store.objects.removals(late))
    except StoreError as problem:
        return error(where, str(problem))
    worst = max(found, key=lambda one: one.recordings)
    if not worst.recordings or worst.since is None:
        return ok(where, "all that had to go is gone")
    since = f"{worst.since:%Y-%m-%d %H:%M} UTC"
    said = counted(worst.recordings, "recording")
    return error(where, f"of {said} not all is removed, the first since {since}; it is tried again")


def _spool(config: Config) -> Finding:
    """What is not up yet; while calls are on there is always something."""
    names = spool_of(config).each_name(Area.RECORDINGS)
    waiting = sum(name.endswith(f".{FileKind.SEALED}") for name, _ in names)
    return ok("objects.spool", f"{counted(waiting, 'finished recording')} not up yet")

"""What `check` can tell of what is kept: whether it is removed in time, holds are reviewed, the chain is
whole.

Reads the database and changes nothing in it; only `verify` reads every entry and every file.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from retention.archive.archive import Archive
from retention.archive.erasure import stuck
from retention.archive.reserve import lasting_problems
from retention.rows.chain_head import DAMAGED, ChainHeadError, damaged_path, read_head
from retention.rows.faults import TryAgain
from retention.rows.rows import Rows
from retention.rows.store import StoreError
from retention.rules.clock import ClockReading, read_clock, suspended
from retention.rules.hold import reviews_overdue
from retention.rules.purge import OVERDUE, ahead_of, due, plan
from retention.stamps.stamp import proven
from retention.storage.places import Places
from sipagent.agent.recorder.stored import archive_of, is_here, store_of
from sipagent.config.finding import Finding, counted, error, ok
from sipagent.config.load import Config
from sipagent.service.purging import RESUMES


def retention_findings(
    config: Config, now: datetime, read_clock: Callable[[], ClockReading] = read_clock
) -> Iterator[Finding]:
    """Look into an existing database. `now` is aware. Raises OSError."""
    try:
        with store_of(config) as store:
            yield _purge(config, store, now, read_clock)
            yield from _keys(store)
            yield _reserves(config.places)
            yield _erasures(archive_of(config, store))
            yield _holds(store, now.astimezone(config.service.timezone))
            yield _chain(store, config.kept_places.head)
    except StoreError as problem:
        if is_here(config) or not isinstance(problem, TryAgain):  # that it does not answer has been said
            yield error("retention.database", str(problem))


def _purge(config: Config, store: Rows, now: datetime, read_clock: Callable[[], ClockReading]) -> Finding:
    try:
        why = suspended(store, read_clock(), proven(store, config.retention.timestamp_ca))
    except OSError as problem:
        return error("purge", f"the clock cannot be looked at: {problem.filename}: {problem.strerror}")
    if why is not None:
        return error("purge", f"suspended: {why}; {RESUMES}")
    period, late = config.retention.period, now - OVERDUE
    dates = [due(row, period) for row in plan(store, late, period) if row.hold is None]
    overdue = [at for at in dates if at <= late]
    if early := ahead_of(store, now):
        return error(
            "purge", f"{early} began after now, by a wrong clock, and will stay too long: `delete` them"
        )
    if not overdue:
        return ok("purge", "nothing is overdue")
    since = f"{min(overdue):%Y-%m-%d %H:%M} UTC"
    return error("purge", f"{len(overdue)} overdue, the first since {since}: see `sipagent purge`")


def _keys(store: Rows) -> Iterator[Finding]:
    """Silent where nothing is left, as it always is without a shared database."""
    if left := store.keys_left():
        yield error(
            "purge", f"{left} keys of what was forgotten are still in the vault: see `sipagent purge`"
        )


def _erasures(archive: Archive) -> Finding:
    left = stuck(archive)
    if left:
        return error("erasures", f"{len(left)} not done, the first of {left[0]}: see `sipagent purge`")
    return ok("erasures", "all that had to be erased in its call is gone")


def _reserves(places: Places) -> Finding:
    found = lasting_problems(places)
    if found:
        return error("reserves", "; ".join(f"{name}: {problem}" for name, problem in found.items()))
    if not places.reserves():
        return ok("reserves", "are made at the start")
    return ok("reserves", "allocated, and nothing waits in them")


def _holds(store: Rows, local: datetime) -> Finding:
    late = reviews_overdue(store, local.date())
    if late:
        return error("holds", f"{late} whose review is overdue: see `sipagent holds`")
    return ok("holds", "no review is overdue")


def _chain(store: Rows, file: Path) -> Finding:
    """A head that the chain does not know: a tail was cut off, or an older database was restored."""
    try:
        head = read_head(file)
    except ChainHeadError as problem:
        return error("chain", f"{problem}, so a tail cut off would not show: see `sipagent verify`")
    if head is None and store.shared:  # other hosts may have written all that there is
        entries = counted(store.head().seq, "entry", "entries")
        return ok("chain", f"{entries}, none of them written by this host")
    if head is None:
        return error("chain", f"{file.name} is missing: a tail cut off would not show")
    if (damaged := damaged_path(file)).exists():
        return error("chain", f"{damaged.name} {DAMAGED}")
    if not store.knows(head):
        return error(
            "chain",
            f"has no entry {head.seq} as {file.name} says: its tail was cut off, or an older database came "
            "back: see `sipagent verify`",
        )
    return ok("chain", f"{counted(store.head().seq, 'entry', 'entries')}, and {file.name} names one")

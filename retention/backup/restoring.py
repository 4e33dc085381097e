"""Puts a backup back into an empty place.

What must be gone by now does not come back: sound that has expired is not copied, a mark is believed, and
before the database has its name nothing can be listened to. After that rows follow: reserves are read in,
refusals finished, a call that was on becomes a row without sound, and what has expired is purged.

After a crash the same backup can be put back again: `retention.restoring` says which one was begun.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from retention.archive.archive import Archive, ArchiveError
from retention.archive.reserve import ReserveError, take_in
from retention.backup.manifest import (
    DATABASE,
    MANIFEST,
    RECORDINGS,
    BackupError,
    Manifest,
    Taken,
    beside,
    copy,
    read_manifest,
    wrong_with,
)
from retention.recording import Access, Status, due_date, to_text
from retention.rows.selection import Selection
from retention.rows.store import StoreError, UnknownId
from retention.rules.clock import BACKWARD, FORWARD, ClockReading, Stamped, look, never, resume
from retention.rules.purge import Report, Terms, erase_pending, purge
from retention.storage.files import make_folder, private_file, sha256, share_owner, sync_folder, write_whole
from retention.storage.marks import Marks
from retention.storage.places import Places
from retention.storage.recording_files import Area, FileKind, RecordingFiles

Step = Callable[[int, int], None]  # done, total

_SHOWN = 5  # what is wrong with a backup, of so many files


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a backup is put back. `period`: the configured one."""

    places: Places
    files: RecordingFiles
    marks: Marks
    period: str | None


@dataclass(slots=True, kw_only=True)
class Settled:
    """What became of the rows. `unfinished`: calls that were on when the backup was made, and whose
    recordings are not in it; `suspended`: why nothing was purged, null if it was."""

    erased: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    suspended: str | None = None
    purged: Report | None = None


def checked(backup: Path, step: Step = lambda done, total: None) -> Manifest:
    """The manifest of a backup, every file of which is as it was. Raises BackupError, OSError."""
    manifest = read_manifest(backup)
    wrong = []
    for done, problem in wrong_with(backup, manifest):
        wrong += [problem] if problem else []
        step(done, len(manifest.files))
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BackupError(f"{backup}: {', '.join(wrong[:_SHOWN])}{more}; nothing was put back")
    return manifest


def doubt(manifest: Manifest, clock: ClockReading) -> str | None:
    """Why the clock cannot tell what has expired since; None if it can."""
    since = clock.wall - manifest.made_at
    if clock.synchronised or -BACKWARD <= since <= FORWARD:
        return None
    now, made = to_text(clock.wall), to_text(manifest.made_at)
    return f"the clock says {now}, the backup is of {made}, and nothing confirms the clock"


def refuse_what_is_there(target: Target, backup: Path) -> None:
    """Raise BackupError unless the place is empty, or this backup was begun to be put there. OSError."""
    places = target.places
    if places.restoring.exists():
        if places.restoring.read_text(encoding="ascii") != _name_of(backup):
            raise BackupError(f"{places.restoring}: another backup was begun to be put back here")
        return
    there = [path for path in (places.database, places.head, places.seed) if os.path.lexists(path)]
    there += [*places.reserves().values()]
    there += [path for path in (places.stamps, places.vault) if path.is_dir() and any(path.iterdir())]
    if there:
        raise BackupError(f"{there[0]}: is there already; accepted: an empty place")
    if names := target.files.names(Area.RECORDINGS):
        raise BackupError(f"{names[0][0]}: is there already; accepted: an empty place for recordings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A backup that was `checked`. `files`: the recordings in it."""

    backup: Path
    manifest: Manifest
    files: RecordingFiles


def put_back(source: Source, target: Target, now: datetime, step: Step = lambda done, total: None) -> int:
    """Copy it, the database last; how many recordings came back with their sound.

    Raises OSError, after which it can be repeated.
    """
    backup, manifest = source.backup, source.manifest
    places, theirs = target.places, Places(backup / DATABASE)
    make_folder(places.folder)
    if not places.restoring.exists():
        write_whole(places.restoring, _name_of(backup).encode())
    if places.database.exists():  # a run before this one came so far
        return sum(1 for one in manifest.recordings if target.files.finished(one.id))
    target.files.prepare()
    marks = Marks(backup / RECORDINGS)
    for id in marks.ids():
        if (mark := marks.read(id)) is not None:
            target.marks.sync(target.marks.make(mark))
    count = 0
    for done, one in enumerate(manifest.recordings, 1):
        if not _has_expired(one, target.period, now) and not target.marks.exists(one.id):
            _copy_recording(one.id, source.files, target.files)
            count += 1
        step(done, len(manifest.recordings))
    for there, here in beside(theirs, places):
        make_folder(here.parent)
        write_whole(here, there.read_bytes())
    _copy(theirs.database, places.arriving)
    os.sync()
    places.arriving.rename(places.database)
    sync_folder(places.folder)
    return count


def settle(
    archive: Archive,
    manifest: Manifest,
    terms: Terms,
    clock: ClockReading,
    trace: Access,
    *,
    stamped: Stamped = never,
    clock_ok: bool = False,
) -> Settled:
    """Bring the rows to what is there now, and purge; twice is no error.

    `trace`: who put it back, and when. `clock_ok`: a person says that the clock is right. Raises StoreError,
    OSError.
    """
    store, found, now = archive.store, Settled(), trace.at
    assert store.places is not None
    if store.hash_of(manifest.head["seq"]) != manifest.head["hash"]:
        raise BackupError(f"{store.places.database}: is not the database of the backup")
    for path in store.places.reserves().values():
        try:
            take_in(store, path)
        except ReserveError as error:
            found.failed.append((path.name, str(error)))
    found.erased = erase_pending(archive, now, found.failed)
    taken = {one.id for one in manifest.recordings}
    for id in _without_sound(archive, taken):
        _end(archive, id, now, found)
    store.add_access(trace)
    if clock_ok:
        resume(store, clock, trace)
    found.suspended = look(store, clock, stamped)
    if found.suspended is None:
        found.purged = purge(archive, now, terms)
        found.failed += found.purged.failed
    store.places.restoring.unlink(missing_ok=True)
    sync_folder(store.places.folder)
    return found


def _name_of(backup: Path) -> str:
    """What tells a backup from all others: the hash of its manifest."""
    return sha256(backup / MANIFEST)


def _has_expired(one: Taken, period: str | None, now: datetime) -> bool:
    due = one.expires_at if period is None else min(one.expires_at, due_date(one.started_at, period))
    return not one.held and due <= now


def _copy_recording(id: str, source: RecordingFiles, target: RecordingFiles) -> None:
    sound = source.finished(id)
    for kind in (FileKind.METADATA, *([sound] if sound else []), FileKind.KEY):
        if source.exists(id, kind):
            path = target.spool(id, kind)
            make_folder(path.parent)
            with source.fetch(id, kind) as file:
                _copy(file, path)
            target.keep(id, kind)


def _copy(source: Path, target: Path) -> None:
    """In place of one of that name, mode 0600."""
    with source.open("rb") as reading, private_file(target) as writing:
        copy(reading, writing)
    share_owner(target)


def _without_sound(archive: Archive, taken: set[str]) -> list[str]:
    """Recordings that were open, or closed and are not in the backup."""
    found = []
    for status in (Status.OPEN, Status.CLOSED):
        rows = archive.store.each_recording(Selection(status=status), lambda id, problem: None)
        found += [row.id for row in rows if row.id not in taken and archive.files.finished(row.id) is None]
    return found


def _end(archive: Archive, id: str, now: datetime, found: Settled) -> None:
    """Say in its row that its sound is not here, where its call was on; of any other `verify` says so."""
    try:
        if _was_on(archive, id):
            archive.fail(id, now)
            found.unfinished.append(id)
    except (StoreError, ArchiveError, OSError) as error:
        found.failed.append((id, str(error)))


def _was_on(archive: Archive, id: str) -> bool:
    if archive.store.recording(id).status is Status.OPEN:
        return True
    try:
        return archive.store.receipt(id).ended_at is None
    except UnknownId:
        return False

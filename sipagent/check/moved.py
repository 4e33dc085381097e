"""What `check` can tell of what `migrate` has left: a copy that outlives what is purged."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from retention.recording import RecordError
from retention.storage.moved import Moved, read_moved
from retention.storage.places import Places
from sipagent.config.finding import Finding, error, warning

_WHAT = "migrate"


def moved_findings(places: Places, now: datetime) -> Iterator[Finding]:
    """Look for databases whose rows are elsewhere by now, in the folder of the present one. `now` is aware.
    Raises OSError."""
    for path in places.notes_of_moves():
        try:
            note = read_moved(path)
        except RecordError as problem:
            yield error(_WHAT, str(problem))
            continue
        if note is not None and (file := path.with_name(note.database)).exists():
            yield _left(file, note, now, used=file == places.database)


def _left(file: Path, note: Moved, now: datetime, *, used: bool) -> Finding:
    if not note.done:
        begun = f"{file}: moving to {note.to} was begun at {note.at:%Y-%m-%d %H:%M} UTC, and not ended"
        return error(_WHAT, f"{begun}: what is there is a copy; see `sipagent migrate`")
    if used:
        return error(_WHAT, f"{file}: its rows have moved to {note.to}, and nothing is written here any more")
    said = f"{file} is still there, its rows have moved to {note.to}"
    if note.until is not None and note.until <= now:
        return error(_WHAT, f"{said}: remove it with its recordings, the first have expired")
    until = "" if note.until is None else f" by {note.until:%Y-%m-%d}"
    return warning(_WHAT, f"{said}: remove it{until}, once all goes well")

"""Exported copies: where the trace of uses says that they are, and whether they still are.

A purge removes only what is in the archive; for an export it can only say where to look. Of a copy that was
downloaded only its name is known, and who has it: nobody here can look.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from retention.recording import Recording
from retention.rows.rows import Rows
from retention.rules.use import CUT, without_person


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One exported copy.

    `path` is absolute, or only a name where the copy was downloaded and is `elsewhere`. What led to a person
    is `…` in it; then `exists` is true if any file has a path that fits. Without permission to look, and
    elsewhere, a copy counts as existing. `at` and `by` are of the latest export to that path.
    """

    path: Path
    at: datetime
    by: str | None
    exists: bool

    @property
    def elsewhere(self) -> bool:
        """Whether it was downloaded to another machine."""
        return not self.path.is_absolute()


def told(channel: str, path: Path, recording: Recording) -> str:
    r"""What the trace of an export says: `caller to "/home/durand/call.wav"`.

    The path is a JSON string, so that its end is clear; a byte that is not UTF-8 is `\udc..` in it.
    """
    return _told(channel, str(path.absolute()), recording)


def told_of_download(channel: str, name: str, recording: Recording) -> str:
    """What the trace says of an export that somebody downloads: `both to "482913.flac"`, its name alone.

    Raises ValueError for what would be a path of this machine.
    """
    if not name or "/" in name:
        raise ValueError(f"{name!r} is not the name of a file")
    return _told(channel, name, recording)


def _told(channel: str, path: str, recording: Recording) -> str:
    name = without_person(path, recording)
    quoted = json.dumps(name, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return f"{channel} to {quoted}"


def known_copies(store: Rows, id: str) -> list[Copy]:
    """Where copies of this recording went, each place once, oldest first; elsewhere, each person's.

    Raises StoreError.
    """
    return copies_of(store, [id]).get(id, [])


def copies_of(store: Rows, ids: Sequence[str]) -> dict[str | None, list[Copy]]:
    """What `known_copies` tells, of each of these that has any; up to a batch. Raises StoreError."""
    found: dict[str | None, dict[tuple[Path, str | None], Copy]] = {}
    for use in store.accesses_of(ids):
        if (use.action, use.outcome) != ("export", "done") or use.detail is None:
            continue
        path = _path(use.detail)
        here = path.is_absolute()
        place = path, None if here else use.login or use.by
        its = found.setdefault(use.recording_id, {})
        its.pop(place, None)  # in the order of the latest export
        there = not here or _exists(Path(path.anchor), path.parts[1:])
        its[place] = Copy(path=path, at=use.at, by=use.by, exists=there)
    return {id: [*its.values()] for id, its in found.items()}


def _path(detail: str) -> Path:
    """The inverse of `told`; of a detail that was altered whatever stands behind `to`."""
    path = detail.partition(" to ")[2]
    try:
        return Path(json.loads(path))
    except (ValueError, TypeError):
        return Path(path)


def _exists(folder: Path, parts: Sequence[str]) -> bool:
    if not parts:
        return True
    first, *rest = parts
    try:
        if CUT in first:
            name = re.compile(".*".join(map(re.escape, first.split(CUT))), re.DOTALL)
            there = [path for path in folder.iterdir() if name.fullmatch(path.name)]
        else:
            there = [folder / first]
            there[0].lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return any(_exists(path, rest) for path in there)

"""What a refusal writes first: a mark beside the recording, which does not wait for the database.

`ID.refused` is made as soon as the decision has been taken, then the key and the sound are unlinked, then the
rows follow, and the mark is removed. A process that finds a mark erases, whatever the rows say. The mark is
JSON of what the receipt must say in the end, without a number or a name; a mark that a crash left empty is a
refusal.

No file of a marked recording may appear any more: all code that makes a name does so inside `naming`.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from retention import files
from retention.records import Event, Json, Receipt, from_text, is_id, parse_json, to_text
from retention.texts import WithReason

SUFFIX = ".refused"
ERASED = "recording erased"  # the event that an erasure in the call leaves in a receipt

_VERSION = "sipagent-refused-1"
REFUSED, _NOT_ALLOWED = "refused", "not_allowed"
_TEXTS = ("decided_by", "phase", "dtmf_method", "keyword")
_TOLD = ("confidence", *_TEXTS)
_WHO = {"dtmf": "caller", "voice": "caller", "sip": "caller", "operator": "operator"}
_LIMIT = 1 << 16  # bytes; no mark of ours is longer


class ArchiveError(WithReason):
    """The recording is not in a state that allows this; `str()` is one line that says why."""


class MustGo(ArchiveError):
    """The recording must be erased: no file of it may appear any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Why a recording must be erased: the fields of its receipt, as far as they are known. `at` is UTC."""

    id: str
    at: datetime
    decision: str = REFUSED
    decided_by: str | None = None
    phase: str | None = None
    dtmf_method: str | None = None
    keyword: str | None = None
    confidence: float | None = None

    @classmethod
    def of(cls, receipt: Receipt, at: datetime) -> "Mark":
        """The mark of what the receipt says, or will say; `at` is the time, if the receipt has none."""
        told = {name: getattr(receipt, name) for name in _TOLD}
        decision = REFUSED if receipt.decision == REFUSED else _NOT_ALLOWED
        return cls(id=receipt.id, at=receipt.decided_at or at, decision=decision, **told)

    def onto(self, receipt: Receipt) -> Receipt:
        """The receipt as it must be. A refusal in it, which says more, stays. Nothing forgotten comes back.

        A decision that led to an erasure is written as the call would have written it.
        """
        told, forgotten = receipt, receipt.is_forgotten
        lines: list[Event] = []
        if receipt.decision not in (REFUSED, self.decision):
            decided = {name: getattr(self, name) for name in ("decision", *_TOLD)}
            decided |= {"decided_at": self.at} | ({"keyword": None} if forgotten else {})
            told = replace(told, **decided)
            by = self.decided_by or "unknown"
            lines.append(
                Event(at=self.at, what=f"decision: {self.decision} ({by})", by=_WHO.get(by, "agent"))
            )
        if not says_erased(receipt):
            lines.append(Event(at=self.at, what=ERASED, by="agent"))
        return told if forgotten else replace(told, events=(*told.events, *lines))

    def to_json(self) -> Json:
        """The fields as they are written."""
        told = {name: getattr(self, name) for name in ("decision", *_TOLD)}
        return {"version": _VERSION, "id": self.id, "at": to_text(self.at), **told}


def says_erased(receipt: Receipt) -> bool:
    """Whether a key or a spoken word in the call had its recording erased."""
    return any(event.what == ERASED for event in receipt.events)


class Marks:
    """The marks in `directory`. What is forbidden here counts before the disk has it. Safe from any
    thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._forbidden: set[str] = set()
        self._names = threading.Lock()  # held while a name is made, or the names of a recording are removed

    def path(self, id: str) -> Path:
        """Where the mark of a recording is. Raises ArchiveError for an id that is not valid."""
        if not is_id(id):
            raise ArchiveError("{0!r} is not the id of a recording", id)
        return self._directory / f"{id}{SUFFIX}"

    def ids(self) -> list[str]:
        """The ids of all marked recordings, sorted. Raises OSError."""
        try:
            names = [entry.name for entry in os.scandir(self._directory) if entry.name.endswith(SUFFIX)]
        except FileNotFoundError:
            return []
        return sorted(id for name in names if is_id(id := name.removesuffix(SUFFIX)))

    def exists(self, id: str) -> bool:
        """Whether the disk has the mark."""
        return os.path.lexists(self.path(id))

    def make(self, mark: Mark) -> int:
        """Make the mark, in one write; returns a descriptor, for `fsync` and for the caller to close.

        An existing mark that can be read stays as it is. Raises OSError.
        """
        path = self.path(mark.id)
        try:
            descriptor = _created(path)
        except FileNotFoundError:
            files.make_folder(self._directory)
            descriptor = _created(path)
        if _read(mark.id, os.pread(descriptor, _LIMIT, 0)) is None:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(mark.to_json(), ensure_ascii=False).encode() + b"\n")
            files.share_owner(path)
        return descriptor

    def sync(self, descriptor: int) -> None:
        """Make it last, and close the descriptor. Raises OSError."""
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_folder(self._directory)

    def read(self, id: str) -> Mark | None:
        """What the mark says; None if it is missing; a refusal if it cannot be read. Raises OSError."""
        path = self.path(id)
        try:
            with path.open("rb") as file:
                made = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
                content = file.read(_LIMIT)
        except FileNotFoundError:
            return None
        return _read(id, content) or Mark(id=id, at=made)

    def remove(self, id: str) -> None:
        """Remove it, once rows and files are as it says. Raises OSError."""
        if files.unlink([self.path(id)]):
            files.sync_folder(self._directory)
        self._forbidden.discard(id)

    # what may still get a name

    def forbid(self, id: str) -> None:
        """From now on no file of it may appear: a process that works on it knows before the disk does."""
        self._forbidden.add(id)

    def forbidden(self, id: str) -> bool:
        """Whether it must be erased, by this process or by a mark on the disk."""
        return id in self._forbidden or self.exists(id)

    @contextmanager
    def naming(self, id: str) -> Iterator[None]:
        """While a name of it is made: nothing of it is erased. Raises MustGo."""
        with self._names:
            self.raise_if_forbidden(id)
            yield

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """While names are removed: none is made."""
        with self._names:
            yield

    def raise_if_forbidden(self, id: str) -> None:
        """Raises MustGo for what must be erased."""
        if self.forbidden(id):
            raise MustGo("{0}: the recording is being erased", id)


def _created(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _read(id: str, content: bytes) -> Mark | None:
    try:
        return _mark(id, parse_json(content.decode()))
    except (ValueError, KeyError, TypeError):
        return None


def _mark(id: str, told: Json) -> Mark:
    """Raises KeyError, TypeError, ValueError."""
    texts = {name: told.get(name) for name in _TEXTS}
    if told["version"] != _VERSION or told["id"] != id:
        raise ValueError("of another kind, or of another recording")
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise TypeError("no text")
    confidence = told.get("confidence")
    return Mark(
        id=id,
        at=from_text(told["at"]),
        decision=_NOT_ALLOWED if told["decision"] == _NOT_ALLOWED else REFUSED,
        confidence=float(confidence) if isinstance(confidence, (int, float)) else None,
        **texts,
    )

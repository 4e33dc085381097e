"""Removes objects for good: every version that is known, and where an answer was lost, those that are not.

A removal is durable before it begins: rows that are `removing` (see `rows.object_rows`), or the mark of a
refusal. Keys go first, so that whatever cannot be removed now can't be opened any more; metadata goes
last. A put without an answer may still arrive for as long as its signature is valid; so its row stays on
the list, and is looked for again, until then.

`ObjectEraser` removes what rows and marks of this host say must go, again and again until it has gone. The
mark of a refusal is enough: it is there before any row says so. What must go is `removing` in its rows,
and stays on that list through every restart. What could not be removed is tried again after one second,
then after twice that, and so on, up to a minute.

`try_out` tries a bucket with an object of its own, which never stays: whether it does what it says. Some
stores take a legal hold and do not keep it; some keep no versions; a retention that the bucket gives
every object would keep what a caller has refused. And credentials may be allowed too little.
"""

import errno
import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from retention.marks import REFUSED
from retention.objects.bucket import (
    AT_ONCE,
    PARALLEL,
    WHOLE,
    Bucket,
    CannotHold,
    Denied,
    NoSuchObject,
    ObjectError,
    object_name,
    piece_name,
    shown,
)
from retention.objects.uploads import RetryPace, StoringHost
from retention.recording_files import Area, FileKind
from retention.rows.object_rows import UNSURE, ObjectRow, ObjectRows, State
from retention.rows.pages import BATCH, batches
from retention.rows.rows import StoreError
from retention.texts import Reason, strerror

_MOST = 1000  # versions of one name

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_ORDER = {FileKind.KEY: 0, FileKind.METADATA: 2}  # all sound between them

Wrong = dict[str, OSError]
"""What could not be removed, by the id of its recording."""


def erase_puts(bucket: Bucket, known: ObjectRows, rows: Sequence[ObjectRow], now: datetime) -> Wrong:
    """Remove these puts, keys first, and forget their rows; what went wrong. Raises StoreError.

    Holds that are ours are taken off first: the caller has decided. A row whose put has no answer stays
    until none can come any more.
    """
    wrong: Wrong = {}
    for step in range(3):
        some = [row for row in rows if _ORDER.get(FileKind(row.kind), 1) == step and row.id not in wrong]
        wrong |= _erase_some(bucket, known, some, now)
    return wrong


def erase_object(bucket: Bucket, name: str, *, through_hold: bool = True) -> bool:
    """Remove every version that has this name, whatever is known of it; whether there was any."""
    gone = False
    for _ in range(_MOST):
        seen = bucket.look(name)
        if seen is None:
            return gone
        if seen.held and not through_hold:
            raise Denied(errno.EACCES, Reason("is on legal hold"), bucket.url(name))
        _remove(bucket, name, seen.version, held=seen.held)
        gone = True
    raise ObjectError(errno.EIO, Reason("comes back whenever it is removed"), bucket.url(name))


def erase_unknown(bucket: Bucket, id: str) -> None:
    """Remove what may be there of a recording whose rows are out of reach: its key first, then all else.

    Pieces go from the last one back, so that what a crash leaves is found again.
    """
    erase_object(bucket, object_name(id, FileKind.KEY))
    last = 0
    while bucket.look(piece_name(id, last + 1)) is not None:
        last += 1
    for number in range(last, 0, -1):
        erase_object(bucket, piece_name(id, number))
    for kind in WHOLE[1:]:
        erase_object(bucket, object_name(id, kind))
    erase_hidden(bucket, id)


def erase_hidden(bucket: Bucket, id: str) -> None:
    """Remove versions behind a marker of deletion, and the marker, where the store lets us list them.

    Nothing of ours makes such markers; a person with another tool does.
    """
    for area in Area:
        for name, version in bucket.versions(shown(area, f"{id}.")) or ():
            _remove(bucket, name, version, held=False)


# steps


def _erase_some(bucket: Bucket, known: ObjectRows, rows: Sequence[ObjectRow], now: datetime) -> Wrong:
    sure = [row for row in rows if row.version]
    wrong, gone = _at_once(bucket, sure)
    unsure = [row for row in rows if not row.version]
    names = {row.name: row for row in unsure}
    for row, problem in side_by_side(lambda row: erase_object(bucket, row.name), [*names.values()]):
        if isinstance(problem, ObjectError):
            wrong[row.id] = problem
    may_arrive = [row for row in unsure if row.version is None and now < row.at + UNSURE]
    gone += [row for row in unsure if row.id not in wrong and row not in may_arrive]
    known.forget(row.put for row in gone)
    return wrong


def _at_once(bucket: Bucket, rows: Sequence[ObjectRow]) -> tuple[Wrong, list[ObjectRow]]:
    """Many in a request, one after the other: with several at a time a store was seen to be slower."""
    wrong: Wrong = {}
    gone: list[ObjectRow] = []
    plain = [row for row in rows if not row.held]
    for some in batches(plain, AT_ONCE):
        try:
            faults = bucket.remove_many([(row.name, row.version or "") for row in some])
        except ObjectError as fault:
            wrong |= {row.id: fault for row in some}
            continue
        wrong |= {row.id: faults[key] for row in some if (key := (row.name, row.version or "")) in faults}
        gone += [row for row in some if (row.name, row.version or "") not in faults]

    def erase_held(row: ObjectRow) -> None:
        _remove(bucket, row.name, row.version, held=True)

    for row, problem in side_by_side(erase_held, [row for row in rows if row.held]):
        if problem is None:
            gone.append(row)
        else:
            wrong[row.id] = problem
    return wrong, gone


def side_by_side(
    job: Callable[[Asked], Answer], several: Sequence[Asked]
) -> list[tuple[Asked, Answer | ObjectError]]:
    """What each came to, or what the store said against it."""

    def tried(one: Asked) -> tuple[Asked, Answer | ObjectError]:
        try:
            return one, job(one)
        except ObjectError as fault:
            return one, fault

    if len(several) < 2:
        return [tried(one) for one in several]
    with ThreadPoolExecutor(min(PARALLEL // 2, len(several)), "objects") as pool:
        return list(pool.map(tried, several))


def _remove(bucket: Bucket, name: str, version: str | None, *, held: bool) -> None:
    """One version, which may be gone by now; its hold is taken off first, where it is ours."""
    if held:
        with suppress(CannotHold, NoSuchObject):
            bucket.hold(name, version, on=False)
    bucket.remove(name, version)


_MOST_S = 60.0  # after which one that could not be removed is tried again


class ObjectEraser:
    """`turn` removes all that is due; one thread calls it."""

    def __init__(self, host: StoringHost) -> None:
        self.failures = 0
        self._host = host
        self._again: dict[str, RetryPace] = {}
        self._marked: set[str] = set()  # of which all was removed since they were marked

    def turn(self) -> Wrong:
        """What could not be removed now, by id. Raises StoreError, OSError."""
        now = time.monotonic()
        marks = map(self._host.marks.read, self._host.marks.ids())
        marked = [mark.id for mark in marks if mark is not None and mark.decision == REFUSED]
        self._marked &= {*marked}
        fresh = [id for id in marked if id not in self._marked and self._may(id, now)]
        wrong = self._marked_ones(fresh, now)
        listed = [id for id in self._host.store.objects.removing() if self._may(id, now)]
        for some in batches(listed, BATCH):
            wrong |= self._listed(some, now)
        self._again = {id: again for id, again in self._again.items() if again.due > now or id in wrong}
        self.failures += len(wrong)
        return wrong

    def _marked_ones(self, ids: list[str], now: float) -> Wrong:
        """Those that must go by their mark alone, whatever the database does."""
        wrong: Wrong = {}
        if not ids:
            return wrong
        try:
            self._host.store.objects.remove(ids, anyhow=True)
            wrong, erase_rest = self._listed(ids, now), erase_hidden
        except StoreError:
            erase_rest = erase_unknown
        for id in [id for id in ids if id not in wrong]:
            try:
                erase_rest(self._host.bucket, id)
            except ObjectError as fault:
                wrong[id] = fault
                self._later(id, now)
        self._marked |= {id for id in ids if id not in wrong}
        return wrong

    def _listed(self, ids: list[str], now: float) -> Wrong:
        rows = [row for row in self._host.store.objects.of(ids) if row.state is State.REMOVING]
        wrong = erase_puts(self._host.bucket, self._host.store.objects, rows, self._host.clock())
        for id in {row.id for row in self._host.store.objects.of(ids) if row.state is State.REMOVING}:
            self._later(id, now)
        return wrong

    def _may(self, id: str, now: float) -> bool:
        again = self._again.get(id)
        return again is None or again.may(now)

    def _later(self, id: str, now: float) -> None:
        self._again.setdefault(id, RetryPace(_MOST_S)).failed(now)


_CONTENT = b"sipagent check\n"
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found: `level` is `ok`, `warning` or `error`."""

    level: str
    said: str


def try_out(bucket: Bucket) -> Iterator[Trial]:
    """Put, read, hold and remove. Whatever happens, nothing stays, or it is said what does."""
    name = f"check/{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16]}"
    try:
        erase_object(bucket, name)  # of a check that was killed
        try:
            yield from _tried(bucket, name)
        finally:
            erase_object(bucket, name)
    except ObjectError as fault:
        yield Trial("error", Reason("{0}: {1}", fault.filename, strerror(fault)))


def _tried(bucket: Bucket, name: str) -> Iterator[Trial]:
    locking = bucket.locking()
    if locking.default is not None:
        yield Trial(
            "error",
            Reason(
                "gives every object a retention ({0}): what a caller has refused could not be "
                "removed; accepted: a bucket with object lock and no default retention",
                locking.default.lower(),
            ),
        )
        return  # what is put now would stay
    version = bucket.put(name, _CONTENT, _SHA256)
    if bucket.content(name) != _CONTENT:
        yield Trial("error", Reason("does not give back what was put"))
    if version is None:
        yield Trial(
            "warning", Reason("keeps no versions, and so no legal holds: a hold is kept by its row alone")
        )
        return
    if not locking.locks:
        yield Trial("warning", Reason("has no object lock: a hold is kept by its row alone"))
        return
    yield _held(bucket, name, version)


def _held(bucket: Bucket, name: str, version: str) -> Trial:
    bucket.hold(name, version, on=True)
    try:
        bucket.remove(name, version)
    except Denied:
        pretends = bucket.look(name, version) is None
    else:
        pretends = True
    if pretends:
        return Trial(
            "error", Reason("takes a legal hold and does not keep it: a hold is kept by its row alone")
        )
    bucket.hold(name, version, on=False)
    bucket.remove(name, version)
    if bucket.look(name, version) is not None:
        return Trial("error", Reason("says that it has removed what it has not"))
    return Trial("ok", Reason("keeps versions and legal holds, and removes what it must"))

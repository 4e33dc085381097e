"""Removes objects for good: every version that is known, and where an answer was lost, those that are not.

A removal is durable before it begins: rows that are `removing` (see `retention.object_rows`), or the mark of
a refusal. Keys go first, so that whatever cannot be removed now can't be opened any more; metadata goes last.
A put without an answer may still arrive for as long as its signature is valid; so its row stays on the list,
and is looked for again, until then.
"""

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from retention.object_rows import UNSURE, ObjectRow, ObjectRows
from retention.objects.client import AT_ONCE, PARALLEL, Bucket, CannotHold, Denied, NoSuchObject, ObjectError
from retention.objects.names import WHOLE, object_name, piece_name, shown
from retention.storage.recording_files import Area, FileKind

_MOST = 1000  # versions of one name

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_ORDER = {FileKind.KEY: 0, FileKind.METADATA: 2}  # all sound between them

Wrong = dict[str, OSError]
"""What could not be removed, by the id of its recording."""


def remove_rows(bucket: Bucket, known: ObjectRows, rows: Sequence[ObjectRow], now: datetime) -> Wrong:
    """Remove these puts, keys first, and forget their rows; what went wrong. Raises StoreError.

    Holds that are ours are taken off first: the caller has decided. A row whose put has no answer stays
    until none can come any more.
    """
    wrong: Wrong = {}
    for step in range(3):
        some = [row for row in rows if _ORDER.get(FileKind(row.kind), 1) == step and row.id not in wrong]
        wrong |= _remove_some(bucket, known, some, now)
    return wrong


def remove_name(bucket: Bucket, name: str, *, through_hold: bool = True) -> bool:
    """Remove every version that has this name, whatever is known of it; whether there was any."""
    gone = False
    for _ in range(_MOST):
        seen = bucket.look(name)
        if seen is None:
            return gone
        if seen.held and not through_hold:
            raise Denied(errno.EACCES, "is on legal hold", bucket.url(name))
        _remove(bucket, name, seen.version, held=seen.held)
        gone = True
    raise ObjectError(errno.EIO, "comes back whenever it is removed", bucket.url(name))


def remove_unknown(bucket: Bucket, id: str) -> None:
    """Remove what may be there of a recording whose rows are out of reach: its key first, then all else.

    Pieces go from the last one back, so that what a crash leaves is found again.
    """
    remove_name(bucket, object_name(id, FileKind.KEY))
    last = 0
    while bucket.look(piece_name(id, last + 1)) is not None:
        last += 1
    for number in range(last, 0, -1):
        remove_name(bucket, piece_name(id, number))
    for kind in WHOLE[1:]:
        remove_name(bucket, object_name(id, kind))
    remove_hidden(bucket, id)


def remove_hidden(bucket: Bucket, id: str) -> None:
    """Remove versions behind a marker of deletion, and the marker, where the store lets us list them.

    Nothing of ours makes such markers; a person with another tool does.
    """
    for area in Area:
        for name, version in bucket.versions(shown(area, f"{id}.")) or ():
            _remove(bucket, name, version, held=False)


# steps


def _remove_some(bucket: Bucket, known: ObjectRows, rows: Sequence[ObjectRow], now: datetime) -> Wrong:
    sure = [row for row in rows if row.version]
    wrong, gone = _at_once(bucket, sure)
    unsure = [row for row in rows if not row.version]
    names = {row.name: row for row in unsure}
    for row, problem in side_by_side(partial(_all_of, bucket), [*names.values()]):
        if problem is not None:
            wrong[row.id] = problem
    gone += [row for row in unsure if row.id not in wrong and not _may_arrive(row, now)]
    known.forget(row.put for row in gone)
    return wrong


def _at_once(bucket: Bucket, rows: Sequence[ObjectRow]) -> tuple[Wrong, list[ObjectRow]]:
    """Many in a request, one after the other: with several at a time a store was seen to be slower."""
    wrong: Wrong = {}
    gone: list[ObjectRow] = []
    plain = [row for row in rows if not row.held]
    for some in (plain[start : start + AT_ONCE] for start in range(0, len(plain), AT_ONCE)):
        try:
            faults = bucket.remove_many([(row.name, row.version or "") for row in some])
        except ObjectError as fault:
            wrong |= {row.id: fault for row in some}
            continue
        wrong |= {row.id: faults[key] for row in some if (key := (row.name, row.version or "")) in faults}
        gone += [row for row in some if (row.name, row.version or "") not in faults]
    for row, problem in side_by_side(partial(_remove_row, bucket), [row for row in rows if row.held]):
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


def _remove_row(bucket: Bucket, row: ObjectRow) -> None:
    _remove(bucket, row.name, row.version, held=row.held)


def _all_of(bucket: Bucket, row: ObjectRow) -> None:
    remove_name(bucket, row.name)


def _remove(bucket: Bucket, name: str, version: str | None, *, held: bool) -> None:
    """One version, which may be gone by now; its hold is taken off first, where it is ours."""
    if held:
        with suppress(CannotHold, NoSuchObject):
            bucket.hold(name, version, on=False)
    bucket.remove(name, version)


def _may_arrive(row: ObjectRow, now: datetime) -> bool:
    """Whether its put may still be done by the store, though nobody waits for the answer."""
    return row.version is None and now < row.at + UNSURE

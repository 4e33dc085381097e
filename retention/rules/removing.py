"""How recordings are removed, a batch at a time; each step can be repeated, and a crash after any is no harm.

Their rows become `purging`, in one transaction that looks at what holds them; their keys go, then their
sound, then their metadata; their rows become tombstones, in one transaction. What could not be removed stays
`purging`, and the next purge tries again.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from retention.archive.archive import Archive
from retention.recording import Access
from retention.rows.chain import ChainHead
from retention.rows.faults import NoRoom

_IN_FLIGHT = 2  # batches that a store of objects removes, while others are begun and ended


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the ids that were `asked` for: `wrong` has what could not be removed.

    `left` were purged, or put on hold, in the meantime.
    """

    asked: Sequence[str]
    left: Sequence[str]
    wrong: dict[str, OSError]
    ended: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Begun:
    """Of the ids that were `asked` for, those whose rows are `purging`."""

    asked: Sequence[str]
    ids: Sequence[str]


def removing(
    archive: Archive, batches: Iterable[Sequence[str]], at: datetime, trace: Access | None
) -> Iterator[Batch]:
    """Remove recordings whose time has come, but what is held; `trace` is written down for each, with its id.

    A store of objects is slower than a database: while it removes some, others are begun and ended. Raises
    StoreError.
    """
    begun = (_Begun(ids, _begun(archive, ids, trace)) for ids in batches)
    for some, wrong in _removed(archive, begun):
        there = frozenset(some.ids)
        yield Batch(
            asked=some.asked,
            left=[id for id in some.asked if id not in there],
            wrong=wrong,
            ended=archive.end_purges([id for id in some.ids if id not in wrong], at),
        )


def finish(archive: Archive, id: str, now: datetime) -> ChainHead:
    """Remove the files of one recording whose purge has begun, and end it; the entry of the chain about it.

    Raises OSError for what cannot be removed: the next purge tries again; StoreError.
    """
    for error in archive.remove([id]).values():
        raise error
    with archive.store.write():
        archive.end_purge(id, now)
        return archive.store.head()


def _begun(archive: Archive, ids: Sequence[str], trace: Access | None) -> Sequence[str]:
    try:
        return _begun_rows(archive, ids, trace)
    except NoRoom:
        with archive.store.write():  # needs no room itself: the removed files make room for the rows
            archive.remove([row.id for row in archive.free(ids)], here=True)
            return _begun_rows(archive, ids, trace)


def _begun_rows(archive: Archive, ids: Sequence[str], trace: Access | None) -> Sequence[str]:
    if trace is not None:
        archive.store.expect(len(ids))
    with archive.store.write():
        began = archive.begin_purges(ids)
        if trace is not None:
            archive.store.add_accesses([replace(trace, recording_id=id) for id in began])
    return began


def _removed(archive: Archive, begun: Iterable[_Begun]) -> Iterator[tuple[_Begun, dict[str, OSError]]]:
    """What was begun, each with what could not be removed of it."""
    if archive.files.at_once == 1:  # nobody waits for a disk
        yield from ((some, archive.remove(some.ids)) for some in begun)
        return
    waiting: deque[tuple[_Begun, Future[dict[str, OSError]]]] = deque()
    with ThreadPoolExecutor(_IN_FLIGHT, "removing") as aside:
        for some in begun:
            waiting.append((some, aside.submit(archive.remove, some.ids)))
            if len(waiting) > _IN_FLIGHT:
                first, removal = waiting.popleft()
                yield first, removal.result()
        yield from ((some, removal.result()) for some, removal in waiting)

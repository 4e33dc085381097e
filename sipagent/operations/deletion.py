"""Forget calls before their time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from retention.archive import Archive
from retention.erase import Deletion, KeptCall, NotDeleted, delete
from retention.records import Access, Record
from retention.texts import reason_of
from sipagent.languages.labels import N_
from sipagent.operations.tracing import Unfinished, traced

_LEFT = N_("{0}; the next purge tries again")


@dataclass(frozen=True, kw_only=True)
class Stays(Record):
    """A call that could not be forgotten, and why."""

    id: str
    why: str


def delete_call(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete a call now; `trace.detail` says why. See `erase.delete`, with its errors, but Unfinished for a
    file that cannot be erased."""
    call = KeptCall.find(archive.store, id)
    trace = replace(trace, action="delete", recording_id=id)
    with traced(archive, trace, call.discreet, left=_LEFT):
        return delete(archive, id, trace, clock)


def delete_calls(
    archive: Archive, ids: Iterable[str], trace: Access, clock: Callable[[], datetime]
) -> Iterator[Deletion | Stays]:
    """Delete each of these, and go on where one of them stays. Raises UnknownId, StoreError."""
    for id in ids:
        try:
            yield delete_call(archive, id, trace, clock)
        except (NotDeleted, Unfinished) as why:
            yield Stays(id=id, why=reason_of(why))

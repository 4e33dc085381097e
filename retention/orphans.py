"""What rows and files do not agree on, in both directions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from retention.archive import FORMATS, Archive
from retention.recording import Status

GONE = (Status.ERASED, Status.FAILED, Status.PURGED)  # nothing of these may be on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One disagreement. `id` is null for a file that is none of ours; `name` is a file in the directory."""

    name: str
    id: str | None
    problem: str
    rowless: bool = False  # the database does not know this id
    forbidden: bool = False  # the row says that this file must not exist


def orphans(archive: Archive) -> list[Orphan]:
    """Files without a row, files whose row says that they are gone, and closed rows whose file is gone.

    Calls may come and go meanwhile: a row exists before its file, and a file before its row is closed, so
    rows are read on both sides of the listing.
    """
    before = archive.store.statuses()
    names = archive.names()
    after = archive.store.statuses()
    missing = _missing({name for name, _ in names}, before, after)
    return [*_unexpected(archive, names, after), *missing]


def _unexpected(
    archive: Archive, names: Iterable[tuple[str, str | None]], rows: Mapping[str, Status]
) -> Iterator[Orphan]:
    for name, id in names:
        if id is None:
            yield Orphan(name=name, id=None, problem="not a file of the agent")
        elif id not in rows:
            yield Orphan(name=name, id=id, problem="no row in the database", rowless=True)
        elif rows[id] in GONE and (archive.directory / name).exists():
            problem = f"the recording is {rows[id].value}; restored from a backup?"
            yield Orphan(name=name, id=id, problem=problem, forbidden=True)
        elif rows[id] is Status.CLOSED and name.endswith((".part", ".tmp")):
            yield Orphan(name=name, id=id, problem="left over from a crash; the recording is closed")


def _missing(names: set[str], before: Mapping[str, Status], after: Mapping[str, Status]) -> Iterator[Orphan]:
    for id, status in before.items():
        if status is not Status.CLOSED or after[id] is not Status.CLOSED:
            continue
        if not any(f"{id}.{format}" in names for format in FORMATS):
            yield Orphan(name=id, id=id, problem="the file of a closed recording is missing")
        if f"{id}.json" not in names:
            yield Orphan(name=f"{id}.json", id=id, problem="the metadata of a closed recording is missing")

"""What rows name, and closed recordings do not need: pieces beside the whole, versions that others replaced.

Mostly a host that others took for lost, and that lived on, has put them up: what it sends after another had
closed the recording, and the file that the other one made. Nothing of it is taken for the recording, which
goes by the hash in its row; but it would stay for as long as that. Only what is not needed whatever its host
may still tell is one: while anything waits in that host's journal, all of it stays.
"""

from collections.abc import Iterable
from functools import cache

from retention.archive.archive import Archive
from retention.object_rows import ObjectRow, State
from retention.recording import Status, host_of
from retention.rows.pages import BATCH, batches
from retention.storage.recording_files import FileKind


def leftovers(archive: Archive) -> list[ObjectRow]:
    """Those that may go. Raises StoreError."""
    store, found = archive.store, []
    heard_until = cache(store.heard_until)  # of each host
    for ids in batches(store.objects.crowded(), BATCH):
        states = store.states(ids)
        rows: dict[str, list[ObjectRow]] = {}
        for row in store.objects.of(ids):
            rows.setdefault(row.id, []).append(row)
        for id, some in rows.items():
            state = states.get(id)
            if state is None or state["status"] != Status.CLOSED.value:
                continue
            until = heard_until(host_of(id))
            found += [row for row in replaced(some, state["sha256"]) if until is not None and row.at < until]
    return found


def replaced(rows: Iterable[ObjectRow], sha256: str | None) -> list[ObjectRow]:
    """Which objects of a closed recording have others in their place; none, where its own sound is not there.

    `sha256`: of its sound, as its row has it. Pure.
    """
    by_age = sorted(rows, key=lambda row: (row.at, row.put))
    there = [row for row in by_age if row.state is State.THERE]
    own = [row for row in there if row.kind == FileKind.SEALED and row.sha256 == sha256]
    if not own:
        return []
    counts = {row.name: row for row in there} | {own[-1].name: own[-1]}
    older = [row for row in there if row.kind != FileKind.PART and row is not counts[row.name]]
    # a piece whose put has no answer may have come all the same: it is looked for by its name
    return older + [row for row in by_age if row.kind == FileKind.PART and row.state is not State.REMOVING]

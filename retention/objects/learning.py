"""Finds which objects there are where their rows are lost: the only time that anything is listed."""

import errno
from collections.abc import Callable
from datetime import datetime

from retention.object_rows import ObjectRow, ObjectRows, State, new_put
from retention.objects.client import Bucket, ObjectError
from retention.objects.names import file_of, without_number
from retention.recording import is_id
from retention.storage.marks import ArchiveError
from retention.storage.recording_files import FileKind


def learn(bucket: Bucket, known_rows: ObjectRows, clock: Callable[[], datetime]) -> None:
    """Write a row for each version that has none; of each name, only the newest stays. Raises StoreError,
    ObjectError."""
    found = bucket.versions("")
    if found is None:
        raise ObjectError(errno.EACCES, "may not be listed, and its rows are lost", bucket.url(""))
    rows: dict[str, list[ObjectRow]] = {}
    for name, version in found:  # of each name, the newest first
        row = _learnt(bucket, name, version, clock())
        if row is not None:
            rows.setdefault(name, []).append(row)
    known = {(row.name, row.version) for row in known_rows.of([*{one[0].id for one in rows.values()}])}
    new = [row for one in rows.values() for row in one if (row.name, row.version) not in known]
    known_rows.intend(new)
    known_rows.done((row, row.version) for row in new)
    known_rows.remove_puts(row.put for one in rows.values() for row in one[1:] if row in new)


def _learnt(bucket: Bucket, name: str, version: str, now: datetime) -> ObjectRow | None:
    """One version that is there; None for what is no recording's, and for a marker of deletion."""
    try:
        id, _, kind = file_of(without_number(name))[1].partition(".")
    except ArchiveError:
        return None
    if not is_id(id) or kind not in {*FileKind} or (seen := bucket.look(name, version)) is None:
        return None
    return ObjectRow(
        put=new_put(),
        name=name,
        id=id,
        kind=kind,
        state=State.PUTTING,
        at=now,
        version=version,
        bytes=seen.bytes,
        sha256=seen.sha256,
        held=seen.held,
    )

"""Brings what is up of another host's recording into the spool of this one, to be closed there.

Its caller may refuse meanwhile, where that host lives after all: so what is not gathered whole does not stay.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO

from retention.object_rows import ObjectRow
from retention.objects.client import Bucket
from retention.objects.names import PIECE, piece_name
from retention.recording import Status, host_of
from retention.rows.pages import Row
from retention.storage import files
from retention.storage.local_files import LocalFiles
from retention.storage.recording_files import Area

_PIECE = 1 << 20  # bytes of a copy


def gather(bucket: Bucket, known: Iterable[ObjectRow], spool: LocalFiles, id: str) -> bool:
    """Put the pieces together as PART; whether any was there. `known`: rows of those that have one.

    Raises ObjectError, OSError.
    """
    part = spool.path(id, PIECE)
    spool.prepare()
    found = 0
    try:
        with files.private_file(part) as writing:
            found = _gathered(bucket, {row.name: row for row in known}, writing, id)
            writing.flush()
            os.fsync(writing.fileno())
    finally:
        if not found:
            files.unlink([part])
    files.sync_folder(part.parent)
    return found > 0


def forget_gathered(
    spool: LocalFiles, host: str | None, states: Callable[[Sequence[str]], Mapping[str, Row]]
) -> list[str]:
    """Remove what a process of this host that died had gathered of others' recordings, once these have an
    end; ids. `states`: what rows say of them."""
    parts = [id for name, id in spool.each_name(Area.RECORDINGS) if id and name.endswith(f".{PIECE}")]
    known = states([id for id in parts if host_of(id) != host])
    over = [id for id, row in known.items() if row["status"] != Status.OPEN.value]
    files.unlink([spool.path(id, PIECE) for id in over])
    return over


def _gathered(bucket: Bucket, known: Mapping[str, ObjectRow], writing: BinaryIO, id: str) -> int:
    """How many pieces."""
    number = 0
    while True:
        name = piece_name(id, number + 1)
        row = known.get(name)
        if row is None and bucket.look(name) is None:
            return number
        version = None if row is None else row.version or None
        with bucket.read(name, version=version) as stream:
            while piece := bucket.next_bytes(name, stream, _PIECE):
                writing.write(piece)
        number += 1

"""Forget a call before its time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from retention.archive import Archive
from retention.erase import Deletion, KeptCall, delete
from retention.records import Access
from sipagent.operations.tracing import traced


def attempt_delete(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete a call now; `trace.detail` says why. See `erase.delete`, with its errors."""
    call = KeptCall.find(archive.store, id)
    trace = replace(trace, action="delete", recording_id=id)
    with traced(archive, trace, call.discreet):
        return delete(archive, id, trace, clock)

"""Hold a recording as testimony, renew the hold, release it; list what is on hold. Two names at a shell: see
`approvals` for two logins.
"""

from dataclasses import dataclass, replace
from datetime import date

from retention.archive import Archive
from retention.holds import HoldError, holds, is_overdue, place, release, why_no_hold
from retention.records import Access, Hold, Recording
from retention.rows.rows import Rows
from sipagent.operations.approvals import Rules
from sipagent.operations.tracing import UNCHANGED, traced


@dataclass(frozen=True, kw_only=True)
class HeldRecording(Recording):
    """A recording on hold: an item of `holds --json`."""

    review_overdue: bool


def held(store: Rows, today: date) -> list[HeldRecording]:
    """What is on hold, overdue reviews first; `today` in the service's time zone. Raises StoreError."""
    return [HeldRecording.of(row, review_overdue=is_overdue(row, today)) for row in holds(store)]


def hold(
    archive: Archive, recording: Recording, wanted: Hold, trace: Access, rules: Rules, *, renew: bool = False
) -> Recording:
    """Put a recording on hold, or renew the hold; as it is now.

    Raises HoldError, UnknownId, StoreError, ArchiveError; Unfinished for a file that cannot be written.
    """
    trace = replace(
        trace,
        action="hold",
        recording_id=recording.id,
        by=trace.by or wanted.by,
        reference=wanted.reference,
    )
    with traced(archive, trace, recording, left=UNCHANGED):
        if (reason := why_no_hold(wanted, rules.grounds, rules.today)) is not None:
            raise HoldError(reason)
        return place(archive, recording.id, wanted, trace, renew=renew)


def end_hold(archive: Archive, recording: Recording, trace: Access) -> Recording:
    """Release a recording; `trace.detail` says why. Raises HoldError, UnknownId, StoreError, ArchiveError,
    OSError."""
    trace = replace(trace, action="release", recording_id=recording.id)
    with traced(archive, trace, recording):
        return release(archive, recording.id, trace)

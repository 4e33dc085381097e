"""Holds, releases, deletes, files an analysis: for commands, page and interface alike.

What is refused or fails leaves a line in the trace. What is done leaves its own, in the transaction that does
it.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime

from retention.archive.archive import Archive, ArchiveError
from retention.recording import Access, Recording
from retention.rules.deletion import Deletion, KeptCall, NotDeleted, delete
from retention.rules.hold import Hold, HoldError, place, release, why_not
from retention.rules.note import Filed, NotFiled, file_note
from retention.rules.note import why_not as why_not_filed
from retention.rules.use import discreet, what_goes

Discreet = Callable[[Access], Access]


class NamesPerson(NotFiled):
    """The analysis names the caller or the operator, and nobody has agreed to cut that out.

    `going`: what would be cut out, each in its line.
    """

    def __init__(self, going: list[str]) -> None:
        super().__init__("its text names the caller or the operator")
        self.going = going


def attempt_hold(
    archive: Archive,
    recording: Recording,
    hold: Hold,
    trace: Access,
    *,
    grounds: Collection[str],
    today: date,
    renew: bool = False,
) -> Recording:
    """Put a recording on hold, or renew the hold.

    `grounds` are those that are configured; `today` is the day in the service's zone. Raises HoldError,
    UnknownId, StoreError, ArchiveError, OSError.
    """
    trace = replace(trace, action="hold", by=trace.by or hold.by, reference=hold.reference)
    with _traced(archive, trace, recording.id, lambda told: discreet(told, recording)):
        if (reason := why_not(hold, grounds, today)) is not None:
            raise HoldError(reason)
        return place(archive, recording.id, hold, trace, renew=renew)


def attempt_release(archive: Archive, recording: Recording, trace: Access) -> Recording:
    """Release a hold; `trace.detail` says why. Raises the errors of `attempt_hold`."""
    trace = replace(trace, action="release")
    with _traced(archive, trace, recording.id, lambda told: discreet(told, recording)):
        return release(archive, recording.id, trace)


def attempt_delete(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete a call now; `trace.detail` says why. See `deletion.delete`, with its errors."""
    call = KeptCall.find(archive.store, id)
    trace = replace(trace, action="delete")
    with _traced(archive, trace, id, call.discreet):
        return delete(archive, id, trace, clock)


def what_would_go(archive: Archive, recording: Recording, text: str) -> list[str]:
    """What of an analysis would be cut out, each in its line; nothing of one that would not be filed."""
    uses = archive.store.each_access(recording.id)
    return [] if why_not_filed(recording, uses) else what_goes(text, recording)


def attempt_note(
    archive: Archive,
    recording: Recording,
    text: str,
    trace: Access,
    *,
    period: str,
    erase: bool,
    agreed: bool,
) -> Filed:
    """File an analysis: see `note.file_note`, with its errors. `agreed`: to what would be cut out of it.

    Raises NamesPerson, too.
    """
    trace = replace(trace, action="note")
    with _traced(archive, trace, recording.id, lambda told: discreet(told, recording)):
        if not agreed and (going := what_would_go(archive, recording, text)):
            raise NamesPerson(going)
        return file_note(archive, recording.id, text, trace, period, erase=erase)


@contextmanager
def _traced(archive: Archive, trace: Access, id: str, without_person: Discreet) -> Iterator[None]:
    """Leave a line in the trace for what is refused or fails, and raise it again."""

    def tell(outcome: str, why: Exception) -> None:
        told = replace(trace, recording_id=id, outcome=outcome, detail=str(why))
        archive.store.add_access(without_person(told))

    try:
        yield
    except (HoldError, NotDeleted, NotFiled) as refusal:
        tell("refused", refusal)
        raise
    except (ArchiveError, OSError) as error:
        tell("failed", error)
        raise

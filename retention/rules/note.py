"""The analysis of a call that somebody listened to, and the audio that may go once it is filed.

A recording that serves quality alone need not outlive its analysis: where the configuration says so, it goes
then (what the French regulator calls a buffer; CNIL, deliberation 2014-474). The note is filed and the row
becomes `purging` in one transaction, so that no crash erases what was not analysed, and the next purge
finishes what one left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from retention.archive.archive import Archive, why_held
from retention.recording import Access, Note, Recording, due_date
from retention.rules.copies import Copy, known_copies
from retention.rules.purge import finish
from retention.rules.use import discreet, nothing_to_use, without_person

LISTENED = ("export", "play")


class NotFiled(Exception):
    """The note is not filed; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """What was done. `note` is as it is kept; `recording` as it was.

    `erased`: the audio goes now; `copies` of it were exported, and still are where they were put. `held`: why
    it does not although it should.
    """

    note: Note
    recording: Recording
    erased: bool
    held: str | None
    copies: tuple[Copy, ...]


def file_note(archive: Archive, id: str, text: str, trace: Access, period: str, *, erase: bool) -> Filed:
    """File an analysis by `trace.by` for `period`; then erase the audio, if so told and nothing holds it.

    What leads to the two who spoke is cut out: a note outlives the recording.
    Raises NotFiled, UnknownId, StoreError; OSError for a file that does not go, which the next purge tries
    again.
    """
    store = archive.store
    with store.write():
        recording = store.recording(id)
        if (reason := why_not(recording, store.each_access(id))) is not None:
            raise NotFiled(reason)
        trace = discreet(replace(trace, action="note", recording_id=id), recording)
        note = Note(
            recording_id=id,
            at=trace.at,
            by=trace.by,
            text=without_person(text, recording),
            expires_at=due_date(trace.at, period),
        )
        store.add_note(note)
        erased = erase and archive.begin_purge(id)
        held = why_held(archive, recording) if erase else None
        store.add_access(replace(trace, detail="the audio goes" if erased else _stays(held)))
        if erased:
            store.add_access(replace(trace, action="purge", detail="analysed"))
    if erased:
        finish(archive, id, trace.at)
    copies = known_copies(store, id) if erased else []
    return Filed(
        note=note,
        recording=recording,
        erased=erased,
        held=held,
        copies=tuple(copy for copy in copies if copy.exists),
    )


def why_not(recording: Recording, uses: Iterable[Access]) -> str | None:
    """Why there is nothing to analyse, in one line; None where there is."""
    if (reason := nothing_to_use(recording)) is not None:
        return reason
    if any(use.action in LISTENED and use.outcome == "done" for use in uses):
        return None
    return "nobody has listened to it: an analysis comes after an export or a play"


def _stays(held: str | None) -> str | None:
    return held and f"the audio stays, it is {held}"

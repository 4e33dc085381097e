"""The analysis of a call that somebody listened to, and the audio that may be erased once it is filed.

A recording that serves only quality need not outlive its analysis: if the configuration says so, it is erased
then (the French regulator calls this a buffer; CNIL, deliberation 2014-474). The note is filed and the row
becomes `purging` in one transaction, so that no crash erases what was not analysed, and the next purge
finishes what a crash left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from retention.archive.archive import Archive, why_held
from retention.recording import Access, Note, Recording, due_date
from retention.rules.copies import Copy, known_copies
from retention.rules.removing import finish
from retention.rules.use import discreet, nothing_to_use, without_person

LISTENED = ("export", "play")


class NotFiled(Exception):
    """The note is not filed; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """What was done. `note` as it is kept; `recording` as it was before.

    `erased`: the audio is erased now; `copies` of it were exported, and still exist. `held`: why it is kept
    although it should be erased.
    """

    note: Note
    recording: Recording
    erased: bool
    held: str | None
    copies: tuple[Copy, ...]


def file_note(archive: Archive, id: str, text: str, trace: Access, period: str, *, erase: bool) -> Filed:
    """File an analysis by `trace.by` for `period`; then erase the audio, if asked to and nothing holds it.

    What leads to caller or operator is cut out: a note outlives the recording. Raises NotFiled, UnknownId,
    StoreError; OSError for a file that cannot be removed: the next purge tries again.
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
    """Why there is nothing to analyse, in one line; None if there is something."""
    if (reason := nothing_to_use(recording)) is not None:
        return reason
    if any(use.action in LISTENED and use.outcome == "done" for use in uses):
        return None
    return "nobody has listened to it: an analysis comes after an export or a play"


def _stays(held: str | None) -> str | None:
    return held and f"the audio stays, it is {held}"

"""File the analysis of a call that somebody listened to; once it is filed, the audio may be erased.

A recording that serves only quality need not outlive its analysis: if the configuration says so, it is
erased then (the French regulator calls this a buffer; CNIL, deliberation 2014-474). The note is filed and
the row becomes `purging` in one transaction, so that no crash erases what was not analysed, and the next
purge finishes what a crash left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from retention.archive import Archive, why_held
from retention.erase import begin_purge, erase_begun
from retention.records import Access, Note, Record, Recording, RuleError, due_date
from retention.texts import Reason
from retention.use import KnownCopy, discreet, nothing_to_use, remaining_copies, what_goes, without_person
from sipagent.languages.labels import N_
from sipagent.operations.tracing import traced

LISTENED = ("export", "play")


class NotFiled(RuleError):
    """The note is not filed."""


@dataclass(frozen=True, kw_only=True)
class FiledAnalysis(Record):
    """What was done: the note as it is kept.

    `erased`: the audio is erased now; `copies` of it were exported, and still exist. `held`: why it is kept
    although it should be erased.
    """

    note: Note
    erased: bool
    held: str | None
    copies: tuple[KnownCopy, ...]


def file_note(
    archive: Archive, id: str, text: str, trace: Access, period: str, *, erase: bool
) -> FiledAnalysis:
    """File an analysis by `trace.by` for `period`; then erase the audio, if asked to and nothing holds it.

    What leads to caller or operator is cut out: a note outlives the recording. Raises NotFiled, UnknownId,
    StoreError; OSError for a file that cannot be removed: the next purge tries again.
    """
    store = archive.store
    with store.write():
        recording = store.recording(id)
        if (reason := why_no_analysis(recording, store.each_access(id))) is not None:
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
        erased = erase and bool(begin_purge(archive, [id]))
        held = why_held(archive, recording) if erase else None
        store.add_access(replace(trace, detail="the audio goes" if erased else _stays(held)))
        if erased:
            store.add_access(replace(trace, action="purge", detail="analysed"))
    if erased:
        erase_begun(archive, id, trace.at)
    copies = remaining_copies(store, id) if erased else ()
    return FiledAnalysis(note=note, erased=erased, held=held, copies=copies)


def why_no_analysis(recording: Recording, uses: Iterable[Access]) -> str | None:
    """Why there is nothing to analyse, in one line; None if there is something."""
    if (reason := nothing_to_use(recording)) is not None:
        return reason
    if any(use.action in LISTENED and use.outcome == "done" for use in uses):
        return None
    return "nobody has listened to it: an analysis comes after an export or a play"


def _stays(held: str | None) -> str | None:
    return held and Reason("the audio stays, it is {0}", held)


class NamesPerson(NotFiled):
    """The analysis names the caller or the operator, and nobody has agreed to cut that out.

    `more`: what is `going` then, each in its line.
    """

    def __init__(self, going: list[str]) -> None:
        super().__init__("its text names the caller or the operator")
        self.more = {"going": going}


def what_would_go(archive: Archive, recording: Recording, text: str) -> list[str]:
    """What of an analysis would be cut out, each in its line; nothing of one that would not be filed."""
    uses = archive.store.each_access(recording.id)
    return [] if why_no_analysis(recording, uses) else what_goes(text, recording)


def attempt_note(
    archive: Archive,
    recording: Recording,
    text: str,
    trace: Access,
    *,
    period: str,
    erase: bool,
    agreed: bool,
) -> FiledAnalysis:
    """File an analysis: see `file_note`. `agreed`: to what would be cut out of it.

    Raises NamesPerson, NotFiled, UnknownId, StoreError; Unfinished for audio that cannot be erased.
    """
    trace = replace(trace, action="note", recording_id=recording.id)
    with traced(archive, trace, recording, left=N_("{0}; the note is filed, the next purge erases")):
        if not agreed and (going := what_would_go(archive, recording, text)):
            raise NamesPerson(going)
        return file_note(archive, recording.id, text, trace, period, erase=erase)

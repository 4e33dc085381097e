"""Show all that is known of a call, forget calls before their time, and answer a person's request for either.
(GDPR articles 15 and 17.)"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from retention.archive import Archive
from retention.erase import Deletion, KeptCall, NotDeleted, delete
from retention.purge import due
from retention.records import Access, Note, Receipt, Record, Recording, RuleError, reference_of
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.texts import Reason, reason_of
from retention.use import ExportedCopy, known_copies
from retention.vault import KeysError
from sipagent.config.tables import ServiceTable
from sipagent.languages.labels import N_
from sipagent.operations import Unfinished, traced
from sipagent.operations.parsing import FieldError, call_reference, caller_forms, parse_day, read_field

_LEFT = N_("{0}; the next purge tries again")


@dataclass(frozen=True, kw_only=True)
class Stays(Record):
    """A call that could not be forgotten, and why."""

    id: str
    why: str


def delete_call(archive: Archive, id: str, trace: Access, clock: Callable[[], datetime]) -> Deletion:
    """Delete a call now; `trace.detail` says why. See `erase.delete`, with its errors, but Unfinished for a
    file that cannot be erased."""
    call = KeptCall.find(archive.store, id)
    trace = replace(trace, action="delete", recording_id=id)
    with traced(archive, trace, call.discreet, left=_LEFT):
        return delete(archive, id, trace, clock)


def delete_calls(
    archive: Archive, ids: Iterable[str], trace: Access, clock: Callable[[], datetime]
) -> Iterator[Deletion | Stays]:
    """Delete each of these, and go on where one of them stays. Raises UnknownId, StoreError."""
    for id in ids:
        try:
            yield delete_call(archive, id, trace, clock)
        except (NotDeleted, Unfinished) as why:
            yield Stays(id=id, why=reason_of(why))


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSearch:
    """Whose calls: of a `caller`, by the whole number, or with a `reference`, that somebody without a number
    was told; on a `day` of the service where one is said."""

    caller: str = ""
    reference: str = ""
    day: str = ""

    def __bool__(self) -> bool:
        return bool(self.caller or self.reference)


class SeveralCalls(RuleError):
    """A reference is of several calls, perhaps of several people; `more`: their `ids`."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__("several calls have this reference; accepted: each by its id, POST /calls/ID/delete")
        self.more = {"ids": ids}


@dataclass(frozen=True, kw_only=True)
class DeletedOfPerson(Record):
    """What was forgotten of one person, and what stays."""

    deleted: tuple[Deletion, ...]
    stays: tuple[Stays, ...]


def calls_of_person(store: Rows, asked: PersonSearch, service: ServiceTable, now: datetime) -> list[KeptCall]:
    """What is kept of the calls that are meant, oldest first. Raises FieldError, StoreError.

    A part of a number would match several people: so `0612` only finds a caller with just this number.
    """
    if asked.caller and asked.reference:
        said = N_("both are given; accepted: a number, or the reference of a call")
        raise FieldError("caller", Reason(said))
    if not asked:
        said = N_("neither is given; accepted: a number, or the reference of a call")
        raise FieldError("caller", Reason(said))
    if asked.caller:
        forms = read_field("caller", asked.caller, lambda typed: caller_forms(typed, service.country))
        chosen = [Selection(number=form) for form in forms]
    else:
        chosen = [Selection(reference=read_field("reference", asked.reference, call_reference))]
    zone = service.timezone
    day = read_field("day", asked.day, lambda typed: parse_day(typed, now, zone)) if asked.day else None
    ids = {row.id for one in chosen for row in store.each_receipt(one)}
    ids |= {row.id for one in chosen for row in store.each_recording(one)}
    found = [KeptCall.find(store, id) for id in sorted(ids)]
    return [one for one in found if day in (None, one.started_at.astimezone(zone).date())]


def forget_person(
    archive: Archive,
    asked: PersonSearch,
    service: ServiceTable,
    trace: Access,
    *,
    clock: Callable[[], datetime],
) -> DeletedOfPerson:
    """Delete each of their calls; what is on hold or in progress stays. `trace.detail` says why.

    Raises FieldError, SeveralCalls, StoreError.
    """
    ids = [call.id for call in calls_of_person(archive.store, asked, service, clock())]
    if asked.reference and len(ids) > 1:
        raise SeveralCalls(ids)
    done = [*delete_calls(archive, ids, trace, clock)]
    return DeletedOfPerson(
        deleted=tuple(one for one in done if isinstance(one, Deletion)),
        stays=tuple(one for one in done if isinstance(one, Stays)),
    )


def answer_person(archive: Archive, calls: Iterable[KeptCall], trace: Access) -> None:
    """Leave the line that a person was told of these calls. Raises StoreError."""
    with archive.store.write():
        for call in calls:
            archive.store.add_access(call.discreet(replace(trace, recording_id=call.id)))


# --- all that is known of one call ---


@dataclass(frozen=True, kw_only=True)
class ShownRecording(Recording):
    """All that is known of a call with a recording: `show --json`.

    `due_at`: when the recording goes, if nothing holds it. `sealed_to`: who can listen; null if it is in
    clear, or gone.
    """

    reference: str
    due_at: datetime
    sealed_to: tuple[str, ...] | None
    receipt: Receipt | None
    notes: tuple[Note, ...]
    copies: tuple[ExportedCopy, ...]
    accesses: tuple[Access, ...]

    @property
    def recording(self) -> Recording:
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class ShownCall(Record):
    """All that is known of a call without a recording."""

    id: str
    status: None = None
    reference: str
    due_at: None = None
    sealed_to: None = None
    receipt: Receipt
    notes: tuple[Note, ...]
    copies: tuple[ExportedCopy, ...]
    accesses: tuple[Access, ...]

    @property
    def recording(self) -> None:
        """There is none."""


Shown = ShownRecording | ShownCall


def show(archive: Archive, id: str, period: str) -> Shown:
    """All that is known of an id; `period`: how long recordings are kept. Raises UnknownId, StoreError."""
    store = archive.store
    call = KeptCall.find(store, id)
    more: dict[str, Any] = {
        "reference": reference_of(id),
        "receipt": call.receipt,
        "notes": tuple(store.notes(id)),
        "copies": known_copies(store, id),
        "accesses": tuple(store.accesses(id)),
    }
    row = call.recording
    if row is None:
        return ShownCall(id=id, **more)
    return ShownRecording.of(row, due_at=due(row, period), sealed_to=_sealed_to(archive, id), **more)


def _sealed_to(archive: Archive, id: str) -> tuple[str, ...] | None:
    if not archive.vault.has(id):
        return None
    try:
        return tuple(map(str, archive.vault.recipients(id)))
    except KeysError:
        return ()  # `verify` says what is wrong with it

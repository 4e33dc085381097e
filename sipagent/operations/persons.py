"""Answer a person's request: all that is kept of them, and to forget it. (GDPR articles 15 and 17.)"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from retention.archive import Archive
from retention.erase import Deletion, KeptCall
from retention.records import Access, Record, RuleError
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.texts import Reason
from sipagent.config.tables import ServiceTable
from sipagent.languages.labels import N_
from sipagent.operations.deletion import Stays, delete_calls
from sipagent.operations.parsing import FieldError, Unreadable, call_reference, caller_forms, read_field


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


def calls_of_person(store: Rows, asked: PersonSearch, service: ServiceTable) -> list[KeptCall]:
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
    day = read_field("day", asked.day, _day) if asked.day else None
    ids = {row.id for one in chosen for row in store.each_receipt(one)}
    ids |= {row.id for one in chosen for row in store.each_recording(one)}
    found = [KeptCall.find(store, id) for id in sorted(ids)]
    return [one for one in found if day in (None, one.started_at.astimezone(service.timezone).date())]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unreadable(Reason("{text!r} is not a day; accepted: 2026-11-24", text=text)) from None


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
    ids = [call.id for call in calls_of_person(archive.store, asked, service)]
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

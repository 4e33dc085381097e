"""Legal hold: a recording that serves as testimony is kept until it is released, even after its date.

Two people place it, on a listed ground, with a reference and a date on which somebody must review it. A date
that has passed raises an alarm; it never releases. The deleting transaction and a trigger of the database
(`retention.sqlite`) refuse a purge, not this module. (GDPR article 17(3)(e), 18(2): claims and their
defence.)
"""

import unicodedata
from collections.abc import Collection
from dataclasses import replace
from datetime import date

from retention.archive import Archive
from retention.records import Access, Hold, Recording, RuleError, Status, terms
from retention.rows.object_rows import State
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.texts import Reason
from retention.use import discreet, nothing_to_use


class HoldError(RuleError):
    """The hold is not placed, or not released."""


def why_no_hold(hold: Hold, grounds: Collection[str], today: date) -> str | None:
    """Why such a hold is refused, in one line; None if it is allowed. `today` in the service's time zone."""
    for name, term in terms(Hold).items():
        if (reason := _why_not(name, term.kind, getattr(hold, name) or "", grounds, today)) is not None:
            return reason
    if same_person(hold.by, hold.approved_by):
        return Reason("{0!r} cannot approve a hold of their own; accepted: somebody else", hold.approved_by)
    return None


def _why_not(name: str, kind: str, text: str, grounds: Collection[str], today: date) -> str | None:
    if kind == "ground":
        accepted = ", ".join(grounds)
        return (
            None if text in grounds else Reason("ground {0!r} is not listed; accepted: {1}", text, accepted)
        )
    if kind == "day":
        try:
            day = date.fromisoformat(text)
        except ValueError:
            return Reason("{0!r} is not a day; accepted: 2027-05-31", text)
        return None if day > today else Reason("the review of {0} is not in the future", day)
    return None if _person(text) else Reason("--{0} is empty", name.replace("_", "-"))


def why_not_placed(recording: Recording, *, renew: bool) -> str | None:
    """Why the recording cannot take a hold, or its renewal, in one line; None if it can."""
    if (reason := nothing_to_use(recording)) is not None:
        return reason
    if recording.hold is not None and not renew:
        return Reason(
            "it is on hold already ({0}, to be reviewed {1}); accepted: --renew, after that review",
            recording.hold.get("ground"),
            recording.hold.get("review"),
        )
    return "it is not on hold, there is nothing to renew" if recording.hold is None and renew else None


def place(archive: Archive, id: str, hold: Hold, trace: Access, *, renew: bool = False) -> Recording:
    """Put a closed recording on hold; its JSON, its row and the trace (`trace`) say so when this returns.

    With `renew` the new hold replaces the present one, and no purge can come in between. A store of objects
    holds it before the row says so: where that is as far as it gets, the next purge lets it go (`agree`).
    Raises HoldError, UnknownId, StoreError, ArchiveError, OSError.
    """

    def held(row: Recording) -> Recording:
        if (reason := why_not_placed(row, renew=renew) or _why_not_yet(archive.store, id)) is not None:
            raise HoldError(reason)
        return replace(row, hold=hold.to_json())

    def tell(row: Recording) -> None:
        verb = "renewed, " if renew else ""
        detail = f"{verb}{hold.ground}, approved by {hold.approved_by}, to be reviewed {hold.review}"
        told = replace(trace, action="hold", recording_id=id, reference=hold.reference, detail=detail)
        archive.store.add_access(discreet(told, row))

    held(archive.store.recording(id))
    archive.files.hold(id, held=True)
    return archive.rewrite(id, held, tell)


def _why_not_yet(store: Rows, id: str) -> str | None:
    """A host that has the call knows of no hold in the database that it shares, and does what a key asks."""
    if not store.shared:
        return None
    receipt = store.some_receipts([id]).get(id)
    if receipt is None or receipt.ended_at is not None:
        return None
    return "its call is not over, and a key in it may still erase it; accepted: once it is over"


def release(archive: Archive, id: str, trace: Access) -> Recording:
    """Release a hold; the next purge removes what has expired. Raises the errors of `place`.

    What a store holds is let go once the row says so; where that fails, the next purge does it: `agree`.
    """

    def freed(row: Recording) -> Recording:
        if row.hold is None:
            raise HoldError(nothing_to_use(row) or "it is not on hold")
        return replace(row, hold=None)

    def tell(row: Recording) -> None:
        reference = None if row.hold is None else row.hold.get("reference")
        told = replace(trace, action="release", recording_id=id, reference=reference)
        archive.store.add_access(discreet(told, row))

    released = archive.rewrite(id, freed, tell)
    archive.files.hold(id, held=False)
    return released


def agree(archive: Archive) -> list[str]:
    """Have a store of objects hold what rows hold, and nothing else; the recordings that it was not so of.

    Raises StoreError, OSError.
    """
    store = archive.store
    known = {row.id for row in store.objects.held()}
    meant = {row.id for row in store.each_recording(Selection(held=True))}
    other = [
        id
        for id in sorted(known | meant)
        if (row := store.some_recordings([id]).get(id)) and differs(store, row)
    ]
    for id in other:
        archive.files.hold(id, held=store.recording(id).hold is not None)
    return other


def differs(store: Rows, recording: Recording) -> bool:
    """Whether any of its objects is not known to be held as its row is."""
    objects = (one for one in store.objects.of([recording.id]) if one.state is State.THERE)
    return any(one.held is (recording.hold is None) for one in objects)


def is_overdue(recording: Recording, today: date) -> bool:
    """Whether the review of its hold is overdue."""
    return recording.hold is not None and review_of(recording) < today


def holds(store: Rows) -> list[Recording]:
    """What is on hold, in the order of review, so the overdue ones first."""
    return sorted(store.each_recording(Selection(held=True)), key=review_of)


def review_of(recording: Recording) -> date:
    """The day of the review; the earliest date possible if it cannot be read, so that somebody looks."""
    try:
        return date.fromisoformat((recording.hold or {})["review"])
    except (KeyError, TypeError, ValueError):
        return date.min


def reviews_overdue(store: Rows, today: date) -> int:
    """How many holds have an overdue review."""
    return sum(
        row.status is Status.CLOSED and is_overdue(row, today)
        for row in store.each_recording(Selection(held=True))
    )


def same_person(one: str | None, other: str | None) -> bool:
    """Whether two names are of the same person, as far as names tell."""
    return one is not None and other is not None and _person(one) == _person(other)


def _person(name: str) -> str:
    """A name for comparison: spaces and capitals do not matter."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())

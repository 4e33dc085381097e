"""All calls of one person: by the whole number, or by the reference that somebody without one was told."""

from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.rules.deletion import KeptCall
from sipagent.lookup.numbers import call_reference, caller_forms


def calls_of_caller(store: Rows, typed: str, country: str) -> list[KeptCall]:
    """What is kept of the calls from this number, oldest first. Raises ValueError for what is no number.

    A part would match several people: so `0612` only finds a caller with just this number.
    """
    return _calls(store, [Selection(number=form) for form in caller_forms(typed, country)])


def calls_of_reference(store: Rows, typed: str) -> list[KeptCall]:
    """What is kept of the calls with this reference, oldest first: one, or by chance of several people.

    Raises ValueError for what is no reference.
    """
    return _calls(store, [Selection(reference=call_reference(typed))])


def _calls(store: Rows, chosen: list[Selection]) -> list[KeptCall]:
    ids = {row.id for one in chosen for row in store.each_receipt(one)}
    ids |= {row.id for one in chosen for row in store.each_recording(one)}
    return [KeptCall.find(store, id) for id in sorted(ids)]

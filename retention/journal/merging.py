"""What a row of a host's journal becomes where the shared database has one already. Pure.

The journal's row wins: who had the call knows it best. But what was done meanwhile is never undone:

- a refusal stays one, whoever knew it, and what was erased or purged stays gone;
- a hold stays, and the sound that it holds, but for what the caller refused;
- what was forgotten is not told again;
- a call that its host has ended stays as it ended, but for a refusal or an erasure: what a crash brings back
  out of a reserve may be older, and its rows have left the journal;
- `host lost`, which another host had completed the call with, gives way to what really happened; both events
  stay.

Merging is stable: merged once more with the same row of the journal, nothing changes.
"""

from dataclasses import replace
from datetime import datetime

from retention.archive.erasure import REFUSED, allows
from retention.recording import Event, Receipt, Recording, Status
from retention.storage.marks import ERASED, says_erased

LOST, LIVES = "host lost", "host back"  # events
FAILED = "failed"

_DECISION = ("decision", "decided_by", "decided_at", "phase", "dtmf_method", "keyword", "confidence")
_STAYING = (LOST, LIVES, ERASED)  # events that others may have added
_GONE = (Status.PURGING, Status.PURGED)


def lost(receipt: Receipt, at: datetime) -> Receipt:
    """The receipt of a call whose host is gone, completed."""
    event = Event(at=at, what=LOST, by="agent")
    return replace(receipt, outcome=FAILED, ended_at=at, events=(*receipt.events, event))


def is_lost(receipt: Receipt) -> bool:
    """Whether another host completed it, and its own has said nothing since."""
    told = [event.what for event in receipt.events if event.what in (LOST, LIVES)]
    return bool(told) and told[-1] == LOST


def merged_receipt(ours: Receipt, there: Receipt, at: datetime) -> Receipt:
    """`ours` is the journal's, `there` the shared one; `at` is now."""
    if _is_final(there) and not _says_more(ours, there):
        return there
    told = [event for event in there.events if event.what in _STAYING and event not in ours.events]
    if is_lost(there):
        told.append(Event(at=at, what=LIVES, by="agent"))
    merged = replace(ours, events=(*ours.events, *told))
    if there.decision == REFUSED != ours.decision:
        merged = replace(merged, **{name: getattr(there, name) for name in _DECISION})
    return merged.anonymous() if _is_forgotten(there) else merged


def merged_recording(ours: Recording, there: Recording, receipt: Receipt | None) -> Recording:
    """`receipt` is the merged one of its call."""
    gone = there.purged_at is not None or there.status in _GONE or there.status is Status.ERASED
    older = ours.status in (Status.OPEN, Status.FAILED) and there.status is Status.CLOSED
    if gone or (older and receipt is not None and _is_final(receipt)):
        return there
    if there.hold is not None:
        if ours.status is Status.ERASED and receipt is not None and receipt.decision == REFUSED:
            return ours
        if ours.status is not Status.CLOSED:
            return there
        return replace(ours, hold=there.hold, flagged=ours.flagged or there.flagged)
    if there.status is Status.OPEN or ours.status is not Status.CLOSED:
        return ours
    return replace(ours, hold=None, flagged=ours.flagged or there.flagged)


def must_go(recording: Recording, receipt: Receipt | None) -> bool:
    """Whether nothing of it may be there, neither at its host nor in a store."""
    if recording.status in (Status.ERASED, Status.FAILED, Status.PURGED) or recording.purged_at is not None:
        return True
    return recording.hold is None and receipt is not None and not allows(receipt) and _is_decided(receipt)


def _is_final(receipt: Receipt) -> bool:
    """Whether the call's own host has ended it, and was never taken for lost in it."""
    was_lost = any(event.what == LOST for event in receipt.events)
    return receipt.ended_at is not None and not was_lost and not _is_forgotten(receipt)


def _says_more(ours: Receipt, there: Receipt) -> bool:
    refused = ours.decision == REFUSED != there.decision
    return refused or (says_erased(ours) and not says_erased(there))


def _is_decided(receipt: Receipt) -> bool:
    return receipt.decision != "undecided"


def _is_forgotten(receipt: Receipt) -> bool:
    """Whether what leads to a person was taken from it. Every receipt of a call has a Call-ID before."""
    return receipt.call_id is None and not receipt.events

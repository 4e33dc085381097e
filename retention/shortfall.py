"""Whether a call has the recording that it should have had, and why it has none, or less.

A call should be recorded from the event `recording started` to `recording stopped`, or to its end, where its
caller has allowed that. What an operator's key stopped, or had not begun yet, should not. Pauses and holds
are silence of the right length in a recording, so a whole one is as long as that. One that is shorter by more
than 2 s, or has silence in the place of so much lost sound, is a fault of ours, and of the receipt's
`not_recorded_because`. What the line lost is none: the recording has what came.

Who knows it first says so: the recorder while the call is on, whoever makes the file, or whoever completes
the call of a process or a host that died.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from retention.marks import ERASED
from retention.records import MissingSound, Receipt, Recording, Status, to_text
from retention.rows.pages import Listing
from retention.rows.rows import Rows

STARTED, GOES_ON, STOPPED = "recording started", "recording goes on", "recording stopped"  # events
TOLERATED_S = 2.0
REASONS = (
    "no_key",  # a recipient's public key cannot be read, or the vault takes none
    "database",  # no row of it could be written, so none was begun
    "disk",  # the part could not be written
    "stalled",  # the disk did not answer for ten seconds
    "silenced",  # paused or held too often for one recording
    "file",  # the part is there, and its file could not be made yet
    "short",  # sound of more than 2 s is missing
    "nothing",  # no sound was kept
    "died",  # the process died in the conversation: the end may be missing
    "host_lost",  # so did the host
    "fault",  # which nobody foresaw
)
OURS = (None, "lost", "not_fed")  # of what is missing
_AGAIN = ("file", "short", "nothing")  # of which the file that is made in the end may know better


def to_be_recorded(receipt: Receipt) -> list[tuple[datetime, datetime | None]]:
    """The spans of the conversation that should be in the recording; the last one may go on."""
    spans: list[tuple[datetime, datetime | None]] = []
    for event in receipt.events:
        goes_on = bool(spans) and spans[-1][1] is None
        if event.what in (STARTED, GOES_ON) and not goes_on:
            spans.append((event.at, None))
        elif event.what == STOPPED and goes_on:
            spans[-1] = (spans[-1][0], event.at)
        elif event.what == ERASED:
            spans.clear()
    return spans


def is_recorded_now(receipt: Receipt) -> bool:
    """Whether a call that has not ended is being recorded, as far as its receipt tells."""
    spans = to_be_recorded(receipt)
    return receipt.decision == "allowed" and bool(spans) and spans[-1][1] is None


def shortfall(receipt: Receipt, recording: Recording | None) -> str | None:
    """Why a call has no recording, or less than it should have; None where it has it, or should have none.

    `recording`: in its final state; None: there is no row of it.
    """
    spans = to_be_recorded(receipt)
    if receipt.not_recorded_because not in (None, *_AGAIN):
        return receipt.not_recorded_because
    if receipt.decision != "allowed" or not spans:
        return None
    if recording is None or recording.status is Status.FAILED:
        return "nothing"
    if recording.status is not Status.CLOSED:
        return None
    end = receipt.ended_at or recording.ended_at or spans[-1][0]
    talked_s = sum(((stop or max(start, end)) - start).total_seconds() for start, stop in spans)
    kept_s = (recording.duration_s or 0.0) - _lost_s(recording)
    return "short" if talked_s - kept_s > TOLERATED_S else None


def _lost_s(recording: Recording) -> float:
    """How much sound of a channel was lost within us, or not fed, outside of pauses: of the worse one."""

    def outside_s(one: MissingSound) -> float:
        cut = (min(one.to_s, pause.to_s) - max(one.from_s, pause.from_s) for pause in recording.pauses)
        return one.to_s - one.from_s - sum(max(0.0, span) for span in cut)

    ours = [one for one in recording.missing if one.why in OURS]
    sides = (("both", None, side) for side in ("caller", "operator"))
    return max(sum(outside_s(one) for one in ours if one.channel in side) for side in sides)


def judge(store: Rows, recording: Recording) -> str | None:
    """Write what is to be said of the call of a recording that is in its final state; the reason, where it is
    a new one. Raises StoreError."""
    receipt = store.some_receipts([recording.id]).get(recording.id)
    return None if receipt is None else accuse(store, receipt, shortfall(receipt, recording))


def accuse(store: Rows, receipt: Receipt, why: str | None) -> str | None:
    """Write why there is no recording, or that there is one after all; the reason, where it is a new one.

    Raises StoreError.
    """
    if why == receipt.not_recorded_because:
        return None
    store.update_receipt(replace(receipt, not_recorded_because=why))
    return why


def not_recorded(store: Rows, since: datetime) -> Iterator[tuple[str, str]]:
    """Of calls that began since then, and should have a recording: the id, and why not. Raises StoreError."""
    listing = Listing(
        table="receipts",
        columns="id, started_at, not_recorded_because",
        order=("started_at", "id"),
        indexed="not_recorded_because IS NOT NULL",
        start=to_text(since),
    )
    for row in store.each(listing):
        yield row["id"], row["not_recorded_because"]


def told(why: str) -> str:
    """For the log, in English."""
    return f"should have been recorded, and was not, or not wholly: {why}"

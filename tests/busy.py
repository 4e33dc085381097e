"""A service with a past: made-up calls over as many days as a test wants, the same for the same seed."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from retention.records import Event, Receipt, Recording, Status, due_date, new_id
from retention.rows.pages import batches
from retention.rows.rows import Rows
from tests import kept

NUMBERS = ("+33323063006", "+33323063006", "+33323063006", "+33323063007")
OPERATORS = ("sip:201@pbx.example.net", "sip:202@pbx.example.net", "sip:203@pbx.example.net")
HOLD = {"ground": "criminal", "reference": "2026/7", "by": "A. Roux", "approved_by": "B. Petit"}
_REFUSALS = (
    ("dtmf", "rfc4733", "notice"),
    ("dtmf", "rfc4733", "window"),
    ("dtmf", "inband", "window"),
    ("dtmf", "info", "call"),
    ("voice", None, "window"),
    ("unclear", None, "window"),
)
_UNTAKEN = ((0.04, "rejected"), (0.10, "closed"), (0.16, "abandoned"), (0.18, "unavailable"))
Call = tuple[Receipt, Recording | None]


def calls(
    first: date, days: int, per_day: int, *, now: datetime, zone: ZoneInfo, seed: int = 1
) -> Iterator[Call]:
    """About `per_day` on working days, few at weekends; every row valid at `now`, recordings purged after
    six months."""
    chance = Random(seed)
    for day in (first + timedelta(days=number) for number in range(days)):
        share = 0.1 if day.weekday() >= 5 else chance.uniform(0.6, 1.4)
        for minute in sorted(chance.uniform(8 * 60, 18 * 60) for _ in range(round(per_day * share))):
            local = datetime.combine(day, time(), zone) + timedelta(minutes=minute)
            if (begun := local.astimezone(UTC).replace(microsecond=0)) < now:
                yield _call(begun, now, chance)


def fill(store: Rows, calls: Iterable[Call]) -> int:
    """Keep them; how many."""
    count = 0
    for batch in batches(calls, 1000):
        with store.write():
            for receipt, recording in batch:
                store.add_receipt(receipt)
                if recording is not None:
                    store.add_recording(recording)
        count += len(batch)
    return count


def _call(begun: datetime, now: datetime, chance: Random) -> Call:
    row = replace(
        kept.recording(), id=new_id(begun), started_at=begun, called=chance.choice(NUMBERS),
        operator=chance.choice(OPERATORS), expires_at=due_date(begun, "6 months"),
    )  # fmt: skip
    lot = chance.random()
    outcome = next((outcome for share, outcome in _UNTAKEN if lot < share), None)
    if outcome is None:
        return _connected(row, now, chance)
    ended = begun + timedelta(seconds=chance.uniform(2, 140))
    return kept.receipt(
        row, outcome=outcome, answered_at=None if outcome == "rejected" else begun, ended_at=ended,
        operator=None, recording_id=None, decision="undecided", decided_by=None,
    ), None  # fmt: skip


def _connected(row: Recording, now: datetime, chance: Random) -> Call:
    connected = row.started_at + timedelta(seconds=chance.lognormvariate(3.2, 0.7))
    talk = timedelta(seconds=chance.lognormvariate(5, 0.8))
    receipt = kept.receipt(row, answered_at=row.started_at, connected_at=connected, ended_at=connected + talk)
    lot = chance.random()
    if lot < 0.12:
        by, method, phase = chance.choice(_REFUSALS)
        refused = replace(receipt, decision="refused", decided_by=by, dtmf_method=method, phase=phase)
        if phase != "call":
            return replace(refused, recording_id=None), None
        return refused, replace(row, status=Status.ERASED, decision="refused")
    if lot < 0.14:
        stop = Event(at=connected, what="stop code", by="operator")
        stopped = replace(receipt, decision="not_allowed", decided_by="operator", events=(stop,))
        return stopped, replace(row, status=Status.ERASED, decision="not_allowed")
    if lot < 0.2:
        return replace(receipt, decision="not_allowed", decided_by="sampling", recording_id=None), None
    return receipt, _kept(row, talk, now, chance)


def _kept(row: Recording, talk: timedelta, now: datetime, chance: Random) -> Recording:
    seconds = talk.total_seconds()
    row = replace(
        row, status=Status.CLOSED, duration_s=seconds, bytes=round(seconds * 14_000), sha256="cd" * 32,
        flagged=chance.random() < 0.01, path=f"recordings/{row.id}.flac",
    )  # fmt: skip
    if chance.random() < 0.01:
        return replace(row, hold=HOLD | {"review": f"{(now + timedelta(days=30)).date()}"})
    if row.expires_at <= now:
        return row.tombstone(Status.PURGED, row.expires_at)
    return row

"""Events that are told to other programs: what happened, what waits, and what was told.

The chain is the outbox: each act writes its entry in its own transaction, so an event exists exactly if that
was committed, and no call waits for any of this. `due` reads on in the chain, from the last entry that it has
seen, and makes a row of each entry that tells of an event; rows and that number are one transaction. An id is
made of the entry's hash, so whoever makes it again, from a backup that was put back, makes the same one.

    receipt     ended_at is set: call.ended; not_recorded_because is set: call.not_recorded
    recording   status is closed, erased, purged: recording.…; hold: hold.placed, also anew, hold.released
    -           a review is overdue: hold.due; what somebody has to see to: alert

A row has no field of a person: what is sent (`body`) is made of the rows of the call at that moment, without
what `OPEN` does not name. So what was forgotten meanwhile is not sent. An alert has its line of the log,
without numbers and addresses; it goes once it was sent, or the call that it names is forgotten.

**Order** is kept for each call: its oldest event that waits is tried alone. Events without a call are one
such row of their own.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from secrets import token_hex
from typing import Any, ClassVar, cast

from retention.holds import holds, is_overdue, review_of
from retention.records import (
    Access,
    CallerIdentity,
    Json,
    LegQuality,
    MissingSound,
    Notice,
    Pause,
    Quality,
    Receipt,
    Record,
    RecordError,
    Recording,
    RuleError,
    Status,
    field_types,
    from_text,
    parse_json,
    reference_of,
    to_text,
)
from retention.rows.chain import ChainEntry, open_hold
from retention.rows.pages import Row, batches, inserting
from retention.rows.rows import Rows, UnknownId
from retention.rows.tables import OUTBOX, OUTBOX_GONE


class EventType(StrEnum):
    """What an event tells of."""

    CALL_ENDED = "call.ended"
    CALL_NOT_RECORDED = "call.not_recorded"
    RECORDING_CLOSED = "recording.closed"
    RECORDING_ERASED = "recording.erased"
    RECORDING_PURGED = "recording.purged"
    HOLD_PLACED = "hold.placed"
    HOLD_DUE = "hold.due"
    HOLD_RELEASED = "hold.released"
    ALERT = "alert"


class Delivery(StrEnum):
    """What became of an event."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent(Record):
    """One event. `at`: of what it tells; `since`: when it came to wait here, or was put back.

    `attempts`: how often it was tried since then. `next_at`: when it is tried again, null once it is not.
    `done_at`: when it was delivered, or given up; `why`: what the last attempt that failed came to.
    `reason`: of an alert.
    """

    id: str
    type: EventType
    at: datetime
    call: str | None = None
    state: Delivery = Delivery.WAITING
    attempts: int = 0
    since: datetime
    next_at: datetime | None = None
    done_at: datetime | None = None
    why: str | None = None
    reason: str | None = None


# what is sent of a row: all other fields lead to a person, and are sent where `events.personal` is true alone
OPEN: dict[type[Record], tuple[str, ...]] = {
    Receipt: (
        *("id", "started_at", "answered_at", "connected_at", "ended_at", "outcome", "decision", "decided_by"),
        *("decided_at", "phase", "dtmf_method", "confidence", "notice_played_ms", "recording_id", "quality"),
        *("caller_identity", "not_recorded_because", "expires_at"),
    ),
    Recording: (
        *("id", "started_at", "ended_at", "duration_s", "status", "incomplete", "decision", "notice"),
        *("channels", "sample_rate", "path", "bytes", "sha256", "pauses", "missing", "flagged", "expires_at"),
        *("hold", "purged_at"),  # of a hold what is open in the chain: its ground and review
    ),
    CallerIdentity: ("attestation", "verified", "masked"),
    Notice: ("file", "sha256", "details", "message"),
    Pause: ("from_s", "to_s"),
    MissingSound: ("from_s", "to_s", "channel", "why"),
    Quality: ("caller", "operator", "one_way"),  # of a leg, not who
    LegQuality: (
        *("codec", "packets", "lost", "lost_bursts", "late", "concealed_ms", "jitter_ms", "rtt_ms", "mos"),
        *("level_dbov", "clipped"),
    ),
}
PERSONAL: dict[type[Record], tuple[str, ...]] = {
    Receipt: ("call_id", "caller", "called", "operator", "operators", "keyword", "events"),
    Recording: ("call_id", "caller", "called", "operator", "operators"),
    CallerIdentity: ("number",),
}


def _but_id(of: type[Record]) -> tuple[str, ...]:
    return tuple(name for name in field_types(cast(Any, of)) if name != "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldIdentity(CallerIdentity):
    """How far the caller's number is known to be the caller's; without it, unless events are personal."""

    omitted: ClassVar[tuple[str, ...]] = ("number",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCall(Receipt):
    """A call's receipt, as it is when this is sent; of one that has no row any more `id` and `reference`."""

    reference: str
    caller_identity: ToldIdentity | None = None

    omitted: ClassVar[tuple[str, ...]] = _but_id(Receipt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRecording(Recording):
    """A recording, as it is when this is sent; of one that has no row any more `id` and `reference`."""

    reference: str

    omitted: ClassVar[tuple[str, ...]] = _but_id(Recording)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAlert(Record):
    """What somebody has to see to, as the log says it; null where it named a call that was forgotten.
    `id`: the call."""

    id: str | None
    reason: str | None


_OF_CALLS = (EventType.CALL_ENDED, EventType.CALL_NOT_RECORDED)
DATA: dict[EventType, type[Record]] = {
    **dict.fromkeys(EventType, ToldRecording),
    **dict.fromkeys(_OF_CALLS, ToldCall),
    EventType.ALERT: ToldAlert,
}
"""What is sent of each as `data`."""

DELIVERED_FOR = timedelta(days=7)  # what was delivered is listed for so long
UNREAD_FOR = timedelta(days=3)  # what nobody has read on for so long is told of to nobody
_ENTRIES = 500  # entries in one read
_AT_LEAST, _AT_LATEST = 50, timedelta(hours=1)  # entries without an event that are worth a transaction
_TABLE, _CURSOR = OUTBOX
_PREFIX = "evt_"
_NO_CALL = ""  # so that these have an order, too
_STATUS = {
    Status.CLOSED: EventType.RECORDING_CLOSED,
    Status.ERASED: EventType.RECORDING_ERASED,
    Status.PURGED: EventType.RECORDING_PURGED,
}
_WAITS = f"state = '{Delivery.WAITING}'"


# --- what happened ---


def collect(store: Rows, now: datetime) -> bool:
    """Read on in the chain, the first time from its end; whether there may be more. Raises StoreError."""
    seen = _seen(store)
    if seen is None:
        with store.write():
            if _seen(store) is None:
                store.change(f"INSERT INTO {_CURSOR} (id, seq) VALUES (1, ?)", [store.head().seq])
        return False
    sql = f"SELECT * FROM chain WHERE seq > ? ORDER BY seq LIMIT {_ENTRIES}"
    entries = [ChainEntry(**row) for row in store.read(sql, [seen])]
    found = [*_told_by(store, entries, now)]
    late = entries and entries[0].at < to_text(now - _AT_LATEST)
    if not (found or late or len(entries) >= _AT_LEAST):
        return False
    with store.write():
        if _seen(store) == seen:  # else another has read them
            _add(store, found)
            store.change(f"UPDATE {_CURSOR} SET seq = ?", [entries[-1].seq])
    return len(entries) == _ENTRIES


def types_of(kind: str, before: Json, after: Json) -> Iterator[EventType]:
    """What an entry tells of: a row of this kind was `before`, empty for a new one, and is `after`. Pure."""
    if kind == "receipt":
        if after.get("ended_at") and not before.get("ended_at"):
            yield EventType.CALL_ENDED
        if after.get("not_recorded_because") and not before.get("not_recorded_because"):
            yield EventType.CALL_NOT_RECORDED
    elif kind == "recording":
        if (status := after.get("status")) != before.get("status"):
            if status in _STATUS:
                yield _STATUS[Status(status)]
        elif (hold := after.get("hold")) != before.get("hold"):
            yield EventType.HOLD_PLACED if hold else EventType.HOLD_RELEASED


def tell_overdue(store: Rows, today: date, now: datetime) -> int:
    """One event for each hold whose review has become overdue since the last time; how many.

    `today` is in the service's time zone. Nothing before `collect` has begun. Raises StoreError.
    """
    last = _told_until(store)
    if last is None or last >= today:
        return 0
    due = [one for one in holds(store) if is_overdue(one, today) and not is_overdue(one, last)]
    with store.write():
        if _told_until(store) != last:
            return 0
        _add(store, [_event(EventType.HOLD_DUE, now, one.id, now, str(review_of(one))) for one in due])
        store.change(f"UPDATE {_CURSOR} SET reviews = ?", [str(today)])
    return len(due)


def tell_alert(store: Rows, reason: str, call: str | None, at: datetime, now: datetime) -> None:
    """Something that somebody has to see to, as the log says it. Raises StoreError."""
    named = call or next((one[0] for one in _NAMED.finditer(reason)), None)
    event = _event(EventType.ALERT, at, named, now, token_hex(16))
    with store.write():
        _add(store, [replace(event, reason=_WHO.sub("…", reason))])


# --- what is to be sent ---


def due(store: Rows, now: datetime, limit: int) -> list[OutboxEvent]:
    """What is to be tried now, of each call the oldest that waits; `limit` at most, the longest due first.

    Collects first. For one process at a time: `Rows.alone`. Raises StoreError.
    """
    while collect(store, now):
        pass
    earlier = f"SELECT 1 FROM {_TABLE} AS earlier WHERE earlier.call = {_TABLE}.call AND earlier.{_WAITS}"
    sql = (
        f"SELECT * FROM {_TABLE} WHERE {_WAITS} AND next_at <= ? "
        f"AND NOT EXISTS ({earlier} AND earlier.number < {_TABLE}.number) ORDER BY next_at, number LIMIT ?"
    )
    return [_read(row) for row in store.read(sql, [to_text(now), limit])]


def delivered(store: Rows, id: str, now: datetime) -> None:
    """It has arrived: of this row its name and times are left, for some days. Raises StoreError."""
    ended = f"state = '{Delivery.DELIVERED}', next_at = NULL, done_at = ?, why = NULL, reason = NULL"
    with store.write():
        store.change(f"UPDATE {_TABLE} SET {ended} WHERE id = ?", [to_text(now), id])


def failed(store: Rows, id: str, now: datetime, why: str, again: datetime | None) -> None:
    """An attempt failed: once more at `again`, and no event of its call before; None: it is given up, and
    the next one of its call goes on. Raises StoreError."""
    with store.write():
        store.change(f"UPDATE {_TABLE} SET attempts = attempts + 1, why = ? WHERE id = ?", [why, id])
        if again is None:
            ended = f"state = '{Delivery.FAILED}', next_at = NULL, done_at = ?"
            store.change(f"UPDATE {_TABLE} SET {ended} WHERE id = ?", [to_text(now), id])
        else:  # those behind it, too, so that they are not looked at in vain
            call = f"(SELECT call FROM {_TABLE} WHERE id = ?)"
            sql = f"UPDATE {_TABLE} SET next_at = ? WHERE {_WAITS} AND call = {call}"
            store.change(sql, [to_text(again), id])


def put_back(store: Rows, id: str, trace: Access) -> None:
    """Have one that failed wait again, as if it had just come; the trace says so.

    Raises UnknownId, NotFailed, StoreError.
    """
    now = to_text(trace.at)
    with store.write():
        event = find(store, id)
        if event.state is not Delivery.FAILED:
            raise NotFailed("{0} has not failed; accepted: an event of `sipagent events --failed`", id)
        values = "state = ?, attempts = 0, since = ?, next_at = ?, done_at = NULL"
        store.change(f"UPDATE {_TABLE} SET {values} WHERE id = ?", [Delivery.WAITING.value, now, now, id])
        store.add_access(replace(trace, action="retry", detail=f"event {id} ({event.type})"))


class NotFailed(RuleError):
    """It waits, or has arrived."""


def find(store: Rows, id: str) -> OutboxEvent:
    """Raises UnknownId, StoreError."""
    for row in store.read(f"SELECT * FROM {_TABLE} WHERE id = ?", [id]):
        return _read(row)
    raise UnknownId("{0}: no such id", id)


def body(store: Rows, event: OutboxEvent, personal: bool) -> Json:
    """What is sent, in the form of Standard Webhooks: the call as its rows are now; of one that is in none
    its id alone. Without `personal` only what `OPEN` names. Raises StoreError."""
    data: Json = {}
    if event.type is EventType.ALERT:
        data = ToldAlert(id=event.call, reason=event.reason).to_json()
    elif event.call is not None:
        data = {"id": event.call, "reference": reference_of(event.call)} | _present(store, event, personal)
    return {"type": event.type.value, "timestamp": to_text(event.at), "data": data}


def _present(store: Rows, event: OutboxEvent, personal: bool) -> Json:
    id = str(event.call)
    some = store.some_receipts([id]) if event.type in _OF_CALLS else store.some_recordings([id])
    return told(some[id], personal=personal) if id in some else {}


def told(record: Record, *, personal: bool) -> Json:
    """A record as it is sent."""
    plain = record.to_json()
    if personal:
        return plain
    names = [name for name in OPEN[type(record)] if name in plain]
    return {name: _told(getattr(record, name), plain[name]) for name in names} | (
        {"hold": open_hold(record.hold) if record.hold else None} if isinstance(record, Recording) else {}
    )


def _told(value: object, plain: object) -> object:
    if isinstance(value, Record):
        return told(value, personal=False)
    if isinstance(value, tuple):
        return [told(one, personal=False) for one in value]
    return plain


# --- what goes ---


def forget(store: Rows) -> None:
    """Empty what alerts say that name a call that was forgotten, within a transaction."""
    store.change(f"UPDATE {_TABLE} SET reason = NULL WHERE {_gone(store)}")


def left(store: Rows) -> list[str]:
    """The ids of events that should have been forgotten. Raises StoreError."""
    return [row["id"] for row in store.read(f"SELECT id FROM {_TABLE} WHERE {_gone(store)} ORDER BY number")]


def _gone(store: Rows) -> str:
    of_call = f"id = {_TABLE}.call"
    rows = (
        f"EXISTS (SELECT 1 FROM {table} WHERE {table}.{of_call} "
        f"AND {gone.format(row=table, personal=store.dialect.personal)})"
        for table, gone in OUTBOX_GONE.items()
    )
    return f"reason IS NOT NULL AND ({' OR '.join(rows)})"


def sweep(store: Rows, now: datetime, failed_before: datetime, *, told: bool) -> None:
    """Drop what was delivered a week ago, and what failed of what happened before a date. Where nothing is
    `told` any more, and nobody has read on for three days, drop all. Raises StoreError."""
    with store.write():
        forget(store)
        by_state = (
            (Delivery.DELIVERED, "done_at", now - DELIVERED_FOR),
            (Delivery.FAILED, "at", failed_before),
        )
        for state, column, before in by_state:
            store.change(f"DELETE FROM {_TABLE} WHERE state = '{state}' AND {column} < ?", [to_text(before)])
        if not told:
            long_ago = to_text(now - UNREAD_FOR)
            store.change(f"DELETE FROM {_TABLE} WHERE {_WAITS} AND since < ?", [long_ago])
            unread = f"SELECT 1 FROM chain WHERE seq > {_CURSOR}.seq AND at < ?"
            store.change(f"DELETE FROM {_CURSOR} WHERE EXISTS ({unread})", [long_ago])


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many events wait, since when the first one does, and how many were given up."""

    waiting: int
    since: datetime | None
    failed: int


def waiting(store: Rows) -> Waiting:
    """Raises StoreError."""
    sql = f"SELECT count(*) AS n, min(since) AS since FROM {_TABLE} WHERE state = "
    (waits,) = store.read(f"{sql}'{Delivery.WAITING}'")
    (failures,) = store.read(f"{sql}'{Delivery.FAILED}'")
    return Waiting(waits["n"], from_text(waits["since"]) if waits["n"] else None, failures["n"])


def next_at(store: Rows, now: datetime) -> datetime | None:
    """When something is due that is not due yet. Raises StoreError."""
    sql = f"SELECT min(next_at) AS at FROM {_TABLE} WHERE {_WAITS} AND next_at > ?"
    (row,) = store.read(sql, [to_text(now)])
    return from_text(row["at"]) if row["at"] else None


def events(store: Rows, *, failed: bool = False, limit: int | None = None) -> list[OutboxEvent]:
    """What waits, failed and was delivered, newest first; or what failed alone. Raises StoreError."""
    chosen = f" WHERE state = '{Delivery.FAILED}'" if failed else ""
    most = "" if limit is None else f" LIMIT {limit:d}"
    sql = f"SELECT * FROM {_TABLE}{chosen} ORDER BY number DESC{most}"
    return [_read(row) for row in store.read(sql)]


def ids_beginning(store: Rows, typed: str, most: int = 10) -> list[str]:
    """Those that begin so, with or without `evt_`; in order. Raises StoreError."""
    begins = _PREFIX + typed.removeprefix(_PREFIX)
    sql = f"SELECT id FROM {_TABLE} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
    return [row["id"] for row in store.read(sql, [begins, begins + "~", most])]


def copy(source: Rows, target: Rows) -> None:
    """Have another database tell of what this one would. Raises StoreError."""
    with target.write():
        for table in OUTBOX:
            target.change(f"DELETE FROM {table}")
            if rows := source.read(f"SELECT * FROM {table}"):
                target.change_many(inserting(table, rows[0]), [[*row.values()] for row in rows])


# --- steps ---

_NAMED = re.compile(r"(?<![\w-])\d{8}T\d{9}(?:-h[a-z0-9]{1,16})?(?:-w\d+)?-\d{6}(?![\w-])", re.ASCII)
_WHO = re.compile(
    r"\bsips?:[^\s;,>]+|\btel:\S+|(?<![\w.:-])\+?\d{6,}(?![\w.:-])", re.ASCII
)  # numbers, addresses


def _seen(store: Rows) -> int | None:
    """The last entry that was read; None where nothing was told yet."""
    return next((int(row["seq"]) for row in store.read(f"SELECT seq FROM {_CURSOR}")), None)


def _told_until(store: Rows) -> date | None:
    """Reviews before that day were told of; None where nothing is."""
    for row in store.read(f"SELECT reviews FROM {_CURSOR}"):
        return date.fromisoformat(row["reviews"]) if row["reviews"] else date.min
    return None


def _told_by(store: Rows, entries: Sequence[ChainEntry], now: datetime) -> Iterator[OutboxEvent]:
    """The events of these entries, in their order."""
    of_calls = [one for one in entries if one.kind in ("receipt", "recording")]
    known = {one.seq: one for one in entries}
    missing = [one.was for one in of_calls if one.was and one.was not in known]
    for some in batches(missing, _ENTRIES):
        known |= store.entries(some)
    first = [one.subject for one in of_calls if one.kind == "recording" and not one.was]
    marks = ", ".join("?" * len(first))
    rows = store.read(f"SELECT id FROM receipts WHERE id IN ({marks})", first) if first else []
    rebuilt = {*first} - {row["id"] for row in rows}  # from its files: it was told of long ago
    for one in of_calls:
        if one.subject in rebuilt and not one.was:
            continue
        before = known.get(one.was)
        for type in types_of(one.kind, _public(before), _public(one)):
            yield _event(type, from_text(one.at), one.subject, now, one.hash)


def _public(entry: ChainEntry | None) -> Json:
    """Nothing for one that cannot be read, as of a chain that `verify` finds damaged."""
    with suppress(RecordError):
        return {} if entry is None else parse_json(entry.public)
    return {}


def _event(type: EventType, at: datetime, call: str | None, now: datetime, of: str) -> OutboxEvent:
    """One that waits; its id is made of what it is `of`."""
    id = _PREFIX + hashlib.sha256(f"{type} {call} {of}".encode()).hexdigest()[:32]
    return OutboxEvent(id=id, type=type, at=at, call=call, since=now, next_at=now)


def _add(store: Rows, events: Sequence[OutboxEvent]) -> None:
    """Those that are not there, within a transaction; and forget what belongs to a call that has gone."""
    if not events:
        return
    (last,) = store.read(f"SELECT coalesce(max(number), 0) AS number FROM {_TABLE}")
    rows = [
        {"number": number} | one.to_json() | {"call": one.call or _NO_CALL}
        for number, one in enumerate(events, last["number"] + 1)
    ]
    sql = f"{inserting(_TABLE, rows[0])} ON CONFLICT (id) DO NOTHING"
    store.change_many(sql, [[*row.values()] for row in rows])
    forget(store)


def _read(row: Row) -> OutboxEvent:
    plain = row | {"call": row["call"] or None, "id": "0"}  # no name of a file, as other ids are
    return replace(OutboxEvent.from_json(plain), id=row["id"])

"""Whether the clock may be believed: a purge by a wrong clock would remove what must be kept.

Within one boot the machine also counts seconds that no one can set. A clock that runs ahead of them by
more than a day, or backwards, suspends purging until a person says that it is right: two counts of the
same time contradict each other.

Across boots only the hardware's clock counts, and it may be wrong. So the last believed time is
remembered: of a look, or of an entry of the chain within a day of one. A boot more than a day later, or
earlier, suspends purging, too, until the time is confirmed: by the kernel, once its clock is disciplined
(`is_synchronised`), by a time stamp that is a day old at most (RFC 3161), or by a person. If there was no
look before, and something older than a day could be purged, the chain's last entry is the remembered
time. It is not in a rebuilt database, which the same clock may have written.

**The kernel** is asked by adjtimex(2), which changes nothing. It begins each boot unsynchronised. It is
so again when somebody sets the clock by hand, and some nine hours after the last update by the program
that disciplines it (chrony, ntpd, systemd-timesyncd, a hypervisor's or PTP's daemon). So it can be
trusted as far as that program: root can forge it, and so can anyone between this machine and its time
server, if NTP is not authenticated. It says nothing about a wrong hardware clock that no program has
disciplined.
"""

import ctypes
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retention.records import Access, Json, Record, from_text, to_text
from retention.rows.pages import Listing
from retention.rows.rows import NoRoom, Rows
from retention.texts import Reason

_OFFSET_ONLY = 0  # `modes`: nothing is set
_STA_UNSYNC = 0x0040
_LARGEST_ERROR_US = 16_000_000  # NTP_PHASE_LIMIT: the kernel has no idea


class _Timex(ctypes.Structure):
    """`struct timex`, as far as it is read, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def is_synchronised() -> bool:
    """False, too, if the kernel cannot be asked: in a container that may not call it, on another system."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    told = _Timex(modes=_OFFSET_ONLY)
    return int(ask(ctypes.byref(told))) >= 0 and believes(told.status, told.maxerror)


def believes(status: int, maxerror_us: int) -> bool:
    """Decides from what the kernel tells. Some daemons leave the bit set, so that the kernel does not write
    to the hardware's clock, but still tell the error."""
    return not status & _STA_UNSYNC or maxerror_us < _LARGEST_ERROR_US


FORWARD = timedelta(days=1)
BACKWARD = timedelta(seconds=1)  # a leap second, and the time between two readings
UNREADABLE = Reason("what was seen of the clock before is damaged in the database")
NEVER_SEEN = Reason("nobody has looked at the clock before, and nothing confirms it")
_SKEW = timedelta(minutes=5)  # how far an authority's clock may be ahead of the right time
_BOOT = Path("/proc/sys/kernel/random/boot_id")

Stamped = Callable[[], datetime | None]
"""When the chain's head was last stamped by a trusted authority (UTC); None: never."""


@dataclass(frozen=True, slots=True)
class ClockReading(Record):
    """`wall` in UTC; `elapsed` in s since the boot `boot`, sleep included (CLOCK_BOOTTIME).

    `synchronised`: whether the kernel says that its clock is disciplined.
    """

    boot: str
    wall: datetime
    elapsed: float
    synchronised: bool = False


@dataclass(frozen=True, slots=True)
class BelievedReadings:
    """The first reading of this boot that was believed, and the last; `entry`: of the chain by then."""

    first: ClockReading
    last: ClockReading
    entry: int = 0


@dataclass(frozen=True, slots=True)
class ClockDoubt:
    """What is wrong with the clock, in one line; whether another source of the time can settle it."""

    why: str
    may_be_confirmed: bool


def read_clock() -> ClockReading:
    """The reading of now. Raises OSError if the system names no boot."""
    return ClockReading(
        _BOOT.read_text(encoding="ascii").strip(),
        datetime.now(UTC),
        time.clock_gettime(time.CLOCK_BOOTTIME),
        is_synchronised(),
    )


def never() -> None:
    """Answers None: no authority has ever stamped anything."""
    return


def step(seen: BelievedReadings, now: ClockReading, known: datetime | None = None) -> ClockDoubt | None:
    """The doubt about `now`, if any; `known`: a believed time of an earlier boot, after the last look.

    A clock that was not disciplined at the last look may be corrected once, by any amount.
    """
    if now.synchronised and not seen.last.synchronised:
        return None
    if now.boot == seen.last.boot:
        back, ahead = _gained(seen.last, now), _gained(seen.first, now)
        may_be_confirmed = False
    else:
        last = seen.last.wall
        back = now.wall - last
        ahead = timedelta() if now.synchronised else now.wall - max(last, known or last)
        may_be_confirmed = not now.synchronised
    if back < -BACKWARD:
        why = Reason("the clock went back by {0}, to {1}", _length(-back), to_text(now.wall))
        return ClockDoubt(why, may_be_confirmed)
    return _ahead_by(ahead, now, may_be_confirmed=may_be_confirmed)


def _ahead_by(ahead: timedelta, now: ClockReading, *, may_be_confirmed: bool) -> ClockDoubt | None:
    why = Reason("the clock is ahead by {0}, at {1}", _length(ahead), to_text(now.wall))
    return ClockDoubt(why, may_be_confirmed) if ahead > FORWARD else None


def look(store: Rows, now: ClockReading, stamped: Stamped = never) -> str | None:
    """Compare the clock with what was seen before, and remember it; why purging is suspended, if it is.

    Once suspended it stays so until `resume`, even if the clock is right again; across boots, until the time
    is confirmed. It is suspended, too, if what was seen can no longer be read. The trace of uses tells when
    it was suspended and resumed. On a full disk nothing is remembered, so that a purge can make room. Raises
    StoreError.
    """
    try:
        return _look(store, now, stamped)
    except NoRoom:
        return suspended(store, now, stamped)


def _look(store: Rows, now: ClockReading, stamped: Stamped) -> str | None:
    with store.write():
        kept = _load(store)
        doubt = _judged(store, kept, now, stamped)
        if doubt is None:
            seen = kept.seen if kept.seen and kept.doubt is None else None
            first = seen.first if seen and _goes_on(seen, now) else now
            if kept.doubt is not None:
                by = (
                    Reason("the kernel's clock is synchronised")
                    if now.synchronised
                    else Reason("a time stamp")
                )
                _trace(store, now, "clock_ok", Reason("{0}; confirmed: {1}", kept.doubt.why, by), "done")
            _keep(store, BelievedReadings(first, now, store.head().seq), None)
        elif kept.doubt is None:
            _trace(store, now, "clock_doubt", doubt.why, "refused")
            _keep(store, kept.seen, doubt)
        return None if doubt is None else doubt.why


def suspended(store: Rows, now: ClockReading | None = None, stamped: Stamped = never) -> str | None:
    """Why purging is suspended, or would be by a look at `now`; stores nothing. Raises StoreError."""
    kept = _load(store)
    doubt = kept.doubt if now is None else _judged(store, kept, now, stamped)
    return None if doubt is None else doubt.why


def resume(store: Rows, now: ClockReading, by: Access) -> bool:
    """A person (`by`, for the trace) says that the clock is right; false if nothing was suspended."""
    with store.write():
        doubt = _load(store).doubt
        if doubt is not None:
            store.add_access(replace(by, action="clock_ok", detail=doubt.why))
        _keep(store, BelievedReadings(now, now, store.head().seq), None)
        return doubt is not None


@dataclass(frozen=True, slots=True)
class _RememberedClock:
    """What the database remembers."""

    seen: BelievedReadings | None
    doubt: ClockDoubt | None


def _judged(store: Rows, kept: _RememberedClock, now: ClockReading, stamped: Stamped) -> ClockDoubt | None:
    """The doubt about `now`, after asking all sources that may confirm it."""
    if kept.doubt is not None:
        settled = kept.doubt.may_be_confirmed and _is_confirmed(kept.seen, now, stamped)
        return None if settled and (kept.seen is None or _fits(kept.seen, now)) else kept.doubt
    if kept.seen is None:
        known = not _has_past(store, now.wall) or _is_confirmed(None, now, stamped)
        return None if known else _first_step(store, now)
    doubt = step(kept.seen, now)
    if doubt is None or not doubt.may_be_confirmed:
        return doubt
    if _is_confirmed(kept.seen, now, stamped) and _fits(kept.seen, now):
        return None
    return step(kept.seen, now, _last_known(store, kept.seen))


def _first_step(store: Rows, now: ClockReading) -> ClockDoubt | None:
    """The doubt about `now` if no look is remembered."""
    segments = Listing(table="chain", order=("seq",), indexed="kind = 'segment' AND was = 0")
    begun = list(store.each(segments))
    if len(begun) != 1 or '"previous":null' not in str(begun[0]["public"]):
        return ClockDoubt(NEVER_SEEN, may_be_confirmed=True)
    last = Listing(table="chain", order=("seq",), columns="seq, at", descending=True, limit=1)
    (entry,) = store.each(last)
    try:
        ahead = now.wall - from_text(entry["at"])
    except (ValueError, TypeError):
        return ClockDoubt(NEVER_SEEN, may_be_confirmed=True)
    return _ahead_by(ahead, now, may_be_confirmed=True)


def _is_confirmed(seen: BelievedReadings | None, now: ClockReading, stamped: Stamped) -> bool:
    """By the kernel, or by a stamp made after the last look and not much before now."""
    if now.synchronised:
        return True
    at = stamped()
    if at is None or (seen is not None and at <= seen.last.wall):
        return False
    return -_SKEW <= now.wall - at <= FORWARD


def _fits(seen: BelievedReadings, now: ClockReading) -> bool:
    """Whether it is not earlier than the believed time, unless that could be corrected."""
    put_right = now.synchronised and not seen.last.synchronised
    return put_right or now.wall - seen.last.wall >= -BACKWARD


def _goes_on(seen: BelievedReadings, now: ClockReading) -> bool:
    """Whether the first reading of this boot still counts: the clock has not been corrected since."""
    moved = abs(_gained(seen.first, now))
    return seen.first.boot == now.boot and moved <= FORWARD and _gained(seen.last, now) >= -BACKWARD


def _last_known(store: Rows, seen: BelievedReadings) -> datetime:
    """The time of the last look, or of chain entries that follow it, each within a day of the one before.

    This leaves out what a wrong clock has written since: it is further off.
    """
    known = seen.last.wall
    chain = Listing(table="chain", order=("seq",), columns="seq, at", start=seen.entry)
    for row in store.each(chain):
        try:
            at = from_text(row["at"])
        except (ValueError, TypeError):
            continue
        if abs(at - known) <= FORWARD:
            known = max(known, at)
    return known


def _has_past(store: Rows, now: datetime) -> bool:
    """Whether a purge could remove something older than a day."""
    day_ago = to_text(now - FORWARD)
    kept = Listing(
        table="recordings",
        order=("started_at", "id"),
        indexed="purged_at IS NULL",
        stop=day_ago,
        columns="id",
        limit=1,
    )
    receipts = replace(kept, table="receipts", indexed=store.dialect.personal)
    notes = Listing(
        table="notes",
        order=("id",),
        indexed=store.dialect.personal,
        where=["at < ?"],
        values=[day_ago],
        columns="id",
        limit=1,
    )
    tables = (kept, receipts, notes, replace(notes, table="accesses"))
    return any(row for table in tables for row in store.each(table))


def _trace(store: Rows, now: ClockReading, action: str, detail: str, outcome: str) -> None:
    store.add_access(Access(at=now.wall, action=action, by="agent", outcome=outcome, detail=detail))


def _gained(earlier: ClockReading, later: ClockReading) -> timedelta:
    """How much further the wall clock has moved than the seconds that have passed."""
    return later.wall - earlier.wall - timedelta(seconds=later.elapsed - earlier.elapsed)


def _length(span: timedelta) -> Reason:
    days, rest = divmod(timedelta(seconds=round(span.total_seconds())), timedelta(days=1))
    return Reason("{0} day, {1}" if days == 1 else "{0} days, {1}", days, rest) if days else Reason(str(rest))


def _load(store: Rows) -> _RememberedClock:
    row = store.clock_row()
    if row is None:
        return _RememberedClock(None, None)
    why = row["suspended"]
    try:
        told = json.loads(row["seen"])
        seen = None
        if told["last"] is not None:
            first, last = (ClockReading.from_json(told[name]) for name in ("first", "last"))
            seen = BelievedReadings(first, last, int(told["entry"]))
            _gained(first, last)  # which fails where one of them tells no time
        doubt = None if why is None else ClockDoubt(why, bool(told["may_be_confirmed"]))
        return _RememberedClock(seen, doubt)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return _RememberedClock(None, ClockDoubt(why or UNREADABLE, may_be_confirmed=False))


def _keep(store: Rows, seen: BelievedReadings | None, doubt: ClockDoubt | None) -> None:
    told: Json = {
        "first": seen and seen.first.to_json(),
        "last": seen and seen.last.to_json(),
        "entry": seen.entry if seen else 0,
        "may_be_confirmed": doubt is not None and doubt.may_be_confirmed,
    }
    why = None if doubt is None else doubt.why
    store.keep_clock_row({"id": 1, "seen": json.dumps(told), "suspended": why})

"""Whether the clock may be believed: a purge by a wrong one would remove what is to be kept.

Within one boot the machine also counts seconds that nobody can set. A clock that runs ahead of them by more
than a day, or backwards, suspends purging until a person says that it is right. A clock that was put back
while the machine was off shows by being earlier than the last look at it.
"""

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retention.recording import Access, Json, from_text, to_text
from retention.store import NoRoom, Store

FORWARD = timedelta(days=1)
BACKWARD = timedelta(seconds=1)  # a leap second, and the time between two readings
UNREADABLE = "what was seen of the clock before is damaged in the database"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Reading:
    """`wall` in UTC; `elapsed` in s since the boot `boot`, sleep included (CLOCK_BOOTTIME)."""

    boot: str
    wall: datetime
    elapsed: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The first reading of this boot, and the last."""

    first: Reading
    last: Reading


def read_clock() -> Reading:
    """Now. Raises OSError where the system names no boot."""
    return Reading(
        _BOOT.read_text(encoding="ascii").strip(), datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME)
    )


def step(seen: Seen, now: Reading) -> str | None:
    """What is wrong with the clock, in one line; None if nothing is."""
    if now.boot == seen.last.boot:
        back = _gained(seen.last, now)
        ahead = _gained(seen.first, now)
    else:
        back = now.wall - seen.last.wall
        ahead = timedelta()
    if back < -BACKWARD:
        return f"the clock went back by {_length(-back)}, to {to_text(now.wall)}"
    if ahead > FORWARD:
        return f"the clock is ahead by {_length(ahead)}, at {to_text(now.wall)}"
    return None


def look(store: Store, now: Reading) -> str | None:
    """Compare the clock with what was seen before, and remember it; why purging is suspended, if it is.

    Once suspended it stays so until `resume`, even if the clock comes back. So it is where nobody can read
    any more what was seen. On a full disk nothing is remembered: a purge is what makes room.
    Raises StoreError.
    """
    try:
        return _look(store, now)
    except NoRoom:
        return suspended(store, now)


def _look(store: Store, now: Reading) -> str | None:
    with store.write():
        seen, why = _load(store)
        if why is not None:
            return why
        if seen is not None:
            why = step(seen, now)
        if why is None:
            first = seen.first if seen and seen.first.boot == now.boot else now
            _keep(store, Seen(first, now), None)
        elif seen is not None:
            _keep(store, seen, why)
        return why


def suspended(store: Store, now: Reading | None = None) -> str | None:
    """Why purging is suspended, or would be by a look at `now`; remembers nothing. Raises StoreError."""
    seen, why = _load(store)
    return why if why is not None or seen is None or now is None else step(seen, now)


def resume(store: Store, now: Reading, by: Access) -> bool:
    """A person (`by`, for the trace) says that the clock is right; false if nothing was suspended."""
    with store.write():
        _, why = _load(store)
        _keep(store, Seen(now, now), None)
        if why is not None:
            store.add_access(replace(by, action="clock_ok", detail=why))
        return why is not None


def _gained(earlier: Reading, later: Reading) -> timedelta:
    """How much the wall clock has moved beyond the seconds that went by."""
    return later.wall - earlier.wall - timedelta(seconds=later.elapsed - earlier.elapsed)


def _length(span: timedelta) -> str:
    return str(timedelta(seconds=round(span.total_seconds())))


def _load(store: Store) -> tuple[Seen | None, str | None]:
    row = store.clock_row()
    if row is None:
        return None, None
    try:
        seen = json.loads(row["seen"])
        return Seen(_reading(seen["first"]), _reading(seen["last"])), row["suspended"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, row["suspended"] or UNREADABLE


def _keep(store: Store, seen: Seen, why: str | None) -> None:
    text = json.dumps({"first": _json(seen.first), "last": _json(seen.last)})
    store.keep_clock_row({"id": 1, "seen": text, "suspended": why})


def _json(reading: Reading) -> Json:
    return {"boot": reading.boot, "wall": to_text(reading.wall), "elapsed": reading.elapsed}


def _reading(json: Json) -> Reading:
    return Reading(str(json["boot"]), from_text(json["wall"]), float(json["elapsed"]))

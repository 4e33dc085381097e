"""What is different today: it is closed though the hours say otherwise, or callers hear a message before the
notice, from a moment until another.

A closure goes before any message. Of several messages the one that was set last is heard; when it ends, one
from before that has not ended goes on. What has ended is forgotten with the next change, and stays in the
trace. Agents read it every few seconds, on every host (`service.rules`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from retention.records import Access, Record, Special, in_force
from retention.rows.rows import Rows, UnknownId
from retention.texts import Reason
from sipagent.config.load import Config
from sipagent.operations.parsing import FieldError, parse_ahead, read_field

LONGEST = timedelta(days=366)
MOST = 50  # at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialWanted:
    """As it is typed. `message`: its name, None: closed; `since` None: from now on."""

    message: str | None
    until: str
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSpecial(Record):
    """One that has not ended. `in_force`: callers find it closed now, or hear this message."""

    number: int
    closed: bool
    message: str | None
    from_at: datetime
    until_at: datetime
    in_force: bool


def planned(store: Rows, at: datetime) -> list[PlannedSpecial]:
    """All that has not ended, what is in force first, then as it begins. Raises StoreError."""
    every = left(store.specials(), at)
    now = in_force(every, at)
    shown = [PlannedSpecial.of(one, closed=one.message is None, in_force=one is now) for one in every]
    return sorted(shown, key=lambda one: (not one.in_force, one.from_at, one.number))


def left(specials: Sequence[Special], at: datetime) -> list[Special]:
    """Those that have not ended."""
    return [one for one in specials if at < one.until_at]


def set_special(config: Config, store: Rows, wanted: SpecialWanted, trace: Access) -> Special:
    """Have something be different. Raises FieldError, StoreError."""
    special = _read(config, wanted, trace.at)
    zone = config.service.timezone
    with store.write():
        others = left(store.specials(), trace.at)
        if len(others) >= MOST:
            raise FieldError("until", Reason("{0} are set already; accepted: some of them removed", MOST))
        store.keep_specials(others)
        special = store.add_special(special)
        store.add_access(replace(trace, action="today", detail=in_words(special, zone)))
    return special


def end_special(config: Config, store: Rows, number: int, trace: Access) -> Special:
    """Take one back, also while it is in force. Raises UnknownId, StoreError."""
    with store.write():
        every = left(store.specials(), trace.at)
        meant = next((one for one in every if one.number == number), None)
        if meant is None:
            raise UnknownId("{0}: no such number", number)
        store.keep_specials([one for one in every if one is not meant])
        said = f"removed: {in_words(meant, config.service.timezone)}"
        store.add_access(replace(trace, action="today", detail=said))
    return meant


def in_words(special: Special, zone: ZoneInfo) -> str:
    """As the trace says it."""
    first, last = (
        at.astimezone(zone).isoformat(timespec="minutes") for at in (special.from_at, special.until_at)
    )
    what = "closed" if special.message is None else f"message {special.message}"
    return f"{what} from {first} until {last}"


def _read(config: Config, wanted: SpecialWanted, now: datetime) -> Special:
    """Raises FieldError."""
    zone, known = config.service.timezone, config.prompts.messages
    if wanted.message is not None and wanted.message not in known:
        accepted = ", ".join(known) or Reason("a sound in prompts.messages of the configuration first")
        raise FieldError(
            "message", Reason("there is none named {0!r}; accepted: {1}", wanted.message, accepted)
        )
    begins = now
    if wanted.since:
        begins = max(now, read_field("from", wanted.since, lambda text: parse_ahead(text, now, zone)))
    ends = read_field("until", wanted.until, lambda text: parse_ahead(text, now, zone, end=True))
    if ends <= begins:
        late = Reason("{0!r} is not behind the beginning", wanted.until)
        raise FieldError("until", Reason("{0!r} is over already", wanted.until) if ends <= now else late)
    if ends - begins > LONGEST:
        raise FieldError("until", Reason("{0!r} is more than a year later", wanted.until))
    return Special(number=0, message=wanted.message, from_at=begins, until_at=ends)

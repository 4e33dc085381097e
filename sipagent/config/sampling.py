"""Which calls may be asked whether they are recorded: a share of them, by a draw that can be repeated.

    draw = HMAC-SHA256(seed, the call's id), its first 53 bits as a fraction;  drawn where draw < share

The id is the agent's own, so nothing that a caller sends has a part in it, and without the seed nobody can
tell it beforehand. What was drawn stands in the receipt, as `str(Draw)`, so that whoever has the seed can
repeat it: `sipagent draws`. Without a seed nobody is drawn, but where every call is.

Pure: seed, id and moment come in as arguments.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo

from sipagent.config.hours import DAYS, Interval

SECRET_BYTES = 32
_BITS = 53  # of a fraction that a float holds exactly
_WEEK_MINUTES = 7 * 24 * 60
_TEXT = re.compile(
    r"(?P<said>drawn|not drawn): (?:(?P<value>[0-9.e-]+) of seed (?P<seed>[0-9a-f]{8})|no seed), "
    r"share (?P<share>[0-9.e-]+)"
)


@dataclass(frozen=True, slots=True)
class Seed:
    """What makes draws unforeseeable: SECRET_BYTES random bytes, which stay out of every representation."""

    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """How receipts name it, eight hexadecimal digits; it tells nothing of the secret."""
        return hashlib.sha256(self.secret).hexdigest()[:8]

    def value(self, id: str) -> float:
        """What is drawn for a call's id: 0 ≤ value < 1, every one as likely as another."""
        bits = int.from_bytes(hmac.digest(self.secret, id.encode(), "sha256")[:8], "big") >> (64 - _BITS)
        return bits / (1 << _BITS)


@dataclass(frozen=True, slots=True)
class Draw:
    """`value` and `seed`, its name, are null where there was no seed."""

    share: float
    value: float | None
    seed: str | None

    @property
    def drawn(self) -> bool:
        """Whether the call may be asked. Where every call is, it needs no seed."""
        return self.share >= 1 or (self.value is not None and self.value < self.share)

    def __str__(self) -> str:
        what = "no seed" if self.value is None else f"{self.value!r} of seed {self.seed}"
        return f"{'drawn' if self.drawn else 'not drawn'}: {what}, share {self.share!r}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The inverse of `str`; None for any other text, also one that says of itself what it is not."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        try:
            value = None if found["value"] is None else float(found["value"])
            draw = cls(float(found["share"]), value, found["seed"])
        except ValueError:
            return None
        return draw if str(draw) == text else None


def draw(seed: Seed | None, id: str, share: float) -> Draw:
    """Draw for a call; the same for the same three, and who is drawn at a share is at a larger one."""
    return Draw(share, seed.value(id), seed.name) if seed else Draw(share, None, None)


@dataclass(frozen=True, slots=True)
class Window:
    """Times of the week with a share of their own. `days`: 0 is Monday."""

    days: tuple[int, ...]
    hours: tuple[Interval, ...]
    share: float

    @property
    def minutes(self) -> int:
        """How long it is in a week without a change of the clock."""
        return len(self.days) * sum(end - start for start, end in self.hours)

    def holds(self, day: int, minute: int) -> bool:
        return day in self.days and any(start <= minute < end for start, end in self.hours)

    def overlaps(self, other: "Window") -> str | None:
        """The name of a day on which both have a minute, if there is one."""
        for day in sorted({*self.days} & {*other.days}):
            for start, end in self.hours:
                if any(start < theirs[1] and theirs[0] < end for theirs in other.hours):
                    return DAYS[day]
        return None


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of calls at each moment, on the wall clock of `timezone`; outside the windows `share`."""

    timezone: ZoneInfo
    share: float
    windows: tuple[Window, ...] = ()

    def at(self, moment: datetime) -> float:
        """The share at an aware moment."""
        local = moment.astimezone(self.timezone)
        minute = local.hour * 60 + local.minute
        found = (window.share for window in self.windows if window.holds(local.weekday(), minute))
        return next(found, self.share)

    @property
    def lowest(self) -> float:
        """Of the shares that are ever in effect."""
        return min(self._in_effect())

    @property
    def highest(self) -> float:
        """Of the shares that are ever in effect."""
        return max(self._in_effect())

    def _in_effect(self) -> Iterator[float]:
        yield from (window.share for window in self.windows)
        if sum(window.minutes for window in self.windows) < _WEEK_MINUTES:
            yield self.share

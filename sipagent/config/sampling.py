"""Which calls may be asked whether they are recorded: a share of them, by a draw that can be repeated.

    draw = HMAC-SHA256(seed, the call's id), its first 53 bits as a fraction;  drawn if draw < share

The id is the agent's own, so it does not depend on what a caller sends, and without the seed no one can
predict the draw. The receipt has the draw, as `str(Draw)`, so that anyone with the seed can repeat it:
`sipagent draws`. Without a seed no call is drawn, unless every call is. Seed, id and moment come in as
arguments.

The seed is in a file beside the database: made once, read at each start, never replaced, since a draw can
be repeated only with the seed that it was made with. The file is one line, `sipagent-seed-1 SECRET NAME`:
the secret and the seed's name, both in hexadecimal. The name shows whether the secret is damaged.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from retention.files import make_folder, write_whole
from retention.texts import WithReason
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
    """What makes draws unpredictable: SECRET_BYTES random bytes, which no representation shows."""

    secret: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Its name in receipts, eight hexadecimal digits; it tells nothing of the secret."""
        return hashlib.sha256(self.secret).hexdigest()[:8]

    def value(self, id: str) -> float:
        """What is drawn for a call's id: 0 ≤ value < 1, all equally likely."""
        bits = int.from_bytes(hmac.digest(self.secret, id.encode(), "sha256")[:8], "big") >> (64 - _BITS)
        return bits / (1 << _BITS)


@dataclass(frozen=True, slots=True)
class Draw:
    """`value` and `seed`, its name, are null without a seed."""

    share: float
    value: float | None
    seed: str | None

    @property
    def drawn(self) -> bool:
        """Whether the call may be asked. If every call is, this needs no seed."""
        return self.share >= 1 or (self.value is not None and self.value < self.share)

    def __str__(self) -> str:
        what = "no seed" if self.value is None else f"{self.value!r} of seed {self.seed}"
        return f"{'drawn' if self.drawn else 'not drawn'}: {what}, share {self.share!r}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The inverse of `str`; None for any other text, also one that contradicts itself."""
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
    """Draw for a call. Equal arguments give equal draws; a call drawn at a share is also drawn at a larger
    one."""
    return Draw(share, seed.value(id), seed.name) if seed else Draw(share, None, None)


@dataclass(frozen=True, slots=True)
class Window:
    """Times of the week with another share. `days`: 0 is Monday. `operator_begins`: see `Shares`."""

    days: tuple[int, ...]
    hours: tuple[Interval, ...]
    share: float
    operator_begins: bool = False

    @property
    def minutes(self) -> int:
        """Its length in a week without a change of the clock, in minutes."""
        return len(self.days) * sum(end - start for start, end in self.hours)

    def holds(self, day: int, minute: int) -> bool:
        return day in self.days and any(start <= minute < end for start, end in self.hours)

    def overlaps(self, other: "Window") -> str | None:
        """The name of a day with a minute in both, if there is one."""
        for day in sorted({*self.days} & {*other.days}):
            for start, end in self.hours:
                if any(start < theirs[1] and theirs[0] < end for theirs in other.hours):
                    return DAYS[day]
        return None


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of calls at each moment, on the wall clock of `timezone`; outside the windows `share`.

    `operator_begins`: nothing is recorded before the operator asks for it; outside the windows, too.
    """

    timezone: ZoneInfo
    share: float
    windows: tuple[Window, ...] = ()
    operator_begins: bool = False

    def at(self, moment: datetime) -> "Window | Shares":
        """What holds at an aware moment: a window, or what is outside of them."""
        local = moment.astimezone(self.timezone)
        minute = local.hour * 60 + local.minute
        found = (window for window in self.windows if window.holds(local.weekday(), minute))
        return next(found, self)

    @property
    def begins(self) -> frozenset[bool]:
        """Whether the operator begins a recording: at all times, at none, or at some (both)."""
        return frozenset(window.operator_begins for window in self._in_effect())

    @property
    def lowest(self) -> float:
        """Of the shares that are ever in effect."""
        return min(one.share for one in self._in_effect())

    @property
    def highest(self) -> float:
        """Of the shares that are ever in effect."""
        return max(one.share for one in self._in_effect())

    def _in_effect(self) -> Iterator["Window | Shares"]:
        yield from self.windows
        if sum(window.minutes for window in self.windows) < _WEEK_MINUTES:
            yield self


_SEED_LINE = re.compile(rb"sipagent-seed-1 ([0-9a-f]{%d}) ([0-9a-f]{8})\n" % (2 * SECRET_BYTES))
_SEED_LIMIT = 256  # bytes: no more is read


class SeedError(WithReason):
    """The file has no seed; `str()` is one line."""


def read_seed(path: Path) -> Seed:
    """Read it. Raises SeedError, OSError; FileNotFoundError if it is missing."""
    with path.open("rb") as file:
        found = _SEED_LINE.fullmatch(file.read(_SEED_LIMIT))
    seed = Seed(bytes.fromhex(found[1].decode())) if found else None
    if found is None or seed is None or seed.name != found[2].decode():
        raise SeedError("{0} is damaged: put back a copy, or remove it for a new one", path)
    return seed


def keep_seed(path: Path) -> Seed:
    """Read it, or make it (mode 0600) if it is missing: only with the database's lock.

    After a crash it is whole or missing. Raises SeedError, OSError.
    """
    try:
        return read_seed(path)
    except FileNotFoundError:
        seed = Seed(secrets.token_bytes(SECRET_BYTES))
        make_folder(path.parent)
        write_whole(path, f"sipagent-seed-1 {seed.secret.hex()} {seed.name}\n".encode())
        return seed

"""What happens in one round: drawn from the seed and its number alone, so that any can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Way = Literal["listens", "refuses", "refuses_late", "leaves"]
Then = Literal["", "hold", "delete"]
Kind = Literal[
    "none", "process", "host", "drain", "database", "standby", "promotion", "database_pauses", "store",
    "store_pauses", "cut_database", "stall_database", "cut_store", "stall_store",
]  # fmt: skip
HOSTS = ("a", "b", "c")
_WAYS: tuple[Way, ...] = ("listens", "listens", "listens", "refuses", "refuses_late", "leaves")
_KINDS: dict[Kind, int] = {
    "none": 2, "process": 4, "host": 5, "drain": 1, "database": 3, "standby": 1, "promotion": 2,
    "database_pauses": 2, "store": 3, "store_pauses": 2, "cut_database": 2, "stall_database": 2,
    "cut_store": 2, "stall_store": 2,
}  # fmt: skip
CALLS = (2, 5)
NOTICE_AND_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """One caller: which host first, after how long, how long it talks, when it presses 9; what is asked then.

    Seconds: `begins_s` from the round's begin, `key_at_s` and `ends_at_s` from the answer.
    """

    number: int
    first: str
    begins_s: float
    way: Way
    key_at_s: float
    ends_at_s: float
    then: Then


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, `at_s` from the begin, for `lasts_s`; `late`: while holds and deletions go on."""

    kind: Kind
    host: str
    at_s: float
    lasts_s: float
    late: bool


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    calls: tuple[Call, ...]
    fault: Fault
    purge: bool  # by two hosts at once, of all that isn't held


NO_FAULT = Fault("none", "a", 0, 0, False)


def draw(seed: int, number: int) -> Round:
    """The round of this number."""
    chance = random.Random(f"{seed}/{number}")
    calls = tuple(_call(chance, number * 8 + index) for index in range(chance.randint(*CALLS)))
    kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
    fault = Fault(
        kind=kind,
        host=chance.choice(HOSTS),
        at_s=chance.uniform(0.2, 2.5),
        lasts_s=chance.uniform(0.5, 4.0),
        late=chance.random() < 0.25 and kind not in ("drain", "none"),
    )
    return Round(number, calls, fault, chance.random() < 0.1)


def _call(chance: random.Random, number: int) -> Call:
    way = chance.choice(_WAYS)
    talk = chance.uniform(0.3, 3.0)
    return Call(
        number=number,
        first=chance.choice(HOSTS),
        begins_s=chance.uniform(0, 0.8),
        way=way,
        key_at_s=chance.uniform(0.1, 0.9)
        if way == "refuses"
        else NOTICE_AND_WINDOW_S + chance.uniform(0.4, talk),
        ends_at_s=chance.uniform(0.1, 1.2) if way == "leaves" else NOTICE_AND_WINDOW_S + talk + 0.6,
        then=chance.choices(("", "hold", "delete"), (6, 3, 1))[0],
    )

"""What an agent asks of the operators' board, and what it is told: frozen, for the inbox and for the link.

Calls are named by their ids, which no two processes give alike.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seek:
    """Who is to be rung for the call? Not those that it has `tried`; its process has `legs` for ringing.

    `Offered` is the answer.
    """

    call: str
    tried: tuple[str, ...]
    legs: int


@dataclass(frozen=True, slots=True)
class Claim:
    """May this one be rung, whom nobody was asked for: a transfer? `Claimed` is the answer."""

    call: str
    uri: str


@dataclass(frozen=True, slots=True)
class Release:
    """The call needs that operator no more. `talked`: and has had him, so that he may rest.

    `willing`: he is there, so that those who wait may have him at once.
    """

    call: str
    uri: str
    talked: bool
    willing: bool


@dataclass(frozen=True, slots=True)
class Served:
    """An operator talks with the caller, who waits no longer."""

    call: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The call is over; whoever is still its own is free."""

    call: str


@dataclass(frozen=True, slots=True)
class Offered:
    """These are to be rung for the call, and nobody else rings them; none: nobody is free, or its turn."""

    call: str
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether that operator is the call's now."""

    call: str
    uri: str
    granted: bool


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Somebody is free: the call, if it waits, need not wait until its next look."""

    call: str


@dataclass(frozen=True, slots=True)
class BoardLost:
    """The link has ended, and with it the board."""


@dataclass(frozen=True, slots=True)
class BoardHeard:
    """The way to the board of all hosts has something to be looked at."""


Asked = Seek | Claim | Release | Served | Leave
Answer = Offered | Claimed | AskAgain

"""What REFER brings into a call: the facts of it, and the orders that answer them. Part of `events`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """An operator's phone has asked by REFER that the caller go to `target` (RFC 3515), one of those that
    `AllowTransfer` named. Its REFER has been accepted and waits for `TellTransfer`.

    `replaces`: the value of the Replaces header that takes over the phone's own call there (RFC 3891), empty
    for a blind transfer. `free`: nobody else rings or talks there; `room`: there may be a third leg.
    """

    leg: int
    target: str
    replaces: str = ""
    free: bool = True
    room: bool = True


@dataclass(frozen=True, slots=True)
class TransferDenied:
    """A leg has asked for a transfer that it may not have; it was told 403."""

    leg: int


@dataclass(frozen=True, slots=True)
class ReferAnswered:
    """The final answer to our REFER on a leg: below 300, `ReferNotified` follows. 0: it could not be sent."""

    leg: int
    status: int


@dataclass(frozen=True, slots=True)
class ReferNotified:
    """What has become of our REFER so far: the status in a sipfrag, 100 and more (RFC 3515 section 2.4.4)."""

    leg: int
    status: int


ReferralFact = TransferAsked | TransferDenied | ReferAnswered | ReferNotified


@dataclass(frozen=True, slots=True)
class Separate:
    """Caller and operator hear each other no longer; both legs stay up."""

    leg: int


@dataclass(frozen=True, slots=True)
class AllowTransfer:
    """Accept one REFER from a leg, to one of these URIs; anything else gets 403, as from every other leg."""

    leg: int
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TellTransfer:
    """Tell a leg what becomes of the transfer that it asked for; `last`: nothing more will be told."""

    leg: int
    status: int
    last: bool


@dataclass(frozen=True, slots=True)
class Refer:
    """Ask a leg's other side by REFER to call `uri` in our place: `ReferAnswered`, `ReferNotified` follow."""

    leg: int
    uri: str


@dataclass(frozen=True, slots=True)
class GiveUpRefer:
    """Wait no longer for the answer to a REFER."""

    leg: int


ReferralOrder = Separate | AllowTransfer | TellTransfer | Refer | GiveUpRefer

"""Who is being rung for one caller: a small pure machine that `flow.CallFlow` drives.

Any number of phones may ring at once, as the board of operators offers them; the first that answers is kept,
the others are told that the call was completed elsewhere. Legs are numbered in the order of dialling, so that
a late word of an earlier one is never taken for the present one's. Times are monotonic seconds.
"""

from dataclasses import dataclass, replace

from sipagent.call import events as e


@dataclass(frozen=True, slots=True)
class Operator:
    """One who is being rung, or who has answered. `recorded`: what the phone shows.

    Until something answers for the phone (`reached`), it is given up at `gives_up_at`, then at `rings_until`.
    """

    leg: int
    uri: str
    recorded: bool
    rings_until: float = 0.0
    gives_up_at: float = 0.0
    reached: bool = False
    answered: bool = False
    telephone_event: bool = False
    audible: bool = False  # the leg sends


BUSY, DECLINED = (486, 600), (603,)  # RFC 3261 section 21
GONE = (404, 408, 410, 430, 480)  # of a phone that is off, as its PBX says it; so does each 5xx


def refused(uri: str, status: int) -> e.ReportOperator:
    """What a final answer of 300 or more says of a phone."""
    if status in BUSY:
        return e.ReportOperator(uri, "busy", status)
    if status in DECLINED:
        return e.ReportOperator(uri, "declined", status)
    gone = status in GONE or 500 <= status < 600
    return e.ReportOperator(uri, "unreachable" if gone else "refused", status)


class Hunt:
    """Methods that return commands give those that follow. `operator` is who has answered."""

    def __init__(self) -> None:
        self.dialled = 0
        self.tried: tuple[str, ...] = ()
        self.ringing: tuple[Operator, ...] = ()
        self.operator: Operator | None = None

    @property
    def deadline(self) -> float | None:
        """When the first of those who ring is given up."""
        return min((one.gives_up_at for one in self.ringing), default=None)

    def again(self) -> list[e.Command]:
        """Begin a round over the operators."""
        self.tried = ()
        return self.seek()

    def seek(self) -> list[e.Command]:
        """Ask for those who have not been tried in this round."""
        return [e.SeekOperator(self.tried)]

    def next_leg(self) -> int:
        """The number of a leg that is to be dialled."""
        self.dialled += 1
        return self.dialled

    def dial(
        self, uri: str, recorded: bool, gives_up_at: float = 0.0, rings_until: float = 0.0
    ) -> list[e.Command]:
        self.next_leg()
        self.ringing += (Operator(self.dialled, uri, recorded, rings_until, gives_up_at),)
        return [e.DialOperator(self.dialled, uri, recorded)]

    def reached(self, leg: int) -> None:
        """Something has answered for the phone, so it has its whole time to ring."""
        self.ringing = tuple(
            replace(one, reached=True, gives_up_at=one.rings_until) if one.leg == leg else one
            for one in self.ringing
        )

    def overdue(self, now: float) -> list[Operator]:
        return [one for one in self.ringing if one.gives_up_at <= now]

    def lose(self, leg: int) -> Operator | None:
        """The leg of one who was rung or had answered won't do; None where it is neither."""
        here = [*self.ringing, *([self.operator] if self.operator else [])]
        lost = next((one for one in here if one.leg == leg), None)
        if lost:
            self.tried += (lost.uri,)
            self.ringing = tuple(one for one in self.ringing if one.leg != leg)
            self.operator = None if self.operator == lost else self.operator
        return lost

    def answered(self, leg: int, telephone_event: bool) -> Operator | None:
        """This one has answered; None where the leg does not ring, or another was quicker."""
        first = next((one for one in self.ringing if one.leg == leg), None)
        if first is None:
            return None
        self.ringing = tuple(one for one in self.ringing if one.leg != leg)
        self.operator = replace(first, answered=True, telephone_event=telephone_event)
        return self.operator

    def audible(self, leg: int) -> bool:
        """The leg sends; whether it is that of who has answered."""
        if self.operator is None or self.operator.leg != leg:
            return False
        self.operator = replace(self.operator, audible=True)
        return True

    def elsewhere(self) -> list[e.Command]:
        """Those who still ring are not needed: another has answered."""
        ringing, self.ringing = self.ringing, ()
        return [e.HangUp(one.leg, elsewhere=True) for one in ringing]

    def spare(self) -> Operator | None:
        """Give up the one rung last where more than one rings: its leg is wanted for another caller."""
        if len(self.ringing) < 2:
            return None
        *kept, spared = self.ringing
        self.ringing = tuple(kept)
        return spared

    def drop(self) -> list[e.Command]:
        """Nobody is needed any more."""
        here = [*self.ringing, *([self.operator] if self.operator else [])]
        self.ringing, self.operator = (), None
        return [e.HangUp(one.leg) for one in here]

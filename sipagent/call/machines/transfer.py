"""One call on its way from an operator to another: a small pure machine that `transferring` drives.

The giver's phone has asked for it. Where there is a leg more, the giver's stays up until somebody has
answered and is heard; else it is given up first, also later when another caller needs the leg. Whoever was
asked for and doesn't come: the caller goes back to the giver, who is rung again where the leg is gone.
"""

from dataclasses import dataclass, replace

from sipagent.call import events as e
from sipagent.call import referral as r
from sipagent.call.machines.hunt import Operator


@dataclass(frozen=True, slots=True)
class Transfer:
    """`leg`: who is being rung, None before; `there`: the giver's leg is still up.

    `rings_until`: when the leg is given up (monotonic s), unless somebody has `answered`.
    """

    giver: Operator
    target: str
    replaces: str = ""
    there: bool = True
    leg: int | None = None
    recorded: bool = False  # what its phone shows
    rings_until: float = 0.0
    answered: Operator | None = None
    given_up: bool = False  # who is being rung has been told so; the leg is not gone yet

    @property
    def returning(self) -> bool:
        """Whether it is the giver who is rung again."""
        return self.target == self.giver.uri

    @property
    def waits(self) -> bool:
        """Whether a phone rings that nobody has answered yet."""
        return self.leg is not None and self.answered is None and not self.given_up

    @property
    def spare(self) -> bool:
        """Whether the giver's leg could be given up: another one rings, or has answered."""
        return self.there and self.leg is not None and not self.given_up

    def rings(self, leg: int, recorded: bool, until: float) -> "Transfer":
        return replace(self, leg=leg, recorded=recorded, rings_until=until)

    def answers(self, leg: int, telephone_event: bool) -> "Transfer":
        """The 200 has come; `there` as before, until there is sound."""
        operator = Operator(leg, self.target, self.recorded, answered=True, telephone_event=telephone_event)
        return replace(self, answered=operator)

    def left(self) -> "Transfer":
        """The giver's leg is gone."""
        return replace(self, there=False)

    def gives_up(self) -> "Transfer":
        return replace(self, given_up=True)

    def returns(self) -> "Transfer":
        """The giver, whose leg is gone, is to be rung again."""
        return Transfer(self.giver, self.giver.uri, there=False)

    def tells(self, status: int) -> list[e.Command]:
        """The last word to the giver's phone, if it still listens."""
        return [r.TellTransfer(self.giver.leg, status, last=True)] if self.there else []

    def drop(self) -> list[e.Command]:
        """Nobody is needed any more."""
        legs = [self.leg] if self.leg is not None and not self.given_up else []
        return [e.HangUp(leg) for leg in (*legs, *([self.giver.leg] if self.there else []))]

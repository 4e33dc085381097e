"""Who is being rung for one caller: a small pure machine that `callflow.CallFlow` drives.

One operator at a time, as the board of operators offers them; legs are numbered in the order of dialling, so
that a late word of an earlier one is never taken for the present one's.
"""

from dataclasses import dataclass, replace

from sipagent import events as e


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator who is being rung, or who has answered."""

    leg: int
    uri: str
    answered: bool = False
    telephone_event: bool = False


class Hunt:
    """Methods give the commands that follow."""

    def __init__(self) -> None:
        self.dialled = 0
        self.tried: tuple[str, ...] = ()
        self.operator: Operator | None = None

    def again(self) -> list[e.Command]:
        """Begin a round over the operators."""
        self.tried = ()
        return [e.SeekOperator(())]

    def dial(self, uri: str, recorded: bool) -> list[e.Command]:
        self.dialled += 1
        self.operator = Operator(self.dialled, uri)
        return [e.DialOperator(self.dialled, uri, recorded)]

    def next(self) -> list[e.Command]:
        """The present one won't do."""
        if self.operator:
            self.tried += (self.operator.uri,)
        self.operator = None
        return [e.SeekOperator(self.tried)]

    def answered(self, leg: int, telephone_event: bool) -> Operator | None:
        """The present one has answered; None where the leg is another's."""
        if self.operator is None or self.operator.leg != leg:
            return None
        self.operator = replace(self.operator, answered=True, telephone_event=telephone_event)
        return self.operator

    def drop(self) -> list[e.Command]:
        """Nobody is needed any more."""
        operator, self.operator = self.operator, None
        return [e.HangUp(operator.leg)] if operator else []

"""What the supervisor and its children tell each other: frozen values over one pipe a child.

A child is a worker, which takes calls, or the registrar. `multiprocessing.connection` pickles each value,
so what it holds must be plain: numbers, texts, tuples of them. The end of the pipe is a message, too: to a
child that the supervisor has died, to the supervisor that the child has.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker takes calls, or the registrar's account is registered.

    `legs`: how many its engine carries; `port`: where it hears SIP, on 127.0.0.1.
    """

    port: int
    legs: int


@dataclass(frozen=True, slots=True)
class NotReady:
    """The registrar has refused or was not reached: `status` is the SIP status, 0 without an answer."""

    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A child can't start, for want of what a new attempt won't bring by itself; it ends after that."""

    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more calls; end once the last one has ended, or `patience_s` from now."""

    patience_s: float


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the configuration file anew, which the supervisor has read and found in order.

    `calls`: how many the worker takes from now on.
    """

    calls: int


ToChild = Drain | Reload
ToSupervisor = Ready | NotReady | Failed
Message = ToChild | ToSupervisor

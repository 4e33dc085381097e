"""What the supervisor and its children tell each other: frozen values over one pipe a child.

A child is a worker, which takes calls, or the registrar. `multiprocessing.connection` pickles each value.
The end of the pipe is a message, too: to a child that the supervisor has died, to the supervisor that the
child has.
"""

from dataclasses import dataclass

from retention.recording import Receipt
from sipagent.agent.admission import Admission
from sipagent.agent.engine import RealmLearnt
from sipagent.agent.figures import Figures
from sipagent.agent.operators.asking import Answer, Asked
from sipagent.config.load import Config


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker takes calls from now on, or the registrar's account is registered."""


@dataclass(frozen=True, slots=True)
class Alive:
    """A worker's SIP thread is running; sent every few seconds after `Ready`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A caller has refused. A message in the pipe outlives the worker, even if it never commits."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class NotRegistered:
    """The registrar has refused, or has not answered, or no longer knows us."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more calls; end once the last one has ended, or `patience_s` from now."""

    patience_s: float


@dataclass(frozen=True, slots=True)
class Reload:
    """New rules for the calls to come; `rules.calls` is how many a worker takes at a time."""

    config: Config
    rules: Admission


ToChild = Drain | Reload | Answer | RealmLearnt
ToSupervisor = Ready | Alive | Refused | NotRegistered | RealmLearnt | Asked | Figures

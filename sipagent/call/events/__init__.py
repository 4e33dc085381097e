"""What happens to a call (facts, past tense) and what is to be done about it (commands, imperative).

Facts travel inwards: engine, listener, recorder and clock put them into the agent's inbox, and
`flow.CallFlow.handle` takes them one by one. Commands travel outwards: the agent carries them out.
All of them are frozen values without behaviour; nothing here knows a clock, a thread or a socket.

A leg is named by a small number within its call: 0 is the caller, 1, 2, 3, … are the operators in the
order in which they were dialled.
"""

from sipagent.call.events.commands import *  # noqa: F403 - who imports this sees all of them as one
from sipagent.call.events.facts import *  # noqa: F403
from sipagent.call.events.words import *  # noqa: F403

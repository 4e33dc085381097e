"""Those who call and those who are called, each on a thread of their own, and what they know afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sipagent.softphone.phone import Answering, Call, Loop, Phone, PhoneTimeout
from sipagent.softphone.rtp import SteadyTone
from tests.cluster import plan
from tests.cluster.sound import Marked

TRUNK, DESKS = "127.0.0.2", "127.0.0.4"
NUMBERS = "+33698"  # whatever holds this in clear leads to a caller of ours
ANSWER_S = 4.0


def number_of(caller: int) -> str:
    return f"{NUMBERS}{caller:06}"


class Desk(Phone):
    """An operator's phone: busy while it is in a call or rings, as any is."""

    @property
    def answer(self) -> Answering:
        busy = sum(call.ended_ns is None for call in self.calls) > 1  # one is the call that is asking
        return Answering(status=486, ring=False) if busy else Answering(after_s=0.05)

    @answer.setter
    def answer(self, _: Answering) -> None:
        """It decides itself."""


def desks(loop: Loop, count: int) -> list[Desk]:
    made = []
    for index in range(count):
        desk = Desk(loop, f"desk{index}", DESKS)
        desk.sound = lambda: SteadyTone(1000.0)
        made.append(desk)
    return made


@dataclass(slots=True)
class Attempt:
    """An INVITE: to which host, and what was answered; 0 for nothing."""

    host: str
    call_id: str
    at_ns: int
    status: int = 0


@dataclass(slots=True)
class Told:
    """What one caller knows of its calls in a round; times monotonic, ns."""

    call: plan.Call
    attempts: list[Attempt] = field(default_factory=list)
    answered_ns: int | None = None
    pressed_ns: int | None = None
    ended_ns: int | None = None

    @property
    def answered(self) -> Attempt | None:
        """The one that was answered, if any was."""
        return next((one for one in self.attempts if one.status == 200), None)


class Caller:
    """Calls by the plan; where a host does not answer or has no room, the next, as a trunk would."""

    def __init__(self, loop: Loop, call: plan.Call, hosts: Mapping[str, str], began: float) -> None:
        self._loop, self._call, self._hosts, self._began = loop, call, hosts, began
        self.told = Told(call)
        self.thread = threading.Thread(target=self._run, name=f"caller-{call.number}")
        self.thread.start()

    def _run(self) -> None:
        time.sleep(max(0.0, self._began + self._call.begins_s - time.monotonic()))
        with Phone(self._loop, number_of(self._call.number), TRUNK) as phone:
            phone.sound = lambda: Marked(self._call.number)
            for host in self._order():
                if (up := self._try(phone, host)) is not None:
                    self._talk(up)
                    return

    def _order(self) -> Sequence[str]:
        """All hosts, the planned one first."""
        names = list(self._hosts)
        first = names.index(self._call.first)
        return names[first:] + names[:first]

    def _try(self, phone: Phone, host: str) -> Call | None:
        call = phone.call(self._hosts[host])
        attempt = Attempt(host, call.call_id, time.monotonic_ns())
        self.told.attempts.append(attempt)
        try:
            attempt.status = call.wait_status(ANSWER_S)
        except PhoneTimeout:
            call.cancel()
            with suppress(PhoneTimeout):
                attempt.status = call.wait_status(0.5)
        if call.answered_ns is None:
            return None
        self.told.answered_ns = call.answered_ns
        return call

    def _talk(self, call: Call) -> None:
        if self._call.way.startswith("refuses") and not _ended_within(call, self._call.key_at_s):
            self.told.pressed_ns = call.pressed_ns(call.press("9"))
        if not _ended_within(call, self._call.ends_at_s):
            call.hang_up()
        self.told.ended_ns = call.ended_ns


def _ended_within(call: Call, seconds: float) -> bool:
    """Whether the call has ended by so many seconds after its answer."""
    left = seconds - (time.monotonic_ns() - (call.answered_ns or 0)) / 1e9
    with suppress(PhoneTimeout):
        call.loop.wait_for(lambda: call.ended_ns is not None, max(0.0, left), "end")
        return True
    return False

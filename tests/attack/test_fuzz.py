"""What the grammar makes, against a whole service in both shapes, and against the engine behind its rules.

`FUZZ_MESSAGES` of the seed `FUZZ_SEED`, which is printed: `make fuzz MESSAGES=1000000 SEED=7`.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sipagent.softphone.phone import Call, PhoneError
from tests.attack.adversary import PATIENCE, Side
from tests.attack.fuzz import ended_by, hunt
from tests.attack.grammar import Case, case
from tests.attack.killers import KILLERS
from tests.attack.site import DESKS, SHAPES, TRUNK, Shape, Site, descendants
from tests.live import calls
from tests.tapping import wait_for

pytestmark = pytest.mark.live

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 24)
LIVE: dict[Shape, int] = {"alone": MESSAGES // 200, "edge": MESSAGES // 200}  # which are slower by far
BARE = (MESSAGES - sum(LIVE.values())) // 2  # for the engine alone, with and without SRTP
# Beside the adversary's a call of others, where there is room.
CAPACITY: dict[Shape, int] = {"alone": 1, "edge": 4}
BATCH = 25  # messages between two that wait for an answer: a socket holds some hundred
STAYS_S = 120.0  # longer than any leg that an adversary leaves behind
GROWTH_MIB = 150  # of all its processes; a call's memory comes back after a while


class Adversary:
    """A caller of the trunk's and an operator's phone, which go from call to call."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.caller = Side(TRUNK, "+33698765432", site.address, site.uri())
        self.phone = Side(DESKS, "202", site.address, site.uri())
        self.calls = self.unanswered = 0
        for side in (self.caller, self.phone):
            site.stack.callback(side.close)

    def play(self, one: Case) -> None:
        side = self.caller
        if one.where == "phone":
            if not (self.phone.dialog and self.phone.dialog.up and not self.phone.dialog.over):
                one = replace(one, where="caller")
            else:
                side = self.phone
        elif one.where == "reply":
            side = self.phone
        self.has_caller()
        side.play(one)
        self.pump()

    def pump(self) -> None:
        self.caller.pump()
        self.phone.pump()
        self.caller.answer_well()
        asked = self.phone.asked
        if asked and (asked.message.method != "INVITE" or asked.played >= PATIENCE):
            self.phone.answer_well()

    def until(self, happened: Callable[[], object], seconds: float) -> bool:
        patience = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > patience:
                return False
            self.caller.wait(0.002)
            self.pump()
        return True

    def has_caller(self) -> None:
        """A call that is up, or one more try: nobody is refused for longer than a leg may stay."""
        patience = time.monotonic() + STAYS_S
        while not (self.caller.dialog and self.caller.dialog.up and not self.caller.dialog.over):
            assert time.monotonic() < patience, (
                f"seed {SEED}: no call is taken\n{self.site.agent.child.tail()}"
            )
            alive(self.site)
            dialog = self.caller.invite(("Supported", "record-aware, 100rel, timer"))
            self.calls += 1
            self.until(lambda d=dialog: d.up or d.over, 5.0)  # type: ignore[misc]
            if not dialog.up:
                dialog.over = True
                self.until(lambda: False, 0.2)  # there is no place for a moment

    def keeps_pace(self) -> None:
        """What was sent has been read: a question that lies behind it is answered."""
        self.has_caller()
        asked = self.caller.ask("OPTIONS")
        if not self.until(lambda: asked in self.caller.answers, 2.0):
            self.unanswered += 1
            assert self.caller.dialog
            self.caller.leave(self.caller.dialog)
        self.caller.answers.clear()

    def leaves(self) -> None:
        if self.caller.dialog and self.caller.dialog.up:
            self.caller.ask("BYE")


def alive(there: Site) -> list[int]:
    """The service's processes, its first one before the others."""
    assert there.agent.child.running, there.agent.child.tail()
    return [there.agent.pid, *descendants(there.agent.pid)]


def rss_mib(pids: list[int]) -> float:
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids) / (1 << 20)


def decision(there: Site, call: Call) -> str | None:
    """What the receipt of a call that is over says of it; who was turned away before has others."""
    mine = (one for one in there.agent.receipts() if one["caller"] == call.phone.user and one["ended_at"])
    return next((str(one["decision"]) for one in mine if one["outcome"] == "connected"), None)


def next_one(there: Site, adversary: Adversary) -> calls.Bridge:
    """Who calls afterwards, once the adversary's last legs are over."""
    patience = time.monotonic() + 60
    there.desk.skip_calls()  # those of the adversary's that it has taken
    while (call := there.caller.call(there.uri())).wait_status() != 200:
        assert time.monotonic() < patience, f"nobody is served any more: {call.status}"
        adversary.until(lambda: False, 1.0)
    try:
        return calls.bridged(call, there.desk, 30)
    except PhoneError as failure:
        raise AssertionError(f"seed {SEED}: {failure}\n{there.agent.child.tail()}") from failure


def playable() -> Iterator[tuple[int, Case]]:
    """Those that leave the way back to the adversary: a BYE without an answer holds a leg for 32 s."""
    return ((index, one) for index in itertools.count() if (one := case(SEED, index)).keeps_contact)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_message_ends_a_process_or_a_call_of_others(shape: Shape, tmp_path: Path) -> None:
    """Who spoke before goes on to speak, and refuses; and so does who comes afterwards."""
    print(f"seed {SEED}: {LIVE[shape]} messages, {shape}")
    with ExitStack() as stack:
        capacity = {"calls": CAPACITY[shape], "calls_per_process": min(2, CAPACITY[shape])}
        there = Site(tmp_path / "agent", stack, shape, capacity=capacity)
        adversary = Adversary(there)
        there.agent.rewrite(operators={"extensions": [there.desk.uri, adversary.phone.own_uri]})
        there.start()
        others = there.talk() if shape == "edge" else None
        processes = alive(there)
        before, began = rss_mib(processes), time.monotonic()
        for played, (index, one) in enumerate(itertools.islice(playable(), LIVE[shape])):
            adversary.play(one)
            if played % BATCH == 0:
                adversary.keeps_pace()
                assert alive(there) == processes, f"seed {SEED}, until {index}"
        adversary.leaves()
        rate = LIVE[shape] / (time.monotonic() - began)
        print(f"{shape}: {rate:.0f}/s, {adversary.calls} calls, {adversary.unanswered} unanswered")
        assert rss_mib(processes) - before < GROWTH_MIB
        bridge = others or next_one(there, adversary)
        bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ, 20)
        bridge.operator.rtp.wait_tone(calls.CALLER_HZ, 20)
        bridge.caller.press("9")
        bridge.hang_up()
        wait_for(lambda: decision(there, bridge.caller) is not None)
        assert decision(there, bridge.caller) == "refused"
        assert alive(there) == processes


@pytest.mark.parametrize("srtp", ["off", "optional"])
def test_no_message_ends_the_engine(srtp: str) -> None:
    assert not hunt(SEED, 0 if srtp == "off" else BARE, BARE, srtp)


@pytest.mark.parametrize("name", KILLERS)
def test_what_has_ended_the_engine_does_so_no_more(name: str) -> None:
    assert ended_by(list(enumerate(KILLERS[name])), 1, "optional") == ""

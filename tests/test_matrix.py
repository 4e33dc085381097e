"""Whatever an operator's phone does, whatever was decided: four things hold. Who waits is served in turn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from sipagent.agent.admission import Admission
from sipagent.agent.board import Strategy
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.state import Policy
from tests.driving import DESK, RULES, SECOND_DESK
from tests.simulation import (
    HOP_S,
    Caller,
    Phone,
    Phones,
    Town,
    answered,
    gone,
    heard,
    reached,
    simulated,
    talks,
)

SILENCE_S = 2.0
NINE = e.DtmfPressed(CALLER, "9", "rfc4733")
ONE = e.DtmfPressed(CALLER, "1", "rfc4733")
SAID_NO = e.KeywordHeard(e.Wish.REFUSE, "je refuse", 0.9)
SAID_SOMETHING = e.KeywordHeard(e.Wish.UNCLEAR, "", 0.5)
ON_HOLD = ((1.0, e.LegHeld(CALLER, sends=True)), (1.5, e.LegResumed(CALLER)))
STRATEGIES: tuple[Strategy, ...] = ("sequential", "simultaneous")
LEAVES_S = 100.0  # after the INVITE the caller hangs up whatever has happened

OUTCOMES: dict[str, Phone] = {
    "answers": talks(8.0),
    "busy": [(HOP_S, gone(486))],
    "declines": [(HOP_S, reached), (2.0, gone(603))],
    "away": [(HOP_S, gone(480))],
    "moved": [(HOP_S, gone(302))],
    "broken": [(HOP_S, gone(503))],
    "wants another password": [(HOP_S, gone(407))],
    "no answer": [(HOP_S, reached)],
    "unreachable": [],
    "answers and vanishes": [(HOP_S, reached), (1.0, answered)],
    "answers and hangs up": [(HOP_S, reached), (1.0, answered), (1.01, gone(200))],
    "talks and loses its media": [*talks(60.0)[:3], (20.0, e.MediaLost)],
    "answers on hold": [(HOP_S, reached), (1.0, lambda leg: e.LegHeld(leg, sends=False)), (1.0, answered)],
    "answers after its time": [(HOP_S, reached), (20.003, answered), (20.02, heard)],
}


def by_policy(**changes: object) -> Callable[[Admission], Admission]:
    return lambda rules: replace(rules, policy=replace(rules.policy, **changes))  # type: ignore[arg-type]


def unchanged(rules: Admission) -> Admission:
    return rules


Script = tuple[tuple[float, e.Fact], ...]
DECISIONS: dict[str, tuple[str, Callable[[Admission], Admission], Script]] = {
    "silence": ("allowed", unchanged, ()),
    "key in the notice": ("refused", unchanged, ((1.0, NINE),)),
    "key in the window": ("refused", unchanged, ((4.0, NINE),)),
    "key while it rings": ("refused", unchanged, ((5.3, NINE),)),
    "key in the call": ("refused", unchanged, ((9.0, NINE),)),
    "unclear while it rings": ("not_allowed", by_policy(voice=True), ((5.3, SAID_SOMETHING),)),
    "yes": ("allowed", by_policy(opt_in=True), ((3.0, ONE),)),
    "no yes": ("not_allowed", by_policy(opt_in=True), ()),
    "spoken refusal": ("refused", by_policy(voice=True), ((3.0, SAID_NO),)),
    "unclear": ("refused", by_policy(voice=True), ((3.0, SAID_SOMETHING),)),
    "notice not heard": ("not_allowed", unchanged, ON_HOLD),
    "nobody can listen": ("not_allowed", unchanged, ((1.0, e.HearingFailed("detector")),)),
    "nobody can listen any more": ("not_allowed", unchanged, ((2.5, e.HearingFailed("detector")),)),
    "not drawn": ("not_allowed", by_policy(recording=False), ()),
}  # fmt: skip


@contextmanager
def one_call(
    folder: Path, patch: pytest.MonkeyPatch, outcome: str, decision: str, strategy: Strategy
) -> Iterator[tuple[Town, Caller]]:
    """The first phone does what it does; the second is busy but for one time in three."""
    _, change, script = DECISIONS[decision]
    policy = replace(RULES.policy, max_wait_s=60.0, simultaneous=strategy == "simultaneous")
    rules = change(replace(RULES, strategy=strategy, policy=policy))
    busy = OUTCOMES["busy"]
    phones: Phones = {DESK: OUTCOMES[outcome], SECOND_DESK: cycle([busy, busy, talks(8.0)])}
    with simulated(folder, patch, rules, phones) as town:
        caller = town.calls(0.0, *script, (LEAVES_S, e.LegGone(CALLER, 200)))
        town.run()
        yield town, caller


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_with_every_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str, decision: str, strategy: Strategy
) -> None:
    with one_call(tmp_path, monkeypatch, outcome, decision, strategy) as (town, caller):
        assert town.engine.ordered("dial"), "nobody was rung"
        assert town.engine.undecided_dials == []
        assert caller.longest_silence_s() <= SILENCE_S
        assert (town.engine.up, town.stage.board._engaged) == (set(), {})
        receipt = town.stage.receipt()
        decided = DECISIONS[decision][0]
        before_the_key = decision == "key in the call" and receipt.decided_by == "silence"
        assert receipt.decision == decided or before_the_key, "the caller was gone before"
        if receipt.decision != "allowed":
            rows = town.stage.archive.store.recordings()
            assert town.stage.files() == []
            assert {row.status for row in rows} <= ({"erased"} if decision == "key in the call" else set())


@pytest.mark.parametrize("wrap_up_s", [0.0, 7.5])
@pytest.mark.parametrize("strategy", ["sequential", "simultaneous", "round_robin"])
def test_twenty_callers_for_two_operators_are_served_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: Strategy, wrap_up_s: float
) -> None:
    """Each at once when an operator has talked and rested, not at the next look."""
    served, lost, idle_s = twenty_callers(tmp_path, monkeypatch, strategy, wrap_up_s)
    assert (served, lost) == (list(range(20)), 0)
    assert idle_s < 1.0


def twenty_callers(
    folder: Path, patch: pytest.MonkeyPatch, strategy: Strategy = "sequential", wrap_up_s: float = 0.0
) -> tuple[list[int], int, float]:
    """The order in which they were served, how many were not, and how long an operator sat idle (s)."""
    policy = Policy(window_s=3.0, max_wait_s=600.0, simultaneous=strategy == "simultaneous")
    rules = replace(RULES, policy=policy, calls=20, strategy=strategy, wrap_up_s=wrap_up_s)
    phones = {DESK: talks(10.0), SECOND_DESK: talks(10.0)}
    with simulated(folder, patch, rules, phones, capacity=64) as town:
        callers = [town.calls(0.1 * number) for number in range(20)]
        town.run()
    served = sorted((c.bridged_at, number) for number, c in enumerate(callers) if c.bridged_at is not None)
    gaps = [
        later - earlier - 10.0 - wrap_up_s
        for (earlier, _), (later, _) in zip(served, served[2:], strict=False)
    ]
    return [number for _, number in served], len(callers) - len(served), max(gaps)

"""An office at its worst: callers come, refuse and go at any moment, phones do anything, the rules change.

Everything is drawn from a seed, so a failure can be had again: `test_…[seed]`.
"""

from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from random import Random

import pytest

from sipagent.agent.board import Strategy
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.state import Policy
from tests.driving import DESK, RULES, SECOND_DESK
from tests.simulation import Caller, Phone, Phones, Town, simulated, talks
from tests.test_matrix import OUTCOMES, SILENCE_S, STRATEGIES

DESKS = (DESK, SECOND_DESK, "sip:203@127.0.0.1:5070")
CALLERS, OVER_S = 25, 200.0
LEAVES_S = 400.0  # whoever is left by then


@pytest.mark.parametrize("seed", range(8))
def test_whoever_comes_and_goes_four_things_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = Random(seed)
    strategy: Strategy = chance.choice([*STRATEGIES, "round_robin"])
    policy = Policy(
        window_s=3.0, max_wait_s=chance.choice([15.0, 60.0]), simultaneous=strategy == "simultaneous"
    )
    calls = chance.choice([1, 3, 8])
    rules = replace(
        RULES, policy=policy, strategy=strategy, calls=calls, extensions=DESKS,
        wrap_up_s=chance.choice([0.0, 4.0]),
    )  # fmt: skip
    outcomes = list(OUTCOMES.values())
    phones: Phones = {uri: (_drawn(chance, outcomes) for _ in repeat(None)) for uri in DESKS}
    capacity = 2 * calls + chance.choice([1, 3])
    with simulated(tmp_path, monkeypatch, rules, phones, capacity) as town:
        callers = [town.calls(chance.uniform(0, OVER_S), *_script(chance)) for _ in range(CALLERS)]
        for _ in range(6):
            other = replace(rules, extensions=tuple(chance.sample(DESKS, chance.randint(1, 3))))
            town.engine.later(chance.uniform(0, OVER_S), partial(town.stage.agent.reload, other))
        town.run()
        _nothing_is_left(town)
        for caller in callers:
            assert caller.decided_at is None or caller.longest_silence_s() <= SILENCE_S
        _only_who_allowed_it_is_kept(town, callers)


def _drawn(chance: Random, outcomes: list[Phone]) -> Phone:
    return chance.choice(outcomes) if chance.random() < 0.5 else talks(chance.uniform(1.0, 20.0))


def _script(chance: Random) -> list[tuple[float, e.Fact]]:
    """Impatient as people are: half of them refuse, half are gone before anybody would let them go."""
    script: list[tuple[float, e.Fact]] = [(LEAVES_S, e.LegGone(CALLER, 200))]
    if chance.random() < 0.5:
        script.append((chance.uniform(0.1, 30.0), e.DtmfPressed(CALLER, "9", "rfc4733")))
    if chance.random() < 0.5:
        script.append((chance.uniform(0.02, 30.0), e.LegGone(CALLER, chance.choice([200, 487]))))
    return script


def _nothing_is_left(town: Town) -> None:
    board = town.stage.board
    assert town.engine.undecided_dials == []
    assert (town.engine.up, board._engaged, board.waiting) == (set(), {}, ())
    assert (town.stage.agent._calls.of_leg, town.stage.agent.tapping.of_leg) == ({}, {})
    assert town.engine.most_up <= town.engine.capacity


def _only_who_allowed_it_is_kept(town: Town, callers: list[Caller]) -> None:
    receipts = town.stage.receipts()
    assert len(receipts) == len(callers)
    assert all(receipt.ended_at and receipt.outcome for receipt in receipts)
    rows = {row.id: row.status for row in town.stage.archive.store.recordings()}
    files = {name.partition(".")[0] for name, _ in town.stage.archive.names()}
    for receipt in receipts:
        taped = receipt.decision == "allowed" and receipt.connected_at is not None
        # Nobody says anything here, and an empty recording is marked as failed.
        assert rows.get(receipt.id, "none") in ({"failed"} if taped else {"erased", "none"})
        assert taped or receipt.id not in files

"""Whatever phones do, whatever was decided: no silence, no leg or operator left over, no refuser kept.

Also where the caller goes on to another operator; and an office at its worst, drawn from a seed, so that a
failure can be had again: `test_…[seed]`. Who waits is served in turn.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, cycle, repeat
from pathlib import Path
from random import Random

import pytest

from sipagent.agent.admission import Admission
from sipagent.agent.board import Strategy
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.state import Policy
from tests import tiers
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
LEAVES_S = 100.0  # after the INVITE the caller hangs up whatever has happened
NINE = e.DtmfPressed(CALLER, "9", "rfc4733")
ONE = e.DtmfPressed(CALLER, "1", "rfc4733")
SAID_NO = e.KeywordHeard(e.Wish.REFUSE, "je refuse", 0.9)
SAID_SOMETHING = e.KeywordHeard(e.Wish.UNCLEAR, "", 0.5)
ON_HOLD = ((1.0, e.LegHeld(CALLER, sends=True)), (1.5, e.LegResumed(CALLER)))
STRATEGIES: tuple[Strategy, ...] = ("sequential", "simultaneous")

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
Script = tuple[tuple[float, e.Fact], ...]
DECISIONS: dict[str, tuple[str, dict[str, bool], Script]] = {
    "silence": ("allowed", {}, ()),
    "key in the notice": ("refused", {}, ((1.0, NINE),)),
    "key in the window": ("refused", {}, ((4.0, NINE),)),
    "key while it rings": ("refused", {}, ((5.3, NINE),)),
    "key in the call": ("refused", {}, ((9.0, NINE),)),
    "unclear while it rings": ("not_allowed", {"voice": True}, ((5.3, SAID_SOMETHING),)),
    "yes": ("allowed", {"opt_in": True}, ((3.0, ONE),)),
    "no yes": ("not_allowed", {"opt_in": True}, ()),
    "spoken refusal": ("refused", {"voice": True}, ((3.0, SAID_NO),)),
    "unclear": ("refused", {"voice": True}, ((3.0, SAID_SOMETHING),)),
    "notice not heard": ("not_allowed", {}, ON_HOLD),
    "nobody can listen": ("not_allowed", {}, ((1.0, e.HearingFailed("detector")),)),
    "nobody can listen any more": ("not_allowed", {}, ((2.5, e.HearingFailed("detector")),)),
    "not drawn": ("not_allowed", {"recording": False}, ()),
}


def rules_of(decision: str, **policy: object) -> Admission:
    changes = {"max_wait_s": 60.0, **policy, **DECISIONS[decision][1]}
    return replace(RULES, policy=replace(RULES.policy, **changes))  # type: ignore[arg-type]


def called(town: Town, *script: tuple[float, e.Fact]) -> Caller:
    """What becomes of a caller; the laws that hold for whoever calls."""
    caller = town.calls(0.0, *script, (LEAVES_S, e.LegGone(CALLER, 200)))
    town.run()
    assert town.engine.ordered("dial"), "nobody was rung"
    assert town.engine.undecided_dials == [] and caller.longest_silence_s() <= SILENCE_S
    assert (town.engine.up, town.stage.board._engaged) == (set(), {})
    return caller


@contextmanager
def one_call(
    folder: Path, patch: pytest.MonkeyPatch, outcome: str, decision: str, strategy: Strategy
) -> Iterator[tuple[Town, Caller]]:
    """The first phone does what it does; the second is busy but for one time in three."""
    rules = replace(rules_of(decision, simultaneous=strategy == "simultaneous"), strategy=strategy)
    busy = OUTCOMES["busy"]
    phones: Phones = {DESK: OUTCOMES[outcome], SECOND_DESK: cycle([busy, busy, talks(8.0)])}
    with simulated(folder, patch, rules, phones) as town:
        yield town, called(town, *DECISIONS[decision][2])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_with_every_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str, decision: str, strategy: Strategy
) -> None:
    decided = DECISIONS[decision][0]
    with one_call(tmp_path, monkeypatch, outcome, decision, strategy) as (town, _):
        receipt = town.stage.receipt()
        before_the_key = decision == "key in the call" and receipt.decided_by == "silence"
        assert receipt.decision == decided or before_the_key, "the caller was gone before"
        if receipt.decision != "allowed":
            rows = town.stage.archive.store.recordings()
            assert town.stage.files() == []
            assert {row.status for row in rows} <= ({"erased"} if decision == "key in the call" else set())


# --- transfers ---

TALKS_S, ASKS_S = 0.5, 4.0  # after its INVITE the giver's phone is answered, and asks
REFUSES_S = {"while it rings": 9.4, "once it talks": 11.5}  # after the caller's INVITE


def asks(leg: int) -> e.Fact:
    return e.TransferAsked(leg, SECOND_DESK)


def giver(*after: tuple[float, Callable[[int], e.Fact]]) -> Phone:
    """Answers, talks, asks for the transfer, and does what follows."""
    return [(HOP_S, reached), (TALKS_S, answered), (TALKS_S + 0.02, heard), (ASKS_S, asks), *after]


GIVERS: dict[str, Phone] = {
    "stays": giver((60.0, gone(200))),
    "hangs up at once": giver((ASKS_S + HOP_S, gone(200))),
    "holds before it asks": [
        *giver()[:3],
        (ASKS_S - 1.0, lambda leg: e.LegHeld(leg, sends=False)),
        (ASKS_S, asks),
        (60.0, gone(200)),
    ],
    "asks twice": giver((ASKS_S + 0.001, asks), (60.0, gone(200))),
}


@pytest.mark.parametrize(
    ("how", "refuses"),
    [
        *((how, "never") for how in GIVERS),
        *(("stays", when) for when in REFUSES_S),
        ("hangs up at once", "while it rings"),
    ],
)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_of_a_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str, how: str, refuses: str
) -> None:
    again: Iterator[Phone] = chain([GIVERS[how]], repeat(talks(8.0)))
    phones: Phones = {DESK: again, SECOND_DESK: cycle([OUTCOMES[outcome]])}
    script = ((REFUSES_S[refuses], NINE),) if refuses in REFUSES_S else ()
    rules = rules_of("silence", transfer_targets=(SECOND_DESK,))
    with simulated(tmp_path, monkeypatch, rules, phones) as town:
        caller = called(town, *script)
        dialled = [uri for uri, *_ in town.engine.ordered("dial")]
        assert dialled[:2] == [DESK, SECOND_DESK]
        receipt, recording = town.stage.receipt(), town.stage.recording()
        there = caller.ended_at is not None and caller.ended_at - 1000.0 > REFUSES_S.get(refuses, LEAVES_S)
        refused = refuses != "never" and there
        assert receipt.decision == ("refused" if refused else "allowed")
        assert (recording.status == "erased") is refused  # else it is kept, though nobody said a word
        if outcome == "answers":
            assert (dialled, receipt.operator) == ([DESK, SECOND_DESK], SECOND_DESK)
        told = [status for _, status, last in town.engine.ordered("tell_transfer") if last]
        assert told in ([], [200], [480], [486], [603], [302], [503], [407]) or how == "asks twice"


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_transfer_with_every_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    """The decision goes along: what was not allowed before is not recorded afterwards."""
    decided, _, script = DECISIONS[decision]
    phones: Phones = {DESK: GIVERS["stays"], SECOND_DESK: talks(8.0)}
    rules = rules_of(decision, transfer_targets=(SECOND_DESK,))
    with simulated(tmp_path, monkeypatch, rules, phones) as town:
        assert called(town, *script).operator == SECOND_DESK
        shown = [str(name).strip('"').partition(" +")[0] for _, name, *_ in town.engine.ordered("dial")]
        refused_late = decision in ("key while it rings", "key in the call", "unclear while it rings")
        word = "REC" if decided == "allowed" or decision == "key in the call" else "NO REC"
        assert shown[0] == word or refused_late
        assert town.stage.receipt().decision == decided
        kept = [row.status != "erased" for row in town.stage.archive.store.recordings()]
        assert any(kept) == (decided == "allowed")
        assert shown[1] == ("REC" if decided == "allowed" else "NO REC") or decision == "key in the call"


# --- many callers ---


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


DESKS = (DESK, SECOND_DESK, "sip:203@127.0.0.1:5070")
CALLERS, OVER_S = 25, 200.0
IMPATIENT_S = 400.0  # whoever is left by then hangs up


@pytest.mark.parametrize("seed", range(tiers.depth(4, 8)))
def test_whoever_comes_and_goes_four_things_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Callers come, refuse and go at any moment, phones do anything, the rules change."""
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
        board = town.stage.board
        assert town.engine.undecided_dials == [] and town.engine.most_up <= town.engine.capacity
        assert (town.engine.up, board._engaged, board.waiting) == (set(), {}, ())
        assert (town.stage.agent._calls.of_leg, town.stage.agent.tapping.of_leg) == ({}, {})
        for caller in callers:
            assert caller.decided_at is None or caller.longest_silence_s() <= SILENCE_S
        _only_who_allowed_it_is_kept(town, callers)


def _drawn(chance: Random, outcomes: list[Phone]) -> Phone:
    return chance.choice(outcomes) if chance.random() < 0.5 else talks(chance.uniform(1.0, 20.0))


def _script(chance: Random) -> list[tuple[float, e.Fact]]:
    """Impatient as people are: half of them refuse, half are gone before anybody would let them go."""
    script: list[tuple[float, e.Fact]] = [(IMPATIENT_S, e.LegGone(CALLER, 200))]
    if chance.random() < 0.5:
        script.append((chance.uniform(0.1, 30.0), NINE))
    if chance.random() < 0.5:
        script.append((chance.uniform(0.02, 30.0), e.LegGone(CALLER, chance.choice([200, 487]))))
    return script


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

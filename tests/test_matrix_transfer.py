"""Whatever becomes of a transfer, with every decision: the same laws as for whoever is rung first."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, cycle, repeat
from pathlib import Path

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER
from tests.driving import DESK, RULES, SECOND_DESK
from tests.simulation import HOP_S, Phone, Phones, answered, gone, heard, reached, simulated, talks
from tests.test_matrix import DECISIONS, LEAVES_S, NINE, OUTCOMES, SILENCE_S

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
    """No silence, no leg and no operator left over; a refusal erases, and nothing else does."""
    policy = replace(RULES.policy, max_wait_s=60.0, transfer_targets=(SECOND_DESK,))
    again: Iterator[Phone] = chain([GIVERS[how]], repeat(talks(8.0)))
    phones: Phones = {DESK: again, SECOND_DESK: cycle([OUTCOMES[outcome]])}
    script = ((REFUSES_S[refuses], NINE),) if refuses in REFUSES_S else ()
    with simulated(tmp_path, monkeypatch, replace(RULES, policy=policy), phones) as town:
        caller = town.calls(0.0, *script, (LEAVES_S, e.LegGone(CALLER, 200)))
        town.run()
        dialled = [uri for uri, *_ in town.engine.ordered("dial")]
        assert dialled[:2] == [DESK, SECOND_DESK]
        assert caller.longest_silence_s() <= SILENCE_S
        assert (town.engine.up, town.stage.board._engaged) == (set(), {})
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
    decided, change, script = DECISIONS[decision]
    targets = replace(RULES, policy=replace(RULES.policy, transfer_targets=(SECOND_DESK,)))
    phones: Phones = {DESK: GIVERS["stays"], SECOND_DESK: talks(8.0)}
    with simulated(tmp_path, monkeypatch, change(targets), phones) as town:
        caller = town.calls(0.0, *script, (LEAVES_S, e.LegGone(CALLER, 200)))
        town.run()
        assert (caller.operator, caller.longest_silence_s() <= SILENCE_S) == (SECOND_DESK, True)
        shown = [str(name).strip('"').partition(" +")[0] for _, name, *_ in town.engine.ordered("dial")]
        refused_late = decision in ("key while it rings", "key in the call", "unclear while it rings")
        word = "REC" if decided == "allowed" or decision == "key in the call" else "NO REC"
        assert shown[0] == word or refused_late
        receipt = town.stage.receipt()
        assert receipt.decision == decided
        kept = [row.status != "erased" for row in town.stage.archive.store.recordings()]
        assert any(kept) == (decided == "allowed")
        assert shown[1] == ("REC" if decided == "allowed" else "NO REC") or decision == "key in the call"

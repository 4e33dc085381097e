"""A call that is not drawn is never recorded, whatever anybody does; and its receipt says what was drawn."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from retention.records import Receipt
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.config.hours import Schedule
from sipagent.config.sampling import Seed, draw
from sipagent.lookup.results import audit
from tests.driving import RULES, Stage, pressed, staged, with_policy

SEED = Seed(b"s" * 32)
SHARE = 0.5
IDS = [f"20261125T110000{n:03}-482913" for n in range(40)]
DRAWN = [id for id in IDS if draw(SEED, id, SHARE).drawn]
NOT_DRAWN = [id for id in IDS if not draw(SEED, id, SHARE).drawn]
SAMPLED = replace(RULES, shares=replace(RULES.shares, share=SHARE), seed=SEED)


def named(monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
    """The ids of the calls to come."""
    left = iter(ids)
    monkeypatch.setattr("sipagent.agent.agent.Ids.new", lambda *_: next(left))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(tmp_path, monkeypatch, SAMPLED) as stage:
        yield stage


def draws_of(receipt: Receipt) -> list[str]:
    return [event.what for event in receipt.events if "drawn" in event.what]


@pytest.mark.parametrize("acts", ["", "1", "*7", "*6*6", "*5", "1*7*6*61"])
def test_nobody_can_have_a_call_recorded_that_is_not_drawn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, acts: str
) -> None:
    named(monkeypatch, NOT_DRAWN[0])
    leg = stage.greeted()
    assert stage.hears(leg) == "welcome"
    stage.tell(leg, *pressed(CALLER, acts), e.KeywordHeard(e.Wish.ACCEPT, "oui", 1.0))
    stage.sound_over(leg)
    operator = max(stage.engine.dialled)
    assert stage.shown().startswith("NO REC")
    stage.answered(operator)
    stage.tell(operator, *pressed(operator, acts))
    stage.tell(leg, *pressed(CALLER, acts.replace("*", "")), e.KeywordHeard(e.Wish.ACCEPT, "oui", 1.0))
    stage.turn(after_s=2.0)
    stage.talk(leg, operator)
    stage.gone(leg)
    receipt = stage.receipt()
    assert (receipt.decision, receipt.decided_by, receipt.outcome) == ("not_allowed", "sampling", "connected")
    assert draws_of(receipt) == [str(draw(SEED, NOT_DRAWN[0], SHARE))]
    assert receipt.recording_id is None
    assert (stage.archive.store.recordings(), stage.files()) == ([], [])


def test_a_call_that_is_drawn_hears_the_notice_and_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, DRAWN[0])
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.gone(caller)
    stage.listened()
    receipt = stage.receipt()
    assert draws_of(receipt) == [str(draw(SEED, DRAWN[0], SHARE))]
    assert receipt.events[0].what == draws_of(receipt)[0]  # before the notice
    assert (receipt.decision, stage.recording().id) == ("allowed", DRAWN[0])


def test_who_is_not_drawn_can_still_refuse(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, NOT_DRAWN[0])
    leg = stage.greeted()
    stage.tell(leg, e.DtmfPressed(leg, "9", "rfc4733"))
    stage.gone(leg)
    assert (stage.receipt().decision, stage.receipt().decided_by) == ("refused", "dtmf")


def test_an_auditor_repeats_every_draw_from_the_receipts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, *IDS)
    for _ in IDS:
        leg = stage.greeted()
        stage.gone(leg)
    found = audit(stage.receipts(), SEED)
    assert (found.wrong, found.undrawn) == ([], 0)
    assert (found.calls, found.drawn) == ({SHARE: len(IDS)}, {SHARE: len(DRAWN)})
    assert audit(stage.receipts(), Seed(b"o" * 32)).wrong[0] == (
        IDS[0],
        f"drawn with the seed {SEED.name}, which is not the one at hand",
    )


def test_a_call_outside_the_hours_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shut = Schedule(RULES.schedule.timezone, closed=((date.min, date.max),))
    with staged(tmp_path, monkeypatch, replace(SAMPLED, schedule=shut)) as stage:
        leg = stage.greeted()
        assert stage.hears(leg) == "closed"
        stage.sound_over(leg)
        stage.gone(leg)
        receipt = stage.receipt()
        assert (receipt.outcome, draws_of(receipt), stage.engine.dialled) == ("closed", [], {})
        assert (stage.archive.store.recordings(), stage.files()) == ([], [])


def test_where_nothing_is_recorded_nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, replace(with_policy(recording=False), seed=SEED)) as stage:
        leg = stage.greeted()
        stage.gone(leg)
        receipt = stage.receipt()
        assert (receipt.decided_by, draws_of(receipt)) == ("disabled", [])


def test_another_share_holds_for_the_calls_to_come(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, DRAWN[0], DRAWN[1], NOT_DRAWN[0])
    caller, operator = stage.rung()
    stage.agent.reload(replace(SAMPLED, shares=replace(SAMPLED.shares, share=0.0)))
    stage.answered(operator)
    stage.turn(after_s=1.0)
    stage.settle()
    stage.talk(caller, operator)
    stage.gone(caller)
    stage.listened()
    stage.gone(operator)
    second = stage.greeted()
    assert stage.hears(second) == "welcome"
    stage.gone(second)
    stage.agent.reload(replace(SAMPLED, shares=replace(SAMPLED.shares, share=1.0)))
    assert stage.hears(stage.greeted()) == "notice"
    first, second_receipt, _ = stage.receipts()
    assert (first.decision, second_receipt.decided_by) == ("allowed", "sampling")
    assert stage.recording().id == DRAWN[0]

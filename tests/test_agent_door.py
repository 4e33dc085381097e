"""The driver at its door and around its calls: who gets none, the end, other rules, the registrar."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from retention.records import Status, due_date
from retention.verify import verify
from sipagent.agent.engine import ChallengeRefused, EngineFault, Incoming, LegFailed, OfLeg, RefusedByEngine
from sipagent.agent.operators import local_board_client
from sipagent.call import events as e
from sipagent.config.identity import printable
from tests import kept
from tests.driving import (
    CALLER,
    ELSEWHERE,
    HERE,
    NUMBER,
    RULES,
    SECOND_DESK,
    Beside,
    Clock,
    Stage,
    invite,
    staged,
    with_policy,
)
from tests.kept import sqlite

NINE = e.DtmfPressed(0, "9", "rfc4733")


# --- those who get no call ---


@pytest.mark.parametrize("status", [503, 486])
def test_a_caller_who_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with staged(tmp_path, monkeypatch, with_policy(full_status=status)) as stage:
        first = stage.greeted()
        second = stage.invite()
        assert stage.engine.ordered("reject") == [(second, status, 10)]
        assert stage.engine.ordered("answer") == [(first,)]
        stage.gone(second, status)
        assert stage.agent.calls == 1
        told = {(receipt.outcome, receipt.ended_at is None) for receipt in stage.receipts()}
        assert told == {(None, True), ("rejected", False)}  # both may have begun in one millisecond


def test_a_call_needs_two_legs_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, replace(RULES, calls=4)) as stage:
        first, second = stage.greeted(), stage.greeted()
        third = stage.invite()
        assert stage.engine.ordered("reject") == [(third, 503, 10)]
        stage.gone(third, 503)
        stage.gone(first)
        assert stage.engine.ordered("answer") == [(first,), (second,)]
        fourth = stage.invite()
        assert stage.engine.ordered("answer")[-1] == (fourth,)


def test_legs_that_are_ending_leave_no_room_yet(stage: Stage) -> None:
    """The caller's leg is gone, the operators' phones are still being told."""
    caller, first = stage.rung()
    stage.turn(after_s=RULES.policy.ring_s)  # the second one rings; the first answers no CANCEL
    stage.gone(caller)
    stage.engine.up.add(99)  # and another that nobody knows of
    assert (stage.agent.calls, stage.engine.legs) == (0, 3)
    late = stage.invite()
    assert stage.engine.ordered("reject") == [(late, 503, 10)]
    stage.gone(first)


def test_who_would_find_no_player_is_refused_before_the_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.engine, "can_play", False)
    late = stage.invite()
    assert stage.engine.ordered("reject") == [(late, 503, 10)]
    assert stage.engine.ordered("answer") == []
    stage.gone(late, 503)


def test_what_the_engine_cannot_do_for_a_leg_is_told_with_its_call(stage: Stage) -> None:
    caller = stage.invite()
    (call,) = stage.agent.live
    with capture_logs() as logs:
        stage.turn(LegFailed(caller, "nobody would hear it"))
    told = [line for line in logs if line["event"] == "alert"]
    assert [(line["call"], line["reason"]) for line in told] == [
        (call.id, "the engine has failed a leg: nobody would hear it")
    ]
    stage.gone(caller)
    assert stage.agent.calls == 0


def test_who_was_given_no_digest_is_told_and_what_is_said_is_escaped(stage: Stage) -> None:
    escaped = printable("new\x1b")
    with capture_logs() as logs:
        stage.turn(ChallengeRefused("192.0.2.7", "x", "trunk", None))
        stage.turn(ChallengeRefused("192.0.2.20", "new\x1b", "operators", "old"))
    assert [line["reason"] for line in logs if line["event"] == "alert"] == [
        "192.0.2.7 asks for a password, and gets none: it is no address of trunk.allowed_sources",
        f"the PBX asks in realm {escaped}, and its password is for old",
    ]


@pytest.mark.parametrize("by", ["the agent", "the engine"])
def test_of_a_flood_of_rejected_calls_the_first_thousand_have_receipts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """The others are in sums, and the figures count them all."""
    monkeypatch.setattr("retention.rows.counts.RECEIPTS_AN_HOUR", 20)
    with staged(tmp_path, monkeypatch, replace(RULES, numbers=frozenset({NUMBER}))) as stage:
        sqlite(stage.archive.store).execute("PRAGMA synchronous=OFF")
        for _ in range(50):
            if by == "the agent":
                stage.gone(stage.invite(number="+33999999999"), 404)
            else:
                stage.turn(RefusedByEngine(404, HERE, invite()))
        stage.settle()
        assert stage.agent.figures().ended == {("rejected", "undecided", "sip" * (by != "the agent")): 50}
        receipts = stage.archive.store.receipts()
    assert len(receipts) == 20 and {one.outcome for one in receipts} == {"rejected"}
    archive = kept.archive(tmp_path)
    assert [(one.count, one.code, one.by) for one in archive.store.each_sum()] == [(30, 404, "agent")]
    assert verify(archive).problems == []
    archive.store.close()


def test_a_stranger_is_counted_and_leaves_nothing(stage: Stage) -> None:
    stranger = stage.invite(source=ELSEWHERE)
    assert stage.engine.ordered("reject") == [(stranger, 403, None)]
    assert (stage.agent.tally.strangers, stage.agent.calls, stage.receipts()) == (1, 0, [])
    stage.gone(stranger, 403)
    assert stage.agent._calls.of_leg == {}


def test_a_number_that_is_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, replace(RULES, numbers=frozenset({NUMBER}))) as stage:
        wrong = stage.invite(number="+33999999999")
        assert stage.engine.ordered("reject") == [(wrong, 404, None)]
        assert stage.receipt().outcome == "rejected"
        right = stage.invite(number="0323063006")
        assert stage.engine.ordered("answer") == [(right,)]


def test_what_the_engine_itself_refuses_leaves_a_receipt_too(stage: Stage) -> None:
    stage.turn(RefusedByEngine(488, HERE, invite()), RefusedByEngine(503, HERE, invite()))
    assert [receipt.outcome for receipt in stage.receipts()] == ["rejected", "rejected"]
    assert {receipt.decided_by for receipt in stage.receipts()} == {"sip"}
    assert [receipt.caller for receipt in stage.receipts()] == [CALLER, CALLER]
    assert all(receipt.ended_at for receipt in stage.receipts())
    assert all(receipt.expires_at == due_date(receipt.started_at, "9 months") for receipt in stage.receipts())
    stage.turn(RefusedByEngine(488, ELSEWHERE, invite()))
    assert (stage.agent.tally.strangers, len(stage.receipts())) == (1, 2)


def test_a_leg_that_the_library_lacks_is_told_and_a_full_engine_is_not(stage: Stage) -> None:
    with capture_logs() as logs:
        stage.turn(RefusedByEngine(503, HERE, invite()))
    assert "miscounted_legs" not in [line["event"] for line in logs]
    with capture_logs() as logs:
        stage.turn(RefusedByEngine(486, HERE, invite()))
    assert "miscounted_legs" in [line["event"] for line in logs]
    assert [receipt.outcome for receipt in stage.receipts()] == ["rejected", "rejected"]


def test_a_caller_who_is_gone_before_we_knew(stage: Stage) -> None:
    """CANCEL right behind the INVITE: both wait in the inbox."""
    stage.turn(Incoming(5, HERE, invite()), OfLeg(5, e.LegGone(5, 487)))
    assert (stage.agent.calls, stage.receipt().outcome) == (0, "abandoned")


def test_what_a_stranger_writes_into_a_header_is_kept_as_plain_text(stage: Stage) -> None:
    """Octets that are no UTF-8 come as lone surrogates, which no database takes."""
    stage.invite(call_id="a\udcff\x1b[31mb")
    assert (stage.receipt().call_id or "").isprintable()
    assert stage.alerts == []


def test_whether_there_is_room_is_known_before_a_caller_is_let_in(stage: Stage) -> None:
    agent = stage.agent
    assert agent.has_room()
    agent._engine = stage.engine
    assert agent.has_room()
    caller, operator = stage.bridged()
    assert not agent.has_room()
    agent.draining = True
    assert agent.has_room()  # it is refused for another reason, and need not wait
    agent.draining = False
    stage.gone(caller)
    assert agent.has_room()
    assert stage.engine.up == {operator}  # whose end is under way


def test_a_worker_without_room_says_so_in_its_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt is the edge's, where no other worker has room."""
    clock = Clock()
    beside = Beside(0, clock, local_board_client(RULES, None, lambda job: job()))
    with staged(tmp_path, monkeypatch, RULES, worker=beside) as stage, capture_logs() as logs:
        stage.invite()
        second = stage.invite()
        assert stage.engine.ordered("reject") == [(second, 503, 10)]
        stage.gone(second, 503)
        stage.turn(RefusedByEngine(503, HERE, invite()))
        told = [line for line in logs if line["event"] == "call_passed_on"]
        assert [(line["status"], line["why"]) for line in told] == [(503, "legs"), (503, "engine")]
        stage.agent.draining = True
        stage.gone(stage.invite(), 503)
        assert [line["why"] for line in logs if line["event"] == "call_passed_on"][2:] == ["draining"]
        assert stage.receipts() == []


def test_who_is_let_in_behind_another_finds_the_legs_that_were_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one waits in the inbox with one leg; another is an operator's, whose BYE is under way."""
    with staged(tmp_path, monkeypatch, replace(RULES, calls=2)) as stage:
        agent = stage.agent
        agent._engine = stage.engine
        stage.engine.up |= {98, 99}  # of a call that is over, and the first one's
        agent.post(Incoming(99, HERE, invite()))
        assert not agent.has_room()
        stage.turn()
        assert stage.engine.ordered("answer") == [(99,)]
        assert not agent.has_room()
        stage.engine.up.remove(98)
        assert agent.has_room()


# --- the service around the calls ---


def test_while_draining_nobody_new_is_taken_and_who_is_there_goes_on(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.agent.draining = True
    late = stage.invite()
    assert stage.engine.ordered("reject") == [(late, 503, 10)]
    assert stage.engine.ordered("hang_up") == []
    stage.gone(caller)
    stage.listened()
    assert stage.agent.calls == 0
    assert stage.engine.ordered("hang_up") == [(operator,)]


def test_at_the_end_calls_are_ended_properly(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    with capture_logs() as logs:
        stage.agent.run(stage.engine, lambda: True)
    assert logs[0]["event"] == "ready"
    assert stage.engine.ordered("hang_up") == [(caller,), (operator,)]
    assert (stage.receipt().outcome, stage.recording().status) == ("connected", Status.CLOSED)
    assert stage.agent.calls == 0


def test_other_rules_hold_for_the_calls_to_come(stage: Stage) -> None:
    first = stage.greeted()
    stage.agent.reload(replace(with_policy(refusal_digits=("0",)), calls=2, extensions=(SECOND_DESK,)))
    second = stage.greeted()
    for leg in (first, second):
        stage.tell(leg, e.DtmfPressed(leg, "0", "rfc4733"))
    assert sorted(receipt.decision for receipt in stage.receipts()) == ["refused", "undecided"]
    assert [stage.hears(leg) for leg in (first, second)] == ["notice", "refused"]
    assert list(stage.engine.dialled.values()) == [SECOND_DESK]


def test_a_registrar_is_asked_again_ever_more_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sipagent.agent.engine import Registration

    refused, granted = Registration(False, 503, "busy"), Registration(True, 200, "OK")
    with staged(tmp_path, monkeypatch, registers=True) as stage, capture_logs() as logs:
        asked: list[int] = []
        for answer, wait_s in ((None, 0.0), (refused, 1.0), (refused, 2.0), (granted, 100.0)):
            stage.turn(*([answer] if answer else []))
            stage.turn(after_s=max(0.0, wait_s - 0.1))
            asked.append(len(stage.engine.ordered("register")))
            stage.turn(after_s=0.1)
        assert asked == [1, 1, 2, 3]
        stage.turn(refused)
        stage.turn(after_s=1.0)
        assert len(stage.engine.ordered("register")) == 4
        stage.turn(granted)
    told = [line["event"] for line in logs if line["event"] in ("ready", "registered", "registration_failed")]
    assert told == [
        "registration_failed",
        "registration_failed",
        "ready",
        "registration_failed",
        "registered",
    ]


def test_a_callback_that_failed_is_told(stage: Stage) -> None:
    with capture_logs() as logs:
        stage.turn(EngineFault("Leg.onCallState: KeyError('x')"))
    assert logs == [
        {"event": "engine_fault", "reason": "Leg.onCallState: KeyError('x')", "log_level": "error"}
    ]

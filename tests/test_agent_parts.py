"""Parts of the driver: how legs are shared, a call's rows, when the registrar is asked, phones in vain."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from structlog.testing import capture_logs

from retention.records import CallerIdentity
from sipagent.agent.calls import LegRoom, LegShare, LegShares, LiveCall, LiveCalls
from sipagent.agent.engine import LONGEST_PAUSE_S, Registrar
from sipagent.agent.figures import AGAIN_S, WORKS, Phones
from sipagent.call import events as e
from sipagent.call.flow import CallFlow
from sipagent.call.state import Policy
from tests.driving import sounds
from tests.histories import OFFER

# --- legs: two for every call, one to refuse with, what is left for phones that ring beside ---


def room(used: int, *shares: tuple[int, int], capacity: int = 4) -> LegRoom:
    """Calls as (legs up, of which spare), named a, b, …"""
    found = LegShares()
    for id, (up, spare) in zip("abcdefgh", shares, strict=False):
        found.put(id, LegShare(9, 9))  # which has changed since
        found.put(id, LegShare(up, spare))
    return LegRoom(capacity, used, found)


@pytest.mark.parametrize(
    "used, shares, calls, takes",
    [
        (1, [], 1, True),
        (2, [(1, 0)], 1, False),  # the second caller of one
        (2, [(1, 0)], 2, True),
        (3, [(2, 0)], 2, True),
        (4, [(3, 0)], 2, False),  # one that was given up is not gone yet
        (4, [(3, 1)], 2, True),  # one rings beside another, and can be given up
        (3, [], 1, True),  # two legs of a call that is over: one is left for the operator
        (4, [], 1, False),
    ],
)
def test_who_is_taken(used: int, shares: list[tuple[int, int]], calls: int, takes: bool) -> None:
    """The newcomer's first leg is one of those used."""
    assert room(used, *shares).takes(calls) is takes


@pytest.mark.parametrize(
    "used, coming, capacity, takes",
    [
        (2, 1, 4, True),
        (3, 1, 4, False),  # one is ending, and whoever came before has been promised a second one
        (3, 2, 4, False),
        (3, 2, 8, True),
    ],
)
def test_who_is_coming_has_been_promised_two_legs(used: int, coming: int, capacity: int, takes: bool) -> None:
    assert LegRoom(capacity, used, LegShares(), coming).takes(3) is takes


@pytest.mark.parametrize(
    "used, shares, capacity, phones",
    [
        (1, [(1, 0)], 4, 2),  # one leg stays to refuse with
        (2, [(2, 0)], 4, 1),
        (3, [(3, 1)], 4, 0),
        (2, [(1, 0), (1, 0)], 4, 1),  # its own, and no more
        (3, [(2, 0), (1, 0)], 4, 0),  # a has its leg, the other one is b's
        (4, [(1, 0)], 4, 0),  # what is ending takes room too
        (1, [(1, 0)], 2, 1),
        (4, [(1, 0), (1, 0), (2, 0)], 16, 10),
    ],
)
def test_how_many_phones_may_ring_for_a_caller(
    used: int, shares: list[tuple[int, int]], capacity: int, phones: int
) -> None:
    assert room(used, *shares, capacity=capacity).for_ringing("a") == phones


def test_legs_are_short_only_where_others_need_what_rings_beside() -> None:
    assert room(3, (3, 1)).short == 0
    assert room(4, (3, 1), (1, 0)).short == 1
    assert room(4, (3, 0), (1, 0)).short == 0  # nothing can be given back
    assert room(8, (5, 3), (1, 0), (2, 0), capacity=10).short == 0
    assert room(8, (5, 3), (1, 0), (2, 0), capacity=9).short == 1


def test_the_call_that_is_due_first_is_known_whatever_changes(call: LiveCall) -> None:
    calls, other = (
        LiveCalls(),
        replace(call, id="other", flow=CallFlow(Policy()), legs={}, numbers={}, up=set()),
    )
    for number, one in enumerate((call, other)):
        calls.add(one, number)
    assert calls.deadline is None
    for one, at, first in (call, 9.0, 9.0), (other, 5.0, 5.0), (other, 12.0, 9.0), (other, 5.0, 5.0):
        one.flow.timers["ring"] = at
        calls.changed(one)
        assert calls.deadline == first
    assert [*calls.due(4.9)] == [] and [*calls.due(5.0)] == [other]
    calls.changed(other)  # it is still due
    assert [*calls.due(9.0)] == [other, call]
    call.flow.timers["ring"] = 10.0
    calls.changed(call)
    calls.remove(other)
    assert calls.deadline == 10.0 and [*calls.shares] == [call.id]
    calls.remove(call)
    assert calls.deadline is None and (calls.shares.up, calls.shares.held) == (0, 0)


# --- one call: times, legs, and what its rows say ---

START = datetime(2026, 11, 24, 22, 20, 0, 123000, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def call() -> LiveCall:
    return LiveCall(
        id="20261124T222000123-4f2a9c",
        call_id="a84b4c76e66710",
        identity=CallerIdentity(number="+33612345678"),
        called="+33323063006",
        started_at=START,
        began=500.0,
        flow=CallFlow(Policy()),
        sounds=sounds(),
        spoken={"fr": sounds()},
        expires_at=START + timedelta(days=180),
        receipt_expires_at=START + timedelta(days=90),
    )


def test_a_receipt_tells_the_story_so_far(call: LiveCall) -> None:
    """In moments from the start, whatever the wall clock does; at the end how it ended."""
    history: list[tuple[float, e.Fact]] = [
        (500.0, OFFER), (501.0, e.CallConfirmed(True)), (501.5, e.MediaArrived()),
        (503.0, e.DtmfPressed(e.CALLER, "9", "info")),
    ]  # fmt: skip
    for at, fact in history:
        call.flow.handle(fact, at)
    receipt = call.receipt()
    assert (receipt.id, receipt.call_id, receipt.caller, receipt.called) == (
        call.id, call.call_id, call.caller, call.called,
    )  # fmt: skip
    assert (receipt.started_at, receipt.answered_at, receipt.connected_at) == (START, after(1), None)
    assert (receipt.ended_at, receipt.outcome, receipt.expires_at) == (None, None, call.receipt_expires_at)
    assert (receipt.decision, receipt.decided_by, receipt.phase) == ("refused", "dtmf", "notice")
    assert (receipt.dtmf_method, receipt.decided_at) == ("info", after(3))
    assert (receipt.notice_played_ms, receipt.recording_id) == (1500, None)
    events = [(event.what, event.by, event.at) for event in receipt.events]
    heard = f"notice: notice.wav, sha256 {call.sounds[e.Prompt.NOTICE].sha256}"  # no row has it
    assert events == [(heard, "agent", after(1.5)), ("decision: refused (dtmf)", "caller", after(3))]
    call.flow.handle(e.LegGone(e.CALLER, 200), 504.0)
    assert call.receipt().outcome is None
    ended = call.receipt(ended=504.2)
    assert (ended.outcome, ended.ended_at) == ("abandoned", after(4.2))


@pytest.mark.parametrize(
    ("base", "file"),
    [("/prompts", "fr/notice.wav"), ("/", "prompts/fr/notice.wav"), ("/etc", "/prompts/fr/notice.wav")],
)
def test_the_notice_is_named_relative_to_the_configuration_where_it_lies_below(
    call: LiveCall, base: str, file: str
) -> None:
    notice = call.open_recording("sip:201@pbx", Path(base)).notice
    assert notice and (notice.file, notice.sha256) == (file, "ab" * 32)


# --- the registrar ---


def test_when_the_registrar_is_asked() -> None:
    """At once; then its answer is awaited, and each failure doubles the wait up to a minute."""
    assert Registrar(wanted=False).deadline is None and not Registrar(wanted=False).due(1e9)
    registrar, now, waits = Registrar(wanted=True), 1000.0, []
    for _ in range(9):
        assert registrar.due(now) and not registrar.due(now + 1000)
        wait = registrar.answered(active=False, now=now)
        assert wait is not None and not registrar.due(now + wait - 0.01)
        waits.append(wait)
        now += wait
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60] and max(waits) == LONGEST_PAUSE_S
    assert not registrar.active and registrar.answered(active=True, now=now) is None
    assert (registrar.active, registrar.deadline) == (True, None)
    assert registrar.answered(active=False, now=now) == 1.0 and registrar.due(now + 1.0)


# --- phones that are rung in vain ---

A, B, ELSEWHERE = "sip:201@127.0.0.1", "sip:202@127.0.0.1", "sip:203@127.0.0.1"


def failed(phones: Phones, uri: str, problem: e.DialProblem, now: float, status: int = 0) -> list[object]:
    with capture_logs() as logs:
        phones.failed(e.ReportOperator(uri, problem, status), (A, B), "call-1", now)
    return [*logs]


def test_a_phone_that_is_off_is_a_warning_once_in_a_while_and_counted() -> None:
    """Until it talks again. Of those who are no extension nothing is counted."""
    phones = Phones()
    said = {"event": "operator_failed", "log_level": "warning", "call": "call-1", "operator": A}
    assert failed(phones, A, "unreachable", 5.0, 503) == [said | {"problem": "unreachable", "status": 503}]
    assert failed(phones, A, "unreachable", 9.0) == []
    assert failed(phones, A, "silent", 5.0 + AGAIN_S) == [said | {"problem": "silent", "status": 0}]
    with capture_logs() as logs:
        for uri in (B, None, A, A):
            phones.talks(uri)
    assert logs == [{"event": "operator_back", "log_level": "info", "operator": A}]
    assert len(failed(phones, A, "unreachable", 6.0 + AGAIN_S)) == 1
    assert len(failed(phones, ELSEWHERE, "unreachable", 5.0)) == 1
    assert phones.counts == {(A, "unreachable"): 3, (A, "silent"): 1}


@pytest.mark.parametrize("problem", get_args(e.DialProblem))
def test_a_phone_that_works_is_counted_alone(problem: e.DialProblem) -> None:
    phones = Phones()
    assert bool(failed(phones, A, problem, 5.0)) == (problem not in WORKS)
    assert phones.counts == {(A, problem): 1}

"""One call as the agent sees it: times, legs, and what its rows say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.records import Status
from sipagent.agent.calls import LiveCall, LiveCalls
from sipagent.call import events as e
from sipagent.call.flow import CallFlow
from sipagent.call.state import Policy
from tests.driving import sounds

START = datetime(2026, 11, 24, 22, 20, 0, 123000, tzinfo=UTC)
OFFER = e.CallOffered(
    source_allowed=True, number_known=True, room=True, draining=False, open=True, sampled=True
)


@pytest.fixture
def call() -> LiveCall:
    """It began at 500.0 on the monotonic clock."""
    return LiveCall(
        id="20261124T222000123-4f2a9c",
        call_id="a84b4c76e66710",
        caller="+33612345678",
        called="+33323063006",
        started_at=START,
        began=500.0,
        flow=CallFlow(Policy()),
        sounds=sounds(),
        spoken={"fr": sounds()},
        expires_at=START + timedelta(days=180),
        receipt_expires_at=START + timedelta(days=90),
    )


def test_moments_are_told_from_the_start_whatever_the_wall_clock_does(call: LiveCall) -> None:
    assert call.when(502.5) == START + timedelta(seconds=2.5)
    assert call.at(500.0) == START
    assert call.at(None) is None


def test_legs_are_known_by_both_their_numbers(call: LiveCall) -> None:
    call.takes(e.CALLER, 17)
    call.takes(1, 23)
    assert (call.numbers.get(17), call.numbers.get(23), call.numbers.get(5)) == (0, 1, None)
    assert call.up == {17, 23}


def test_all_calls_are_known_by_id_and_by_leg_until_they_are_over(call: LiveCall) -> None:
    calls = LiveCalls()
    calls.add(call, 17)
    other = replace(call, id="20261124T222001000-000001", legs={}, up=set())
    calls.add(other, 18)
    calls.takes(call, 1, 23)
    call.up.discard(23)  # it has ended, and is the call's while the call is
    assert (len(calls), calls.get(call.id), calls.of_leg.get(17), calls.of_leg.get(23)) == (
        2,
        call,
        call,
        call,
    )
    for one in calls.all:
        calls.remove(one)
    assert (len(calls), calls.get(call.id), [calls.of_leg.get(leg) for leg in (17, 18, 23)]) == (
        0,
        None,
        [None] * 3,
    )


def test_a_receipt_tells_the_story_so_far(call: LiveCall) -> None:
    call.flow.handle(OFFER, 500.0)
    call.flow.handle(e.CallConfirmed(telephone_event=True), 501.0)
    call.flow.handle(e.MediaArrived(), 501.5)
    call.flow.handle(e.DtmfPressed(e.CALLER, "9", "info"), 503.0)
    receipt = call.receipt()
    assert (receipt.id, receipt.call_id, receipt.caller, receipt.called) == (
        call.id,
        "a84b4c76e66710",
        "+33612345678",
        "+33323063006",
    )
    assert (receipt.started_at, receipt.answered_at) == (START, START + timedelta(seconds=1))
    assert (receipt.ended_at, receipt.outcome, receipt.connected_at) == (None, None, None)
    assert (receipt.decision, receipt.decided_by, receipt.phase) == ("refused", "dtmf", "notice")
    assert (receipt.dtmf_method, receipt.decided_at) == ("info", START + timedelta(seconds=3))
    assert receipt.notice_played_ms == 1500
    assert [(event.what, event.by, event.at) for event in receipt.events] == [
        ("decision: refused (dtmf)", "caller", START + timedelta(seconds=3))
    ]


def test_a_receipt_at_the_end_says_how_it_ended(call: LiveCall) -> None:
    call.flow.handle(replace(OFFER, room=False), 500.0)
    assert call.receipt().outcome is None
    receipt = call.receipt(ended=500.2)
    assert (receipt.outcome, receipt.ended_at) == ("rejected", START + timedelta(seconds=0.2))


def test_a_recording_and_its_receipt_know_each_other(call: LiveCall) -> None:
    assert call.receipt().recording_id is None
    recording = call.open_recording("sip:201@pbx", Path("/elsewhere"))
    assert (recording.id, call.receipt().recording_id) == (call.id, call.id)
    assert (recording.status, recording.operator) == (Status.OPEN, "sip:201@pbx")
    assert (recording.started_at, recording.expires_at) == (START, call.expires_at)
    assert call.receipt().expires_at == call.receipt_expires_at
    assert (recording.channels, recording.sample_rate, recording.decision) == (2, 8000, "undecided")


@pytest.mark.parametrize(
    ("base", "file"),
    [("/prompts", "fr/notice.wav"), ("/", "prompts/fr/notice.wav"), ("/etc", "/prompts/fr/notice.wav")],
)
def test_the_notice_is_named_relative_to_the_configuration_where_it_lies_below(
    call: LiveCall, base: str, file: str
) -> None:
    notice = call.open_recording("sip:201@pbx", Path(base)).notice
    assert notice
    assert (notice.file, notice.sha256) == (file, "ab" * 32)


def test_how_a_recording_is_closed(call: LiveCall) -> None:
    call.open_recording("sip:201@pbx", Path("/"))
    call.flow.story.operator, call.flow.story.flagged = "sip:202@pbx", True
    recording, closing = call.closing(560.0)
    assert (recording.flagged, closing.flagged) == (True, True)
    assert (closing.operator, closing.ended_at) == ("sip:202@pbx", START + timedelta(seconds=60))

"""What a row becomes that others changed meanwhile: each rule, and that merging is stable."""

from dataclasses import replace
from datetime import timedelta

import pytest

from retention.marks import ERASED
from retention.records import Event, Receipt, Recording, Status
from retention.shipping import (
    LIVES,
    LOST,
    is_lost,
    lost_receipt,
    merged_receipt,
    merged_recording,
    must_go,
)
from tests.kept import START, receipt, recording

ROW = recording()
ENDED = receipt(ROW)
ON = replace(ENDED, ended_at=None, outcome=None)
LATER = START + timedelta(seconds=30)
CLOSED = replace(ROW, status=Status.CLOSED, bytes=100, sha256="ab" * 32)
GONE = replace(ROW, status=Status.ERASED)
HOLD = {"ground": "criminal", "review": "2027-01-01"}
REFUSED = replace(ENDED, decision="refused", decided_by="dtmf", decided_at=START)


def whats(told: Receipt) -> list[str]:
    return [event.what for event in told.events]


def test_a_refusal_or_an_erasure_stays_whoever_knew_it() -> None:
    assert merged_receipt(ENDED, REFUSED, LATER) == REFUSED
    assert merged_receipt(REFUSED, ENDED, LATER) == REFUSED
    given_up = lost_receipt(replace(ON, decision="refused", decided_by="dtmf", decided_at=START), START)
    merged = merged_receipt(ENDED, given_up, LATER)  # what its own host tells is older
    assert (merged.decision, merged.decided_by, merged.ended_at) == ("refused", "dtmf", ENDED.ended_at)
    erased = replace(ENDED, events=(Event(at=START, what=ERASED, by="operator"),))
    merged = merged_receipt(ENDED, erased, LATER)
    assert merged == erased and must_go(CLOSED, merged)
    assert merged_receipt(ENDED, ENDED.anonymous(), LATER) == ENDED.anonymous()  # nor is it told again


def test_an_older_state_out_of_a_reserve_changes_nothing_that_has_ended() -> None:
    died = replace(ON, outcome="failed", ended_at=LATER)
    assert merged_receipt(ON, ENDED, LATER) == merged_receipt(died, ENDED, LATER) == ENDED
    for ours in (ROW, replace(ROW, status=Status.FAILED)):
        assert merged_recording(ours, CLOSED, ENDED) == CLOSED
    assert merged_receipt(REFUSED, ENDED, LATER) == REFUSED
    assert merged_recording(GONE, CLOSED, REFUSED) == GONE


def test_a_call_that_was_taken_for_lost_is_told_as_it_was() -> None:
    there = lost_receipt(ON, START)
    assert is_lost(there) and there.outcome == "failed"
    merged = merged_receipt(ENDED, there, LATER)
    assert (merged.outcome, merged.ended_at) == ("connected", ENDED.ended_at)
    assert whats(merged) == [LOST, LIVES] and merged.events[1].at == LATER
    assert not is_lost(merged)


def test_a_call_that_is_still_on_is_on_again() -> None:
    merged = merged_receipt(ON, lost_receipt(ON, START), LATER)
    assert (merged.outcome, merged.ended_at) == (None, None)
    twice = merged_receipt(ENDED, lost_receipt(merged, LATER), LATER)
    assert whats(twice) == [LOST, LIVES, LOST, LIVES] and twice.outcome == "connected"


@pytest.mark.parametrize("ours", [ON, ENDED, REFUSED])
@pytest.mark.parametrize("there", [ON, ENDED, REFUSED, lost_receipt(ON, START), ENDED.anonymous()])
def test_merging_receipts_is_stable(ours: Receipt, there: Receipt) -> None:
    once = merged_receipt(ours, there, LATER)
    assert merged_receipt(ours, once, LATER + timedelta(seconds=1)) == once


@pytest.mark.parametrize("ours", [ROW, CLOSED, GONE, replace(ROW, status=Status.FAILED)])
@pytest.mark.parametrize(
    "there",
    [
        *(ROW, CLOSED, GONE, replace(CLOSED, hold=HOLD), replace(CLOSED, status=Status.PURGING)),
        *(replace(CLOSED, flagged=True), CLOSED.tombstone(Status.PURGED, LATER)),
    ],
)
@pytest.mark.parametrize("told", [ENDED, REFUSED])
def test_merging_recordings_is_stable(ours: Recording, there: Recording, told: Receipt) -> None:
    once = merged_recording(ours, there, told)
    assert merged_recording(ours, once, told) == once


@pytest.mark.parametrize("there", [GONE, replace(CLOSED, status=Status.PURGING)])
@pytest.mark.parametrize("ours", [ROW, CLOSED])
def test_what_is_gone_stays_gone(ours: Recording, there: Recording) -> None:
    assert merged_recording(ours, there, ENDED) == there
    tombstone = there.tombstone(Status.PURGED, LATER)
    assert merged_recording(ours, tombstone, ENDED) == tombstone and must_go(tombstone, ENDED)


def test_a_hold_stays_with_the_sound_that_the_host_has_and_gives_way_to_the_caller_alone() -> None:
    there = replace(CLOSED, incomplete=True, sha256="cd" * 32, hold=HOLD)
    assert merged_recording(CLOSED, there, ENDED) == replace(CLOSED, hold=HOLD)
    assert merged_recording(ROW, there, ENDED) == there  # it is still being made: what is held is not opened
    failed = replace(ROW, status=Status.FAILED)
    assert merged_recording(failed, there, ENDED) == there
    assert merged_recording(GONE, there, REFUSED) == GONE
    by_operator = replace(ENDED, decision="not_allowed", decided_by="operator")
    assert merged_recording(GONE, there, by_operator) == there
    # one that was released does not come back; a flag stays whoever set it
    assert merged_recording(replace(CLOSED, hold=HOLD), CLOSED, ENDED).hold is None
    flagged = replace(CLOSED, flagged=True)
    assert merged_recording(CLOSED, flagged, ENDED) == merged_recording(flagged, CLOSED, ENDED) == flagged

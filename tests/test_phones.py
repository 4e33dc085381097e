"""A phone that is off is told of, once in a while, and every ring in vain is counted for its extension."""

from typing import get_args

import pytest
from structlog.testing import capture_logs

from sipagent.agent.figures import AGAIN_S, WORKS, Phones
from sipagent.call import events as e

A, B, ELSEWHERE = "sip:201@127.0.0.1", "sip:202@127.0.0.1", "sip:203@127.0.0.1"
HERE = (A, B)


@pytest.fixture
def phones() -> Phones:
    return Phones()


def failed(phones: Phones, uri: str, problem: e.DialProblem, now: float, status: int = 0) -> list[object]:
    """What is logged of it."""
    with capture_logs() as logs:
        phones.failed(e.ReportOperator(uri, problem, status), HERE, "call-1", now)
    return [*logs]


def test_a_phone_that_is_off_is_a_warning_once_in_a_while(phones: Phones) -> None:
    said = {"event": "operator_failed", "log_level": "warning", "call": "call-1", "operator": A}
    assert failed(phones, A, "unreachable", 5.0, 503) == [said | {"problem": "unreachable", "status": 503}]
    assert failed(phones, A, "unreachable", 9.0) == []
    assert failed(phones, A, "silent", 5.0 + AGAIN_S) == [said | {"problem": "silent", "status": 0}]
    assert phones.counts == {(A, "unreachable"): 2, (A, "silent"): 1}


@pytest.mark.parametrize("problem", get_args(e.DialProblem))
def test_a_phone_that_works_is_counted_alone(phones: Phones, problem: e.DialProblem) -> None:
    assert bool(failed(phones, A, problem, 5.0)) == (problem not in WORKS)
    assert phones.counts == {(A, problem): 1}


def test_one_that_talks_again_is_told_and_may_be_told_of_anew(phones: Phones) -> None:
    failed(phones, A, "unreachable", 5.0)
    with capture_logs() as logs:
        for uri in (B, None, A, A):
            phones.talks(uri)
    assert logs == [{"event": "operator_back", "log_level": "info", "operator": A}]
    assert len(failed(phones, A, "unreachable", 6.0)) == 1


def test_only_configured_extensions_are_counted(phones: Phones) -> None:
    """Who is rung besides, as the target of a transfer, is told of."""
    assert len(failed(phones, ELSEWHERE, "unreachable", 5.0)) == 1
    assert phones.counts == {}

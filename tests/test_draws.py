"""An audit of the draws: what is as the seed says, and whatever is not."""

from dataclasses import replace
from typing import Any

import pytest

from retention.records import Event, Receipt
from sipagent.config.sampling import Seed, draw
from sipagent.operations.statistics import audit
from tests import kept

SEED, OTHER = Seed(b"s" * 32), Seed(b"o" * 32)
IDS = [f"20261124T222000{n:03}-482913" for n in range(100)]
DRAWN = next(id for id in IDS if draw(SEED, id, 0.5).drawn)
NOT_DRAWN = next(id for id in IDS if not draw(SEED, id, 0.5).drawn)


def call(id: str, *draws: object, **changes: Any) -> Receipt:
    """A call that was abandoned in its notice; `draws` are what its events tell."""
    events = (
        Event(at=kept.START, what="notice", by="agent"),
        *(Event(at=kept.START, what=str(one)) for one in draws),
    )
    return Receipt(id=id, call_id="a84b4c", started_at=kept.START, events=events, **changes)


SAMPLED: dict[str, Any] = {"decision": "not_allowed", "decided_by": "sampling"}


def test_draws_as_the_seed_says_are_counted_by_share() -> None:
    receipts = [call(id, draw(SEED, id, 0.5)) for id in IDS]
    receipts += [
        replace(call(id, draw(SEED, id, 0.1)), **SAMPLED if not draw(SEED, id, 0.1).drawn else {})
        for id in IDS[:50]
    ]
    found = audit(receipts, SEED)
    half = sum(draw(SEED, id, 0.5).drawn for id in IDS)
    tenth = sum(draw(SEED, id, 0.1).drawn for id in IDS[:50])
    assert found.to_json() == {
        "calls": 150,
        "drawn": half + tenth,
        "shares": [
            {"share": 0.5, "calls": 100, "drawn": half, "expected": 50.0},
            {"share": 0.1, "calls": 50, "drawn": tenth, "expected": 5.0},
        ],
        "undrawn": 0,
        "forgotten": 0,
        "elsewhere": 0,
        "wrong": [],
    }


def test_calls_without_a_draw_and_receipts_that_have_forgotten_are_counted() -> None:
    rejected = call("1", outcome="rejected", decided_by="sip")
    old = call(DRAWN, draw(SEED, DRAWN, 0.5), decision="allowed", recording_id=DRAWN).anonymous()
    found = audit([rejected, old], SEED)
    assert (found.undrawn, found.forgotten, found.wrong, found.calls.total()) == (1, 1, [], 0)


@pytest.mark.parametrize(
    ("receipt", "problem"),
    [
        (call(DRAWN, draw(OTHER, DRAWN, 0.5)), f"drawn with the seed {OTHER.name}, which is not the one"),
        (
            call(DRAWN, replace(draw(SEED, DRAWN, 0.5), value=0.25)),
            f"tells of 0.25, and the seed says {SEED.value(DRAWN)!r}",
        ),
        (call(DRAWN, draw(SEED, NOT_DRAWN, 0.5)), f"tells of {SEED.value(NOT_DRAWN)!r}, and the seed says"),
        (
            call(NOT_DRAWN, draw(SEED, NOT_DRAWN, 0.5), decision="refused", recording_id=NOT_DRAWN),
            "not drawn, and could be recorded all the same",
        ),
        (call(NOT_DRAWN, draw(SEED, NOT_DRAWN, 0.5), decision="allowed"), "not drawn, and could be recorded"),
        (call(DRAWN, draw(SEED, DRAWN, 0.5), **SAMPLED), "drawn, and treated as if it was not"),
        (call(DRAWN, draw(SEED, DRAWN, 0.5), draw(SEED, DRAWN, 0.9)), "tells of 2 draws"),
        (call(DRAWN, decision="allowed"), "tells of no draw, and could be recorded"),
        (call(DRAWN, recording_id=DRAWN, decision="refused"), "tells of no draw, and could be recorded"),
        (call(DRAWN, **SAMPLED), "not drawn, and tells of no draw"),
        (call(DRAWN, draw(None, DRAWN, 0.5), decision="allowed"), "not drawn, and could be recorded all the"),
    ],
)
def test_a_draw_that_is_not_as_it_should_be(receipt: Receipt, problem: str) -> None:
    ((id, said),) = audit([receipt], SEED).wrong
    assert id == receipt.id and said.startswith(problem)


def test_without_the_seed_nothing_is_confirmed() -> None:
    assert audit([call(DRAWN, draw(SEED, DRAWN, 0.5))], None).wrong != []
    assert audit([call(DRAWN, draw(None, DRAWN, 0.5), **SAMPLED)], None).wrong == []
    assert audit([call(DRAWN, draw(None, DRAWN, 1.0), decision="allowed")], None).wrong == []


def test_what_another_host_drew_is_counted_and_no_more() -> None:
    """Its seed is there; calls of the time before there were several hosts are told by their seed."""
    of_a, of_b = (f"20261124T222000000-h{host}-482913" for host in "ab")
    found = audit([call(of_a, draw(SEED, of_a, 1.0)), call(of_b, draw(OTHER, of_b, 1.0))], SEED, "a")
    assert (found.wrong, found.elsewhere) == ([], 1)
    assert audit([call(of_a, draw(OTHER, of_a, 0.5))], SEED, "a").wrong != []
    assert audit([call(DRAWN, draw(OTHER, DRAWN, 0.5))], SEED, "b").elsewhere == 1
    assert audit([call(DRAWN, decision="allowed")], SEED, "b").wrong != []

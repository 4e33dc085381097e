"""An audit of the draws: what is as the seed says, what is not; and `sipagent draws`, for an auditor."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from retention.files import Places
from retention.records import Event, Receipt
from sipagent.config.sampling import Seed, draw, keep_seed
from sipagent.operations.statistics import audit
from tests import kept
from tests.office import Office

SEED, OTHER = Seed(b"s" * 32), Seed(b"o" * 32)
IDS = [f"20261124T222000{n:03}-482913" for n in range(100)]
DRAWN = next(id for id in IDS if draw(SEED, id, 0.5).drawn)
NOT_DRAWN = next(id for id in IDS if not draw(SEED, id, 0.5).drawn)
SAMPLED: dict[str, Any] = {"decision": "not_allowed", "decided_by": "sampling"}


def call(id: str, *draws: object, **changes: Any) -> Receipt:
    """A call that was abandoned in its notice; `draws` are what its events tell."""
    events = (
        Event(at=kept.START, what="notice", by="agent"),
        *(Event(at=kept.START, what=str(one)) for one in draws),
    )
    return Receipt(id=id, call_id="a84b4c", started_at=kept.START, events=events, **changes)


def as_drawn(seed: Seed, id: str, share: float) -> Receipt:
    """As the agent leaves it."""
    drawing = draw(seed, id, share)
    return call(id, drawing) if drawing.drawn else call(id, drawing, **SAMPLED)


def test_draws_as_the_seed_says_are_counted_by_share() -> None:
    old = call(DRAWN, draw(SEED, DRAWN, 0.5), decision="allowed", recording_id=DRAWN).anonymous()
    rejected = call("1", outcome="rejected", decided_by="sip")
    receipts = [as_drawn(SEED, id, 0.5) for id in IDS] + [as_drawn(SEED, id, 0.1) for id in IDS[:50]]
    half = sum(draw(SEED, id, 0.5).drawn for id in IDS)
    tenth = sum(draw(SEED, id, 0.1).drawn for id in IDS[:50])
    assert audit([*receipts, old, rejected], SEED).to_json() == {
        "calls": 150,
        "drawn": half + tenth,
        "shares": [
            {"share": 0.5, "calls": 100, "drawn": half, "expected": 50.0},
            {"share": 0.1, "calls": 50, "drawn": tenth, "expected": 5.0},
        ],
        "undrawn": 1,
        "forgotten": 1,
        "elsewhere": 0,
        "wrong": [],
    }


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


def test_without_the_seed_or_with_another_hosts_nothing_is_confirmed() -> None:
    """Calls of the time before there were several hosts are told by their seed."""
    assert audit([call(DRAWN, draw(SEED, DRAWN, 0.5))], None).wrong != []
    assert audit([call(DRAWN, draw(None, DRAWN, 0.5), **SAMPLED)], None).wrong == []
    assert audit([call(DRAWN, draw(None, DRAWN, 1.0), decision="allowed")], None).wrong == []
    of_a, of_b = (f"20261124T222000000-h{host}-482913" for host in "ab")
    found = audit([call(of_a, draw(SEED, of_a, 1.0)), call(of_b, draw(OTHER, of_b, 1.0))], SEED, "a")
    assert (found.wrong, found.elsewhere) == ([], 1)
    assert audit([call(of_a, draw(OTHER, of_a, 0.5))], SEED, "a").wrong != []
    assert audit([call(DRAWN, draw(OTHER, DRAWN, 0.5))], SEED, "b").elsewhere == 1
    assert audit([call(DRAWN, decision="allowed")], SEED, "b").wrong != []


# --- the command ---


def test_the_command_repeats_every_draw_of_a_period(office: Office) -> None:
    assert office.run("draws").out == "0 draws, no seed yet\n"
    place, copy = Places(office.folder / "retention.db").seed, office.folder / "copy.seed"
    assert not place.exists()
    seed, store = keep_seed(place), office.archive.store
    with store.write():
        for id in IDS[:12]:
            store.add_receipt(replace(as_drawn(seed, id, 0.5), ended_at=kept.START))
        late = as_drawn(seed, "20261204T222000123-482913", 0.5)
        store.add_receipt(replace(late, started_at=kept.START + timedelta(days=10)))
    drawn = sum(draw(seed, id, 0.5).drawn for id in IDS[:12])
    told = json.loads(office.run("draws", "--until", "2026-11-30", "--json").out)
    assert (told["calls"], told["drawn"], told["seed"], told["wrong"]) == (12, drawn, seed.name, [])
    assert json.loads(office.run("draws", "--since", "2026-11-30", "--json").out)["calls"] == 1
    lines = [line.split() for line in office.run("draws", "--until", "2026-11-30").out.splitlines()]
    assert lines[:2] == [["share", "calls", "drawn", "expected"], ["0.5", "12", str(drawn), "6.0"]]
    assert " ".join(lines[-1]) == f"12 draws, seed {seed.name}"
    assert "--since: 'soon' is not a moment" in office.fails(2, "draws", "--since", "soon")
    shutil.move(place, copy)
    assert (office.run("draws").code, office.run("draws", "--seed", copy).code) == (1, 0)
    assert "absent.seed: No such file" in office.fails(1, "draws", "--seed", office.folder / "absent.seed")
    place.write_text("sipagent-seed-1 00\n")
    assert "retention.seed is damaged" in office.fails(1, "draws")
    shutil.copy(copy, place)
    forged, row = as_drawn(OTHER, IDS[50], 0.5), office.call()
    store.add_receipt(forged)
    result = office.run("draws")
    assert result.code == 1 and f"{forged.id}  drawn with the seed" in result.out and row.id in result.out
    assert result.err.startswith("sipagent: 2 draws cannot be confirmed, beginning with ")
    wrong = json.loads(office.run("draws", "--json").out)["wrong"]
    assert {one["id"] for one in wrong} == {forged.id, row.id}

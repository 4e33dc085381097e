"""Figures out of receipts and recordings: shares, lengths, days, and what they must not hold."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.records import Event, LegQuality, Quality, Receipt, Recording, Status, to_text
from retention.statistics import AWAITED, BEGUN, BRIDGED, OTHER, OUTCOMES, STOPPED, Spread, Statistics
from sipagent.call import machines
from sipagent.text.papers import StatisticsWords
from sipagent.text.statistics import tiles
from tests import kept
from tests.tampering import sum_of

PARIS = ZoneInfo("Europe/Paris")
NUMBER = "+33323063006"


@pytest.fixture
def figures() -> Statistics:
    return Statistics(PARIS, {NUMBER: "fr", "+33323063007": "en"})


def call(**changes: Any) -> Receipt:
    return kept.receipt(kept.recording(), **changes)


# --- shares ---


def test_calls_that_are_counted_together_count(figures: Statistics) -> None:
    figures.receipt(call(outcome="rejected", decision="undecided", decided_by="sip", operator=None))
    figures.sum(replace(sum_of(40), from_at=datetime(2026, 11, 24, 23, 30, tzinfo=UTC)))
    figures.sum(replace(sum_of(3), what="lost"))
    told = figures.result().to_json()
    assert (told["calls"], told["in_sums"], told["outcomes"]["rejected"]) == (41, 40, 41)
    assert told["decisions"]["undecided"] == {"total": 41, "by": {"sip": 41}}
    assert [(day["day"], day["calls"]) for day in told["per_day"]] == [("2026-11-24", 1), ("2026-11-25", 40)]
    assert [(one["called"], one["calls"]) for one in told["numbers"]][-1] == (OTHER, 40)
    assert [(one["count"], one["from_at"]) for one in told["lost"]] == [(3, to_text(kept.START))]
    assert told["answer_rate"] is None


def test_the_answer_rate_is_of_calls_that_could_be_answered(figures: Statistics) -> None:
    for outcome in (*OUTCOMES, "connected"):
        figures.receipt(call(outcome=outcome))
    figures.receipt(call(outcome=None, ended_at=None))
    assert figures.answer_rate == 0.5
    json = figures.result().to_json()["outcomes"]
    assert (json["connected"], json["closed"], json["in_progress"]) == (2, 1, 1)
    assert sum(json.values()) == figures.calls == 9


def test_refusals_by_channel_and_phase(figures: Statistics) -> None:
    refused: list[tuple[str, str | None, str | None]] = [
        ("dtmf", "rfc4733", "notice"),
        ("dtmf", "inband", "notice"),
        ("dtmf", "rfc4733", "call"),
        ("voice", None, "window"),
        ("letter", None, None),  # of a version to come
    ]
    for by, method, phase in refused:
        figures.receipt(call(decision="refused", decided_by=by, dtmf_method=method, phase=phase))
    refusals = figures.result().to_json()["refusals"]
    assert refusals["by_channel"] == {"dtmf": 3, "voice": 1, "unclear": 0, "sip": 0, "letter": 1}
    assert refusals["by_phase"] == {"choice": 0, "notice": 2, "window": 1, "call": 1, "unknown": 1}
    assert refusals["by_dtmf_method"] == {"rfc4733": 2, "info": 0, "inband": 1}
    assert refusals["by_channel_and_phase"]["dtmf"] == {"choice": 0, "notice": 2, "window": 0, "call": 1}
    assert refusals["total"] == 5


def test_the_rate_of_refusals_is_of_those_who_were_asked(figures: Statistics) -> None:
    figures.receipt(call(decision="refused", decided_by="dtmf"))
    for decision, by in (("allowed", "silence"), ("not_allowed", "unclear"), ("not_allowed", "operator")):
        figures.receipt(call(decision=decision, decided_by=by))
    assert figures.refusal_rate == 0.25
    for why in ("sampling", "disabled", "notice_failed"):
        figures.receipt(call(decision="not_allowed", decided_by=why))
    for nobody in (None, "sip"):
        figures.receipt(call(decision="undecided", decided_by=nobody))
    assert (figures.asked, figures.refusal_rate) == (4, 0.25)
    undecided = figures.result().to_json()["decisions"]["undecided"]
    assert undecided == {"total": 2, "by": {"nothing": 1, "sip": 1}}


# --- lengths ---


@given(st.lists(st.floats(0, 90_000), min_size=1), st.floats(0.01, 1))
def test_quantiles_are_those_of_the_sorted_lengths(lengths: list[float], share: float) -> None:
    spread = Spread()
    for length in lengths:
        spread.add(length)
    ranked = sorted(round(min(length, 86_400) * 10) / 10 for length in lengths)
    expected = next(length for rank, length in enumerate(ranked, 1) if rank >= share * len(ranked))
    assert spread.quantile(share) == expected
    assert spread.longest_s == max(lengths)
    assert sum(spread.up_to((1, 60))) == len(lengths)


# --- days ---


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_day_is_one_of_the_time_zone_also_when_the_clocks_change(figures: Statistics) -> None:
    """29 March 2026 has 23 hours in Paris, 25 October 25."""
    for begun, day in (
        ("2026-03-28T22:59", "2026-03-28"),
        ("2026-03-28T23:00", "2026-03-29"),
        ("2026-03-29T21:59", "2026-03-29"),
        ("2026-03-29T22:00", "2026-03-30"),
        ("2026-10-24T22:00", "2026-10-25"),
        ("2026-10-25T22:59", "2026-10-25"),
        ("2026-10-25T23:00", "2026-10-26"),
    ):
        before = figures.days[datetime.fromisoformat(day).date()].total()
        figures.receipt(call(started_at=at(begun)))
        assert figures.days[datetime.fromisoformat(day).date()].total() == before + 1, begun
    per_day = figures.result().to_json()["per_day"]
    assert [(row["day"], row["calls"]) for row in per_day] == [
        ("2026-03-28", 1), ("2026-03-29", 2), ("2026-03-30", 1), ("2026-10-25", 2), ("2026-10-26", 1),
    ]  # fmt: skip
    assert sum(row["allowed"] for row in per_day) == figures.calls


# --- whose ---


def test_numbers_are_the_services_own_and_all_others_one(figures: Statistics) -> None:
    figures.receipt(call(called=NUMBER, decision="refused", decided_by="dtmf"))
    for dialled in ("+33999999999", "+33888888888", None):
        figures.receipt(call(called=dialled, outcome="rejected"))
    assert figures.result().to_json()["numbers"] == [
        {"called": NUMBER, "language": "fr", "calls": 1, "reached": 1, "refused": 1},
        {"called": "+33323063007", "language": "en", "calls": 0, "reached": 0, "refused": 0},
        {"called": OTHER, "language": None, "calls": 3, "reached": 0, "refused": 0},
    ]


def test_stops_are_counted_for_the_operator_who_pressed_the_key(figures: Statistics) -> None:
    stop = Event(at=kept.START, what="stop code", by="operator")
    said = Event(at=kept.START, what="stop code", by="caller")  # nobody's key
    figures.receipt(call(operator="sip:201@pbx", events=(stop, said)))
    figures.receipt(call(operator="sip:201@pbx"))
    figures.receipt(call(operator="sip:202@pbx", events=(stop,)))
    figures.receipt(call(operator="sip:202@pbx", decided_by="operator", events=(stop,)).anonymous())
    json = figures.result().to_json()
    assert json["operators"] == [
        {"operator": "sip:201@pbx", "calls": 2, "refused": 0, "stops": 1},
        {"operator": "sip:202@pbx", "calls": 1, "refused": 0, "stops": 1},
    ]
    assert json["operator_stops"] == 3  # also where the receipt has forgotten who it was


def test_recordings_that_wait_for_an_operators_key(figures: Statistics) -> None:
    waits = Event(at=kept.START, what="the operator may begin the recording", by="agent")
    code = Event(at=kept.START, what="record code", by="operator")
    for events in ((waits,), (waits, code), (waits, code, code), ()):
        figures.receipt(call(events=events))
    told = figures.result().to_json()
    assert (told["awaited"], told["begun"]) == (3, 2)
    assert ("begun", "2", "of 3") in tiles(figures, StatisticsWords("en"))


def test_calls_whose_speech_nobody_could_judge_are_no_doubts(figures: Statistics) -> None:
    """Also once the receipt has forgotten the words."""
    unclear = call(decision="not_allowed", decided_by="unclear")
    for one in (unclear, replace(unclear, keyword="refuser", confidence=0.0)):
        figures.receipt(one)
        figures.receipt(one.anonymous())
    assert figures.result().to_json()["unheard"] == 2


def test_how_the_line_was_and_in_which_hours_it_was_worst(figures: Statistics) -> None:
    def leg(mos: float | None, packets: int = 100, lost: int = 0) -> LegQuality:
        return LegQuality(codec="PCMA", packets=packets, lost=lost, mos=mos)

    for hour, mos in ((8, 4.4), (9, 3.0), (9, 3.5), (10, 4.0), (11, None)):
        at = datetime(2026, 11, 24, hour, 59, tzinfo=UTC)
        quality = Quality(caller=leg(mos, 90, 10), operator=leg(4.4))
        figures.receipt(call(started_at=at, quality=quality))
    figures.receipt(call(quality=Quality(caller=leg(None, 0), operator=leg(None), one_way="caller")))
    figures.receipt(call(quality=None))
    line = figures.result().to_json()["line"]
    caller, operator = line["sides"]
    assert (caller["side"], caller["legs"], caller["lost_share"], operator["legs"]) == ("caller", 5, 0.1, 6)
    assert [caller[name] for name in ("mean_mos", "median_mos", "p10_mos")] == [3.73, 3.5, 3.0]
    assert caller["opinions"] == {"best": 1, "high": 0, "medium": 1, "low": 1, "poor": 1, "unrated": 1}
    assert [(one["at"], one["legs"], one["mean_mos"]) for one in line["worst_hours"]] == [
        ("2026-11-24T09:00:00.000Z", 2, 3.25), ("2026-11-24T10:00:00.000Z", 1, 4.0),
    ]  # fmt: skip
    assert line["one_way"] == 1


def test_after_a_transfer_a_stop_is_counted_for_whoever_was_talking(figures: Statistics) -> None:
    assert (STOPPED, BRIDGED) == (machines.STOPPED, machines.BRIDGED)
    assert (AWAITED, BEGUN) == (machines.AWAITED, machines.BEGUN)
    first, second = "sip:201@pbx", "sip:202@pbx"
    lines = [f"{BRIDGED}{first}", STOPPED, "transfer to sip:202@pbx", f"{BRIDGED}{second}"]
    events = tuple(Event(at=kept.START, what=line, by="operator") for line in lines)
    figures.receipt(call(operator=second, decided_by="operator", events=events))
    figures.receipt(call(operator=second, events=(*events, events[1])))
    operators = figures.result().to_json()["operators"]
    assert [(one["operator"], one["calls"], one["stops"]) for one in operators] == [
        (first, 0, 2),
        (second, 2, 1),
    ]


def test_nothing_leads_to_a_caller(figures: Statistics) -> None:
    figures.receipt(call(keyword="je refuse"))
    figures.recording(kept.recording(hold={"ground": "criminal", "by": "M. Durand"}))
    text = json.dumps(figures.result().to_json())
    for personal in (kept.CALLER, "a84b4c76e66710", "je refuse", "Durand"):
        assert personal not in text


# --- recordings ---


def recordings() -> Iterator[Recording]:
    yield kept.recording(status=Status.CLOSED, bytes=1000, duration_s=60.0, flagged=True)
    yield kept.recording(status=Status.CLOSED, bytes=500, duration_s=30.5, hold={"ground": "criminal"})
    yield kept.recording(status=Status.PURGED, bytes=7, duration_s=9.0)
    yield kept.recording(status=Status.PURGING, bytes=7, hold=None)
    yield kept.recording(status=Status.ERASED, incomplete=True)
    yield kept.recording(status=Status.FAILED)
    yield kept.recording(status=Status.OPEN)


def test_what_has_become_of_recordings(figures: Statistics) -> None:
    for row in recordings():
        figures.recording(row)
    fates = {"kept": 2, "held": 1, "purged": 2, "erased": 1, "failed": 1, "open": 1}
    assert figures.result().to_json()["recordings"] == {
        "total": 7, **fates, "flagged": 1, "incomplete": 1, "bytes_kept": 1500, "seconds_kept": 90.5,
        "by_month": [{"month": "2026-11", **fates}],
    }  # fmt: skip

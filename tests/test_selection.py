"""A selection lists what matches and nothing else, in the table of recordings as in that of receipts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.records import Receipt, Recording, Status, reference_of
from retention.rows.rows import Rows, UnknownId
from retention.rows.selection import Selection
from tests.both import BOTH, opened
from tests.kept import START, receipt, recording
from tests.tampering import HOLD

DATABASES = BOTH

NUMBERS = ("+33612345678", "+33323063001", "+4930123456", "%", "_", "anonymous", None)
OPERATORS = (
    "sip:201@pbx.example.net",
    "sip:marie.durand@pbx.example.net",
    "sip:2010@pbx",
    "201",
    "sips:201@pbx:5061",
    "%",
    None,
)
DECISIONS = ("allowed", "refused", "not_allowed")


def calls() -> Iterator[tuple[Recording, Receipt]]:
    """Of every kind, some at the same moment, some with several operators."""
    for number in range(84):
        last = OPERATORS[number % 5 + number % 3]
        before = tuple(filter(None, (OPERATORS[number % 7], OPERATORS[number % 4])))
        row = recording(
            number // 2,
            id=f"20261124T222000{number:03d}-{(number * 7919) % 10**6:06d}",
            caller=NUMBERS[number % 7],
            operator=last,
            operators=(*before, last) if last and number % 3 == 0 else (),
            status=list(Status)[number % 6],
            flagged=number % 4 == 0,
            hold=HOLD if number % 11 == 0 else None,
            decision=DECISIONS[number % 3],
        )
        yield row, receipt(row, decision=row.decision, outcome="connected" if number % 2 else "abandoned")


@pytest.fixture
def store() -> Iterator[Rows]:
    with opened() as store:
        with store.write():
            for row, call in calls():
                store.add_recording(row)
                store.add_receipt(call)
        yield store


CALLS = list(calls())
PLACES = {row.id: (row.started_at, row.id) for row, _ in CALLS}
MOMENTS = st.integers(-1, 45).map(lambda minutes: START + timedelta(minutes=minutes))
FORMS = st.sampled_from(
    ["+33", "5678", "+33612345678", "678", "3", "%", "_", "+49", "anonymous", "nobody", ""]
)
SELECTIONS = st.builds(
    Selection,
    since=st.none() | MOMENTS,
    until=st.none() | MOMENTS,
    number=st.none() | st.sampled_from([number for number in NUMBERS if number]),
    caller=st.just(()) | st.lists(FORMS, min_size=1, max_size=3).map(tuple),
    operator=st.none() | st.sampled_from(["201", "2010", "marie.durand", "marie", "01", "%", OPERATORS[1]]),
    reference=st.none() | st.sampled_from([reference_of(row.id) for row, _ in CALLS[:9]] + ["000", "", "%"]),
    status=st.none() | st.sampled_from(Status),
    held=st.booleans(),
    flagged=st.booleans(),
    decision=st.none() | st.sampled_from(DECISIONS),
    after=st.none() | st.sampled_from([row.id for row, _ in calls()]),
    limit=st.none() | st.integers(0, 90),
)


def matches(row: Recording, chosen: Selection) -> bool:
    """What the class says, a second time."""
    number = row.caller
    parts = [one for one in row.each_operator]
    parts += [one.partition(":")[2].partition("@")[0] for one in row.each_operator if "@" in one]
    return all(
        (
            chosen.since is None or row.started_at >= chosen.since,
            chosen.until is None or row.started_at < chosen.until,
            chosen.number is None or number == chosen.number,
            not chosen.caller
            or (
                number is not None
                and any(number.startswith(form) or number.endswith(form) for form in chosen.caller)
            ),
            chosen.operator is None or chosen.operator in parts,
            chosen.reference is None or reference_of(row.id) == chosen.reference,
            chosen.status is None or row.status is chosen.status,
            not chosen.held or row.hold is not None,
            not chosen.flagged or row.flagged,
            chosen.decision is None or row.decision == chosen.decision,
            chosen.after is None or (row.started_at, row.id) < PLACES[chosen.after],
        )
    )


def expected(chosen: Selection) -> list[str]:
    rows = sorted((row for row, _ in CALLS if matches(row, chosen)), key=lambda row: (row.started_at, row.id))
    return [row.id for row in reversed(rows)][: chosen.limit]


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SELECTIONS)
def test_what_matches_and_nothing_else(store: Rows, chosen: Selection) -> None:
    assert [row.id for row in store.recordings(chosen)] == expected(chosen)
    assert [row.id for row in store.receipts(chosen)] == expected(chosen)


def test_outcomes_are_of_receipts(store: Rows) -> None:
    connected = store.receipts(Selection(outcome="connected"))
    assert len(connected) == 42 and {call.outcome for call in connected} == {"connected"}
    assert len(store.receipts(Selection(outcome="connected", flagged=True))) == 0
    assert len(store.receipts(Selection(outcome="abandoned", flagged=True))) == 21


def test_calls_without_a_recording() -> None:
    """They have no state of one."""
    with opened() as store:
        without, recorded = recording(), recording(1)
        store.add_receipt(receipt(without, recording_id=None))
        for chosen in (Selection(held=True), Selection(flagged=True), Selection(status=Status.CLOSED)):
            assert store.receipts(chosen) == []
        store.add_receipt(receipt(recorded))
        store.add_recording(recorded)
        for others in (Selection(), Selection(number=without.caller)):
            chosen = replace(others, unrecorded=True)
            assert [call.id for call in store.receipts(chosen)] == [without.id]
            assert [row.id for row in store.recordings(chosen)] == [recorded.id]


def test_a_page_goes_on_behind_a_call_that_is_not_there(store: Rows) -> None:
    """Its id says when it began; what says nothing is no place to go on from."""
    later = START + timedelta(minutes=20, milliseconds=1)
    after = f"{later:%Y%m%dT%H%M%S}{later.microsecond // 1000:03}-000000"
    until = Selection(until=later)
    assert [row.id for row in store.recordings(Selection(after=after))] == expected(until) != []
    with pytest.raises(UnknownId):
        store.recordings(Selection(after="nobody"))


@pytest.mark.parametrize("callers", [3, 399, 401])
def test_callers_are_looked_up_where_they_are_few(callers: int) -> None:
    """More are found by looking: the list is the same."""
    with opened() as store:
        with store.write():
            for number in range(callers + 7):
                others = number >= callers
                caller = f"+3361{number:05d}0612" if not others else f"+49{number:05d}"
                store.add_recording(recording(number, caller=caller))
            store.add_recording(recording(callers + 9, caller="+33612"))
        ends, begins = Selection(caller=("+330612", "0612")), Selection(caller=("+3361", "0361"))
        assert len(store.recordings(ends)) == callers and len(store.recordings(begins)) == callers + 1
        newest = store.recordings(replace(begins, limit=3))
        assert [row.started_at for row in newest] == sorted((row.started_at for row in newest), reverse=True)
        assert newest[0].caller == "+33612" and newest[1].caller == f"+3361{callers - 1:05d}0612"
        assert store.recordings(replace(begins, after=newest[1].id, limit=1)) == newest[2:]

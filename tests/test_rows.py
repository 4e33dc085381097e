"""A record and its row: what comes back is what went in, and what cannot be read is named."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.chain import canonical
from retention.recording import Event, Json, Pause, RecordError, Status
from retention.rows import OF_THE_CHAIN, as_read, from_row, record_of, to_row
from retention.store import Store
from tests.kept import receipt, recording

TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(0, 2**40) | st.floats(0, 1e12, allow_nan=False)
EVENTS = st.builds(Event, at=TIMES, what=TEXTS, by=st.none() | TEXTS)
PAUSES = st.builds(Pause, from_s=NUMBERS, to_s=NUMBERS)
RECORDINGS = st.builds(
    recording,
    duration_s=st.none() | NUMBERS,
    caller=st.none() | TEXTS,
    incomplete=st.booleans(),
    flagged=st.booleans(),
    status=st.sampled_from(Status),
    pauses=st.lists(PAUSES, max_size=3).map(tuple),
    hold=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
    bytes=st.none() | st.integers(0, 2**62),
)
RECEIPTS = st.builds(
    lambda **changes: receipt(recording(), **changes),
    operator=st.none() | TEXTS,
    confidence=st.none() | NUMBERS,
    notice_played_ms=st.none() | st.integers(0, 10**9),
    events=st.lists(EVENTS, max_size=3).map(tuple),
)


STORE = Store(":memory:")


def through_the_database(table: str, record: Json) -> dict[str, Any]:
    """Its row as SQLite gives it back, with the types of the schema."""
    with pytest.raises(ZeroDivisionError), STORE.write():
        STORE._ledger.insert(table, record)
        (row,) = STORE._read(f"SELECT * FROM {table}", [])
        raise ZeroDivisionError
    return row


@settings(deadline=None)
@given(
    st.one_of(RECORDINGS.map(lambda row: ("recordings", row)), RECEIPTS.map(lambda row: ("receipts", row)))
)
def test_what_comes_back_is_what_the_chain_was_told(kept: tuple[str, Any]) -> None:
    """To the letter, or `verify` would call it changed."""
    table, record = kept
    row = through_the_database(table, record.to_json())
    assert canonical(from_row(row)) == canonical(as_read(record.to_json()))
    assert type(record).from_json(from_row(row)) == record


@settings(deadline=None)
@given(RECORDINGS)
def test_as_read_is_stable(row: Any) -> None:
    once = as_read(row.to_json())
    assert as_read(once) == once


def test_columns_hold_plain_values() -> None:
    row = to_row(recording(hold={"ground": "criminal"}, flagged=True).to_json())
    assert row["hold"] == '{"ground":"criminal"}'
    assert row["notice"].startswith('{"file":"prompts/fr/notice.wav"')
    assert row["pauses"] == '[{"from_s":3.5,"to_s":8.0}]'
    assert row["flagged"] is True
    assert to_row({"hold": None}) == {"hold": None}
    assert all(value is None or isinstance(value, (str, int, float)) for value in row.values())


def test_what_belongs_to_the_chain_is_no_field() -> None:
    row = {"id": 3, "by": "A", "salt": "00", "chain_seq": 7}
    assert set(OF_THE_CHAIN) == {"salt", "chain_seq"}
    assert from_row(row) == {"id": 3, "by": "A"}
    assert record_of("access", row) == record_of("note", row) == {"by": "A"}
    assert record_of("receipt", row) == {"id": 3, "by": "A"}


@pytest.mark.parametrize("value", ["[x", "", b"\xff", "[" * 99_999])
@pytest.mark.parametrize("name", ["notice", "pauses", "hold", "events"])
def test_nested_values_that_cannot_be_read(name: str, value: object) -> None:
    with pytest.raises(RecordError, match=f"^{name}: not readable: ") as error:
        from_row({name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("value", "read"), [(0, False), (1, True), (2, 2), (None, None), ("x", "x")])
def test_a_flag_is_0_or_1(value: object, read: object) -> None:
    assert from_row({"flagged": value})["flagged"] is read


def test_the_longest_number_fits() -> None:
    row = through_the_database("recordings", recording(bytes=2**63 - 1, duration_s=1e9).to_json())
    assert (row["bytes"], row["duration_s"]) == (2**63 - 1, 1e9)

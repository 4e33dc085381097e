"""Recordings and receipts as values: their JSON, times, ids, periods, and what of them leads to a person."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.records import (
    Event,
    Ids,
    PeriodError,
    Receipt,
    RecordError,
    Recording,
    Status,
    begun_at,
    due_date,
    from_text,
    host_of,
    is_id,
    new_id,
    parse_period,
    reference_of,
    to_text,
    worker_of,
)
from tests.kept import QUALITY, START, receipt, recording

LIST_FIELDS = """id call_id started_at ended_at duration_s caller called operator operators status incomplete
    decision notice channels sample_rate path bytes sha256 pauses missing flagged expires_at hold purged_at"""
CALLS_FIELDS = """id call_id started_at answered_at connected_at ended_at caller called operator operators
    outcome decision decided_by decided_at phase dtmf_method keyword confidence notice_played_ms events
    recording_id quality caller_identity not_recorded_because expires_at"""


def test_json_has_the_fields_of_the_contract_with_plain_values() -> None:
    row = recording(id="20261124T222000123-4f2a9c")
    told = row.to_json()
    assert list(told) == LIST_FIELDS.split()
    assert list(receipt(row).to_json()) == CALLS_FIELDS.split()
    assert told["started_at"] == "2026-11-24T22:20:00.123Z" and told["hold"] is None
    assert told["expires_at"] == "2027-05-24T22:20:00.123Z"
    assert told["status"] == "open" and type(told["status"]) is str
    assert told["notice"] == {"file": "prompts/fr/notice.wav", "sha256": "ab" * 32}
    assert told["pauses"] == [{"from_s": 3.5, "to_s": 8.0}]


def test_json_and_back() -> None:
    row = recording(status=Status.CLOSED, ended_at=START, duration_s=1.5, flagged=True)
    newer = json.loads(json.dumps(row.to_json())) | {"mood": "good"}
    assert Recording.from_json(newer) == row
    call = receipt(row, events=(Event(at=START, what="ringing", by="operator"), Event(at=START, what="bye")))
    assert Receipt.from_json(json.loads(json.dumps(call.to_json()))) == call


@pytest.mark.parametrize(("field", "value"), [
    ("id", "../../etc/passwd"), ("id", 7), ("status", "melted"),
    ("started_at", "yesterday"), ("started_at", "2026-11-24T22:20:00"), ("started_at", 7),
    ("caller", 33612345678), ("duration_s", "long"), ("flagged", "no"),
    ("pauses", 7), ("pauses", [{"from_s": 1}]), ("notice", "notice.wav"), ("hold", "yes"),
])  # fmt: skip
def test_wrong_json_names_the_field(field: str, value: object) -> None:
    with pytest.raises(RecordError, match="recording: ") as error:
        Recording.from_json(recording().to_json() | {field: value})
    assert "\n" not in str(error.value)
    with pytest.raises(RecordError, match="expires_at"):
        Recording.from_json({"id": "x", "started_at": "2026-11-24T22:20:00.123Z"})


def test_times_are_utc_with_milliseconds() -> None:
    paris = timezone(timedelta(hours=1))
    assert to_text(datetime(2026, 11, 24, 23, 20, 0, 123999, tzinfo=paris)) == "2026-11-24T22:20:00.123Z"
    assert from_text("2026-11-24T23:20:00.123+01:00") == START
    with pytest.raises(ValueError, match="no time zone"):
        to_text(datetime(2026, 11, 24))


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_time_texts_sort_as_times_do(one: datetime, other: datetime) -> None:
    if to_text(one) < to_text(other):
        assert one < other


def test_ids_sort_by_time_are_file_names_and_end_in_six_digits_that_can_be_said() -> None:
    ids = [new_id(START + timedelta(milliseconds=n)) for n in range(200)]
    assert ids == sorted(ids) and len(set(ids)) == 200
    assert all(is_id(id) and len(id) == 25 for id in ids)
    assert begun_at(ids[5]) == START + timedelta(milliseconds=5)
    assert reference_of(ids[5]) == ids[5][-6:] and reference_of(ids[5]).isdecimal()
    assert len({new_id(START) for _ in range(100)}) > 90


@pytest.mark.parametrize("worker", [None, 3])
@pytest.mark.parametrize("host", [None, "a", "w3", "paris1"])
def test_ids_name_the_host_and_the_worker(host: str | None, worker: int | None) -> None:
    id = new_id(START, worker, host)
    assert is_id(id) and (host_of(id), worker_of(id), begun_at(id)) == (host, worker, START)
    assert len(reference_of(id)) == 6


def test_no_two_workers_and_no_process_give_an_id_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = iter([482913] * 4 + [7, 7, 7, 8, 7])
    monkeypatch.setattr("secrets.randbelow", lambda _: next(dice))
    given = [Ids(worker).new(START) for worker in (None, 0, 3, 33)]
    assert given[0] == "20261124T222000123-482913" and given[2] == "20261124T222000123-w3-482913"
    assert len(set(given)) == 4 and {reference_of(id) for id in given} == {"482913"}
    ids, later = Ids(3), START + timedelta(milliseconds=1)
    told = [reference_of(ids.new(at)) for at in (START, START, later)]
    assert told == ["000007", "000008", "000007"]


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/b", "a.b", "-x", "a\n", "a\x00", "é", "x" * 65, "a b", "٣"]
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("text", ["call-1", "20269924T222000123-482913", "20261124T222000123-482913.flac"])
def test_ids_that_tell_no_time(text: str) -> None:
    assert begun_at(text) is None


@pytest.mark.parametrize(("start", "period", "due"), [
    ("2026-08-31", "6 months", "2027-02-28"),
    ("2027-08-31", "6 months", "2028-02-29"),
    ("2026-11-24", "6 months", "2027-05-24"),
    ("2028-02-29", "1 year", "2029-02-28"),
    ("2026-12-31", "2 weeks", "2027-01-14"),
    ("2026-12-31", "1 day", "2027-01-01"),
])  # fmt: skip
def test_due_dates_go_by_the_calendar(start: str, period: str, due: str) -> None:
    noon = "T12:00:00.000Z"
    assert to_text(due_date(from_text(start + noon), period)) == due + noon


def test_a_date_never_leads_out_of_the_calendar() -> None:
    assert due_date(START, "100 years").year == 2126
    assert due_date(datetime(9999, 12, 31, tzinfo=UTC), "6 months").year == 9999
    with pytest.raises(PeriodError, match="too long"):
        due_date(START, "9999 years")


@pytest.mark.parametrize(
    "period", ["", "6", "months", "0 days", "-1 day", "6 months!", "1.5 years", "6 moons"]
)
def test_wrong_periods(period: str) -> None:
    with pytest.raises(PeriodError, match="accepted: '90 days'"):
        parse_period(period)


def test_tombstones_and_anonymous_receipts_lead_to_nobody() -> None:
    tomb = recording().tombstone(Status.PURGED, START)
    assert (tomb.caller, tomb.operator, tomb.call_id, tomb.path) == (None, None, None, None)
    assert tomb.started_at == START and tomb.notice is not None and tomb.purged_at == START
    call = receipt(recording(), keyword="je refuse", events=(Event(at=START, what="rang", by="sip:201@x"),))
    text = json.dumps(call.anonymous().to_json()).replace(call.id, "")  # which ends with any six digits
    assert not any(word in text for word in ("336", "marie", "192.0.2.7", "refuse", "201"))
    assert (call.anonymous().outcome, call.anonymous().quality) == ("connected", QUALITY)
    known = {"number": None, "attestation": "A", "verified": True, "masked": False}
    assert call.anonymous().to_json()["caller_identity"] == known
    assert call.to_json()["caller_identity"] == known | {"number": call.caller}

"""What `check` says of what is kept, and of the time stamping that is configured."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention import outbox, stamps
from retention.archive import Archive
from retention.clock import ClockReading, look, suspended
from retention.records import Access, due_date
from retention.rows.chain import DAMAGED, damaged_path
from retention.stamps import stamp_head
from sipagent.check.retention import STAMP_LATE, retention_findings, stamp_findings
from sipagent.config.load import Config
from tests import old_stamp
from tests.configured import SMALL, read, with_keys
from tests.kept import START, keep, receipt, recording
from tests.peers.tsa import Authority

DUE = due_date(START, "6 months")
DAY = timedelta(days=1)
MOMENT = timedelta(milliseconds=1)
WELL = ("ok", "nothing is overdue")


def reading(wall: datetime = START, elapsed: float = 100.0) -> ClockReading:
    return ClockReading("boot", wall, elapsed, synchronised=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return read(SMALL, tmp_path / "config.toml")


def found(
    config: Config, now: datetime, clock: Callable[[], ClockReading] = reading
) -> dict[str, tuple[str, str]]:
    return {one.what: (one.level, one.detail) for one in retention_findings(config, now, clock)}


def test_all_is_well(config: Config, archive: Archive) -> None:
    assert found(config, START)["chain"] == ("ok", "1 entry, and retention.head names one")
    keep(archive, recording())
    head = archive.store.head().seq
    assert found(config, START) == {
        "purge": WELL,
        "erasures": ("ok", "all that had to be erased in its call is gone"),
        "recordings": ("ok", "every call that should have been recorded was"),
        "reserves": ("ok", "are made at the start"),
        "holds": ("ok", "no review is overdue"),
        "chain": ("ok", f"{head} entries, and retention.head names one"),
    }


def test_a_day_beyond_its_date_is_an_error_by_the_period_as_it_is_now(
    config: Config, archive: Archive
) -> None:
    keep(archive, recording())
    keep(archive, recording(60))
    said = "overdue, the first since 2027-05-24 22:20 UTC: see `sipagent purge`"
    for now, expected in (
        (DAY - MOMENT, WELL),
        (DAY, ("error", f"1 {said}")),
        (2 * DAY, ("error", f"2 {said}")),
    ):
        assert found(config, DUE + now)["purge"] == expected
    shorter = read(with_keys("retention", 'period = "1 month"', SMALL), config.file)
    said = said.replace("2027-05-24", "2026-12-24")
    assert found(shorter, due_date(START, "1 month") + DAY)["purge"] == ("error", f"1 {said}")


def test_events_that_wait_for_long_or_were_given_up_are_told_of(config: Config, archive: Archive) -> None:
    outbox.collect(archive.store, START)
    keep(archive, recording())
    first, *_ = outbox.due(archive.store, START, 9)
    assert "events" not in found(config, START + timedelta(hours=1))
    late = "2 wait, the first since 2026-11-24 22:20 UTC: see `sipagent events`"
    assert found(config, START + timedelta(hours=2))["events"] == ("warning", late)
    outbox.failed(archive.store, first.id, START, "gone", None)
    given_up = "1 were given up: see `sipagent events --failed`"
    assert found(config, START)["events"] == ("error", given_up)


def test_what_is_held_is_not_overdue_but_its_review_may_be(config: Config, archive: Archive) -> None:
    row = keep(archive, recording())
    archive.change(replace(row, hold={"ground": "criminal", "review": "2027-05-25"}))
    midnight_in_paris = datetime.fromisoformat("2027-05-26T00:00+02:00")
    assert found(config, midnight_in_paris - MOMENT)["holds"] == ("ok", "no review is overdue")
    late = found(config, midnight_in_paris)
    assert late["holds"] == ("error", "1 whose review is overdue: see `sipagent holds`")
    assert late["purge"] == WELL


def test_a_clock_that_stepped_is_an_error_before_the_agent_has_looked(
    config: Config, archive: Archive
) -> None:
    keep(archive, recording())
    look(archive.store, reading())
    stepped = reading(DUE, 100.0)
    for _ in range(2):
        level, detail = found(config, DUE + 2 * DAY, lambda: stepped)["purge"]
        assert level == "error" and detail.startswith("suspended: the clock is ahead by 181 days")
        assert detail.endswith("sipagent purge --clock-ok --by WHO")
        assert suspended(archive.store) is None  # it was looked at, not decided
    look(archive.store, stepped)
    assert found(config, START)["purge"][0] == "error"  # and stays so until somebody says that it is right


def test_a_head_that_is_missing_unreadable_or_not_of_this_chain(config: Config, archive: Archive) -> None:
    def chain() -> tuple[str, str]:
        return found(config, START)["chain"]

    assert archive.store.places is not None
    file = archive.store.places.head
    keep(archive, recording())
    seq = archive.store.head().seq
    file.write_text(file.read_text().replace(f'"seq": {seq}', f'"seq": {seq + 1}'))
    assert chain()[1].startswith(f"has no entry {seq + 1} as retention.head says")
    file.write_text("nothing")
    said = "retention.head: not the head of a chain, so a tail cut off would not show: see `sipagent verify`"
    assert chain() == ("error", said)
    keep(archive, recording(1))
    assert chain() == ("error", f"retention.head.damaged {DAMAGED}")
    damaged_path(file).unlink()
    assert chain()[0] == "ok"
    file.unlink()
    assert chain() == ("error", "retention.head is missing: a tail cut off would not show")


URL = 'timestamp_url = "https://tsa.example.net"\n'
CA = 'timestamp_ca = "tsa.pem"'


def stamped(config: Config, now: datetime | None = None) -> list[tuple[str, str, str]]:
    return [(one.level, one.what, one.detail) for one in stamp_findings(config, now or datetime.now(UTC))]


def test_certificates_that_are_read_and_those_that_cannot_be(tmp_path: Path) -> None:
    config, file = read(with_keys("retention", URL + CA), tmp_path / "config.toml"), tmp_path / "tsa.pem"

    url, absent = stamped(config)
    assert url == ("ok", "retention.timestamp_url", "https://tsa.example.net")
    assert absent == ("error", "retention.timestamp_ca", f"{file}: No such file or directory")
    file.write_text(old_stamp.CA)
    assert stamped(config)[1][::2] == ("ok", f"{file} vouches by CN=Root")
    (Authority(tmp_path / "tsa").folder / "middle.pem").rename(file)
    level, _, detail = stamped(config)[1]
    assert level == "error" and "no root among its certificates" in detail


def test_stamps_that_no_longer_come(archive: Archive, tsa: Authority, tmp_path: Path) -> None:
    config = read(with_keys("retention", URL + 'timestamp_ca = "tsa/ca.pem"'), tmp_path / "config.toml")

    def said(at: datetime | None = None) -> tuple[str, str]:
        *_, (level, what, detail) = stamped(config, at)
        assert what == "stamps"
        return level, detail

    assert said() == ("warning", "none yet: see `sipagent stamp`")
    made = stamp_head(archive.store, tsa.url, tsa.ca)
    assert made is not None
    detail = f"the newest, of entry {made.seq}, is from {made.at:%Y-%m-%d %H:%M} UTC"
    late = made.at + STAMP_LATE + timedelta(seconds=1)
    assert said() == said(late) == ("ok", detail)
    archive.store.add_access(Access(at=datetime.now(UTC), action="purge"))
    assert said(late) == ("warning", f"{detail}, and more was written since: see `sipagent stamp`")
    made.path.write_bytes(b"")
    assert said() == ("error", f"stamps/{made.seq}.tsr: is not a time stamp response")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    assert stamped(read(SMALL)) == []
    without = stamped(read(with_keys("retention", URL + CA)))
    assert without == [("error", "retention.timestamp_url", stamps.NO_LIBRARY)]


def test_a_call_that_should_have_been_recorded_is_named_for_a_week(config: Config, archive: Archive) -> None:
    calls = [recording(minutes) for minutes in (-60 * 24 * 8, 0, 1)]
    for row in calls:
        archive.store.keep_receipt(receipt(row, not_recorded_because="disk"))
    level, said = found(config, START + timedelta(hours=1))["recordings"]
    assert (level, calls[2].id in said, "2 calls of the last 7 days" in said, "(disk)" in said) == (
        *("error", True, True, True),
    )

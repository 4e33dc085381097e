"""What `check` says of what is kept."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.clock import ClockReading, look, suspended
from retention.records import due_date
from retention.rows.chain import DAMAGED, damaged_path
from sipagent.check.retention import retention_findings
from sipagent.config.load import Config
from tests.configured import SMALL, read, with_keys
from tests.kept import START, keep, receipt, recording, sqlite

DUE = due_date(START, "6 months")
DAY = timedelta(days=1)
MOMENT = timedelta(milliseconds=1)


def reading(wall: datetime = START, elapsed: float = 100.0) -> ClockReading:
    return ClockReading("boot", wall, elapsed, synchronised=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return read(SMALL, tmp_path / "config.toml")


def found(config: Config, now: datetime, clock: ClockReading | None = None) -> dict[str, tuple[str, str]]:
    findings = list(retention_findings(config, now, lambda: clock or reading()))
    return {one.what: (one.level, one.detail) for one in findings}


def test_all_is_well(config: Config, archive: Archive) -> None:
    keep(archive, recording())
    head = archive.store.head().seq
    assert found(config, START) == {
        "purge": ("ok", "nothing is overdue"),
        "erasures": ("ok", "all that had to be erased in its call is gone"),
        "reserves": ("ok", "are made at the start"),
        "holds": ("ok", "no review is overdue"),
        "chain": ("ok", f"{head} entries, and retention.head names one"),
    }


def test_a_day_beyond_its_date_is_an_error(config: Config, archive: Archive) -> None:
    keep(archive, recording())
    keep(archive, recording(60))
    assert found(config, DUE + DAY - MOMENT)["purge"] == ("ok", "nothing is overdue")
    said = "overdue, the first since 2027-05-24 22:20 UTC: see `sipagent purge`"
    assert found(config, DUE + DAY)["purge"] == ("error", f"1 {said}")
    assert found(config, DUE + 2 * DAY)["purge"] == ("error", f"2 {said}")


def test_what_a_wrong_clock_has_recorded_is_an_error(config: Config, archive: Archive) -> None:
    keep(archive, recording(24 * 60 + 1))
    said = "1 began after now, by a wrong clock, and will stay too long: `delete` them"
    assert found(config, START)["purge"] == ("error", said)


def test_the_period_as_it_is_now_counts(config: Config, archive: Archive) -> None:
    keep(archive, recording())
    shorter = read(with_keys("retention", 'period = "1 month"', SMALL), config.file)
    now = due_date(START, "1 month") + DAY
    assert found(config, now)["purge"][0] == "ok"
    assert found(shorter, now)["purge"] == (
        "error",
        "1 overdue, the first since 2026-12-24 22:20 UTC: see `sipagent purge`",
    )


def test_what_is_held_is_not_overdue_but_its_review_may_be(config: Config, archive: Archive) -> None:
    row = keep(archive, recording())
    archive.change(replace(row, hold={"ground": "criminal", "review": "2027-05-25"}))
    midnight_in_paris = datetime.fromisoformat("2027-05-26T00:00+02:00")
    assert found(config, midnight_in_paris - MOMENT)["holds"] == ("ok", "no review is overdue")
    late = found(config, midnight_in_paris)
    assert late["holds"] == ("error", "1 whose review is overdue: see `sipagent holds`")
    assert late["purge"] == ("ok", "nothing is overdue")


def test_a_clock_that_stepped_is_an_error_before_the_agent_has_looked(
    config: Config, archive: Archive
) -> None:
    keep(archive, recording())
    look(archive.store, reading())
    stepped = reading(DUE, 100.0)
    assert suspended(archive.store) is None
    for _ in range(2):
        level, detail = found(config, DUE + 2 * DAY, stepped)["purge"]
        assert level == "error" and detail.startswith("suspended: the clock is ahead by 181 days")
        assert detail.endswith("sipagent purge --clock-ok --by WHO")
        assert suspended(archive.store) is None  # it was looked at, not decided
    look(archive.store, stepped)
    assert found(config, START)["purge"][0] == "error"  # and stays so until somebody says that it is right


def test_a_system_without_a_boot_is_an_error(config: Config, archive: Archive) -> None:
    def none() -> ClockReading:
        raise FileNotFoundError(2, "No such file or directory", "/proc/boot_id")

    purge, *_ = retention_findings(config, START, none)
    assert (purge.level, purge.detail) == (
        "error",
        "the clock cannot be looked at: /proc/boot_id: No such file or directory",
    )


def test_a_chain_that_has_its_head_is_told_with_its_entries(config: Config, archive: Archive) -> None:
    assert found(config, START)["chain"] == ("ok", "1 entry, and retention.head names one")
    archive.store.add_receipt(receipt(recording()))
    assert found(config, START)["chain"] == ("ok", "2 entries, and retention.head names one")


def test_a_head_that_is_missing_unreadable_or_not_of_this_chain(config: Config, archive: Archive) -> None:
    assert archive.store.places is not None
    file = archive.store.places.head
    keep(archive, recording())
    seq = archive.store.head().seq
    file.write_text(file.read_text().replace(f'"seq": {seq}', f'"seq": {seq + 1}'))
    level, detail = found(config, START)["chain"]
    assert level == "error" and detail.startswith(f"has no entry {seq + 1} as retention.head says")
    file.write_text("nothing")
    assert found(config, START)["chain"] == (
        "error",
        "retention.head: not the head of a chain, so a tail cut off would not show: see `sipagent verify`",
    )
    keep(archive, recording(1))
    assert found(config, START)["chain"] == ("error", f"retention.head.damaged {DAMAGED}")
    damaged_path(file).unlink()
    assert found(config, START)["chain"][0] == "ok"
    file.unlink()
    assert found(config, START)["chain"] == (
        "error",
        "retention.head is missing: a tail cut off would not show",
    )


def test_a_newer_database_is_one_error(config: Config, archive: Archive) -> None:
    sqlite(archive.store).execute("UPDATE _sqlite_migrations SET name = '9999_newer'")
    sqlite(archive.store).conn.commit()
    findings = list(retention_findings(config, START, reading))
    assert [one.what for one in findings] == ["retention.database"] and findings[0].level == "error"

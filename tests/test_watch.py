"""What the store and the disk say, looked at again and again."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from retention.archive import Archive
from retention.clock import ClockReading, look
from retention.holds import place
from retention.records import Access, Hold, due_date
from retention.sqlite import Store
from retention.vault import new_pair
from sipagent.config.load import Config
from sipagent.service import metrics as watching
from sipagent.service.metrics import Watch
from tests.configured import SMALL, read, with_keys
from tests.kept import START, keep, recording, sqlite
from tests.tapping import wait_for

DUE = due_date(START, "6 months")
DAY = timedelta(days=1)
TRACE = Access(at=START, action="hold", by="A. Roux")


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    yield
    wait_for(lambda: "watch" not in {thread.name for thread in threading.enumerate()})


def config(folder: Path, keys: str = "") -> Config:
    return read(with_keys("retention", keys, SMALL) if keys else SMALL, folder / "config.toml")


def at(folder: Path, wall: object = START, keys: str = "") -> Watch:
    reading = ClockReading("boot", wall, 1000.0, synchronised=True)  # type: ignore[arg-type]
    return Watch(lambda: config(folder, keys), lambda: reading)


def hold(archive: Archive, id: str, review: date) -> None:
    asked = Hold(ground="criminal", reference="2026/7", by="A. Roux", approved_by="B. Petit")
    place(archive, id, replace(asked, review=str(review)), TRACE)


def test_one_look_changes_nothing(archive: Archive, tmp_path: Path) -> None:
    held, *_ = [keep(archive, recording(minute)) for minute in range(3)]
    archive.open(recording(3))
    hold(archive, held.id, START.date() + DAY)
    before = (tmp_path / "retention.db").read_bytes()
    seen = at(tmp_path).look()
    assert (
        seen.recordings_kept,
        seen.recordings_held,
        seen.recordings_overdue,
        seen.holds_review_overdue,
    ) == (3, 1, 0, 0)
    assert (seen.watch_last_success_timestamp_seconds, seen.chain_head_sequence) == (
        START.timestamp(),
        archive.store.head().seq,
    )
    assert not seen.purge_suspended and seen.disk_free_bytes > 0
    assert (
        at(tmp_path, DUE + timedelta(hours=23)).look().recordings_overdue == 0
    )  # it should have gone a day ago
    late = at(tmp_path, DUE + timedelta(hours=25)).look()
    assert (late.recordings_overdue, late.recordings_held, late.holds_review_overdue) == (3, 1, 1)
    assert at(tmp_path, START + 60 * DAY, 'period = "1 month"').look().recordings_overdue == 3
    assert (tmp_path / "retention.db").read_bytes() == before


def test_what_keeps_calls_from_being_recorded_or_purged_is_seen(archive: Archive, tmp_path: Path) -> None:
    look(archive.store, ClockReading("boot", START, 1000.0, synchronised=True))
    assert at(tmp_path, START + 2 * DAY).look().purge_suspended
    assert not at(tmp_path, START).look().purge_suspended
    text = with_keys("recording", 'recipients = ["ann.pub"]', SMALL)
    sealing = Watch(lambda: read(text, tmp_path / "config.toml"))
    assert (at(tmp_path).look().recording_obstacles, sealing.look().recording_obstacles) == (0, 1)
    new_pair(tmp_path / "ann", None, "ann")
    assert sealing.look().recording_obstacles == 0


def test_a_lost_database_is_told_once_and_not_made_anew(archive: Archive, tmp_path: Path) -> None:
    watch = at(tmp_path)
    watch._try()
    assert watch.latest is not None
    archive.store.close()
    (tmp_path / "retention.db").unlink()
    with capture_logs() as logs:
        watch._try()
        assert watch.latest is None  # what was true once is not told any more
        watch._try()
    assert [line["event"] for line in logs] == ["watch_failed"]
    assert "retention.db: is missing" in logs[0]["reason"]
    assert watch.failures == 2
    assert not (tmp_path / "retention.db").exists()
    with Store(tmp_path / "retention.db"):
        watch._try()
    assert watch.latest is not None


@pytest.mark.parametrize("damage", ["hold = '{'", "hold = '{}', started_at = 'soon'"])
def test_a_row_that_cannot_be_read_is_a_failure_and_not_the_end(
    archive: Archive, tmp_path: Path, damage: str
) -> None:
    row = keep(archive, recording())
    with archive.store.write():
        sqlite(archive.store).execute(f"UPDATE recordings SET {damage} WHERE id = ?", [row.id])
    watch = at(tmp_path)
    with capture_logs() as logs:
        watch._try()
    assert (watch.latest, watch.failures) == (None, 1)
    assert [line["event"] for line in logs] == ["watch_failed"]


def test_it_looks_again_and_goes_by_what_was_reloaded(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 0.01)
    monkeypatch.setattr(watching, "SHARE", 0)
    keep(archive, recording())
    now = [config(tmp_path)]
    watch = Watch(lambda: now[0], lambda: ClockReading("boot", START + 60 * DAY, 1000.0, synchronised=True))
    watch.start()
    try:
        wait_for(lambda: watch.latest is not None and watch.latest.recordings_overdue == 0)
        now[0] = config(tmp_path, 'period = "1 month"')
        wait_for(lambda: watch.latest is not None and watch.latest.recordings_overdue == 1)
    finally:
        watch.stop()
    assert watch.latest is None

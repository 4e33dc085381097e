"""Whether the clock may be believed: what is a step of it, what is not, and who may say that it is right."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive import Archive
from retention.clock import (
    BACKWARD,
    FORWARD,
    UNREADABLE,
    Reading,
    Seen,
    look,
    read_clock,
    resume,
    step,
    suspended,
)
from retention.recording import Access
from retention.store import Store
from retention.verify import verify
from tests.crashing import killed_before, steps
from tests.full_disk import full_error
from tests.kept import START, archive

FIRST = Reading("boot-1", START, 1000.0)
BY = Access(at=START, action="purge", by="A. Roux", system_user="root")
MS = timedelta(milliseconds=1)


def later(seconds: float, wrong: timedelta = timedelta(), boot: str = "boot-1") -> Reading:
    """So many seconds after FIRST, by a clock that is `wrong` by that."""
    return Reading(boot, START + timedelta(seconds=seconds) + wrong, 1000.0 + seconds)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as store:
        yield store


def test_the_machine_s_own(store: Store) -> None:
    now = read_clock()
    assert abs(now.wall - datetime.now(UTC)) < timedelta(minutes=1) and now.wall.tzinfo is UTC
    assert now.elapsed > 0 and len(now.boot) == 36
    assert read_clock().elapsed >= now.elapsed and read_clock().boot == now.boot
    assert look(store, now) is None and look(store, read_clock()) is None


def test_the_first_look_believes(store: Store) -> None:
    assert suspended(store) is None and suspended(store, FIRST) is None
    assert look(store, FIRST) is None
    assert look(store, later(3600)) is None


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (later(3600, FORWARD), None),  # a day ahead, not more
        (later(3600, FORWARD + MS), "the clock is ahead by 1 day, 0:00:00, at 2026-11-25T23:20:00.124Z"),
        (
            later(3600, timedelta(days=200)),
            "the clock is ahead by 200 days, 0:00:00, at 2027-06-12T23:20:00.123Z",
        ),
        (later(3600, -BACKWARD), None),  # a leap second
        (later(3600, -BACKWARD - MS), "the clock went back by 0:00:01, to 2026-11-24T23:19:59.122Z"),
        (later(3600, -timedelta(hours=1)), "the clock went back by 1:00:00, to 2026-11-24T22:20:00.123Z"),
        (later(400 * 86400), None),  # long asleep, and right
        (later(-1000 + 5, timedelta(days=300), "boot-2"), None),  # off for long: nobody can know
        (later(-1000 + 5, timedelta(seconds=995), "boot-2"), None),
        (later(-1000 + 5, timedelta(days=-2), "boot-2"), "the clock went back by 2 days, 0:16:35"),
    ],
)
def test_a_step(now: Reading, why: str | None) -> None:
    found = step(Seen(FIRST, FIRST), now)
    assert found is None if why is None else (found or "").startswith(why)


def test_a_clock_that_creeps_ahead_is_noticed(store: Store) -> None:
    """A few hours between two looks, and never back: against the first of this boot it is a day."""
    for hours in range(9):
        assert look(store, later(3600 * hours, timedelta(hours=3 * hours))) is None
    assert "ahead by 1 day" in (look(store, later(3600 * 9, timedelta(hours=27))) or "")


def test_a_clock_that_was_set_right_after_the_start_counts_from_the_last_boot(store: Store) -> None:
    look(store, FIRST)
    assert look(store, later(-995, timedelta(days=3), "boot-2")) is None
    assert "ahead" in (look(store, later(-900, timedelta(days=5), "boot-2")) or "")


def test_once_suspended_it_stays_so(store: Store) -> None:
    """Also when the clock comes back, after a restart, and for whoever only looks at what was seen."""
    look(store, FIRST)
    why = look(store, later(3600, timedelta(days=9)))
    assert why is not None
    for now in (later(7200), later(3600, timedelta(days=10)), later(-995, timedelta(days=9), "boot-2")):
        assert look(store, now) == why
        assert suspended(store) == suspended(store, now) == why


def test_who_only_asks_remembers_nothing(store: Store) -> None:
    look(store, FIRST)
    before = store.clock_row()
    assert "ahead" in (suspended(store, later(3600, timedelta(days=9))) or "")
    assert suspended(store) is None and store.clock_row() == before


def test_a_person_says_that_it_is_right(store: Store) -> None:
    look(store, FIRST)
    wrong = later(3600, timedelta(days=9))
    why = look(store, wrong)
    assert resume(store, wrong, BY)
    assert suspended(store) is None and look(store, later(7200, timedelta(days=9))) is None
    assert store.accesses() == [replace(BY, action="clock_ok", detail=why)]
    assert not resume(store, later(7200, timedelta(days=9)), BY) and len(store.accesses()) == 1
    assert "went back" in (look(store, later(9000)) or "")  # from what was said to be right


@pytest.mark.parametrize(
    "seen",
    [
        "",
        "{}",
        "[1]",
        '{"first": null, "last": 7}',
        '{"first": {"boot": 1, "wall": "x", "elapsed": 2}}',
        '{"first": 1' + "[" * 9999,
        '{"first": {"boot": "b", "wall": "0001-01-01T00:00:00+23:00", "elapsed": "then"}}',
    ],
)
def test_what_nobody_can_read_of_the_clock_suspends_until_somebody_says_that_it_is_right(
    store: Store, seen: str
) -> None:
    store.keep_clock_row({"id": 1, "seen": seen, "suspended": None})
    assert look(store, FIRST) == suspended(store, FIRST) == UNREADABLE
    assert resume(store, FIRST, BY)
    assert look(store, later(60)) is None
    assert [(use.action, use.detail) for use in store.accesses()] == [("clock_ok", UNREADABLE)]


def test_a_look_that_a_full_disk_keeps_from_being_remembered_is_one_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(store, FIRST) is None
    with monkeypatch.context() as patch:

        def full(row: object) -> None:
            with store.write():
                raise full_error()

        patch.setattr(store, "keep_clock_row", full)
        assert look(store, later(60)) is None
        assert "ahead by 2 days" in (look(store, later(60, timedelta(days=2))) or "")
    assert look(store, later(120)) is None


def test_looking_is_no_entry_of_the_chain(store: Store) -> None:
    """Every hour for years: it would be the most of it."""
    head = store.head()
    for hours in range(5):
        look(store, later(3600 * hours))
    assert store.head() == head


def test_what_was_seen_survives_the_process(tmp_path: Path) -> None:
    with Store(tmp_path / "retention.db") as store:
        look(store, FIRST)
    with Store(tmp_path / "retention.db") as store:
        assert "ahead" in (look(store, later(60, timedelta(days=2))) or "")
    with Store(tmp_path / "retention.db") as store:
        assert "ahead" in (suspended(store) or "")


def test_killed_at_any_step_of_a_look_it_has_seen_before_or_after(tmp_path: Path) -> None:
    def begin(folder: Path) -> Archive:
        folder.mkdir()
        kept = archive(folder)
        look(kept.store, FIRST)
        kept.store.close()
        return kept

    def look_again(folder: Path) -> None:
        look(archive(folder).store, later(60, timedelta(days=2)))

    begin(tmp_path / "whole")
    for number in range(len(steps(lambda: look_again(tmp_path / "whole")))):
        folder = tmp_path / f"{number}"
        begin(folder)
        killed_before(number, lambda folder=folder: look_again(folder))  # type: ignore[misc]
        kept = archive(folder)
        seen = json.loads((kept.store.clock_row() or {})["seen"])
        assert seen["first"]["wall"] == "2026-11-24T22:20:00.123Z"
        assert verify(kept).problems == []
        kept.store.close()


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 10**6), min_size=1, max_size=20), st.floats(-0.9, 86_000))
def test_a_clock_that_is_off_but_even_is_believed(waits: list[float], off: float) -> None:
    """Whatever the time between two looks, and however far off within the limits, once."""
    store, seconds = Store(":memory:"), 0.0
    look(store, FIRST)
    for wait in waits:
        seconds += wait
        assert look(store, later(seconds, timedelta(seconds=off))) is None
    store.close()


def test_the_clock_that_is_compared_with_counts_sleep() -> None:
    assert abs(read_clock().elapsed - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60

"""Whether the clock may be believed: what is a step of it, what is not, and who may say that it is right."""

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.clock import (
    BACKWARD,
    FORWARD,
    NEVER_SEEN,
    UNREADABLE,
    BelievedReadings,
    ClockReading,
    Stamped,
    believes,
    is_synchronised,
    look,
    read_clock,
    resume,
    step,
    suspended,
)
from retention.rebuild import rebuild
from retention.records import Access, Status
from retention.rows.rows import Rows
from retention.verify import verify
from tests.both import opened
from tests.crashing import deaths
from tests.full_disk import full_error
from tests.kept import START, Paths, archive, archive_of, keep, receipt, recording
from tests.tampering import note_on

FIRST = ClockReading("boot-1", START, 1000.0, synchronised=True)
BY = Access(at=START, action="purge", by="A. Roux", system_user="root")
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)
MONTHS = timedelta(days=213)
OFF = timedelta(hours=3)


def later(
    seconds: float, wrong: timedelta = timedelta(), boot: str = "boot-1", *, synchronised: bool = True
) -> ClockReading:
    """So many seconds after FIRST, by a clock that is `wrong` by that."""
    return ClockReading(boot, START + timedelta(seconds=seconds) + wrong, 1000.0 + seconds, synchronised)


def test_the_machine_s_own_counts_sleep(store: Rows) -> None:
    now = read_clock()
    assert abs(now.wall - datetime.now(UTC)) < timedelta(minutes=1) and now.wall.tzinfo is UTC
    assert now.elapsed > 0 and len(now.boot) == 36
    assert abs(now.elapsed - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
    assert read_clock().elapsed >= now.elapsed and read_clock().boot == now.boot
    assert look(store, now) is None and look(store, read_clock()) is None


@pytest.mark.parametrize(("now", "why"), [
    (later(3600, FORWARD), None),  # a day ahead, not more
    (later(3600, FORWARD + MS), "the clock is ahead by 1 day, 0:00:00, at 2026-11-25T23:20:00.124Z"),
    (later(3600, 200 * DAY), "the clock is ahead by 200 days, 0:00:00, at 2027-06-12T23:20:00.123Z"),
    (later(3600, -BACKWARD), None),  # a leap second
    (later(3600, -BACKWARD - MS), "the clock went back by 0:00:01, to 2026-11-24T23:19:59.122Z"),
    (later(3600, -timedelta(hours=1)), "the clock went back by 1:00:00, to 2026-11-24T22:20:00.123Z"),
    (later(400 * 86400), None),  # long asleep, and right
    (later(-995, 300 * DAY, "boot-2"), None),  # off for long, as the kernel knows
    (later(-995, 300 * DAY, "boot-2", synchronised=False), "the clock is ahead by 299 days, 23:43:25"),
    (later(-995, timedelta(seconds=995), "boot-2"), None),
    (later(-995, -2 * DAY, "boot-2"), "the clock went back by 2 days, 0:16:35"),
])  # fmt: skip
def test_a_step(now: ClockReading, why: str | None) -> None:
    found = step(BelievedReadings(FIRST, FIRST), now)
    assert found is None if why is None else found is not None and found.why.startswith(why)


def test_a_clock_that_creeps_ahead_is_noticed_within_a_boot(store: Rows) -> None:
    assert suspended(store) is None and suspended(store, FIRST) is None
    for hours in range(9):
        assert look(store, later(3600 * hours, timedelta(hours=3 * hours))) is None
    assert "ahead by 1 day" in (look(store, later(3600 * 9, timedelta(hours=27))) or "")


def test_once_suspended_it_stays_so_until_a_person_says_that_the_clock_is_right(tmp_path: Path) -> None:
    with opened(tmp_path / "retention.db") as store:
        look(store, FIRST)
        before, head = store.clock_row(), store.head()
        assert "ahead" in (suspended(store, later(3600, timedelta(days=9))) or "")
        assert suspended(store) is None and store.clock_row() == before  # who only asks remembers nothing
        for hours in range(1, 5):
            look(store, later(3600 * hours))
        assert store.head() == head  # every hour for years: it would be the most of the chain
    with opened(tmp_path / "retention.db") as store:
        wrong = later(18_000, timedelta(days=9))
        why = look(store, wrong)
        assert why is not None
        for now in (later(7200), later(3600, timedelta(days=10)), later(-995, timedelta(days=9), "boot-2")):
            assert look(store, now) == why
            assert suspended(store) == suspended(store, now) == why
    with opened(tmp_path / "retention.db") as store:
        assert suspended(store) == why and resume(store, wrong, BY)
        assert suspended(store) is None and look(store, later(18_060, timedelta(days=9))) is None
        doubted, said = store.accesses()
        trace = (doubted.action, doubted.by, doubted.outcome, doubted.detail)
        assert trace == ("clock_doubt", "agent", "refused", why)
        assert said == replace(BY, action="clock_ok", detail=why)
        assert not resume(store, later(18_060, timedelta(days=9)), BY) and len(store.accesses()) == 2
        assert "went back" in (look(store, later(19_000)) or "")  # from what was said to be right


@pytest.mark.parametrize(
    "seen",
    [
        *("", "{}", "[1]", '{"first": null, "last": 7}'),
        '{"first": {"boot": 1, "wall": "x", "elapsed": 2}}',
        '{"first": 1' + "[" * 9999,
        '{"first": {0}, "last": {0}, "entry": 0}'.replace("{0}", '{"boot": "b", "wall": null, "elapsed": 1}'),
        '{"first": {"boot": "b", "wall": "0001-01-01T00:00:00+23:00", "elapsed": "then"}}',
    ],
)
def test_what_nobody_can_read_of_the_clock_suspends_until_somebody_says_that_it_is_right(
    store: Rows, seen: str
) -> None:
    store.keep_clock_row({"id": 1, "seen": seen, "suspended": None})
    assert look(store, FIRST) == suspended(store, FIRST) == UNREADABLE
    assert resume(store, FIRST, BY)
    assert look(store, later(60)) is None
    assert [(use.action, use.detail) for use in store.accesses()] == [("clock_ok", UNREADABLE)]


def test_a_look_that_a_full_disk_keeps_from_being_remembered_is_one_all_the_same(
    store: Rows, monkeypatch: pytest.MonkeyPatch
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


def test_killed_at_any_step_of_a_look_it_has_seen_before_or_after(tmp_path: Path) -> None:
    folder = tmp_path / "office"
    folder.mkdir()
    with archive(folder).store as store:
        look(store, FIRST)
    for _ in deaths(folder, lambda: look(archive(folder).store, later(60, timedelta(days=2)))):
        kept = archive(folder)
        seen = json.loads((kept.store.clock_row() or {})["seen"])
        assert seen["first"]["wall"] == "2026-11-24T22:20:00.123Z"
        assert verify(kept).problems == []
        kept.store.close()


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 10**6), min_size=1, max_size=20), st.floats(-0.9, 86_000))
def test_a_clock_that_is_off_but_even_is_believed(waits: list[float], off: float) -> None:
    store, seconds = opened(), 0.0
    look(store, FIRST)
    for wait in waits:
        seconds += wait
        assert look(store, later(seconds, timedelta(seconds=off))) is None
    store.close()


def booted(
    wall: timedelta, boot: str = "boot-2", up_s: float = 60.0, *, synchronised: bool = False
) -> ClockReading:
    """A later boot, a minute after its start, by a clock that says `wall` after FIRST; nobody has set it."""
    return ClockReading(boot, START + wall, up_s, synchronised)


def stamp(at: timedelta) -> Stamped:
    return lambda: START + at


def test_once_somebody_has_disciplined_the_clock_purging_resumes_by_itself(store: Rows) -> None:
    look(store, FIRST)
    head = store.head().seq
    why = look(store, booted(30 * DAY))
    assert why == "the clock is ahead by 30 days, 0:00:00, at 2026-12-24T22:20:00.123Z"
    assert suspended(store) == suspended(store, booted(30 * DAY)) == why
    for minutes in (60, 600, 6000):
        later_on = booted(30 * DAY + timedelta(minutes=minutes), up_s=60.0 * minutes)
        assert look(store, later_on) == why
    assert store.head().seq == head + 1  # one entry, so that the head can be stamped
    told = booted(31 * DAY, up_s=86_460.0, synchronised=True)
    assert suspended(store, told) is None and suspended(store) == why
    assert look(store, told) is None and suspended(store) is None
    doubted, said = store.accesses()
    assert (doubted.action, said.action) == ("clock_doubt", "clock_ok")
    assert (said.by, said.outcome) == ("agent", "done")
    assert said.detail == f"{why}; confirmed: the kernel's clock is synchronised"
    assert look(store, booted(MONTHS, "boot-3", synchronised=True)) is None  # where it knows at once
    assert len(store.accesses()) == 2


def test_a_clock_that_comes_back_by_itself_is_not_believed(store: Rows) -> None:
    look(store, FIRST)
    why = look(store, booted(MONTHS))
    assert look(store, booted(OFF, "boot-3")) == why
    assert look(store, booted(OFF, "boot-4", synchronised=True)) is None


@pytest.mark.parametrize(
    ("at", "confirms"),
    [
        (MONTHS - DAY, True),
        (MONTHS - DAY - MS, False),  # what is a day old proves no more than that
        (MONTHS + timedelta(minutes=4), True),
        (MONTHS + timedelta(minutes=6), False),  # from a clock that is ahead of this one
        (timedelta(), False),  # not newer than the last look
        (-DAY, False),
    ],
)
def test_a_time_stamp_confirms_a_day(store: Rows, at: timedelta, confirms: bool) -> None:
    look(store, FIRST)
    assert (look(store, booted(MONTHS), stamp(at)) is None) is confirms
    why = suspended(store)
    assert (why is None) is confirms
    assert (look(store, booted(MONTHS), stamp(at)) is None) is confirms
    later_on = booted(MONTHS + timedelta(hours=1), up_s=3660.0)
    assert look(store, later_on, stamp(MONTHS + timedelta(minutes=30))) is None
    if not confirms:
        assert store.accesses()[-1].detail == f"{why}; confirmed: a time stamp"


def test_what_contradicts_within_a_boot_is_for_a_person_alone(store: Rows) -> None:
    look(store, FIRST)
    why = look(store, later(3600, MONTHS))
    assert look(store, later(7200, MONTHS), stamp(MONTHS)) == why
    assert look(store, later(9000)) == why


@pytest.mark.parametrize("wrong", [MONTHS, -MONTHS, -timedelta(hours=2)])
def test_a_clock_that_nobody_had_disciplined_is_put_right_once(store: Rows, wrong: timedelta) -> None:
    """A machine without a clock in hardware begins where it stopped, or in 1970; then NTP has its say."""
    look(store, later(0, synchronised=False))
    assert look(store, later(60, wrong)) is None
    assert look(store, later(120, wrong)) is None
    assert look(store, later(180, wrong + 2 * DAY)) is not None


def test_a_kernel_that_contradicts_itself_from_boot_to_boot_is_for_a_person(store: Rows) -> None:
    look(store, FIRST)
    why = look(store, booted(-2 * DAY, synchronised=True))
    assert why is not None and "went back by 2 days" in why
    assert look(store, booted(-DAY, up_s=86_460.0, synchronised=True)) == why
    assert resume(store, booted(-DAY, up_s=86_460.0, synchronised=True), BY)


@pytest.mark.parametrize(("written", "off", "believed"), [
    ((timedelta(hours=20), timedelta(hours=40), timedelta(hours=60)), timedelta(hours=63), True),
    ((MONTHS,), MONTHS + OFF, False),  # by the clock that was months ahead, and no purge had looked
])  # fmt: skip
def test_what_was_written_since_the_last_look_is_a_time_too_unless_a_wrong_clock_wrote_it(
    written: tuple[timedelta, ...], off: timedelta, believed: bool
) -> None:
    now = [START]
    with opened(None, lambda: now[0]) as store:
        look(store, FIRST)
        for minutes, at in enumerate(written):
            now[0] = START + at
            store.add_receipt(receipt(recording(minutes)))
        assert (look(store, booted(off)) is None) is believed


def test_where_nobody_has_looked_before_the_chain_tells(store: Rows) -> None:
    assert look(store, booted(MONTHS)) is None
    other = opened(None, lambda: START)
    other.add_recording(recording(status=Status.CLOSED))
    assert suspended(other, booted(DAY)) is None
    late = booted(DAY + MS)
    why = "the clock is ahead by 1 day, 0:00:00, at 2026-11-25T22:20:00.124Z"
    assert suspended(other, late) == look(other, late) == look(other, late) == why
    assert len(other.accesses()) == 1
    assert suspended(other, late, stamp(DAY)) is None
    assert look(other, booted(MONTHS, up_s=70.0)) == why
    assert look(other, booted(DAY + OFF, up_s=80.0, synchronised=True)) is None
    assert look(other, booted(DAY + OFF, up_s=80.0)) is None
    other.close()


@pytest.mark.parametrize("lost", ["its database", "its database and its head"])
def test_of_a_database_that_was_lost_the_chain_tells_nothing(tmp_path: Path, lost: str) -> None:
    first = archive(tmp_path)
    keep(first, recording())
    first.store.close()
    for name in ("retention.db", *(["retention.head"] if "head" in lost else [])):
        (tmp_path / name).unlink()
    store = opened(tmp_path / "retention.db", lambda: START + MONTHS)
    again = archive_of(store, Paths(first).recordings, tmp_path)
    assert rebuild(again).restored
    assert look(again.store, booted(MONTHS)) == NEVER_SEEN
    assert look(again.store, booted(MONTHS, synchronised=True)) is None
    again.store.close()


@pytest.mark.parametrize("what", ["receipt", "note", "use"])
def test_whatever_could_go_counts_as_something_to_lose(what: str) -> None:
    store = opened(None, lambda: START)
    if what == "receipt":
        store.add_receipt(receipt(recording()))
    elif what == "note":
        store.add_note(note_on(recording()))
    else:
        store.add_access(BY)
    assert "is ahead by 2 days" in (suspended(store, booted(2 * DAY)) or "")
    assert suspended(store, booted(2 * DAY, synchronised=True)) is None
    store.close()


@dataclass(frozen=True)
class Boot:
    """A machine is off for a while, then up, by a clock that is `wrong`, until somebody disciplines it."""

    off: timedelta
    wrong: timedelta
    looks: int
    disciplined_at: int  # the look, from which on it is right, and the kernel says so


BOOTS = st.builds(
    Boot,
    off=st.sampled_from([timedelta(minutes=5), OFF, 2 * DAY, 40 * DAY]),
    wrong=st.sampled_from([timedelta(), timedelta(hours=10), MONTHS, -400 * DAY]),
    looks=st.integers(1, 4),
    disciplined_at=st.integers(0, 6),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(BOOTS, min_size=1, max_size=8))
def test_whatever_boots_come_no_wrong_clock_purges_and_a_disciplined_one_does(boots: list[Boot]) -> None:
    true, store = START, opened()
    store.add_recording(recording(status=Status.CLOSED))
    look(store, FIRST)
    for number, boot in enumerate(boots):
        true += boot.off
        for nth in range(boot.looks):
            true += timedelta(hours=1)
            right = nth >= boot.disciplined_at
            wrong = timedelta() if right else boot.wrong
            now = ClockReading(f"boot {number}", true + wrong, 3600.0 * (nth + 1), right)
            if look(store, now) is None:
                assert wrong < 2 * DAY
            else:
                assert not right
    store.close()


@pytest.mark.parametrize(("status", "maxerror_us", "believed"), [
    (0x0040, 16_000_000, False),  # as each boot begins, and after `date -s`
    (0x2001, 500_000, True),  # ntpd, chrony with rtcsync, timesyncd
    (0x0040, 120_000, True),  # chrony without it
    (0x0041, 16_000_000, False),
])  # fmt: skip
def test_what_the_kernel_says_of_its_clock(status: int, maxerror_us: int, believed: bool) -> None:
    assert believes(status, maxerror_us) is believed


def test_where_nobody_can_be_asked_nothing_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied:
        def adjtimex(self, _: object) -> int:
            return -1

    assert read_clock().synchronised is is_synchronised()  # without any privilege
    for library in (Denied(), object()):
        monkeypatch.setattr("ctypes.CDLL", lambda *_, library=library, **__: library)
        assert not is_synchronised()

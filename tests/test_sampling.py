"""The draw of the sample: foreseen by nobody, repeatable with the seed, of the share that was asked for."""

import hmac
import math
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.records import new_id
from sipagent.config.hours import DAYS, shown
from sipagent.config.sampling import Draw, Seed, Shares, Window, draw
from tests.test_hours import DAY_MINUTES, NIGHTS, hours_of_a_day

SEED = Seed(bytes(range(32)))
START = datetime(2026, 11, 24, 22, 20, tzinfo=UTC)
SEEDS = st.binary(min_size=32, max_size=32).map(Seed)
IDS = st.text("0123456789T-", min_size=1, max_size=40)
SHARES = st.floats(0, 1)


def ids(count: int) -> list[str]:
    """As calls have them, one every seven seconds."""
    return [f"{new_id(START + timedelta(seconds=7 * n))[:-6]}{n % 10**6:06}" for n in range(count)]


# --- the draw ---


def test_the_draw_is_the_one_that_is_written_down() -> None:
    """Computed here a second time, in other words; `openssl dgst -sha256 -mac HMAC` gives the same digits."""
    id = "20261124T222000123-482913"
    mac = hmac.new(bytes(range(32)), id.encode("ascii"), sha256).hexdigest()
    assert mac[:16] == "8bbd2b4be9c635d2"
    assert SEED.value(id) == (int(mac[:16], 16) >> 11) / 2**53 == 0.5458552418074525
    assert SEED.name == sha256(bytes(range(32))).hexdigest()[:8] == "630dcd29"


@given(SEEDS, IDS, SHARES)
def test_a_draw_is_repeatable_and_can_be_read_back(seed: Seed, id: str, share: float) -> None:
    drawn = draw(seed, id, share)
    assert draw(Seed(bytes(seed.secret)), id, share) == drawn
    assert Draw.read(str(drawn)) == drawn
    assert drawn.value is not None and 0 <= drawn.value < 1
    assert drawn.drawn is (drawn.value < share)


@given(SEEDS, IDS, SHARES, SHARES)
def test_a_larger_share_draws_more_and_all_and_nothing_need_no_luck(
    seed: Seed, id: str, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert draw(seed, id, more).drawn or not draw(seed, id, less).drawn
    for of in (seed, None):
        assert draw(of, id, 1.0).drawn and not draw(of, id, 0.0).drawn
    unseeded = draw(None, id, less)
    assert unseeded.drawn is (less == 1) and Draw.read(str(unseeded)) == unseeded


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_the_share_is_kept_over_many_calls(share: float) -> None:
    """Within five standard deviations of a fair draw, whichever the seed."""
    count = 20_000
    for secret in (bytes(32), bytes(range(32)), b"\xff" * 32):
        found = sum(draw(Seed(secret), id, share).drawn for id in ids(count))
        assert abs(found - share * count) < 5 * math.sqrt(count * share * (1 - share)) + 1


def test_draws_are_spread_evenly_and_do_not_follow_each_other() -> None:
    values = [SEED.value(id) for id in ids(20_000)]
    tenths = [sum(int(value * 10) == tenth for value in values) for tenth in range(10)]
    assert all(1790 < count < 2210 for count in tenths), tenths  # five standard deviations
    mean = sum(values) / len(values)
    covariance = sum((one - mean) * (two - mean) for one, two in pairwise(values)) / len(values)
    assert abs(covariance * 12) < 5 / math.sqrt(len(values))  # 1/12 is the variance


def test_another_seed_draws_others_and_stays_secret() -> None:
    other = Seed(b"o" * 32)
    both = [(draw(SEED, id, 0.5).drawn, draw(other, id, 0.5).drawn) for id in ids(2000)]
    assert 850 < sum(one == two for one, two in both) < 1150
    seed = Seed(b"secret secret secret secret sec!")
    assert "secret secret" not in repr(seed) + str(seed) + seed.name
    assert seed.secret.hex() not in repr(draw(seed, "1", 0.5)) + str(draw(seed, "1", 0.5))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flagged",
        "drawn: 0.7 of seed 630dcd29, share 0.1",  # says of itself what it is not
        "not drawn: 0.05 of seed 630dcd29, share 0.1",
        "drawn: no seed, share 0.5",
        "not drawn: no seed, share 1.0",
        "drawn: 0.05 of seed 630dcd29, share 0.10",
        "drawn: 0.05 of seed 630dcd29, share 0.1 ",
        "drawn: - of seed 630dcd29, share 0.1",
        "drawn: 0.05 of seed 630dcd29, share 1.0.0",
        "drawn: 0.05 of seed 630DCD29, share 0.1",
        "drawn: 0.05, share 0.1",
    ],
)
def test_what_is_no_draw_is_not_read_as_one(text: str) -> None:
    assert Draw.read(text) is None


# --- windows ---

WINDOWS = st.builds(
    Window,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    hours_of_a_day(),
    SHARES,
)


@st.composite
def weeks(draw_: st.DrawFn) -> tuple[Shares, datetime]:
    """Shares with up to three windows, and a moment around a night on which the clock is moved."""
    zone = draw_(st.sampled_from(list(NIGHTS)))
    windows = draw_(st.lists(WINDOWS.filter(lambda window: bool(window.hours)), max_size=3))
    night = draw_(st.sampled_from(NIGHTS[zone]))
    midnight = datetime(night.year, night.month, night.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    at = midnight + timedelta(minutes=draw_(st.integers(-24 * 60, 48 * 60)))
    apart = [one for n, one in enumerate(windows) if not any(one.overlaps(other) for other in windows[:n])]
    return Shares(ZoneInfo(zone), draw_(SHARES), tuple(apart)), at


@given(weeks())
def test_the_share_is_that_of_the_clock_on_the_wall(drawn: tuple[Shares, datetime]) -> None:
    shares, at = drawn
    local = at.astimezone(shares.timezone)
    time = f"{local:%H:%M}"
    matching = [
        window.share
        for window in shares.windows
        if local.weekday() in window.days
        and any(
            start <= time < end for start, end in (span.split("-") for span in shown(window.hours).split(","))
        )
    ]
    assert len(matching) <= 1
    assert shares.at(at).share == (matching[0] if matching else shares.share)
    assert shares.lowest <= shares.at(at).share <= shares.highest


@given(weeks())
def test_the_lowest_and_the_highest_share_occur(drawn: tuple[Shares, datetime]) -> None:
    shares, _ = drawn
    utc = Shares(ZoneInfo("UTC"), shares.share, shares.windows)
    minutes = (datetime(2026, 6, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(7 * DAY_MINUTES))
    week = {utc.at(minute).share for minute in minutes}
    assert (min(week), max(week)) == (utc.lowest, utc.highest)


@given(WINDOWS, WINDOWS)
def test_windows_overlap_where_both_hold_a_minute(one: Window, other: Window) -> None:
    both = [
        DAYS[day]
        for day in range(7)
        if any(one.holds(day, minute) and other.holds(day, minute) for minute in range(DAY_MINUTES))
    ]
    assert one.overlaps(other) == other.overlaps(one) == (both[0] if both else None)

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sipagent.cli.terminal import distance, full, short, size
from sipagent.languages.labels import length
from sipagent.lookup.parsing import parse_moment

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # already the 25th in Paris


@pytest.mark.parametrize(
    ("text", "moment", "as_end"),
    [
        ("2026-11-24", "2026-11-23T23:00", "2026-11-24T23:00"),
        ("2026-07-14", "2026-07-13T22:00", "2026-07-14T22:00"),  # daylight saving
        ("today", "2026-11-24T23:00", "2026-11-25T23:00"),
        ("yesterday", "2026-11-23T23:00", "2026-11-24T23:00"),
        ("2026-11-24T10:00", "2026-11-24T09:00", "2026-11-24T09:00"),
        ("2026-11-24 10:00:30", "2026-11-24T09:00:30", "2026-11-24T09:00:30"),
        ("2026-11-24T10:00Z", "2026-11-24T10:00", "2026-11-24T10:00"),
        ("2026-11-24T22:20:00.123Z", "2026-11-24T22:20:00.123", "2026-11-24T22:20:00.123"),
        ("2026-11-24T10:00+05:00", "2026-11-24T05:00", "2026-11-24T05:00"),
        ("now", "2026-11-24T23:30", "2026-11-24T23:30"),
        ("30m", "2026-11-24T23:00", "2026-11-24T23:00"),
        ("7d", "2026-11-17T23:30", "2026-11-17T23:30"),
        (" 2w ", "2026-11-10T23:30", "2026-11-10T23:30"),
    ],
)
def test_moments(text: str, moment: str, as_end: str) -> None:
    assert parse_moment(text, NOW, PARIS) == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert parse_moment(text, NOW, PARIS, end=True) == datetime.fromisoformat(as_end).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-13-01", "24/11/2026", "20261124", "2026-W48-2", "-7d", "7", "99999w", "٧d", "10:00"],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="accepted: 2026-11-24, "):
        parse_moment(text, NOW, PARIS)


def test_how_moments_read() -> None:
    local = NOW.astimezone(PARIS)
    assert short(local) == "25 Nov 00:30"
    assert full(local) == "2026-11-25 00:30:00"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0, "0:00"), (59.6, "1:00"), (245.2, "4:05"), (3725, "1:02:05")]
)
def test_lengths(seconds: float | None, text: str) -> None:
    assert length(seconds) == text


@pytest.mark.parametrize(
    ("away", "text"),
    [
        (timedelta(days=181), "in 181 days"),
        (timedelta(days=-1, hours=-3), "1 day ago"),
        (timedelta(hours=3), "in 3 hours"),
        (timedelta(seconds=-61), "1 minute ago"),
        (timedelta(seconds=3), "now"),
        (timedelta(), "now"),
    ],
)
def test_distances(away: timedelta, text: str) -> None:
    assert distance(NOW + away, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (4_200_000, "4.2 MB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text

from dataclasses import replace

import pytest

from retention.recording import Status
from retention.use import already_purged, why_not, without_number
from tests.kept import START, recording

PURPOSES = ("statistics", "quality")
CLOSED = recording(status=Status.CLOSED)


@pytest.mark.parametrize(
    ("purpose", "by", "reference", "said"),
    [
        ("quality", "Durand", None, None),
        ("access_request", "Durand", "2026-118", None),
        (None, "Durand", None, "a purpose is needed; accepted: statistics, quality, access_request"),
        ("", "Durand", None, "a purpose is needed"),
        ("curiosity", "Durand", None, "'curiosity' is not listed; accepted: statistics, quality"),
        ("quality", None, None, "--by"),
        ("quality", "  ", None, "--by"),
        ("access_request", "Durand", None, "--reference"),
        ("access_request", "Durand", " ", "--reference"),
    ],
)
def test_a_use_says_why(purpose: str, by: str, reference: str, said: str | None) -> None:
    answer = why_not(CLOSED, purpose, by, reference, PURPOSES)
    assert answer is None if said is None else said in (answer or "")


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.CLOSED])
def test_only_what_is_closed_can_be_used(status: Status) -> None:
    assert why_not(replace(CLOSED, status=status), "quality", "Durand", None, PURPOSES)


def test_a_purged_one_says_when() -> None:
    gone = recording().tombstone(Status.PURGED, START)
    assert already_purged(gone) == "it is already purged (2026-11-24T22:20:00.123Z)"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("/home/x/call-+33612345678.wav", "/home/x/call-+336….wav"),
        ("/home/x/0612345678.wav", "/home/x/06….wav"),
        ("/home/x/call.wav", "/home/x/call.wav"),
        (None, None),
    ],
)
def test_the_trace_outlives_the_number(text: str | None, cut: str | None) -> None:
    assert without_number(text, CLOSED) == cut


def test_no_number_cuts_nothing() -> None:
    assert without_number("extension 201", replace(CLOSED, caller="201")) == "extension 201"
    assert without_number("anything", replace(CLOSED, caller=None)) == "anything"

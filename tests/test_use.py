from dataclasses import replace
from datetime import timedelta

import pytest

from retention.records import Access, Recording, Status
from retention.use import already_purged, hold_ground, what_goes, why_not, without_person
from tests.kept import START, recording

PURPOSES = ("statistics", "quality")
CLOSED = recording(status=Status.CLOSED)
DUE = CLOSED.expires_at
HELD = replace(CLOSED, hold={"ground": "disciplinary", "reference": "2026-7"})
LATE = DUE + timedelta(seconds=1)


def refusal(recording: Recording, **use: object) -> str:
    """Why a use on the day after the call is refused, or nothing."""
    fields: dict[str, object] = {"at": START + timedelta(days=1), "action": "export", "by": "Durand"}
    return why_not(recording, Access(**(fields | use)), PURPOSES, DUE) or ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("purpose", "by", "reference", "said"),
    [
        ("quality", "Durand", None, None),
        ("access_request", "Durand", "2026-118", None),
        (None, "Durand", None, "a purpose is needed; accepted: statistics, quality, access_request"),
        ("", "Durand", None, "a purpose is needed"),
        ("curiosity", "Durand", None, "'curiosity' is not listed; accepted: statistics, quality"),
        ("disciplinary", "Durand", None, "'disciplinary' is not listed"),
        ("quality", None, None, "--by"),
        ("quality", "  ", None, "--by"),
        ("access_request", "Durand", None, "--reference"),
        ("access_request", "Durand", " ", "--reference"),
    ],
)
def test_a_use_says_why(purpose: str, by: str, reference: str, said: str | None) -> None:
    answer = refusal(CLOSED, purpose=purpose, by=by, reference=reference)
    assert answer == "" if said is None else said in answer


def test_a_hold_adds_its_own_ground_and_no_other() -> None:
    assert hold_ground(HELD) == "disciplinary" and hold_ground(CLOSED) is None
    assert refusal(HELD, purpose="disciplinary") == ""
    assert refusal(HELD, purpose="quality") == ""  # until its date
    assert refusal(HELD, purpose="criminal") == (
        "purpose 'criminal' is not listed; accepted: statistics, quality, access_request, disciplinary"
    )


@pytest.mark.parametrize("at", [DUE, LATE])
def test_what_only_its_hold_keeps_serves_only_its_hold(at: object) -> None:
    said = refusal(HELD, purpose="quality", at=at)
    assert said == (
        "it has expired (2027-05-24T22:20:00.123Z) and is kept by its hold alone; "
        "accepted: access_request, disciplinary"
    )
    assert refusal(HELD, purpose="disciplinary", at=at) == ""
    assert refusal(HELD, purpose="access_request", reference="2026-118", at=at) == ""


def test_what_awaits_the_purge_serves_nothing_but_its_person() -> None:
    assert refusal(CLOSED, purpose="quality", at=DUE - timedelta(seconds=1)) == ""
    assert "and awaits the purge; accepted: access_request" in refusal(CLOSED, purpose="quality", at=LATE)
    assert refusal(CLOSED, purpose="access_request", reference="2026-118", at=LATE) == ""


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.CLOSED])
def test_only_what_is_closed_can_be_used(status: Status) -> None:
    assert refusal(replace(CLOSED, status=status), purpose="quality")


def test_a_purged_one_says_when() -> None:
    gone = recording().tombstone(Status.PURGED, START)
    assert already_purged(gone) == "it is already purged (2026-11-24T22:20:00.123Z)"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("/home/x/call-+33612345678.wav", "/home/x/call-+336….wav"),
        ("/home/x/0612345678.wav", "/home/x/06….wav"),
        ("/home/x/06 12 34 56 78.wav", "/home/x/06 ….wav"),
        ("call 06.12.34-56_78 back", "call 06.… back"),
        ("/home/x/call.wav", "/home/x/call.wav"),
        ("06/12/34/56/78", "06/12/34/56/78"),  # folders
        (None, None),
        ("", ""),
    ],
)
def test_the_trace_outlives_the_number(text: str | None, cut: str | None) -> None:
    assert without_person(text, CLOSED) == cut


@pytest.mark.parametrize(
    ("operator", "text", "cut"),
    [
        ("sip:marie.durand@pbx.example.net", "/home/marie.durand/call.wav", "/home/…/call.wav"),
        ("sip:marie.durand@pbx.example.net", "Marie-Durand_2.wav", "…_2.wav"),
        ("sip:marie.durand@pbx.example.net", "by mariedurand, M. Durand", "by …, M. Durand"),
        ("sip:marie.durand@pbx.example.net", "annemarie.durande", "annemarie.durande"),
        ("sip:201@pbx.example.net", "call_201.wav of 2011, request 2201", "call_….wav of 2011, request 2201"),
        ("sip:201;x=y@pbx.example.net", "of 201", "of …"),
        ("sip:201:secret@pbx.example.net", "of 201", "of …"),
        ("sip:marie%20d@pbx.example.net", "of marie d", "of …"),
        ("sip:+33699887766@pbx.example.net", "of 0699887766", "of 06…"),
        ("201", "of 201", "of …"),
        ("sip:20@pbx.example.net", "page 20", "page 20"),  # too short to be told from anything else
        ("sip:pbx.example.net", "/pbx.example.net/call.wav", "/pbx.example.net/call.wav"),
        ("sip:...@pbx.example.net", "...", "..."),
        (None, "anything", "anything"),
    ],
)
def test_the_trace_outlives_the_operator(operator: str | None, text: str, cut: str) -> None:
    assert without_person(text, replace(CLOSED, operator=operator)) == cut


def test_a_short_number_is_cut_where_it_stands_alone() -> None:
    assert without_person("3900 and 39001", replace(CLOSED, caller="3900")) == "… and 39001"
    assert without_person("12 and 12", replace(CLOSED, caller="12")) == "12 and 12"
    assert without_person("anything", replace(CLOSED, caller=None)) == "anything"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing of theirs", []),
        ("see article 201 of it", ["see article [201] of it"]),
        ("rang 06 12 34 56 78\nfrom 201", ["rang 06 [12 34 56 78]", "from [201]"]),
        ("a" * 100 + " 201 " + "b" * 100, ["a" * 23 + " [201] " + "b" * 23]),
        ("call 0612\n345678 at 201", ["call 06[12 345678] at 201", "345678 at [201]"]),
    ],
)
def test_what_would_be_cut_out_is_shown_in_its_line(text: str, shown: list[str]) -> None:
    call = replace(CLOSED, operator="sip:201@pbx.example.net")
    assert what_goes(text, call) == shown
    assert (without_person(text, call) == text) == (shown == [])

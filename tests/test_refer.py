"""REFER and its NOTIFYs, read from messages that anybody may have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.sip.messages import cseq, is_about_refer, notified_status, refer_id, transfer_asked

A, B = "sip:201@pbx.example.net", "sip:202@pbx.example.net:5080"
TARGETS = (A, B)
REPLACES = "?Replaces=90a%40pbx%3Bto-tag%3D7%3Bfrom-tag%3D8"
MADE = "90a@pbx;to-tag=7;from-tag=8"


def refer(*values: str) -> str:
    lines = "".join(f"Refer-To: {value}\r\n" for value in values)
    return f"REFER sip:agent@127.0.0.1 SIP/2.0\r\nCSeq: 7 REFER\r\n{lines}\r\n"


@pytest.mark.parametrize(
    ("refer_to", "asked"),
    [
        ("<sip:201@pbx.example.net>", (A, "")),
        ('"Ann" <sip:201@PBX.example.NET:5060;transport=udp>;x=1', (A, "")),
        ("sip:201@pbx.example.net", (A, "")),
        ("<sip:%3201@pbx.example.net>", (A, "")),
        ("<sip:202@pbx.example.net:5080>", (B, "")),
        ("<sip:202@pbx.example.net>", None),  # another port
        ("<sip:201@evil.example>", None),
        ("<sip:203@pbx.example.net>", None),
        ("<sip:201@pbx.example.net;method=BYE>", None),
        ("<sip:201@pbx.example.net;method=INVITE>", (A, "")),
        ("<tel:201>", None),
        ("<sip:pbx.example.net>", None),
        ("<sip:201@pbx.example.net", None),
        ("", None),
        (f"<{A}{REPLACES}>", (A, MADE)),
        (f"<sip:202@10.0.0.7:2048;ob{REPLACES}>", (B, MADE)),  # the phone's own address
        (f"<sip:203@10.0.0.7{REPLACES}>", None),
        (f"<{A}{REPLACES}%3Bearly-only>", (A, f"{MADE};early-only")),
        (f"<{A}{REPLACES}&Require=replaces>", (A, MADE)),
        (f"<{A}{REPLACES}&replaces=2%3Bto-tag%3D1%3Bfrom-tag%3D1>", None),
        (f"<{A}?Replaces=90a%3Bto-tag%3D7>", None),
        (f"<{A}?Replaces=90a%0D%0AX%3A1%3Bto-tag%3D7%3Bfrom-tag%3D8>", None),
        (f"<{A}?Replaces=x%3Bto-tag%3D7%0Ay%3Bfrom-tag%3D8>", None),
        (f"<{A}?Subject=hello>", (A, "")),
    ],
)
def test_a_target_is_one_of_those_that_are_allowed(refer_to: str, asked: tuple[str, str] | None) -> None:
    assert transfer_asked(refer(refer_to), TARGETS) == asked


def test_exactly_one_place_may_be_named() -> None:
    assert transfer_asked(refer(f"<{A}>", f"<{B}>"), TARGETS) is None
    assert transfer_asked(refer(), TARGETS) is None
    assert transfer_asked("REFER x SIP/2.0\r\nr: <sip:201@pbx.example.net>\r\n\r\n", TARGETS) == (A, "")


def test_by_its_user_alone_only_one_target_can_be_meant() -> None:
    twice = ("sip:201@a.example", "sip:201@b.example")
    assert transfer_asked(refer(f"<sip:201@10.0.0.7{REPLACES}>"), twice) is None
    assert transfer_asked(refer(f"<sip:201@b.example{REPLACES}>"), twice) == (twice[1], MADE)


def test_where_nothing_is_allowed_nothing_is_asked() -> None:
    assert transfer_asked(refer(f"<{A}>"), ()) is None


@given(st.text(), st.text())
def test_whatever_is_written_only_a_target_comes_of_it(before: str, after: str) -> None:
    asked = transfer_asked(refer(f"{before}201@pbx.example.net{after}"), TARGETS)
    assert asked is None or (asked[0] in TARGETS and asked[1].isprintable())


def notify(body: str, state: str = "active;expires=60", event: str = "refer") -> str:
    return f"NOTIFY x SIP/2.0\r\nEvent: {event}\r\nSubscription-State: {state}\r\n\r\n{body}"


@pytest.mark.parametrize(
    ("body", "state", "status"),
    [
        ("SIP/2.0 100 Trying\r\n", "active", 100),
        ("SIP/2.0 200 OK", "terminated;reason=noresource", 200),
        ("sip/2.0  603 Decline\r\n", "active", 603),
        ("SIP/2.0 100 Trying\r\n", "terminated;reason=timeout", 500),
        ("", "Terminated", 500),
        ("", "active", None),
        ("SIP/2.0 2000 OK", "active", None),
        ("HTTP/1.1 200 OK", "active", None),
    ],
)
def test_what_a_notify_says(body: str, state: str, status: int | None) -> None:
    assert notified_status(notify(body, state)) == status


@pytest.mark.parametrize(
    ("event", "about", "id"),
    [
        ("refer", True, None),
        ("refer;id=93809823", True, 93809823),
        ("Refer ; id = 7 ;x=1", True, 7),
        ("reference", False, None),
        ("presence;id=7", False, 7),
    ],
)
def test_which_refer_a_notify_is_about(event: str, about: bool, id: int | None) -> None:
    message = notify("", event=event)
    assert (is_about_refer(message), refer_id(message)) == (about, id)


def test_a_cseq() -> None:
    assert cseq(refer()) == 7
    assert (cseq("REFER x SIP/2.0\r\nCSeq: x\r\n\r\n"), cseq("REFER x SIP/2.0\r\n\r\n")) == (0, 0)

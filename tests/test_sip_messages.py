"""What is read of a SIP message that anybody may have written: its head, REFER, recording, a challenge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.sip.messages import (
    body_of,
    can_be_sent_to,
    can_be_written,
    challenge_realm,
    cseq,
    declines_recording,
    has_tag,
    is_about_refer,
    notified_status,
    record_aware,
    refer_id,
    takes_events,
    transfer_asked,
    wants_answers_elsewhere,
    with_record,
)

# --- what the library must not see ---


@pytest.mark.parametrize(
    ("line", "can"),
    [
        *((f"From: <{uri}>;tag=1", False) for uri in ("sip:a@[]", "sip:[]", "sips:[]:5060", "sip:a@[];lr")),
        *((line, True) for line in ("From: <sip:a@[::1]>", "User-Agent: X []", 'From: "[]" <sip:a@b>')),
    ],
)
def test_a_host_that_is_empty_cannot_be_written(line: str, can: bool) -> None:
    assert can_be_written(f"OPTIONS sip:b@c SIP/2.0\r\n{line}\r\n\r\n<sip:a@[]>") is can


@pytest.mark.parametrize(
    ("header", "transport", "can"),
    [
        ("Contact: <sip:a@192.0.2.1>", "udp", True),
        ("Contact: <sip:a@192.0.2.1;transport=UDP;ob>;q=1", "udp", True),
        ("Contact: <sip:a@192.0.2.1;transport=tcp>", "udp", False),
        ("Contact: <sip:a@192.0.2.1;transport=tcp>", "tcp", True),
        ("Contact: <sip:a;transport=udp@192.0.2.1;transport=tls>", "udp", False),
        ("Contact: <sips:a@192.0.2.1>", "udp", False),
        ("Contact: <tel:+1>", "udp", False),
        ('Contact: "<sip:x>" <tel:+1>', "udp", False),
        ("Contact: *", "udp", False),
        ("Record-Route: <sip:192.0.2.1;lr>", "udp", True),
        ("", "udp", False),
    ],
)
def test_where_requests_can_be_sent(header: str, transport: str, can: bool) -> None:
    assert can_be_sent_to(header, transport) is can


@pytest.mark.parametrize(
    ("to", "has"),
    [
        ("To: <sip:a@b>;tag=1", True),
        ("To: sip:a@b;x=y;Tag=1", True),
        ("To: <sip:a@b;tag=1>", False),
        ('To: ";tag=1" <sip:a@b>', False),
        ('To: <sip:a@b>;x=">;tag=1"', False),
        ("To: <sip:a@b>", False),
    ],
)
def test_which_answers_name_a_dialog(to: str, has: bool) -> None:
    assert has_tag(to) is has


def test_who_is_to_be_answered_elsewhere() -> None:
    assert wants_answers_elsewhere("Via: SIP/2.0/UDP 192.0.2.1;rport;MAddr=224.0.1.75")
    assert not wants_answers_elsewhere("Via: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKmaddr")


# --- recording, keys, passwords ---


@pytest.mark.parametrize(
    ("sdp", "takes"),
    [
        ("v=0\r\nm=audio 9 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", True),
        ("v=0\r\nm=audio 9 RTP/AVP 8 96\r\na=rtpmap:96 Telephone-Event/8000/1\r\n", True),
        ("v=0\r\nm=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n", False),
        # events of another codec's rate, which pjmedia does not take with ours; and of another section
        ("v=0\r\nm=audio 9 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/48000\r\n", False),
        (
            "v=0\r\nm=audio 9 RTP/AVP 8\r\nm=audio 0 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n",
            False,
        ),
        ("", False),
    ],
)
def test_events_are_found_in_the_section_that_is_used(sdp: str, takes: bool) -> None:
    assert takes_events(sdp, 0) is takes


@pytest.mark.parametrize(
    ("header", "aware"),
    [
        ("Supported: 100rel, record-aware", True),
        ("k: Record-Aware", True),
        ("Require: record-aware", True),
        ("Supported: record-awareness", False),
        ("X-Supported: record-aware", False),
    ],
)
def test_who_understands_what_is_said_of_recording(header: str, aware: bool) -> None:
    """RFC 7866 section 6.1.1."""
    message = f"INVITE sip:a@b SIP/2.0\r\n{header}\r\n\r\nSupported: record-aware\r\n"
    assert record_aware(message) is aware


@pytest.mark.parametrize(
    ("line", "declines"),
    [
        ("a=recordpref:off", True),
        ("a=RECORDPREF: OFF ", True),
        *((f"a=recordpref:{word}", False) for word in ("on", "pause", "nopreference", "offline")),
        ("a=record:off", False),
        ("s=a=recordpref:off", False),
    ],
)
def test_a_wish_not_to_be_recorded(line: str, declines: bool) -> None:
    for place in ("v=0\r\n{}\r\nm=audio 9 RTP/AVP 8\r\n", "v=0\r\nm=audio 9 RTP/AVP 8\r\n{}"):
        assert declines_recording(place.format(line)) is declines
    assert body_of(f"INVITE sip:a@b SIP/2.0\r\n{line}\r\n\r\nv=0\r\n") == "v=0\r\n"


def test_what_becomes_of_the_sound_stands_with_the_sound() -> None:
    session, audio, video = "v=0\r\ns=-\r\n", "m=audio 9 RTP/AVP 8\r\n", "m=video 0 RTP/AVP 96\r\n"
    assert with_record(session + audio + video, "on") == session + audio + "a=record:on\r\n" + video
    assert with_record(session + video, "on") == session + video


@pytest.mark.parametrize(
    "header, realm",
    [
        ('WWW-Authenticate: Digest realm="pbx", nonce="1"', "pbx"),
        ('Proxy-Authenticate: digest nonce="1", realm = "a\\"b"', 'a"b'),
        ('WWW-Authenticate: Basic realm="pbx"', None),
        ('WWW-Authenticate: Digest realm="a\x1bb"', None),
        ("Server: x", None),
    ],
)
def test_the_realm_of_a_challenge(header: str, realm: str | None) -> None:
    assert challenge_realm(f"SIP/2.0 401 Unauthorized\r\n{header}\r\n\r\n") == realm


# --- REFER, and its NOTIFYs ---

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
    """By its user alone only one target can be meant."""
    assert transfer_asked(refer(f"<{A}>", f"<{B}>"), TARGETS) is None
    assert transfer_asked(refer(), TARGETS) is None and transfer_asked(refer(f"<{A}>"), ()) is None
    assert transfer_asked("REFER x SIP/2.0\r\nr: <sip:201@pbx.example.net>\r\n\r\n", TARGETS) == (A, "")
    twice = ("sip:201@a.example", "sip:201@b.example")
    assert transfer_asked(refer(f"<sip:201@10.0.0.7{REPLACES}>"), twice) is None
    assert transfer_asked(refer(f"<sip:201@b.example{REPLACES}>"), twice) == (twice[1], MADE)


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
    assert [cseq(text) for text in (refer(), "X x SIP/2.0\r\nCSeq: x\r\n\r\n", "X x SIP/2.0\r\n\r\n")] == [
        7,
        0,
        0,
    ]

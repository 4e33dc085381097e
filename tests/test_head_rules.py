"""What of a message's head the library must not see."""

import pytest

from sipagent.sip.messages import can_be_sent_to, can_be_written, has_tag, wants_answers_elsewhere


@pytest.mark.parametrize("uri", ["sip:a@[]", "sip:[]", "sips:[]:5060", "sip:a@[];lr"])
def test_a_host_that_is_empty_cannot_be_written(uri: str) -> None:
    assert not can_be_written(f"OPTIONS sip:b@c SIP/2.0\r\nFrom: <{uri}>;tag=1\r\n\r\n")


@pytest.mark.parametrize("line", ["From: <sip:a@[::1]>", "User-Agent: X []", 'From: "[]" <sip:a@b>'])
def test_other_brackets_can(line: str) -> None:
    assert can_be_written(f"OPTIONS sip:b@c SIP/2.0\r\n{line}\r\n\r\n<sip:a@[]>")


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

"""What is counted in session descriptions, and which spellings of a call's headers are taken."""

import sys

import pytest

from sipagent.edge import configuration
from sipagent.sip.session_description import AUDIO_LINES
from tests.posix import Pattern

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the flags are glibc's")

HEAD = "\nv=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"  # as the edge has it, behind an end of line


@pytest.mark.parametrize(
    ("line", "audio"),
    [
        ("m=audio 40000 RTP/AVP 8", True),
        ("M=Audio 40000 RTP/AVP 8", True),
        ("m= audio  40000 RTP/AVP 8", True),
        ("m=\taudio\t1 RTP/AVP 8", True),
        ("m=audio 00001 RTP/AVP 8", True),  # and whatever else begins with a 0
        ("m=audio 00 RTP/AVP 8", True),
        ("m=audio 0/2 RTP/AVP 8", False),
        ("m=audio 0 RTP/AVP 8", False),
        ("m=audio  0 RTP/AVP 8", False),
        ("m=audio/40000 RTP/AVP 8", True),
        ("m=video 40000 RTP/AVP 31", False),
        ("m=application 40000 TCP/BFCP *", False),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_lines_of_media_are_counted(line: str, audio: bool, end: str, count: int) -> None:
    body = HEAD + f"{line}{end}a=x{end}" * count
    for limit in range(1, 10):
        assert Pattern(configuration.media_lines(limit)).matches(body) is (count >= limit)
        assert Pattern(configuration.audio_lines(limit)).matches(body) is (audio and count >= limit)


def test_lines_are_counted_as_far_as_a_worker_takes_them() -> None:
    assert configuration.MOST_AUDIO == AUDIO_LINES


def test_what_is_no_line_of_media_is_not_counted() -> None:
    for body in ("", "\n", HEAD, HEAD + "a=m=audio 1\r\ni=m=audio 1\r\na=x m=audio 1\r\n"):
        assert not Pattern(configuration.media_lines(1)).matches(body)
        assert not Pattern(configuration.audio_lines(1)).matches(body)


def test_numbers_of_requests_are_below_2_to_the_31() -> None:
    taken = Pattern(configuration.CSEQ)
    for number in (0, 1, 999_999_999, 1 << 30, 2_099_999_999, 2_146_999_999, (1 << 31) - 1):
        assert taken.matches(str(number)) and taken.matches(f"000{number}")
    for wrong in ("", "-1", "x", str(1 << 31), "2147483650", "2200000000", "3000000000", "21474836470"):
        assert not taken.matches(wrong)


def test_ports_are_below_2_to_the_16() -> None:
    taken = Pattern(configuration.REQUEST_URI)
    for port in (1, 5060, 9999, 10_000, 59_999, 60_000, 65_535):
        assert taken.matches(f"sip:a@h:{port}")
    for wrong in ("", "65536", "66000", "70000", "100000"):
        assert not taken.matches(f"sip:a@h:{wrong}")


def test_parameters_of_a_uri_have_any_name_but_that_of_a_multicasts_life() -> None:
    taken = Pattern(configuration.REQUEST_URI)
    for name in ("t", "tt", "ttls", "xttl", "transport", "tl", "lr", "T", "Tt"):
        assert taken.matches(f"sip:a@h;{name}=1")
    for name in ("ttl", "TTL", "tTl"):
        assert not taken.matches(f"sip:a@h;{name}=1")


def test_lists_have_no_more_values_than_a_parser_takes() -> None:
    taken = Pattern(configuration.LIST)
    for count in (0, 1, 2, configuration.MOST_VALUES):
        assert taken.matches(", ".join(["timer"] * count))
    for wrong in (", ".join(["timer"] * (configuration.MOST_VALUES + 1)), ",", "a,", ",a", "a,,b", "a, ,b"):
        assert not taken.matches(wrong)


def test_what_ends_lines_for_one_parser_alone_is_found() -> None:
    """A NUL stands as `\\0` by then, and a backslash as two."""
    bad = Pattern(configuration.BAD_HEAD)
    for head in ("a: b\r\n", "a: b\r\n c\r\n", r"a: \\0" + "\r\n", r"a: \\\\0" + "\r\n", "a: é\tb\r\n"):
        assert not bad.matches(head)
    for head in ("a: b\n", "a: b\rc\r\n", "a\r", r"\0", r"a: \\\0" + "\r\n", "a: \x01\r\n", "a: \x7f\r\n"):
        assert bad.matches(head)


@pytest.mark.parametrize(
    "pattern",
    [
        configuration.REQUEST_URI, configuration.FROM_TO, configuration.CONTACT,
        configuration.RECORD_ROUTE, configuration.CONTENT_TYPE, configuration.SECONDS,
    ],
)  # fmt: skip
def test_what_a_header_needs_is_there(pattern: str) -> None:
    for text in ("", " ", "*", "\r\n", "<>", "sip:", "<sip:>", "<sip:a@>", "é"):
        assert not Pattern(pattern).matches(text)


def test_a_pattern_is_written_as_kamailio_reads_it() -> None:
    assert configuration.quoted('a\\"\r\n\t\x01z') == 'a\\\\\\"\\x0d\\x0a\\x09\\x01z'

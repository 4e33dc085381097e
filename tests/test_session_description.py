"""What the library is given of a session description, over the table of cases."""

import re
from itertools import product

import pytest

from sipagent.sip.session_description import NotAcceptable, described
from tests.descriptions import CASES, GOOD, SESSION, Case

CODECS = ("PCMA", "PCMU")
WRITTEN = re.compile(
    rb"v=0\r\no=- 0 0 IN IP4 127\.0\.0\.1\r\ns=-\r\nt=0 0\r\n(a=[ -~]{1,220}\r\n)*"
    rb"(m=[\w-]{1,32} \d{1,5} [\w./+-]{1,32}( [\w.+-]{1,32}){1,24}\r\nc=IN IP4 [\d.]{7,15}\r\n"
    rb"(a=[ -~]{1,220}\r\n){0,64}){1,8}"
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_each(case: Case) -> None:
    for parts in ((case.sdp,), (case.sdp, GOOD), (GOOD, case.sdp)):
        if case.opens is None:
            with pytest.raises(NotAcceptable) as refused:
                described(parts, CODECS)
            assert re.fullmatch(r'3\d\d sipagent "[^"\\]+"', refused.value.header[1])
        elif len(parts) == 1:
            found = described(parts, CODECS)
            assert found.audio == case.opens
            assert all(WRITTEN.fullmatch(text) for text in found.texts)
            assert described(found.texts, CODECS) == found, "it is read as it was written"


OVER = {4: "c=IN IP4 192.0.2.1", 6: "c=IN IP6 2001:db8::1", 0: "c=IN IP6 ::ffff:192.0.2.1"}


@pytest.mark.parametrize("families", [{4}, {6}, {4, 6}], ids=str)
@pytest.mark.parametrize("lines", list(product(OVER, repeat=2)), ids=str)
def test_what_opens_by_its_version_of_ip(families: set[int], lines: tuple[int, ...]) -> None:
    """A line over another is closed, with the address of an open one; one of IPv4 within IPv6 is none."""
    sdp = "\r\n".join([*SESSION, *(f"m=audio 4000 RTP/AVP 8\r\n{OVER[one]}" for one in lines)]).encode()
    opens = [place for place, one in enumerate(lines) if one in families]
    if not opens:
        over = " or ".join(f"IPv{one}" for one in sorted(families))
        with pytest.raises(NotAcceptable, match=f"RTP over {over} in"):
            described([sdp], CODECS, frozenset(families))
        return
    found = described([sdp], CODECS, frozenset(families))
    assert found.places == {*opens} and found.over_ipv6 == {one for one in opens if lines[one] == 6}
    shown = [OVER[lines[place if place in opens else opens[0]]] for place in range(2)]
    assert re.findall("c=.*[^\r\n]", found.texts[0].decode()) == shown


def test_where_reports_go() -> None:
    """By `a=rtcp`, whose address is of the line's own version of IP, or left out (RFC 3605)."""
    for line, named, kept in ((6, 6, True), (4, 4, True), (6, 4, False), (4, 6, False)):
        where = OVER[named].removeprefix("c=")
        lines = [*SESSION, "m=audio 4000 RTP/AVP 8", OVER[line], f"a=rtcp:4009 {where}", ""]
        text = described(["\r\n".join(lines).encode()], CODECS, frozenset({4, 6})).texts[0].decode()
        assert (f"a=rtcp:4009 {where}\r\n" in text) == kept


def test_what_is_said_of_a_codec_that_is_taken_stays() -> None:
    more = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")
    lines = [*SESSION, "m=audio 4000 RTP/AVP 8 101", OVER[4], *more, "a=fmtp:97 mode=20", ""]
    text = described(["\r\n".join(lines).encode()], CODECS).texts[0].decode()
    assert re.findall("a=.*[^\r\n]", text) == [*more]

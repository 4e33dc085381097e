"""What the library is given of a session description, over the table of cases."""

import re

import pytest

from sipagent.sip.session_description import NotAcceptable, described
from tests.descriptions import CASES, GOOD, Case

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

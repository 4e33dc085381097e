"""The caller's and the called number, from messages that nobody vouches for."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.config import identity

MESSAGE = (
    "INVITE sip:+33323063006@192.0.2.1:5060 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1\r\n"
    "{headers}"
    "To: <sip:+33323063006@trunk.example.net>\r\n"
    "Content-Type: application/sdp\r\n"
    "\r\n"
    "v=0\r\nP-Asserted-Identity: <sip:+33999999999@body.example>\r\n"
)
BIDI = "\u202e\u2066\u200f"


def invite(*headers: str) -> str:
    return MESSAGE.format(headers="".join(line + "\r\n" for line in headers))


@pytest.mark.parametrize(
    "header",
    [
        "From: <sip:+33612345678@trunk.example.net>;tag=1",
        "From: sip:0612345678@trunk.example.net;tag=1",
        "f: <sip:0033612345678@trunk.example.net;user=phone>;tag=1",
        "FROM:  \t<sips:%2B33612345678@trunk.example.net>;tag=1",
        "From: <tel:+33-6-12-34-56-78>;tag=1",
        "From: <tel:06.12.34.56.78;phone-context=+33>;tag=1",
        "From: <sip:33612345678@trunk.example.net>",
        'From: "<sip:+33999999999@quoted.example>, \\"x" <sip:+33612345678@a>;tag=1',
        "From: Dupont <sip:06 12 34 56 78@a>;tag=1",
        "From:\r\n\t<sip:+33612345678@trunk.example.net>;tag=1",
        "From : <SIP:+33612345678;cpc=ordinary:secret@trunk.example.net>;tag=1",
        "P-Asserted-Identity: <sip:+33612345678@a>\r\nFrom: <sip:+33999999999@a>;tag=1",
        "From: <sip:+33999999999@a>;tag=1\r\nP-Asserted-Identity: <sip:0612345678@a>, <tel:+33699999999>",
        "P-Asserted-Identity: <sip:office@a>\r\nP-Asserted-Identity: <tel:+33612345678>\r\nFrom: <sip:a@b>",
        "P-Asserted-Identity: <sip:office@a>\r\nFrom: <sip:+33612345678@a>",
        "Privacy: none\r\nFrom: <sip:+33612345678@a>",
    ],
)
def test_caller_is_read_as_e164_however_the_trunk_writes_it(header: str) -> None:
    assert identity.caller_number(invite(header), "FR") == "+33612345678"


@pytest.mark.parametrize(
    "header",
    [
        "From: <sip:anonymous@anonymous.invalid>;tag=1",
        "From: Alice <sip:alice@a>;tag=1",
        "From: <sip:trunk.example.net>;tag=1",
        'From: "unbalanced <sip:+33612345678@a>;tag=1',
        "From: <sip:+33612345678@a",
        "From: <sip:+33612345678@a@b>",
        "From: <http:+33612345678@a>",
        "From: <sip:../../etc/passwd@a>",
        "From: <sip:+3361234\x005678@a>",
        "From: <sip:" + "1" * 10_000 + "@a>",
        "Subject: nothing",
    ],
)
def test_no_number_is_none(header: str) -> None:
    assert identity.caller_number(invite(header), "FR") is None


@pytest.mark.parametrize("privacy", ["id", "ID;critical", "header;id", "user; critical", "none, id"])
def test_privacy_withholds_the_number_everywhere(privacy: str) -> None:
    asked = invite(
        f"Privacy: {privacy}", "P-Asserted-Identity: <sip:+33612345678@a>", "From: <sip:+33612345678@a>;tag=1"
    )
    assert identity.caller_number(asked, "FR") is None


WALL = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
FROM = "From: <sip:+33612345678@a>;tag=1"


@pytest.mark.parametrize(
    ("headers", "state"),
    [
        (("P-Asserted-Identity: <tel:+33612345678;verstat=TN-Validation-Passed-A>", FROM), "verified A"),
        (("P-Asserted-Identity: <sip:+33612345678;verstat=TN-Validation-Passed-c@a>",), "verified C"),
        (
            ("P-Asserted-Identity: <sip:+33612345678@a;user=phone;verstat=TN-Validation-Passed>",),
            "verified, level unknown",
        ),
        (("P-Asserted-Identity: <tel:+33612345678;verstat=TN-Validation-Failed-B>",), "failed"),
        (("P-Asserted-Identity: <tel:+33612345678;verstat=No-TN-Validation>",), "claimed"),
        (("P-Asserted-Identity: <tel:+33612345678;verstat=TN-Validation-Passed-AB>",), "claimed"),
        (('P-Asserted-Identity: "a;verstat=TN-Validation-Passed" <tel:+33612345678>',), "claimed"),
        (("P-Asserted-Identity: <tel:+33612345678>;verstat=TN-Validation-Passed",), "claimed"),
        (("From: <sip:+33612345678;verstat=TN-Validation-Passed-A@a>;tag=1",), "claimed"),
        (("P-Asserted-Identity: <tel:+33612345678>", "Identity: a.b.c;info=<https://h/x>", FROM), "claimed"),
        ((FROM,), "claimed"),
        (("Privacy: id", "P-Asserted-Identity: <tel:+33612345678;verstat=TN-Validation-Passed>"), "masked"),
        (('From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=1',), "masked"),
        (("From: <sip:x@anonymous.invalid:5060;a=b>", "P-Asserted-Identity: <tel:+33612345678>"), "masked"),
        (("From: <sip:Anonymous@trunk>", "P-Asserted-Identity: <tel:+33612345678>"), "masked"),
    ],
)
def test_what_the_trunk_says_of_the_number_and_nobody_else(headers: tuple[str, ...], state: str) -> None:
    found = identity.caller_identity(invite(*headers), "FR", WALL)
    assert found.state == state and found.number == (None if state == "masked" else "+33612345678")
    assert found.attestation in (None, state[-1])


SAID = {
    "attest": "B",
    "orig": {"tn": "33612345678"},
    "dest": {"tn": ["33323063006"]},
    "iat": WALL.timestamp(),
}


def signed(**said: object) -> str:
    """As the edge tells the claims of a good signature."""
    claims = base64.urlsafe_b64encode(json.dumps(SAID | said).encode()).decode()
    return f"signed.{claims.rstrip('=')}"


@pytest.mark.parametrize(
    ("edge", "state"),
    [
        (signed(), "verified B"),
        (signed(attest="D"), "verified, level unknown"),
        (signed(dest={"tn": ["33123456789", "33323063006"]}), "verified B"),
        (signed(dest={"tn": ["33123456789"]}), "failed"),
        (signed(dest={"uri": ["sip:a@b"]}), "failed"),
        (signed(dest=[]), "failed"),
        (signed(orig={"tn": "33699999999"}), "failed"),
        (signed(orig={"tn": None}), "failed"),
        (signed(iat=WALL.timestamp() + 61), "failed"),
        (signed(iat="soon"), "failed"),
        (signed().replace("signed", "diverted"), "verified B"),
        (signed(dest={"tn": ["33123456789"]}).replace("signed", "diverted"), "claimed"),
        ("signed.", "failed"),
        ("signed.!", "failed"),
        ("failed", "failed"),
        ("unknown", "claimed"),
        ("", "claimed"),
    ],
)
def test_signed_claims_count_for_the_call_that_they_are_of(edge: str, state: str) -> None:
    assert identity.caller_identity(invite(FROM), "FR", WALL, edge).state == state


def test_of_two_who_judge_a_failure_counts_and_the_one_who_has_read_the_level() -> None:
    passed = invite("P-Asserted-Identity: <tel:+33612345678;verstat=TN-Validation-Passed-A>")
    assert identity.caller_identity(passed, "FR", WALL, signed()).state == "verified B"
    assert identity.caller_identity(passed, "FR", WALL, signed(attest="")).state == "verified A"
    assert identity.caller_identity(passed, "FR", WALL, "failed").state == "failed"
    failed = passed.replace("Passed-A", "Failed")
    assert identity.caller_identity(failed, "FR", WALL, signed()).state == "failed"
    hidden = passed.replace("P-Asserted", "Privacy: id\r\nP-Asserted")
    assert identity.caller_identity(
        hidden, "FR", WALL, signed()
    ).verified  # the numbers are compared all the same


def test_the_called_number_is_of_the_request_line_or_behind_a_registration_in_the_headers() -> None:
    party = "P-Called-Party-ID: <sip:0323063007@a>\r\n"
    registered = invite().replace("INVITE sip:+33323063006", "INVITE sip:agent", 1)
    broken = invite().replace(" SIP/2.0", " a b c SIP/2.0", 1)
    for message in (invite(), registered, broken):
        assert identity.called_number(message, "FR") == "+33323063006"
    assert identity.called_number(registered.replace("To:", f"{party}To:"), "FR") == "+33323063007"


@pytest.mark.parametrize(
    ("user", "country", "number"),
    [
        ("201", "FR", "201"),
        ("201", "DE", "201"),
        ("030 123456", "DE", "+4930123456"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("02079460018;phone-context=+44", "FR", "+442079460018"),
        ("+3361", "FR", "3361"),
        ("", "FR", None),
        ("+", "FR", None),
        ("\u0660\u0661\u0662", "FR", None),
        ("1+2", "FR", None),
        ("9" * 30, "FR", None),
    ],
)
def test_numbers_of_countries(user: str, country: str, number: str | None) -> None:
    assert identity.to_e164(user, country) == number


def test_printable_escapes_what_would_steer_a_terminal_or_disguise_a_name() -> None:
    assert identity.printable("a\x1b[31m\r\n\x85") == r"a\x1b[31m\r\n\x85"
    assert identity.printable("é" + BIDI) == r"é\u202e\u2066\u200f"
    assert identity.printable(b"\xff".decode(errors="surrogateescape")) == r"\udcff"
    assert identity.printable("../../x") == "../../x"
    assert identity.printable("x" * 10_000) == "x" * 79 + "…"
    assert identity.printable("abc", 3) == "abc"


def test_display_for_the_operator_is_one_quoted_string() -> None:
    assert identity.display_for_operator("REC", "+33612345678", "482913") == '"REC +33612345678"'
    assert identity.display_for_operator("NO REC", None, "482913") == '"NO REC #482913"'
    assert identity.display_for_operator("REC", 'a" <sip:b@c>\\', "482913") == '"REC a\\" <sip:b@c>\\\\"'


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", "Signal=9\r\nDuration=160\r\n", "9"),
        ("Application/DTMF-Relay; charset=utf-8", "Duration=160\r\n signal = 10 \r\n", "*"),
        ("application/dtmf-relay", "Signal=d\nDuration=1", "D"),
        ("application/dtmf-relay", "Signal=16", None),
        ("application/dtmf-relay", "XSignal=9", None),
        ("application/dtmf", " 1\r\n", "1"),
        ("application/dtmf", "11", "#"),
        ("application/dtmf", "", None),
        ("application/dtmf", "\u0661", None),
        ("application/sdp", "9", None),
        ("", "9", None),
    ],
)
def test_digits_of_an_info(kind: str, body: str, digit: str | None) -> None:
    assert identity.info_digit(kind, body) == digit


HOSTILE = st.one_of(st.text(), st.text(alphabet='"\\<>@:;,+0123456789sip tel\r\n\x00\x1b\u202e\udc80'))


@given(HOSTILE, st.sampled_from(["From", "P-Asserted-Identity", "To", "P-Called-Party-ID", "f"]))
def test_no_header_breaks_the_numbers(value: str, name: str) -> None:
    for message in (value, invite(f"{name}: {value}")):
        for number in (identity.caller_number(message, "FR"), identity.called_number(message, "FR")):
            assert number is None or (
                number.removeprefix("+").isascii() and number.removeprefix("+").isdigit()
            )


@given(HOSTILE, st.integers(0, 200))
def test_printable_never_yields_more_than_it_may(text: str, limit: int) -> None:
    shown = identity.printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= max(limit, 1)
    shown.encode()


@given(HOSTILE)
def test_display_never_leaves_its_quotes(caller: str) -> None:
    display = identity.display_for_operator("REC", caller, "482913")
    assert display.isascii() and display.isprintable()
    assert display[0] == display[-1] == '"'
    assert '"' not in display[1:-1].replace("\\\\", "").replace('\\"', "")


@given(st.one_of(st.text(), st.just("application/dtmf-relay"), st.just("application/dtmf")), HOSTILE)
def test_info_yields_a_digit_or_nothing(kind: str, body: str) -> None:
    assert identity.info_digit(kind, body) in {None, *"0123456789*#ABCD"}

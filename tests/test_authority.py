"""What is asked of an authority of openssl's, and what its answers prove."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from retention import stamps
from retention.stamps import StampError, certificates, prove, read_answer, stamp_query
from tests import old_stamp
from tests.peers.tsa import NAME, Authority

DIGEST = bytes(range(32))
NONCE = 0x7123456789ABCDEF


@pytest.fixture
def answer(tsa: Authority) -> bytes:
    return tsa.reply(stamp_query(DIGEST, NONCE))


def der(file: Path) -> bytes:
    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)


def refused(tsa: Authority, answer: bytes, digest: bytes = DIGEST, nonce: int | None = NONCE) -> str:
    with pytest.raises(StampError) as refusal:
        prove(read_answer(answer), digest, certificates(tsa.ca), nonce)
    return str(refusal.value)


def test_the_question_as_openssl_reads_it(tsa: Authority) -> None:
    text = tsa.query_text(stamp_query(DIGEST, NONCE))
    assert "Version: 1" in text and "Hash Algorithm: sha256" in text and "Nonce: 0x7123456789ABCDEF" in text
    assert "00 01 02 03 04 05 06 07-08 09" in text and "Certificate required: yes" in text


def test_what_an_answer_says_and_that_it_is_true(tsa: Authority) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    token = read_answer(tsa.reply(stamp_query(DIGEST, NONCE)))
    assert (token.digest, token.nonce, token.authority) == (DIGEST, NONCE, NAME)
    assert before <= token.at <= datetime.now(UTC)
    prove(token, DIGEST, certificates(tsa.ca), NONCE)
    prove(token, DIGEST, certificates(tsa.ca))


def test_certificates_may_come_in_any_order(tsa: Authority, answer: bytes) -> None:
    signer, middle = der(tsa.folder / "signer.pem"), der(tsa.folder / "middle.pem")
    orders = {answer.replace(a + b, b + a) for a, b in ((signer, middle), (middle, signer))}
    assert len(orders) == 2 and answer in orders
    for order in orders:
        prove(read_answer(order), DIGEST, certificates(tsa.ca), NONCE)


def test_an_answer_that_proves_nothing(tsa: Authority, answer: bytes, tmp_path: Path) -> None:
    assert refused(tsa, answer, DIGEST[::-1]) == "stamps 0001020304050607…, not 1f1e1d1c1b1a1918…"
    assert refused(tsa, answer, nonce=NONCE - 1) == "answers another question: its nonce differs"
    for place in (-1, answer.index(b"\x18\x0f20") + 15):  # the signature, or a second
        changed = bytearray(answer)
        changed[place] ^= 1
        assert refused(tsa, bytes(changed)) == "its signature does not fit"
    untrusted = "is signed by one whose certificate is not trusted: "
    assert refused(Authority(tmp_path / "other"), answer).startswith(untrusted)
    expired = Authority(tmp_path / "expired", valid=timedelta(days=-1))
    late = expired.reply(stamp_query(DIGEST, NONCE))
    assert refused(expired, late) == f"{untrusted}certificate has expired"


def test_one_that_expired_later_was_right_at_the_time(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(old_stamp.CA)
    token = read_answer(old_stamp.RESPONSE)
    assert token.at == old_stamp.AT
    came_along = map(x509.load_der_x509_certificate, token.response.signed_data.certificates)
    assert old_stamp.EXPIRED in {certificate.not_valid_after_utc for certificate in came_along}
    prove(token, old_stamp.DIGEST, certificates(tmp_path / "ca.pem"))


def test_an_answer_that_is_none_says_why(tsa: Authority) -> None:
    query = stamp_query(DIGEST, NONCE)
    without_certificates = query[:-3].replace(b"\x30\x43", b"\x30\x40", 1)
    answers = [(tsa.reply(without_certificates), "comes without the certificate of who signed it")]
    tsa.accept("sha256, sha512")
    sha512 = bytes.fromhex("3059 020101 3051 300d 0609 608648016503040203 0500 0440") + DIGEST * 2
    answers += [(tsa.reply(sha512 + bytes.fromhex("0101ff")), "stamps another kind of hash than SHA-256")]
    tsa.accept("sha512")
    answers += [
        (tsa.reply(query), "not granted: rejected (Message digest algorithm is not supported.)"),
        (bytes.fromhex("3005 3003 0201 09"), "not granted: status 9"),
        (bytes.fromhex("300d 300b 0201 03 3006 0c04 1b5b324a"), "not granted: waiting (\\x1b[2J)"),
    ]
    for answer, said in answers:
        with pytest.raises(StampError) as refusal:
            read_answer(answer)
        assert str(refusal.value) == said


@given(place=st.integers(0, len(old_stamp.RESPONSE) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_broken_answer_is_one_line(place: int, byte: int, cut: bool) -> None:
    response = old_stamp.RESPONSE
    broken = response[:place] + (b"" if cut else bytes([byte]) + response[place + 1 :])
    roots = x509.load_pem_x509_certificates(old_stamp.CA.encode())
    try:
        token = read_answer(broken)
        prove(token, old_stamp.DIGEST, roots)
    except StampError as wrong:
        assert str(wrong).isprintable()
    else:  # the changed byte is one that no signature covers
        assert (token.digest, token.at) == (old_stamp.DIGEST, old_stamp.AT) and not cut


def test_a_file_that_holds_no_certificates_and_a_missing_library_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StampError, match=r"/absent\.pem: No such file or directory$"):
        certificates(tmp_path / "absent.pem")
    for content in ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""):
        (tmp_path / "key.pem").write_text(content)
        with pytest.raises(StampError, match=r"/key\.pem: holds no certificates in PEM form$"):
            certificates(tmp_path / "key.pem")
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    for attempt in (lambda: read_answer(old_stamp.RESPONSE), lambda: certificates(tmp_path / "ca.pem")):
        with pytest.raises(StampError, match=r"pip install 'sipagent\[timestamp\]'"):
            attempt()

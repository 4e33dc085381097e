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


def test_an_answer_to_another_question_proves_nothing(tsa: Authority, answer: bytes) -> None:
    assert refused(tsa, answer, DIGEST[::-1]) == "stamps 0001020304050607…, not 1f1e1d1c1b1a1918…"
    assert refused(tsa, answer, nonce=NONCE - 1) == "answers another question: its nonce differs"


def test_another_authority_is_not_trusted(tsa: Authority, answer: bytes, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    assert refused(other, answer).startswith("is signed by one whose certificate is not trusted: ")


def test_nor_is_one_that_has_expired(tmp_path: Path) -> None:
    expired = Authority(tmp_path / "expired", valid=timedelta(days=-1))
    assert refused(expired, expired.reply(stamp_query(DIGEST, NONCE))) == (
        "is signed by one whose certificate is not trusted: certificate has expired"
    )


def test_one_that_expired_later_was_right_at_the_time(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(old_stamp.CA)
    token = read_answer(old_stamp.RESPONSE)
    assert token.at == old_stamp.AT
    came_along = map(x509.load_der_x509_certificate, token.response.signed_data.certificates)
    assert old_stamp.EXPIRED in {certificate.not_valid_after_utc for certificate in came_along}
    prove(token, old_stamp.DIGEST, certificates(tmp_path / "ca.pem"))


@pytest.mark.parametrize("place", [-1, "time"])
def test_an_answer_that_was_changed_does_not_fit(tsa: Authority, answer: bytes, place: int | str) -> None:
    changed = bytearray(answer)
    changed[answer.index(b"\x18\x0f20") + 15 if place == "time" else -1] ^= 1  # a second, or the signature
    assert refused(tsa, bytes(changed)) == "its signature does not fit"


def test_a_refusal_says_why(tsa: Authority) -> None:
    tsa.accept("sha512")
    with pytest.raises(StampError) as refusal:
        read_answer(tsa.reply(stamp_query(DIGEST, NONCE)))
    assert str(refusal.value) == "not granted: rejected (Message digest algorithm is not supported.)"


def test_a_status_that_nobody_knows_is_a_refusal() -> None:
    with pytest.raises(StampError, match=r"^not granted: status 9$"):
        read_answer(bytes.fromhex("3005 3003 0201 09"))
    with pytest.raises(StampError, match=r"^not granted: waiting \(\\x1b\[2J\)$"):
        read_answer(bytes.fromhex("300d 300b 0201 03 3006 0c04 1b5b324a"))


def test_a_stamp_on_another_kind_of_hash_is_none(tsa: Authority) -> None:
    tsa.accept("sha256, sha512")
    sha512 = bytes.fromhex("3059 020101 3051 300d 0609 608648016503040203 0500 0440") + DIGEST * 2
    with pytest.raises(StampError, match="another kind of hash than SHA-256"):
        read_answer(tsa.reply(sha512 + bytes.fromhex("0101ff")))


def test_an_answer_without_its_certificates_is_useless_later(tsa: Authority) -> None:
    bare = stamp_query(DIGEST, NONCE)[:-3].replace(b"\x30\x43", b"\x30\x40", 1)
    with pytest.raises(StampError, match="without the certificate of who signed it"):
        read_answer(tsa.reply(bare))


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


def test_a_file_that_holds_no_certificates_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StampError, match=r"/absent\.pem: No such file or directory$"):
        certificates(tmp_path / "absent.pem")
    (tmp_path / "key.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(StampError, match=r"/key\.pem: holds no certificates in PEM form$"):
        certificates(tmp_path / "key.pem")
    (tmp_path / "key.pem").write_bytes(b"")
    with pytest.raises(StampError, match=r"/key\.pem: holds no certificates in PEM form$"):
        certificates(tmp_path / "key.pem")


def test_without_the_library_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    for attempt in (lambda: read_answer(old_stamp.RESPONSE), lambda: certificates(tmp_path / "ca.pem")):
        with pytest.raises(StampError, match=r"pip install 'sipagent\[timestamp\]'"):
            attempt()

"""What a time stamping authority is asked, and what its answer proves (RFC 3161).

`query` makes the question, `read` tells what an answer says, `prove` whether it is true. The proof is done by
the library rfc3161-client, a separate extra, imported when first needed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

QUERY_KIND = "application/timestamp-query"  # section 3.4, over HTTP
ANSWER_LIMIT = 1 << 16  # bytes; an answer with its certificates has 1 to 8 kB
NO_LIBRARY = "time stamps need a library that is not installed: pip install 'sipagent[timestamp]'"

_SHA256 = "2.16.840.1.101.3.4.2.1"
# TimeStampReq: version 1, SHA-256 with a digest to follow; all lengths are fixed (section 2.4.1)
_QUERY = bytes.fromhex("3043 020101 3031 300d 0609 608648016503040201 0500 0420")
_NONCE, _WITH_CERTIFICATES = b"\x02\x08", b"\x01\x01\xff"
_STATUS = ("granted", "granted with changes", "rejected", "waiting", "to be revoked", "revoked")
_CERTIFICATES = 0xA0  # [0] in SignedData, RFC 5652 section 5.1


class StampError(Exception):
    """The time stamp is missing, or proves nothing; `str()` is one line that says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What an answer says; true only after `prove`.

    `digest` is what was stamped (SHA-256), `at` when (UTC, whole seconds), `authority` the name in the
    signer's certificate.
    """

    digest: bytes
    at: datetime
    nonce: int | None
    authority: str
    response: "TimeStampResponse" = field(repr=False, compare=False)


def installed() -> bool:
    """Whether the library is installed."""
    return find_spec("rfc3161_client") is not None


def certificates(file: Path) -> list["Certificate"]:
    """The certificates in a PEM file. Raises StampError: no library, unreadable, none in it."""
    if not installed():
        raise StampError(NO_LIBRARY)
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise StampError(f"{file}: {error.strerror}") from error
    except (ValueError, x509.InvalidVersion) as error:
        raise StampError(f"{file}: holds no certificates in PEM form") from error


def query(digest: bytes, nonce: int) -> bytes:
    """The question: a stamp on a SHA-256, with the authority's certificates; `nonce` has 63 bits."""
    return _QUERY + digest + _NONCE + nonce.to_bytes(8, "big") + _WITH_CERTIFICATES


def read(answer: bytes) -> Token:
    """What an answer says. Raises StampError: no library, malformed, not granted."""
    if not installed():
        raise StampError(NO_LIBRARY)
    from cryptography import x509
    from rfc3161_client import decode_timestamp_response

    try:
        response = decode_timestamp_response(_certificates_in_order(answer))
        if response.status != 0:
            raise StampError(_refusal(response))
        info = response.tst_info
        if info.message_imprint.hash_algorithm.dotted_string != _SHA256:
            raise StampError("stamps another kind of hash than SHA-256")
        return Token(info.message_imprint.message, info.gen_time, info.nonce, _signer(response), response)
    except (ValueError, KeyError, x509.InvalidVersion) as error:
        raise StampError("is not a time stamp response") from error


def prove(token: Token, digest: bytes, trusted: Sequence["Certificate"], nonce: int | None = None) -> None:
    """Raises StampError unless `token` is for `digest`, signed by an authority that `trusted` confirms.

    The certificates must have been valid when it was made, not now (RFC 3161 section 4.3); revocation is not
    checked. `nonce` is that of the question, if known.
    """
    from cryptography import x509
    from rfc3161_client import VerificationError, VerifierBuilder

    if token.digest != digest:
        raise StampError(f"stamps {token.digest.hex()[:16]}…, not {digest.hex()[:16]}…")
    if nonce is not None and token.nonce != nonce:
        raise StampError("answers another question: its nonce differs")
    verifier = VerifierBuilder(roots=list(trusted)).build()
    try:
        verifier.verify(token.response, digest)
    except (VerificationError, ValueError, KeyError, x509.InvalidVersion) as error:
        raise StampError(_distrust(str(error))) from error


def _refusal(response: "TimeStampResponse") -> str:
    known = response.status < len(_STATUS)
    status = _STATUS[response.status] if known else f"status {response.status}"
    why = " ".join(response.status_string)
    return f"not granted: {status}" + (f" ({repr(why[:200])[1:-1]})" if why else "")


def _signer(response: "TimeStampResponse") -> str:
    """The signer's name, from the certificate in the answer."""
    from cryptography import x509

    signed = response.signed_data
    signers = {(signer.issuer, signer.serial_number) for signer in signed.signer_infos}
    for der in signed.certificates:
        certificate = x509.load_der_x509_certificate(der)
        if (certificate.issuer, certificate.serial_number) in signers:
            common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            return str(common[0].value) if common else certificate.subject.rfc4514_string()
    raise StampError("comes without the certificate of who signed it")


def _distrust(said: str) -> str:
    """The important part of OpenSSL's message: what is wrong with the certificate, or else the signature."""
    if found := re.search(r'"Verify error: ([^"]*)"', said):
        return f"is signed by one whose certificate is not trusted: {found[1]}"
    if "pkcs7" in said:
        return "its signature does not fit"
    return f"is not trusted: {said}"


class _Element(NamedTuple):
    """A value of ASN.1 in DER: where it begins, where its content does, and where both end."""

    start: int
    content: int
    end: int


def _elements(der: bytes, start: int, end: int) -> Iterator[_Element]:
    while start < end:
        length, content = der[start + 1], start + 2
        if length & 0x80:
            content += length & 0x7F
            length = int.from_bytes(der[start + 2 : content], "big")
        yield _Element(start, content, content + length)
        start = content + length


def _certificates_in_order(answer: bytes) -> bytes:
    """The answer with its certificates sorted: DER requires it of a set, but authorities send any order.

    No signature covers their order, and the answer is stored unchanged.
    """
    try:
        inside = _Element(0, 0, len(answer))
        # TimeStampResp: the token: its content [0]: SignedData (RFC 3161 section 2.4.2, RFC 5652 section 3)
        for place in (0, 1, 1, 0):
            inside = list(_elements(answer, inside.content, inside.end))[place]
        found = list(_elements(answer, inside.content, inside.end))[3]
    except IndexError:
        return answer  # no token in it
    if answer[found.start] != _CERTIFICATES or found.end > len(answer):
        return answer
    each = sorted(answer[one.start : one.end] for one in _elements(answer, found.content, found.end))
    return answer[: found.content] + b"".join(each) + answer[found.end :]

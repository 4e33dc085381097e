"""JSON that is signed as a JWS (RFC 7515), so that whoever gets it can check it with any library of theirs.

The form is the general JSON serialization (section 7.2.1) with one signature, RS256 (RFC 7518 section 3.3),
and the certificates beside it (`x5c`, section 4.1.6). The draft of vCon asks for both, and programs there
verify RSA alone. So the key that signs what callers get, an Ed25519 one, does not sign here: it issues the
certificate of an RSA key. `signing/YEAR.pem` (mode 0600) has the key of a year, its certificate, and that of
`signing/YEAR.key`, whose public key stands in the published roots (`roots`). Who has a certificate that
others know puts key and chain there instead.

A signature here is always the same for the same content and key: RSASSA-PKCS1-v1_5 draws nothing. What is
signed is written as it comes; nothing holds the whole of it.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from retention.files import Places, make_folder, write_whole
from retention.records import Json
from retention.roots import RootError, signing_key
from retention.rows.chain import canonical

if TYPE_CHECKING:  # slow to import
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

BITS = 3072  # as long as it takes to be trusted beyond 2030 (ANSSI, guide des mécanismes cryptographiques)
YEARS = 10  # that a certificate is good for; its key signs in one of them
_ALGORITHM = {"alg": "RS256"}


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, and the certificates that tell whose it is: its own first."""

    key: RSAPrivateKey
    chain: tuple[Certificate, ...]

    @property
    def x5c(self) -> list[str]:
        """The certificates as a header has them: DER in base64, not base64url."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return [b64encode(one.public_bytes(Encoding.DER)).decode() for one in self.chain]


def signer_of(places: Places, year: int) -> Signer:
    """What signs in this year; made where there is none. Raises RootError, OSError."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    path = places.signing / f"{year}.pem"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = _made(places, year)
        make_folder(places.signing)
        write_whole(path, content)
    try:
        key = load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)  # `signed` looks
        chain = load_pem_x509_certificates(content)
        if isinstance(key, RSAPrivateKey) and chain[0].public_key() == key.public_key():
            return Signer(key, tuple(chain))
    except (ValueError, TypeError) as error:
        raise RootError("{0}: is not readable: {1}", path, error) from error
    raise RootError("{0}: accepted: an RSA key, and its certificate before those above it", path)


def _made(places: Places, year: int) -> bytes:
    """A new key and its certificates, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    issuer = Ed25519PrivateKey.from_private_bytes(bytes(signing_key(places, year)))
    key = rsa.generate_private_key(65537, BITS)

    def certificate(of: RSAPrivateKey | Ed25519PrivateKey, name: str) -> Certificate:
        names = [
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)])
            for one in (name, f"sipagent {year}")
        ]
        above = of is issuer
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign" if above else "digital_signature": True}
        built = (
            x509.CertificateBuilder()
            .subject_name(names[0])
            .issuer_name(names[1])
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(year, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(year + YEARS, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=above, path_length=0 if above else None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
            )
        )
        return built.sign(issuer, None)

    chain = certificate(key, f"sipagent vCon {year}"), certificate(issuer, f"sipagent {year}")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return b"".join((private, *(one.public_bytes(Encoding.PEM) for one in chain)))


_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def signed(payload: Iterable[bytes], signer: Signer, header: Json) -> Iterator[bytes]:
    """The JWS of this payload, in pieces; `header`: what its unprotected header says beside `x5c`.

    The algorithm is in the protected header alone: the same name may not be in both (section 7.2.1).
    """
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    protected = b"".join(base64url([canonical(_ALGORITHM).encode()]))
    digest = hashlib.sha256(protected + b".")
    yield b'{"payload":"'
    for piece in base64url(payload):
        digest.update(piece)
        yield piece
    how = digest.digest(), PKCS1v15(), Prehashed(SHA256())
    signature = signer.key.sign(*how)
    signer.key.public_key().verify(signature, *how)  # of a key that is damaged nothing gets out
    one = {
        "header": {"x5c": signer.x5c} | header,
        "protected": protected.decode(),
        "signature": b"".join(base64url([signature])).decode(),
    }
    yield b'","signatures":' + json.dumps([one], separators=(",", ":")).encode() + b"}\n"


def base64url(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """All of them as one base64url (section 2), without `=` at its end."""
    left = b""
    for piece in pieces:
        left += piece
        whole = len(left) - len(left) % 3
        yield urlsafe_b64encode(left[:whole])
        left = left[whole:]
    yield urlsafe_b64encode(left).rstrip(b"=")

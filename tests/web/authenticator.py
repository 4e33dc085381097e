"""An authenticator of a test's making: it signs whatever it is told to, as WebAuthn has it."""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40  # flags (WebAuthn level 2, section 6.1)


def text_of(content: bytes) -> str:
    """In base64url, without padding."""
    return urlsafe_b64encode(content).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    """The inverse."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class SoftKey:
    """One passkey. What it says of where it is, and of whom it has verified, a test may change."""

    origin: str = "http://localhost:8443"
    rp_id: str = "localhost"
    flags: int = PRESENT | VERIFIED
    count: int = 0
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def client_data(self, kind: str, challenge: str, **more: Any) -> bytes:
        """What a browser says that it was asked."""
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, **more}).encode()

    def data(self, flags: int, more: bytes = b"") -> bytes:
        """authenticatorData."""
        return sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + more

    def made(self, options: dict[str, Any], **changed: Any) -> str:
        """The answer to creation options, without attestation; `changed`: of its response."""
        self.handle = bytes_of(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        x, y = (one.to_bytes(32, "big") for one in (numbers.x, numbers.y))
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + public
        data = self.data(self.flags | ATTESTED, attested)
        response = {
            "clientDataJSON": text_of(self.client_data("webauthn.create", options["challenge"])),
            "attestationObject": text_of(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": ["internal", "flying"],
        }
        return self._credential(response | changed)

    def signed(self, options: dict[str, Any], **changed: Any) -> str:
        """The answer to request options; `changed`: of its response."""
        data = self.data(self.flags)
        client_data = self.client_data("webauthn.get", options["challenge"])
        signature = self.key.sign(data + sha256(client_data).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": text_of(client_data),
            "authenticatorData": text_of(data),
            "signature": text_of(signature),
            "userHandle": text_of(self.handle),
        }
        return self._credential(response | changed)

    def _credential(self, response: dict[str, Any]) -> str:
        id = text_of(self.credential)
        return json.dumps({"id": id, "rawId": id, "type": "public-key", "response": response})

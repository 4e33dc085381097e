"""What pages of ours alone can read: cookies, and what a form carries from one step to the next.

JSON is of a kind, such as `authenticator`: what was sealed for one place is nothing at another.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

LONGEST = 4096  # characters of what is opened


class Seal:
    """`secret`: 32 bytes, of this process or of all hosts' pages. What is sealed under another one, or
    altered, is nothing."""

    def __init__(self, secret: bytes) -> None:
        self._box = SecretBox(hmac.digest(secret, b"seal", "sha256"))
        self._form_key = hmac.digest(secret, b"forms", "sha256")

    def seal(self, plain: bytes) -> str:
        """As text for a cookie or a form."""
        return urlsafe_b64encode(self._box.encrypt(plain)).decode("ascii").rstrip("=")

    def open(self, sealed: str) -> bytes | None:
        """The inverse; None for what was not sealed here."""
        if len(sealed) > LONGEST or not sealed.isascii():
            return None
        try:
            return self._box.decrypt(urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
        except (CryptoError, ValueError):
            return None

    def seal_json(self, kind: str, value: Any) -> str:
        """JSON of this kind, sealed."""
        return self.seal(json.dumps([kind, value]).encode())

    def open_json(self, kind: str, sealed: str) -> Any:
        """The inverse; None for what was not sealed here, or as another kind."""
        plain = self.open(sealed)
        try:
            named, value = json.loads(plain or b"")
        except (TypeError, ValueError):  # another's bytes: no JSON, or not of two parts
            return None
        return value if named == kind else None

    def form_token(self, id: bytes) -> str:
        """What the forms of a browser carry that has this id in its cookie: no other site can know it."""
        return hmac.digest(self._form_key, id, "sha256").hex()

"""Keeps what is secret of accounts from who reads a database that hosts share: its key is in a file of each.

The file is one line, the same on all hosts:

    sipagent-accounts-1 <base64 of 32 random bytes>

Names, password hashes, secrets of authenticators, keys and subjects are kept as a SecretBox (libsodium's
crypto_secretbox_easy), in base64; what rows are found by has a nonce that its text gives, so that the same
text is the same there. Cookies of the page are sealed under the same file, so all hosts know them.
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Protocol

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from retention.rows.faults import StoreError
from retention.storage.files import write_whole

HIDDEN = frozenset(("name", "folded", "password", "totp", "key", "subject"))
"""The columns, of whichever table."""
FOUND_BY = frozenset(("folded", "subject"))  # of these

_VERSION = "sipagent-accounts-1"
_LIMIT = 1 << 12  # bytes; no file of ours is longer
_BYTES = 32


class Hiding(Protocol):
    """How texts of these columns are kept."""

    def kept(self, column: str, text: str) -> str:
        """As it is kept."""
        ...

    def shown(self, kept: str) -> str:
        """The inverse. Raises StoreError."""
        ...


class InClear:
    """As they are: the file is its owner's alone, and in no backup."""

    def kept(self, column: str, text: str) -> str:
        """As it is."""
        return text

    def shown(self, kept: str) -> str:
        """As it is."""
        return kept


class AccountsKey:
    """The key in the file at `path`."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self._key = key
        self._box = SecretBox(self.derived("hidden"))
        self._nonces = self.derived("nonces")

    def derived(self, what: str) -> bytes:
        """32 bytes that this file gives for a use of its own."""
        return hmac.digest(self._key, what.encode(), "sha256")

    @property
    def fingerprint(self) -> str:
        """What a database has of it, to tell whether it fits."""
        return self.derived("fingerprint").hex()[:32]

    def kept(self, column: str, text: str) -> str:
        """As a SecretBox in base64."""
        plain = text.encode("utf-8", "surrogatepass")
        size = SecretBox.NONCE_SIZE
        by_text = hmac.digest(self._nonces, column.encode() + b"\0" + plain, "sha256")[:size]
        nonce = by_text if column in FOUND_BY else secrets.token_bytes(size)
        return b64encode(self._box.encrypt(plain, nonce)).decode("ascii")

    def shown(self, kept: str) -> str:
        """The inverse. Raises StoreError: kept under another key."""
        try:
            return self._box.decrypt(b64decode(kept)).decode("utf-8", "surrogatepass")
        except (CryptoError, ValueError) as wrong:
            raise StoreError(f"{self.path}: what is kept of an account is not under its key") from wrong


def read_key(path: Path) -> AccountsKey | None:
    """The key in this file; None without it. Raises StoreError."""
    try:
        with path.open("rb") as file:
            version, _, text = file.read(_LIMIT).decode("ascii").strip().partition(" ")
        key = b64decode(text, validate=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError:
        version, key = "", b""
    if version != _VERSION or len(key) != _BYTES:
        raise StoreError(f"{path}: not the key of accounts; accepted: a copy of the file of another host")
    return AccountsKey(path, key)


def new_key(path: Path) -> AccountsKey:
    """Make the file, mode 0600. Raises StoreError."""
    key = secrets.token_bytes(_BYTES)
    try:
        write_whole(path, f"{_VERSION} {b64encode(key).decode('ascii')}\n".encode())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return AccountsKey(path, key)

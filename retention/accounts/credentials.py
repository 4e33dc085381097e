"""Accounts, tokens and the secrets they are shown with; and how these are hidden in a shared database.

An account and a token: what their names may be, and what both have in common as columns of a row.

What is shown: passwords, codes of an authenticator, one-time codes, tokens. Of a password an Argon2id
hash is kept; of one-time codes and tokens, which are random and long enough that nobody tries them all,
their SHA-256.

What is secret is hidden in a database that hosts share: its key is in a file of each. The file is one
line, the same on all hosts:

    sipagent-accounts-1 <base64 of 32 random bytes>

Names, password hashes, secrets of authenticators, keys and subjects are kept as a SecretBox (libsodium's
crypto_secretbox_easy), in base64; what rows are found by has a nonce that its text gives, so that the
same text is the same there. Cookies of the page are sealed under the same file, so all hosts know them.
"""

import hmac
import json
import re
import secrets
import threading
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pyotp
from nacl.exceptions import CryptoError, InvalidkeyError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from retention.files import write_whole
from retention.records import Json, Record, RuleError, from_text
from retention.rows.rows import StoreError
from retention.texts import Reason, strerror
from retention.vault import PublicKey, Strength, public_key, public_line

NAME_LIMIT = 64  # characters


class AccountError(RuleError):
    """An account or a token cannot be made, found or changed so; `str()` is one line for the user."""


class Listed(Record):
    """The fields that accounts and tokens have in common, and their JSON in lists."""

    __slots__ = ()

    id: int
    name: str
    roles: tuple[str, ...]
    key: PublicKey | None
    created_at: datetime

    def to_json(self) -> Json:
        """What `user list --json` and `token list --json` say; of the key its fingerprint."""
        told = Record.to_json(replace(cast(Any, self), key=None))
        told["key"] = self.key and self.key.id
        return {name: value for name, value in told.items() if name not in ("id", "epoch")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Listed):
    """A person who logs in. `id` is never given twice, so that who is removed does not come back as another.

    `epoch` grows whenever all sessions must end. `code_until`: while a one-time code is good.
    """

    id: int
    name: str
    roles: tuple[str, ...]
    enrolled: bool  # has a password
    passkeys: int  # how many it has
    code_until: datetime | None
    key: PublicKey | None
    language: str | None
    created_at: datetime
    last_login_at: datetime | None
    failures: int  # refused logins since the last one that was not
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Listed):
    """A program shows it in place of a login. `until`: None for no end."""

    id: int
    name: str
    roles: tuple[str, ...]
    key: PublicKey | None
    created_at: datetime
    until: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def is_good(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and (self.until is None or now < self.until)


def tidy(name: str) -> str:
    """A name as it is kept: NFKC, single spaces. Raises AccountError for what can be none."""
    tidied = " ".join(unicodedata.normalize("NFKC", name).split())
    if not tidied or not tidied.isprintable() or len(tidied) > NAME_LIMIT:
        raise AccountError("{0!r} is not a name; accepted: one line of 1 to {1} characters", name, NAME_LIMIT)
    return tidied


def folded(name: str) -> str:
    """One form for all spellings of a name that people would take for the same."""
    once = unicodedata.normalize("NFKC", name.encode("utf-8", "replace").decode()).casefold()
    return " ".join(unicodedata.normalize("NFKC", once).split())


def common_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Roles, key and the time of making. Raises KeysError for a damaged key."""
    return {
        "roles": tuple(json.loads(row["roles"])),
        "key": None if row["key"] is None else public_key(row["key"], Reason("the key of {0}", row["name"])),
        "created_at": from_text(row["created_at"]),
    }


def moment(text: str | None) -> datetime | None:
    """A time that may be absent."""
    return None if text is None else from_text(text)


def roles_text(roles: Sequence[str]) -> str:
    """Raises AccountError for none."""
    if not roles:
        raise AccountError("no role: it could do nothing")
    return json.dumps(list(dict.fromkeys(roles)))


def key_text(key: PublicKey | None) -> str | None:
    """The line of a public key's file."""
    return None if key is None else public_line(key)


STRENGTH = Strength(4, 32 << 20)
"""More than OWASP asks for (two passes over 19 MiB), and less memory than libsodium's own: it is taken beside
all that the page does."""

SHORTEST, LONGEST = 12, 256  # characters of a password
STEP_S = 30  # of an authenticator (RFC 6238)
AROUND = 1  # steps by which a clock may be wrong (RFC 6238 section 5.2)
TOKEN_PREFIX = "sipagent_"  # so that it is known where it was left by mistake

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is taken for another
_CODE_LETTERS, _GROUP = 20, 5  # 100 bits
_MEANT = str.maketrans("OIL", "011")
_COMMON = ("123456789012", "1234567890123", "password1234", "motdepasse12", "motdepasse123", "azertyuiop12")
_DIFFERENT = 5  # characters, at least
_ONE_AT_A_TIME = threading.Lock()  # so that many logins at once take the memory of one


def hashed(password: str) -> str:
    """The Argon2id hash of a password, which alone is kept."""
    with _ONE_AT_A_TIME:
        raw = argon2id.str(_typed(password), opslimit=STRENGTH.opslimit, memlimit=STRENGTH.memlimit)
    return raw.decode("ascii")


def _nobodys() -> str:
    """A hash that nothing fits, and that takes as long to compare as anybody's."""
    salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={STRENGTH.memlimit >> 10},t={STRENGTH.opslimit},p=1${salt}${digest}"


NOBODYS = _nobodys()


def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password that was `hashed`; takes its time also for None, an account without one."""
    typed = _typed(password)
    with _ONE_AT_A_TIME:
        try:
            argon2id.verify((kept or NOBODYS).encode("ascii"), typed)
        except InvalidkeyError:
            return False
    return kept is not None


PASSWORD = Reason("the password")


def why_not(password: str, name: str, what: Reason = PASSWORD) -> str | None:
    """Why somebody of that name, or a key in a file of it, cannot have it as a password; None if they can.
    Length is what counts. `what`: the word for it."""
    if not SHORTEST <= len(unicodedata.normalize("NFKC", password)) <= LONGEST:
        return Reason("{what} has to have {0} to {1} characters", SHORTEST, LONGEST, what=what)
    told, of_name = (re.sub(r"[\W_]", "", folded(text)) for text in (password, name))
    if of_name and of_name in told and not told.replace(of_name, "").strip("0123456789"):
        return Reason("{what} is the name, or hardly more", what=what)
    if told in _COMMON or len(set(password)) < _DIFFERENT:
        return Reason("{what} is one of those that are tried first", what=what)
    return None


def _typed(password: str) -> bytes:
    """Its bytes, however the keyboard composes letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


# --- an authenticator (TOTP, RFC 6238) ---


def new_totp() -> str:
    """A secret to share with an authenticator, in base32: 160 bits."""
    return pyotp.random_base32()


def step_of(digits: str, secret: str, now: datetime) -> int | None:
    """The time step whose code these digits are, None if of none around now.

    That it comes once is for who keeps the last one.
    """
    typed = re.sub(r"\s", "", digits)
    totp = pyotp.TOTP(secret, interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    found = None
    for step in range(present - AROUND, present + AROUND + 1):  # always all of them
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed.encode("utf-8", "surrogatepass")):
            found = step
    return found


# --- one-time codes and tokens ---


def new_code() -> str:
    """`7K3MF-…`: what a person types once, read from a paper or over a telephone."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))
    return "-".join(letters[at : at + _GROUP] for at in range(0, _CODE_LETTERS, _GROUP))


def code_hash(typed: str) -> str:
    """The hash of a one-time code; case and separators do not count."""
    meant = re.sub(r"[\W_]", "", typed.upper()).translate(_MEANT)
    return sha256(meant.encode("utf-8", "surrogatepass")).hexdigest()


def new_token() -> str:
    """256 random bits, in letters that a header may have."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(shown: str) -> str:
    """The hash of a token, which alone is kept."""
    return sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()


HIDDEN = frozenset(("name", "folded", "password", "totp", "key", "subject"))
"""The columns, of whichever table."""
FOUND_BY = frozenset(("folded", "subject"))  # of these

_VERSION = "sipagent-accounts-1"
_LIMIT = 1 << 12  # bytes; no file of ours is longer
_BYTES = 32


class Hiding:
    """How texts of these columns are kept. This hides nothing: the file is its owner's alone, and in no
    backup."""

    def kept(self, column: str, text: str) -> str:
        """As it is kept."""
        return text

    def shown(self, kept: str) -> str:
        """The inverse. Raises StoreError."""
        return kept


class AccountsKey(Hiding):
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
        """Kept in the database, to tell whether a host's key fits."""
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
            raise StoreError("{0}: what is kept of an account is not under its key", self.path) from wrong


def read_key(path: Path) -> AccountsKey | None:
    """The key in this file; None without it. Raises StoreError."""
    try:
        with path.open("rb") as file:
            version, _, text = file.read(_LIMIT).decode("ascii").strip().partition(" ")
        key = b64decode(text, validate=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError("{0}: {1}", path, strerror(error)) from error
    except ValueError:
        version, key = "", b""
    if version != _VERSION or len(key) != _BYTES:
        raise StoreError("{0}: not the key of accounts; accepted: a copy of the file of another host", path)
    return AccountsKey(path, key)


def new_key(path: Path) -> AccountsKey:
    """Make the file, mode 0600. Raises StoreError."""
    key = secrets.token_bytes(_BYTES)
    try:
        write_whole(path, f"{_VERSION} {b64encode(key).decode('ascii')}\n".encode())
    except OSError as error:
        raise StoreError("{0}: {1}", path, strerror(error)) from error
    return AccountsKey(path, key)

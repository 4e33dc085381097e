"""What an account and a token are, and what their names may be."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from retention.recording import Json, to_text
from retention.storage.keys import PublicKey

NAME_LIMIT = 64  # characters


class AccountError(Exception):
    """An account or a token cannot be made, found or changed so; `str()` is one line for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person who logs in. `id` is never given twice, so that who is removed does not come back as another.

    `epoch` grows whenever all sessions must end. `code_until`: while a one-time code is good.
    """

    id: int
    name: str
    roles: tuple[str, ...]
    key: PublicKey | None
    language: str | None
    created_at: datetime
    last_login_at: datetime | None
    failures: int  # refused logins since the last one that was not
    enrolled: bool  # has a password
    passkeys: int  # how many it has
    epoch: int
    code_until: datetime | None

    def to_json(self) -> Json:
        """What `user list --json` says; of the key its fingerprint."""
        return {
            "name": self.name,
            "roles": list(self.roles),
            "enrolled": self.enrolled,
            "passkeys": self.passkeys,
            "code_until": self.code_until and to_text(self.code_until),
            "key": self.key and self.key.id,
            "language": self.language,
            "created_at": to_text(self.created_at),
            "last_login_at": self.last_login_at and to_text(self.last_login_at),
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a program shows in place of a login. `until`: None for no end."""

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

    def to_json(self) -> Json:
        """What `token list --json` says; of the key its fingerprint."""
        return {
            "name": self.name,
            "roles": list(self.roles),
            "key": self.key and self.key.id,
            "created_at": to_text(self.created_at),
            "until": self.until and to_text(self.until),
            "last_used_at": self.last_used_at and to_text(self.last_used_at),
            "revoked_at": self.revoked_at and to_text(self.revoked_at),
        }


def tidy(name: str) -> str:
    """A name as it is kept: NFKC, single spaces. Raises AccountError for what can be none."""
    tidied = " ".join(unicodedata.normalize("NFKC", name).split())
    if not tidied or not tidied.isprintable() or len(tidied) > NAME_LIMIT:
        raise AccountError(f"{name!r} is not a name; accepted: one line of 1 to {NAME_LIMIT} characters")
    return tidied


def folded(name: str) -> str:
    """What two names share that nobody could tell apart by case or form; of any text."""
    once = unicodedata.normalize("NFKC", name.encode("utf-8", "replace").decode()).casefold()
    return " ".join(unicodedata.normalize("NFKC", once).split())

"""Passkeys: what an authenticator signs with, in the place of a password and digits (WebAuthn).

Kept is the public half of each. Its counter only goes forward, where the authenticator has one.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from retention.accounts.account import AccountError, folded, tidy
from retention.accounts.columns import moment
from retention.accounts.database import AccountsDatabase, Row
from retention.recording import from_text, to_text

MOST_OF_ONE = 20  # passkeys of an account


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPasskey:
    """What an authenticator has made.

    `credential`: what it knows it by; `public_key`: a COSE key; `sign_count`: 0 where it does not count;
    `transports`: hints for the browser.
    """

    credential: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey(NewPasskey):
    """One of an account's, as it is kept."""

    id: int
    account: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


class CountedBack(AccountError):
    """The counter of a passkey did not go forward: somebody may have a copy of it."""


class Passkeys(AccountsDatabase):
    """The passkeys in the database; those of an account that is removed go with it."""

    def passkeys_of(self, account: int) -> list[Passkey]:
        """All of an account, the oldest first."""
        sql = "SELECT * FROM passkeys WHERE account_id = ? ORDER BY id"
        return list(map(_passkey, self._read(sql, account)))

    def passkey(self, credential: bytes) -> Passkey | None:
        """The one that an authenticator knows by this."""
        return next(
            map(_passkey, self._read("SELECT * FROM passkeys WHERE credential = ?", credential)), None
        )

    def handle_of(self, account: int) -> bytes:
        """What authenticators know the account by: random, it says nothing of the person. Raises
        AccountError."""
        rows = self._read("SELECT handle FROM accounts WHERE id = ?", account)
        if not rows:
            raise AccountError("the account was removed")
        return bytes(rows[0]["handle"])

    def passkey_name(self, account: int, name: str) -> str:
        """The name as a new passkey of the account would have it. Raises AccountError: it cannot."""
        name, there = tidy(name), self.passkeys_of(account)
        if folded(name) in {folded(one.name) for one in there}:
            raise AccountError(f"{name!r}: there is a passkey of this name")
        if len(there) >= MOST_OF_ONE:
            raise AccountError(
                f"there are {MOST_OF_ONE} passkeys already; accepted: one that is removed first"
            )
        return name

    def add_passkey(self, account: int, name: str, made: NewPasskey) -> Passkey:
        """Keep a new one. Raises AccountError for a name, or a passkey, that is there already."""
        values = {
            "credential": made.credential,
            "public_key": made.public_key,
            "sign_count": made.sign_count,
            "transports": json.dumps(made.transports),
        }
        with self.write():
            self.handle_of(account)
            name = self.passkey_name(account, name)
            if self.passkey(made.credential) is not None:
                raise AccountError("this passkey is there already")
            row = {"account_id": account, "name": name, "created_at": to_text(self._clock())}
            self._insert("passkeys", row | values)
            added = self.passkey(made.credential)
            assert added is not None
            return added

    def remove_passkey(self, account: int, id: int) -> Passkey:
        """Remove one of an account's; all its sessions end: one may have begun by it. Raises AccountError."""
        with self.write():
            found = [one for one in self.passkeys_of(account) if one.id == id]
            if not found:
                raise AccountError("the passkey was removed")
            self._run("DELETE FROM passkeys WHERE id = ?", id)
            self._change("UPDATE accounts SET epoch = epoch + 1 WHERE id = ?", account)
            return found[0]

    def _use_passkey(self, id: int, sign_count: int) -> int:
        """Note that it has signed, and its counter then; the account. Within a transaction.

        Raises AccountError, for a counter that did not go forward CountedBack.
        """
        used = (
            "UPDATE passkeys SET sign_count = ?, last_used_at = ? WHERE id = ? "
            "AND (sign_count < ? OR (sign_count = 0 AND CAST(? AS bigint) = 0))"
        )
        moved = self._run(used, sign_count, to_text(self._clock()), id, sign_count, sign_count)
        rows = self._read("SELECT account_id FROM passkeys WHERE id = ?", id)
        if not rows:
            raise AccountError("the passkey was removed")
        if moved != 1:
            raise CountedBack(
                "the passkey's counter went back: somebody may have a copy of it; accepted: another one"
            )
        return int(rows[0]["account_id"])


def _passkey(row: Row) -> Passkey:
    return Passkey(
        **{name: row[name] for name in ("id", "credential", "public_key", "sign_count", "name")},
        account=row["account_id"],
        transports=tuple(json.loads(row["transports"])),
        created_at=from_text(row["created_at"]),
        last_used_at=moment(row["last_used_at"]),
    )

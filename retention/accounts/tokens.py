"""Tokens: what programs show in place of a login."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from retention.accounts.account import AccountError, Token, folded
from retention.accounts.columns import common, key_text, moment, roles_text
from retention.accounts.credentials import new_token, token_hash
from retention.accounts.database import AccountsDatabase, Row
from retention.recording import to_text
from retention.storage.keys import PublicKey

USED_S = 60.0  # between two notes of when a token was used


class Tokens(AccountsDatabase):
    """The tokens in the database. Of one its SHA-256 is kept: it cannot be shown again."""

    def add_token(
        self, name: str, roles: Sequence[str], until: datetime | None = None, key: PublicKey | None = None
    ) -> tuple[Token, str]:
        """Make a token, and what the program shows: that is kept nowhere."""
        shown = new_token()
        if until is not None and until <= self._clock():
            raise AccountError("a token has to end in the future")
        with self.write():
            name = self._free(name)
            row: Row = {"name": name, "folded": folded(name), "hash": token_hash(shown)}
            row |= {"roles": roles_text(roles), "key": key_text(key)}
            times = {"created_at": to_text(self._clock()), "until": until and to_text(until)}
            made = self._insert("tokens", row | times)
            return _token(self._read("SELECT * FROM tokens WHERE id = ?", made)[0]), shown

    def tokens(self) -> list[Token]:
        """Every token, also those revoked, by name."""
        found = map(_token, self._read("SELECT * FROM tokens ORDER BY id"))
        return sorted(found, key=lambda one: folded(one.name))

    def revoke(self, name: str) -> Token:
        """End a token; it stays in the list."""
        with self.write():
            sql = "SELECT * FROM tokens WHERE folded = ? AND revoked_at IS NULL"
            rows = self._read(sql, self._folded(name))
            if not rows:
                raise AccountError(f"{name!r}: no such token")
            self._change(
                "UPDATE tokens SET revoked_at = ? WHERE id = ?", to_text(self._clock()), rows[0]["id"]
            )
            return _token(rows[0])

    def token(self, shown: str) -> Token | None:
        """The token that a program shows, if it is good; notes that it was used."""
        rows = self._read("SELECT * FROM tokens WHERE hash = ?", token_hash(shown))
        now = self._clock()
        if not rows or not (token := _token(rows[0])).is_good(now):
            return None
        if token.last_used_at is None or now - token.last_used_at >= timedelta(seconds=USED_S):
            with self.write():
                self._change("UPDATE tokens SET last_used_at = ? WHERE id = ?", to_text(now), token.id)
        return token


def _token(row: Row) -> Token:
    return Token(
        id=row["id"],
        name=row["name"],
        **common(row),
        until=moment(row["until"]),
        last_used_at=moment(row["last_used_at"]),
        revoked_at=moment(row["revoked_at"]),
    )

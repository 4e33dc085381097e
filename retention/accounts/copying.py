"""Takes all accounts from one database to another, with their numbers, passwords, authenticators, passkeys.

Sessions do not come along: everybody logs in again.
"""

from retention.accounts.account import AccountError
from retention.accounts.database import AccountsDatabase, Row
from retention.sqlite.tables import inserting

Everything = dict[str, list[Row]]
"""The rows of each table, as they are read."""

_COMMON = ("id", "name", "folded", "roles", "key", "created_at")
_TABLES = {  # the first column is the one that they are sorted by
    "accounts": (
        *(*_COMMON, "password", "totp", "totp_step", "language", "last_login_at"),
        *("failures", "epoch", "subject", "handle"),
    ),
    "tokens": (*_COMMON, "hash", "until", "last_used_at", "revoked_at"),
    "passkeys": (
        *("id", "account_id", "name", "credential", "public_key", "sign_count", "transports"),
        *("created_at", "last_used_at"),
    ),
    "codes": ("hash", "account_id", "until"),
}


class Copying(AccountsDatabase):
    """What is needed to take all accounts along."""

    def everything(self) -> Everything:
        """All that there is."""
        return {
            table: self._read(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]}")
            for table, columns in _TABLES.items()
        }

    def refuse_others(self, every: Everything) -> None:
        """Raises AccountError where there are accounts or tokens, and not these."""
        there = self.everything()
        if there != every and (there["accounts"] or there["tokens"]):
            raise AccountError(f"{self.where}: has other accounts; accepted: a place without any")

    def take(self, every: Everything) -> None:
        """Have all of these, and nothing else. Raises AccountError where there are others."""
        with self.write():
            self.refuse_others(every)
            if self.everything() == every:
                return
            for table, rows in every.items():
                for row in rows:
                    self._run(inserting(table, row), *self._kept_row(row))
            self._number_on()

    def _number_on(self) -> None:
        """Have new rows numbered after those that are there."""

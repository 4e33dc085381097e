"""Accounts: who may log in, how they get their password, and whether it is they."""

from collections.abc import Sequence
from datetime import timedelta

from retention.accounts.account import Account, AccountError, folded, tidy
from retention.accounts.columns import common, key_text, moment, roles_text
from retention.accounts.copying import Copying
from retention.accounts.credentials import code_hash, fits, hashed, new_code, step_of, why_not
from retention.accounts.database import Row
from retention.accounts.passkeys import Passkey, Passkeys
from retention.accounts.tokens import Tokens
from retention.recording import to_text
from retention.storage.keys import PublicKey

CODE_DAYS = 3  # for which a one-time code is good

_ACCOUNT = (
    "SELECT accounts.*, codes.until, "
    "(SELECT count(*) FROM passkeys WHERE account_id = accounts.id) AS passkeys "
    "FROM accounts LEFT JOIN codes ON codes.account_id = accounts.id"
)


class Accounts(Tokens, Passkeys, Copying):
    """All of the database: accounts, their codes and passkeys, and tokens.

    Of one host it is a `FileAccounts`, of several `SharedAccounts`. Raises StoreError where the database
    cannot be used, AccountError where what is asked for cannot be.
    """

    # --- accounts ---

    def all(self) -> list[Account]:
        """Every account, by name."""
        return sorted(map(_account, self._read(_ACCOUNT)), key=lambda one: folded(one.name))

    def are_there(self) -> bool:
        """Whether there is any account."""
        return bool(self._read("SELECT 1 FROM accounts LIMIT 1"))

    def by_id(self, id: int) -> Account | None:
        """The account, unless it was removed."""
        return next(map(_account, self._read(f"{_ACCOUNT} WHERE accounts.id = ?", id)), None)

    def named(self, name: str) -> Account | None:
        """The account of this name, in whatever case."""
        sql = f"{_ACCOUNT} WHERE accounts.folded = ?"
        return next(map(_account, self._read(sql, self._folded(name))), None)

    def meant(self, name: str) -> Account:
        """The account of this name. Raises AccountError without one."""
        found = self.named(name)
        if found is None:
            raise AccountError(f"{name!r}: no such account")
        return found

    def add(self, name: str, roles: Sequence[str], key: PublicKey | None = None) -> tuple[Account, str]:
        """Make an account, and the code by which it gets its password."""
        with self.write():
            return self._coded(self._add(name, roles, key))

    def add_first(self, name: str, roles: Sequence[str], password: str, secret: str, digits: str) -> Account:
        """Make the first account of all, with its password and authenticator at once."""
        kept, step = self._checked(password, tidy(name), secret, digits)
        with self.write():
            if self.are_there():
                raise AccountError("there is an account already")
            id = self._add(name, roles, None)
            self._equip(id, kept, secret, step)
            return self._account(id)

    def remove(self, id: int) -> None:
        """Remove an account: it logs in no more, and its sessions end."""
        with self.write():
            self._change("DELETE FROM accounts WHERE id = ?", id)

    def reset(self, id: int) -> tuple[Account, str]:
        """Take password, authenticator and passkeys away, end all sessions, and give a code for new ones."""
        with self.write():
            self._change(
                "UPDATE accounts SET password = NULL, totp = NULL, totp_step = NULL, failures = 0, "
                "epoch = epoch + 1 WHERE id = ?",
                id,
            )
            self._run("DELETE FROM passkeys WHERE account_id = ?", id)
            return self._coded(id)

    def set_roles(self, id: int, roles: Sequence[str]) -> None:
        """Give it these roles in place of those it has; they count at once."""
        with self.write():
            self._change("UPDATE accounts SET roles = ? WHERE id = ?", roles_text(roles), id)

    def set_key(self, id: int, key: PublicKey | None) -> None:
        """Set the key that the person listens with."""
        with self.write():
            self._change("UPDATE accounts SET key = ? WHERE id = ?", self._kept("key", key_text(key)), id)

    def set_language(self, id: int, language: str | None) -> None:
        """Set the language that the person reads; None: what the browser says."""
        with self.write():
            self._change("UPDATE accounts SET language = ? WHERE id = ?", language, id)

    # --- enrolment ---

    def of_code(self, code: str) -> Account | None:
        """The account that a one-time code is for, while it is good."""
        sql = f"{_ACCOUNT} WHERE codes.hash = ? AND codes.until > ?"
        return next(map(_account, self._read(sql, code_hash(code), to_text(self._clock()))), None)

    def enrol(self, code: str, password: str, secret: str, digits: str) -> Account:
        """Use a one-time code: give its account a password and an authenticator. The code ends with it."""
        account = self.of_code(code)
        if account is None:
            raise AccountError("the code is not good, or no longer")
        kept, step = self._checked(password, account.name, secret, digits)
        with self.write():
            used = "DELETE FROM codes WHERE hash = ? AND account_id = ? AND until > ?"
            values = code_hash(code), account.id, to_text(self._clock())
            if self._run(used, *values) != 1:  # somebody was faster
                raise AccountError("the code is not good, or no longer")
            self._equip(account.id, kept, secret, step)
            return self._account(account.id)

    def set_password(self, id: int, password: str) -> Account:
        """Change the password; all sessions end."""
        account = self._account(id)
        if (reason := why_not(password, account.name)) is not None:
            raise AccountError(reason)
        kept = self._kept("password", hashed(password))
        with self.write():
            self._change("UPDATE accounts SET password = ?, epoch = epoch + 1 WHERE id = ?", kept, id)
            return self._account(id)

    def set_totp(self, id: int, secret: str, digits: str) -> Account:
        """Change the authenticator, which shows these digits now; all sessions end."""
        step = self._step(secret, digits)
        with self.write():
            sql = "UPDATE accounts SET totp = ?, totp_step = ?, epoch = epoch + 1 WHERE id = ?"
            self._change(sql, self._kept("totp", secret), step, id)
            return self._account(id)

    # --- logging in ---

    def check(self, name: str, password: str, digits: str) -> Account | None:
        """The account, if all three fit, the digits for the first time.

        An unknown name takes as long as a known one. `failures` are those since the login before.
        """
        rows = self._read(
            "SELECT id, password, totp, epoch FROM accounts WHERE folded = ?", self._folded(name)
        )
        row = rows[0] if rows else {"id": None, "password": None, "totp": None}
        right = fits(password, row["password"])
        step = step_of(digits, row["totp"] or _NO_SECRET, self._clock())
        if row["id"] is None or not right or row["totp"] is None or step is None:
            self._fail(row["id"])
            return None
        with self.write():
            let_in = (
                "UPDATE accounts SET totp_step = ?, last_login_at = ? WHERE id = ? "
                "AND (totp_step IS NULL OR totp_step < ?) AND epoch = ?"  # which grows with each secret
            )
            values = step, to_text(self._clock()), row["id"], step, row["epoch"]
            if self._run(let_in, *values) != 1:  # these digits came before
                self._fail(row["id"])
                return None
            account = self._account(row["id"])  # with the failures before
            self._change("UPDATE accounts SET failures = 0 WHERE id = ?", row["id"])
            return account

    def let_in(self, passkey: Passkey, sign_count: int) -> Account:
        """The account of a passkey that has signed, its counter now at this.

        `failures` are those since the login before. Raises AccountError, for a counter that did not go
        forward CountedBack.
        """
        with self.write():
            account = self._account(self._use_passkey(passkey.id, sign_count))
            sql = "UPDATE accounts SET last_login_at = ?, failures = 0 WHERE id = ?"
            self._change(sql, to_text(self._clock()), account.id)
            return account

    def count_refused(self, id: int) -> None:
        """Count a refused login of this account, if it is still there."""
        with self.write():
            self._run("UPDATE accounts SET failures = failures + 1 WHERE id = ?", id)

    def vouched_for(self, subject: str, name: str, roles: Sequence[str]) -> Account:
        """The account of a person whom somebody else has let in as `subject`, with these roles from now on.

        It is known by the subject. For a new one it is made, or it is one of that name which nobody has used
        yet: such a one may have a key already. Raises AccountError where the name is somebody else's.
        """
        with self.write():
            id = self._of_subject(subject, name, roles)
            sql = "UPDATE accounts SET roles = ?, last_login_at = ?, failures = 0 WHERE id = ?"
            self._change(sql, roles_text(roles), to_text(self._clock()), id)
            return self._account(id)

    def _of_subject(self, subject: str, name: str, roles: Sequence[str]) -> int:
        subject = self._kept("subject", subject)
        rows = self._read("SELECT id FROM accounts WHERE subject = ?", subject)
        if not rows:
            unused = "SELECT id FROM accounts WHERE folded = ? AND subject IS NULL AND password IS NULL"
            rows = self._read(unused, self._folded(name))
            id = int(rows[0]["id"]) if rows else self._add(name, roles, None)
            self._change("UPDATE accounts SET subject = ? WHERE id = ?", subject, id)
            return id
        return int(rows[0]["id"])

    def knows_password(self, id: int, password: str) -> bool:
        """Whether it is the account's."""
        rows = self._read("SELECT password FROM accounts WHERE id = ?", id)
        return fits(password, rows[0]["password"] if rows else None)

    # --- steps ---

    def _add(self, name: str, roles: Sequence[str], key: PublicKey | None) -> int:
        name = self._free(name)
        row = {"name": name, "folded": folded(name), "roles": roles_text(roles), "key": key_text(key)}
        return self._insert("accounts", row | {"created_at": to_text(self._clock())})

    def _coded(self, id: int) -> tuple[Account, str]:
        """Give it a new one-time code; an earlier one ends."""
        code, until = new_code(), self._clock() + timedelta(days=CODE_DAYS)
        self._run("DELETE FROM codes WHERE account_id = ?", id)
        sql = "INSERT INTO codes (hash, account_id, until) VALUES (?, ?, ?)"
        self._run(sql, code_hash(code), id, to_text(until))
        return self._account(id), code

    def _checked(self, password: str, name: str, secret: str, digits: str) -> tuple[str, int]:
        """The hash of a new password, and the step of a new authenticator. Raises AccountError."""
        if (reason := why_not(password, name)) is not None:
            raise AccountError(reason)
        step = self._step(secret, digits)
        return hashed(password), step

    def _step(self, secret: str, digits: str) -> int:
        step = step_of(digits, secret, self._clock())
        if step is None:
            raise AccountError("the authenticator shows other digits now")
        return step

    def _equip(self, id: int, password: str, secret: str, step: int) -> None:
        self._change(
            "UPDATE accounts SET password = ?, totp = ?, totp_step = ?, failures = 0, epoch = epoch + 1 "
            "WHERE id = ?",
            *(self._kept("password", password), self._kept("totp", secret), step, id),
        )

    def _fail(self, id: int | None) -> None:
        """Count a refused login. None: of a name that nobody has, which takes as long."""
        table = "strangers" if id is None else "accounts"
        with self.write():
            self._change(f"UPDATE {table} SET failures = failures + 1 WHERE id = ?", id or 1)

    def _account(self, id: int) -> Account:
        found = self.by_id(id)
        if found is None:
            raise AccountError("the account was removed")
        return found


_NO_SECRET = "A" * 32  # compared with, where there is no authenticator


def _account(row: Row) -> Account:
    return Account(
        **{name: row[name] for name in ("id", "name", "language", "failures", "epoch", "passkeys")},
        **common(row),
        last_login_at=moment(row["last_login_at"]),
        enrolled=row["password"] is not None,
        code_until=moment(row["until"]),
    )

"""Accounts: makes and changes them, gives them passwords, and checks logins; over either database.

They are apart from the rows of calls, so that they are in no backup of ours: who was removed must not
come back with one. Where they are is for `file` and `shared`.

**Tokens** are what programs show in place of a login.

**Passkeys** are what an authenticator signs with, in the place of a password and digits (WebAuthn). Kept
is the public half of each. Its counter only goes forward, where the authenticator has one.

**Copying** takes all accounts from one database to another, with their numbers, passwords,
authenticators, passkeys. Sessions do not come along: everybody logs in again.

**Memory** is what pages know of who is there and who tries: sessions, refused attempts, what was used once,
what the next page says. Where there is one page it is in its memory (`file.in_memory`): a restart ends all
sessions. Pages of several hosts share it, in tables that no log and no standby has.
"""

import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from retention.accounts.credentials import (
    HIDDEN,
    Account,
    AccountError,
    Hiding,
    Token,
    code_hash,
    common_columns,
    fits,
    folded,
    hashed,
    key_text,
    moment,
    new_code,
    new_token,
    roles_text,
    step_of,
    tidy,
    token_hash,
    why_not,
)
from retention.records import from_text, to_text
from retention.rows.pages import inserting
from retention.rows.rows import StoreError
from retention.texts import Reason
from retention.vault import PublicKey

Row = dict[str, Any]
COUNTING_TURN = 7_364_003  # the advisory lock of who counts
_ALL = 1 << 40  # rows: SQLite takes no OFFSET without a LIMIT

MEMORY_TABLES = (
    # a challenge may be answered once, whatever crashes meanwhile
    "CREATE TABLE used_challenges (name {blob} PRIMARY KEY, until double precision NOT NULL)",
    "CREATE {unlogged} TABLE sessions (name {blob} PRIMARY KEY, account {integer} NOT NULL, "
    "epoch {integer} NOT NULL, began {text} NOT NULL, seen {text} NOT NULL)",
    "CREATE {unlogged} TABLE told (whom {blob} PRIMARY KEY, text {text} NOT NULL{at})",
    "CREATE {unlogged} TABLE attempts (kind {text} NOT NULL, key {blob} NOT NULL, "
    "refused {integer} NOT NULL, last double precision NOT NULL, PRIMARY KEY (kind, key))",
    "CREATE INDEX attempts_by_age ON attempts (kind, last)",
)


class AccountRows(Protocol):
    """A database of accounts, for any thread; placeholders are `?`. Methods raise StoreError."""

    def close(self) -> None: ...

    def transaction(self, lock: int) -> AbstractContextManager[object]:
        """One transaction, in which nobody else has this lock; within another one a part of it."""

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a statement."""

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement; how many rows it has changed."""


@dataclass(frozen=True, slots=True)
class Session:
    """Of which account it is, by its id and its `epoch` then; `seen`: the last time that somebody did
    something."""

    account: int
    epoch: int
    began: datetime
    seen: datetime


@dataclass(frozen=True, slots=True)
class Tried:
    """How often something was refused, and when last, by the clock of the memory's `turn`."""

    refused: int
    last: float


class Memory:
    """Any thread. Sessions are known by the SHA-256 of their id: who reads this cannot show the id. Names and
    addresses that are tried are hashed under `secret`, and what a page is to say is hidden.

    `seconds`: a clock that never goes back; `over`: the condition of texts that nobody came back for. Methods
    raise StoreError where it is in a database, TryAgain where that does not answer.
    """

    def __init__(
        self, rows: AccountRows, secret: bytes, hiding: Hiding, seconds: Callable[[], float], over: str
    ) -> None:
        self._rows = rows
        self._secret = secret
        self._hiding = hiding
        self._seconds = seconds
        self._over = over

    def add_session(self, name: bytes, session: Session) -> None:
        """Keep a new one."""
        sql = "INSERT INTO sessions (name, account, epoch, began, seen) VALUES (?, ?, ?, ?, ?)"
        times = to_text(session.began), to_text(session.seen)
        self._rows.run(sql, (name, session.account, session.epoch, *times))

    def session(self, name: bytes) -> Session | None:
        """The one of this name."""
        found = self._rows.read("SELECT account, epoch, began, seen FROM sessions WHERE name = ?", [name])
        if not found:
            return None
        (row,) = found
        return Session(row["account"], row["epoch"], from_text(row["began"]), from_text(row["seen"]))

    def saw(self, name: bytes, at: datetime) -> None:
        """Note that somebody did something, if it is still there."""
        self._rows.run("UPDATE sessions SET seen = ? WHERE name = ?", [to_text(at), name])

    def end_session(self, name: bytes) -> None:
        """Forget it, if it is still there."""
        self._rows.run("DELETE FROM sessions WHERE name = ?", [name])

    def end_sessions(self, began: datetime, seen: datetime) -> None:
        """Forget all that began, or were seen, no later than that."""
        sql = "DELETE FROM sessions WHERE began <= ? OR seen <= ?"
        self._rows.run(sql, [to_text(began), to_text(seen)])

    def keep_newest(self, account: int | None, most: int) -> None:
        """Forget the oldest beyond so many, of an account or of all."""
        of, values = ("", []) if account is None else ("WHERE account = ? ", [account])
        oldest = f"SELECT name FROM sessions {of}ORDER BY began DESC, name LIMIT {_ALL} OFFSET ?"
        self._rows.run(f"DELETE FROM sessions WHERE name IN ({oldest})", [*values, most])

    @contextmanager
    def turn(self) -> Iterator[float]:
        """While nobody else counts; the seconds of its clock."""
        with self._rows.transaction(COUNTING_TURN):
            yield self._seconds()

    def tried(self, kind: str, key: bytes) -> Tried | None:
        """The count of this key, within a turn."""
        sql = "SELECT refused, last FROM attempts WHERE kind = ? AND key = ?"
        return next((Tried(**row) for row in self._rows.read(sql, [kind, self._hashed(key)])), None)

    def keep_tried(self, kind: str, key: bytes, tried: Tried, most: int) -> None:
        """Count it so, within a turn; the oldest of its kind go, beyond so many."""
        sql = (
            "INSERT INTO attempts (kind, key, refused, last) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET refused = EXCLUDED.refused, last = EXCLUDED.last"
        )
        self._rows.run(sql, (kind, self._hashed(key), tried.refused, tried.last))
        oldest = f"SELECT key FROM attempts WHERE kind = ? ORDER BY last DESC LIMIT {_ALL} OFFSET ?"
        self._rows.run(f"DELETE FROM attempts WHERE kind = ? AND key IN ({oldest})", (kind, kind, most))

    def forget_tried(self, kind: str, key: bytes) -> None:
        """Count nothing of it any more, within a turn."""
        self._rows.run("DELETE FROM attempts WHERE kind = ? AND key = ?", [kind, self._hashed(key)])

    def use_up(self, name: bytes, until: float, now: float, most: int) -> bool:
        """Whether it is used for the first time, and there were fewer than so many; remembered `until`.
        Both times are seconds since the epoch."""
        with self._rows.transaction(COUNTING_TURN):
            self._rows.run("DELETE FROM used_challenges WHERE until <= ?", [now])
            (counted,) = self._rows.read("SELECT count(*) AS used FROM used_challenges")
            if counted["used"] >= most:
                return False
            sql = "INSERT INTO used_challenges (name, until) VALUES (?, ?) ON CONFLICT DO NOTHING"
            return self._rows.run(sql, [name, until]) == 1

    def tell(self, whom: str, text: str) -> None:
        """Keep what the next page of a session says, in place of what was kept; `whom`: what its forms
        carry."""
        self._rows.run(f"DELETE FROM told WHERE {self._over}")
        key = self._hashed(whom.encode())
        self._rows.run("DELETE FROM told WHERE whom = ?", [key])
        sql = "INSERT INTO told (whom, text) VALUES (?, ?) ON CONFLICT (whom) DO UPDATE SET text = "
        self._rows.run(f"{sql}EXCLUDED.text", [key, self._hiding.kept("text", text)])

    def told(self, whom: str) -> str | None:
        """The message for a session's next page; it is given once."""
        sql = "DELETE FROM told WHERE whom = ? RETURNING text"
        found = self._rows.read(sql, [self._hashed(whom.encode())])
        return self._hiding.shown(found[0]["text"]) if found else None

    def _hashed(self, key: bytes) -> bytes:
        """So that nobody who reads the database finds out whose name or address it is."""
        return hmac.digest(self._secret, key, "sha256")


TURN = 7_364_002  # the advisory lock of who changes accounts

TABLES = (
    "CREATE TABLE accounts ({number}, name {text} NOT NULL, folded {text} NOT NULL UNIQUE, "
    "roles {text} NOT NULL, password {text}, totp {text}, totp_step {integer}, key {text}, language {text}, "
    "created_at {text} NOT NULL, last_login_at {text}, failures {integer} NOT NULL DEFAULT 0, "
    "epoch {integer} NOT NULL DEFAULT 0, subject {text} UNIQUE, handle {blob} NOT NULL DEFAULT {handle})",
    "CREATE TABLE codes (hash {text} PRIMARY KEY, {account} UNIQUE, until {text} NOT NULL)",
    "CREATE TABLE tokens ({number}, name {text} NOT NULL, folded {text} NOT NULL, "
    "hash {text} NOT NULL UNIQUE, roles {text} NOT NULL, key {text}, created_at {text} NOT NULL, "
    "until {text}, last_used_at {text}, revoked_at {text})",
    "CREATE UNIQUE INDEX tokens_in_use ON tokens (folded) WHERE revoked_at IS NULL",
    "CREATE TABLE passkeys ({number}, {account}, credential {blob} NOT NULL UNIQUE, "
    "public_key {blob} NOT NULL, sign_count {integer} NOT NULL, name {text} NOT NULL, "
    "transports {text} NOT NULL, created_at {text} NOT NULL, last_used_at {text})",
    "CREATE INDEX passkeys_by_account ON passkeys (account_id)",
    "CREATE TABLE strangers (id {integer} PRIMARY KEY, failures {integer} NOT NULL)",
    "INSERT INTO strangers (id, failures) VALUES (1, 0)",
)
"""Ids (`number`) are never given again: a session knows its account by it.

`subject` is who somebody is to an OpenID Connect issuer (`ISSUER SUBJECT`), which never changes, as a name
may; `handle`, random, is what authenticators know an account by. In `strangers` logins of unknown names are
counted, so that they cost what others do. Codes and passkeys go with their `account`.
"""


class AccountsDatabase(ABC):
    """Safe from several threads. Each write is one short transaction. Raises StoreError where the database
    cannot be used, TryAgain where it does not answer.

    `where`: what people call it. `memory`: what the pages remember of who is there. `secret`: 32 bytes that
    all of them know, and nobody else.
    """

    def __init__(
        self,
        where: str,
        rows: AccountRows,
        clock: Callable[[], datetime],
        *,
        hiding: Hiding,
        memory: Memory,
        secret: bytes,
    ) -> None:
        self.where = where
        self._db = rows
        self._clock = clock
        self._hiding = hiding
        self.memory = memory
        self.secret = secret

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    @abstractmethod
    def moved_to(self) -> str | None:
        """The place that its accounts have moved to; nothing is changed here then."""

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is changed inside, by one at a time; an exception undoes all of it."""
        with self._db.transaction(TURN):
            self._refuse_moved()
            yield

    def _refuse_moved(self) -> None:
        """Raises StoreError: nobody would look here for what is changed."""
        if (to := self.moved_to()) is not None:
            raise StoreError(
                "{0}: its accounts have moved to {1}; accepted: a configuration that names that",
                self.where,
                to,
            )

    def _read(self, sql: str, *values: object) -> list[Row]:
        """The rows of a query."""
        found = self._db.read(sql, values)
        return [{name: self._shown(name, value) for name, value in row.items()} for row in found]

    def _run(self, sql: str, *values: object) -> int:
        """Run a statement within a transaction; how many rows it has changed."""
        return self._db.run(sql, values)

    def _insert(self, table: str, row: Row) -> int:
        """Add a row to a table that numbers them; its number. `row` is as it is read."""
        (made,) = self._db.read(f"{inserting(table, row)} RETURNING id", self._kept_row(row))
        return int(made["id"])

    def _kept_row(self, row: Row) -> list[Any]:
        """Its values as they are kept."""
        return [self._kept(name, value) for name, value in row.items()]

    def _kept(self, column: str, value: Any) -> Any:
        """A value as it is kept, and compared with."""
        return self._hiding.kept(column, value) if column in HIDDEN and value is not None else value

    def _shown(self, column: str, value: Any) -> Any:
        return self._hiding.shown(value) if column in HIDDEN and value is not None else value

    def _folded(self, name: str) -> str:
        """The form of a name by which accounts and tokens are found."""
        return str(self._kept("folded", folded(name)))

    def _change(self, sql: str, *values: object) -> None:
        """Change the one row that is meant. Raises AccountError if it is gone."""
        if self._run(sql, *values) != 1:
            raise AccountError("the account was removed")

    def _free(self, name: str) -> str:
        """The name as it is kept. Raises AccountError if a person has it, or a program whose token is good:
        both stand in the trace."""
        name = tidy(name)
        for table, among, taken in (
            ("accounts", "", Reason("{0!r}: there is an account of this name", name)),
            ("tokens", " AND revoked_at IS NULL", Reason("{0!r}: there is a token of this name", name)),
        ):
            if self._read(f"SELECT 1 FROM {table} WHERE folded = ?{among}", self._folded(name)):
                raise AccountError(taken)
        return name


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
                raise AccountError("{0!r}: no such token", name)
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
        **common_columns(row),
        until=moment(row["until"]),
        last_used_at=moment(row["last_used_at"]),
        revoked_at=moment(row["revoked_at"]),
    )


MOST_OF_ONE = 20  # passkeys of an account


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPasskey:
    """A passkey as an authenticator has made it.

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
        """The random id by which authenticators know the account. Raises AccountError."""
        rows = self._read("SELECT handle FROM accounts WHERE id = ?", account)
        if not rows:
            raise AccountError("the account was removed")
        return bytes(rows[0]["handle"])

    def passkey_name(self, account: int, name: str) -> str:
        """The name as a new passkey of the account would have it. Raises AccountError: it cannot."""
        name, there = tidy(name), self.passkeys_of(account)
        if folded(name) in {folded(one.name) for one in there}:
            raise AccountError("{0!r}: there is a passkey of this name", name)
        if len(there) >= MOST_OF_ONE:
            raise AccountError(
                "there are {0} passkeys already; accepted: one that is removed first", MOST_OF_ONE
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
    """Copies all accounts from one database to another."""

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
            raise AccountError("{0}: has other accounts; accepted: a place without any", self.where)

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

    def who_can_log_in(self) -> set[int]:
        """The ids of those who have a password and an authenticator, or a passkey, or come by an issuer."""
        able = "password IS NOT NULL AND totp IS NOT NULL OR subject IS NOT NULL"
        sql = f"SELECT id FROM accounts WHERE {able} OR id IN (SELECT account_id FROM passkeys)"
        return {row["id"] for row in self._read(sql)}

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
            raise AccountError("{0!r}: no such account", name)
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

    def rename(self, id: int, name: str) -> None:
        """Give it another name, under which somebody else may have acted before: so it counts from now on."""
        now = to_text(self._clock())
        with self.write():
            if folded(name) != folded(self._account(id).name):
                self._free(name)
            sql = "UPDATE accounts SET name = ?, folded = ?, created_at = ? WHERE id = ?"
            kept = (
                self._kept(column, value)
                for column, value in (("name", tidy(name)), ("folded", folded(name)))
            )
            self._change(sql, *kept, now, id)

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
        **common_columns(row),
        last_login_at=moment(row["last_login_at"]),
        enrolled=row["password"] is not None,
        code_until=moment(row["until"]),
    )

"""The tables of accounts, as a list of numbered steps. A released step never changes."""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("sipagent-accounts")


@MIGRATIONS(name="0001_accounts")
def _first(db: Database) -> None:
    """Ids are never given again (AUTOINCREMENT): a session knows its account by it.

    `subject` is who somebody is to an OpenID Connect issuer (`ISSUER SUBJECT`), which never changes, as a
    name may; `handle`, random, is what authenticators know an account by. In `strangers` logins of unknown
    names are counted, so that they cost what others do.
    """
    for statement in (
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "folded TEXT NOT NULL UNIQUE, roles TEXT NOT NULL, password TEXT, totp TEXT, totp_step INTEGER, "
        "key TEXT, language TEXT, created_at TEXT NOT NULL, last_login_at TEXT, "
        "failures INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0, "
        "subject TEXT UNIQUE, handle BLOB NOT NULL DEFAULT (randomblob(32)))",
        "CREATE TABLE codes (hash TEXT PRIMARY KEY, account_id INTEGER NOT NULL UNIQUE, until TEXT NOT NULL)",
        "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "folded TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, roles TEXT NOT NULL, key TEXT, "
        "created_at TEXT NOT NULL, until TEXT, last_used_at TEXT, revoked_at TEXT)",
        "CREATE UNIQUE INDEX tokens_in_use ON tokens (folded) WHERE revoked_at IS NULL",
        "CREATE TABLE passkeys (id INTEGER PRIMARY KEY AUTOINCREMENT, account_id INTEGER NOT NULL, "
        "credential BLOB NOT NULL UNIQUE, public_key BLOB NOT NULL, sign_count INTEGER NOT NULL, "
        "name TEXT NOT NULL, transports TEXT NOT NULL, created_at TEXT NOT NULL, last_used_at TEXT)",
        "CREATE INDEX passkeys_by_account ON passkeys (account_id)",
        "CREATE TABLE strangers (id INTEGER PRIMARY KEY, failures INTEGER NOT NULL)",
        "INSERT INTO strangers (id, failures) VALUES (1, 0)",
        "CREATE TRIGGER accounts_removed AFTER DELETE ON accounts BEGIN "
        "DELETE FROM codes WHERE account_id = OLD.id; DELETE FROM passkeys WHERE account_id = OLD.id; END",
    ):
        db.execute(statement)

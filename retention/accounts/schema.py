"""The tables of accounts, as a list of numbered steps. A released step never changes."""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("sipagent-accounts")
STEPS = ("0001_accounts_codes_tokens", "0002_subjects", "0003_passkeys")
"""All that this program knows."""


@MIGRATIONS(name=STEPS[0])
def _first(db: Database) -> None:
    """Ids are never given again (AUTOINCREMENT): a session knows its account by it.

    In `strangers` logins of unknown names are counted, so that they cost what others do.
    """
    for statement in (
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "folded TEXT NOT NULL UNIQUE, roles TEXT NOT NULL, password TEXT, totp TEXT, totp_step INTEGER, "
        "key TEXT, language TEXT, created_at TEXT NOT NULL, last_login_at TEXT, "
        "failures INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0)",
        "CREATE TABLE codes (hash TEXT PRIMARY KEY, account_id INTEGER NOT NULL UNIQUE, until TEXT NOT NULL)",
        "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "folded TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, roles TEXT NOT NULL, key TEXT, "
        "created_at TEXT NOT NULL, until TEXT, last_used_at TEXT, revoked_at TEXT)",
        "CREATE UNIQUE INDEX tokens_in_use ON tokens (folded) WHERE revoked_at IS NULL",
        "CREATE TABLE strangers (id INTEGER PRIMARY KEY, failures INTEGER NOT NULL)",
        "INSERT INTO strangers (id, failures) VALUES (1, 0)",
        "CREATE TRIGGER accounts_removed AFTER DELETE ON accounts "
        "BEGIN DELETE FROM codes WHERE account_id = OLD.id; END",
    ):
        db.execute(statement)


@MIGRATIONS(name=STEPS[1])
def _second(db: Database) -> None:
    """Who somebody is to an OpenID Connect issuer: `ISSUER SUBJECT`, which never changes, as a name may."""
    db.execute("ALTER TABLE accounts ADD COLUMN subject TEXT")
    db.execute("CREATE UNIQUE INDEX accounts_by_subject ON accounts (subject) WHERE subject IS NOT NULL")


@MIGRATIONS(name=STEPS[2])
def _third(db: Database) -> None:
    """Passkeys, and `handle`: what authenticators know an account by."""
    for statement in (
        "CREATE TABLE passkeys (id INTEGER PRIMARY KEY AUTOINCREMENT, account_id INTEGER NOT NULL, "
        "credential BLOB NOT NULL UNIQUE, public_key BLOB NOT NULL, sign_count INTEGER NOT NULL, "
        "name TEXT NOT NULL, transports TEXT NOT NULL, created_at TEXT NOT NULL, last_used_at TEXT)",
        "CREATE INDEX passkeys_by_account ON passkeys (account_id)",
        "CREATE TRIGGER passkeys_removed AFTER DELETE ON accounts "
        "BEGIN DELETE FROM passkeys WHERE account_id = OLD.id; END",
        "ALTER TABLE accounts ADD COLUMN handle BLOB",
        "UPDATE accounts SET handle = randomblob(32)",
        "CREATE TRIGGER accounts_added AFTER INSERT ON accounts "
        "BEGIN UPDATE accounts SET handle = randomblob(32) WHERE id = NEW.id; END",
    ):
        db.execute(statement)

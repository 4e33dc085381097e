"""The tables, as a list of numbered steps. A released step never changes: a new one is added below it."""

from functools import cache
from typing import cast

from sqlite_utils import Database
from sqlite_utils.db import Table
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("sipagent")


@MIGRATIONS(name="0001_receipts_recordings_accesses")
def _first(db: Database) -> None:
    """One column for each JSON field; `notice`, `pauses`, `hold` and `events` hold JSON text."""
    _table(db, "receipts").create(
        {
            "id": str,
            "call_id": str,
            "started_at": str,
            "answered_at": str,
            "connected_at": str,
            "ended_at": str,
            "caller": str,
            "called": str,
            "operator": str,
            "outcome": str,
            "decision": str,
            "decided_by": str,
            "decided_at": str,
            "phase": str,
            "dtmf_method": str,
            "keyword": str,
            "confidence": float,
            "notice_played_ms": int,
            "events": str,
            "recording_id": str,
        },
        pk="id",
        not_null={"id", "started_at", "decision"},
    )
    _table(db, "recordings").create(
        {
            "id": str,
            "call_id": str,
            "started_at": str,
            "ended_at": str,
            "duration_s": float,
            "caller": str,
            "called": str,
            "operator": str,
            "status": str,
            "incomplete": int,
            "decision": str,
            "notice": str,
            "channels": int,
            "sample_rate": int,
            "path": str,
            "bytes": int,
            "sha256": str,
            "pauses": str,
            "flagged": int,
            "expires_at": str,
            "hold": str,
            "purged_at": str,
        },
        pk="id",
        not_null={"id", "started_at", "expires_at", "status"},
    )
    _table(db, "accesses").create(
        {
            "id": int,
            "at": str,
            "action": str,
            "recording_id": str,
            "purpose": str,
            "by": str,
            "system_user": str,
            "reference": str,
            "outcome": str,
            "detail": str,
        },
        pk="id",
        not_null={"at", "action", "outcome"},
    )
    _table(db, "receipts").create_index(["started_at"])
    _table(db, "receipts").create_index(["recording_id"])
    _table(db, "recordings").create_index(["started_at"])
    _table(db, "recordings").create_index(["status"])
    _table(db, "accesses").create_index(["recording_id"])


@MIGRATIONS(name="0002_chain_holds_notes_clock")
def _second(db: Database) -> None:
    """The chain, and for each row in it the salt of its personal fields and the entry of its present state.

    Older rows get their entries when the store opens. The database itself refuses what a crash, a bug or a
    person in a hurry must never do.
    """
    _table(db, "chain").create(
        {
            "seq": int,
            "at": str,
            "kind": str,
            "subject": str,
            "was": int,
            "personal": str,
            "public": str,
            "hash": str,
        },
        pk="seq",
        not_null={"at", "kind", "subject", "was", "personal", "public", "hash"},
    )
    _table(db, "notes").create(
        {"id": int, "recording_id": str, "at": str, "by": str, "text": str, "expires_at": str},
        pk="id",
        not_null={"recording_id", "at", "expires_at"},
    )
    _table(db, "clock").create({"id": int, "seen": str, "suspended": str}, pk="id")
    for name in ("receipts", "recordings", "accesses", "notes"):
        _table(db, name).add_column("salt", str)
        _table(db, name).add_column("chain_seq", int)
    _table(db, "receipts").add_column("expires_at", str)
    for statement in (*_INDEXES, *_GUARDS):
        db.execute(statement)


@MIGRATIONS(name="0003_in_progress")
def _third(db: Database) -> None:
    """Which worker has which call: see `progress`. Not part of the chain, and has no names."""
    _table(db, "in_progress").create({"id": str, "worker": int}, pk="id", not_null={"id", "worker"})
    for statement in _ENDS:
        db.execute(statement)


@MIGRATIONS(name="0004_sums")
def _fourth(db: Database) -> None:
    """Calls that are counted together: see `rejected`. How many receipts an hour has is not part of the
    chain."""
    _table(db, "sums").create(
        {
            "id": int,
            "what": str,
            "count": int,
            "from_at": str,
            "until_at": str,
            "code": int,
            "by": str,
            "salt": str,
            "chain_seq": int,
        },
        pk="id",
        not_null={"what", "count", "from_at", "until_at"},
    )
    _table(db, "rejected").create({"id": int, "hour": str, "receipts": int}, pk="id")
    for statement in _SUMS_STAY:
        db.execute(statement)


@MIGRATIONS(name="0005_logins")
def _fifth(db: Database) -> None:
    """Who was logged in, and the way it came. What is null is not in the chain: rows of before stay as they
    are told. What one asks for and another approves. And indexes, so that a page lists by any filter what it
    shows, and reads nothing else."""
    for name in ("login", "via"):
        _table(db, "accesses").add_column(name, str)
    _table(db, "approvals").create(
        {
            "id": int,
            "at": str,
            "action": str,
            "recording_id": str,
            "by": str,
            "ground": str,
            "reference": str,
            "review": str,
            "purpose": str,
            "channel": str,
            "reason": str,
            "state": str,
            "decided_at": str,
            "decided_by": str,
            "answer": str,
            "salt": str,
            "chain_seq": int,
        },
        pk="id",
        not_null={"at", "action", "recording_id", "state"},
    )
    for statement in (*_OF_FILTERS, *_OF_APPROVALS, *_FOUR_EYES):
        db.execute(statement)


@MIGRATIONS(name="0006_objects")
def _sixth(db: Database) -> None:
    """Where bytes lie in a store of objects: see `objects`. Not part of the chain, and has no names."""
    _table(db, "objects").create(
        {
            "put": str,
            "name": str,
            "id": str,
            "kind": str,
            "version": str,
            "bytes": int,
            "sha256": str,
            "state": str,
            "held": int,
            "at": str,
            "since": str,
            "told": int,
        },
        pk="put",
        not_null={"name", "id", "kind", "bytes", "state", "held", "at", "told"},
    )
    for statement in _OF_OBJECTS:
        db.execute(statement)


@MIGRATIONS(name="0007_operators")
def _seventh(db: Database) -> None:
    """Who talked with the caller, where that was more than one. What is null is not in the chain."""
    for table in ("receipts", "recordings"):
        _table(db, table).add_column("operators", str)
        db.execute(
            f"CREATE INDEX {table}_by_operators ON {table} (operators, started_at, id) "
            "WHERE operators IS NOT NULL"
        )


# indexes for what is read often: few rows beside the tombstones and forgotten receipts kept forever
_INDEXES = (
    "DROP INDEX idx_receipts_started_at",
    "DROP INDEX idx_recordings_started_at",
    "CREATE INDEX receipts_by_time ON receipts (started_at, id)",
    "CREATE INDEX receipts_personal ON receipts (started_at, id) WHERE salt IS NOT NULL",
    "CREATE INDEX receipts_expiring ON receipts (expires_at, id) WHERE salt IS NOT NULL",
    "CREATE INDEX receipts_open ON receipts (started_at, id) WHERE ended_at IS NULL",
    "CREATE INDEX receipts_by_caller ON receipts (caller, started_at, id) WHERE caller IS NOT NULL",
    "CREATE INDEX recordings_by_time ON recordings (started_at, id)",
    "CREATE INDEX recordings_kept ON recordings (started_at, id) WHERE purged_at IS NULL",
    "CREATE INDEX recordings_expiring ON recordings (expires_at, id) WHERE purged_at IS NULL",
    "CREATE INDEX recordings_held ON recordings (started_at, id) WHERE hold IS NOT NULL",
    "CREATE INDEX recordings_by_caller ON recordings (caller, started_at, id) WHERE caller IS NOT NULL",
    "CREATE INDEX notes_of_recordings ON notes (recording_id)",
    "CREATE INDEX notes_personal ON notes (id) WHERE salt IS NOT NULL",
    "CREATE INDEX accesses_personal ON accesses (id) WHERE salt IS NOT NULL",
    "CREATE INDEX chain_firsts ON chain (kind) WHERE was = 0",
)
_OF_FILTERS = (
    "DROP INDEX idx_recordings_status",
    "CREATE INDEX recordings_by_status ON recordings (status, started_at, id)",
    "CREATE INDEX recordings_flagged ON recordings (started_at, id) WHERE flagged = 1",
    "CREATE INDEX receipts_by_outcome ON receipts (outcome, started_at, id) WHERE outcome IS NOT NULL",
    "CREATE INDEX receipts_by_decision ON receipts (decision, started_at, id)",
    *(
        f"CREATE INDEX {table}_by_{name} ON {table} ({key}, started_at, id){where}"
        for table in ("receipts", "recordings")
        for name, key, where in (
            ("operator", "operator", " WHERE operator IS NOT NULL"),
            ("reference", "substr(id, -7)", ""),
        )
    ),
    *(
        f"CREATE INDEX {table}_by_end ON {table} (substr(caller, -4), caller) WHERE caller IS NOT NULL"
        for table in ("receipts", "recordings")
    ),
)
_OF_APPROVALS = (
    "CREATE INDEX approvals_of_recordings ON approvals (recording_id)",
    "CREATE INDEX approvals_pending ON approvals (id) WHERE state = 'pending'",
    "CREATE INDEX approvals_personal ON approvals (id) WHERE salt IS NOT NULL",
)

_OF_OBJECTS = (
    "CREATE INDEX objects_of_recordings ON objects (id)",
    "CREATE INDEX objects_removing ON objects (since, id) WHERE state = 'removing'",
    "CREATE INDEX objects_held ON objects (id, name) WHERE held = 1",
    "CREATE INDEX objects_untold ON objects (at) WHERE told = 0",
    "CREATE INDEX objects_by_name ON objects (name)",
)


def _stays(table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_stay BEFORE DELETE ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never deleted'); END"
    )


def _comes_once(table: str, key: str) -> str:
    """INSERT OR REPLACE removes a row without firing the triggers of DELETE and UPDATE."""
    return (
        f"CREATE TRIGGER {table}_come_once BEFORE INSERT ON {table} "
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key}) "
        f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never replaced: this one is there'); END"
    )


_KEYS = {**dict.fromkeys(("receipts", "recordings", "accesses", "notes"), "id"), "chain": "seq"}
_REFUSED = "EXISTS (SELECT 1 FROM receipts WHERE id = OLD.id AND decision = 'refused')"
_GUARDS = (
    # a legal hold keeps the recording, but not against the caller's refusal: it came first
    f"""CREATE TRIGGER held_recordings_stay BEFORE UPDATE ON recordings
        WHEN OLD.hold IS NOT NULL AND (NEW.status <> OLD.status OR NEW.purged_at IS NOT NULL)
        AND NOT (NEW.status = 'erased' AND {_REFUSED})
        BEGIN SELECT RAISE(ABORT, 'the recording is on hold'); END""",
    "CREATE TRIGGER chain_grows BEFORE UPDATE ON chain "
    "BEGIN SELECT RAISE(ABORT, 'the chain only grows'); END",
    *(_stays(table) for table in _KEYS),
    *(_comes_once(table, key) for table, key in _KEYS.items()),
)
_SUMS_STAY = (_stays("sums"), _comes_once("sums", "id"))
# a call is in progress until its receipt has ended and its recording is in its final state: closed, or erased
# if the caller refused. This holds whichever program writes that, and in either order.
_ENDS = (
    """CREATE TRIGGER receipts_end_calls AFTER UPDATE ON receipts WHEN NEW.ended_at IS NOT NULL
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); END""",
    """CREATE TRIGGER recordings_end_calls AFTER UPDATE ON recordings WHEN NEW.status <> 'open'
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND EXISTS
        (SELECT 1 FROM receipts WHERE id = NEW.id AND ended_at IS NOT NULL
        AND NOT (decision = 'refused' AND NEW.status = 'closed')); END""",
)
_FOUR_EYES = (
    _stays("approvals"),
    _comes_once("approvals", "id"),
    """CREATE TRIGGER approvals_are_of_another BEFORE UPDATE ON approvals
        WHEN NEW.state IN ('approved', 'used') AND NEW.decided_by = NEW.by
        BEGIN SELECT RAISE(ABORT, 'nobody approves what they asked for'); END""",
    """CREATE TRIGGER approvals_are_decided_once BEFORE UPDATE ON approvals
        WHEN OLD.state <> NEW.state AND OLD.state <> 'pending'
        AND NOT (OLD.state = 'approved' AND OLD.action = 'export' AND NEW.state = 'used')
        BEGIN SELECT RAISE(ABORT, 'this was decided already'); END""",
    """CREATE TRIGGER approvals_are_asked_for BEFORE INSERT ON approvals WHEN NEW.state <> 'pending'
        BEGIN SELECT RAISE(ABORT, 'nothing is decided before it was asked for'); END""",
)
GUARDS = (*_GUARDS, *_ENDS, *_SUMS_STAY, *_FOUR_EYES)


def unknown_migrations(db: Database) -> list[str]:
    """Steps that the database has taken and this program does not know."""
    return [step.name for step in MIGRATIONS.applied(db) if step.name not in _known_steps()]


@cache
def _known_steps() -> frozenset[str]:
    with Database(memory=True) as empty:  # where all steps are still pending
        return frozenset(step.name for step in MIGRATIONS.pending(empty))


def _table(db: Database, name: str) -> Table:
    return cast(Table, db[name])

"""The tables in SQLite, as numbered steps. A released step never changes: a new one is added below it.

The database itself refuses what a crash, a bug or a person in a hurry must never do (`GUARDS`).
"""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("sipagent")


def _table(name: str, *columns: str) -> str:
    return f"CREATE TABLE {name} ({', '.join(columns)})"


def _texts(*names: str) -> tuple[str, ...]:
    return tuple(f'"{name}" TEXT' for name in names)


def _there(*names: str) -> tuple[str, ...]:
    return tuple(f'"{name}" TEXT NOT NULL' for name in names)


_ID = "id TEXT PRIMARY KEY NOT NULL"
_NUMBER = "id INTEGER PRIMARY KEY"
# the salt of what leads to a person, and the entry of the row's present state
_CHAINED = (*_texts("salt"), "chain_seq INTEGER")

# a column for each JSON field; `notice`, `pauses`, `hold`, `events` and `operators` hold JSON text
_TABLES = (
    _table(
        "receipts",
        _ID,
        *_there("started_at", "decision"),
        *_texts("call_id", "answered_at", "connected_at", "ended_at", "caller", "called", "operator"),
        *_texts("operators", "outcome", "decided_by", "decided_at", "phase", "dtmf_method", "keyword"),
        *_texts("events", "recording_id", "expires_at"),
        "confidence REAL",
        "notice_played_ms INTEGER",
        *_CHAINED,
    ),
    _table(
        "recordings",
        _ID,
        *_there("started_at", "expires_at", "status"),
        *_texts("call_id", "ended_at", "caller", "called", "operator", "operators", "decision", "notice"),
        *_texts("path", "sha256", "pauses", "hold", "purged_at"),
        "duration_s REAL",
        *(f"{name} INTEGER" for name in ("incomplete", "channels", "sample_rate", "bytes", "flagged")),
        *_CHAINED,
    ),
    _table(
        "accesses",
        _NUMBER,
        *_there("at", "action", "outcome"),
        *_texts("recording_id", "purpose", "by", "system_user", "reference", "detail", "login", "via"),
        *_CHAINED,
    ),
    _table("notes", _NUMBER, *_there("recording_id", "at", "expires_at"), *_texts("by", "text"), *_CHAINED),
    _table(
        "sums",
        _NUMBER,
        *_there("what", "from_at", "until_at"),
        "count INTEGER NOT NULL",
        "code INTEGER",
        *_texts("by"),
        *_CHAINED,
    ),
    _table(
        "approvals",
        _NUMBER,
        *_there("at", "action", "recording_id", "state"),
        *_texts("by", "ground", "reference", "review", "purpose", "channel", "reason"),
        *_texts("decided_at", "decided_by", "answer"),
        *_CHAINED,
    ),
    _table(
        "chain",
        "seq INTEGER PRIMARY KEY",
        *_there("at", "kind", "subject"),
        "was INTEGER NOT NULL",
        *_there("personal", "public", "hash"),
    ),
    # below here nothing is part of the chain, and nothing has a name
    _table("clock", _NUMBER, *_texts("seen", "suspended")),
    _table("in_progress", _ID, "worker INTEGER NOT NULL"),  # which worker has which call: `progress`
    _table("rejected", _NUMBER, *_texts("hour"), "receipts INTEGER"),  # how many an hour has: `rejected`
    _table(  # where bytes lie in a store of objects: `object_rows`
        "objects",
        '"put" TEXT PRIMARY KEY NOT NULL',
        *_there("name", "id", "kind", "state", "at"),
        *_texts("version", "sha256", "since"),
        *(f"{name} INTEGER NOT NULL" for name in ("bytes", "held", "told")),
    ),
)


def _index(name: str, table: str, columns: str, where: str = "") -> str:
    return f"CREATE INDEX {name} ON {table} ({columns})" + (f" WHERE {where}" if where else "")


_TIME = "started_at, id"
# few rows are read often, beside the tombstones and forgotten receipts that are kept for ever; and a page
# lists by any filter what it shows, and reads nothing else
_INDEXES = (
    *(
        index
        for table in ("receipts", "recordings")
        for index in (
            _index(f"{table}_by_time", table, _TIME),
            _index(f"{table}_by_caller", table, f"caller, {_TIME}", "caller IS NOT NULL"),
            _index(f"{table}_by_end", table, "substr(caller, -4), caller", "caller IS NOT NULL"),
            _index(f"{table}_by_operator", table, f"operator, {_TIME}", "operator IS NOT NULL"),
            _index(f"{table}_by_operators", table, f"operators, {_TIME}", "operators IS NOT NULL"),
            _index(f"{table}_by_reference", table, f"substr(id, -7), {_TIME}"),
        )
    ),
    _index("receipts_personal", "receipts", _TIME, "salt IS NOT NULL"),
    _index("receipts_expiring", "receipts", "expires_at, id", "salt IS NOT NULL"),
    _index("receipts_open", "receipts", _TIME, "ended_at IS NULL"),
    _index("receipts_by_outcome", "receipts", f"outcome, {_TIME}", "outcome IS NOT NULL"),
    _index("receipts_by_decision", "receipts", f"decision, {_TIME}"),
    _index("receipts_of_recordings", "receipts", "recording_id"),
    _index("recordings_kept", "recordings", _TIME, "purged_at IS NULL"),
    _index("recordings_expiring", "recordings", "expires_at, id", "purged_at IS NULL"),
    _index("recordings_held", "recordings", _TIME, "hold IS NOT NULL"),
    _index("recordings_flagged", "recordings", _TIME, "flagged = 1"),
    _index("recordings_by_status", "recordings", f"status, {_TIME}"),
    _index("accesses_of_recordings", "accesses", "recording_id"),
    _index("accesses_personal", "accesses", "id", "salt IS NOT NULL"),
    _index("notes_of_recordings", "notes", "recording_id"),
    _index("notes_personal", "notes", "id", "salt IS NOT NULL"),
    _index("approvals_of_recordings", "approvals", "recording_id"),
    _index("approvals_pending", "approvals", "id", "state = 'pending'"),
    _index("approvals_personal", "approvals", "id", "salt IS NOT NULL"),
    _index("chain_firsts", "chain", "kind", "was = 0"),
    _index("objects_of_recordings", "objects", "id"),
    _index("objects_removing", "objects", "since, id", "state = 'removing'"),
    _index("objects_held", "objects", "id, name", "held = 1"),
    _index("objects_untold", "objects", "at", "told = 0"),
    _index("objects_by_name", "objects", "name"),
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


_KEYS = {
    **dict.fromkeys(("receipts", "recordings", "accesses", "notes", "sums", "approvals"), "id"),
    "chain": "seq",
}
_REFUSED = "EXISTS (SELECT 1 FROM receipts WHERE id = OLD.id AND decision = 'refused')"
GUARDS = (
    # a legal hold keeps the recording, but not against the caller's refusal: it came first
    f"""CREATE TRIGGER held_recordings_stay BEFORE UPDATE ON recordings
        WHEN OLD.hold IS NOT NULL AND (NEW.status <> OLD.status OR NEW.purged_at IS NOT NULL)
        AND NOT (NEW.status = 'erased' AND {_REFUSED})
        BEGIN SELECT RAISE(ABORT, 'the recording is on hold'); END""",
    "CREATE TRIGGER chain_grows BEFORE UPDATE ON chain "
    "BEGIN SELECT RAISE(ABORT, 'the chain only grows'); END",
    *(_stays(table) for table in _KEYS),
    *(_comes_once(table, key) for table, key in _KEYS.items()),
    # a call is in progress until its receipt has ended and its recording is in its final state: closed, or
    # erased if the caller refused. This holds whichever program writes that, and in either order.
    """CREATE TRIGGER receipts_end_calls AFTER UPDATE ON receipts WHEN NEW.ended_at IS NOT NULL
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); END""",
    """CREATE TRIGGER recordings_end_calls AFTER UPDATE ON recordings WHEN NEW.status <> 'open'
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND EXISTS
        (SELECT 1 FROM receipts WHERE id = NEW.id AND ended_at IS NOT NULL
        AND NOT (decision = 'refused' AND NEW.status = 'closed')); END""",
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


@MIGRATIONS(name="0001_tables")
def _first(db: Database) -> None:
    for statement in (*_TABLES, *_INDEXES, *GUARDS):
        db.execute(statement)

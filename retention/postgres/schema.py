"""The tables in PostgreSQL, as numbered steps. A released step never changes: a new one is added below it.

So hosts are upgraded one after the other: first a step that adds, later, when no host runs an older version,
one that removes.
"""

from retention.postgres import key_tables
from retention.postgres.board_rows import TABLE as BOARD
from retention.postgres.guards import GUARDS as ROW_GUARDS
from retention.postgres.steps import Step, Steps


def _table(name: str, *columns: str) -> str:
    """All texts sort by their bytes, as in SQLite."""
    return f"CREATE TABLE {name} ({', '.join(columns)})"


def _texts(*names: str) -> tuple[str, ...]:
    return tuple(f'"{name}" text COLLATE "C"' for name in names)


def _there(*names: str) -> tuple[str, ...]:
    return tuple(f'"{name}" text COLLATE "C" NOT NULL' for name in names)


_ID = 'id text COLLATE "C" PRIMARY KEY'
_NUMBER = "id bigint PRIMARY KEY"
_ROWID = "rowid bigint GENERATED ALWAYS AS IDENTITY UNIQUE"  # grows as rows come: one is added at a time
_CHAINED = "chain_seq bigint NOT NULL"
_SEALED = key_tables.SEALED_COLUMNS
_WORDS = key_tables.WORD_COLUMNS

_TABLES = (
    _table(
        "chain",
        "seq bigint PRIMARY KEY",
        *_there("at", "kind", "subject"),
        "was bigint NOT NULL",
        *_there("personal", "public", "hash"),
    ),
    _table(
        "receipts",
        _ID,
        _ROWID,
        *_there("started_at", "decision"),
        *_texts("answered_at", "connected_at", "ended_at", "called", "outcome", "decided_by", "decided_at"),
        *_texts("phase", "dtmf_method", "recording_id", "expires_at"),
        "confidence double precision",
        "notice_played_ms bigint",
        _CHAINED,
        *_SEALED,
        *_WORDS,
    ),
    _table(
        "recordings",
        _ID,
        _ROWID,
        *_there("started_at", "expires_at", "status"),
        *_texts("ended_at", "called", "decision", "notice", "path", "sha256", "pauses", "hold", "purged_at"),
        "duration_s double precision",
        *(f"{name} bigint" for name in ("incomplete", "channels", "sample_rate", "bytes", "flagged")),
        _CHAINED,
        *_SEALED,
        *_WORDS,
    ),
    _table(
        "accesses",
        _NUMBER,
        *_there("at", "action", "outcome"),
        *_texts("recording_id", "purpose", "via"),
        _CHAINED,
        *_SEALED,
    ),
    _table("notes", _NUMBER, *_there("recording_id", "at", "expires_at"), _CHAINED, *_SEALED),
    _table(
        "sums",
        _NUMBER,
        *_there("what", "from_at", "until_at"),
        "count bigint NOT NULL",
        "code bigint",
        *_texts("by", "salt"),
        _CHAINED,
    ),
    _table(
        "approvals",
        _NUMBER,
        *_there("at", "action", "recording_id", "state"),
        *_texts("ground", "review", "purpose", "channel", "decided_at"),
        "by_proof bytea",
        "decided_by_proof bytea",
        _CHAINED,
        *_SEALED,
    ),
    _table("in_progress", _ID, "worker bigint NOT NULL"),
    _table("rejected", _NUMBER, *_there("hour"), "receipts bigint NOT NULL"),
    _table("clock", _NUMBER, *_texts("seen", "suspended")),
    _table(
        "hosts",
        'host text COLLATE "C" PRIMARY KEY',
        *_there("version", "journal", "shipped_hash", "seen_at"),
        *_texts("oldest_at", "lease_until"),
        *(f"{name} bigint NOT NULL" for name in ("shipped", "calls", "lag_rows")),
        "draining boolean NOT NULL",
    ),
    _table(
        "objects",
        'put text COLLATE "C" PRIMARY KEY',
        *_there("name", "id", "kind", "state", "at"),
        *_texts("version", "sha256", "since"),
        *(f"{name} bigint NOT NULL" for name in ("bytes", "held", "told")),
    ),
    _table("stamps", "seq bigint PRIMARY KEY", "answer bytea NOT NULL"),
)


def _index(name: str, table: str, columns: str, where: str = "") -> str:
    return f"CREATE INDEX {name} ON {table} ({columns})" + (f" WHERE {where}" if where else "")


def _led(name: str, table: str, columns: str, where: str) -> str:
    """One that begins with its condition: see `dialect.led`."""
    return _index(name, table, f"({where}), {columns}", where)


_TIME = "started_at, id"
# one for each condition that may lead a list: its rows, in the list's order, and no others
_INDEXES = (
    *(
        index
        for table in ("receipts", "recordings")
        for index in (
            _index(f"{table}_by_time", table, _TIME),
            _index(f"{table}_by_reference", table, f"right(id, 7), {_TIME}"),
        )
    ),
    _led("receipts_personal", "receipts", _TIME, "sealed IS NOT NULL"),
    _index("receipts_expiring", "receipts", "expires_at, id", "sealed IS NOT NULL"),
    _led("receipts_open", "receipts", _TIME, "ended_at IS NULL"),
    _index("receipts_by_outcome", "receipts", f"outcome, {_TIME}", "outcome IS NOT NULL"),
    _index("receipts_by_decision", "receipts", f"decision, {_TIME}"),
    _index("receipts_of_recordings", "receipts", "recording_id", "recording_id IS NOT NULL"),
    _led("recordings_personal", "recordings", _TIME, "sealed IS NOT NULL"),
    _led("recordings_kept", "recordings", _TIME, "purged_at IS NULL"),
    _index("recordings_expiring", "recordings", "expires_at, id", "purged_at IS NULL"),
    _led("recordings_held", "recordings", _TIME, "hold IS NOT NULL"),
    _led("recordings_flagged", "recordings", _TIME, "flagged = 1"),
    _index("recordings_by_decision", "recordings", f"decision, {_TIME}", "decision IS NOT NULL"),
    _index("recordings_by_status", "recordings", f"status, {_TIME}"),
    _index("accesses_of_recordings", "accesses", "recording_id, id", "recording_id IS NOT NULL"),
    _led("accesses_personal", "accesses", "id", "sealed IS NOT NULL"),
    _index("notes_of_recordings", "notes", "recording_id, id"),
    _led("notes_personal", "notes", "id", "sealed IS NOT NULL"),
    _index("approvals_of_recordings", "approvals", "recording_id, id"),
    _index("approvals_pending", "approvals", "id", "state = 'pending'"),
    _led("approvals_personal", "approvals", "id", "sealed IS NOT NULL"),
    _index("chain_firsts", "chain", "kind, seq", "was = 0"),
    _index("objects_of_recordings", "objects", "id"),
    _index("objects_by_name", "objects", "name"),
    _index("objects_removing", "objects", "since, id", "state = 'removing'"),
    _index("objects_held", "objects", "id, name", "held = 1"),
)

GUARDS = (*ROW_GUARDS, *key_tables.RULES)
STEPS = (
    Step(
        number=1,
        name="tables",
        gentle=False,
        statements=(
            *(*_TABLES, *key_tables.TABLES, *_INDEXES, *key_tables.INDEXES),
            BOARD,
            *(text for guard in GUARDS for text in guard.texts),
        ),
    ),
)
SCHEMA = Steps("schema_steps", STEPS)

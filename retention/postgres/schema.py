"""The tables in PostgreSQL, as numbered steps. A released step never changes: a new one is added below it.

So hosts are upgraded one after the other: first a step that adds, later, when no host of before is left,
one that removes.

**Guards** are what the database itself refuses: what a crash, a bug or a person in a hurry must never do.
The same rules as the triggers of `retention.sqlite`. Who owns the tables can remove them: `verify` looks
whether they are there, and as they were made.

**Keys of rows.** A key is `BUNDLE/NUMBER`; a bundle is an object `rows/BUNDLE/REVISION` in the vault. So
the database says which keys there must be, and has none. What it says of each key is either that a row
has it, or that it has to go (`key_removals`): from before it is made until a row takes it, and again from
the moment in which its row is without it. Triggers see to that, in the transaction of the row.

`key_bundles` names the present revision of each bundle, `key_revisions` all others that may still exist:
`putting` before it is put, `removing` once it is replaced, `swept` where whoever was putting it has died.
`search_keys` has the key of each period's search words. It goes as soon as one of the period's rows loses
what leads to a person; until the others have been hashed anew they are found by being opened.
"""

from dataclasses import dataclass

from retention.postgres.board_rows import TABLE as BOARD
from retention.postgres.connection import SchemaStep, SchemaSteps
from retention.records import HoldTerms, terms


@dataclass(frozen=True, slots=True)
class Guard:
    """A trigger: `when` it runs, before or after what, and the `body` of its function, PL/pgSQL."""

    name: str
    table: str
    when: str
    body: str

    @property
    def texts(self) -> tuple[str, str]:
        """The statements that make it, and its function of the same name."""
        head = f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS"
        return (
            f"{head} $guard${self.body}$guard$",
            f"CREATE TRIGGER {self.name} {self.when} EXECUTE FUNCTION {self.name}()",
        )

    @property
    def texts_anew(self) -> tuple[str, ...]:
        """The statements that make it, also where it is there."""
        return (*self.texts_away, *self.texts)

    @property
    def texts_away(self) -> tuple[str, str]:
        """The statements that remove it, if it is there."""
        return (
            f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}",
            f"DROP FUNCTION IF EXISTS {self.name}()",
        )


def _refusing(name: str, table: str, what: str, message: str, condition: str = "") -> Guard:
    when = f"BEFORE {what} ON {table} FOR EACH {'STATEMENT' if what == 'TRUNCATE' else 'ROW'}"
    then = "RETURN NULL" if what in ("DELETE", "TRUNCATE") else "RETURN NEW"
    raised = f"RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation'"
    checked = f"IF {condition} THEN {raised}; END IF; {then}" if condition else raised
    return Guard(name, table, when, f" BEGIN {checked}; END ")


_KEPT = ("receipts", "recordings", "accesses", "notes", "sums", "approvals", "chain")
_REFUSED = "EXISTS (SELECT 1 FROM receipts WHERE id = OLD.id AND decision = 'refused')"
GUARDS_OF_ROWS = (
    # a legal hold keeps the recording, but not against the caller's refusal: it came first
    _refusing(
        "held_recordings_stay",
        "recordings",
        "UPDATE",
        "the recording is on hold",
        "OLD.hold IS NOT NULL AND (NEW.status <> OLD.status OR NEW.purged_at IS NOT NULL) "
        f"AND NOT (NEW.status = 'erased' AND {_REFUSED})",
    ),
    _refusing("chain_grows", "chain", "UPDATE", "the chain only grows"),
    *(_refusing(f"{table}_stay", table, "DELETE", f"rows of {table} are never deleted") for table in _KEPT),
    *(
        _refusing(f"{table}_stay_all", table, "TRUNCATE", f"rows of {table} are never deleted")
        for table in _KEPT
    ),
    *(
        _refusing(
            f"{table}_keep_names",
            table,
            "UPDATE",
            f"rows of {table} keep their ids",
            "NEW.id <> OLD.id",
        )
        for table in _KEPT
        if table != "chain"
    ),
    _refusing(
        "approvals_are_of_another",
        "approvals",
        "UPDATE",
        "nobody approves what they asked for",
        "NEW.state IN ('approved', 'used') AND NEW.decided_by_proof = NEW.by_proof",
    ),
    _refusing(
        "approvals_are_decided_once",
        "approvals",
        "UPDATE",
        "this was decided already",
        "OLD.state <> NEW.state AND OLD.state <> 'pending' "
        "AND NOT (OLD.state = 'approved' AND OLD.action = 'export' AND NEW.state = 'used')",
    ),
    _refusing(
        "approvals_are_asked_for",
        "approvals",
        "INSERT",
        "nothing is decided before it was asked for",
        "NEW.state <> 'pending'",
    ),
    # a call is in progress until its receipt has ended and its recording is in its final state: closed, or
    # erased if the caller refused. This holds whichever program writes that, and in either order.
    Guard(
        "receipts_end_calls",
        "receipts",
        "AFTER UPDATE ON receipts FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL)",
        """ BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); RETURN NULL; END """,
    ),
    Guard(
        "recordings_end_calls",
        "recordings",
        "AFTER UPDATE ON recordings FOR EACH ROW WHEN (NEW.status <> 'open')",
        """ BEGIN DELETE FROM in_progress WHERE id = NEW.id AND EXISTS
        (SELECT 1 FROM receipts WHERE id = NEW.id AND ended_at IS NOT NULL
        AND NOT (decision = 'refused' AND NEW.status = 'closed')); RETURN NULL; END """,
    ),
)
# every write of a row adds to the chain
MOVED_AWAY = Guard(
    "rows_have_moved",
    "chain",
    "BEFORE INSERT ON chain FOR EACH ROW",
    """ BEGIN RAISE EXCEPTION 'its rows have moved to %; accepted: a configuration that names that',
        (SELECT note::json->>'to' FROM moved) USING ERRCODE = 'integrity_constraint_violation'; END """,
)
MOVING = "sipagent.moving"  # a setting of whoever moves rows into it
MOVING_IN = Guard(
    "rows_are_coming",
    "chain",
    "BEFORE INSERT ON chain FOR EACH ROW",
    f""" BEGIN IF current_setting('{MOVING}', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'rows are coming, and not all there; accepted: `sipagent migrate` again, to its end'
        USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END """,
)
TRIGGER_TEXTS = tuple(text for guard in GUARDS_OF_ROWS for text in guard.texts)


SEALED_TABLES = ("receipts", "recordings", "accesses", "notes", "approvals")
SEARCHED = ("receipts", "recordings")
HASHES = ("number_hash", "start_hash", "end_hash", "operator_hash")
KEYED = (*SEALED_TABLES, "search_keys")

KEY_TABLES = (
    """CREATE TABLE key_bundles (
        bundle text PRIMARY KEY,
        host text NOT NULL,
        made timestamptz NOT NULL DEFAULT clock_timestamp(),
        revision bigint NOT NULL DEFAULT 0,
        version text NOT NULL DEFAULT '',
        names integer NOT NULL DEFAULT 0,
        last bigint NOT NULL DEFAULT 0)""",
    "CREATE INDEX key_bundles_of_hosts ON key_bundles (host, made)",
    """CREATE TABLE key_revisions (
        bundle text NOT NULL,
        revision bigint NOT NULL,
        version text NOT NULL DEFAULT '',
        state text NOT NULL CHECK (state IN ('putting', 'removing', 'swept')),
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (bundle, revision))""",
    """CREATE TABLE key_removals (
        key text PRIMARY KEY,
        bundle text NOT NULL GENERATED ALWAYS AS (split_part(key, '/', 1)) STORED,
        due boolean NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp())""",
    "CREATE INDEX key_removals_due ON key_removals (bundle) WHERE due",
    "CREATE INDEX key_removals_unused ON key_removals (since) WHERE NOT due",
    """CREATE TABLE search_keys (
        period text PRIMARY KEY,
        key text,
        whole boolean NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp())""",
)

# columns of the tables of what is kept, in place of those of `chain.PERSONAL` and the salt
WORDS = ("search", *HASHES)
SEALED_COLUMNS = ("sealed bytea", "key text")
WORD_COLUMNS = ("search text", *(f"{name} bytea" for name in HASHES))

KEY_INDEXES = (
    *(
        f"CREATE INDEX {table}_by_{name} ON {table} ({name}, started_at, id) WHERE {name} IS NOT NULL"
        for table in SEARCHED
        for name in HASHES
    ),
    *(f"CREATE UNIQUE INDEX {table}_by_key ON {table} (key) WHERE key IS NOT NULL" for table in KEYED),
)

# 40001: to be tried again, with another key
_FOLLOWING = """
    DECLARE
        taken text := CASE WHEN TG_OP <> 'DELETE' THEN NEW.key END;
        left_behind text := CASE WHEN TG_OP <> 'INSERT' THEN OLD.key END;
    BEGIN
        IF taken IS NOT DISTINCT FROM left_behind THEN RETURN NULL; END IF;
        IF taken IS NOT NULL THEN
            DELETE FROM key_removals WHERE key = taken AND NOT due;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the key % is in use, or going', taken USING ERRCODE = '40001';
            END IF;
        END IF;
        IF left_behind IS NOT NULL THEN
            INSERT INTO key_removals (key, due) VALUES (left_behind, true);
        END IF;
        RETURN NULL;
    END """
_LEAVING = """ BEGIN
        UPDATE search_keys SET key = NULL, whole = false, since = clock_timestamp() WHERE key = OLD.search;
        RETURN NULL;
    END """
_LOSES_WORDS = (
    "OLD.search IS NOT NULL AND (NEW.sealed IS NULL "
    "OR (OLD.number_hash IS NOT NULL AND NEW.number_hash IS NULL) "
    "OR (OLD.operator_hash IS NOT NULL AND NEW.operator_hash IS NULL))"
)
KEY_RULES = (
    *(
        Guard(
            f"{table}_have_keys",
            table,
            f"AFTER INSERT OR DELETE OR UPDATE OF key ON {table} FOR EACH ROW",
            _FOLLOWING,
        )
        for table in KEYED
    ),
    *(
        Guard(
            f"{table}_had_words",
            table,
            f"AFTER UPDATE ON {table} FOR EACH ROW WHEN ({_LOSES_WORDS})",
            _LEAVING,
        )
        for table in SEARCHED
    ),
)


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
_SEALED = SEALED_COLUMNS
_WORDS = WORD_COLUMNS

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
        *_texts(*(name for name, term in terms(HoldTerms).items() if term.open)),
        *_texts("purpose", "channel", "decided_at"),
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
    """One that begins with its condition: see `connection.led`."""
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

GUARDS = (*GUARDS_OF_ROWS, *KEY_RULES)
STEPS = (
    SchemaStep(
        number=1,
        name="tables",
        gentle=False,
        statements=(
            *(*_TABLES, *KEY_TABLES, *_INDEXES, *KEY_INDEXES),
            BOARD,
            *(text for guard in GUARDS for text in guard.texts),
        ),
    ),
)
SCHEMA = SchemaSteps("schema_steps", STEPS)

"""The tables in PostgreSQL, as numbered steps. A released step never changes: a new one is added below it.

So hosts are upgraded one after the other: first a step that adds, later, when no host of before is left,
one that removes.

**Guards** keep the rules of `retention.rows.tables`, and more that SQLite has no need of. Who owns the tables
can remove them: `verify` looks whether they are there, and as they were made.

**Keys of rows.** A key is `BUNDLE/NUMBER`; a bundle is an object `rows/BUNDLE/REVISION` in the vault. So
the database says which keys there must be, and has none. What it says of each key is either that a row
has it, or that it has to go (`key_removals`): from before it is made until a row takes it, and again from
the moment in which its row is without it. Triggers see to that, in the transaction of the row.

`key_bundles` names the present revision of each bundle, `key_revisions` all others that may still exist:
`putting` before it is put, `removing` once it is replaced, `swept` where whoever was putting it has died.
`search_keys` has the key of each period's search words. It goes as soon as one of the period's rows loses
what leads to a person; until the others have been hashed anew they are found by being opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from retention.postgres.board_rows import TABLE as BOARD
from retention.postgres.connection import POSTGRES, SchemaStep, SchemaSteps
from retention.records import Host, field_types
from retention.rows import tables
from retention.rows.chain import PERSONAL, TABLES


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


def _refusing(rule: tables.Rule) -> Guard:
    """Of a row, or of all at once: a TRUNCATE."""
    each = "STATEMENT" if rule.what == "TRUNCATE" else "ROW"
    when = f"BEFORE {rule.what} ON {rule.table} FOR EACH {each}"
    raised = f"RAISE EXCEPTION '{rule.message}' USING ERRCODE = 'integrity_constraint_violation'"
    if rule.condition:
        raised = f"IF {rule.condition.format(proof='_proof')} THEN {raised}; END IF; RETURN NEW"
    return Guard(rule.name, rule.table, when, f" BEGIN {raised}; END ")


def _ending(one: tables.Ending) -> Guard:
    when = f"AFTER UPDATE ON {one.table} FOR EACH ROW WHEN ({one.condition})"
    return Guard(one.name, one.table, when, f" BEGIN {one.statement}; RETURN NULL; END ")


GUARDS_OF_ROWS = (
    *(_refusing(rule) for rule in tables.RULES),
    *(
        _refusing(tables.Rule(f"{table}_stay_all", table, "TRUNCATE", f"rows of {table} are never deleted"))
        for table in tables.KEPT
    ),
    *(
        _refusing(
            tables.Rule(
                f"{table}_keep_names",
                table,
                "UPDATE",
                f"rows of {table} keep their ids",
                "NEW.id <> OLD.id",
            )
        )
        for table in TABLES.values()
    ),
    *map(_ending, tables.ENDINGS),
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


# of each table whose rows lead to persons, the columns that are sealed
SEALED = {table: (*PERSONAL[kind], "salt") for kind, table in TABLES.items() if PERSONAL[kind]}
SEARCHED = ("receipts", "recordings")
HASHES = ("number_hash", "start_hash", "end_hash", "operator_hash")
KEYED = (*SEALED, "search_keys")

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

WORDS = ("search", *HASHES)

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


# all texts sort by their bytes, as in SQLite
_TYPES = {"text": 'text COLLATE "C"', "integer": "bigint", "flag": "bigint", "real": "double precision"}


def _table(name: str) -> str:
    """One of what is kept: in place of the columns that lead to a person it has what they are sealed in, and
    the hashes by which they are found."""
    sealed = {*SEALED.get(name, ())} - ({"hold"} if name == "recordings" else set())
    texts = [_column(one, _TYPES) for one in tables.columns(name) if one.name not in sealed]
    if name in SEARCHED:  # a number that grows as rows come: one is added at a time
        texts.append("rowid bigint GENERATED ALWAYS AS IDENTITY UNIQUE")
        texts += ["search text", *(f"{hashed} bytea" for hashed in HASHES)]
    if name in SEALED:
        texts += ["sealed bytea", "key text"]
    if name == "approvals":
        texts += ["by_proof bytea", "decided_by_proof bytea"]
    return f"CREATE TABLE {name} ({', '.join(texts)})"


def _column(one: tables.SqlColumn, types: Mapping[str, str]) -> str:
    needed = one.needed or one.name == "chain_seq"
    return f'"{one.name}" {types[one.kind]}' + (" PRIMARY KEY" if one.key else " NOT NULL" if needed else "")


def _hosts() -> str:
    every = (tables.column_of(name, of, "host") for name, of in field_types(Host).items())
    texts = [_column(one, _TYPES | {"flag": "boolean"}) for one in every]
    return f"CREATE TABLE hosts ({', '.join(texts)})"


_INDEXES = (
    *tables.INDEXES,
    tables.Index("recordings_personal", "recordings", "started_at, id", tables.PERSONAL, leads=True),
    tables.Index("recordings_by_decision", "recordings", "decision, started_at, id", "decision IS NOT NULL"),
)
_TABLES = (
    *map(_table, (*tables.KEPT, "clock", "in_progress", "rejected", "objects")),
    _hosts(),
    "CREATE TABLE stamps (seq bigint PRIMARY KEY, answer bytea NOT NULL)",
    *tables.index_texts(_INDEXES, POSTGRES, led=True),
)

_FIRST_GUARDS = (*GUARDS_OF_ROWS, *KEY_RULES)
_OF_EVENTS = tuple(map(_ending, tables.outbox_endings(POSTGRES)))
GUARDS = (*_FIRST_GUARDS, *_OF_EVENTS)
STEPS = (
    SchemaStep(
        number=1,
        name="tables",
        gentle=False,
        statements=(
            *(*_TABLES, *KEY_TABLES, *KEY_INDEXES),
            BOARD,
            *(text for guard in _FIRST_GUARDS for text in guard.texts),
        ),
    ),
    SchemaStep(
        number=2,
        name="missing",
        gentle=True,
        statements=("ALTER TABLE recordings ADD COLUMN IF NOT EXISTS missing text",),
    ),
    SchemaStep(number=3, name="today", gentle=True, statements=(_table("today"),)),
    SchemaStep(
        number=4,
        name="line",
        gentle=True,
        statements=(
            *(f"ALTER TABLE receipts ADD COLUMN IF NOT EXISTS {column} text" for column in tables.LINE),
            *(
                text.replace("INDEX", "INDEX IF NOT EXISTS", 1)
                for text in tables.index_texts((tables.NOT_RECORDED,), POSTGRES, led=True)
            ),
        ),
    ),
    SchemaStep(
        number=5,
        name="events",
        gentle=True,
        statements=(
            *(
                *map(_table, tables.OUTBOX),
                tables.OUTBOX_ID,
                *tables.index_texts(tables.OUTBOX_INDEXES, POSTGRES, led=True),
            ),
            *(text for guard in _OF_EVENTS for text in guard.texts),
        ),
    ),
)
SCHEMA = SchemaSteps("schema_steps", STEPS)

"""The tables that say where keys of rows lie, and the rules by which a key follows its row.

A key is `BUNDLE/NUMBER`; a bundle is an object `rows/BUNDLE/REVISION` in the vault. So the database says
which keys there must be, and has none. What it says of each key is either that a row has it, or that it has
to go (`key_removals`): from before it is made until a row takes it, and again from the moment in which its
row is without it. Triggers see to that, in the transaction of the row.

`key_bundles` names the present revision of each bundle, `key_revisions` all others that may still exist:
`putting` before it is put, `removing` once it is replaced, `swept` where whoever was putting it has died.
`search_keys` has the key of each period's search words. It goes as soon as one of the period's rows loses
what leads to a person; until the others have been hashed anew they are found by being opened.
"""

from retention.postgres.guards import Guard

SEALED_TABLES = ("receipts", "recordings", "accesses", "notes", "approvals")
SEARCHED = ("receipts", "recordings")
HASHES = ("number_hash", "start_hash", "end_hash", "operator_hash")
KEYED = (*SEALED_TABLES, "search_keys")

TABLES = (
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

INDEXES = (
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
RULES = (
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

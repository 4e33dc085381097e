"""The SQL of PostgreSQL, where it differs."""

from functools import lru_cache

from retention.rows.dialect import SQLITE, Dialect

POSTGRES = Dialect(
    personal="sealed IS NOT NULL",
    ending=lambda column, length: f"right({column}, {length})",
    join="JOIN",
    numbers=SQLITE.numbers,  # receipts and recordings have a column of this name
    decisions=True,
)


@lru_cache(maxsize=1000)
def with_marks(sql: str) -> str:
    """A statement with psycopg's placeholders. No text of ours has a question mark in a literal."""
    return sql.replace("%", "%%").replace("?", "%s")

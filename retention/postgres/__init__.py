"""The rows of several hosts, in PostgreSQL: the same tables, rules and chain as `rows` has in SQLite."""

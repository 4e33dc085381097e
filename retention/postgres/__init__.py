"""The database that several hosts share: PostgreSQL."""

"""Changes of tables as numbered steps, kept track of in a table of their own.

A step says whether programs that don't know it may go on (`gentle`: it only adds what they need not fill).
"""

from dataclasses import dataclass

from retention.postgres.connection import Connection
from retention.rows.faults import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of the tables."""

    number: int
    name: str
    gentle: bool
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """All that this program knows, and the table of those that were taken. Methods raise psycopg.Error."""

    table: str
    every: tuple[Step, ...]

    def taken(self, connection: Connection) -> list[dict[str, object]] | None:
        """Those that were taken; None where there are no tables yet."""
        (found,) = connection.read(f"SELECT to_regclass('{self.table}') IS NOT NULL AS there")
        sql = f"SELECT number, name, gentle FROM {self.table} ORDER BY number"
        return connection.read(sql) if found["there"] else None

    def refuse_newer(self, connection: Connection, database: str) -> None:
        """Raises StoreError for tables that a program has changed which this one does not know."""
        known = {step.number for step in self.every}
        taken = self.taken(connection) or []
        newer = [step["name"] for step in taken if step["number"] not in known and not step["gentle"]]
        if newer:
            raise StoreError(f"{database}: written by a newer sipagent (it has {newer[-1]}); update sipagent")

    def pending(self, connection: Connection) -> list[Step]:
        """Those that are still to be taken."""
        taken = {step["number"] for step in self.taken(connection) or []}
        return [step for step in self.every if step.number not in taken]

    def take(self, connection: Connection) -> None:
        """Bring the tables up to date, within a transaction in which nobody else does."""
        connection.take_as_long_as_it_takes()
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} (number integer PRIMARY KEY, name text NOT NULL, "
            "gentle boolean NOT NULL, taken_at timestamptz NOT NULL DEFAULT now())"
        )
        for step in self.pending(connection):
            for statement in step.statements:
                connection.execute(statement)
            sql = f"INSERT INTO {self.table} (number, name, gentle) VALUES (?, ?, ?)"
            connection.execute(sql, [step.number, step.name, step.gentle])

"""The database of several hosts while the rows of one come into it: no host can write there meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from retention.move import BESIDE, COLUMNS, Arrivals, Origin
from retention.postgres.schema import MOVING, MOVING_IN
from retention.postgres.store import SealedStore
from retention.rows.pages import Row


class ArrivingShared(Arrivals, SealedStore):
    """An `Arrivals` in PostgreSQL: who rows lead to comes sealed, under keys that are made here."""

    def clear(self) -> None:
        """Remove all that has come, and every key of it. Rows are never deleted, but these were never in
        use."""
        execute = self._ledger.tables.execute
        with self.write():
            self._connection.take_as_long_as_it_takes()
            for table in COLUMNS:
                execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_stay")
                execute(f"DELETE FROM {table}")
                execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_stay")
            for table in (*BESIDE, "search_keys"):
                execute(f"DELETE FROM {table}")
        self.forget_keys()

    def _add(self, table: str, rows: Sequence[Row]) -> None:
        self.expect(sum(1 for row in rows if row.get("salt") is not None))
        super()._add(table, rows)

    def _is_begun(self) -> bool:
        return bool(self._read("SELECT 1 WHERE to_regclass('moving') IS NOT NULL", []))

    @contextmanager
    def _filling(self) -> Iterator[None]:
        with self.write():
            self._ledger.tables.execute(f"SET LOCAL {MOVING} = 'on'")
            yield

    def _say(self, origin: Origin) -> None:
        super()._say(origin)
        for text in MOVING_IN.texts_anew:
            self._ledger.tables.execute(text)

    def _end(self) -> None:
        super()._end()
        for text in MOVING_IN.texts_away:
            self._ledger.tables.execute(text)

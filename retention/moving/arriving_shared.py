"""The database of several hosts while the rows of one come into it: no host can write there meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from retention.moving.arriving import BESIDE, COLUMNS, Arrivals, Origin
from retention.postgres.guards import MOVING, MOVING_IN
from retention.postgres.store import SharedStore


class ArrivingShared(Arrivals, SharedStore):
    """An `Arrivals` in PostgreSQL, whatever seals its rows."""

    def clear(self) -> None:
        """Remove all that has come. Rows are never deleted, but these were never in use."""
        execute = self._ledger.tables.execute
        with self.write():
            self._connection.take_as_long_as_it_takes()
            for table in COLUMNS:
                execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_stay")
                execute(f"DELETE FROM {table}")
                execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_stay")
            for table in BESIDE:
                execute(f"DELETE FROM {table}")

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

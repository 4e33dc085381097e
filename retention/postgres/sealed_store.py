"""The rows of several hosts in PostgreSQL, sealed: what is forgotten is so in all that this remembers.

After each write that forgot something the keys of it are removed at once. What fails then is not lost, and
no error of the write: the database has the list of it, and the next purge goes through that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from zlib import crc32

from retention.postgres.blobs import Blobs, FolderBlobs
from retention.postgres.connection import Connection
from retention.postgres.key_tables import SEARCHED
from retention.postgres.sealed.bundles import BUNDLES
from retention.postgres.sealed.row_keys import RowKeys
from retention.postgres.sealed.sealing import RowSeals
from retention.postgres.sealed.searching import InHashes
from retention.postgres.sealed.words import Span, hashes, search_key, span_of
from retention.postgres.store import SharedStore
from retention.rows.columns import UNREADABLE
from retention.rows.faults import DamagedRow, TryAgain
from retention.rows.pages import Row
from retention.rows.rows import Forgotten
from retention.sqlite.tables import updating
from retention.storage.places import Places

_RESTS = "1 day"  # a period that rows have left: more of them leave soon, if it is its time
# keys made for rows to come, for each that is expected: making any is a put and a removal
_AHEAD, _MOST_AHEAD = 4, 128
_HASHED = 100  # rows in one transaction


class SealedStore(SharedStore):
    """A `SharedStore` whose keys are in `vault`; `host` makes new ones."""

    def __init__(
        self,
        conninfo: str,
        password: str | None,
        vault: Blobs,
        *,
        host: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        places: Places | None = None,
    ) -> None:
        """Raises StoreError."""
        self._clock = 1 if host is None else crc32(host.encode())
        self.keys = RowKeys(Connection(conninfo, password), vault, host)
        self._seals = RowSeals(self.keys)
        super().__init__(
            conninfo,
            password,
            seals=self._seals,
            searching=InHashes(self.keys),
            clock=clock,
            places=places,
        )

    def close(self) -> None:
        """Let go of both connections."""
        super().close()
        self.keys.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is written inside, and the end of the keys that it leaves behind."""
        with self._lock:  # so that what is forgotten meanwhile is by this thread
            before = self._seals.forgets
            try:
                with super().write():
                    yield
            except TryAgain:
                self.keys.give_up()  # the next try takes others: these may have waited for too long
                raise
            forgot = self._seals.forgets != before and not self._connection.within
        if forgot:
            with suppress(TryAgain):  # it is on the list
                self.forget_keys()

    def clock_row(self) -> Row | None:
        """What this host saw of its own clock; before it has looked, what was seen before rows came here."""
        sql = "SELECT * FROM clock WHERE id IN (?, 1) ORDER BY id DESC LIMIT 1"
        return next(iter(self._read(sql, [self._clock])), None)

    def keep_clock_row(self, row: Row) -> None:
        """Replace what this host saw: clocks of several hosts differ, and none of them went back."""
        self._keep("clock", row | {"id": self._clock})

    def expect(self, rows: int) -> None:
        """Have keys for this many new rows made in one go, before they are written."""
        self.keys.reserve(rows, ahead=min(_AHEAD * rows, _MOST_AHEAD))

    def forget_keys(self) -> Forgotten:
        """Remove what the list has, in every version. Raises TryAgain where the database does not answer."""
        return self.keys.forget()

    def bring_up(self, files: FolderBlobs) -> int:
        """Have the bundles of keys that are in these files where the vault is by now; how many. Those of
        another database stay. Raises StoreError, OSError."""
        known = [bundle for bundle in files.within(BUNDLES) if self.keys.renew(bundle)]
        for bundle in known:
            files.remove_empty(f"{BUNDLES}/{bundle}")
        files.remove_empty(BUNDLES)
        return len(known)

    def keys_left(self) -> int:
        """How many keys and bundles should be gone, and are there. Raises TryAgain."""
        return self.keys.left()

    def renew_words(self, over: Callable[[], bool] = lambda: False) -> int:
        """Hash the words of periods anew that have lost their key and still have rows; how many rows.

        Ends early at `over()`. Raises StoreError.
        """
        sql = (
            "SELECT period, key FROM search_keys "
            f"WHERE NOT whole AND since < clock_timestamp() - interval '{_RESTS}' ORDER BY period"
        )
        count = 0
        for row in self._read(sql, []):
            while not over() and (done := self._renewed(row["period"])):
                count += done
        return count

    # steps

    def _renewed(self, period: str) -> int:
        """Give some rows of a period their words; how many. The last ones make it whole."""
        with self.write():
            span = span_of(period)
            table, rows = self._without_words(period)
            if not rows:
                self._end_period(period, span)
                return 0
            key = search_key(self._read, self.keys, span.since)
            for row in self._opened(table, rows):
                if UNREADABLE in row:
                    raise DamagedRow(f"{self.path}: {row['id']}: {row[UNREADABLE]}")
                columns = hashes(key, row)
                self._ledger.tables.execute(updating(table, columns), [*columns.values(), row["id"]])
            return len(rows)

    def _without_words(self, period: str) -> tuple[str, list[Row]]:
        span = span_of(period)
        for table in SEARCHED:
            sql = (
                f"SELECT * FROM {table} WHERE started_at >= ? AND started_at < ? AND sealed IS NOT NULL "
                "AND NOT EXISTS (SELECT 1 FROM search_keys WHERE period = ? AND key = search) "
                f"ORDER BY started_at, id LIMIT {_HASHED}"
            )
            if rows := self._read(sql, [span.since, span.until, period]):
                return table, rows
        return "", []

    def _end_period(self, period: str, span: Span) -> None:
        """It is whole, or over."""
        kept = (
            f"EXISTS (SELECT 1 FROM {table} WHERE started_at >= ? AND started_at < ? AND sealed IS NOT NULL)"
            for table in SEARCHED
        )
        values = [span.since, span.until] * len(SEARCHED)
        (there,) = self._read(f"SELECT {' OR '.join(kept)} AS there", values)
        if there["there"]:
            sql = "UPDATE search_keys SET whole = true WHERE period = ? AND key IS NOT NULL"
        else:
            sql = "DELETE FROM search_keys WHERE period = ?"
            self._seals.forgets += 1
        self._ledger.tables.execute(sql, [period])

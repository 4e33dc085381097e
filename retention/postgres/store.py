"""The rows of several hosts in PostgreSQL, sealed: what is forgotten is so in all that this remembers.

After each write that forgot something the keys of it are removed at once. What fails then is not lost,
and no error of the write: the database has the list of it, and the next purge goes through that.

**Rows** are kept so: what leads to a person is in one column, `sealed`, under the row's key. `sealed` is
a SecretBox (XSalsa20-Poly1305) of JSON: the columns of `chain.PERSONAL` and the salt, with the name of
the row in `of`, so that it opens nothing else. With the salt anyone could try numbers against the chain's
commitment: so it goes with the key. Of a hold, ground and review stay in clear.

A row keeps its key as long as it only gains. One that loses something and still leads to a person gets
another key, so that its earlier states cannot be opened any more.

**Words** are what persons are found by: keyed hashes, with a key for each few hours. A word is a whole
number, its first characters, its last four, or the user part of an operator's address. Its hash is
HMAC-SHA256 under the key of the period in which the call began: so two periods have no hash in common,
and none can be tried without that key. Keys last no longer than everybody in their period is kept.

**A search** has neither numbers nor addresses in clear. What the words of a period answer is found by its
hashes. Where a period's key went with the first of its rows, and where a part of a number is too short
for a word, rows are opened page by page within the other filters.
"""

import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from zlib import crc32

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from retention.files import Places
from retention.postgres.connection import Connection
from retention.postgres.database import SharedStore
from retention.postgres.row_keys import BUNDLES, Blobs, FolderBlobs, KeyKind, RowKey, RowKeys
from retention.postgres.schema import HASHES, SEALED, SEARCHED, WORDS
from retention.records import RecordError, to_text
from retention.rows.chain import TABLES, UNREADABLE
from retention.rows.pages import Query, Row, updating
from retention.rows.rows import DamagedRow, ForgottenKeys, TryAgain
from retention.rows.selection import Condition, Selection, Sought, is_address_of

PERIOD = timedelta(hours=6)
NUMBER, START, END, OPERATOR = HASHES
SEVERAL = "@"  # in no user part
_END = 4  # digits of a number
_LENGTH = 16  # bytes of a hash


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A time in rows, from `since` until before `until`."""

    since: str
    until: str


def period_of(started_at: str) -> str:
    """The period of a time in rows: `2026-11-27T18`."""
    hours = PERIOD // timedelta(hours=1)
    return f"{started_at[:11]}{int(started_at[11:13]) // hours * hours:02d}"


def span_of(period: str) -> TimeSpan:
    """When a period is."""
    since = datetime.strptime(period, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    return TimeSpan(to_text(since), to_text(since + PERIOD))


def search_key(query: Query, keys: RowKeys, started_at: str) -> RowKey:
    """The key of the words of calls that began then, in the transaction in which `query` asks, and writes.

    A period that has had rows, and whose key went, gets another; it is not whole until all have its words.
    """
    period = period_of(started_at)
    kept = query("SELECT key FROM search_keys WHERE period = ?", [period])
    if kept and (name := kept[0]["key"]) is not None:
        raw = keys.get([name]).keys.get(name)
        if raw is not None:
            return RowKey(name, raw)
    key = keys.take(KeyKind.SEARCH)
    query(
        "INSERT INTO search_keys (period, key, whole) VALUES (?, ?, true) ON CONFLICT (period) "
        "DO UPDATE SET key = excluded.key, whole = false, since = clock_timestamp() RETURNING period",
        [period, key.name],
    )
    return key


def hashes(key: RowKey, row: Row) -> Row:
    """The columns by which a row is found. One with several operators has the word of all such rows."""
    caller, operator = row["caller"], row["operator"]
    answered = None if operator is None else user_part(operator) if row["operators"] is None else SEVERAL
    words = {
        NUMBER: caller,
        START: None if caller is None else first_of(caller),
        END: None if caller is None else caller[-_END:],
        OPERATOR: answered,
    }
    found = {name: None if word is None else hash_of(key.raw, name, word) for name, word in words.items()}
    return {"search": key.name, **found}


def hash_of(key: bytes, name: str, word: str) -> bytes:
    """The hash of a word for one of `HASHES`."""
    return hmac.digest(key, f"{name}\0{word}".encode(errors="surrogatepass"), "sha256")[:_LENGTH]


def first_of(number: str) -> str:
    """The first four digits of a number, with its `+`."""
    return number[: _END + number.startswith("+")]


def words_for(form: str) -> dict[str, str] | None:
    """The words of numbers that begin or end with a form; None if it is too short to say."""
    if len(first_of(form)) < _END + form.startswith("+"):
        return None
    start = {START: first_of(form)}
    return start if form.startswith("+") else start | {END: form[-_END:]}


def user_part(address: str) -> str:
    """`anna` of `sip:anna@host`; an address without one is its own."""
    _, colon, rest = address.partition(":")
    user, at, _ = rest.partition("@")
    return user if colon and at else address


def periods(query: Query, since: datetime | None, until: datetime | None) -> Iterator[Row]:
    """The periods in which calls of that time began: `period`, `key`, `whole`."""
    first = period_of(to_text(since)) if since is not None else ""
    last = period_of(to_text(until)) if until is not None else "~"
    sql = "SELECT period, key, whole FROM search_keys WHERE period >= ? AND period <= ? ORDER BY period DESC"
    yield from query(sql, [first, last])


_KINDS = {table: kind for kind, table in TABLES.items()}
_ROUND = 64  # bytes: how long a text was shows no closer


def sealed(key: bytes, table: str, id: str | int, columns: Mapping[str, object]) -> bytes:
    """These columns of a row, sealed. Any text goes in, also one that no database takes."""
    text = json.dumps({"of": f"{_KINDS[table]}/{id}", **columns}, separators=(",", ":"))
    return SecretBox(key).encrypt(text.ljust(-(-len(text) // _ROUND) * _ROUND).encode())


def unsealed(key: bytes, table: str, id: str | int, box: bytes) -> Row:
    """The inverse. Raises RecordError."""
    try:
        columns: Row = json.loads(SecretBox(key).decrypt(box))
        if (of := columns.pop("of")) != f"{_KINDS[table]}/{id}":
            raise ValueError(of)
    except (CryptoError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError("sealed: not readable: {0}", error) from error
    return columns


class RowSeals:
    """A `Seals`, with the keys of `keys`. `forgets`: how often a row may have left a key."""

    def __init__(self, keys: RowKeys) -> None:
        self.keys = keys
        self.forgets = 0

    def seal(self, query: Query, table: str, rows: list[Row]) -> list[Row]:
        """The columns that keep the sealed ones of whole rows, in the transaction in which `query` asks."""
        names, ids = _kept_in(table), [row["id"] for row in rows if row["salt"] is not None]
        marks = ", ".join("?" * len(ids))
        sql = f"SELECT id, {', '.join(names)} FROM {table} WHERE id IN ({marks}) AND key IS NOT NULL"
        there = {row["id"]: row for row in query(sql, ids)} if ids else {}
        found = self.keys.get(row["key"] for row in there.values()).keys
        words: dict[str, RowKey] = {}  # by their periods
        every = []
        for row in rows:
            columns = {name: row[name] for name in SEALED[table]}
            if columns["salt"] is None:
                self.forgets += 1
                every.append(dict.fromkeys(names))
                continue
            present = there.get(row["id"])
            before = None if present is None else _before(table, present, found)
            if present is not None and before == columns:
                every.append({name: present[name] for name in names})
                continue
            kept = _under(self._key(present, before, found, columns), table, row, columns)
            if table in SEARCHED:
                period = period_of(row["started_at"])
                if period not in words:
                    words[period] = search_key(query, self.keys, row["started_at"])
                kept |= hashes(words[period], row)
            every.append(kept)
        return every

    def unseal(self, table: str, rows: list[Row]) -> list[Row]:
        """Of each row that is kept, what was sealed; empty for one that is forgotten."""
        found = self.keys.get(row["key"] for row in rows if row["key"] is not None)
        return [_personal(table, row, found.keys.get(row["key"]), found.lost.get(row["key"])) for row in rows]

    def _key(
        self, present: Row | None, before: Row | None, found: Mapping[str, bytes], columns: Row
    ) -> RowKey:
        """The row's own, or another."""
        if present is not None:
            if before is not None and _only_gains(before, columns):
                return RowKey(present["key"], found[present["key"]])
            self.forgets += 1
        return self.keys.take()


def _before(table: str, row: Row, found: Mapping[str, bytes]) -> Row | None:
    """What is sealed in a row now; none where its key is gone."""
    key = found.get(row["key"])
    return None if key is None else unsealed(key, table, row["id"], row["sealed"])


def _under(key: RowKey, table: str, row: Row, columns: Row) -> Row:
    kept: Row = {"sealed": sealed(key.raw, table, row["id"], columns), "key": key.name}
    if table == "approvals":
        kept["by_proof"] = _proof(key.raw, row["by"])
        kept["decided_by_proof"] = _proof(key.raw, row["decided_by"])
    return kept


def _personal(table: str, row: Row, key: bytes | None, lost: str | None) -> Row:
    if lost is not None:
        return {UNREADABLE: lost}
    if key is None or row["sealed"] is None:
        return {}
    try:
        return unsealed(key, table, row["id"], row["sealed"])
    except RecordError as error:
        return {UNREADABLE: str(error)}


def _only_gains(before: Row, after: Row) -> bool:
    lost = [name for name, value in before.items() if value is not None and after.get(name) is None]
    return not lost and before.get("hold") in (None, after.get("hold"))


def _proof(key: bytes, person: str | None) -> bytes | None:
    """Alike for one person in one row; says nothing to who has not the row's key."""
    return None if person is None else hmac.digest(key, person.encode(errors="surrogatepass"), "sha256")


def _kept_in(table: str) -> tuple[str, ...]:
    words = WORDS if table in SEARCHED else ()
    proofs = ("by_proof", "decided_by_proof") if table == "approvals" else ()
    return ("sealed", "key", *words, *proofs)


_FIRST = 8  # periods: of two days
Words = Sequence[dict[str, str]]  # each by the column that has its hash


class InHashes:
    """A `Searching`."""

    def __init__(self, keys: RowKeys) -> None:
        self._keys = keys

    def sought(self, query: Query, table: str, selection: Selection) -> Iterator[Sought]:
        """What a selection says about persons."""
        if (number := selection.number) is not None:
            of_number = _accepting("caller", lambda caller: caller == number)
            words = [{NUMBER: number}]
            yield Sought("number", of_number, self._leading(query, table, selection, words, of_number))
        if forms := selection.caller:
            of_part = _accepting("caller", lambda caller: caller.startswith(forms) or caller.endswith(forms))
            parts = [words_for(form) for form in forms]
            known = [words for words in parts if words is not None]
            leading = None
            if len(known) == len(parts):
                leading = self._leading(query, table, selection, known, of_part)
            yield Sought("caller", of_part, leading)
        if (operator := selection.operator) is not None:

            def of_row(row: Row) -> bool:
                last, several = row["operator"], json.loads(row["operators"] or "[]")
                return any(is_address_of(operator, one) for one in (last, *several) if one is not None)

            of_operator = Condition(accepts=of_row)
            words = [{OPERATOR: user_part(operator)}, {OPERATOR: SEVERAL}]
            yield Sought("operator", of_operator, self._leading(query, table, selection, words, of_operator))

    def _leading(
        self, query: Query, table: str, selection: Selection, words: Words, accepts: Condition
    ) -> list[Condition]:
        """Rows of whole periods by their hashes, and those of each run of other periods by its time.

        The newest periods first, a few at a time, and more of them the longer nothing is found.
        """
        there = [*periods(query, selection.since, selection.until)]
        found = self._keys.get(row["key"] for row in there if row["whole"] and row["key"] is not None)
        keys = {row["period"]: found.keys[row["key"]] for row in there if row["key"] in found.keys}
        conditions = []
        for hashed, run in groupby((row["period"] for row in there), lambda period: period in keys):
            for some in _more_and_more([*run]) if hashed else [[*run]]:
                condition = Condition(f"{table}.sealed IS NOT NULL")
                if hashed:
                    condition = _hashed(table, [keys[period] for period in some], words)
                span = span_of(some[-1]).since, span_of(some[0]).until
                conditions.append(replace(condition, accepts=accepts.accepts, span=span, few=hashed))
        return conditions


def _more_and_more(periods: Sequence[str]) -> Iterator[Sequence[str]]:
    first, size = 0, _FIRST
    while first < len(periods):
        yield periods[first : first + size]
        first, size = first + size, 4 * size


def _hashed(table: str, keys: Sequence[bytes], words: Words) -> Condition:
    by_column: dict[str, list[str]] = {}
    for one in words:
        for column, word in one.items():
            by_column.setdefault(column, []).append(word)
    values = [
        [hash_of(key, column, word) for key in keys for word in its] for column, its in by_column.items()
    ]
    return Condition(f"({' OR '.join(f'{table}.{column} = ANY(?)' for column in by_column)})", values)


def _accepting(column: str, accepts: Callable[[str], bool]) -> Condition:
    def row_accepts(row: Row) -> bool:
        return row[column] is not None and accepts(row[column])

    return Condition(accepts=row_accepts)


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

    def forget_keys(self) -> ForgottenKeys:
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
                    raise DamagedRow("{0}: {1}: {2}", self.path, row["id"], row[UNREADABLE])
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

    def _end_period(self, period: str, span: TimeSpan) -> None:
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

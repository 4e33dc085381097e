"""What persons are found by in the shared database: keyed hashes of words, with a key for each few hours.

A word is a whole number, its first characters, its last four, or the user part of an operator's address. Its
hash is HMAC-SHA256 under the key of the period in which the call began: so two periods have no hash in
common, and none can be tried without that key. Keys last no longer than everybody in their period is kept.
"""

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from retention.postgres.key_tables import HASHES
from retention.postgres.sealed.row_keys import KeyKind, RowKey, RowKeys
from retention.recording import to_text
from retention.rows.pages import Row

PERIOD = timedelta(hours=6)
NUMBER, START, END, OPERATOR = HASHES
SEVERAL = "@"  # in no user part
_END = 4  # digits of a number
_LENGTH = 16  # bytes of a hash

Query = Callable[[str, Sequence[object]], list[Row]]


@dataclass(frozen=True, slots=True)
class Span:
    """A time in rows, from `since` until before `until`."""

    since: str
    until: str


def period_of(started_at: str) -> str:
    """The period of a time in rows: `2026-11-27T18`."""
    hours = PERIOD // timedelta(hours=1)
    return f"{started_at[:11]}{int(started_at[11:13]) // hours * hours:02d}"


def span_of(period: str) -> Span:
    """When a period is."""
    since = datetime.strptime(period, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    return Span(to_text(since), to_text(since + PERIOD))


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

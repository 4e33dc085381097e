"""Which objects of a store are whose: a row for each put, written before it, so that none is lost sight of.

A put is `putting` until its answer is known, then `there`; what must go is `removing` until the store has
removed it, and then has no row any more. The rows are not part of the chain: they tell where bytes lie, not
what happened. Where several hosts share a database, each writes them into its own journal first.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from secrets import token_hex
from typing import Protocol

from retention.records import from_text, to_text
from retention.rows.pages import PAGE, Row


class Database(Protocol):
    """A database of ours, as far as these rows need it."""

    whole: bool

    def write(self) -> AbstractContextManager[None]: ...

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]: ...

    def change(self, sql: str, values: Sequence[object] = ()) -> None: ...

    def change_many(self, sql: str, every: Sequence[Sequence[object]]) -> None: ...


UNSURE = timedelta(minutes=16)
"""How long a put without an answer may still arrive: a store takes a signature that is 15 minutes old."""

_PAGE = 500  # names in one statement
_IDS = 5000  # in one answer
_WHOLE = 3  # objects of a recording that is kept: key, sound, metadata


class State(StrEnum):
    """What is known of a put."""

    PUTTING = "putting"
    THERE = "there"
    REMOVING = "removing"
    GONE = "gone"  # in a journal, until the shared database knows


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """One put of one object. `put` names it among those of all hosts.

    `version` is null until the store has answered, and empty where the bucket keeps none; `sha256` is
    hexadecimal. `at`: when it began; `since`: from when on it must go.
    """

    put: str
    name: str
    id: str
    kind: str
    state: State
    at: datetime
    version: str | None = None
    bytes: int = 0
    sha256: str | None = None
    held: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """What is yet to be removed: of how many recordings, and since when at most."""

    recordings: int
    since: datetime | None


def new_put() -> str:
    """A name that no other put of any host has."""
    return token_hex(12)


class ObjectRows:
    """The rows about objects in one database. Everything raises StoreError."""

    def __init__(self, store: Database) -> None:
        self._store = store

    # what is put

    def intend(self, rows: Iterable[ObjectRow]) -> None:
        """Write them, in one transaction, before anything is put."""
        self._write_many(_INSERT, [[*_columns(row).values()] for row in rows])

    def done(self, answers: Iterable[tuple[ObjectRow, str | None]]) -> None:
        """They are there, each with its version and what its row says; one that must go by now still must."""
        self._write_many(
            _DONE,
            [[version or "", row.bytes, row.sha256, int(row.held), row.put] for row, version in answers],
        )

    def give_up(self, row: ObjectRow, version: str | None) -> None:
        """This version must go, unless it has been said by now that it is there: by a transaction of which
        nobody knew whether it was done."""
        values: list[object] = [version or "", int(row.held), self._now(), row.put]
        self._write([(_GIVE_UP, values)])

    def set_held(self, puts: Iterable[str], *, held: bool) -> None:
        """The store holds these now, or no longer."""
        self._each("UPDATE objects SET held = ?, told = 0 WHERE put IN ({})", [int(held)], puts)

    # what goes

    def remove(self, ids: Iterable[str], *, anyhow: bool = False) -> None:
        """All of these recordings must go, in the transaction that says so of their rows.

        What the store holds stays, except `anyhow`: a caller's refusal.
        """
        self._each((_REMOVE if anyhow else _REMOVE_FREE) + "id IN ({})", [self._now()], ids)

    def remove_puts(self, puts: Iterable[str]) -> None:
        """These must go: others have taken their place."""
        self._each(_REMOVE + "put IN ({})", [self._now()], puts)

    def forget(self, puts: Iterable[str]) -> None:
        """They are gone; the journal of one host among several says so until all know."""
        if self._store.whole:
            self._each("DELETE FROM objects WHERE put IN ({})", [], puts)
        else:
            self._each("UPDATE objects SET state = 'gone', told = 0 WHERE put IN ({})", [], puts)

    # what is known

    def of(self, ids: Sequence[str]) -> list[ObjectRow]:
        """All rows of these recordings, as they were put."""
        sql = "SELECT * FROM objects WHERE state <> 'gone' AND id IN ({}) ORDER BY id, at, name"
        return [row for some in _pages(ids) for row in self._rows(sql.format(_marks(some)), some)]

    def removing(self) -> list[str]:
        """The recordings of which something is to be removed, the longest waiting first."""
        sql = (
            "SELECT id, min(since) AS since FROM objects WHERE state = 'removing' "
            "GROUP BY id ORDER BY min(since), id"
        )
        return [row["id"] for row in self._store.read(sql)]

    def removals(self, before: datetime) -> Removals:
        """How much is still to be removed that should have been by `before`.

        A put without an answer, which is only waited for, is not part of it.
        """
        sql = (
            "SELECT count(DISTINCT id) AS n, min(since) AS since FROM objects "
            "WHERE state = 'removing' AND since < ? AND (version IS NOT NULL OR at < ?)"
        )
        (row,) = self._store.read(sql, [to_text(before), to_text(before - UNSURE)])
        return Removals(recordings=row["n"], since=row["since"] and from_text(row["since"]))

    def held_of(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of these recordings of which the store holds anything that is not to go."""
        sql = "SELECT DISTINCT id FROM objects WHERE held = 1 AND id IN ({}) AND state <> 'removing'"
        pages = (self._store.read(sql.format(_marks(some)), some) for some in _pages(ids))
        return frozenset(row["id"] for page in pages for row in page)

    def held(self) -> list[ObjectRow]:
        """Those that the store holds."""
        return self._rows("SELECT * FROM objects WHERE held = 1 ORDER BY id, name", [])

    def names(self, kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Every name of these kinds that is not to go, with the id it belongs to; a page at a time."""
        after = ""
        sql = (
            "SELECT DISTINCT name, id FROM objects WHERE state IN ('putting', 'there') AND name > ? "
            f"AND kind IN ({_marks(kinds)}) ORDER BY name LIMIT {PAGE}"
        )
        while page := self._store.read(sql, [after, *kinds]):
            yield from ((row["name"], row["id"]) for row in page)
            after = page[-1]["name"]

    def crowded(self) -> Iterator[str]:
        """Recordings of which more is there than key, sound and metadata, or some in pieces; a page at a
        time."""
        after = ""
        sql = (
            "SELECT id, count(*) AS n, sum(CASE kind WHEN 'part' THEN 1 ELSE 0 END) AS pieces FROM objects "
            f"WHERE state IN ('putting', 'there') AND id > ? GROUP BY id ORDER BY id LIMIT {_IDS}"
        )
        while page := self._store.read(sql, [after]):
            yield from (row["id"] for row in page if row["n"] > _WHOLE or row["pieces"])
            after = page[-1]["id"]

    # where hosts share a database

    def untold(self, limit: int = PAGE) -> list[ObjectRow]:
        """What the shared database does not know yet."""
        return self._rows(f"SELECT * FROM objects WHERE told = 0 ORDER BY at LIMIT {limit}", [])

    def take_over(self, rows: Sequence[ObjectRow], gone: Collection[str]) -> None:
        """Write what a host tells, in one transaction; of recordings that are `gone`, all must go.

        What must go by a word of others still must, and what the store holds stays said.
        """
        self._write(
            (_DELETE, [row.put]) if row.state is State.GONE else (_MERGE, _told(row, gone, self._now()))
            for row in rows
        )

    def were_told(self, rows: Iterable[ObjectRow]) -> None:
        """The shared database knows them, as they were read here; those that are gone leave."""
        sql = "UPDATE objects SET told = 1 WHERE put = ? AND state = ? AND (version = ? OR version IS NULL)"
        self._write(
            (_DELETE, [row.put])
            if row.state is State.GONE
            else (sql, [row.put, row.state.value, row.version])
            for row in rows
        )

    def drop_told(self, kept: Collection[str]) -> None:
        """Let go of rows of calls that are over: the shared database has them. Those of `kept` stay."""
        sql = (
            "SELECT DISTINCT id FROM objects WHERE told = 1 AND state = 'there' "
            "AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.id = objects.id)"
        )
        over = [row["id"] for row in self._store.read(sql) if row["id"] not in kept]
        self._each("DELETE FROM objects WHERE told = 1 AND state = 'there' AND id IN ({})", [], over)

    # steps

    def _now(self) -> str:
        return to_text(datetime.now(UTC))

    def _write(self, statements: Iterable[tuple[str, list[object]]]) -> None:
        whole = [*statements]
        if whole:
            with self._store.write():
                for sql, values in whole:
                    self._store.change(sql, values)

    def _write_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        if every:
            with self._store.write():
                self._store.change_many(sql, every)

    def _each(self, sql: str, first: list[object], names: Iterable[str]) -> None:
        self._write((sql.format(_marks(some)), [*first, *some]) for some in _pages([*names]))

    def _rows(self, sql: str, values: Sequence[object]) -> list[ObjectRow]:
        return [_row(row) for row in self._store.read(sql, values)]


_NAMES = tuple(one.name for one in fields(ObjectRow))
_INSERT = f"INSERT INTO objects ({', '.join(_NAMES)}, told) VALUES ({', '.join('?' * len(_NAMES))}, 0)"
_DONE = (
    "UPDATE objects SET version = ?, bytes = ?, sha256 = ?, held = ?, told = 0, "
    "state = CASE state WHEN 'putting' THEN 'there' ELSE state END WHERE put = ?"
)
_GIVE_UP = (
    "UPDATE objects SET version = ?, held = ?, since = coalesce(since, ?), told = 0, state = 'removing' "
    "WHERE put = ? AND state IN ('putting', 'removing')"
)
_REMOVE = (
    "UPDATE objects SET state = 'removing', since = ?, told = 0 WHERE state IN ('putting', 'there') AND "
)
_REMOVE_FREE = (
    "UPDATE objects SET state = 'removing', since = ?, told = 0 "
    "WHERE held = 0 AND state IN ('putting', 'there') AND "
)
_DELETE = "DELETE FROM objects WHERE put = ?"
_MERGE = (
    f"INSERT INTO objects ({', '.join(_NAMES)}, told) VALUES ({', '.join('?' * len(_NAMES))}, 0) "
    "ON CONFLICT (put) DO UPDATE SET version = coalesce(excluded.version, objects.version), "
    "bytes = excluded.bytes, sha256 = excluded.sha256, since = coalesce(objects.since, excluded.since), "
    "state = CASE objects.state WHEN 'removing' THEN objects.state ELSE excluded.state END"
)


def _told(row: ObjectRow, gone: Collection[str], now: str) -> list[object]:
    columns = _columns(row)
    if row.id in gone:
        columns |= {"state": State.REMOVING.value, "since": columns["since"] or now}
    return [*columns.values()]


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def _pages(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))


def _columns(row: ObjectRow) -> dict[str, object]:
    plain = {"state": row.state.value, "held": int(row.held), "at": to_text(row.at)}
    told = {name: getattr(row, name) for name in _NAMES}
    return {**told, **plain, "since": row.since and to_text(row.since)}


def _row(row: Row) -> ObjectRow:
    rich = {"state": State(row["state"]), "held": bool(row["held"]), "at": from_text(row["at"])}
    kept = {name: row[name] for name in _NAMES}
    return ObjectRow(**{**kept, **rich, "since": row["since"] and from_text(row["since"])})

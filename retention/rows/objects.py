"""Which objects of a store are whose: a row for each put, written before it, so that none is lost sight of.

A put is `putting` until its answer is known, then `there`; what must go is `removing` until the store has
removed it, and then has no row any more. The rows are not part of the chain: they tell where bytes lie, not
what happened. Where several hosts share a database, each writes them into its own journal first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from secrets import token_hex
from typing import TYPE_CHECKING

from retention.recording import from_text, to_text
from retention.rows.pages import Row

if TYPE_CHECKING:
    from retention.rows.database import ChainedDatabase

_PAGE = 500  # names in one statement


class State(StrEnum):
    """What is known of a put."""

    PUTTING = "putting"
    THERE = "there"
    REMOVING = "removing"


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

    def __init__(self, store: "ChainedDatabase", clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    # what is put

    def intend(self, rows: Iterable[ObjectRow]) -> None:
        """Write them, in one transaction, before anything is put."""
        with self._store.write():
            for row in rows:
                values = _columns(row)
                marks = ", ".join("?" * len(values))
                self._store.change(
                    f"INSERT INTO objects ({', '.join(values)}) VALUES ({marks})", [*values.values()]
                )

    def done(self, answers: Iterable[tuple[ObjectRow, str | None]]) -> None:
        """They are there, each with its version and what its row says; one that must go by now still must."""
        sql = (
            "UPDATE objects SET version = ?, bytes = ?, sha256 = ?, held = ?, "
            "state = CASE state WHEN 'putting' THEN 'there' ELSE state END WHERE put = ?"
        )
        with self._store.write():
            for row, version in answers:
                self._store.change(sql, [version or "", row.bytes, row.sha256, int(row.held), row.put])

    def set_held(self, puts: Iterable[str], *, held: bool) -> None:
        """The store holds these now, or no longer."""
        self._each("UPDATE objects SET held = ? WHERE put IN ({})", [int(held)], puts)

    # what goes

    def remove(self, ids: Iterable[str], *, anyhow: bool = False) -> None:
        """All of these recordings must go, in the transaction that says so of their rows.

        What the store holds stays, except `anyhow`: a caller's refusal.
        """
        free = "" if anyhow else "AND held = 0 "
        sql = f"UPDATE objects SET state = 'removing', since = ? WHERE state <> 'removing' {free}AND id IN "
        self._each(sql + "({})", [to_text(self._clock())], ids)

    def remove_puts(self, puts: Iterable[str]) -> None:
        """These must go: others have taken their place."""
        sql = "UPDATE objects SET state = 'removing', since = ? WHERE state <> 'removing' AND put IN ({})"
        self._each(sql, [to_text(self._clock())], puts)

    def forget(self, puts: Iterable[str]) -> None:
        """They are gone."""
        self._each("DELETE FROM objects WHERE put IN ({})", [], puts)

    # what is known

    def of(self, ids: Sequence[str]) -> list[ObjectRow]:
        """All rows of these recordings, as they were put."""
        found: list[ObjectRow] = []
        for some in _pages(ids):
            marks = ", ".join("?" * len(some))
            found += self._rows(f"SELECT * FROM objects WHERE id IN ({marks}) ORDER BY id, at, name", some)
        return found

    def removing(self) -> list[str]:
        """The recordings of which something is to be removed, the longest waiting first."""
        sql = (
            "SELECT id, min(since) AS since FROM objects WHERE state = 'removing' "
            "GROUP BY id ORDER BY min(since), id"
        )
        return [row["id"] for row in self._store.read(sql, [])]

    def removals(self, before: datetime) -> Removals:
        """How much is still to be removed that should have been by `before`."""
        sql = (
            "SELECT count(DISTINCT id) AS n, min(since) AS since FROM objects "
            "WHERE state = 'removing' AND since < ?"
        )
        (row,) = self._store.read(sql, [to_text(before)])
        return Removals(recordings=row["n"], since=row["since"] and from_text(row["since"]))

    def unsure(self, before: datetime) -> list[ObjectRow]:
        """Puts that began before, and of which no answer is known."""
        return self._rows(
            "SELECT * FROM objects WHERE state = 'putting' AND at < ? ORDER BY at", [to_text(before)]
        )

    def is_held(self, id: str) -> bool:
        """Whether the store holds anything of this recording that is not to go."""
        sql = "SELECT 1 FROM objects WHERE held = 1 AND id = ? AND state <> 'removing' LIMIT 1"
        return bool(self._store.read(sql, [id]))

    def held(self) -> list[ObjectRow]:
        """Those that the store holds."""
        return self._rows("SELECT * FROM objects WHERE held = 1 ORDER BY id, name", [])

    def names(self) -> Iterator[tuple[str, str]]:
        """Every name that is not to go, with the id it belongs to."""
        sql = "SELECT DISTINCT name, id FROM objects WHERE state <> 'removing' ORDER BY name"
        return ((row["name"], row["id"]) for row in self._store.read(sql, []))

    # steps

    def _each(self, sql: str, first: list[object], names: Iterable[str]) -> None:
        pages = [*_pages([*names])]
        if pages:
            with self._store.write():
                for some in pages:
                    self._store.change(sql.format(", ".join("?" * len(some))), [*first, *some])

    def _rows(self, sql: str, values: Sequence[object]) -> list[ObjectRow]:
        return [_row(row) for row in self._store.read(sql, values)]


def _pages(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))


def _columns(row: ObjectRow) -> dict[str, object]:
    return {
        "put": row.put,
        "name": row.name,
        "id": row.id,
        "kind": row.kind,
        "version": row.version,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "state": row.state.value,
        "held": int(row.held),
        "at": to_text(row.at),
        "since": row.since and to_text(row.since),
    }


def _row(row: Row) -> ObjectRow:
    return ObjectRow(
        put=row["put"],
        name=row["name"],
        id=row["id"],
        kind=row["kind"],
        version=row["version"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        state=State(row["state"]),
        held=bool(row["held"]),
        at=from_text(row["at"]),
        since=row["since"] and from_text(row["since"]),
    )

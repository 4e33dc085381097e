"""Rows as the shared database keeps them: what leads to a person is in one column, `sealed`, under the row's
key.

`sealed` is a SecretBox (XSalsa20-Poly1305) of JSON: the columns of `chain.PERSONAL` and the salt, with the
name of the row in `of`, so that it opens nothing else. With the salt anyone could try numbers against the
chain's commitment: so it goes with the key. Of a hold, ground and review stay in clear.

A row keeps its key as long as it only gains. One that loses something and still leads to a person gets
another key, so that its earlier states cannot be opened any more.
"""

import hmac
import json
from collections.abc import Mapping

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from retention.postgres.key_tables import SEARCHED, WORDS
from retention.postgres.sealed.row_keys import RowKey, RowKeys
from retention.postgres.sealed.words import hashes, period_of, search_key
from retention.postgres.tables import SEALED
from retention.recording import RecordError
from retention.rows.chain import TABLES
from retention.rows.columns import UNREADABLE
from retention.rows.pages import Query, Row

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
        raise RecordError(f"sealed: not readable: {error}") from error
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

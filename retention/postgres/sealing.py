"""Rows as the shared database keeps them: what leads to a person is in one column, `sealed`, under the row's key.

`sealed` is a SecretBox (XSalsa20-Poly1305) of JSON: the columns of `chain.PERSONAL` and the salt, with the
name of the row in `of`, so that it opens nothing else. With the salt anyone could try numbers against the
chain's commitment: so it goes with the key. Of a hold, ground and review stay in clear.

A row keeps its key as long as it only gains. One that loses something and still leads to a person gets another
key, so that its earlier states cannot be opened any more.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from retention.postgres.key_tables import HASHES, SEALED_TABLES, SEARCHED
from retention.postgres.row_keys import RowKey, RowKeys
from retention.postgres.words import hashes, search_key
from retention.recording import Json, RecordError
from retention.rows.chain import PERSONAL, TABLES, public
from retention.rows.columns import UNREADABLE, from_row, json_text
from retention.rows.pages import Row

KINDS = {table: kind for kind, table in TABLES.items()}
_ROUND = 64  # bytes: how long a text was shows no closer
_OURS = ("sealed", "key", "search", *HASHES)

Query = Callable[[str, Sequence[object]], list[Row]]


def personal_columns(table: str) -> tuple[str, ...]:
    """The columns that are sealed."""
    return (*PERSONAL[KINDS[table]], "salt")


def sealed(key: bytes, table: str, id: str | int, columns: Mapping[str, object]) -> bytes:
    """These columns of a row, sealed. Any text goes in, also one that no database takes."""
    text = json.dumps({"of": f"{KINDS[table]}/{id}", **columns}, separators=(",", ":"))
    return SecretBox(key).encrypt(text.ljust(-len(text) // _ROUND * -_ROUND).encode())


def unsealed(key: bytes, table: str, id: str | int, box: bytes) -> Row:
    """The inverse. Raises RecordError."""
    try:
        columns: Row = json.loads(SecretBox(key).decrypt(box))
        if columns.pop("of") != f"{KINDS[table]}/{id}":
            raise ValueError("of another row")
    except (CryptoError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"sealed: not readable: {error}") from error
    return columns


class Sealing:
    """Rows as they went in ↔ rows as they are kept, with the keys of `keys`."""

    def __init__(self, keys: RowKeys) -> None:
        self.keys = keys

    def closed(self, query: Query, table: str, row: Row, *, new: bool) -> Row:
        """The columns to write for a whole row, within the transaction in which `query` asks."""
        names = personal_columns(table)
        columns = {name: row[name] for name in names}
        kept = {name: value for name, value in row.items() if name not in names}
        if table == "recordings":
            kept["hold"] = _open_hold(row)
        id = row["id"]
        if columns["salt"] is None:
            return kept | dict.fromkeys(_ours(table))
        key = self._key(query, table, id, columns, new=new)
        kept |= {"sealed": sealed(key.raw, table, id, columns), "key": key.name}
        if table in SEARCHED:
            kept |= self._words(query, row)
        return kept

    def opened(self, table: str, rows: list[Row]) -> list[Row]:
        """Rows as they went in. Of one whose key is gone everything personal is null."""
        if table not in SEALED_TABLES or not rows or "sealed" not in rows[0]:
            return rows
        found = self.keys.get(row["key"] for row in rows if row["key"] is not None)
        return [self._opened(table, row, found.keys.get(row["key"]), found.lost.get(row["key"])) for row in rows]

    # steps

    def _opened(self, table: str, row: Row, key: bytes | None, lost: str | None) -> Row:
        empty = {name: None for name in personal_columns(table) if name != "hold"}
        plain = {name: value for name, value in row.items() if name not in _OURS} | empty
        if lost is not None:
            return plain | {UNREADABLE: lost}
        if key is None or row["sealed"] is None:
            return plain
        try:
            return plain | unsealed(key, table, row["id"], row["sealed"])
        except RecordError as error:
            return plain | {UNREADABLE: str(error)}

    def _key(self, query: Query, table: str, id: str | int, columns: Row, *, new: bool) -> RowKey:
        if not new:
            kept = query(f"SELECT id, sealed, key FROM {table} WHERE id = ?", [id])
            name = kept[0]["key"] if kept else None
            raw = None if name is None else self.keys.get([name]).keys.get(name)
            if raw is not None and _only_gains(unsealed(raw, table, id, kept[0]["sealed"]), columns):
                return RowKey(name, raw)
        return self.keys.take()

    def _words(self, query: Query, row: Row) -> Row:
        key = search_key(query, self.keys, row["started_at"])
        return hashes(key, row["caller"], row["operator"])


def _only_gains(before: Row, after: Row) -> bool:
    lost = (name for name, value in before.items() if value is not None and after[name] is None)
    return next(lost, None) is None and before.get("hold") in (None, after.get("hold"))


def _open_hold(row: Row) -> str | None:
    if row["hold"] is None:
        return None
    record: Json = from_row({"hold": row["hold"]})
    return json_text(public("recording", record)["hold"])


def _ours(table: str) -> tuple[str, ...]:
    return _OURS if table in SEARCHED else ("sealed", "key")

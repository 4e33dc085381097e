"""A `SharedStore` for the tests of what all databases have in common. It hides nothing: that is tried
elsewhere.
"""

import json
from collections.abc import Iterable
from typing import Any

from retention.accounts.accounts import TURN
from retention.accounts.shared import ACCOUNTS_SCHEMA, SharedRows
from retention.postgres.database import SharedStore
from retention.postgres.schema import SEALED
from retention.rows.pages import Query, Row
from retention.rows.selection import Condition, Selection, Sought


class ClearSeals:
    """Seals that anybody can open."""

    def seal(self, query: Query, table: str, rows: list[Row]) -> list[Row]:
        return [self._sealed(table, row) for row in rows]

    def _sealed(self, table: str, row: Row) -> Row:
        personal = {name: row[name] for name in SEALED[table] if row[name] is not None}
        kept: Row = {"sealed": None if row["salt"] is None else json.dumps(personal).encode()}
        if table == "approvals":
            kept |= {f"{name}_proof": _bytes(row[name]) for name in ("by", "decided_by")}
        if table in ("receipts", "recordings"):
            caller, operator = row["caller"], row["operator"]
            kept |= {
                "number_hash": _bytes(caller),
                "end_hash": _bytes(caller and caller[-4:]),
                "operator_hash": _bytes(operator and _user(operator)),
            }
        return kept

    def unseal(self, table: str, rows: list[Row]) -> list[Row]:
        return [{} if row["sealed"] is None else json.loads(row["sealed"]) for row in rows]


class ClearSearching:
    """Finds persons by what `ClearSeals` keeps of them."""

    def sought(self, query: Query, table: str, selection: Selection) -> Iterable[Sought]:
        if selection.number is not None:
            number = Condition(f"{table}.number_hash = ?", (selection.number.encode(),))
            yield Sought("number", number, (number,))
        if forms := selection.caller:
            yield Sought("caller", Condition(accepts=lambda row: _has_part(row["caller"], forms)))
        if (operator := selection.operator) is not None:
            yield Sought("operator", Condition(accepts=lambda row: _has_operator(row, operator)))


def shared_store(conninfo: str, **how: Any) -> SharedStore:
    """One over a database of the tests."""
    return SharedStore(conninfo, None, seals=ClearSeals(), searching=ClearSearching(), **how)


def prepare(conninfo: str) -> None:
    """Make the tables, for databases that are copies of this one. No key of accounts is there yet."""
    shared_store(conninfo).close()
    rows = SharedRows(conninfo, None, lambda new: None)
    with rows.transaction(TURN) as connection:
        ACCOUNTS_SCHEMA.take(connection)
    rows.close()


def _has_part(caller: str | None, forms: tuple[str, ...]) -> bool:
    return caller is not None and any(caller.startswith(form) or caller.endswith(form) for form in forms)


def _has_operator(row: Row, operator: str) -> bool:
    every = json.loads(row["operators"]) if row["operators"] else [row["operator"] or ""]
    return any(operator in (one, _user(one)) for one in every)


def _user(address: str) -> str:
    return address.partition("@")[0].rpartition(":")[2]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()

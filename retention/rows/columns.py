"""JSON fields ↔ the columns of a row: nested values are JSON text, true and false are 1 and 0."""

import json
from typing import Any

from retention.recording import Json, RecordError

UNREADABLE = "unreadable"  # in a row of which something cannot be read: why
OF_THE_CHAIN = ("salt", "chain_seq")  # columns that are no field of a record

_NESTED = ("notice", "pauses", "hold", "events", "operators")
_FLAGS = ("incomplete", "flagged")
_FLOATS = ("duration_s", "confidence")  # an int comes back as a float: the chain covers what is read


def to_row(record: Json) -> Json:
    """The columns of a record; `operators` is null where `operator` says it."""
    columns = {name: _column(value) for name, value in record.items()}
    if len(record.get("operators") or ()) < 2 and "operators" in record:
        columns["operators"] = None
    return columns


def from_row(row: dict[str, Any]) -> Json:
    """The fields of a row, without what belongs to the chain. Raises RecordError."""
    if UNREADABLE in row:
        raise RecordError(row[UNREADABLE])
    plain: Json = {}
    for name, value in row.items():
        if name in _NESTED and value is not None:
            plain[name] = _nested(name, value)
        elif name in _FLAGS and value in (0, 1):
            plain[name] = bool(value)
        elif name not in OF_THE_CHAIN:
            plain[name] = value
    return plain


def record_of(kind: str, row: dict[str, Any]) -> Json:
    """The fields of a row without a number that the database gave: what the chain's entry was made of.

    Raises RecordError.
    """
    record = from_row(row)
    if kind in ("access", "note", "sum", "approval"):
        del record["id"]
    return record


def as_read(record: Json) -> Json:
    """A record as the database will give it back."""
    floats = {name: float(record[name]) for name in _FLOATS if record.get(name) is not None}
    return record | floats if floats else record


def _column(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return json_text(value) if isinstance(value, (list, dict)) else value


def _nested(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as wrong:
        raise RecordError(f"{name}: not readable: {wrong}") from wrong


def json_text(value: object) -> str:
    """Compact JSON, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

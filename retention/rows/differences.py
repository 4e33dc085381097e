"""Whether a row is what its entry in the chain says."""

from collections.abc import Iterator, Sequence

from retention.recording import Json, RecordError, parse_json
from retention.rows.chain import ChainEntry, canonical, commitment, is_personal, public_text
from retention.rows.columns import record_of
from retention.rows.pages import Row


def differences(kind: str, row: Row, entry: ChainEntry) -> Sequence[str]:
    """The differences between a row and the entry that tells its present state, one line each.

    The values of the row may be of any kind.
    """
    try:
        return list(_between(kind, row, entry))
    except RecordError as error:
        return [str(error)]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return [f"not readable: {error}"]


def _between(kind: str, row: Row, entry: ChainEntry) -> Iterator[str]:
    record, salt = record_of(kind, row), row["salt"]
    if public_text(kind, record) != entry.public:
        yield from _changed(kind, record, entry)
    if salt is None and is_personal(kind, record):
        yield "what leads to a person was added to it"
    elif commitment(kind, record, salt) != entry.personal:
        yield "what leads to a person was changed in it, or taken without a trace"


def _changed(kind: str, record: Json, entry: ChainEntry) -> Iterator[str]:
    """Compare each field; an entry says nothing of an optional field that is empty in its row."""
    try:
        told, there = parse_json(entry.public), parse_json(public_text(kind, record))
    except RecordError as error:
        yield str(error)
        return
    for name in sorted(told.keys() | there.keys()):
        if name in told and told[name] != there.get(name):
            yield f"{name} is {canonical(there.get(name))}, the chain says {canonical(told[name])}"
        elif name not in told and there[name] is not None:
            yield f"{name} is {canonical(there[name])}, the chain says nothing of it"

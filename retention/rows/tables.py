"""The tables of what is kept, described once for SQLite and for PostgreSQL: columns, indexes, and rules.

A table has a column for each JSON field of its records, as their types say; nested values are JSON text, true
and false are 1 and 0. Beside them `salt` and `chain_seq` belong to the chain. Each database renders this in
its own SQL, and adds what it alone has.

**Rules** are what the database itself refuses: what a crash, a bug or a person in a hurry must never do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from retention.records import FieldType, field_types
from retention.rows.chain import KINDS, OF_THE_CHAIN, RECORDS, TABLES, ChainEntry
from retention.rows.object_rows import ObjectRow
from retention.rows.pages import Dialect

KEPT = (*TABLES.values(), "chain")  # of which no row is ever deleted


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """`kind`: text, integer, real, flag. `needed`: never null. `key`: the primary key."""

    name: str
    kind: str
    needed: bool = False
    key: bool = False


@cache
def columns(table: str) -> tuple[SqlColumn, ...]:  # noqa: PLR0911 - one a table
    """The columns of a table, as its rows go in and come out; the key first."""
    numbered, named = SqlColumn("id", "integer", key=True), SqlColumn("id", "text", key=True)
    match table:
        case "chain":
            return _fields(ChainEntry, "seq")
        case "objects":  # where bytes lie in a store of objects
            return (*_fields(ObjectRow, "put"), SqlColumn("told", "integer", needed=True))
        case "clock":
            return (numbered, SqlColumn("seen", "text"), SqlColumn("suspended", "text"))
        case "in_progress":  # which worker has which call: `reserve`
            return (named, SqlColumn("worker", "integer", needed=True))
        case "today":  # one row: `specials` is a list of them
            last = SqlColumn("last", "integer", needed=True)  # number
            return (numbered, last, SqlColumn("specials", "text", needed=True))
        case "rejected":  # how many an hour has: `counts`
            hour = SqlColumn("hour", "text", needed=True)
            return (numbered, hour, SqlColumn("receipts", "integer", needed=True))
        case "outbox":  # see `outbox`; an event without a call has an empty one
            needed = (
                SqlColumn(one, "text", needed=True) for one in ("id", "type", "at", "call", "state", "since")
            )
            others = (SqlColumn(one, "text") for one in ("next_at", "done_at", "why", "reason"))
            tries = SqlColumn("attempts", "integer", needed=True)
            return (SqlColumn("number", "integer", key=True), *needed, tries, *others)
        case "outbox_read":  # one row: the last entry that events were made of; until when reviews were
            return (numbered, SqlColumn("seq", "integer", needed=True), SqlColumn("reviews", "text"))
        case _:
            kept = {one.name: one for one in _fields(RECORDS[KINDS[table]], "id")}
            # a row of which somebody took a flag is kept, and moves, as it is
            kept |= {name: replace(one, needed=False) for name, one in kept.items() if one.kind == "flag"}
            salt, seq = OF_THE_CHAIN
            key = kept.pop("id", numbered)
            return (key, *kept.values(), SqlColumn(salt, "text"), SqlColumn(seq, "integer"))


def names(table: str) -> tuple[str, ...]:
    """The names of its columns."""
    return tuple(column.name for column in columns(table))


def _fields(record: type, key: str) -> tuple[SqlColumn, ...]:
    return tuple(column_of(name, of, key) for name, of in field_types(record).items())


_KINDS = {int: "integer", bool: "flag", float: "real"}


def column_of(name: str, of: FieldType, key: str) -> SqlColumn:
    """The column of a field, by its type."""
    is_text = issubclass(of.type, (str, datetime))
    needed = not of.optional and not of.several and (is_text or of.type in (int, bool))
    kind = "text" if of.several else _KINDS.get(of.type, "text")
    return SqlColumn(name, kind, needed=needed and name != key, key=name == key)


@dataclass(frozen=True, slots=True)
class Index:
    """`where` says which rows are in it; `leads`: that condition may lead a list. `PERSONAL` stands for the
    condition that a row leads to a person, `REFERENCE` for the end of an id that names a call."""

    name: str
    table: str
    columns: str
    where: str = ""
    leads: bool = False


PERSONAL, REFERENCE = "{personal}", "{reference}"
_TIME = "started_at, id"
LINE = ("quality", "caller_identity", "not_recorded_because")  # of receipts, by the step `line`
NOT_RECORDED = Index("receipts_not_recorded", "receipts", _TIME, "not_recorded_because IS NOT NULL")
# few rows are read often, beside the tombstones and forgotten receipts that are kept for ever; and a page
# lists by any filter what it shows, and reads nothing else
INDEXES = (
    *(Index(f"{table}_by_time", table, _TIME) for table in ("receipts", "recordings")),
    *(Index(f"{table}_by_reference", table, f"{REFERENCE}, {_TIME}") for table in ("receipts", "recordings")),
    Index("receipts_personal", "receipts", _TIME, PERSONAL, leads=True),
    Index("receipts_expiring", "receipts", "expires_at, id", PERSONAL),
    Index("receipts_open", "receipts", _TIME, "ended_at IS NULL", leads=True),
    Index("receipts_by_outcome", "receipts", f"outcome, {_TIME}", "outcome IS NOT NULL"),
    Index("receipts_by_decision", "receipts", f"decision, {_TIME}"),
    Index("receipts_of_recordings", "receipts", "recording_id", "recording_id IS NOT NULL"),
    NOT_RECORDED,
    Index("recordings_kept", "recordings", _TIME, "purged_at IS NULL", leads=True),
    Index("recordings_expiring", "recordings", "expires_at, id", "purged_at IS NULL"),
    Index("recordings_held", "recordings", _TIME, "hold IS NOT NULL", leads=True),
    Index("recordings_flagged", "recordings", _TIME, "flagged = 1", leads=True),
    Index("recordings_by_status", "recordings", f"status, {_TIME}"),
    Index("accesses_of_recordings", "accesses", "recording_id, id", "recording_id IS NOT NULL"),
    Index("accesses_personal", "accesses", "id", PERSONAL, leads=True),
    Index("notes_of_recordings", "notes", "recording_id, id"),
    Index("notes_personal", "notes", "id", PERSONAL, leads=True),
    Index("approvals_of_recordings", "approvals", "recording_id, id"),
    Index("approvals_pending", "approvals", "id", "state = 'pending'"),
    Index("approvals_personal", "approvals", "id", PERSONAL, leads=True),
    Index("chain_firsts", "chain", "kind, seq", "was = 0"),
    Index("objects_of_recordings", "objects", "id"),
    Index("objects_by_name", "objects", "name"),
    Index("objects_removing", "objects", "since, id", "state = 'removing'"),
    Index("objects_held", "objects", "id, name", "held = 1"),
)

OUTBOX = ("outbox", "outbox_read")
# of the step `events`
OUTBOX_INDEXES = (
    Index("outbox_waiting", "outbox", "next_at, number", "state = 'waiting'"),
    Index("outbox_by_call", "outbox", "call, number", "state = 'waiting'"),
    Index("outbox_failed", "outbox", "number", "state = 'failed'"),
    Index("outbox_delivered", "outbox", "done_at", "state = 'delivered'"),
    Index("outbox_reasons", "outbox", "call", "reason IS NOT NULL"),
)
OUTBOX_ID = "CREATE UNIQUE INDEX outbox_by_id ON outbox (id)"


def index_texts(indexes: tuple[Index, ...], dialect: Dialect, *, led: bool) -> Iterator[str]:
    """The statements that make them. `led`: one that leads begins with its condition, which the order of a
    list says, too."""
    for one in indexes:
        where = one.where.replace(PERSONAL, dialect.personal)
        listed = one.columns.replace(REFERENCE, dialect.ending("id", 7))
        if led and one.leads:
            listed = f"({where}), {listed}"
        yield f"CREATE INDEX {one.name} ON {one.table} ({listed})" + (f" WHERE {where}" if where else "")


@dataclass(frozen=True, slots=True)
class Rule:
    """The database refuses to do `what` with a row of the table, and says `message`; only where the condition
    is met, if there is one. `{proof}` ends the names of columns that tell whether two people are the same."""

    name: str
    table: str
    what: str
    message: str
    condition: str = ""


_REFUSED = "EXISTS (SELECT 1 FROM receipts WHERE id = OLD.id AND decision = 'refused')"
RULES = (
    # a legal hold keeps the recording, but not against the caller's refusal: it came first
    Rule(
        "held_recordings_stay",
        "recordings",
        "UPDATE",
        "the recording is on hold",
        "OLD.hold IS NOT NULL AND (NEW.status <> OLD.status OR NEW.purged_at IS NOT NULL) "
        f"AND NOT (NEW.status = 'erased' AND {_REFUSED})",
    ),
    Rule("chain_grows", "chain", "UPDATE", "the chain only grows"),
    *(Rule(f"{table}_stay", table, "DELETE", f"rows of {table} are never deleted") for table in KEPT),
    Rule(
        "approvals_are_of_another",
        "approvals",
        "UPDATE",
        "nobody approves what they asked for",
        "NEW.state IN ('approved', 'used') AND NEW.decided_by{proof} = NEW.by{proof}",
    ),
    Rule(
        "approvals_are_decided_once",
        "approvals",
        "UPDATE",
        "this was decided already",
        "OLD.state <> NEW.state AND OLD.state <> 'pending' "
        "AND NOT (OLD.state = 'approved' AND OLD.action = 'export' AND NEW.state = 'used')",
    ),
    Rule(
        "approvals_are_asked_for",
        "approvals",
        "INSERT",
        "nothing is decided before it was asked for",
        "NEW.state <> 'pending'",
    ),
)


@dataclass(frozen=True, slots=True)
class Ending:
    """After an update of a row of the table that meets the condition, the `statement` is run."""

    name: str
    table: str
    condition: str
    statement: str


# a call is in progress until its receipt has ended and its recording is in its final state: closed, or erased
# if the caller refused. This holds whichever program writes that, and in either order. The lines stay as they
# were in 0.1.0: its databases have them so, and in PostgreSQL they are compared letter by letter.
ENDINGS = (
    Ending(
        "receipts_end_calls",
        "receipts",
        "NEW.ended_at IS NOT NULL",
        """DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused')))""",
    ),
    Ending(
        "recordings_end_calls",
        "recordings",
        "NEW.status <> 'open'",
        """DELETE FROM in_progress WHERE id = NEW.id AND EXISTS
        (SELECT 1 FROM receipts WHERE id = NEW.id AND ended_at IS NOT NULL
        AND NOT (decision = 'refused' AND NEW.status = 'closed'))""",
    ),
)
OUTBOX_GONE = {  # where an alert that names the call of such a row says nothing any more
    "recordings": "{row}.status IN ('erased', 'purging', 'purged')",
    "receipts": "NOT ({row}.{personal})",
}


def outbox_endings(dialect: Dialect) -> tuple[Ending, ...]:
    """Of alerts, in the transaction that forgets."""
    done = "UPDATE outbox SET reason = NULL WHERE call = NEW.id AND reason IS NOT NULL"
    return tuple(
        Ending(f"{table}_end_alerts", table, gone.format(row="NEW", personal=dialect.personal), done)
        for table, gone in OUTBOX_GONE.items()
    )

"""One hash chain over all that is kept: each write of a row adds an entry, in the same transaction.

An entry's hash is the SHA-256 (hex) of these eight lines, joined by one newline each, UTF-8:

    the hash before it (64 zeros before the first), seq, at, kind, subject, was, personal, public

`kind` and `subject` name the row; `was` is the seq of the entry that told its state before, 0 for the
first; `public` is JSON of what may be known forever. `personal` is HMAC-SHA256 (hex) of the JSON of what
leads to a person, keyed with a salt that is only in the row; empty if nothing leads to a person. Once
value and salt are gone, no one can try numbers against what stays here, and the chain is still valid.
(GDPR article 5(1)(e) and (f), 5(2): what must go, and the proof of what was done.)

An entry of the kind `segment` begins a chain, or continues it after a database was lost. One of the kind
`altered` tells of a row that was not what its entry said when it was written next.

**The head** of the chain is in a file beside the database, too, so that a tail cut off the chain shows.
Anyone who can rewrite the database can rewrite this file: only copies kept elsewhere, and time stamps,
prove anything. It is one line of JSON, padded to a fixed length, in one write under a lock. Processes may
write in any order; a crash in between leaves an older head, which is still in the chain.

**Columns** of a row and its JSON fields: nested values are JSON text, true and false are 1 and 0.
`differences` says whether a row is what its entry says.

**The ledger** writes rows together with their entries. The caller has a transaction open.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, cast

from retention.files import share_owner, write_whole
from retention.records import (
    LATER_TERMS,
    Access,
    Approval,
    Hold,
    HoldTerms,
    Json,
    Note,
    Receipt,
    Record,
    RecordError,
    Recording,
    Sum,
    field_types,
    parse_json,
    terms,
    to_text,
)
from retention.rows.pages import Row, Tables, inserting
from retention.texts import Reason, WithReason

_Json = dict[str, Any]

GENESIS = "0" * 64
SEGMENT = "segment"
LOST = Reason("the database was lost")  # of one that goes on from an exported head
ALTERED = "altered"

# kind → the table whose rows it is about, their type, and the fields of these that lead to a person
TABLES = {
    "receipt": "receipts",
    "recording": "recordings",
    "access": "accesses",
    "note": "notes",
    "sum": "sums",
    "approval": "approvals",
}
RECORDS: dict[str, type[Record]] = {
    "receipt": Receipt,
    "recording": Recording,
    "access": Access,
    "note": Note,
    "sum": Sum,
    "approval": Approval,
}
PERSONAL: dict[str, tuple[str, ...]] = {
    "receipt": ("call_id", "caller", "operator", "operators", "keyword", "events"),
    "recording": ("call_id", "caller", "operator", "operators", "hold"),
    "access": ("by", "system_user", "login", "reference", "detail"),
    "note": ("by", "text"),
    "sum": (),
    "approval": (
        *(name for name, term in terms(HoldTerms).items() if not term.open),
        *("by", "reason", "decided_by", "answer"),
    ),
}
# of such a field that is null or empty, or names one operator, an entry says nothing; so a version that adds
# a field leaves the entries before it valid
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "access": ("login", "via"),
    "receipt": ("operators", "quality", "caller_identity", "not_recorded_because"),
    "recording": ("operators", "missing"),
    "approval": LATER_TERMS,
}


@dataclass(frozen=True, slots=True)
class ChainHead(Record):
    """The last entry of a chain: `hash` in hex; seq 0 and `GENESIS` for an empty chain."""

    seq: int
    hash: str


# What a segment follows: nothing, an exported head, or a head that can no longer be read
Lost = ChainHead | Literal["unknown"] | None


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One link. `was` is 0 for the first entry of its subject."""

    seq: int
    at: str
    kind: str
    subject: str
    was: int
    personal: str
    public: str
    hash: str

    def follows(self, previous: str) -> bool:
        """Whether its hash is that of its content after the hash `previous`."""
        return link(previous, self) == self.hash


def link(previous: str, entry: ChainEntry) -> str:
    """The hash that `entry` must have after `previous`; its own `hash` is ignored."""
    lines = (
        f"{previous}\n{entry.seq}\n{entry.at}\n{entry.kind}\n{entry.subject}\n{entry.was}\n"
        f"{entry.personal}\n{entry.public}"
    )
    return hashlib.sha256(lines.encode()).hexdigest()


def public(kind: str, record: _Json) -> _Json:
    """What of a row may be known forever. Of a hold: its ground and review."""
    hidden = PERSONAL[kind]
    fields = {name: value for name, value in as_told(kind, record).items() if name not in hidden}
    if kind == "recording":
        fields["hold"] = open_hold(hold) if (hold := record.get("hold")) else None
    return fields


def open_hold(hold: _Json) -> _Json:
    """What of a hold leads to no person, as its ground and review."""
    return {
        name: hold.get(name)
        for name, term in terms(Hold).items()
        if term.open and (name not in LATER_TERMS or hold.get(name) is not None)
    }


def public_text(kind: str, record: _Json) -> str:
    """What of a row may be known forever, as canonical JSON."""
    return canonical(public(kind, record))


def commitment(kind: str, record: _Json, salt: str | None) -> str:
    """The proof of the fields that lead to a person; empty without a salt: then no field does."""
    return "" if salt is None else hmac.digest(salt.encode(), personal_text(kind, record), "sha256").hex()


def new_salt(kind: str, record: _Json) -> str | None:
    """128 random bits in hex, or None for a row that leads to no person."""
    return secrets.token_hex(16) if is_personal(kind, record) else None


def is_personal(kind: str, record: _Json) -> bool:
    """Whether any field leads to a person."""
    return any(record.get(name) not in (None, []) for name in PERSONAL[kind])


def personal_text(kind: str, record: _Json) -> bytes:
    """The text that a commitment covers."""
    fields = {name: record.get(name) for name in PERSONAL[kind]}
    return canonical(as_told(kind, fields)).encode()


def as_told(kind: str, record: _Json) -> _Json:
    """A record without its optional fields that say nothing."""
    optional = _OPTIONAL.get(kind, ())
    return {
        name: _uncopied(name, value)
        for name, value in record.items()
        if name not in optional or not _is_nothing(name, value)
    }


def _uncopied(name: str, value: Any) -> Any:
    """Without the caller's number where that is a copy: neither the chain nor a column keeps a second one."""
    if name != "caller_identity" or not isinstance(value, dict):
        return value
    return {one: said for one, said in value.items() if one != "number"}


def _is_nothing(name: str, value: object) -> bool:
    few = 2 if name == "operators" else 1
    return value is None or (isinstance(value, list) and len(value) < few)


def canonical(value: object) -> str:
    """JSON in one form only: keys sorted, no space, letters as they are."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


DAMAGED = Reason(
    "could not be read, so a tail cut off before then would not show: look with a copy kept elsewhere "
    "(`sipagent verify --head`), then move it away"
)
_LENGTH = 160  # bytes: a seq of up to 19 digits fits
_LIMIT = 4096  # bytes: no more is read, even of a damaged file
_LAST = 2**63 - 1  # the last number that the database has
_HASH = re.compile("[0-9a-f]{64}")


class ChainHeadError(WithReason):
    """The file says nothing usable; `str()` is one line."""


def damaged_path(path: Path) -> Path:
    """`retention.head.damaged`: where an unreadable head is kept, for a person to look at."""
    return path.with_name(path.name + ".damaged")


def export_head(path: Path, head: ChainHead, knows: Callable[[ChainHead], bool]) -> None:
    """Write the head, unless the file has a later one, or one that the chain does not know.

    `knows(head)`: whether it is part of the chain; if not, a tail was cut off, and the file is what shows it.
    A file that cannot be read is kept at `damaged_path`. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = os.pread(descriptor, _LIMIT, 0)
        if not content:
            share_owner(path)
        if not content or _gives_way(path, content, head, knows):
            line = json.dumps({"seq": head.seq, "hash": head.hash}).ljust(_LENGTH - 1) + "\n"
            os.ftruncate(descriptor, min(len(content), _LENGTH))
            os.pwrite(descriptor, line.encode(), 0)
    finally:
        os.close(descriptor)


def read_head(path: Path) -> ChainHead | None:
    """None if the file is missing, or a crash left it empty. Raises ChainHeadError, OSError."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # not between two halves of what another process writes
            content = file.read(_LIMIT)
    except FileNotFoundError:
        return None
    return _read(content, path.name) if content else None


def _gives_way(path: Path, content: bytes, head: ChainHead, knows: Callable[[ChainHead], bool]) -> bool:
    """Whether the file may be replaced: an earlier head of this chain, or unreadable, and then kept
    beside."""
    try:
        exported = _read(content, "")
    except ChainHeadError:
        write_whole(damaged_path(path), content)
        return True
    return exported.seq < head.seq and knows(exported)


def _read(content: bytes, name: str) -> ChainHead:
    try:
        fields = json.loads(content)
        seq, hash = fields["seq"], fields["hash"]
        if type(seq) is not int or not 0 <= seq <= _LAST or not _HASH.fullmatch(hash):
            raise ValueError("no number, or no hash")
        return ChainHead(seq, hash)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChainHeadError("{0}: not the head of a chain", name) from error


UNREADABLE = "unreadable"  # in a row of which something cannot be read: why
OF_THE_CHAIN = ("salt", "chain_seq")  # columns that are no field of a record

_TYPES = {name: of for one in RECORDS.values() for name, of in field_types(cast(Any, one)).items()}
_NESTED = {name for name, of in _TYPES.items() if of.several or issubclass(of.type, (dict, Record))}
_FLAGS = {name for name, of in _TYPES.items() if of.type is bool}
# an int comes back as a float: the chain covers what is read
_FLOATS = {name for name, of in _TYPES.items() if of.type is float}


def to_row(record: Json) -> Json:
    """The columns of a record; `operators` is null where `operator` says it."""
    columns = {name: _column(_uncopied(name, value)) for name, value in record.items()}
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
        raise RecordError("{0}: not readable: {1}", name, wrong) from wrong


def json_text(value: object) -> str:
    """Compact JSON, letters as they are."""
    return _COMPACT.encode(value)


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def differences(kind: str, row: Row, entry: ChainEntry) -> Sequence[str]:
    """The differences between a row and the entry that tells its present state, one line each.

    The values of the row may be of any kind.
    """
    try:
        return list(_between(kind, row, entry))
    except RecordError as error:
        return [str(error)]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return [Reason("not readable: {0}", error)]


def _between(kind: str, row: Row, entry: ChainEntry) -> Iterator[str]:
    record, salt = record_of(kind, row), row["salt"]
    if public_text(kind, record) != entry.public:
        yield from _changed(kind, record, entry)
    if salt is None and is_personal(kind, record):
        yield Reason("what leads to a person was added to it")
    elif commitment(kind, record, salt) != entry.personal:
        yield Reason("what leads to a person was changed in it, or taken without a trace")


def _changed(kind: str, record: Json, entry: ChainEntry) -> Iterator[str]:
    """Compare each field; an entry says nothing of an optional field that is empty in its row."""
    try:
        told, there = parse_json(entry.public), parse_json(public_text(kind, record))
    except RecordError as error:
        yield str(error)
        return
    for name in sorted(told.keys() | there.keys()):
        if name in told and told[name] != there.get(name):
            yield Reason(
                "{0} is {1}, the chain says {2}", name, canonical(there.get(name)), canonical(told[name])
            )
        elif name not in told and there[name] is not None:
            yield Reason("{0} is {1}, the chain says nothing of it", name, canonical(there[name]))


ENTRY = tuple(column.name for column in fields(ChainEntry))  # the columns of the chain
_values = attrgetter(*ENTRY)  # `astuple` copies each of them
KINDS = {table: kind for kind, table in TABLES.items()}


class Ledger:
    """The chain of one database, and the rows that it is about; `clock` says when an entry was made.

    Methods raise the errors of the database's driver. `appended` is the newest head, for the caller that
    commits, until it is taken.
    """

    def __init__(self, tables: Tables, clock: Callable[[], datetime]) -> None:
        self.tables = tables
        self._clock = clock
        self.appended: ChainHead | None = None

    def head(self) -> ChainHead:
        """The last entry there is."""
        rows = self.tables.read_anyhow("SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1")
        return ChainHead(**rows[0]) if rows else ChainHead(0, GENESIS)

    def hash_of(self, seq: int) -> str | None:
        """The hash of one entry, if there is one."""
        rows = self.tables.read_anyhow("SELECT hash FROM chain WHERE seq = ?", [seq])
        return str(rows[0]["hash"]) if rows else None

    def knows(self, head: ChainHead) -> bool:
        """Whether the chain has this head, or continues after it."""
        if head == ChainHead(0, GENESIS) or self.hash_of(head.seq) == head.hash:
            return True
        sql = "SELECT 1 FROM chain WHERE kind = ? AND was = 0 AND public LIKE ?"
        return bool(self.tables.read(sql, [SEGMENT, f'%"hash":"{head.hash}"%']))

    # writing

    def insert(self, table: str, record: Json) -> str | int:
        """Add a row; its id. A record without `id` gets the next number."""
        key: str | int = record.get("id") or self._next_id(table)
        self._write(table, {key: record}, {})
        return key

    def update(self, table: str, id: str | int, record: Json) -> bool:
        """Replace a row; false if it is missing. If it was not what its entry says, one more entry tells
        that."""
        there = self._there(table, [id])
        self._write(table, {id: record} if there else {}, there)
        return bool(there)

    def keep_many(self, table: str, records: Sequence[Json]) -> None:
        """Add rows with ids, or replace them, each once: as `insert` and `update`, in a few statements."""
        every = {record["id"]: record for record in records}
        self._write(table, every, self._there(table, [*every]))

    def add_many(self, table: str, records: Sequence[Json]) -> None:
        """Add rows that get the next numbers: as `insert`, in a few statements."""
        first = self._next_id(table)
        self._write(table, dict(enumerate(records, first)), {})

    def forget_many(self, table: str, ids: Sequence[int]) -> int:
        """Empty only what leads to a person in these rows; how many were not empty yet."""
        kind = KINDS[table]
        there = {id: row for id, row in self._there(table, ids).items() if row["salt"] is not None}
        nobody = dict.fromkeys(PERSONAL[kind])
        self._write(table, {id: record_of(kind, row) | nobody for id, row in there.items()}, there)
        return len(there)

    def begin_segment(self, reason: str, lost: Lost) -> None:
        """Begin a chain, or continue after `lost`, the head of a lost database: from its number and hash."""
        before = {"seq": lost.seq, "hash": lost.hash} if isinstance(lost, ChainHead) else lost
        if isinstance(lost, ChainHead) and lost.seq > self.head().seq:
            self.appended = lost
        self._add(SEGMENT, reason, 0, "", canonical({"reason": reason, "previous": before}))

    # steps

    def _there(self, table: str, ids: Sequence[str | int]) -> dict[str | int, Row]:
        """Those of these rows that there are, as they went in."""
        if not ids:
            return {}
        sql = f"SELECT * FROM {table} WHERE id IN ({', '.join('?' * len(ids))})"
        return {row["id"]: row for row in self.tables.opened(table, self.tables.read_anyhow(sql, ids))}

    def _write(self, table: str, records: Mapping[str | int, Json], there: Mapping[str | int, Row]) -> None:
        """Add or replace whole rows, by their ids; `there` are those to be replaced, as they are now."""
        if not records:
            return
        kind = KINDS[table]
        told = self._entries([row["chain_seq"] for row in there.values()])
        entries: list[ChainEntry] = []
        added: list[Row] = []
        replaced: list[Row] = []
        for id, record in records.items():
            before = there.get(id)
            if before is not None and not _tells(told.get(before["chain_seq"]), kind, before):
                entries.append(self._altered(kind, before))
            salt, was = (None, 0) if before is None else (before["salt"], before["chain_seq"])
            read = as_read(record)
            entry, of_the_chain = self._about(kind, str(id), read, salt, was)
            entries.append(entry)
            (added if before is None else replaced).append({"id": id} | to_row(read) | of_the_chain)
        self.tables.execute_many(inserting("chain", ENTRY), [_values(entry) for entry in entries])
        self.tables.insert_many(table, added)
        self.tables.update_many(table, replaced, there)

    def _entries(self, seqs: Sequence[int]) -> dict[int, ChainEntry]:
        if not seqs:
            return {}
        marks = ", ".join("?" * len(seqs))
        rows = self.tables.read_anyhow(f"SELECT * FROM chain WHERE seq IN ({marks})", seqs)
        return {row["seq"]: ChainEntry(**row) for row in rows}

    def _about(
        self, kind: str, subject: str, record: Json, salt: str | None, was: int
    ) -> tuple[ChainEntry, Json]:
        """The next entry, about a row, and what the row must keep of the chain."""
        if not is_personal(kind, record):
            salt = None
        elif salt is None:
            salt = new_salt(kind, record)
        proof = commitment(kind, record, salt), public_text(kind, record)
        entry = self._next(kind, subject, was, *proof)
        return entry, {"salt": salt, "chain_seq": entry.seq}

    def _altered(self, kind: str, row: Row) -> ChainEntry:
        """The next entry, which tells that a row was not what its own says."""
        told = canonical({"entry": row["chain_seq"]})
        return self._next(ALTERED, f"{kind} {row['id']}", 0, "", told)

    def _add(self, kind: str, subject: str, was: int, personal: str, public: str) -> int:
        entry = self._next(kind, subject, was, personal, public)
        self.tables.execute(inserting("chain", ENTRY), _values(entry))
        return entry.seq

    def _next(self, kind: str, subject: str, was: int, personal: str, public: str) -> ChainEntry:
        """The entry after the last; the caller writes it."""
        before = self.appended or self.head()
        at = to_text(self._clock())
        entry = ChainEntry(before.seq + 1, at, kind, subject, was, personal, public, hash="")
        entry = replace(entry, hash=link(before.hash, entry))
        self.appended = ChainHead(entry.seq, entry.hash)
        return entry

    def _next_id(self, table: str) -> int:
        (row,) = self.tables.read(f"SELECT coalesce(max(id), 0) + 1 AS next FROM {table}")
        return int(row["next"])


def _tells(entry: ChainEntry | None, kind: str, row: Row) -> bool:
    """Whether it tells the present state of this row."""
    if entry is None or (entry.kind, entry.subject) != (kind, str(row["id"])):
        return False
    return not differences(kind, row, entry)

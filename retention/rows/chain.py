"""One hash chain over all that is kept: each write of a row adds an entry, in the same transaction.

An entry's hash is the SHA-256 (hex) of these eight lines, joined by one newline each, UTF-8:

    the hash before it (64 zeros before the first), seq, at, kind, subject, was, personal, public

`kind` and `subject` name the row; `was` is the seq of the entry that told its state before, 0 for the first;
`public` is JSON of what may be known forever. `personal` is HMAC-SHA256 (hex) of the JSON of what leads to a
person, keyed with a salt that is only in the row; empty if nothing leads to a person. Once value and salt are
gone, no one can try numbers against what stays here, and the chain is still valid. (GDPR article 5(1)(e) and
(f), 5(2): what must go, and the proof of what was done.)

An entry of the kind `segment` begins a chain, or continues it after a database was lost. One of the kind
`altered` tells of a row that was not what its entry said when it was written next.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]

GENESIS = "0" * 64
SEGMENT = "segment"
ALTERED = "altered"

# kind → the table whose rows it is about, and the fields of these that lead to a person
TABLES = {
    "receipt": "receipts",
    "recording": "recordings",
    "access": "accesses",
    "note": "notes",
    "sum": "sums",
    "approval": "approvals",
}
PERSONAL: dict[str, tuple[str, ...]] = {
    "receipt": ("call_id", "caller", "operator", "operators", "keyword", "events"),
    "recording": ("call_id", "caller", "operator", "operators", "hold"),
    "access": ("by", "system_user", "login", "reference", "detail"),
    "note": ("by", "text"),
    "sum": (),
    "approval": ("by", "reference", "reason", "decided_by", "answer"),
}
# of such a field that is null, or names one operator, an entry says nothing; so a version that adds a field
# leaves the entries before it valid
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "access": ("login", "via"),
    "receipt": ("operators",),
    "recording": ("operators",),
}
_OPEN_ABOUT_HOLDS = ("ground", "review")


@dataclass(frozen=True, slots=True)
class ChainHead:
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


def public(kind: str, record: Json) -> Json:
    """What of a row may be known forever. Of a hold: its ground and review."""
    hidden = PERSONAL[kind]
    fields = {name: value for name, value in as_told(kind, record).items() if name not in hidden}
    if kind == "recording":
        fields["hold"] = open_hold(hold) if (hold := record.get("hold")) else None
    return fields


def open_hold(hold: Json) -> Json:
    """What of a hold leads to no person: its ground and review."""
    return {name: hold.get(name) for name in _OPEN_ABOUT_HOLDS}


def public_text(kind: str, record: Json) -> str:
    """What of a row may be known forever, as canonical JSON."""
    return canonical(public(kind, record))


def commitment(kind: str, record: Json, salt: str | None) -> str:
    """The proof of the fields that lead to a person; empty without a salt: then no field does."""
    return "" if salt is None else hmac.digest(salt.encode(), personal_text(kind, record), "sha256").hex()


def new_salt(kind: str, record: Json) -> str | None:
    """128 random bits in hex, or None for a row that leads to no person."""
    return secrets.token_hex(16) if is_personal(kind, record) else None


def is_personal(kind: str, record: Json) -> bool:
    """Whether any field leads to a person."""
    return any(record.get(name) not in (None, []) for name in PERSONAL[kind])


def personal_text(kind: str, record: Json) -> bytes:
    """The text that a commitment covers."""
    fields = {name: record.get(name) for name in PERSONAL[kind]}
    return canonical(as_told(kind, fields)).encode()


def as_told(kind: str, record: Json) -> Json:
    """A record without its optional fields that say nothing."""
    optional = _OPTIONAL.get(kind, ())
    return {name: value for name, value in record.items() if name not in optional or not _is_nothing(value)}


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, list) and len(value) < 2)


def canonical(value: object) -> str:
    """JSON in one form only: keys sorted, no space, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

"""What a caller can check: the root of each day, and the receipt that leads to it.

The chain's entries are the leaves of a Merkle tree (`merkle`), in their order; a leaf's content is the hash
of its entry, which covers no number of a person but by a salted proof (`rows.chain`). After the end of each
day (UTC) the agent writes its *root*, `roots/DATE.json`, a small file to be published. It has no personal
content, and no purge removes it. With an authority for time stamps, `DATE.tsr` lies beside it:

    openssl ts -verify -digest ROOT -in roots/DATE.tsr -CAfile CA.pem

A *caller's receipt* has the entry of one call's receipt with all that its hash was made of, the proof that
this entry is under the newest root, and a signed statement of what is kept of the call at that moment. Who
has it needs the published root alone. Whoever rewrites the database, puts back an older one, or shows other
roots to others, cannot make that root again. What a receipt does not prove is what was never written down.

Beside a root stands the proof that it continues the one before (`consistency`), and the public keys that sign
statements in this year and the next one. The private ones are in `signing/YEAR.key`, a new one each year.

`roots/nodes-8`, `-16`, … have the hash of each 256 leaves, each 65,536, …: so a proof among ten million
entries reads some thousand hashes. They are made anew wherever they do not fit the chain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from nacl.encoding import HexEncoder
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from retention import merkle
from retention.erase import KeptCall
from retention.files import Places, make_folder, write_whole
from retention.records import Json, Record, RecordError, RuleError, Status, parse_json
from retention.rows import chain
from retention.rows.rows import Rows, StoreError
from retention.stamps import certificates, stamp_digest
from retention.texts import WithReason
from retention.use import nothing_to_use

ROOT_VERSION, RECEIPT_VERSION = "sipagent-root-1", "sipagent-receipt-1"
STEP = 8  # levels between two files of nodes
_HASH = 32  # bytes
_PAGE = 1 << 16  # hashes that are read at once
_LIMIT = 1 << 20  # bytes; no root and no receipt is longer
RECEIPT = "receipt"
_R = TypeVar("_R", bound=Record)


class RootError(WithReason):
    """A root or a receipt says nothing usable, or proves nothing; `str()` is one line."""


class NoRootYet(RuleError):
    """The day on which a call was written down has no root yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead(Record):
    """The first `size` entries, as one hash: those of all days until the end of `date` (UTC)."""

    date: str
    size: int
    root: str  # hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Root(TreeHead):
    """What is published of a day. `first`: the number of the first entry; `keys`: public ones, by name."""

    version: str = ROOT_VERSION
    first: int
    previous: TreeHead | None = None
    consistency: tuple[str, ...] = ()
    keys: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Record):
    """What is kept of a call at a moment.

    `personal`: whether its receipt still leads to a person. `recording`: the status of the recording, null
    where there never was one; `sound`: whether its sound is there; `expires_at`: when that goes, if nothing
    holds it.
    """

    id: str
    at: datetime
    personal: bool
    recording: Status | None
    sound: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStatement(Record):
    """`kept`, signed with `key` (Ed25519, hex) as JSON in one form: keys sorted, no space."""

    kept: Kept
    key: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerReceipt(Record):
    """What somebody gets who asks for the receipt of a call.

    `previous`: the hash before that of `entry`. `personal` and `salt`: what the entry's `personal` was made
    of, null where nothing led to a person, or does no more. `proof`: from the leaf to the root of `head`.
    """

    version: str = RECEIPT_VERSION
    entry: Json
    previous: str
    personal: Json | None
    salt: str | None
    first: int
    head: TreeHead
    proof: tuple[str, ...]
    statement: KeptStatement


class _Nodes:
    """The tree's nodes, from the chain and from `roots/nodes-*`."""

    def __init__(self, store: Rows, folder: Path) -> None:
        self._store, self._folder = store, folder
        (row,) = store.read("SELECT coalesce(min(seq), 1) AS first FROM chain")
        self.first: int = row["first"]

    def __call__(self, level: int, place: int) -> bytes:
        """One of them. Raises StoreError for an entry that is missing."""
        up = level % STEP
        return merkle.folded(self._row(level - up, place << up, 1 << up))

    def _row(self, level: int, place: int, count: int) -> list[bytes]:
        """`count` nodes of a level that is a multiple of STEP, from `place` on."""
        if level == 0:
            return [merkle.leaf(hash) for hash in self._hashes(place, count)]
        kept = self._kept(level, place, count)
        return kept + [self._below(level, one) for one in range(place + len(kept), place + count)]

    def _below(self, level: int, place: int) -> bytes:
        """One, from those STEP levels below."""
        return merkle.folded(self._row(level - STEP, place << STEP, 1 << STEP))

    def _hashes(self, index: int, count: int) -> list[bytes]:
        seq = self.first + index
        sql = "SELECT hash FROM chain WHERE seq >= ? AND seq < ? ORDER BY seq"
        rows = self._store.read(sql, [seq, seq + count])
        with suppress(ValueError, TypeError):  # no hash in hexadecimal
            if len(rows) == count:
                return [bytes.fromhex(row["hash"]) for row in rows]
        raise StoreError("the chain lacks entries from {0} to {1}: see `verify`", seq, seq + count - 1)

    def _file(self, level: int) -> Path:
        return self._folder / f"nodes-{level}"

    def _kept(self, level: int, place: int, count: int) -> list[bytes]:
        with suppress(FileNotFoundError), self._file(level).open("rb") as file:
            file.seek(place * _HASH)
            found = file.read(count * _HASH)
            return [found[at : at + _HASH] for at in range(0, len(found) - _HASH + 1, _HASH)]
        return []

    def grow(self, size: int) -> None:
        """Write the nodes of all full parts of so many leaves. Raises OSError, StoreError."""
        level = STEP
        while size >> level:
            there = self._count(level)
            last = there - 1
            if last >= size >> level or (there and self._kept(level, last, 1) != [self._below(level, last)]):
                there = 0  # of another chain, or cut off
            with self._file(level).open("ab") as file:
                file.truncate(there * _HASH)
                for place in range(there, size >> level):
                    file.write(self._below(level, place))
            level += STEP

    def _count(self, level: int) -> int:
        try:
            return self._file(level).stat().st_size // _HASH
        except FileNotFoundError:
            return 0


# --- roots ---


def root_files(folder: Path) -> list[Path]:
    """Their files, the oldest first."""
    return sorted(folder.glob("????-??-??.json"))


def read_root(path: Path) -> Root:
    """A root from its file. Raises RootError, OSError."""
    return _read(path, Root, ROOT_VERSION)


def read_receipt(path: Path) -> CallerReceipt:
    """A caller's receipt from its file. Raises RootError, OSError."""
    told = _read(path, CallerReceipt, RECEIPT_VERSION)
    if not (told.head and told.statement and told.statement.kept):  # null there
        raise RootError("{0}: is not readable: {1}", path, "null")
    return told


def make_root(store: Rows, now: datetime) -> Root | None:
    """Write the root of yesterday, and of all before it; None if it is there, or nothing was written then.

    Raises StoreError, RootError, OSError.
    """
    places = _places(store)
    day = now.astimezone(UTC).date() - timedelta(days=1)
    path = places.roots / f"{day}.json"
    if path.exists():
        return None
    nodes = _Nodes(store, places.roots)
    size = _until(store, day) - nodes.first + 1
    if size <= 0:
        return None
    make_folder(places.roots)
    nodes.grow(size)
    earlier = [path for path in root_files(places.roots) if path.stem < str(day)]
    before = read_root(earlier[-1]) if earlier else None
    if before is not None and (before.first, before.size > size) != (nodes.first, False):
        before = None  # another chain, that of a database that was lost
    made = Root(
        date=str(day),
        size=size,
        root=merkle.root(nodes, size).hex(),
        first=nodes.first,
        previous=None if before is None else TreeHead.of(before),
        consistency=() if before is None else _hex(merkle.consistency(nodes, before.size, size)),
        keys={str(year): _public(signing_key(places, year)) for year in (now.year, now.year + 1)},
    )
    write_whole(path, _text(made))
    return made


def stamp_roots(store: Rows, url: str, ca: Path) -> list[Path]:
    """Have each root stamped that is not, by the authority at `url`; the files of the stamps.

    Raises StampError, OSError; RootError for the first that cannot be read, once the others are stamped.
    """
    unstamped = [path for path in root_files(_places(store).roots) if not stamp_of(path).exists()]
    trusted = certificates(ca) if unstamped else []
    made, damaged = [], list[RootError]()
    for path in unstamped:
        try:
            root = read_root(path)
        except RootError as error:
            damaged.append(error)
            continue
        _, answer = stamp_digest(bytes.fromhex(root.root), url, trusted)
        made.append(stamp_of(path))
        write_whole(made[-1], answer)
    if damaged:
        raise damaged[0]
    return made


def stamp_of(root: Path) -> Path:
    """The file of a root's time stamp, there or not."""
    return root.with_suffix(".tsr")


def newest(folder: Path) -> Root | None:
    """The last root there is. Raises RootError, OSError."""
    paths = root_files(folder)
    return read_root(paths[-1]) if paths else None


def _until(store: Rows, day: date) -> int:
    """The number of the last entry that was made before the end of a day (UTC); 0 without one."""
    end, last = f"{day + timedelta(days=1)}T", None
    while True:
        where = "" if last is None else " WHERE seq < ?"
        sql = f"SELECT seq, at FROM chain{where} ORDER BY seq DESC LIMIT 1000"
        rows = store.read(sql, [] if last is None else [last])
        for row in rows:
            if row["at"] < end:
                return int(row["seq"])
        if not rows:
            return 0
        last = rows[-1]["seq"]


# --- receipts ---


def caller_receipt(store: Rows, id: str, now: datetime) -> CallerReceipt:
    """The receipt of one call, for its caller.

    Raises UnknownId; NoRootYet until the day after the last change of its row; RootError where it does not
    lead to the root that was published; StoreError, OSError.
    """
    places = _places(store)
    row = store.receipt_row(id)
    entry = store.entries([row["chain_seq"]]).get(row["chain_seq"])
    if entry is None or chain.differences(RECEIPT, row, entry):
        raise RootError("{0}: its row is not what the chain says: see `verify`", id)
    root = newest(places.roots)
    index = entry.seq - (root.first if root else 0)
    if root is None or index >= root.size:
        raise NoRootYet(
            "the root of its day is made within the hour after midnight (UTC): ask again tomorrow"
        )
    nodes = _Nodes(store, places.roots)
    record = chain.record_of(RECEIPT, row)
    leads = chain.is_personal(RECEIPT, record)
    made = CallerReceipt(
        entry={name: getattr(entry, name) for name in TOLD},
        previous=store.hash_of(entry.seq - 1) or chain.GENESIS,
        personal=chain.as_told(RECEIPT, {name: record.get(name) for name in chain.PERSONAL[RECEIPT]})
        if leads
        else None,
        salt=row["salt"],
        first=root.first,
        head=TreeHead.of(root),
        proof=_hex(merkle.inclusion(nodes, index, root.size)),
        statement=_statement(store, places, id, now),
    )
    check_receipt(made, root)  # what does not lead to the published root is given to nobody
    return made


TOLD = tuple(name for name in chain.ENTRY if name != "hash")  # the hash is computed by who checks


def check_receipt(receipt: CallerReceipt, root: Root) -> None:
    """Raises RootError, which says what is wrong, unless the receipt leads to this root, and is signed."""
    if (receipt.head.date, receipt.first) != (root.date, root.first):
        said = "the receipt is for the root of {0}, not of {1}; accepted: that of {0}"
        raise RootError(said, receipt.head.date, root.date)
    if receipt.head != TreeHead.of(root):
        raise RootError("the root of {0} is not the one of the receipt: one of them was changed", root.date)
    try:
        entry = chain.ChainEntry(**receipt.entry, hash="")
        hash = bytes.fromhex(chain.link(receipt.previous, entry))
        proof = [bytes.fromhex(one) for one in receipt.proof]
        there = merkle.is_included(hash, entry.seq - root.first, root.size, proof, bytes.fromhex(root.root))
    except (TypeError, ValueError) as error:
        raise RootError("the receipt is not readable: {0}", error) from error
    if not there:
        raise RootError("the entry does not lead to the root: the receipt or the root was changed")
    if chain.commitment(entry.kind, receipt.personal or {}, receipt.salt) != entry.personal:
        raise RootError("what leads to a person is not what the entry was made of")
    _check_statement(receipt, root)


def check_roots(roots: Sequence[Root]) -> None:
    """Raises RootError unless each of these continues the one before it; they are of days in their order."""
    for before, root in pairwise(roots):
        try:
            first, second, *proof = map(bytes.fromhex, (before.root, root.root, *root.consistency))
            continues = merkle.is_consistent(before.size, first, root.size, second, proof)
        except (TypeError, ValueError):
            continues = False
        if root.previous != TreeHead.of(before) or not continues:
            raise RootError("the root of {0} does not continue that of {1}", root.date, before.date)


def _statement(store: Rows, places: Places, id: str, now: datetime) -> KeptStatement:
    call = KeptCall.find(store, id)
    row = call.recording
    kept = Kept(
        id=id,
        at=now,
        personal=call.receipt is not None and chain.is_personal(RECEIPT, call.receipt.to_json()),
        recording=row.status if row else None,
        sound=row is not None and nothing_to_use(row) is None,
        expires_at=row.expires_at if row else None,
    )
    key = str(now.year)
    signed = signing_key(places, now.year).sign(chain.canonical(kept.to_json()).encode())
    return KeptStatement(kept=kept, key=key, signature=signed.signature.hex())


def _check_statement(receipt: CallerReceipt, root: Root) -> None:
    told = receipt.statement
    try:
        key = VerifyKey(root.keys[told.key], HexEncoder)
        key.verify(chain.canonical(told.kept.to_json()).encode(), bytes.fromhex(told.signature))
    except (KeyError, ValueError, TypeError, CryptoError, BadSignatureError) as error:
        raise RootError("what is said to be kept is not signed with a key of this root") from error
    if told.kept.id != receipt.entry["subject"]:
        raise RootError("what is said to be kept is said of another call")


def signing_key(places: Places, year: int) -> SigningKey:
    """The key of a year, made when it is first needed. Raises RootError, OSError."""
    path = places.signing / f"{year}.key"
    try:
        return SigningKey(path.read_bytes().strip(), HexEncoder)
    except FileNotFoundError:
        key = SigningKey.generate()
    except (ValueError, TypeError) as error:
        raise RootError("{0}: is no key", path) from error
    make_folder(places.signing)
    write_whole(path, key.encode(HexEncoder) + b"\n")
    return key


def _public(key: SigningKey) -> str:
    return key.verify_key.encode(HexEncoder).decode()


def _places(store: Rows) -> Places:
    assert store.places is not None  # all but tests
    return store.places


def _hex(hashes: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(hash.hex() for hash in hashes)


def _text(record: Record) -> bytes:
    return json.dumps(record.to_json(), indent=1).encode() + b"\n"


def _read(path: Path, of: type[_R], version: str) -> _R:
    with path.open("rb") as file:
        content = file.read(_LIMIT)
    told: Json = {}
    with suppress(ValueError):  # of which the parser would tell in English
        told = parse_json(content.decode())
    if told.get("version") != version:
        raise RootError("{0}: is not of the form {1}", path, version)
    try:
        return of.from_json(told)
    except (ValueError, RecordError) as wrong:
        raise RootError("{0}: is not readable: {1}", path, wrong) from wrong

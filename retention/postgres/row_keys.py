"""The keys that rows are sealed with, and how they end: the database says where they are, and when they go.

A key is taken for one row, for all of that row's states, and never for another. Keys lie in bundles, each
host's new ones in its newest; those of search words in bundles of their own, so that a search opens few.
Which keys there must be, and which have to go, the tables of `schema` say.

**A bundle** is the keys of some hundred rows in one object of the vault, JSON with all bytes in base64:

    {"version": "sipagent-row-keys-1", "bundle": BUNDLE, "revision": 7, "keys": {NUMBER: <32 bytes>, …}}

It never changes: keys that come or go make the next revision, in place of the one before.

**Revisions** change so that no crash brings a key back, and none is lost. The number of the next revision
is noted in the database first. Then, under the lock of the bundle's row: the present one is read, the
next one is put, and the row names it. Last, the one before is removed, every version of it. Whatever was
noted and is not the present one may still exist: it is removed by whoever comes next.

**Where bundles lie**: `Blobs`, small contents by name, each of which can be removed for good. An object
store is one implementation, a folder of this machine another.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from nacl.utils import random

from retention import files
from retention.postgres.connection import Connection, postgres_errors
from retention.postgres.schema import KEYED
from retention.rows.pages import Row
from retention.rows.rows import ForgottenKeys, TryAgain
from retention.texts import WithReason
from retention.vault import KEY_BYTES, decode, encode

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*(/[0-9A-Za-z][0-9A-Za-z-]*)*", re.ASCII)


class Blobs(Protocol):
    """Contents by name: words of letters, digits and hyphens between slashes. Any thread, any process.

    Methods raise OSError if the disk, or the store, fails. A version is what the store calls it, empty where
    it has none.
    """

    def put(self, name: str, content: bytes) -> str:
        """Keep it durably under a name that is new; its version."""
        ...

    def get(self, name: str, version: str = "") -> bytes:
        """Its content. Raises FileNotFoundError."""
        ...

    def remove(self, name: str, version: str = "") -> None:
        """Remove that version durably, or without one every version and what was begun; it may be gone."""
        ...

    def where(self, name: str) -> str:
        """Its full name, for messages."""
        ...


class FolderBlobs:
    """Files below a folder, which is made (0700) when first needed; only its owner can read them (0600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> str:
        """Write it whole and durably; files have no versions."""
        path = self._path(name)
        for folder in reversed(path.relative_to(self._folder).parents):
            files.make_folder(self._folder / folder)
        files.write_whole(path, content)
        return ""

    def get(self, name: str, version: str = "") -> bytes:
        """Its bytes. Raises FileNotFoundError."""
        return self._path(name).read_bytes()

    def remove(self, name: str, version: str = "") -> None:
        """Unlink it durably, also one that a crash left half written."""
        path = self._path(name)
        if files.unlink([files.being_written(path), path]):
            files.sync_folder(path.parent)

    def where(self, name: str) -> str:
        """Its path."""
        return str(self._path(name))

    def within(self, name: str) -> list[str]:
        """The folders directly below one, by their names."""
        folder = self._path(name)
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def remove_empty(self, name: str) -> None:
        """Remove a folder, if it is there and holds nothing any more."""
        folder = self._path(name)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a bundle")
        return self._folder / name


BUNDLES = "rows"  # what their names begin with
MOST_KEYS = 500  # keys
_VERSION = "sipagent-row-keys-1"

Keys = Mapping[str, bytes]  # of a bundle, by their numbers


class BundleError(WithReason):
    """An object that is no bundle, or another one; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Which revision of a bundle; `version` is what the store calls it."""

    bundle: str
    number: int
    version: str = ""

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{BUNDLES}/{self.bundle}/{self.number}"


def new_number() -> str:
    """What a key is called in its bundle: 64 random bits in hex, so that no number comes back."""
    return token_hex(8)


def bundle_content(revision: Revision, keys: Keys) -> bytes:
    """The object."""
    fields = {
        "version": _VERSION,
        "bundle": revision.bundle,
        "revision": revision.number,
        "keys": {number: encode(key) for number, key in keys.items()},
    }
    return json.dumps(fields).encode() + b"\n"


def read_bundle(revision: Revision, content: bytes) -> Keys:
    """The keys in an object. Raises BundleError."""
    try:
        fields = json.loads(content)
        told = (fields["version"], fields["bundle"], fields["revision"])
        if told != (_VERSION, revision.bundle, revision.number):
            raise ValueError(told)
        return {number: _key(number, text) for number, text in fields["keys"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError("{0}: is no bundle of keys, or damaged", revision.name) from error


def _key(number: str, text: object) -> bytes:
    key = decode(text)
    if key is None or len(key) != KEY_BYTES:
        raise ValueError(number)
    return key


_AHEAD = (
    1000  # revisions that a bundle can have had since a database was written that is older than the vault
)
_SINCE = 20  # and since it was asked which one is there
_KEPT_IN_MIND = "1 day"  # somebody cut off from the database may put late what was given up
_PUT_GIVEN_UP = "1 minute"  # whoever began to put it has died

Edit = Callable[[Connection, Keys], Keys | None]


class BundleLost(BundleError):
    """The vault has no revision of a bundle that the database knows; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class CurrentBundle:
    """A bundle as it is now."""

    revision: Revision
    keys: Keys


class Revisions:
    """The bundles of a database, in `blobs`. Connections are in no transaction.

    Methods raise psycopg.Error; OSError if the store fails, and BundleError.
    """

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def named(self, db: Connection, bundles: list[str]) -> dict[str, Revision]:
        """The present revision of each bundle that there is."""
        sql = "SELECT bundle, revision, version FROM key_bundles WHERE bundle = ANY(?)"
        return {row["bundle"]: _revision(row) for row in db.read(sql, [bundles])}

    def present(self, revision: Revision) -> CurrentBundle:
        """What it holds. Raises FileNotFoundError if it is gone, perhaps since it was replaced meanwhile."""
        if revision.number == 0:
            return CurrentBundle(revision, {})
        return CurrentBundle(revision, read_bundle(revision, self.blobs.get(revision.name, revision.version)))

    def now(self, revision: Revision, ahead: int = _SINCE) -> CurrentBundle:
        """What it holds, or what has followed it in these moments. Raises BundleLost."""
        try:
            return self.present(revision)
        except FileNotFoundError:
            return self.followed(revision, ahead)

    def followed(self, revision: Revision, ahead: int = _AHEAD) -> CurrentBundle:
        """The revision that followed one that is gone. Raises BundleLost."""
        for number in range(revision.number + 1, revision.number + ahead):
            later = Revision(revision.bundle, number)
            try:
                return CurrentBundle(later, read_bundle(later, self.blobs.get(later.name)))
            except FileNotFoundError:
                continue
        raise BundleLost(f"{self.blobs.where(revision.name)}: is missing, and so are the keys of rows")

    def change(self, db: Connection, bundle: str, edit: Edit, *, forgetting: bool = False) -> CurrentBundle:
        """Have `edit(db, keys)` say what the bundle holds from now on, None for no change; what it holds.

        `edit` runs in the transaction that names the new revision. With `forgetting`, what others have begun
        to put and not named is removed first.
        """
        while True:
            number = self._noted(db, bundle)
            try:
                with transaction(db):
                    after = self._changed(db, bundle, number, edit, forgetting)
            except _Behind as behind:
                sql = "UPDATE key_bundles SET last = greatest(last, ?) WHERE bundle = ?"
                db.execute(sql, [behind.number, bundle])
                continue
            self.remove_old(db, bundle)
            return after

    def remove_old(self, db: Connection, bundle: str) -> None:
        """Remove the revisions of a bundle that have been replaced."""
        sql = "SELECT revision, version FROM key_revisions WHERE bundle = ? AND state = 'removing'"
        for row in db.read(sql, [bundle]):
            old = Revision(bundle, row["revision"], row["version"])
            self.blobs.remove(old.name, old.version)
            db.execute(_DONE, [bundle, old.number])

    def sweep(self, db: Connection, bundle: str) -> None:
        """Remove what was begun to be put, and never named."""
        with transaction(db):
            present = self._locked(db, bundle)
            self._sweep(db, bundle, [present.revision.number])

    def to_sweep(self, db: Connection) -> list[str]:
        """Bundles with revisions that may still exist, and must not."""
        sql = (
            "SELECT DISTINCT bundle FROM key_revisions WHERE state <> 'putting' "
            f"OR since < clock_timestamp() - interval '{_PUT_GIVEN_UP}' ORDER BY bundle"
        )
        return [row["bundle"] for row in db.read(sql)]

    def left(self, db: Connection) -> int:
        """How many revisions that must not exist could not be removed yet."""
        sql = (
            "SELECT count(*) AS n FROM key_revisions WHERE state = 'removing' "
            f"OR (state = 'putting' AND since < clock_timestamp() - interval '{_PUT_GIVEN_UP}')"
        )
        return int(db.read(sql)[0]["n"])

    # steps

    def _noted(self, db: Connection, bundle: str) -> int:
        with transaction(db):
            sql = "UPDATE key_bundles SET last = last + 1 WHERE bundle = ? RETURNING last"
            rows = db.read(sql, [bundle])
            if not rows:
                raise BundleLost(f"{bundle}: the database has no such bundle of keys")
            number = int(rows[0]["last"])
            db.execute(_NOTE, [bundle, number])
        return number

    def _changed(
        self, db: Connection, bundle: str, number: int, edit: Edit, forgetting: bool
    ) -> CurrentBundle:
        before = self._locked(db, bundle)
        if before.revision.number >= number:
            raise _Behind(before.revision.number)
        if forgetting:
            self._sweep(db, bundle, [number, before.revision.number])
        keys = edit(db, before.keys)
        db.execute(_DONE, [bundle, number])
        if keys is None:
            return before
        if before.revision.number:
            db.execute(_REPLACED, [bundle, before.revision.number, before.revision.version])
        return self._put(db, Revision(bundle, number), keys)

    def _locked(self, db: Connection, bundle: str) -> CurrentBundle:
        """What it holds now; a database that is older than the vault is told what followed."""
        sql = "SELECT bundle, revision, version FROM key_bundles WHERE bundle = ? FOR UPDATE"
        revision = _revision(db.read(sql, [bundle])[0])
        try:
            return self.present(revision)
        except FileNotFoundError:
            present = self.followed(revision)
        number = present.revision.number
        sql = "UPDATE key_bundles SET revision = ?, version = '', names = ? WHERE bundle = ?"
        db.execute(sql, [number, len(present.keys), bundle])
        db.execute(_DONE, [bundle, number])
        db.execute(_UNOWNED, [[f"{bundle}/{key}" for key in present.keys]])
        return present

    def _put(self, db: Connection, revision: Revision, keys: Keys) -> CurrentBundle:
        version = self.blobs.put(revision.name, bundle_content(revision, keys))
        sql = "UPDATE key_bundles SET revision = ?, version = ?, names = ? WHERE bundle = ?"
        db.execute(sql, [revision.number, version, len(keys), revision.bundle])
        return CurrentBundle(Revision(revision.bundle, revision.number, version), keys)

    def _sweep(self, db: Connection, bundle: str, but: list[int]) -> None:
        """Under the lock nobody puts one but who is cut off, for whom it is done again for a day."""
        sql = (
            "SELECT revision FROM key_revisions "
            "WHERE bundle = ? AND state <> 'removing' AND revision <> ALL(?)"
        )
        for row in db.read(sql, [bundle, but]):
            self.blobs.remove(Revision(bundle, row["revision"]).name)
        db.execute(
            "UPDATE key_revisions SET state = 'swept' "
            "WHERE bundle = ? AND state = 'putting' AND revision <> ALL(?)",
            [bundle, but],
        )
        db.execute(
            "DELETE FROM key_revisions WHERE bundle = ? AND state = 'swept' "
            f"AND since < clock_timestamp() - interval '{_KEPT_IN_MIND}'",
            [bundle],
        )


class _Behind(Exception):
    """The database is older than the vault, which has revision `number` already."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def transaction(db: Connection) -> Iterator[None]:
    """One transaction; an exception undoes it."""
    db.begin()
    try:
        yield
        db.commit()
    except BaseException:
        db.roll_back()
        raise


def _revision(row: Row) -> Revision:
    return Revision(row["bundle"], row["revision"], row["version"])


# keys that were made for rows which the database has lost: nobody else would remove them
_NO_ROW = " AND ".join(f"NOT EXISTS (SELECT 1 FROM {table} WHERE key = made)" for table in KEYED)
_UNOWNED = (
    "INSERT INTO key_removals (key, due) SELECT made, false FROM unnest(?::text[]) AS made "
    f"WHERE {_NO_ROW} ON CONFLICT DO NOTHING"
)
_DONE = "DELETE FROM key_revisions WHERE bundle = ? AND revision = ?"
_NOTE = "INSERT INTO key_revisions (bundle, revision, state) VALUES (?, ?, 'putting') ON CONFLICT DO NOTHING"
_REPLACED = (
    "INSERT INTO key_revisions (bundle, revision, version, state) VALUES (?, ?, ?, 'removing') "
    "ON CONFLICT (bundle, revision) DO UPDATE SET state = 'removing', version = excluded.version"
)


FRESH_S = 60.0  # how long a bundle is remembered
REMEMBERED = 64  # bundles
UNUSED_S = 300.0  # how long a key may wait for its row here
_GIVEN_UP = "15 minutes"  # and how long until it goes, unless a row has taken it
_MOST_AHEAD = 64  # keys made together, for whoever keeps asking
_AT_ONCE = 8  # bundles fetched
_TRIES = 5  # for a bundle that others change all the time


class KeyKind(StrEnum):
    """What a key is for; each kind has bundles of its own."""

    ROW = "row"
    SEARCH = "search"


@dataclass(frozen=True, slots=True)
class RowKey:
    """A key and its name, `BUNDLE/NUMBER`."""

    name: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """What became of names: `keys` that there are; why the vault does not give others. The rest is gone."""

    keys: Mapping[str, bytes] = field(repr=False)
    lost: Mapping[str, str]


@dataclass(slots=True)
class _Stock:
    """Keys that no row has taken yet. `more`: how many are made next."""

    keys: list[RowKey] = field(default_factory=list)
    made: float = 0.0
    more: int = 1


class RowKeys:
    """The keys of one database's rows; `host` makes new ones. Any thread.

    `connection` is for this alone: keys are made and removed in transactions apart from those of rows.
    Methods raise StoreError: TryAgain where database or vault do not answer.
    """

    def __init__(self, connection: Connection, blobs: Blobs, host: str | None = None) -> None:
        self._db = connection
        self._revisions = Revisions(blobs)
        self._host = host or "0"
        self._lock = threading.RLock()
        self._stocks = {kind: _Stock() for kind in KeyKind}
        self._remembered: dict[str, tuple[float, CurrentBundle]] = {}

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    # keys for rows

    def reserve(self, count: int, kind: KeyKind = KeyKind.ROW, ahead: int = 0) -> None:
        """Make keys, so that this many may be taken at once, at most `MOST`; if any, `ahead` more."""
        with self._lock:
            stock = self._fresh(kind)
            if count > len(stock.keys):
                made = self._made(kind, min(count + ahead, MOST_KEYS) - len(stock.keys))
                stock.keys, stock.made = [*stock.keys, *made], stock.made if stock.keys else time.monotonic()

    def take(self, kind: KeyKind = KeyKind.ROW) -> RowKey:
        """A key for one row, which must be written with its name."""
        with self._lock:
            stock = self._fresh(kind)
            if not stock.keys:
                self.reserve(stock.more, kind)
                stock.more = min(2 * stock.more, _MOST_AHEAD) if kind is KeyKind.ROW else 1
            return stock.keys.pop()

    def give_up(self) -> None:
        """Let go of keys that no row has taken: `forget` removes them when their time has come."""
        with self._lock:
            for stock in self._stocks.values():
                stock.keys = []

    def get(self, names: Iterable[str]) -> FoundKeys:
        """The keys with these names."""
        wanted: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            wanted.setdefault(name.partition("/")[0], []).append(name)
        keys: dict[str, bytes] = {}
        lost: dict[str, str] = {}
        opened = self._remembering(wanted)
        opened |= self._opened([one for one in wanted if one not in opened])
        for bundle, its in wanted.items():
            found = opened[bundle]
            if isinstance(found, str):
                lost |= dict.fromkeys(its, found)
            else:
                numbers = ((name, name.partition("/")[2]) for name in its)
                keys |= {name: found[number] for name, number in numbers if number in found}
        return FoundKeys(keys, lost)

    # where they lie

    def renew(self, bundle: str) -> bool:
        """Put a bundle anew, as it is, and remove what it was before; whether the database knows of it."""
        with self._asking() as db, suppress(BundleError):
            self._revisions.change(db, bundle, lambda db, keys: keys)
            return True
        return False

    def out_of_reach(self) -> dict[str, str]:
        """Hosts whose newest bundle the vault does not give, each with why."""
        sql = "SELECT DISTINCT ON (host) host, bundle FROM key_bundles ORDER BY host, made DESC"
        found: dict[str, str] = {}
        with self._asking() as db:
            owners = {row["bundle"]: row["host"] for row in db.read(sql)}
            for bundle, revision in self._revisions.named(db, [*owners]).items():
                try:
                    self._revisions.now(revision)
                except BundleError as lost:
                    found[owners[bundle].removesuffix(f"-{KeyKind.SEARCH.value}")] = str(lost)
        return found

    # keys that go

    def forget(self) -> ForgottenKeys:
        """Remove the keys of rows that need them no more, with every copy in the vault.

        What cannot be removed now is counted; the next time it is tried again.
        """
        gone, problem = 0, ""
        with self._asking() as db:
            db.execute(
                "UPDATE key_removals SET due = true "
                f"WHERE NOT due AND since < clock_timestamp() - interval '{_GIVEN_UP}'"
            )
            due = db.read("SELECT DISTINCT bundle FROM key_removals WHERE due ORDER BY bundle")
            for row in due:
                try:
                    gone += self._dropped(db, row["bundle"])
                except (OSError, BundleError) as error:
                    problem = problem or str(error)
            for bundle in self._revisions.to_sweep(db):
                try:
                    self._revisions.sweep(db, bundle)
                    self._revisions.remove_old(db, bundle)
                except (OSError, BundleError) as error:
                    problem = problem or str(error)
            return ForgottenKeys(gone, self._left(db), problem)

    def left(self) -> int:
        """How many keys, and bundles with keys, should be gone and are still there."""
        with self._asking() as db:
            return self._left(db)

    # steps

    def _fresh(self, kind: KeyKind) -> _Stock:
        """Keys that wait for long are given up: `forget` takes them."""
        stock = self._stocks[kind]
        if time.monotonic() - stock.made > UNUSED_S:
            stock.keys = []
        return stock

    def _made(self, kind: KeyKind, count: int) -> list[RowKey]:
        """Keys in a bundle, noted as what has to go until rows take them."""
        numbers = {new_number(): random(KEY_BYTES) for _ in range(count)}
        names: list[str] = []

        def edit(db: Connection, keys: Keys) -> Keys | None:
            if len(keys) + count > MOST_KEYS:
                return None
            db.execute("INSERT INTO key_removals (key, due) SELECT unnest(?::text[]), false", [names])
            return {**keys, **numbers}

        with self._asking() as db:
            bundle = self._newest(db, kind)
            while True:
                bundle = bundle or self._new_bundle(db, kind)
                names = [f"{bundle}/{number}" for number in numbers]
                with suppress(BundleError):  # `check` tells of it, and rows of today need a key
                    after = self._revisions.change(db, bundle, edit)
                    if numbers.keys() <= after.keys.keys():
                        self._remember(after)
                        return [RowKey(name, raw) for name, raw in zip(names, numbers.values(), strict=True)]
                bundle = None  # it is full, or lost

    def _newest(self, db: Connection, kind: KeyKind) -> str | None:
        sql = "SELECT bundle, names FROM key_bundles WHERE host = ? ORDER BY made DESC LIMIT 1"
        newest = db.read(sql, [self._owner(kind)])
        return newest[0]["bundle"] if newest and newest[0]["names"] < MOST_KEYS else None

    def _new_bundle(self, db: Connection, kind: KeyKind) -> str:
        bundle = f"{self._owner(kind)}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{new_number()[:6]}"
        db.execute("INSERT INTO key_bundles (bundle, host) VALUES (?, ?)", [bundle, self._owner(kind)])
        return bundle

    def _owner(self, kind: KeyKind) -> str:
        return self._host if kind is KeyKind.ROW else f"{self._host}-{kind.value}"

    def _dropped(self, db: Connection, bundle: str) -> int:
        dropped = 0

        def edit(db: Connection, keys: Keys) -> Keys | None:
            nonlocal dropped
            sql = "DELETE FROM key_removals WHERE bundle = ? AND due RETURNING key"
            going = {row["key"].partition("/")[2] for row in db.read(sql, [bundle])}
            staying = {number: key for number, key in keys.items() if number not in going}
            dropped = len(keys) - len(staying)
            return staying if dropped else None

        self._remembered.pop(bundle, None)
        after = self._revisions.change(db, bundle, edit, forgetting=True)
        self._remember(after)
        return dropped

    def _left(self, db: Connection) -> int:
        (due,) = db.read("SELECT count(*) AS n FROM key_removals WHERE due")
        return int(due["n"]) + self._revisions.left(db)

    def _remembering(self, wanted: Mapping[str, list[str]]) -> dict[str, Keys | str]:
        """Bundles that were opened lately and have all keys that are asked for."""
        with self._lock:
            now = time.monotonic()
            kept = {bundle: self._remembered[bundle] for bundle in wanted if bundle in self._remembered}
        return {
            bundle: present.keys
            for bundle, (at, present) in kept.items()
            if now - at < FRESH_S and all(name.partition("/")[2] in present.keys for name in wanted[bundle])
        }

    def _opened(self, bundles: list[str]) -> dict[str, Keys | str]:
        """What each holds, nothing if there is no such bundle, or why the vault does not give it."""
        opened: dict[str, Keys | str] = {}
        for last in [False] * (_TRIES - 1) + [True]:
            missing = [bundle for bundle in bundles if bundle not in opened]
            if not missing:
                break
            with self._asking() as db:
                revisions = self._revisions.named(db, missing)
            opened |= {bundle: {} for bundle in missing if bundle not in revisions}
            opened |= self._fetched([*revisions.values()], last)
        return opened

    def _fetched(self, revisions: list[Revision], last: bool) -> dict[str, Keys | str]:
        if len(revisions) < 2:
            fetched = [self._one(revision, last) for revision in revisions]
        else:
            with ThreadPoolExecutor(min(len(revisions), _AT_ONCE)) as several:
                fetched = list(several.map(lambda one: self._one(one, last), revisions))
        pairs = zip(revisions, fetched, strict=True)
        return {revision.bundle: found for revision, found in pairs if found is not None}

    def _one(self, revision: Revision, last: bool) -> Keys | str | None:
        """What it holds, or why not; None where it may have been replaced meanwhile."""
        with self._lock:
            _, present = self._remembered.get(revision.bundle, (0.0, None))
        with _vault_answers():
            try:
                if present is None or present.revision.number != revision.number:
                    revisions = self._revisions
                    present = revisions.now(revision, _AHEAD) if last else revisions.present(revision)
            except FileNotFoundError:
                return None
            except BundleError as error:
                return str(error)
        self._remember(present)
        return present.keys

    def _remember(self, present: CurrentBundle) -> None:
        with self._lock:
            self._remembered.pop(present.revision.bundle, None)
            self._remembered[present.revision.bundle] = (time.monotonic(), present)
            while len(self._remembered) > REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """The connection, for one thread at a time."""
        with self._lock, postgres_errors(), _vault_answers():
            yield self._db


@contextmanager
def _vault_answers() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = "the vault does not give or take keys of rows; {0}: wait, nothing is lost"
        raise TryAgain(said, error) from error

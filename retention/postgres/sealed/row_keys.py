"""The keys that rows are sealed with: `retention.postgres.key_tables` says where they are, and when they go.

A key is taken for one row, for all of that row's states, and never for another. Keys lie in bundles, each
host's new ones in its newest; those of search words in bundles of their own, so that a search opens few.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from nacl.utils import random

from retention.postgres.blobs import Blobs
from retention.postgres.connection import Connection
from retention.postgres.database import NAME
from retention.postgres.faults import named
from retention.postgres.sealed.bundles import MOST, BundleError, Keys, Revision, new_number
from retention.postgres.sealed.revisions import BundleLost, Present, Revisions
from retention.rows.faults import StoreError, TryAgain
from retention.rows.rows import Forgotten
from retention.storage.keys import KEY_BYTES

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
        self._remembered: dict[str, tuple[float, Present]] = {}

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
                made = self._made(kind, min(count + ahead, MOST) - len(stock.keys))
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
        with self._asking() as db:
            try:
                self._revisions.change(db, bundle, lambda db, keys: keys)
            except (BundleLost, BundleError):
                return False
            except OSError as error:
                raise _no_answer(error) from error
        return True

    def out_of_reach(self) -> dict[str, str]:
        """Hosts whose newest bundle the vault does not give, each with why."""
        sql = "SELECT DISTINCT ON (host) host, bundle FROM key_bundles ORDER BY host, made DESC"
        found: dict[str, str] = {}
        with self._asking() as db:
            owners = {row["bundle"]: row["host"] for row in db.read(sql)}
            for bundle, revision in self._revisions.named(db, [*owners]).items():
                try:
                    self._revisions.now(revision)
                except (BundleLost, BundleError) as lost:
                    found[owners[bundle].removesuffix(f"-{KeyKind.SEARCH.value}")] = str(lost)
                except OSError as error:
                    raise _no_answer(error) from error
        return found

    # keys that go

    def forget(self) -> Forgotten:
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
                except (OSError, BundleLost, BundleError) as error:
                    problem = problem or str(error)
            for bundle in self._revisions.to_sweep(db):
                try:
                    self._revisions.sweep(db, bundle)
                    self._revisions.remove_old(db, bundle)
                except (OSError, BundleLost, BundleError) as error:
                    problem = problem or str(error)
            return Forgotten(gone, self._left(db), problem)

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
        numbers = {new_number(): random(KEY_BYTES) for _ in range(count)}

        def edit(db: Connection, keys: Keys) -> Keys | None:
            if len(keys) + count > MOST:
                return None
            return {**keys, **numbers}

        with self._asking() as db:
            bundle = self._newest(db, kind)
            while True:
                if bundle is None:
                    bundle = self._new_bundle(db, kind)
                names = [f"{bundle}/{number}" for number in numbers]
                after = self._noted(db, bundle, names, edit)
                if after is not None:
                    self._remember(after)
                    return [RowKey(name, raw) for name, raw in zip(names, numbers.values(), strict=True)]
                bundle = None

    def _noted(
        self, db: Connection, bundle: str, names: list[str], edit: Callable[[Connection, Keys], Keys | None]
    ) -> Present | None:
        """Make keys in a bundle, noted as what has to go until rows take them; None: it is full, or lost."""
        taken = False

        def noting(db: Connection, keys: Keys) -> Keys | None:
            nonlocal taken
            after = edit(db, keys)
            taken = after is not None
            if taken:
                sql = "INSERT INTO key_removals (key, due) SELECT unnest(?::text[]), false"
                db.execute(sql, [names])
            return after

        try:
            after = self._revisions.change(db, bundle, noting)
        except (BundleLost, BundleError):
            return None  # `check` tells of it, and rows of today need a key
        except OSError as error:
            raise _no_answer(error) from error
        return after if taken else None

    def _newest(self, db: Connection, kind: KeyKind) -> str | None:
        sql = "SELECT bundle, names FROM key_bundles WHERE host = ? ORDER BY made DESC LIMIT 1"
        newest = db.read(sql, [self._owner(kind)])
        return newest[0]["bundle"] if newest and newest[0]["names"] < MOST else None

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
        try:
            if present is None or present.revision.number != revision.number:
                present = self._revisions.present(revision)
        except FileNotFoundError:
            if not last:
                return None
            try:
                present = self._revisions.followed(revision)
            except (BundleLost, BundleError) as error:
                return str(error)
            except OSError as error:
                raise _no_answer(error) from error
        except BundleError as error:
            return str(error)
        except OSError as error:
            raise _no_answer(error) from error
        self._remember(present)
        return present.keys

    def _remember(self, present: Present) -> None:
        with self._lock:
            self._remembered.pop(present.revision.bundle, None)
            self._remembered[present.revision.bundle] = (time.monotonic(), present)
            while len(self._remembered) > REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """The connection, for one thread at a time."""
        with self._lock, named(NAME):
            yield self._db


def _no_answer(error: OSError) -> StoreError:
    return TryAgain(f"the vault does not give or take keys of rows; {error}: wait, nothing is lost")

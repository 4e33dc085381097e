"""How a bundle of keys changes, so that no crash brings a key back, and none is lost.

The number of the next revision is noted in the database first. Then, under the lock of the bundle's row: the
present one is read, the next one is put, and the row names it. Last, the one before is removed, every version
of it. Whatever was noted and is not the present one may still exist: it is removed by whoever comes next.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from retention.postgres.blobs import Blobs
from retention.postgres.connection import Connection
from retention.postgres.key_tables import KEYED
from retention.postgres.sealed.bundles import Keys, Revision, read, written
from retention.rows.pages import Row

_AHEAD = (
    1000  # revisions that a bundle can have had since a database was written that is older than the vault
)
_SINCE = 20  # and since it was asked which one is there
_KEPT_IN_MIND = "1 day"  # somebody cut off from the database may put late what was given up
_GIVEN_UP = "1 minute"  # whoever began to put it has died

Edit = Callable[[Connection, Keys], Keys | None]


class BundleLost(Exception):
    """The vault has no revision of a bundle that the database knows; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class Present:
    """A bundle as it is now."""

    revision: Revision
    keys: Keys


class Revisions:
    """The bundles of a database, in `blobs`. Connections are in no transaction.

    Methods raise psycopg.Error; OSError if the store fails, and BundleLost, BundleError.
    """

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def named(self, db: Connection, bundles: list[str]) -> dict[str, Revision]:
        """The present revision of each bundle that there is."""
        sql = "SELECT bundle, revision, version FROM key_bundles WHERE bundle = ANY(?)"
        return {row["bundle"]: _revision(row) for row in db.read(sql, [bundles])}

    def present(self, revision: Revision) -> Present:
        """What it holds. Raises FileNotFoundError if it is gone, perhaps since it was replaced meanwhile."""
        if revision.number == 0:
            return Present(revision, {})
        return Present(revision, read(revision, self.blobs.get(revision.name, revision.version)))

    def now(self, revision: Revision) -> Present:
        """What it holds, or what has followed it in these moments. Raises BundleLost."""
        try:
            return self.present(revision)
        except FileNotFoundError:
            return self.followed(revision, _SINCE)

    def followed(self, revision: Revision, ahead: int = _AHEAD) -> Present:
        """The revision that followed one that is gone. Raises BundleLost."""
        for number in range(revision.number + 1, revision.number + ahead):
            later = Revision(revision.bundle, number)
            try:
                return Present(later, read(later, self.blobs.get(later.name)))
            except FileNotFoundError:
                continue
        raise BundleLost(f"{self.blobs.where(revision.name)}: is missing, and so are the keys of rows")

    def change(self, db: Connection, bundle: str, edit: Edit, *, forgetting: bool = False) -> Present:
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
            f"OR since < clock_timestamp() - interval '{_GIVEN_UP}' ORDER BY bundle"
        )
        return [row["bundle"] for row in db.read(sql)]

    def left(self, db: Connection) -> int:
        """How many revisions that must not exist could not be removed yet."""
        sql = (
            "SELECT count(*) AS n FROM key_revisions WHERE state = 'removing' "
            f"OR (state = 'putting' AND since < clock_timestamp() - interval '{_GIVEN_UP}')"
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

    def _changed(self, db: Connection, bundle: str, number: int, edit: Edit, forgetting: bool) -> Present:
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

    def _locked(self, db: Connection, bundle: str) -> Present:
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

    def _put(self, db: Connection, revision: Revision, keys: Keys) -> Present:
        version = self.blobs.put(revision.name, written(revision, keys))
        sql = "UPDATE key_bundles SET revision = ?, version = ?, names = ? WHERE bundle = ?"
        db.execute(sql, [revision.number, version, len(keys), revision.bundle])
        return Present(Revision(revision.bundle, revision.number, version), keys)

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

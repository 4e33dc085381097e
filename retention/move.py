"""Moves rows and files from one place to another, so that the chain stays the same chain.

1. Nobody writes where they are, to the end; nothing may be half done there (`unsettled` says what is).
2. A note beside the database says that a move has begun (`files.Moved`): what is copied outlives nothing
unnoticed.
3. Entries of the chain and rows come as they are, with their numbers and salts: no entry is made anew, so
an
   exported head and every time stamp stay good. Then files, each under its name only once it is whole.
4. All of it is compared: every entry and every row with what is here, each entry with the one before it,
and each
   file by its hash.
5. The note says that it is done: from now on nothing is written here. Then the rows there are for use,
and their
   trace says where they are from.

Killed at any moment, it is begun again and goes on: what is there already is not copied again. Where rows
have been written here since, what had come is removed first. What is here stays as it was.

**Files.** One gets its name only whole, so a name that is there tells that nothing of it is missing;
whether it is the right one the comparison says.

**Arrivals** is a database while the rows of another come into it, as they are there: with their ids,
salts and entries. No program may use it before all is there: where it is a file, it has another name; a
table `moving` says whose rows come. Nothing is made here, least of all an entry of the chain.

What lies beside a database, or in it apart from its chain, goes where its rows go: seed, turn among the
operators, time stamps.
"""

import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from retention import outbox, records
from retention.archive import Archive
from retention.erase import to_erase
from retention.files import Moved, Places, make_folder, sync_folder, unlink, write_whole
from retention.holds import differs
from retention.marks import ArchiveError
from retention.postgres.schema import MOVING, MOVING_IN
from retention.postgres.store import SealedStore
from retention.purge import due
from retention.recording_files import Area, FileKind, RecordingFiles, copy, finished, sha256
from retention.reserve import ReserveError, read_reserve
from retention.rows import counts
from retention.rows.chain import ENTRY, SEGMENT, TABLES, ChainHead, canonical
from retention.rows.pages import PAGE, Listing, Row, batches
from retention.rows.rows import Rows, StoreError
from retention.rows.selection import Selection
from retention.rows.tables import OUTBOX, names
from retention.sqlite import Store
from retention.stamps import FolderStamps
from retention.texts import Reason, joined
from retention.verify import CLOSED_RECORDINGS


def unsettled(archive: Archive) -> Iterator[str]:
    """What an agent or a purge must end first, one line each. Raises StoreError, OSError."""
    if calls := len(archive.store.open_receipts(lambda id, problem: None)):
        yield Reason("calls have not ended in it ({0}): start the agent once, and stop it", calls)
    elif calls := counts.recordings(archive.store, records.Status.OPEN):
        yield Reason("recordings are not finished ({0}): start the agent once, and stop it", calls)
    if waiting := [*_waiting(archive)]:
        yield Reason("{0}: calls wait in it for the database: start the agent once, and stop it", waiting[0])
    if left := to_erase(archive):
        yield Reason("{0}: must be erased, and is not: see `sipagent purge`", left[0])
    if half := counts.recordings(archive.store, records.Status.PURGING):
        yield Reason("recordings are half purged ({0}): see `sipagent purge`", half)


def closed_ids(archive: Archive) -> Iterator[str]:
    """The ids of all closed recordings, oldest first. Raises StoreError."""
    return (row["id"] for row in archive.store.each(CLOSED_RECORDINGS))


def _waiting(archive: Archive) -> Iterator[str]:
    places = archive.store.places
    for path in [] if places is None else places.reserves().values():
        try:
            if read_reserve(path):
                yield path.name
        except ReserveError:
            yield path.name


def is_equal(source: RecordingFiles, target: RecordingFiles, id: str, kind: FileKind) -> bool:
    """Whether both places have the same bytes. Raises OSError."""
    try:
        return sha256(source, id, kind) == sha256(target, id, kind)
    except FileNotFoundError:
        return False


def _is_closed(source: Archive, id: str) -> bool:
    try:
        return source.store.recording(id).status is records.Status.CLOSED
    except StoreError:
        return True  # unknown, or damaged: not ours to judge


COLUMNS = {table: names(table) for table in ("chain", *TABLES.values())}  # of each, the chain's first
_ENTRIES_AT_ONCE = 250  # entries in one statement
BESIDE = ("clock", "rejected", "in_progress", "today", *OUTBOX)  # which the chain does not tell of


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose rows come: how people name that database, and the last entry of its chain."""

    name: str
    head: ChainHead

    def text(self) -> str:
        """As it is kept."""
        return canonical({"name": self.name, "seq": self.head.seq, "hash": self.head.hash})

    @classmethod
    def read(cls, text: str) -> "Origin":
        """The inverse. Raises RecordError, KeyError."""
        told = records.parse_json(text)
        return cls(str(told["name"]), ChainHead(int(told["seq"]), str(told["hash"])))


class Arrivals(Rows):
    """What rows come into, whichever database it is."""

    def begin(self, origin: Origin) -> None:
        """Say whose rows come from now on."""
        with self.write():
            self._say(origin)

    @abstractmethod
    def clear(self) -> None:
        """Remove all that has come, and every key of it. Raises StoreError."""

    @abstractmethod
    def _is_begun(self) -> bool:
        """Whether there is a table `moving`."""

    def origin(self) -> Origin | None:
        """Whose rows come; None where it was not begun, or is done."""
        if not self._is_begun():
            return None
        rows = self._read("SELECT origin FROM moving", [])
        return Origin.read(rows[0]["origin"]) if rows else None

    def is_empty(self) -> bool:
        """Whether no program has made a row in it; it may have begun a chain."""
        if any(self._read(f"SELECT 1 FROM {table} LIMIT 1", []) for table in TABLES.values()):
            return False
        entries = self._read("SELECT kind FROM chain ORDER BY seq LIMIT 2", [])
        return [entry["kind"] for entry in entries] in ([], [SEGMENT])

    def take(self, table: str, rows: Sequence[Row]) -> int:
        """Add rows of a table, or of the chain, as they are; how many were not there. Raises StoreError for
        one that is there, and another."""
        key = COLUMNS[table][0]
        with self._filling():
            marks = ", ".join("?" * len(rows))
            sql = f"SELECT * FROM {table} WHERE {key} IN ({marks})"
            found = self._opened(table, self._read(sql, [row[key] for row in rows], anyhow=True))
            there = {row[key]: row for row in found}
            for row in rows:
                if row[key] in there and of_columns(table, there[row[key]]) != of_columns(table, row):
                    raise StoreError(
                        "{0}: {1} {2} is another than where it comes from", self.path, table, row[key]
                    )
            new = [of_columns(table, row) for row in rows if row[key] not in there]
            self._add(table, new)
        return len(new)

    def finish(self, trace: records.Access) -> None:
        """All is there: from now on it is a database like any other, and its trace says where it is from."""
        with self._filling():
            self.add_access(trace)
            self._end()

    def export(self) -> None:
        """Write the file of the chain's head, also where a crash came before it. Raises StoreError."""
        with self._asking():
            self._export(self._ledger.head())

    def _filling(self) -> AbstractContextManager[None]:
        """A transaction of who may add rows that come."""
        return self.write()

    def _end(self) -> None:
        self._ledger.tables.execute("DROP TABLE moving")

    def _add(self, table: str, rows: Sequence[Row]) -> None:
        tables = self._ledger.tables
        if table == "chain":
            for some in batches(rows, _ENTRIES_AT_ONCE):
                marks = f"({', '.join('?' * len(ENTRY))})"
                sql = f"INSERT INTO chain ({', '.join(ENTRY)}) VALUES {', '.join([marks] * len(some))}"
                tables.execute(sql, [row[name] for row in some for name in ENTRY])
            return
        for row in rows:
            if table == "approvals":  # nothing is decided before it was asked for
                tables.insert_many(table, [row | {"state": records.ApprovalState.PENDING.value}])
                tables.update_many(table, [row])
            else:
                tables.insert_many(table, [row])

    def _say(self, origin: Origin) -> None:
        tables = self._ledger.tables
        tables.execute("CREATE TABLE IF NOT EXISTS moving (origin TEXT NOT NULL)")
        tables.execute("DELETE FROM moving")
        tables.execute("INSERT INTO moving (origin) VALUES (?)", [origin.text()])

    def _begin_chain(self) -> None:
        """It comes."""


class Arriving(Arrivals, Store):
    """A file of this machine that is filled, made if it is missing."""

    def clear(self) -> None:
        """Remove all that has come. Rows are never deleted, but these were never in use."""
        tables = self._ledger.tables
        with self.write():
            triggers = self._read("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'", [])
            for trigger in triggers:
                tables.execute(f"DROP TRIGGER {trigger['name']}")
            for table in (*COLUMNS, *BESIDE):
                tables.execute(f"DELETE FROM {table}")
            for trigger in triggers:
                tables.execute(trigger["sql"])

    def _is_begun(self) -> bool:
        return bool(self._read("SELECT 1 FROM sqlite_master WHERE name = 'moving'", []))


class ArrivingShared(Arrivals, SealedStore):
    """An `Arrivals` in PostgreSQL: who rows lead to comes sealed, under keys that are made here."""

    def clear(self) -> None:
        """Remove all that has come, and every key of it. Rows are never deleted, but these were never in
        use."""
        execute = self._ledger.tables.execute
        with self.write():
            self._connection.take_as_long_as_it_takes()
            for table in COLUMNS:
                execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_stay")
                execute(f"DELETE FROM {table}")
                execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_stay")
            for table in (*BESIDE, "search_keys"):
                execute(f"DELETE FROM {table}")
        self.forget_keys()

    def _add(self, table: str, rows: Sequence[Row]) -> None:
        self.expect(sum(1 for row in rows if row.get("salt") is not None))
        super()._add(table, rows)

    def _is_begun(self) -> bool:
        return bool(self._read("SELECT 1 WHERE to_regclass('moving') IS NOT NULL", []))

    @contextmanager
    def _filling(self) -> Iterator[None]:
        with self.write():
            self._ledger.tables.execute(f"SET LOCAL {MOVING} = 'on'")
            yield

    def _say(self, origin: Origin) -> None:
        super()._say(origin)
        for text in MOVING_IN.texts_anew:
            self._ledger.tables.execute(text)

    def _end(self) -> None:
        super()._end()
        for text in MOVING_IN.texts_away:
            self._ledger.tables.execute(text)


def of_columns(table: str, row: Row) -> records.Json:
    """What counts of a row: the columns that every database has."""
    return {name: row.get(name) for name in COLUMNS[table]}


Progress = Callable[[str, int, int], None]  # what, done, total

_ROWS_AT_ONCE = 500  # rows in one transaction: as many have their keys in one bundle


def copy_rows(source: Rows, target: Arrivals, progress: Progress) -> dict[str, int]:
    """Copy all that is not there yet; how many rows there are of each table. Raises StoreError."""
    counted = {}
    for table, listing, total in _tables(source):
        count = 0
        for rows in batches(source.each(listing), _ROWS_AT_ONCE):
            target.take(table, rows)
            count += len(rows)
            progress(table, count, total)
        counted[table] = count
    if (row := source.rejected_row()) is not None:
        target.keep_rejected_row(row)
    if (row := source.clock_row()) is not None:
        target.keep_clock_row(row)
    if specials := source.specials():
        target.keep_specials(specials)
    outbox.copy(source, target)
    return counted


def other_rows(source: Rows, target: Rows, progress: Progress) -> Iterator[str]:
    """What is not the same in both, by table and name. Raises StoreError."""
    for table, listing, total in _tables(source):
        theirs, nothing = target.each(listing), dict[str, object]()
        for count, mine in enumerate(source.each(listing), 1):
            row = next(theirs, nothing)
            if of_columns(table, row) != of_columns(table, mine):
                yield f"{table} {next(iter(mine.values()))}"
            if count % PAGE == 0:
                progress(Reason("comparing {0}", table), count, total)
        for row in theirs:
            yield f"{table} {next(iter(row.values()))}"


@contextmanager
def copied_to(source: Rows, path: Path) -> Iterator[ChainHead]:
    """Copy whichever database into a new file of this machine; its head. Nobody writes a row until the end.

    What led to a person is in clear there, as in any file of ours. Raises StoreError.
    """
    with source.still() as head:
        with Arriving(path) as copy:
            copy_rows(source, copy, lambda what, done, total: None)
        Places(path).turn.unlink(missing_ok=True)
        yield head


def _tables(source: Rows) -> Iterator[tuple[str, Listing, int]]:
    """Each with how to read it in order, and how much of it there is."""
    tally = source.tally()
    yield "chain", Listing(table="chain", order=("seq",)), source.head().seq
    for table in TABLES.values():
        yield table, Listing(table=table, order=("id",)), tally[table]


_SHOWN = 3  # of what is wrong


class MoveError(ArchiveError):
    """It cannot move, or did not arrive as it was; `str()` is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTarget:
    """Where it goes, which people call `name`. `files`: None where these stay where they are. `sealed_only`:
    nothing in clear may be there."""

    name: str
    rows: Arrivals
    files: RecordingFiles | None
    sealed_only: bool = False


@dataclass(slots=True, kw_only=True)
class Done:
    """What has moved. `head`: the last entry that both chains have; `until`: when the first recording here
    expires, None where none does; `accounts`: how many accounts and tokens the caller has taken along;
    `again`: it was all there before."""

    head: ChainHead
    until: datetime | None
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    accounts: int = 0
    again: bool = False


def move(
    source: Archive,
    target: MoveTarget,
    trace: records.Access,
    period: str | None,
    progress: Progress = lambda what, done, total: None,
) -> Done:
    """Have all that is kept in `target`, where nothing else may be; it is complete and compared when this
    returns. `trace`: what the trace says there; `period`: the configured one.

    After a crash it is called again, with the same target. The caller knows that no agent runs. Raises
    MoveError, StoreError, OSError.
    """
    with source.store.still() as head:
        work = _Moving(source, target, trace, progress, Done(head=head, until=_until(source, period)))
        work.begin()
        if not work.done.again:
            work.rows()
            work.files()
            work.compare()
        work.finish()
    return work.done


def _until(source: Archive, period: str | None) -> datetime | None:
    """When the first recording expires that nothing holds."""
    rows = source.store.each_recording(Selection(status=records.Status.CLOSED), lambda id, problem: None)
    return min((due(row, period) for row in rows if source.hold_of(row) is None), default=None)


@dataclass(slots=True)
class _Moving:
    source: Archive
    target: MoveTarget
    trace: records.Access
    progress: Progress
    done: Done

    def begin(self) -> None:
        """Look whether it may begin, or go on. Raises MoveError."""
        for why in unsettled(self.source):
            raise MoveError("{0}: {1}", self._here(), why)
        ids, files, open_kinds = closed_ids(self.source), self.source.files, (FileKind.FLAC, FileKind.WAV)
        clear = [id for id in ids if self.target.sealed_only and finished(files, id) in open_kinds]
        if clear:
            raise MoveError(
                "recordings are stored in clear ({0}, the last of them {1}): only what is sealed may "
                "leave this machine; accepted: without objects until they have expired",
                len(clear),
                clear[-1],
            )
        rows = self.target.rows
        mine, theirs = Origin(self._here(), self.done.head), rows.origin()
        if theirs is not None and theirs.name != mine.name:
            raise MoveError("{0}: what comes from {1} is not all there yet", self.target.name, theirs.name)
        if theirs is None and rows.hash_of(mine.head.seq) == mine.head.hash:
            self.done.again = True
        elif theirs is None and not rows.is_empty():
            raise MoveError("{0}: has other rows; accepted: a database without any", self.target.name)
        self._note(done=False)
        if not self.done.again and theirs != mine:
            rows.clear()
            rows.begin(mine)

    def rows(self) -> None:
        """Copy the chain, then every table."""
        self.done.rows = copy_rows(self.source.store, self.target.rows, self.progress)

    def files(self) -> None:
        """Copy what is kept of recordings, unless it is there."""
        if (to := self.target.files) is not None:
            there = {id for area in Area for _, id in to.names(area) if id is not None}
            gone = [id for id in there if not _is_closed(self.source, id)]  # since a run before this one
            for error in (to.spool.erase(gone) | to.erase_stored(gone)).values():
                raise error
            to.spool.prepare()
            for id, kind in self._each_file("files"):
                if not to.exists(id, kind):
                    copy(self.source.files, to, id, kind)
            for row in self._held():
                to.hold(row.id, held=True)

    def compare(self) -> None:
        """Compare all of it. Raises MoveError."""
        wrong = [*other_rows(self.source.store, self.target.rows, self.progress)]
        if (to := self.target.files) is not None:
            for id, kind in self._unequal(to):
                copy(self.source.files, to, id, kind)  # of a run that a power cut ended
            wrong += [self.source.files.name(id, kind) for id, kind in self._unequal(to)]
            held = (row for row in self._held() if differs(self.target.rows, row))
            wrong += [Reason("the hold of {0}", row.id) for row in held]
            self.done.files = counts.recordings(self.source.store, records.Status.CLOSED)
        if wrong:
            more = Reason(", and {0} more", len(wrong) - _SHOWN) if len(wrong) > _SHOWN else ""
            raise MoveError(
                "{0}: not as it is here: {1}{2}", self.target.name, joined(wrong[:_SHOWN], "{0}, {1}"), more
            )

    def finish(self) -> None:
        """Write nothing here any more, then let what is there be used."""
        self._note(done=True)
        rows = self.target.rows
        if not self.done.again:
            rows.finish(replace(self.trace, action="migrate", detail=Reason("from {0}", self._here())))
        rows.export()

    # steps

    def _held(self) -> Iterator[records.Recording]:
        """What a hold keeps: also the store of objects, where that can."""
        held = self.source.store.each_recording(Selection(held=True), lambda id, problem: None)
        return (row for row in held if row.status is records.Status.CLOSED)

    def _note(self, *, done: bool) -> None:
        note = Moved(to=self.target.name, at=self.trace.at, until=self.done.until, done=done)
        self.source.store.tell_moved(note)

    def _here(self) -> str:
        return str(self.source.store.path)

    def _each_file(self, what: str) -> Iterator[tuple[str, FileKind]]:
        total = counts.recordings(self.source.store, records.Status.CLOSED)
        for done, id in enumerate(closed_ids(self.source), 1):
            kinds = (FileKind.KEY, finished(self.source.files, id), FileKind.METADATA)
            yield from ((id, kind) for kind in kinds if kind and self.source.files.exists(id, kind))
            self.progress(what, done, total)

    def _unequal(self, to: RecordingFiles) -> list[tuple[str, FileKind]]:
        """Compare every file by its hash, in both places."""
        files = self._each_file("comparing files")
        return [(id, kind) for id, kind in files if not is_equal(self.source.files, to, id, kind)]


def prepare(places: Places) -> None:
    """Make room for a database that arrives as a file. Raises MoveError for one that is there, OSError."""
    if places.database.exists():
        raise MoveError("{0}: is there already; accepted: a path where nothing is", places.database)
    make_folder(places.folder)
    if not places.arriving.exists():  # what an earlier one has left, whose rows had moved away
        unlink([places.moved, places.head])


def take_along(there: Places, here: Places) -> None:
    """Copy what lies beside, by its bytes; what lies in one folder for both stays. Raises OSError."""
    for source, target in (*there.seed_and_rota(here), *there.published(here)):
        if source.absolute() != target.absolute():
            make_folder(target.parent)
            write_whole(target, source.read_bytes())


def take_stamps(there: FolderStamps | None, here: FolderStamps | None) -> None:
    """Copy the time stamps, as they came. Raises OSError, StoreError."""
    if there is not None and here is not None:
        for seq in there.seqs():
            here.keep(seq, there.content(seq))


def tidy(places: Places) -> None:
    """Remove the copies that were on their way. Raises OSError."""
    if places.moving.folder.exists():
        shutil.rmtree(places.moving.folder)


def put_in_place(places: Places) -> None:
    """Give a database that has arrived its name; from now on it is used. Raises OSError."""
    places.arriving.rename(places.database)
    sync_folder(places.folder)

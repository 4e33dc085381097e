"""Rebuilds a lost database from the JSON beside the recordings.

Receipts, notes, the trace of uses, what was asked for and the tombstones are only in the database, and stay
lost. In the JSON of a sealed recording, what leads to a person is sealed: anyone who can listen can restore
it, in this run or in a later one.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from retention.archive import Archive, is_nameless, whole_hold
from retention.erase import erase
from retention.files import Places
from retention.marks import ArchiveError
from retention.recording_files import FileKind, RecordingFiles, finished, has_metadata, in_row, sha256
from retention.records import Json, Record, RecordError, Recording, Status, begun_at, parse_json, to_text
from retention.roots import RootError, newest, root_files
from retention.rows.chain import LOST, PERSONAL, ChainHeadError, read_head
from retention.rows.pages import Listing, Row
from retention.rows.rows import DamagedRow, Rows, StoreError, UnknownId
from retention.stamps import FolderStamps
from retention.texts import Reason, reason_of, strerror
from retention.vault import Identity, KeysError
from retention.verify import orphans

BEGUN_ANEW = Reason("the database was lost, and a new one is begun: see `sipagent rebuild`")
REBUILT = Reason("rebuilt from the files beside the recordings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrebuilt(Record):
    """Something that could not be recovered, or not wholly. `name` is a file in the directory, or an id."""

    name: str
    problem: str


@dataclass(slots=True, kw_only=True)
class Rebuilt(Record):
    """What `rebuild` did; ids, oldest first."""

    restored: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)  # whose hold came back
    completed: list[str] = field(default_factory=list)  # known, and now also who called and who answered
    repaired: list[str] = field(default_factory=list)  # whose row could not be read
    nameless: list[str] = field(default_factory=list)  # of whom that is still sealed
    known: int = 0  # that the database had already
    problems: list[Unrebuilt] = field(default_factory=list)


def rebuild(
    archive: Archive,
    identity: Identity | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rebuilt:
    """Add a row for each recording that has none, from its JSON, in a new segment of the chain.

    - A hold comes back with its recording, in the same step.
    - JSON without its sound: the row is `closed` too, so that the purge or `release` can end it, and sound
      can be copied back later.
    - Another hash than the JSON says: the row says so by keeping the hash of the JSON.
    - Another start than its name says: the name is believed, so that no JSON makes a recording stay longer.
    - What is marked to be erased is erased, and never comes back: see `marks`.
    - Sound without JSON: nothing is known of it, not even whether the caller allowed it. It is reported, and
      purged once its name says that it has expired.

    Rows that exist are left as they are, with three exceptions: what an earlier run could not open and
    `identity` does; a hold that the JSON tells and the row does not (an older database was restored); the row
    of a closed recording that cannot be read. That row becomes what the JSON says, and the chain tells that
    it had been altered. Safe to repeat after a crash. `progress(done, total)` after each. Raises StoreError,
    OSError.
    """
    work = _Rebuilding(archive, identity)
    archive.files.learn()
    work.erase()
    marked = {*archive.marks.ids()}
    ids = sorted({id for _, id in archive.names() if id is not None and id not in marked})
    known = {id: row for id in ids if (row := _row(archive.store, id)) is not None}
    if _is_older(archive.store) or is_lost(archive):
        work.begin_segment()
    for number, id in enumerate(ids, 1):
        row = known.get(id)
        if isinstance(row, DamagedRow):
            work.repair(id, row)
        elif row is not None:
            work.complete(row)
        else:
            work.restore(id)
        progress(number, len(ids))
    work.done.known = len(known)
    work.done.problems += _disagreements(archive, set(ids) - known.keys())
    return work.done


def is_left(places: Places, files: RecordingFiles) -> bool:
    """Whether files say that there was a database here. Raises OSError."""
    told = places.head.exists() or root_files(places.roots) or FolderStamps(places.stamps).seqs()
    return bool(told) or has_metadata(files)


def is_lost(archive: Archive) -> bool:
    """Whether the database of this host began anew after a loss, and nobody has called `rebuild`. Raises
    StoreError, OSError."""
    store, places = archive.store, archive.store.places
    begun = store.last_segment()
    if store.shared or places is None or begun == REBUILT:
        return False
    if begun == LOST or _proven(places) > store.head().seq:
        return True
    rows = store.each(Listing(table="recordings", order=("id",), limit=1))
    return next(rows, None) is None and has_metadata(archive.files)


def _proven(places: Places) -> int:
    """The last entry of which a root or stamp tells, as far as they can be read."""
    last = max(FolderStamps(places.stamps).seqs(), default=0)
    with suppress(RootError):
        if (root := newest(places.roots)) is not None:
            last = max(last, root.first + root.size - 1)
    return last


def _row(store: Rows, id: str) -> Recording | DamagedRow | None:
    try:
        return store.recording(id)
    except UnknownId:
        return None
    except DamagedRow as error:
        return error


def _hold_of(raw: Row) -> Json | None:
    """What a row that cannot be read says of a hold."""
    try:
        return None if raw["hold"] is None else whole_hold(parse_json(raw["hold"]))
    except RecordError:
        return whole_hold({})


def _is_older(store: Rows) -> bool:
    """Whether the exported head is missing in the chain: an older database was restored.

    True, too, if that head cannot be read.
    """
    try:
        exported = None if store.places is None else read_head(store.places.head)
    except ChainHeadError:
        return True
    return exported is not None and not store.knows(exported)


class _Rebuilding:
    """One run, recording by recording."""

    def __init__(self, archive: Archive, identity: Identity | None) -> None:
        self.archive = archive
        self.identity = identity
        self.done = Rebuilt()
        self._begun = False

    def erase(self) -> None:
        """Erase what a mark says must go, whatever else is known of it; the next start removes the mark."""
        for id in self.archive.marks.ids():
            try:
                erase(self.archive, id, datetime.now(UTC))
            except UnknownId:
                continue
            except (OSError, StoreError, ArchiveError) as error:
                self._problem(id, "must be erased, and is not: {0}", error)

    def begin_segment(self) -> None:
        """Tell the chain once, before the first row, that what follows was not written when it happened."""
        if not self._begun:
            self.archive.store.begin_segment(REBUILT)
            self._begun = True

    def restore(self, id: str) -> None:
        """Add the row of a recording that has none."""
        if not self.archive.files.exists(id, FileKind.METADATA):
            for name, owner in self.archive.names():
                if owner == id:
                    self._problem(name, "no metadata beside it: not recoverable")
            return
        told = self._told(id)
        if told is None:
            return
        row, is_sealed = told
        self.begin_segment()
        self.archive.store.add_recording(row)
        self.done.restored.append(id)
        self.done.held += [id] if row.hold else []
        self.done.nameless += [id] if is_sealed and is_nameless(row) else []

    def repair(self, id: str, damaged: DamagedRow) -> None:
        """Write the row of a closed recording again; the agent or a purge must end any other.

        No one else changes it meanwhile: no one can read it. If it told of a hold, it still does.
        """
        store = self.archive.store
        columns = "id, status, hold, purged_at"
        (raw,) = store.each(Listing(table="recordings", order=("id",), columns=columns, start=id, limit=1))
        is_kept = raw["status"] == Status.CLOSED.value and raw["purged_at"] is None
        if not is_kept or (told := self._told(id)) is None:
            self._problem(id, str(damaged))
            return
        row, is_sealed = told
        store.update_recording(replace(row, hold=row.hold or _hold_of(raw)))
        self.done.repaired.append(id)
        self.done.nameless += [id] if is_sealed and is_nameless(row) else []

    def _told(self, id: str) -> tuple[Recording, bool] | None:
        """The row of a closed recording as its JSON tells it, and whether that is sealed."""
        files = self.archive.files
        name, kind = files.name(id, FileKind.METADATA), finished(files, id)
        try:
            fields = self._read(id)
            row = self._opened(fields)
        except RecordError as error:
            self._problem(name, reason_of(error))
            return None
        except OSError as error:
            self._problem(name, "cannot be read: {0}", strerror(error))
            return None
        row = replace(row, status=Status.CLOSED, purged_at=None)
        if (begun := begun_at(id)) not in (None, row.started_at):
            self._problem(name, "began at another time than its name says: {0}", to_text(row.started_at))
            row = replace(row, started_at=begun)
        row = replace(row, path=None if kind is None else in_row(files, id, kind))
        if kind is not None:
            self.done.problems += _differences(self.archive, kind, row)
        else:
            self._problem(name, "its recording is missing")
        return row, "sealed" in fields

    def complete(self, row: Recording) -> None:
        """Fill in what was still sealed when the row came back, and the hold that an older database lacks."""
        if row.status is not Status.CLOSED:
            return
        try:
            fields = self._read(row.id)
            nameless = is_nameless(row) and "sealed" in fields
            if not nameless and (row.hold is not None or fields.get("hold") is None):
                return
            opened = self._opened(fields)
        except (RecordError, OSError):
            return  # the disagreements tell, or `verify`
        if nameless and is_nameless(opened):
            self.done.nameless.append(row.id)
        self._fill_in(opened)

    def _fill_in(self, opened: Recording) -> None:
        """Add what the row lacks; replace nothing."""
        with self.archive.store.write():
            row = self.archive.store.recording(opened.id)
            if row.status is not Status.CLOSED:
                return
            completes = is_nameless(row) and not is_nameless(opened)
            holds = row.hold is None and opened.hold is not None
            if completes:
                names = {name: getattr(opened, name) for name in PERSONAL["recording"]}
                self.archive.store.update_recording(replace(row, **names))
                self.done.completed.append(row.id)
            elif holds:
                self.archive.store.update_recording(replace(row, hold=opened.hold))
            self.done.held += [row.id] if holds else []

    def _opened(self, fields: Json) -> Recording:
        """The metadata with what is sealed in it, if the identity opens that. Raises RecordError.

        A hold in either part is believed: someone may have removed it from the open part.
        """
        known = Recording.from_json(fields)
        if self.identity is None or "sealed" not in fields:
            return known
        try:
            if not isinstance(fields["sealed"], dict):
                raise RecordError("it is no object")
            text = self.archive.vault.unseal(known.id, fields["sealed"], self.identity).decode()
            personal = parse_json(text)
        except (KeysError, RecordError, UnicodeDecodeError) as error:
            name = self.archive.files.name(known.id, FileKind.METADATA)
            self._problem(name, "who was recorded stays sealed: {0}", error)
            return known
        persons = {name: personal.get(name) for name in PERSONAL["recording"]}
        return Recording.from_json(fields | persons | {"hold": whole_hold(persons["hold"]) or fields["hold"]})

    def _read(self, id: str) -> Json:
        """With a whole hold, whatever stands in its place. Raises RecordError for anything that is not the
        metadata of this id, OSError."""
        fields = self.archive.read_metadata(id)
        fields["hold"] = whole_hold(fields.get("hold"))
        row = Recording.from_json(fields)
        if row.id != id:
            raise RecordError("it is of another recording, {0}", row.id)
        return fields

    def _problem(self, name: str, problem: str, *values: object) -> None:
        self.done.problems.append(Unrebuilt(name=name, problem=Reason(problem, *values)))


def _differences(archive: Archive, kind: FileKind, row: Recording) -> Iterator[Unrebuilt]:
    name = archive.files.name(row.id, kind)
    if row.sha256 is None:
        yield Unrebuilt(name=name, problem=Reason("its metadata has no hash to verify it by"))
    elif sha256(archive.files, row.id, kind) != row.sha256:
        yield Unrebuilt(name=name, problem=Reason("it is not the file that was recorded: its hash differs"))
    if kind is FileKind.SEALED and not archive.vault.has(row.id):
        yield Unrebuilt(name=name, problem=Reason("its key is missing from the vault: nobody can open it"))


def _disagreements(archive: Archive, told: set[str]) -> list[Unrebuilt]:
    """Those not reported yet: files without a row, and rows whose files were removed since a backup, or came
    back."""
    return [
        Unrebuilt(name=orphan.name, problem=orphan.problem)
        for orphan in orphans(archive)
        if orphan.id is None or orphan.id not in told
    ]

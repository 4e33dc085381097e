"""Whether all that is kept is still what was kept: the chain, the rows against it, the files against them.

First the triggers, then the chain alone, entry by entry. Then each row against the entry that tells its
present state: a changed byte, a row put back to an earlier state, a row that is gone. Then the exported
head: it shows a tail cut off. Then what waits beside the database to be written into it. Last the files:
each against the hash in its row, those that should be erased by now, and those without a row. An agent
may write meanwhile.

**Beside a recording** lie `ID.json`, which `rebuild` believes, and the sealed key: both are compared with
its row.

**Files** are compared by their hashes, and each hold must be where it belongs. Where files are objects,
the store says how long they are and what their hash is: it has computed it from what it has. Only `deep`
reads the bytes. So much is asked for at a time as `RecordingFiles.at_once` allows.

**Orphans** are what rows and files do not agree on, in both directions; without what a mark says must be
erased (see `erase`), and what waits for its row in a reserve.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePath

from retention import outbox
from retention.archive import Archive
from retention.erase import leftovers, stuck
from retention.marks import ArchiveError
from retention.merkle import Frontier
from retention.recording_files import FORMATS, Area, FileKind, finished, sha256
from retention.records import (
    Json,
    Record,
    RecordError,
    Recording,
    Status,
    host_of,
    is_id,
    parse_json,
    to_text,
)
from retention.reserve import lasting_problems, recordings_in
from retention.roots import Root, RootError, read_root, root_files
from retention.rows.chain import (
    ALTERED,
    DAMAGED,
    GENESIS,
    PERSONAL,
    SEGMENT,
    TABLES,
    ChainEntry,
    ChainHead,
    ChainHeadError,
    Lost,
    as_told,
    damaged_path,
    differences,
    public,
    read_head,
)
from retention.rows.counts import LOST
from retention.rows.pages import BATCH, PAGE, Listing, Row, batches
from retention.rows.rows import StoreError, UnknownId
from retention.rows.selection import Selection
from retention.texts import Reason, reason_of, strerror
from retention.vault import KeysError

_OWN = ("path", "sealed")  # not in the row: where it lay, and what only its recipients can read


def wrong_beside(archive: Archive, id: str) -> list[tuple[str, str]]:
    """What is wrong with the metadata and the key of a closed recording: a name, and the problem.

    Never says a value. `orphans` reports what is missing.
    """
    found = list(_beside(archive, id))
    if not found:
        return found
    if archive.files.spool.exists(id, FileKind.METADATA):
        # perhaps seen between the file and the row: no one else writes once the database is ours
        with archive.store.write():
            return list(_beside(archive, id))
    before = _state(archive, id)
    while True:  # a store is asked without a turn, which would wait for it
        found, after = list(_beside(archive, id)), _state(archive, id)
        if after == before:
            return found
        before = after


def _state(archive: Archive, id: str) -> tuple[object, ...] | None:
    """Which row there is, and which JSON counts, which change together; None for what cannot be read."""
    try:
        return archive.store.recording(id), archive.files.version(id, FileKind.METADATA)
    except (StoreError, OSError):
        return None


def _beside(archive: Archive, id: str) -> Iterator[tuple[str, str]]:
    try:
        row = archive.store.recording(id)
    except StoreError:
        return  # damaged, and named as such
    if row.status is not Status.CLOSED:
        return
    if (problem := _metadata(archive, row)) is not None:
        yield archive.files.name(id, FileKind.METADATA), problem
    if archive.vault.has(id):
        try:
            archive.vault.recipients(id)
        except (KeysError, OSError) as error:
            yield archive.files.name(id, FileKind.KEY), _after_path(error)


def _metadata(archive: Archive, row: Recording) -> str | None:
    try:
        told = as_told("recording", archive.read_metadata(row.id))
    except FileNotFoundError:
        return None
    except RecordError:
        return Reason("not readable")
    except OSError as error:
        return Reason("cannot be read: {0}", strerror(error))
    record = as_told("recording", _as_outside(row.to_json(), sealed="sealed" in told))
    names = (told.keys() | record.keys()) - set(_OWN)
    other = [name for name in sorted(names) if told.get(name) != record.get(name)]
    return Reason("says otherwise than the database: {0}", ", ".join(other)) if other else None


def _as_outside(record: Json, *, sealed: bool) -> Json:
    """The metadata as the archive writes it."""
    record = record | (dict.fromkeys(PERSONAL["recording"]) | public("recording", record) if sealed else {})
    return dict(json.loads(json.dumps(record)))


def _after_path(error: Exception) -> str:
    """`is not the sealed key of …` of `/…/vault/ID.key: is not the sealed key of …`."""
    reason = reason_of(error)
    return reason.values[-1] if reason.message == "{0}: {1}" else reason


Step = Callable[[int, int], None]  # done, total

CLOSED_RECORDINGS = Listing(
    table="recordings",
    order=("started_at", "id"),
    columns="id, sha256, bytes, hold",
    indexed="purged_at IS NULL",
    where=["status = ?"],
    values=[Status.CLOSED.value],
)
"""Recordings that have files."""

_LASTS = timedelta(minutes=1)  # what is still to be removed after that is told
_BESIDE = (FileKind.KEY, FileKind.METADATA)


@dataclass(frozen=True, slots=True)
class Mismatch(Record):
    """One thing that is wrong; `where` names an entry, a row, or a file."""

    where: str
    problem: str


def each_file(
    archive: Archive, step: Step, *, deep: bool, without: Callable[[str], bool]
) -> Iterator[Mismatch]:
    """What is wrong with the files of closed recordings; `without(id)`: nothing can be said of what lies
    beside this one. Raises StoreError."""
    total, done = sum(1 for _ in archive.store.each(CLOSED_RECORDINGS)), 0

    def problems_of(row: Row) -> list[Mismatch]:
        return [*_file(archive, row, deep=deep, alone=without(row["id"]))]

    with ThreadPoolExecutor(archive.files.at_once, "files") as pool:
        for rows in batches(archive.store.each(CLOSED_RECORDINGS), BATCH):
            several = archive.files.at_once > 1
            for found in pool.map(problems_of, rows) if several else map(problems_of, rows):
                yield from found
                step(done := done + 1, total)


def each_hold(archive: Archive) -> Iterator[Mismatch]:
    """Holds that rows have, and objects do not: a store would remove them. Raises StoreError."""
    for row in archive.store.each_recording(Selection(held=True), lambda id, problem: None):
        if row.status is not Status.CLOSED:
            continue
        for kind in (*FORMATS, *_BESIDE):
            try:
                stored = archive.files.stored(row.id, kind) if archive.files.exists(row.id, kind) else None
            except OSError:
                continue  # that it is missing, or cannot be asked for, is told of its file
            if stored is not None and not stored.held:
                yield Mismatch(
                    archive.files.name(row.id, kind), Reason("its row is on hold, the object is not")
                )


def what_is_left(archive: Archive, now: datetime) -> Iterator[Mismatch]:
    """What rows say is gone, and a store or a vault still has. Raises StoreError."""
    left = archive.store.objects.removals(now - _LASTS)
    if left.recordings:
        said = "those of {0} recordings must be removed from the store, and are not{1}: see `sipagent purge`"
        since = "" if left.since is None else Reason(", the first since {0}", to_text(left.since))
        yield Mismatch("objects", Reason(said, left.recordings, since))
    if twice := {row.id for row in leftovers(archive) if row.at < now - _LASTS}:
        said = "those of {0} recordings are kept twice, or in pieces beside the whole: see `sipagent purge`"
        yield Mismatch("objects", Reason(said, len(twice)))
    if keys := archive.store.keys_left():
        yield Mismatch(
            "vault", Reason("{0} keys of rows must be removed, and are not: see `sipagent purge`", keys)
        )
    for event in outbox.left(archive.store):
        said = "names a call that was forgotten: see `sipagent purge`"
        yield Mismatch(Reason("event {0}", event), Reason(said))


def _file(archive: Archive, row: Row, *, deep: bool, alone: bool) -> Iterator[Mismatch]:
    """Check one file, and what lies beside it, unless `alone`: its row is not what it should be."""
    id, files = row["id"], archive.files
    kind = finished(files, id) if is_id(str(id)) else None
    if kind is None:
        return
    try:
        stored, told = files.stored(id, kind), str(row["sha256"])
        if deep or stored is None or stored.sha256 is None:
            is_as_recorded = sha256(files, id, kind) == told
        else:
            is_as_recorded = stored.sha256 == told and row["bytes"] in (None, stored.bytes)
        if not is_as_recorded:
            yield Mismatch(files.name(id, kind), Reason("its hash is not that of the file that was recorded"))
        elif stored is not None and stored.held and not row["hold"]:
            yield Mismatch(files.name(id, kind), Reason("the object is on hold, its row is not"))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and archive.store.recording(id).status is not Status.CLOSED:
            return  # a purge has removed it meanwhile
        yield Mismatch(files.name(id, kind), Reason("cannot be read: {0}", strerror(error)))
    for what, problem in () if alone else wrong_beside(archive, id):
        yield Mismatch(what, problem)


_FINISHED = tuple(f".{kind}" for kind in FORMATS)
_KNOWN = {status.value: status for status in Status}
GONE = (Status.ERASED, Status.FAILED, Status.PURGED)  # nothing of these may be on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One disagreement. `id` is null for a file that is not ours; `name` is a file in the directory, or
    `vault/…` in the vault."""

    name: str
    id: str | None
    problem: str
    in_vault: bool = False
    rowless: bool = False  # the database does not know this id
    forbidden: bool = False  # the row says that this file must not exist
    missing: bool = False  # the row says that it should exist


Seen = Callable[[int], None]  # so many files and rows were looked at by now


def orphans(archive: Archive, seen: Seen = lambda count: None) -> list[Orphan]:
    """Files without a row, files whose row says that they are gone, and closed rows whose file is gone.

    Calls may begin and end meanwhile: a row exists before its file, and a file before its row is closed. So
    what looks wrong is looked at again. However much there is, only a page of it is in memory.
    """
    found: list[Orphan] = []
    count = 0
    left_out = {*archive.marks.ids(), *_waiting(archive)}
    for area in (Area.RECORDINGS, Area.VAULT):
        for names in batches(archive.files.names(area), BATCH):
            asked = [(name, id) for name, id in names if id not in left_out]
            found += _unexpected(archive, area, asked)
            seen(count := count + len(names))
    for rows in batches(archive.store.each(CLOSED_RECORDINGS), PAGE):
        found += _missing(archive, [row["id"] for row in rows if is_id(str(row["id"]))])
        seen(count := count + len(rows))
    found.sort(key=attrgetter("missing", "in_vault"))  # each of these as it is listed
    return [
        orphan for _, some in groupby(found, attrgetter("missing", "in_vault")) for orphan in _sorted(some)
    ]


def _sorted(found: Iterable[Orphan]) -> list[Orphan]:
    """By name; what is missing stays in the order of its rows."""
    listed = [*found]
    return listed if listed[0].missing else sorted(listed, key=attrgetter("name"))


def _waiting(archive: Archive) -> frozenset[str]:
    """Those whose row is in a reserve: it is not written yet."""
    return frozenset() if archive.here is None else recordings_in(archive.here)


def _unexpected(archive: Archive, area: Area, names: list[tuple[str, str | None]]) -> Iterator[Orphan]:
    in_vault = area is Area.VAULT
    rows = archive.store.states([id for _, id in names if id is not None])
    for name, id in names:
        if id is None:
            problem = Reason("not a key of a recording") if in_vault else Reason("not a file of the agent")
            yield Orphan(name=name, id=None, problem=problem, in_vault=in_vault)
            continue
        row = rows.get(id)
        status = None if row is None else _KNOWN.get(row["status"], Status.OPEN)
        if status is None or status in GONE:
            yield from _without_right(archive, name, id, status, in_vault=in_vault)
        elif in_vault or status is not Status.CLOSED:
            continue
        elif name.endswith((".part", ".tmp")):
            if _stays(archive, name):
                problem = Reason("left over from a crash; the recording is closed")
                yield Orphan(name=name, id=id, problem=problem)
        elif name.endswith(_FINISHED) and (own := _other(archive, row, name)):
            yield Orphan(name=name, id=id, problem=Reason("not the file of its recording, {0}", own))


def _other(archive: Archive, row: Row | None, name: str) -> str | None:
    """The name of a recording's file in its row, if that is another one, and there; else None."""
    own = row and row["path"] and PurePath(str(row["path"])).name
    if not own or own == PurePath(name).name or row is None:
        return None
    return own if sum(archive.files.exists(row["id"], kind) for kind in FORMATS) > 1 else None


def _stays(archive: Archive, name: str) -> bool:
    """Whether it is there while no process can be writing it: what is kept changes within a transaction."""
    with archive.store.write():
        return archive.files.is_there(name)


def _without_right(
    archive: Archive, name: str, id: str, status: Status | None, *, in_vault: bool = False
) -> Iterator[Orphan]:
    if status is None:
        problem = Reason("no row in the database")
        known = archive.marks.forbidden(id) or id in _waiting(archive) or _status(archive, id) is not None
        if not known and archive.files.is_there(name):  # else it came, or went, while we looked
            yield Orphan(name=name, id=id, problem=problem, rowless=True, in_vault=in_vault)
    elif status is Status.FAILED and _may_be_whole(archive, id):
        return
    elif archive.files.is_there(name):  # else it was removed while we looked
        problem = Reason("the recording is {0}; restored from a backup?", status.value)
        yield Orphan(name=name, id=id, problem=problem, forbidden=True, in_vault=in_vault)


def _may_be_whole(archive: Archive, id: str) -> bool:
    """Whether its host, which others took for lost, may have all of it, and has not told."""
    heard, ended = archive.store.heard_until(host_of(id)), archive.store.recording(id).ended_at
    return heard is None or (ended is not None and heard <= ended)


def _missing(archive: Archive, closed: list[str]) -> Iterator[Orphan]:
    files = archive.files
    for id in closed:
        found, sound = [], finished(files, id)
        if sound is None:
            found.append((id, Reason("the file of a closed recording is missing")))
        if not files.exists(id, FileKind.METADATA):
            name = files.name(id, FileKind.METADATA)
            found.append((name, Reason("the metadata of a closed recording is missing")))
        if sound is FileKind.SEALED and not files.exists(id, FileKind.KEY):
            name = files.name(id, FileKind.SEALED)
            found.append((name, Reason("its key is missing from the vault: nobody can open it")))
        if found and not archive.marks.forbidden(id) and _status(archive, id) is Status.CLOSED:
            for what, problem in found:
                yield Orphan(name=what, id=id, problem=problem, missing=True)


def _status(archive: Archive, id: str) -> Status | None:
    """The status of a row now; None where there is no row.

    A row that cannot be read keeps its files: it counts as the least finished status.
    """
    try:
        return archive.store.recording(id).status
    except UnknownId:
        return None
    except StoreError:
        return Status.OPEN


Progress = Callable[[str, int, int], None]  # what, done, total

_LEAP = 10_000_000  # how many numbers a broken seq may skip: marks are kept by number
_THERE, _SUPERSEDED, _SEEN = 1, 2, 4


@dataclass(slots=True, kw_only=True)
class Verified:
    """What was checked, how much of it, and what is wrong.

    `lost`: what the chain itself says is missing; `gaps`: the numbers of these entries.
    """

    head: ChainHead
    problems: list[Mismatch] = field(default_factory=list)
    lost: list[Mismatch] = field(default_factory=list)
    gaps: list[range] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def verify(
    archive: Archive,
    progress: Progress = lambda what, done, total: None,
    *,
    heads: tuple[Path, ...] = (),
    deep: bool = False,
) -> Verified:
    """Check everything; `heads` are copies of the exported head to compare with, besides the one in place.

    `deep`: read also the bytes of objects whose hash a store tells.

    Raises StoreError; OSError for a folder that cannot be read.
    """
    work = _Verification(archive, progress, deep)
    work.guards()
    work.chain()
    for kind in TABLES:
        work.rows(kind)
    work.lost_receipts()
    work.dropped()
    work.exported(heads)
    work.reserves()
    work.files()
    return work.found


class _Verification:
    """`marks`: what is known of each entry of the chain, by its seq, up to the head at the start."""

    def __init__(self, archive: Archive, progress: Progress, deep: bool) -> None:
        self.archive = archive
        self.deep = deep
        self.store = archive.store
        self.progress = progress
        self.found = Verified(head=self.store.head())
        self.marks = bytearray()

    def wrong(self, where: str, problem: str, *values: object) -> None:
        self.found.problems.append(Mismatch(where, Reason(problem, *values)))

    def guards(self) -> None:
        """Check the triggers that refuse what no program of ours does."""
        for name in self.store.missing_guards():
            self.wrong("database", "its trigger {0} is missing or another: what it refused is possible", name)

    def chain(self) -> None:
        """Check the chain, entry by entry."""
        last, count, until = ChainHead(0, GENESIS), 0, self.found.head.seq
        tree, roots = Frontier(), self._roots()
        for row in self.store.each(Listing(table="chain", order=("seq",), stop=until + 1)):
            entry = ChainEntry(**row)
            last = self._behind(entry, last)
            if not entry.follows(last.hash):
                self.wrong(
                    Reason("chain entry {0}", entry.seq),
                    "its hash is not that of its content behind the one before",
                )
            if entry.kind == ALTERED:
                self.wrong(
                    entry.subject, "had been altered when entry {0} was written ({1})", entry.seq, entry.at
                )
            if not self._mark_entry(entry):
                break
            last = ChainHead(entry.seq, entry.hash)
            count += 1
            tree.add(_content(entry.hash))
            for root in roots.pop(entry.seq + 1, ()):
                if entry.seq - tree.size + 1 == root.first and tree.root().hex() != root.root:
                    self.wrong(_root(root), "was made of another chain")
            if count % PAGE == 0:
                self.progress("chain", entry.seq, until)
        self.found.counts["chain"] = count
        for behind, root in ((behind, root) for behind, some in roots.items() for root in some):
            if any(behind - 1 in gap for gap in self.found.gaps):
                self.found.lost.append(Mismatch(_root(root), Reason("its last entry is lost")))
            else:
                self.wrong(_root(root), "has {0} entries, more than the chain", root.size)

    def _roots(self) -> dict[int, list[Root]]:
        """The roots beside the database, by the number of the entry behind their last."""
        found: dict[int, list[Root]] = {}
        places = self.store.places
        for path in root_files(places.roots) if places else ():
            try:
                root = read_root(path)
                found.setdefault(root.first + root.size, []).append(root)
            except RootError as error:
                self.wrong(Reason("root {0}", path.name), str(error))
        return found

    def rows(self, kind: str) -> None:
        """Compare each row of one table with its entry."""
        table, done = TABLES[kind], 0
        total = self.store.tally()[table]
        numbered = Listing(table=table, order=(self.store.dialect.numbers[table],))
        for rows in batches(self.store.each(numbered), PAGE):
            entries = self.store.entries([row["chain_seq"] or 0 for row in rows])
            for row in rows:
                where = _place(kind, row["id"])
                entry = entries.get(row["chain_seq"])
                if entry is None:
                    self.wrong(where, "no entry of the chain tells of it")
                elif (entry.kind, entry.subject) != (kind, str(row["id"])):
                    self.wrong(
                        where, "entry {0} tells of another, {1} {2}", entry.seq, entry.kind, entry.subject
                    )
                else:
                    for problem in differences(kind, row, entry):
                        self.wrong(where, problem)
                    self._mark_row(entry)
            done += len(rows)
            self.progress(table, done, total)
        self.found.counts[table] = done

    def lost_receipts(self) -> None:
        """Calls without a receipt, as the chain tells."""
        for sum in self.store.each_sum(damaged=lambda id, problem: None):  # it has been reported
            if sum.what == LOST:
                first, last = to_text(sum.from_at), to_text(sum.until_at)
                problem = Reason("{0} could not be written, between {1} and {2}", sum.count, first, last)
                self.found.lost.append(Mismatch("receipts", problem))

    def dropped(self) -> None:
        """Report rows that entries tell of, and that are missing."""
        for seq, mark in enumerate(self.marks):
            if mark == _THERE:
                entry = self.store.entries([seq])[seq]
                self.wrong(
                    _place(entry.kind, entry.subject),
                    "gone; entry {0} of the chain tells of it",
                    seq,
                )

    def exported(self, copies: tuple[Path, ...]) -> None:
        """Look for the exported head, and copies of it, in the chain."""
        own = None if self.store.places is None else self.store.places.head
        if own is not None and (damaged := damaged_path(own)).exists():
            self.wrong(damaged.name, DAMAGED)
        for path in copies if own is None else (own, *copies):
            name = path.name if path == own else str(path)
            try:
                head = read_head(path)
            except ChainHeadError:
                self.wrong(name, "not the head of a chain")
                continue
            if head is None and path == own and self.archive.here != self.store.places:
                continue  # another host may have written all that there is
            if head is None:
                self.wrong(name, "missing: a tail cut off the chain would not show")
            elif not self.store.knows(head):
                self.wrong(name, "the chain has no entry {0} with this hash: its tail was cut off", head.seq)

    def reserves(self) -> None:
        """Look for what waits to be written, and no process will write."""
        if self.archive.here is not None:
            for name, problem in lasting_problems(self.archive.here).items():
                self.wrong(name, problem)

    def files(self) -> None:
        """Compare them with their rows, and look for those without a row, and rows without them."""
        named = {finding.where for finding in self.found.problems}
        done = 0

        def step(count: int, total: int) -> None:
            nonlocal done
            done = count
            self.progress("files", count, total)

        for wrong in each_file(
            self.archive, step, deep=self.deep, without=lambda id: _place("recording", id) in named
        ):
            self.found.problems.append(wrong)
        self.found.counts["files"] = done
        self.found.problems += each_hold(self.archive)
        self.found.problems += what_is_left(self.archive, datetime.now(UTC))
        try:
            for id in stuck(self.archive):
                self.wrong(
                    _place("recording", id),
                    "must be erased, and is not, or not wholly: see `sipagent purge`",
                )
            names = 4 * done  # of sound, metadata and key, and once more by their rows
            for orphan in orphans(self.archive, lambda seen: self.progress("names", min(seen, names), names)):
                self.wrong(orphan.name, orphan.problem)
            self.progress("names", names, names)
        except (StoreError, ArchiveError) as error:  # its row is damaged, which has been reported
            self.wrong("recordings", "cannot be compared with the files: {0}", error)

    def _behind(self, entry: ChainEntry, last: ChainHead) -> ChainHead:
        """What the entry must follow; a segment may name another place than the entry before it."""
        where = Reason("chain entry {0}", entry.seq)
        lost = _lost(entry) if entry.kind == SEGMENT else None
        if lost == "unknown":
            said = "what is lost before it, if anything, has no number: {0} ({1})"
            self.found.lost.append(Mismatch(where, Reason(said, entry.subject, entry.at)))
        elif lost is not None:
            goes_on = (
                lost.seq > last.seq
            )  # else it was an older copy that went on, further than what was lost
            which = _entries(last.seq + 1, lost.seq)
            if not goes_on:
                which = Reason("entries of another copy, up to {0}, are lost", lost.seq)
            problem = Reason("{0}: {1} ({2})", which, Reason(entry.subject), entry.at)
            self.found.lost.append(Mismatch(where, problem))
            self.found.gaps.append(range(last.seq + 1, lost.seq + 1))
            last = lost if goes_on else last
        if entry.seq != last.seq + 1:
            one, several = "entry {0} before it is missing", "entries {0} to {1} before it are missing"
            first, upto = last.seq + 1, entry.seq - 1
            self.wrong(where, one if first == upto else several, first, upto)
        return last

    def _mark_entry(self, entry: ChainEntry) -> bool:
        """False if its number is so far off that nothing can be said of the entries after it."""
        where = Reason("chain entry {0}", entry.seq)
        gap = entry.seq + 1 - len(self.marks)
        if not 0 < gap <= _LEAP:
            self.wrong(where, "its number cannot be")
            return False
        self.marks.extend(bytes(gap))
        self.marks[entry.seq] = _THERE if entry.kind in TABLES else _THERE | _SEEN
        if entry.was != 0:
            if not _is_before(entry) or self.marks[entry.was] != _THERE:
                self.wrong(where, "entry {0} is not the one before its change", entry.was)
            else:
                self.marks[entry.was] |= _SUPERSEDED
        return True

    def _mark_row(self, entry: ChainEntry | None) -> None:
        """Check that the row is in the state that `entry` tells, and that this entry is the last one about
        it."""
        while entry is not None and entry.seq >= len(self.marks):  # written since the walk
            entry = self.store.entries([entry.was]).get(entry.was) if _is_before(entry) else None
        if entry is None:
            return
        if self.marks[entry.seq] & _SUPERSEDED:
            self.wrong(
                _place(entry.kind, entry.subject),
                "put back to an earlier state, that of entry {0}",
                entry.seq,
            )
        self.marks[entry.seq] |= _SEEN


def _lost(entry: ChainEntry) -> Lost:
    try:
        previous = parse_json(entry.public)["previous"]
        return (
            previous
            if previous in (None, "unknown")
            else ChainHead(int(previous["seq"]), str(previous["hash"]))
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None  # its hash is wrong, too


def _content(hash: str) -> bytes:
    """The content of an entry's leaf; of a damaged hash one that leads to no root."""
    try:
        return bytes.fromhex(hash)
    except (ValueError, TypeError):  # SQLite gives what somebody put there
        return str(hash).encode()


def _root(root: Root) -> Reason:
    return Reason("root {0}", f"{root.date}.json")


def _place(kind: str, id: str) -> Reason:
    return Reason("{0} {1}", Reason(kind), id)


def _entries(first: int, last: int) -> Reason:
    one, several = "entry {0} is lost", "entries {0} to {1} are lost"
    return Reason(one if first == last else several, first, last)


def _is_before(entry: ChainEntry) -> bool:
    """Whether the entry names an earlier number; anything else may not even be a number."""
    return isinstance(entry.was, int) and 0 < entry.was < entry.seq

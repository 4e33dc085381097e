"""A backup: what it holds, how it is made while calls are recorded, refused and purged, and how it is put
back.

**What it holds.** `manifest.json` names each file with its hash, each recording with its dates, and until
when the backup may be kept. It is written last, so a folder without it is no backup. `README` beside it
is for people, in both languages: who finds it may not know what it is.

**Made:**

1. Files of closed recordings are copied, which takes its time; whatever happens to them meanwhile.
2. Then the turn to write is taken, and kept to the end: no row changes. The database and its head are
   copied.
3. What is in the backup is put right by the rows as they are now: what came is copied, what was changed
   is copied again, what went goes. Others may write again.
4. What expires before the backup does is purged in the copy, rows and all.
5. Marks are looked at last: a refusal waits for no turn. The manifest is written, and the folder gets its
   name. Before that it has one that no restore takes.

A recording is taken only once its call is over: nobody can refuse it any more. So no refusal comes too
late for the backup that has its sound. What is still open, or to be erased, is not in it.

**Put back**, into an empty place: what must be gone by now does not come back. Sound that has expired is
not copied, a mark is believed, and before the database has its name nothing can be listened to. After
that rows follow: reserves are read in, refusals finished, a call that was on becomes a row without sound,
and what has expired is purged. After a crash the same backup can be put back again: `retention.restoring`
says which one was begun.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BufferedIOBase, BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from retention.archive import Archive
from retention.clock import BACKWARD, FORWARD, ClockReading, Stamped, look, never, resume
from retention.erase import fail, to_erase
from retention.files import (
    Places,
    alone,
    make_folder,
    private_file,
    sha256,
    share_owner,
    sync_folder,
    write_whole,
)
from retention.marks import ArchiveError, Marks
from retention.purge import PurgeReport, Terms, due, erase_pending, purge
from retention.recording_files import Area, FileKind, FileVersion, RecordingFiles, copy, finished
from retention.records import (
    Access,
    Json,
    RecordError,
    Recording,
    Status,
    due_date,
    from_text,
    is_id,
    parse_json,
    to_text,
)
from retention.reserve import ReserveError, read_reserve, take_in
from retention.rows import counts
from retention.rows.chain import ChainHead
from retention.rows.rows import StoreError, UnknownId
from retention.rows.selection import Selection
from retention.sqlite import Store
from retention.stamps import stamps_of
from retention.texts import Reason, joined, reason_of

MANIFEST = "manifest.json"
README = "README"
CONFIGURATION = "configuration"  # the folder of config.toml, and of what that names beside it
DATABASE = "retention.db"  # in a backup, whatever it is called elsewhere
RECORDINGS = "recordings"
CONFIG = "config.toml"  # there, whatever it is called elsewhere
UNFINISHED = re.compile(r"\.sipagent-\d{8}T\d{6}Z\.unfinished")  # its name before it is one
_VERSION = "sipagent-backup-1"
_LIMIT = 1 << 30  # bytes; a manifest is not larger
_BLOCK = 1 << 20  # bytes


class BackupError(ArchiveError):
    """A backup cannot be made, or not be put back; `str()` is one line."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One file: its name below the backup, with slashes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A recording whose sound is in the backup. `held`: it does not expire."""

    id: str
    started_at: datetime
    expires_at: datetime
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`head`: the last entry of the chain in it. `keep_until`: the first recording in it expires then; null
    where it has none. `left_out`: recordings that are purged in it alone: they expire before it goes."""

    made_at: datetime
    program: str
    head: Json
    keep_until: datetime | None
    files: tuple[Copied, ...]
    recordings: tuple[BackedUp, ...]
    left_out: tuple[str, ...]

    def text(self) -> str:
        """As it is written."""
        told = {
            "version": _VERSION,
            "made_at": to_text(self.made_at),
            "program": self.program,
            "head": self.head,
            "keep_until": self.keep_until and to_text(self.keep_until),
            "recordings": [
                [one.id, to_text(one.started_at), to_text(one.expires_at), one.held]
                for one in self.recordings
            ],
            "left_out": [*self.left_out],
            "files": [[one.name, one.bytes, one.sha256] for one in self.files],
        }
        return json.dumps(told | {"sum": _sum(told)}, indent=1) + "\n"


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup. Raises BackupError, OSError."""
    path = backup / MANIFEST
    if UNFINISHED.fullmatch(backup.resolve().name):
        raise BackupError("{0}: was not finished; accepted: one that has its name", backup)
    try:
        if not _is_regular(path):
            raise BackupError("{0}: is no regular file", path)
        with path.open("rb") as file:
            told = parse_json(file.read(_LIMIT).decode())
        found = told.pop("sum", None)
    except FileNotFoundError as missing:
        raise BackupError(
            "{0}: is not a backup, or was not finished: it has no {1}", backup, MANIFEST
        ) from missing
    except (ValueError, RecordError, AttributeError) as error:
        raise BackupError("{0}: is damaged", path) from error
    if found != _sum(told):
        raise BackupError("{0}: is damaged", path)
    if told.get("version") != _VERSION:
        raise BackupError("{0}: is of another version than {1}", path, _VERSION)
    try:
        return Manifest(
            made_at=from_text(told["made_at"]),
            program=str(told["program"]),
            head={"seq": int(told["head"]["seq"]), "hash": str(told["head"]["hash"])},
            keep_until=from_text(told["keep_until"]) if told["keep_until"] else None,
            files=tuple(Copied(_safe(str(name)), int(size), str(sum)) for name, size, sum in told["files"]),
            recordings=tuple(
                BackedUp(_id(id), from_text(started), from_text(expires), bool(held))
                for id, started, expires, held in told["recordings"]
            ),
            left_out=tuple(_id(id) for id in told["left_out"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BackupError("{0}: is damaged", path) from error


def _sum(told: Json) -> str:
    """Of all its other fields: a damaged date would have something come back."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def wrong_with(backup: Path, manifest: Manifest) -> Iterator[tuple[int, str]]:
    """Compare every file with the manifest; after each how many are done, and what is wrong with it, if
    anything. Raises OSError."""
    named = {one.name for one in manifest.files} | {MANIFEST}
    for path in sorted(backup.rglob("*")):
        name = path.relative_to(backup).as_posix()
        if path.is_symlink() or not (path.is_dir() or name in named):
            yield 0, Reason("{0}: is not in {1}", name, MANIFEST)
    for done, one in enumerate(manifest.files, 1):
        yield done, _wrong(backup / one.name, one)


def _wrong(path: Path, one: Copied) -> str:
    try:
        if not _is_regular(path):
            return Reason("{0}: is no regular file", one.name)
        return "" if sha256(path) == one.sha256 else Reason("{0}: is not what was copied", one.name)
    except FileNotFoundError:
        return Reason("{0}: is missing", one.name)


def _is_regular(path: Path) -> bool:
    """To read a FIFO or a device may never end. Raises FileNotFoundError, OSError."""
    return stat.S_ISREG(path.lstat().st_mode)


def beside_database(there: Places, here: Places) -> Iterator[tuple[Path, Path]]:
    """What lies beside a database and belongs to it: each file there, and where it is here."""
    yield there.head, here.head
    yield from there.seed_and_rota(here)
    yield from ((path, here.reserve(owner)) for owner, path in there.reserves().items())
    if there.stamps.is_dir():
        yield from ((path, here.stamps / path.name) for path in sorted(there.stamps.glob("*.tsr")))
    yield from there.published(here)


def copy_bytes(source: BinaryIO | BufferedIOBase, target: BinaryIO) -> tuple[int, str]:
    """Copy from where they are to the end; how many bytes, and their SHA-256 in hexadecimal."""
    sum, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK):
        target.write(block)
        sum.update(block)
        size += len(block)
    return size, sum.hexdigest()


def _safe(name: str) -> str:
    """A name that leads out of no folder. Raises ValueError."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or PurePosixPath(name).as_posix() != name:
        raise ValueError("elsewhere")
    return name


def _id(text: object) -> str:
    if not isinstance(text, str) or not is_id(text):
        raise ValueError("id")
    return text


def readme(manifest: Manifest) -> str:
    """The text of its README."""
    until = manifest.keep_until
    kept = _NEVER if until is None else tuple(one.format(until=to_text(until)[:10]) for one in _UNTIL)
    told = {"at": to_text(manifest.made_at), "count": len(manifest.recordings)}
    return "\n".join(text.format(**told, kept=one) for text, one in zip(_TEXTS, kept, strict=True))


_NEVER = ("It has no recording that expires.", "Elle ne contient aucun enregistrement qui expire.")
_UNTIL = (
    "Remove it on {until} at the latest: then the first recording in it has expired.",
    "Supprimez-la au plus tard le {until}\u00a0: le premier enregistrement qu’elle contient a alors expiré.",
)
_TEXTS = (
    """A backup of sipagent, made at {at}, with {count} recordings.

{kept}

Who reads it reads the numbers of callers, and hears what was stored in clear: keep it as private as the
recordings. Put it back into an empty place, while no agent runs there:

    sipagent restore FOLDER

What was deleted for a person after it was made comes back with it, and must be deleted again: the
certificates tell. What expired meanwhile does not come back.
""",
    """Une sauvegarde de sipagent, faite à {at} (UTC), avec {count} enregistrements.

{kept}

Qui la lit lit les numéros des appelants, et entend ce qui était stocké en clair\u00a0: gardez-la aussi
confidentielle que les enregistrements. Remettez-la dans un endroit vide, où aucun agent ne tourne\u00a0:

    sipagent restore DOSSIER

Ce qui a été effacé depuis à la demande d’une personne revient avec elle, et doit être effacé de nouveau
(les attestations le disent). Ce qui a expiré entre-temps ne revient pas.
""",
)


Progress = Callable[[str, int, int], None]  # what, done, total
CopiedTo = Callable[[Path], AbstractContextManager[ChainHead]]  # a new file; nobody writes rows until the end

_NAME = re.compile(r"sipagent-\d{8}T\d{6}Z")
_TRIES = 20  # to read a reserve between two writes of its owner


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What a backup is to be. `keep`: for how long it will be kept, None for as long as its recordings;
    `configuration`: files by their name below `configuration/`; `terms`: the configured ones."""

    folder: Path
    now: datetime
    program: str
    terms: Terms
    keep: timedelta | None
    configuration: Mapping[str, Path]


def back_up(
    archive: Archive,
    wish: BackupRequest,
    files_in: Callable[[Path], RecordingFiles],
    progress: Progress = lambda what, done, total: None,
    copied_to: CopiedTo | None = None,
) -> tuple[Path, Manifest]:
    """Make a backup below a folder, which is made if it is missing; its path, and what it holds.

    After a crash it is not there; the next one removes what is left of it. `files_in(root)` keeps recordings
    below a backup's root; `copied_to` copies rows of another kind of database. Raises BackupError,
    StoreError, OSError.
    """
    store = archive.store
    if store.places is None:
        raise BackupError("there is no database yet, and nothing to back up")
    if copied_to is None:
        assert isinstance(store, Store)
        copied_to = store.copied_to
    make_folder(wish.folder)
    try:
        with alone(wish.folder / ".lock"):
            for path in wish.folder.iterdir():
                if UNFINISHED.fullmatch(path.name):
                    shutil.rmtree(path)
            return _made(archive, copied_to, wish, files_in, progress)
    except BlockingIOError as error:
        raise BackupError("{0}: another backup is being made there", wish.folder) from error


def past(folder: Path, now: datetime) -> list[tuple[Path, datetime]]:
    """The backups in a folder that may be kept no longer, and since when. Raises OSError."""
    found = []
    for path in sorted(folder.iterdir()):
        if _NAME.fullmatch(path.name):
            with suppress(BackupError):
                until = read_manifest(path).keep_until
                if until is not None and until <= now:
                    found.append((path, until))
    return found


def _made(
    archive: Archive,
    copied_to: CopiedTo,
    wish: BackupRequest,
    files_in: Callable[[Path], RecordingFiles],
    progress: Progress,
) -> tuple[Path, Manifest]:
    final = wish.folder / f"sipagent-{wish.now:%Y%m%dT%H%M%SZ}"
    root = wish.folder / f".{final.name}.unfinished"
    places = archive.store.places
    assert places is not None
    if final.exists():
        raise BackupError("{0}: is there already", final)
    root.mkdir(mode=0o700)
    try:
        work = _Making(archive, places, wish, root, files_in(root))
        work.bulk(progress)
        os.sync()
        with copied_to(root / DATABASE) as head:
            work.settle()
        manifest = work.finish(work.purged() or head)
        root.rename(final)
        sync_folder(wish.folder)
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    return final, manifest


@dataclass(slots=True)
class _CopiedRecording:
    """A recording as it was copied: when it goes, which version each file was, and what came of it."""

    taken: BackedUp
    due: datetime
    written: dict[FileKind, FileVersion]
    copied: dict[FileKind, Copied]


@dataclass(slots=True)
class _Making:
    archive: Archive
    places: Places
    wish: BackupRequest
    root: Path
    into: RecordingFiles
    settling: bool = False  # each file is made to last by itself
    kept: dict[str, _CopiedRecording] = field(default_factory=dict)
    others: dict[str, Copied] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def bulk(self, progress: Progress) -> None:
        """Copy what there is, while everything goes on."""
        for folder in (RECORDINGS, "vault", "stamps", "roots", CONFIGURATION):
            (self.root / folder).mkdir(mode=0o700)
        for name, path in self.wish.configuration.items():
            self._other(f"{CONFIGURATION}/{name}", path)
        must_go, total = {*to_erase(self.archive)}, counts.recordings(self.archive.store, Status.CLOSED)
        for done, row in enumerate(self._closed(), 1):
            if self._may_be_taken(row, must_go) and not self._expires(row):
                self._take(row)
            progress("recordings", done, total)

    def settle(self) -> None:
        """Put it right, while nobody writes a row."""
        self.settling = True
        must_go, there = {*to_erase(self.archive)}, set()
        for row in self._closed():
            if self._may_be_taken(row, must_go) and not self._expires(row):
                there.add(row.id)
                self._take(row)
        for id in self.kept.keys() - there:
            self._drop(id)
        self._beside()
        self._mark()

    def purged(self) -> ChainHead | None:
        """Purge in the copy what expires before it does; the head of its chain then, None if it need not."""
        if self.wish.keep is None:
            return None
        with Store(self.root / DATABASE) as store:
            places = Places(self.root / DATABASE)
            copied = Archive(store, self.into, Marks(self.root / RECORDINGS))
            report = purge(copied, self.wish.now + self.wish.keep, self.wish.terms, at=self.wish.now)
            if report.failed:
                id, problem = report.failed[0]
                raise BackupError("{0}: {1}", id, problem)
            self.left_out = [gone.id for gone in report.removed]
            head = store.head()
        places.turn.unlink(missing_ok=True)
        for id in [id for id in self.kept if finished(self.into, id) is None]:
            self._drop(id)
        self._hash(places.head.name)
        gone = [name for name in self.others if not (self.root / name).exists()]  # marks, which it believed
        self.others = {name: one for name, one in self.others.items() if name not in gone}
        return head

    def _closed(self) -> Iterator[Recording]:
        """Rows that cannot be read are left out, and `verify` names them."""
        return self.archive.store.each_recording(Selection(status=Status.CLOSED), lambda id, problem: None)

    def _may_be_taken(self, row: Recording, must_go: Container[str]) -> bool:
        """Whether nobody can refuse it any more, and nobody has."""
        if row.id in must_go or self.archive.marks.forbidden(row.id):
            return False
        if row.id in self.kept:
            return True  # its call was over before
        try:
            return self.archive.store.receipt(row.id).ended_at is not None
        except UnknownId:
            return True  # one that `rebuild` brought back: its receipt is lost
        except StoreError:
            return False

    def _expires(self, row: Recording) -> bool:
        """Whether it goes before the backup does."""
        if self.wish.keep is None or due(row, self.wish.terms.period) > self.wish.now + self.wish.keep:
            return False
        return self.archive.hold_of(row) is None

    def _take(self, row: Recording) -> None:
        """Copy its files, or those that were written since they were copied; nothing if they go meanwhile."""
        id, files = row.id, self.archive.files
        kept = self.kept.get(id)
        try:
            sound = finished(files, id)
            kinds = [FileKind.METADATA, *([sound] if sound else [])]
            kinds += [FileKind.KEY] if self.archive.vault.has(id) else []
            written = {kind: files.version(id, kind) for kind in kinds}
            if kept is not None and kept.written == written:
                return
            copied = {kind: self._copied(id, kind) for kind in kinds}
            taken = BackedUp(id, row.started_at, row.expires_at, self.archive.hold_of(row) is not None)
        except FileNotFoundError:
            self._drop(id)
            return
        self.kept[id] = _CopiedRecording(taken, due(row, self.wish.terms.period), written, copied)

    def _copied(self, id: str, kind: FileKind) -> Copied:
        target = self.into.spool.path(id, kind)
        with self.archive.files.open(id, kind) as source:
            return self._write(target, source)

    def _drop(self, id: str) -> None:
        """Whatever was copied of it."""
        self.kept.pop(id, None)
        for error in self.into.spool.erase([id]).values():
            raise error

    def _beside(self) -> None:
        """What lies beside the database."""
        own, into = self.archive.here or self.places, Places(self.root / DATABASE)
        reserves = {*own.reserves().values()}
        # of a host's own places, whose chain is a journal's, all but the head
        found = {here: there for there, here in beside_database(own, into)} | {into.head: self.places.head}
        for here, there in found.items():
            (self._reserve if there in reserves else self._other)(self._name(here), there)
        if (kept := stamps_of(self.archive.store)) is None:
            return
        for seq in kept.seqs():
            target = into.stamps / f"{seq}.tsr"
            if self._name(target) not in self.others:
                self.others[self._name(target)] = self._write(target, BytesIO(kept.content(seq)))

    def _reserve(self, name: str, path: Path) -> None:
        """Its owner may be writing: a copy that cannot be read is made again."""
        for _ in range(_TRIES):
            self._other(name, path)
            with suppress(ReserveError):
                read_reserve(self.root / name)
                return
        raise BackupError("{0}: cannot be read", path)

    def _mark(self) -> None:
        """What was marked meanwhile goes, and its mark says so wherever this is put back."""
        marks = Marks(self.root / RECORDINGS)
        for id in self.archive.marks.ids():
            self._drop(id)
            if (mark := self.archive.marks.read(id)) is not None:
                marks.sync(marks.make(mark))
                self._hash(f"{RECORDINGS}/{marks.path(id).name}")

    def _other(self, name: str, path: Path) -> None:
        target = self.root / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise BackupError("{0}: is no regular file", path)
        with path.open("rb") as source:
            self.others[name] = self._write(target, source)

    def _write(self, target: Path, source: BinaryIO | BufferedIOBase) -> Copied:
        with private_file(target) as file:
            copied = Copied(self._name(target), *copy_bytes(source, file))
            if self.settling:
                file.flush()
                os.fsync(file.fileno())
        return copied

    def _name(self, path: Path) -> str:
        """Below the backup."""
        return path.relative_to(self.root).as_posix()

    def _hash(self, name: str) -> None:
        path = self.root / name
        self.others[name] = Copied(name, path.stat().st_size, sha256(path))

    def finish(self, head: ChainHead) -> Manifest:
        """Write what it holds."""
        self._mark()
        self._hash(DATABASE)
        expiries = [one.due for one in self.kept.values() if not one.taken.held]
        until = self.wish.now + self.wish.keep if self.wish.keep is not None else min(expiries, default=None)
        files = [*self.others.values(), *(one for kept in self.kept.values() for one in kept.copied.values())]
        manifest = Manifest(
            made_at=self.wish.now,
            program=self.wish.program,
            head={"seq": head.seq, "hash": head.hash},
            keep_until=until,
            files=tuple(sorted(files, key=lambda one: one.name)),
            recordings=tuple(self.kept[id].taken for id in sorted(self.kept)),
            left_out=tuple(sorted(self.left_out)),
        )
        self.others[README] = self._write(self.root / README, BytesIO(readme(manifest).encode()))
        manifest = replace(manifest, files=(*manifest.files, self.others[README]))
        self._write(self.root / MANIFEST, BytesIO(manifest.text().encode()))
        for folder in (*(path for path in self.root.rglob("*") if path.is_dir()), self.root):
            sync_folder(folder)
        return manifest


Step = Callable[[int, int], None]  # done, total

_SHOWN = 5  # what is wrong with a backup, of so many files


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTarget:
    """Where a backup is put back. `period`: the configured one."""

    places: Places
    files: RecordingFiles
    marks: Marks
    period: str | None


@dataclass(slots=True, kw_only=True)
class Settled:
    """What became of the rows. `unfinished`: calls that were on when the backup was made, and whose
    recordings are not in it; `suspended`: why nothing was purged, null if it was."""

    erased: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    suspended: str | None = None
    purged: PurgeReport | None = None


def checked(backup: Path, step: Step = lambda done, total: None) -> Manifest:
    """The manifest of a backup, every file of which is as it was. Raises BackupError, OSError."""
    manifest = read_manifest(backup)
    wrong = []
    for done, problem in wrong_with(backup, manifest):
        wrong += [problem] if problem else []
        step(done, len(manifest.files))
    if wrong:
        more = Reason(", and {0} more", len(wrong) - _SHOWN) if len(wrong) > _SHOWN else ""
        raise BackupError(
            "{0}: {1}{2}; nothing was put back", backup, joined(wrong[:_SHOWN], "{0}, {1}"), more
        )
    return manifest


def doubt(manifest: Manifest, clock: ClockReading) -> str | None:
    """Why the clock cannot tell what has expired since; None if it can."""
    since = clock.wall - manifest.made_at
    if clock.synchronised or -BACKWARD <= since <= FORWARD:
        return None
    now, made = to_text(clock.wall), to_text(manifest.made_at)
    return Reason("the clock says {0}, the backup is of {1}, and nothing confirms the clock", now, made)


def refuse_what_is_there(target: RestoreTarget, backup: Path) -> None:
    """Raise BackupError unless the place is empty, or this backup was begun to be put there. OSError."""
    places = target.places
    if places.restoring.exists():
        if places.restoring.read_text(encoding="ascii") != _name_of(backup):
            raise BackupError("{0}: another backup was begun to be put back here", places.restoring)
        return
    there = [path for path in (places.database, places.head, places.seed) if os.path.lexists(path)]
    there += [*places.reserves().values()]
    there += [path for path in (places.stamps, places.vault) if path.is_dir() and any(path.iterdir())]
    if there:
        raise BackupError("{0}: is there already; accepted: an empty place", there[0])
    for name, _ in target.files.names(Area.RECORDINGS):
        raise BackupError("{0}: is there already; accepted: an empty place for recordings", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBackup:
    """A backup that was `checked`. `files`: the recordings in it."""

    backup: Path
    manifest: Manifest
    files: RecordingFiles


def put_back(
    source: CheckedBackup, target: RestoreTarget, now: datetime, step: Step = lambda done, total: None
) -> int:
    """Copy it, the database last; how many recordings came back with their sound.

    Raises OSError, after which it can be repeated.
    """
    backup, manifest = source.backup, source.manifest
    places, theirs = target.places, Places(backup / DATABASE)
    make_folder(places.folder)
    if not places.restoring.exists():
        write_whole(places.restoring, _name_of(backup).encode())
    if places.database.exists():  # a run before this one came so far
        return sum(1 for one in manifest.recordings if finished(target.files, one.id))
    target.files.spool.prepare()
    marks = Marks(backup / RECORDINGS)
    for id in marks.ids():
        if (mark := marks.read(id)) is not None:
            target.marks.sync(target.marks.make(mark))
    count = 0
    for done, one in enumerate(manifest.recordings, 1):
        late = one.expires_at if target.period is None else due_date(one.started_at, target.period)
        expired = not one.held and min(one.expires_at, late) <= now
        if not expired and not target.marks.exists(one.id):
            sound = finished(source.files, one.id)
            for kind in (FileKind.METADATA, *([sound] if sound else []), FileKind.KEY):
                if source.files.exists(one.id, kind):
                    copy(source.files, target.files, one.id, kind)
            count += 1
        step(done, len(manifest.recordings))
    for there, here in beside_database(theirs, places):
        make_folder(here.parent)
        write_whole(here, there.read_bytes())
    with theirs.database.open("rb") as database, private_file(places.arriving) as arriving:
        copy_bytes(database, arriving)
        arriving.flush()
        os.fsync(arriving.fileno())
    share_owner(places.arriving)
    places.arriving.rename(places.database)
    sync_folder(places.folder)
    return count


def settle(
    archive: Archive,
    manifest: Manifest,
    terms: Terms,
    clock: ClockReading,
    trace: Access,
    *,
    stamped: Stamped = never,
    clock_ok: bool = False,
) -> Settled:
    """Bring the rows to what is there now, and purge; twice is no error.

    `trace`: who put it back, and when. `clock_ok`: a person says that the clock is right. Raises StoreError,
    OSError.
    """
    store, found, now = archive.store, Settled(), trace.at
    assert store.places is not None
    if store.hash_of(manifest.head["seq"]) != manifest.head["hash"]:
        raise BackupError("{0}: is not the database of the backup", store.places.database)
    for path in store.places.reserves().values():
        try:
            take_in(store, path)
        except ReserveError as error:
            found.failed.append((path.name, reason_of(error)))
    found.erased = erase_pending(archive, now, found.failed)
    if not found.failed:
        _unmark(archive)
    taken = {one.id for one in manifest.recordings}
    for id in _without_sound(archive, taken):
        _end(archive, id, now, found)
    store.add_access(trace)
    if clock_ok:
        resume(store, clock, trace)
    found.suspended = look(store, clock, stamped)
    if found.suspended is None:
        found.purged = purge(archive, now, terms)
        found.failed += found.purged.failed
    store.places.restoring.unlink(missing_ok=True)
    sync_folder(store.places.folder)
    return found


def _name_of(backup: Path) -> str:
    """What tells a backup from all others: the hash of its manifest."""
    return sha256(backup / MANIFEST)


def _unmark(archive: Archive) -> None:
    """Remove the marks of calls without rows. These began once the rows had been copied: none will come."""
    ids = archive.marks.ids()
    known = archive.store.some_recordings(ids).keys() | archive.store.some_receipts(ids).keys()
    for id in ids:
        if id not in known:
            archive.marks.remove(id)


def _without_sound(archive: Archive, taken: set[str]) -> list[str]:
    """Recordings that were open, or closed and are not in the backup."""
    found = []
    for status in (Status.OPEN, Status.CLOSED):
        rows = archive.store.each_recording(Selection(status=status), lambda id, problem: None)
        found += [row.id for row in rows if row.id not in taken and finished(archive.files, row.id) is None]
    return found


def _end(archive: Archive, id: str, now: datetime, found: Settled) -> None:
    """Say in its row that its sound is not here, where its call was on; of any other `verify` says so."""
    try:
        was_on = archive.store.recording(id).status is Status.OPEN
        if not was_on and (receipt := archive.store.some_receipts([id]).get(id)) is not None:
            was_on = receipt.ended_at is None
        if was_on:
            fail(archive, id, now)
            found.unfinished.append(id)
    except (StoreError, ArchiveError, OSError) as error:
        found.failed.append((id, reason_of(error)))

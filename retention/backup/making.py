"""Makes a backup while calls are recorded, refused and purged.

1. Files of closed recordings are copied, which takes its time; whatever happens to them meanwhile.
2. Then the turn to write is taken, and kept to the end: no row changes. The database and its head are copied.
3. What is in the backup is put right by the rows as they are now: what came is copied, what was changed is
   copied again, what went goes. Others may write again.
4. What expires before the backup does is purged in the copy, rows and all.
5. Marks are looked at last: a refusal waits for no turn. The manifest is written, and the folder gets its
   name. Before that it has one that no restore takes.

A recording is taken only once its call is over: nobody can refuse it any more. So no refusal comes too late
for the backup that has its sound. What is still open, or to be erased, is not in it.
"""

import os
import re
import shutil
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import BinaryIO

from retention.archive.archive import Archive
from retention.archive.erasure import pending
from retention.archive.reserve import ReserveError, read_reserve
from retention.backup.manifest import (
    CONFIGURATION,
    DATABASE,
    MANIFEST,
    README,
    RECORDINGS,
    UNFINISHED,
    BackupError,
    Copied,
    Manifest,
    Taken,
    beside,
    copy,
    read_manifest,
)
from retention.backup.readme import readme
from retention.recording import Recording, Status
from retention.rows.chain import ChainHead
from retention.rows.selection import Selection
from retention.rows.store import Store, StoreError, UnknownId
from retention.rules import counts
from retention.rules.purge import Terms, due, purge
from retention.stamps.kept import stamps_of
from retention.storage.files import alone, make_folder, private_file, sha256, sync_folder
from retention.storage.marks import Marks
from retention.storage.places import Places
from retention.storage.recording_files import Area, FileKind, RecordingFiles

Progress = Callable[[str, int, int], None]  # what, done, total
CopiedTo = Callable[[Path], AbstractContextManager[ChainHead]]  # a new file; nobody writes rows until the end

_NAME = re.compile(r"sipagent-\d{8}T\d{6}Z")
_TRIES = 20  # to read a reserve between two writes of its owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
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
    wish: Wish,
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
        raise BackupError(f"{wish.folder}: another backup is being made there") from error


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
    wish: Wish,
    files_in: Callable[[Path], RecordingFiles],
    progress: Progress,
) -> tuple[Path, Manifest]:
    final = wish.folder / f"sipagent-{wish.now:%Y%m%dT%H%M%SZ}"
    root = wish.folder / f".{final.name}.unfinished"
    places = archive.store.places
    assert places is not None
    if final.exists():
        raise BackupError(f"{final}: is there already")
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
class _Kept:
    """A recording as it was copied: when it goes, when each of its files had been written, and what was
    copied of it."""

    taken: Taken
    due: datetime
    written: dict[FileKind, datetime]
    copied: dict[FileKind, Copied]


@dataclass(slots=True)
class _Making:
    archive: Archive
    places: Places
    wish: Wish
    root: Path
    into: RecordingFiles
    settling: bool = False  # each file is made to last by itself
    kept: dict[str, _Kept] = field(default_factory=dict)
    others: dict[str, Copied] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def bulk(self, progress: Progress) -> None:
        """Copy what there is, while everything goes on."""
        for folder in (RECORDINGS, "vault", "stamps", CONFIGURATION):
            (self.root / folder).mkdir(mode=0o700)
        for name, path in self.wish.configuration.items():
            self._other(f"{CONFIGURATION}/{name}", path)
        must_go, total = {*pending(self.archive)}, counts.recordings(self.archive.store, Status.CLOSED)
        for done, row in enumerate(self._closed(), 1):
            if self._may_be_taken(row, must_go) and not self._expires(row):
                self._take(row)
            progress("recordings", done, total)

    def settle(self) -> None:
        """Put it right, while nobody writes a row."""
        self.settling = True
        must_go, there = {*pending(self.archive)}, set()
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
                raise BackupError(f"{id}: {problem}")
            self.left_out = [gone.id for gone in report.removed]
            head = store.head()
        places.turn.unlink(missing_ok=True)
        for id in [id for id in self.kept if self.into.finished(id) is None]:
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
            sound = files.finished(id)
            kinds = [FileKind.METADATA, *([sound] if sound else [])]
            kinds += [FileKind.KEY] if self.archive.vault.has(id) else []
            written = {kind: files.written_at(id, kind) for kind in kinds}
            if kept is not None and kept.written == written:
                return
            copied = {kind: self._copied(id, kind) for kind in kinds}
            taken = Taken(id, row.started_at, row.expires_at, self.archive.hold_of(row) is not None)
        except FileNotFoundError:
            self._drop(id)
            return
        self.kept[id] = _Kept(taken, due(row, self.wish.terms.period), written, copied)

    def _copied(self, id: str, kind: FileKind) -> Copied:
        target = self.into.spool(id, kind)
        with self.archive.files.open(id, kind) as source:
            return self._write(target, source)

    def _drop(self, id: str) -> None:
        """Whatever was copied of it."""
        self.kept.pop(id, None)
        for area in Area:
            self.into.remove(area, id)

    def _beside(self) -> None:
        """What lies beside the database."""
        own, into = self.archive.here or self.places, Places(self.root / DATABASE)
        reserves = {*own.reserves().values()}
        # of a host's own places, whose chain is a journal's, all but the head
        found = {here: there for there, here in beside(own, into)} | {into.head: self.places.head}
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
        raise BackupError(f"{path}: cannot be read")

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
            raise BackupError(f"{path}: is no regular file")
        with path.open("rb") as source:
            self.others[name] = self._write(target, source)

    def _write(self, target: Path, source: BinaryIO | BufferedIOBase) -> Copied:
        with private_file(target) as file:
            copied = Copied(self._name(target), *copy(source, file))
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

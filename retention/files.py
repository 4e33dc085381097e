"""Files of this machine: how they are written, locked and removed, and where everything beside the database
lies.

What is written survives a power cut whole, and what is removed leaves no name behind. `Places` is made from
the configuration, and names all of this:

    retention.db          the database; SQLite's own files have names of its making
    retention.head        the chain's head (`rows.chain`), and .head.damaged, one that could not be read
    shared.head           the head of the chain that hosts share; the journal has its own
    retention.turn        whose turn it is to write (`sqlite`)
    journal.written       a pipe: something was written that is to be shipped (`journal`)
    retention.lock        the agent's; retention.worker-3.lock a worker's (`reserve`)
    retention.reserve     one process's; .worker-3.reserve, .edge.reserve (`reserve`)
    retention.seed        the secret that calls are drawn by
    retention.moved       where its rows are now (`Moved`)
    retention.restoring   while a backup is put back; .arriving, its database (`backup`)
    round_robin.json      whose turn it is among the operators
    accounts.db           who may log in (`accounts`); never part of a backup
    accounts.key          where hosts share accounts: the key that these are under; the same on each
    moving                a folder, while `migrate` moves files
    vault, stamps, edge   folders: sealed keys, time stamps, what Kamailio reads and writes
    roots, signing        folders: the roots to publish, and the keys that sign what callers get (`roots`,
                          `signed`)

`retention.moved` is JSON: it says where a database has moved to, when, and until when what is left here
must go. It is there from the moment in which a move begins; once the move is `done`, no row is written
here any more, or calls would be told of in two places. What stays is a copy as a backup is one: it
outlives what is purged where the rows are now.
"""

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from retention.records import Record, RecordError, parse_json

Naming = Callable[[], AbstractContextManager[None]]
"""A context around the moment in which a name appears; it may refuse, by raising."""

SHARED_S = 30.0  # how long `alone` waits for who keeps the lock free; twice what these wait for the database
AGAIN_S = 0.001


def make_folder(directory: Path) -> None:
    """Make `directory` (mode 0700) with its parents, if it is missing."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        share_owner(directory)
        sync_folder(directory.parent)


def write_whole(path: Path, content: bytes, naming: Naming = nullcontext) -> None:
    """Replace `path` (mode 0600) by `content`: a crash leaves either the old or the new content."""
    with replacing(path, naming) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, naming: Naming = nullcontext) -> Iterator[BinaryIO]:
    """A file (mode 0600) that takes the place of `path` once it is written and synced; where anything is
    raised, it goes. A crash leaves what was there, and perhaps `being_written(path)`."""
    temporary = being_written(path)
    with naming():
        file = private_file(temporary)
    try:
        with file:
            yield file
            share_owner(temporary)
            file.flush()
            os.fsync(file.fileno())
        with naming():
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def being_written(path: Path) -> Path:
    """The name of what is to take the place of `path`."""
    return path.with_name(path.name + ".tmp")


def private_file(path: Path) -> BinaryIO:
    """Begin a new file (mode 0600), in place of one of that name."""
    path.unlink(missing_ok=True)
    return open(path, "xb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises FileNotFoundError, OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def share_owner(path: Path) -> None:
    """Give what root has made to the owner of its folder: the agent, another user, must read it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def unlink(paths: Iterable[Path]) -> bool:
    """Unlink those that exist, in the given order; whether there was any. `sync_folder` makes it last."""
    gone = False
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        gone = True
    return gone


def sync_folder(directory: Path) -> None:
    """Make the names in `directory` durable (fsync(2): syncing a file does not sync its name)."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock on `path`, a file that is made (mode 0600) and stays; the lock always ends with the
    process.

    Waits while processes are `kept_free` here, at most `SHARED_S`. Raises BlockingIOError if another process
    holds it.
    """
    with _lock_file(path) as handle:
        until = time.monotonic() + SHARED_S
        while not _locked(handle, fcntl.LOCK_EX):
            if not _locked(handle, fcntl.LOCK_SH) or time.monotonic() > until:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
            fcntl.flock(handle, fcntl.LOCK_UN)  # two that wait like this must not wait for each other
            time.sleep(AGAIN_S)  # who waited in the kernel would wait for who is alone as well
        yield


@contextmanager
def kept_free(path: Path) -> Iterator[bool]:
    """Whether no process is `alone` on `path`. If so none is until the end: who wants to be waits.

    Any number of processes may be inside at once; so who only asks disturbs nobody (flock(2), LOCK_SH).
    """
    with _lock_file(path) as handle:
        yield _locked(handle, fcntl.LOCK_SH)


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        share_owner(path)
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


Owner = int | Literal["edge"] | None  # a worker, the writer of the edge's calls, or the only process


class Places:
    """What lies beside this database; what each of them is stands above."""

    def __init__(self, database: Path) -> None:
        ending, named = database.with_suffix, database.with_name
        self.database = database
        self.folder = database.parent
        self.head = ending(".head")
        self.turn = ending(".turn")
        self.written = ending(".written")
        self.lock = ending(".lock")
        self.seed = ending(".seed")
        self.moved = ending(".moved")
        self.restoring = ending(".restoring")
        self.arriving = ending(".arriving")
        self.rota = named("round_robin.json")
        self.accounts = named("accounts.db")
        self.accounts_key = named("accounts.key")
        self.vault = named("vault")
        self.stamps = named("stamps")
        self.roots = named("roots")
        self.signing = named("signing")
        self.edge = named("edge")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and other.database == self.database

    def __hash__(self) -> int:
        return hash(self.database)

    @property
    def shared(self) -> "Places":
        """Those beside a database that hosts share, whose journal this one is."""
        return Places(self.folder / "shared.db")

    @property
    def moving(self) -> "Places":
        """A folder for copies on their way from one place to another."""
        return Places(self.folder / "moving" / self.database.name)

    def lock_of(self, worker: int) -> Path:
        """A worker's lock."""
        return self.database.with_suffix(f".worker-{worker}.lock")

    def reserve(self, owner: Owner = None) -> Path:
        """The reserve of a process."""
        of = f"worker-{owner}." if isinstance(owner, int) else f"{owner}." if owner else ""
        return self.database.with_suffix(f".{of}reserve")

    def reserves(self) -> dict[Owner, Path]:
        """The existing reserves, by their process."""
        stem, found = self.database.with_suffix("").name, {}
        for path in sorted(self.folder.glob(f"{stem}.*reserve")):
            name = path.name.removeprefix(f"{stem}.").removesuffix("reserve").rstrip(".")
            worker = name.removeprefix("worker-")
            owner: Owner = "edge" if name == "edge" else None
            if worker != name and worker.isdecimal():
                owner = int(worker)
            if path == self.reserve(owner):
                found[owner] = path
        return found

    def seed_and_rota(self, other: "Places") -> list[tuple[Path, Path]]:
        """What decides about calls to come: each file that is here, and where it is in another place."""
        pairs = ((self.seed, other.seed), (self.rota, other.rota))
        return [(mine, its) for mine, its in pairs if mine.exists()]

    def published(self, other: "Places") -> list[tuple[Path, Path]]:
        """Each root with its stamp, and where it is in another place. Their nodes are made anew."""
        return [(path, other.roots / path.name) for path in sorted(self.roots.glob("????-??-??.*"))]

    def notes_of_moves(self) -> list[Path]:
        """The files in this folder that say where rows have moved, or were to move."""
        return sorted(self.folder.glob("*.moved")) if self.folder.is_dir() else []


_VERSION = "sipagent-moved-1"
_LIMIT = 1 << 16  # bytes; no note of ours is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved(Record):
    """`to`: a URL without a password, or a path. `until`: when the first recording here expires; null where
    none does. `database`: the file's name here, empty where it is none. Times are UTC."""

    to: str
    at: datetime
    until: datetime | None = None
    done: bool = False
    database: str = ""

    def text(self) -> str:
        """As it is written."""
        return json.dumps({"version": _VERSION, **self.to_json()})

    def keep(self, path: Path) -> None:
        """Write it down. Raises OSError."""
        write_whole(path, self.text().encode() + b"\n")


def read_moved(path: Path) -> Moved | None:
    """What is written there; None without such a file. Raises RecordError for another one, OSError."""
    try:
        with path.open("rb") as file:
            told = parse_json(file.read(_LIMIT).decode())
        if told["version"] != _VERSION or None in (told["to"], told["at"]):
            raise ValueError("of another version")
        return Moved.from_json(told)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as wrong:
        raise RecordError("{0}: not readable", path.name) from wrong

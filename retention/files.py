"""Files of this machine: how they are written, locked and removed, and where everything beside the database
lies.

What is written survives a power cut whole, and what is removed leaves no name behind. `Places` is one
value, made from the configuration, that names all of this:

retention.db                 the database; SQLite's own files have names of its making shared.head
the head of the chain that hosts share; the journal has its own retention.head               the chain's
head (`rows.chain`), and .head.damaged, one that could not be read retention.turn               whose turn
it is to write (`sqlite`) journal.written              a pipe: something was written that is to be shipped
(`journal`) retention.lock               the agent's; retention.worker-3.lock a worker's (`reserve`)
retention.reserve            one process's; .worker-3.reserve, .edge.reserve (`reserve`) retention.seed
of the draws retention.moved              where its rows are now (`Moved`) retention.restoring
while a backup is put back; .arriving, its database (`backup`) round_robin.json             whose turn it
is among the operators accounts.db                  who may log in (`accounts`); never part of a backup
accounts.key                 where hosts share accounts: under which key these are kept; the same on each
moving                       a folder, while `migrate` moves files vault, stamps, edge          folders:
sealed keys, time stamps, what Kamailio reads and writes

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

from retention.records import RecordError, from_text, parse_json, to_text

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
    temporary = path.with_name(path.name + ".tmp")
    with naming():
        file = private_file(temporary)  # it is written without the name
    with file:
        file.write(content)
        share_owner(temporary)
        file.flush()
        os.fsync(file.fileno())
    with naming():
        temporary.replace(path)
    sync_folder(path.parent)


def private_file(path: Path) -> BinaryIO:
    """Begin a new file (mode 0600), in place of one of that name."""
    path.unlink(missing_ok=True)
    return open(path, "xb", opener=_private)


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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


Owner = int | Literal["edge"] | None  # a worker, the writer of the edge's calls, or the only process


@dataclass(frozen=True, slots=True)
class Places:
    """What lies beside this database."""

    database: Path

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.database.parent

    @property
    def shared(self) -> "Places":
        """Those beside a database that hosts share, whose journal this one is."""
        return Places(self.database.with_name("shared.db"))

    @property
    def head(self) -> Path:
        """The file of the chain's head."""
        return self.database.with_suffix(".head")

    @property
    def turn(self) -> Path:
        """The file that processes queue at to write."""
        return self.database.with_suffix(".turn")

    @property
    def written(self) -> Path:
        """The pipe that says that something was written, where this is a journal."""
        return self.database.with_suffix(".written")

    @property
    def lock(self) -> Path:
        """The agent's lock, for any number of processes."""
        return self.database.with_suffix(".lock")

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
        for path in sorted(self.database.parent.glob(f"{stem}.*reserve")):
            name = path.name.removeprefix(f"{stem}.").removesuffix("reserve").rstrip(".")
            worker = name.removeprefix("worker-")
            owner: Owner = None
            if name == "edge":
                owner = "edge"
            elif worker != name and worker.isdecimal():
                owner = int(worker)
            if path == self.reserve(owner):
                found[owner] = path
        return found

    @property
    def seed(self) -> Path:
        """The file of the secret that calls are drawn by."""
        return self.database.with_suffix(".seed")

    @property
    def moved(self) -> Path:
        """The file that says where its rows are now."""
        return self.database.with_suffix(".moved")

    @property
    def moving(self) -> "Places":
        """A folder for copies on their way from one place to another."""
        return Places(self.folder / "moving" / self.database.name)

    def notes_of_moves(self) -> list[Path]:
        """The files in this folder that say where rows have moved, or were to move."""
        return sorted(self.folder.glob("*.moved")) if self.folder.is_dir() else []

    @property
    def restoring(self) -> Path:
        """The file that says that a backup is being put back here, and which."""
        return self.database.with_suffix(".restoring")

    @property
    def arriving(self) -> Path:
        """The database of that backup, before it has its name."""
        return self.database.with_suffix(".arriving")

    @property
    def rota(self) -> Path:
        """The file that says whose turn it is among the operators."""
        return self.database.with_name("round_robin.json")

    @property
    def accounts(self) -> Path:
        """The database of those who may log in."""
        return self.database.with_name("accounts.db")

    @property
    def accounts_key(self) -> Path:
        """The file of the key that accounts are under, where hosts share them."""
        return self.database.with_name("accounts.key")

    @property
    def vault(self) -> Path:
        """The folder of the sealed keys."""
        return self.database.with_name("vault")

    @property
    def stamps(self) -> Path:
        """The folder of the time stamps."""
        return self.database.with_name("stamps")

    @property
    def edge(self) -> Path:
        """The folder of what Kamailio reads and writes."""
        return self.database.with_name("edge")


_VERSION = "sipagent-moved-1"
_LIMIT = 1 << 16  # bytes; no note of ours is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`to`: a URL without a password, or a path. `until`: when the first recording here expires; null where
    none does. `database`: the file's name here, empty where it is none. Times are UTC."""

    to: str
    at: datetime
    until: datetime | None = None
    done: bool = False
    database: str = ""

    def text(self) -> str:
        """As it is written."""
        told = {
            "version": _VERSION,
            "to": self.to,
            "at": to_text(self.at),
            "until": self.until and to_text(self.until),
            "done": self.done,
            "database": self.database,
        }
        return json.dumps(told)

    def keep(self, path: Path) -> None:
        """Write it down. Raises OSError."""
        write_whole(path, self.text().encode() + b"\n")


def read_moved(path: Path) -> Moved | None:
    """What is written there; None without such a file. Raises RecordError for another one, OSError."""
    try:
        with path.open("rb") as file:
            told = parse_json(file.read(_LIMIT).decode())
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as wrong:
        raise RecordError("{0}: not readable", path.name) from wrong
    try:
        if told["version"] != _VERSION:
            raise ValueError("of another version")
        until = told["until"]
        return Moved(
            to=str(told["to"]),
            at=from_text(told["at"]),
            until=None if until is None else from_text(until),
            done=bool(told["done"]),
            database=str(told["database"]),
        )
    except (ValueError, KeyError, TypeError) as wrong:
        raise RecordError("{0}: not readable", path.name) from wrong

"""Files that survive a power cut whole, and leave no name behind when removed."""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

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

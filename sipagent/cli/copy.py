"""A file that gets its name only when it is whole: an unfinished one leaves nothing behind.

Not even after kill -9, if the file system supports files without a name (open(2), O_TMPFILE). FAT and some
network file systems do not: there an unfinished file has a name that says so, and is removed when the program
ends.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retention.storage.files import sync_folder

_UNKNOWN = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)  # the errors of a file system without O_TMPFILE

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_file(target: Path, *, replace: bool) -> Iterator[tuple[int, Callable[[], None]]]:
    """Open a file (mode 0600) for `target`; yields its descriptor and what names it.

    Naming it makes it durable. Raises OSError, FileExistsError if `target` exists and `replace` is false.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    descriptor, named = _open(temporary)

    def name() -> None:
        os.fsync(descriptor)
        if not named:
            _link(descriptor, temporary if replace else target)
        elif not replace and os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        if named or replace:
            temporary.replace(target)
        sync_folder(target.parent)

    try:
        yield descriptor, name
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:  # a write names no file
            error.filename = str(target)
        raise
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _open(temporary: Path) -> tuple[int, bool]:
    """A descriptor, and whether it has a name."""
    try:
        return os.open(temporary.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), False
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(temporary, flags, 0o600), True


def _link(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # a folder must be given, or Python takes link(2), which does not follow
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)

"""A folder for temporary files that is always removed: by this process, or by the next one.

Its name tells its owner. A lock on it, which ends with the process, tells whether it is in use (flock(2)).
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from pathlib import Path

LONG = 32  # bytes; the path of a socket has at most 107 (unix(7)), including the names of two more folders
LAST = -1000  # order of the work at exit: after multiprocessing's own folders, which are in it


def own_folder(purpose: str) -> Path:
    """Make one (mode 0700) in the folder for temporary files, and remove those that our dead processes left.

    If that folder's path is long, it is made in /tmp: it may have to contain a socket. Raises OSError.
    """
    base, prefix = Path(tempfile.gettempdir()), f"sipagent-{purpose}-{os.getuid()}-"
    if len(os.fsencode(base)) > LONG:
        base = Path("/tmp")
    for left in base.glob(f"{prefix}*"):
        with _locked(left) as nobodys:
            if nobodys:
                shutil.rmtree(left, ignore_errors=True)  # what cannot be removed does no harm
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # no other process removed it before it was locked
            Finalize(None, shutil.rmtree, (folder, True), exitpriority=LAST)
            return folder
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether it is a folder of ours that no process has locked; locked inside this context."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it is gone, or not a folder
        yield False
        return
    try:
        found = os.fstat(handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode)
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)

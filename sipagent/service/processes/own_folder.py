"""A folder for temporary files that somebody removes however the process ends: itself, or the next one.

Its name tells whose it is; a lock on it, which the kernel lets go of with the process, whether it is in use
(flock(2)).
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

LONG = 32  # bytes, where the path of a socket has 107 (unix(7)), with the names of two folders more in it
LAST = -1000  # of what is done at the end: after multiprocessing's own folders, which lie in it


def own_folder(purpose: str) -> Path:
    """Make one (mode 0700) in the folder for temporary files, and remove those that processes of ours left.

    Where that folder's path is a long one, it is made in /tmp: there may have to be a socket in it. Raises
    OSError.
    """
    base, prefix = Path(tempfile.gettempdir()), f"sipagent-{purpose}-{os.getuid()}-"
    if len(os.fsencode(base)) > LONG:
        base = Path("/tmp")
    for left in base.glob(f"{prefix}*"):
        with _locked(left) as nobodys:
            if nobodys:
                shutil.rmtree(left, ignore_errors=True)  # what cannot go is in nobody's way
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # nobody has swept it away before it was locked
            Finalize(None, shutil.rmtree, (folder, True), exitpriority=LAST)
            return folder
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether it is a folder of ours that nobody has locked; it is locked meanwhile."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it has gone, or is no folder
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

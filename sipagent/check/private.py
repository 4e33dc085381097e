"""Who else may read a file that is a secret."""

import os


def others_may_read(found: os.stat_result) -> bool:
    """Whether anybody but its owner may; or, of a file of root's, anybody but one group.

    So `init` hands a password over: root owns it, and the service's group reads it.
    """
    ours = 0o740 if found.st_uid == 0 else 0o700
    return bool(found.st_mode & 0o777 & ~ours)


def readable(found: os.stat_result) -> str:
    """The warning of it."""
    return f"others on this machine may read it (mode {found.st_mode & 0o777:04o}); chmod 0600"

"""What the system says of files and connections: English from the C library, whatever the language."""

import errno

from sipagent.languages.spoken import gettext

FAULTS = (  # those that our commands may meet
    *(
        errno.EPERM,
        errno.ENOENT,
        errno.EIO,
        errno.ENXIO,
        errno.EACCES,
        errno.EBUSY,
        errno.EEXIST,
        errno.EXDEV,
    ),
    *(errno.ENODEV, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EMFILE, errno.EFBIG, errno.ENOSPC),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.ELOOP, errno.EDQUOT, errno.ETIMEDOUT),
    *(errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH),
)


def fault(error: OSError) -> str:
    """What went wrong, without the name of the file."""
    return gettext(error.strerror) if error.strerror else str(error)

"""What fails, in the place of what works."""

import errno
import os
from collections.abc import Callable
from typing import Any


def raising(fault: BaseException) -> Callable[..., Any]:
    """A function that takes anything, and raises this."""

    def fails(*_: object, **__: object) -> Any:
        raise fault

    return fails


def no_room(*file: str) -> Callable[..., Any]:
    """As where the disk is full."""
    return raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *file))

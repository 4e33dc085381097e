"""A folder in which nothing can be made or removed."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def read_only(folder: Path, *, here: bool = True) -> Iterator[None]:
    """Its mode keeps root from nothing: for root it is made immutable (chattr(1)), where that can be had.

    Else unlinking fails in the one place where it is done, if that is `here`, in this process; another's
    test is skipped.
    """
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
    elif is_immutable(folder, True):
        try:
            yield
        finally:
            assert is_immutable(folder, False)
    elif here:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "unlink", refusing(folder))
            yield
    else:
        pytest.skip("root may write wherever it likes here, and chattr cannot keep it from that")


def is_immutable(folder: Path, on: bool) -> bool:
    """Make it so, or no longer; whether that worked."""
    try:
        told = subprocess.run(["chattr", "+i" if on else "-i", folder], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return told.returncode == 0


def refusing(folder: Path) -> Callable[..., None]:
    unlink = os.unlink

    def refuse(path: Any, *how: Any, **named: Any) -> None:
        if Path(path).parent == folder and Path(path).exists():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        unlink(path, *how, **named)

    return refuse

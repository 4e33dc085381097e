"""Where bundles of keys lie: small contents by name, each of which can be removed for good.

An object store is one implementation, a folder of this machine another.
"""

import re
from pathlib import Path
from typing import Protocol

from retention.storage import files

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*(/[0-9A-Za-z][0-9A-Za-z-]*)*", re.ASCII)


class Blobs(Protocol):
    """Contents by name: words of letters, digits and hyphens between slashes. Any thread, any process.

    Methods raise OSError if the disk, or the store, fails. A version is what the store calls it, empty where
    it has none.
    """

    def put(self, name: str, content: bytes) -> str:
        """Keep it durably under a name that is new; its version."""
        ...

    def get(self, name: str, version: str = "") -> bytes:
        """Its content. Raises FileNotFoundError."""
        ...

    def remove(self, name: str, version: str = "") -> None:
        """Remove that version durably, or without one every version and what was begun; it may be gone."""
        ...

    def where(self, name: str) -> str:
        """Its full name, for messages."""
        ...


class FolderBlobs:
    """Files below a folder, which is made (0700) when first needed; only its owner can read them (0600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> str:
        """Write it whole and durably; files have no versions."""
        path = self._path(name)
        for folder in reversed(path.relative_to(self._folder).parents):
            files.make_folder(self._folder / folder)
        files.write_whole(path, content)
        return ""

    def get(self, name: str, version: str = "") -> bytes:
        """Its bytes. Raises FileNotFoundError."""
        return self._path(name).read_bytes()

    def remove(self, name: str, version: str = "") -> None:
        """Unlink it durably, also one that a crash left half written."""
        path = self._path(name)
        if files.unlink([path.with_name(path.name + ".tmp"), path]):
            files.sync_folder(path.parent)

    def where(self, name: str) -> str:
        """Its path."""
        return str(self._path(name))

    def within(self, name: str) -> list[str]:
        """The folders directly below one, by their names."""
        folder = self._path(name)
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def remove_empty(self, name: str) -> None:
        """Remove a folder, if it is there and holds nothing any more."""
        folder = self._path(name)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a bundle")
        return self._folder / name

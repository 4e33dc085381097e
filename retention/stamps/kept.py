"""Where the answers of the time stamping authority are kept, by the number of the entry that each is about.

`stamps/SEQ.tsr` beside the database. Where hosts share one, a table of it has all of them, and each host
copies to its folder what the others had: so a lost database takes none along, and openssl has its file.
"""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from retention.rows.rows import Rows
from retention.stamps.authority import ANSWER_LIMIT, StampError
from retention.storage import files

_NAME = re.compile(r"([1-9]\d{0,18})\.tsr", re.ASCII)


class StampedElsewhere(StampError):
    """Another process, or another host, is having the same chain stamped at this moment."""


class Stamps(Protocol):
    """The answers there are. Methods raise OSError, and StoreError where hosts share them."""

    name: str
    """What people call all of them."""

    def seqs(self) -> list[int]:
        """The entries that were stamped, in their order."""
        ...

    def content(self, seq: int) -> bytes:
        """The answer about one, as it came. Raises FileNotFoundError."""
        ...

    def path(self, seq: int) -> Path:
        """The file that it has here, or will have."""
        ...

    def keep(self, seq: int, answer: bytes) -> None:
        """Keep one durably; one that is there stays."""
        ...

    def share(self, good: Callable[[int, bytes], bool]) -> None:
        """Have all that are `good(seq, answer)` here, and those of here wherever hosts look for them."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else has anything stamped until the end. Raises StampedElsewhere at once."""
        ...


class FolderStamps:
    """Files in a folder of this host."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder

    def seqs(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def content(self, seq: int) -> bytes:
        with self.path(seq).open("rb") as file:
            return file.read(ANSWER_LIMIT)

    def path(self, seq: int) -> Path:
        return self._folder / f"{seq}.tsr"

    def keep(self, seq: int, answer: bytes) -> None:
        if not self.path(seq).exists():
            files.make_folder(self._folder)
            files.write_whole(self.path(seq), answer)

    def share(self, good: Callable[[int, bytes], bool]) -> None:
        """No other host knows of this chain."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        files.make_folder(self._folder)
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StampedElsewhere("another process is having it stamped at this moment") from error
            yield
        finally:
            os.close(handle)


class SharedStamps:
    """The table `stamps` of the database that hosts share, and the files of this one."""

    def __init__(self, store: Rows, here: FolderStamps) -> None:
        self.name = here.name
        self._store = store
        self._here = here

    def seqs(self) -> list[int]:
        return sorted({*self._here.seqs(), *self._there()})

    def content(self, seq: int) -> bytes:
        try:
            return self._here.content(seq)
        except FileNotFoundError:
            rows = self._store.read("SELECT answer FROM stamps WHERE seq = ?", [seq])
        if not rows:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path(seq)))
        return bytes(rows[0]["answer"])

    def path(self, seq: int) -> Path:
        return self._here.path(seq)

    def keep(self, seq: int, answer: bytes) -> None:
        sql = "INSERT INTO stamps (seq, answer) VALUES (?, ?) ON CONFLICT DO NOTHING"
        with self._store.write():
            self._store.change(sql, [seq, answer])
        self._here.keep(seq, answer)

    def share(self, good: Callable[[int, bytes], bool]) -> None:
        here, there = {*self._here.seqs()}, {*self._there()}
        for seq in sorted(here ^ there):
            if good(seq, answer := self.content(seq)):
                self.keep(seq, answer)

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._here.alone(), self._store.alone("stamp") as alone:
            if not alone:
                raise StampedElsewhere("another host is having it stamped at this moment")
            yield

    def _there(self) -> list[int]:
        return [row["seq"] for row in self._store.read("SELECT seq FROM stamps ORDER BY seq", [])]


def stamps_of(store: Rows) -> Stamps | None:
    """Those of its chain; None where nothing lies beside it."""
    if store.places is None:
        return None
    here = FolderStamps(store.places.stamps)
    return SharedStamps(store, here) if store.shared else here


def stamps_beside(store: Rows) -> Stamps:
    """Those of a database that is in a place: of all but tests."""
    kept = stamps_of(store)
    assert kept is not None
    return kept

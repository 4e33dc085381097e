"""A `SealedStore` for tests, and what can be looked at behind it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from retention.postgres.connection import Connection
from retention.postgres.row_keys import Blobs, FolderBlobs, Revision, RowKeys, read_bundle
from retention.postgres.store import SealedStore
from retention.rows.pages import Row


def tables(conninfo: str) -> None:
    """Make the tables; for templates of databases."""
    SealedStore(conninfo, None, FolderBlobs(Path("/proc/nowhere"))).close()  # no key is made


def sealed_store(conninfo: str, vault: Path | Blobs, **how: Any) -> SealedStore:
    return SealedStore(conninfo, None, FolderBlobs(vault) if isinstance(vault, Path) else vault, **how)


def row_keys(conninfo: str, vault: Path | Blobs, host: str | None = None) -> RowKeys:
    blobs = FolderBlobs(vault) if isinstance(vault, Path) else vault
    return RowKeys(Connection(conninfo, None), blobs, host)


def ask(conninfo: str, sql: str, *values: object) -> list[Row]:
    """The rows of one query, over a connection of its own."""
    with closing(Connection(conninfo, None)) as connection:
        return connection.read(sql, values)


def run(conninfo: str, sql: str, *values: object) -> None:
    with closing(Connection(conninfo, None)) as connection:
        connection.execute(sql, values)


def keys_in(vault: Path) -> dict[str, bytes]:
    """Every key in every revision that a vault has, whether anybody knows of it or not."""
    found: dict[str, bytes] = {}
    for path in sorted((vault / "rows").rglob("*")):
        if path.is_file():
            bundle, number = path.parent.name, path.name
            assert number.isdecimal(), path  # nothing half written
            keys = read_bundle(Revision(bundle, int(number)), path.read_bytes())
            found |= {f"{bundle}/{name}": key for name, key in keys.items()}
    return found


def opens(key: bytes, box: bytes) -> bool:
    try:
        SecretBox(key).decrypt(box)
    except CryptoError:
        return False
    return True


class WatchedBlobs:
    """A vault that counts, and does what a test says before each step: `before(step, name)` may raise."""

    def __init__(self, folder: Path, before: Callable[[str, str], None] = lambda step, name: None) -> None:
        self.files = FolderBlobs(folder)
        self.before = before
        self.steps: list[tuple[str, str]] = []

    def put(self, name: str, content: bytes) -> str:
        self._step("put", name)
        return self.files.put(name, content)

    def get(self, name: str, version: str = "") -> bytes:
        self._step("get", name)
        return self.files.get(name, version)

    def remove(self, name: str, version: str = "") -> None:
        self._step("remove", name)
        self.files.remove(name, version)

    def where(self, name: str) -> str:
        return self.files.where(name)

    def count(self, step: str) -> int:
        return sum(one == step for one, _ in self.steps)

    def _step(self, step: str, name: str) -> None:
        self.steps.append((step, name))
        self.before(step, name)


def now() -> datetime:
    """Of the precision that rows have."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)

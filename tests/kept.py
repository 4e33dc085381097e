"""Recordings and receipts for the tests of what is kept."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from retention.archive import Archive
from retention.erase import begin_purge, erase_begun
from retention.marks import Marks
from retention.purge import Terms
from retention.recording_files import FileKind, LocalFiles, finished, format_of
from retention.records import (
    CallerIdentity,
    LegQuality,
    Notice,
    Pause,
    Quality,
    Receipt,
    Recording,
    due_date,
    new_id,
)
from retention.rows.rows import Rows
from retention.sqlite import Store, of_library
from retention.vault import Identity, Vault
from tests.both import opened

START = datetime(2026, 11, 24, 22, 20, 0, 123000, tzinfo=UTC)
CALLER = "+33612345678"
OPERATOR = "sip:marie.durand@pbx.example.net"
SOUND = b"not really sound"
ANN, BEN = Identity(bytes([1]) * 32, "Ann"), Identity(bytes([2]) * 32, "Ben")
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")


def recording(minutes: int = 0, worker: int | None = None, **changes: Any) -> Recording:
    """One that began `minutes` after START."""
    at = START + timedelta(minutes=minutes)
    fields: dict[str, Any] = {
        "id": new_id(at, worker),
        "call_id": "a84b4c76e66710@192.0.2.7",
        "started_at": at,
        "caller": CALLER,
        "called": "+33323063006",
        "operator": OPERATOR,
        "decision": "allowed",
        "notice": Notice(file="prompts/fr/notice.wav", sha256="ab" * 32),
        "channels": 2,
        "sample_rate": 8000,
        "pauses": (Pause(from_s=3.5, to_s=8.0),),
        "expires_at": due_date(at, "6 months"),
    }
    return Recording(**fields | changes)


QUALITY = Quality(
    caller=LegQuality(
        codec="PCMA",
        packets=980,
        lost=20,
        lost_bursts=7,
        late=3,
        concealed_ms=460,
        jitter_ms=2.1,
        rtt_ms=31.4,
        mos=4.12,
        level_dbov=-20.1,
        clipped=0.0125,
    ),
    operator=LegQuality(codec="G722", packets=0),
    one_way="operator",
)


def receipt(of: Recording, **changes: Any) -> Receipt:
    """The receipt of the call that was recorded."""
    fields: dict[str, Any] = {
        "id": of.id,
        "call_id": of.call_id,
        "started_at": of.started_at,
        "ended_at": of.started_at + timedelta(minutes=4),
        "caller": of.caller,
        "called": of.called,
        "operator": of.operator,
        "operators": of.operators,
        "outcome": "connected",
        "quality": QUALITY,
        "decision": "allowed",
        "decided_by": "silence",
        "recording_id": of.id,
        "caller_identity": CallerIdentity(attestation="A", verified=True),
    }
    return Receipt(**fields | changes)


def archive(folder: Path, worker: int | None = None) -> Archive:
    """An empty one, its database in `folder` and its recordings in `folder/recordings`."""
    store = opened(folder / "retention.db", worker=worker)
    return archive_of(store, folder / "recordings", folder)


def archive_of(store: Rows, recordings: Path, base: Path) -> Archive:
    """The vault is beside the database, or in `base` where that is in memory."""
    vault = base / "vault" if store.places is None else store.places.vault
    return Archive(store, LocalFiles(recordings, vault, base), Marks(recordings))


def sqlite(store: Rows) -> Database:
    """The connection of a store in SQLite, for who damages it."""
    assert isinstance(store, Store)
    return of_library(store._connection)


class Paths:
    """Where things lie, for who looks at the disk itself."""

    def __init__(self, of: Archive | Vault) -> None:
        assert isinstance(of.files, LocalFiles)
        self.files = of.files
        self.recordings, self.vault, self.base = of.files.recordings, of.files.vault, of.files.base

    def part(self, id: str) -> Path:
        return self.files.path(id, FileKind.PART)

    def final(self, id: str, format: str) -> Path:
        return self.files.path(id, format_of(format))

    def metadata(self, id: str) -> Path:
        return self.files.path(id, FileKind.METADATA)

    def key(self, id: str) -> Path:
        return self.files.path(id, FileKind.KEY)

    def file(self, id: str) -> Path | None:
        """The finished one, if there is one."""
        kind = finished(self.files, id)
        return None if kind is None else self.files.path(id, kind)


def keep(archive: Archive, row: Recording, sound: bytes = SOUND) -> Recording:
    """Take a recording through its life up to `closed`, with its receipt."""
    return keep_by(archive, row, FileKind.FLAC, sound)


def keep_by(archive: Archive, row: Recording, kind: FileKind, sound: bytes = SOUND) -> Recording:
    """As `keep`, of this kind, whatever keeps it."""
    archive.store.add_receipt(receipt(row))
    archive.open(row).write_bytes(sound)
    archive.files.spool.path(row.id, FileKind.PART).rename(archive.files.spool.path(row.id, kind))
    return archive.close(row)


def remove(archive: Archive, id: str, now: datetime) -> bool:
    """Purge one recording, due or not; false if it is on hold, or already purged."""
    began = bool(begin_purge(archive, [id]))
    if began:
        erase_begun(archive, id, now)
    return began


def bytes_under(folder: Path) -> bytes:
    """The bytes and names of every file below `folder`; a server may remove its caches meanwhile."""
    found: list[bytes] = []
    for path in folder.rglob("*"):
        if path.is_file():
            with suppress(FileNotFoundError):
                found += [str(path).encode(), path.read_bytes()]
    return b"\n".join(found)

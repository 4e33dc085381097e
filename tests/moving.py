"""Two places for the tests of moving: one where an office has worked, and one where nothing is."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from retention.archive import Archive
from retention.erase import erase_row
from retention.files import Places
from retention.move import Arriving, Done, MoveTarget, Progress, move
from retention.recording_files import FileKind, LocalFiles
from retention.records import Access
from retention.verify import verify
from tests.kept import ANN, START, archive, keep_by, recording
from tests.tampering import lived_in

NOW = START + timedelta(days=1)
TRACE = Access(at=NOW, action="migrate", by="A. Roux", system_user="root", via="cli")


def settled(folder: Path) -> Archive:
    """Rows of every kind and state but those of a call that is on; one recording is sealed."""
    kept = lived_in(folder)
    for row in kept.unfinished():
        erase_row(kept, row.id, START)
    sealed = recording(6)
    kept.vault.create(sealed.id, [ANN.public])
    keep_by(kept, sealed, FileKind.SEALED, b"sealed sound")
    return kept


def there(folder: Path, name: str = "there") -> MoveTarget:
    """Where nothing is: a database that has another name until it is done, and files below the folder."""
    folder.mkdir(exist_ok=True)
    places = Places(folder / "retention.db")
    files = LocalFiles(folder / "recordings", places.vault, folder)
    return MoveTarget(name=name, rows=Arriving(places.arriving), files=files)


def moved(source: Archive, folder: Path, progress: Progress = lambda what, done, total: None) -> Done:
    """As the command does it: the database gets its name when all is there."""
    target = there(folder)
    assert target.rows is not None
    with target.rows:
        done = move(source, target, TRACE, "6 months", progress)
    places = Places(folder / "retention.db")
    places.arriving.rename(places.database)
    return done


def entries(database: Path) -> list[tuple[object, ...]]:
    """The whole chain, as the file has it."""
    with closing(sqlite3.connect(database)) as there:
        return there.execute("SELECT * FROM chain ORDER BY seq").fetchall()


def all_rows(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but the chain."""
    tables = (
        "receipts",
        "recordings",
        "accesses",
        "notes",
        "sums",
        "approvals",
        "clock",
        "rejected",
        "today",
    )
    with closing(sqlite3.connect(database)) as there:
        return {one: there.execute(f"SELECT * FROM {one} ORDER BY id").fetchall() for one in tables}


def problems(folder: Path) -> list[str]:
    """What `verify` says of a folder."""
    return [f"{one.where}: {one.problem}" for one in verify(archive(folder)).problems]

"""`verify` over a store of objects: by what the store says, by the bytes, and holds in three places."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.objects.bucket import Bucket
from retention.recording_files import FileKind
from retention.records import Recording
from retention.rows.object_rows import ObjectRow, State, new_put
from retention.verify import verify
from tests.kept import ANN, START, keep_by, recording
from tests.object_store import archive_through, now, place_of
from tests.s3 import Moto, Weed
from tests.tampering import HOLD


@pytest.fixture
def kept(objects: Moto | Weed, tmp_path: Path) -> Iterator[Archive]:
    """Three recordings, the second on hold."""
    made = archive_through(tmp_path, Bucket(place_of(objects, tmp_path)))
    for number in range(3):
        row = recording(number)
        made.vault.create(row.id, [ANN.public])
        keep_by(made, row, FileKind.SEALED, b"sealed " + row.id.encode())
    held = replace(rows_of(made)[1], hold=HOLD)
    made.change(held)
    made.files.hold(held.id, held=True)
    yield made
    made.files.hold(held.id, held=False)


def rows_of(kept: Archive) -> list[Recording]:
    return sorted(kept.store.recordings(), key=lambda row: row.started_at)


def sealed(kept: Archive, row: Recording) -> ObjectRow:
    """What is known of its sound."""
    (known,) = [one for one in kept.store.objects.of([row.id]) if one.kind == "sealed"]
    return known


def problems(kept: Archive, *, deep: bool = False) -> list[str]:
    return [f"{one.where}: {one.problem}" for one in verify(kept, deep=deep).problems]


def bucket_of(kept: Archive) -> Bucket:
    bucket: Bucket = kept.files.bucket  # type: ignore[attr-defined]
    return bucket


def test_all_is_well_and_sound_is_not_read_unless_that_is_asked_for(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = Bucket.read

    def watched(self: Bucket, name: str, *more: object, **how: object) -> object:
        read.append(name)
        return reading(self, name, *more, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Bucket, "read", watched)
    assert problems(kept) == []
    assert not [name for name in read if name.endswith(".sealed")]
    assert problems(kept, deep=True) == []
    assert len([name for name in read if name.endswith(".sealed")]) == 3


def test_an_object_that_is_another_or_gone(kept: Archive) -> None:
    known = sealed(kept, rows_of(kept)[0])
    content = b"another" + known.id.encode()
    version = bucket_of(kept).put(known.name, content, hashlib.sha256(content).hexdigest())
    statement = "UPDATE objects SET version = ?, bytes = ? WHERE name = ?"
    with kept.store.write():
        kept.store.change(statement, [version, len(content), known.name])
    told = f"{known.name}: its hash is not that of the file that was recorded"
    assert problems(kept) == problems(kept, deep=True) == [told]
    bucket_of(kept).remove(known.name, version)
    (told,) = problems(kept)
    assert told.startswith(f"{known.name}: cannot be read: ")


def test_a_hold_that_the_store_has_lost_or_has_alone(kept: Archive) -> None:
    free, held, _ = rows_of(kept)
    for known in kept.store.objects.of([held.id]):
        bucket_of(kept).hold(known.name, known.version, on=False)
    lost = [
        f"{name}: its row is on hold, the object is not"
        for name in (f"recordings/{held.id}.sealed", f"vault/{held.id}.key", f"recordings/{held.id}.json")
    ]
    assert problems(kept) == lost
    alone = sealed(kept, free)
    bucket_of(kept).hold(alone.name, alone.version, on=True)
    assert set(problems(kept)) == {*lost, f"{alone.name}: the object is on hold, its row is not"}
    bucket_of(kept).hold(alone.name, alone.version, on=False)


def test_what_is_left_to_remove(kept: Archive) -> None:
    put = ObjectRow(
        put=new_put(),
        name=f"recordings/{recording(9).id}.sealed",
        id=recording(9).id,
        kind="sealed",
        state=State.REMOVING,
        at=START,
        version="x",
        since=now() - timedelta(hours=1),
    )
    kept.store.objects.intend([put])
    (told,) = problems(kept)
    assert told.startswith("objects: those of 1 recordings must be removed from the store, and are not, the")

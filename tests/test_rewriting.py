"""What a command rewrites of a recording whose files are objects: no turn of the database waits for the
store, and whatever crashes at any moment, the row and the JSON that counts say the same."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from retention.archive import Archive, ChangedMeanwhile, rotate
from retention.holds import HoldError, place, release
from retention.marks import Marks
from retention.objects.bucket import Away
from retention.objects.object_files import ObjectFiles
from retention.purge import purge
from retention.recording_files import FileKind
from retention.records import Recording
from retention.rows.object_rows import UNSURE, State
from retention.sqlite import Store
from retention.vault import Identity
from retention.verify import wrong_beside
from tests.kept import START, keep_by, recording
from tests.memory_bucket import Killed, MemoryBucket
from tests.object_store import local_of, now
from tests.test_hold import BY, HOLD, TERMS

ANN, BEN = Identity(bytes([1]) * 32, "Ann"), Identity(bytes([2]) * 32, "Ben")
STEPS = 24  # requests that any of these makes at most


class Watched(MemoryBucket):
    """Looks, at each request, whether a process could write into the database now."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database
        self.asked = 0
        self.locked: list[str] = []

    def put(self, name: str, body: bytes | BinaryIO, sha256: str, *, held: bool = False) -> str | None:
        self.look_around(name)
        return super().put(name, body, sha256, held=held)

    def read(self, name: str, first: int = 0, last: int | None = None, version: str | None = None) -> Any:
        self.look_around(name)
        return super().read(name, first, last, version)

    def look_around(self, name: str) -> None:
        self.asked += 1
        with sqlite3.connect(self.database, timeout=0, isolation_level=None) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
            except sqlite3.OperationalError:
                self.locked.append(name)
        other.close()


class Office:
    """One closed, sealed recording, all of it up; `archive` is a new process each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "retention.db")
        self.bucket = Watched(folder / "retention.db")
        archive = self.archive()
        row = recording()
        archive.vault.create(row.id, [ANN.public])
        self.row = keep_by(archive, row, FileKind.SEALED)

    def archive(self, later: timedelta = timedelta()) -> Archive:
        files = ObjectFiles(self.bucket, self.store.objects, local_of(self.folder), lambda: now() + later)
        return Archive(self.store, files, Marks(self.folder / "recordings"))

    def told(self) -> Any:
        return self.archive().read_metadata(self.row.id)

    def agrees(self) -> bool:
        return wrong_beside(self.archive(), self.row.id) == []

    def in_the_end(self) -> None:
        """All has had its time: then each version that is there has a row, and each row its version."""
        for _ in range(2):
            purge(self.archive(later=2 * UNSURE), START, TERMS)
        rows = self.store.objects.of([self.row.id])
        named = {(row.name, row.version) for row in rows if row.state is State.THERE}
        there = {(name, version) for name, some in self.bucket.objects.items() for version in some}
        unsure = {row.name for row in rows if row.state is State.PUTTING}
        assert named <= there and {one for one in there - named if one[0] not in unsure} == set()
        for name in {row.name for row in rows} - unsure:
            assert sum(row.name == name for row in rows) == 1
        held = self.store.recording(self.row.id).hold is not None
        assert all(
            self.bucket.objects[row.name][row.version or ""].held is held
            for row in rows
            if row.state is State.THERE
        )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.store.close()


Work = Callable[[Archive, Recording], object]


def held(archive: Archive, row: Recording) -> object:
    return place(archive, row.id, HOLD, BY)


def released(archive: Archive, row: Recording) -> object:
    return release(archive, row.id, BY)


def rotated(archive: Archive, row: Recording) -> object:
    return rotate(archive, ANN, [BEN.public])


def prepared(office: Office, work: Work) -> None:
    if work is released:
        held(office.archive(), office.row)


@pytest.mark.parametrize("work", [held, released, rotated])
def test_no_turn_waits_for_the_store(office: Office, work: Work) -> None:
    prepared(office, work)
    office.bucket.asked = 0
    work(office.archive(), office.row)
    assert office.bucket.asked and office.bucket.locked == [] and office.agrees()
    office.in_the_end()
    assert [row.state for row in office.store.objects.of([office.row.id])] == [State.THERE] * 3


@pytest.mark.parametrize("how", ["killed", "killed after", "failed", "lost"])
@pytest.mark.parametrize("work", [held, released, rotated])
def test_after_a_crash_at_any_request_row_and_metadata_agree(tmp_path: Path, work: Work, how: str) -> None:
    for step in range(STEPS):
        (folder := tmp_path / str(step)).mkdir()
        office = Office(folder)
        prepared(office, work)
        office.bucket.weather.coming = ["done"] * step + [how]
        with suppress(Killed, OSError):
            work(office.archive(), office.row)
        finished = office.bucket.weather.coming != []
        office.bucket.weather.coming = []
        assert office.agrees(), step
        again(office, work)
        assert office.agrees(), step
        office.in_the_end()
        office.store.close()
        if finished:
            break
    assert finished and step > 1


def again(office: Office, work: Work) -> None:
    """Whoever asked for it asks again."""
    try:
        work(office.archive(), office.row)
    except HoldError as error:
        assert "on hold" in str(error)
    row = office.store.recording(office.row.id)
    assert (row.hold is not None) is (work is held)
    if work is rotated:
        assert office.archive().vault.recipients(row.id) == (BEN.public,)


@pytest.mark.parametrize("step", ["update_recording", "add_access"])
def test_what_the_database_does_not_take_is_not_told_by_the_metadata(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(office.store, step, fail)
        with pytest.raises(Killed):
            held(office.archive(), office.row)
    assert office.agrees() and office.told()["hold"] is None
    office.in_the_end()
    assert len(office.store.objects.of([office.row.id])) == 3


def test_a_transaction_of_which_nobody_knows_whether_it_was_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is cut just after the commit: what counts by then is not taken away."""
    archive = office.archive()
    with pytest.raises(Away), archive.rewriting(office.row) as keep:
        with office.store.write():
            keep()
        raise Away(5, "does not answer", "")
    assert office.agrees()
    office.in_the_end()
    assert len(office.store.objects.of([office.row.id])) == 3


def test_two_who_change_the_same_recording(office: Office) -> None:
    """The second sees what the first has said, however both come between one another."""
    archive, other = office.archive(), office.archive()
    asked = 0

    def flagged(row: Recording) -> Recording:
        nonlocal asked
        asked += 1
        if asked == 1:
            held(other, row)  # the JSON of this one is made of the row before
        return replace(row, flagged=True)

    archive.rewrite(office.row.id, flagged)
    row = office.store.recording(office.row.id)
    assert row.flagged and row.hold is not None and office.agrees()
    office.in_the_end()


def test_one_that_changes_all_the_time_is_told(office: Office) -> None:
    def other(row: Recording) -> Recording:
        office.archive().change(replace(row, flagged=not row.flagged))
        return row

    with pytest.raises(ChangedMeanwhile, match="another process changes it; accepted: try again"):
        office.archive().rewrite(office.row.id, other)
    assert office.agrees()


def test_what_does_not_agree_is_read_again_without_a_turn(office: Office) -> None:
    office.store.update_recording(replace(office.row, flagged=True))
    office.bucket.locked.clear()
    ((name, problem),) = wrong_beside(office.archive(), office.row.id)
    assert name.endswith(".json") and problem == "says otherwise than the database: flagged"
    assert office.bucket.locked == []


def test_a_change_between_row_and_metadata_is_no_fault(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process changes both, each time just before the metadata is read, three times."""
    archive, times = office.archive(), 3
    read = archive.read_metadata

    def reading(id: str) -> Any:
        nonlocal times
        if times:
            times -= 1
            row = office.store.recording(id)
            office.archive().change(replace(row, flagged=not row.flagged))
        return read(id)

    monkeypatch.setattr(archive, "read_metadata", reading)
    assert wrong_beside(archive, office.row.id) == [] and times == 0

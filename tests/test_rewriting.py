"""What a command rewrites of a recording: a hold, a flag, other recipients. After any crash row and JSON say
the same, and where its files are objects, no turn of the database waits for the store.

Who comes may listen, who leaves may not: for all that is kept, whatever interrupts it.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from retention import archive as rotation
from retention.archive import Archive, ChangedMeanwhile, rotate
from retention.erase import begin_purge
from retention.holds import HoldError, place, release
from retention.marks import Marks
from retention.objects.bucket import Away
from retention.objects.object_files import ObjectFiles
from retention.purge import purge
from retention.recording_files import FileKind
from retention.records import Recording
from retention.rows.object_rows import UNSURE, State
from retention.sqlite import Store
from retention.vault import Identity, KeysError, PublicKey
from retention.verify import wrong_beside
from tests import kept as keeping
from tests.kept import CALLER, START, TERMS, Paths, bytes_under, keep_by, receipt, recording
from tests.memory_bucket import Killed, MemoryBucket
from tests.object_store import local_of, now
from tests.raising import raising
from tests.tampering import HOLD as HELD
from tests.test_hold import BY, HOLD

ANN, BEN, EVE = (
    Identity(bytes([number]) * 32, name) for number, name in ((1, "ann"), (2, "ben"), (3, "eve"))
)
LATE = datetime(2030, 1, 1, tzinfo=UTC)
STEPS = 24  # requests that any of these makes at most


def keys(*identities: Identity) -> list[PublicKey]:
    return [identity.public for identity in identities]


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

    row: Recording

    def __init__(self, folder: Path, like: "Office | None" = None) -> None:
        self.folder = folder
        self.bucket = Watched(folder / "retention.db")
        if like is not None:
            shutil.copytree(like.folder, folder)
            self.store, self.row = Store(folder / "retention.db"), like.row
            self.bucket.objects = deepcopy(like.bucket.objects)
            self.bucket._versions = deepcopy(like.bucket._versions)
            return
        self.store = Store(folder / "retention.db")
        archive, row = self.archive(), recording()
        archive.vault.create(row.id, keys(ANN))
        self.row = keep_by(archive, row, FileKind.SEALED)

    def archive(self, later: timedelta = timedelta()) -> Archive:
        files = ObjectFiles(self.bucket, self.store.objects, local_of(self.folder), lambda: now() + later)
        return Archive(self.store, files, Marks(self.folder / "recordings"))

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
        assert all(self.bucket.objects[name][version or ""].held is held for name, version in named)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    office = Office(tmp_path_factory.mktemp("original"))
    yield office
    office.store.close()


@pytest.fixture
def office(original: Office, tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "office", original)
    yield office
    office.store.close()


Work = Callable[[Archive, Recording], object]


def held(archive: Archive, row: Recording) -> object:
    return place(archive, row.id, HOLD, BY)


def released(archive: Archive, row: Recording) -> object:
    return release(archive, row.id, BY)


def rotated(archive: Archive, row: Recording) -> object:
    return rotate(archive, ANN, keys(BEN))


WORKS = pytest.mark.parametrize("work", [held, released, rotated])


def prepared(office: Office, work: Work) -> None:
    if work is released:
        held(office.archive(), office.row)


@WORKS
def test_no_turn_waits_for_the_store(office: Office, work: Work) -> None:
    prepared(office, work)
    office.bucket.asked = 0
    work(office.archive(), office.row)
    assert office.bucket.asked and office.bucket.locked == [] and office.agrees()
    office.in_the_end()
    assert [row.state for row in office.store.objects.of([office.row.id])] == [State.THERE] * 3


@pytest.mark.parametrize("how", ["killed", "killed after", "failed", "lost"])
@WORKS
def test_after_a_crash_at_any_request_row_and_metadata_agree(
    original: Office, tmp_path: Path, work: Work, how: str
) -> None:
    for step in range(STEPS):
        office = Office(tmp_path / str(step), original)
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
    with monkeypatch.context() as patch:
        patch.setattr(office.store, step, raising(Killed()))
        with pytest.raises(Killed):
            held(office.archive(), office.row)
    assert office.agrees() and office.archive().read_metadata(office.row.id)["hold"] is None
    office.in_the_end()
    assert len(office.store.objects.of([office.row.id])) == 3


def test_a_transaction_of_which_nobody_knows_whether_it_was_done(office: Office) -> None:
    """The line is cut just after the commit: what counts by then is not taken away."""
    with pytest.raises(Away), office.archive().rewriting(office.row) as keep:
        with office.store.write():
            keep()
        raise Away(5, "does not answer", "")
    assert office.agrees()
    office.in_the_end()
    assert len(office.store.objects.of([office.row.id])) == 3


def test_two_who_change_the_same_recording(office: Office) -> None:
    """The second sees what the first has said, however both come between one another."""
    archive, other, asked = office.archive(), office.archive(), list[Recording]()

    def flagged(row: Recording) -> Recording:
        asked.append(row)
        if len(asked) == 1:
            held(other, row)  # the JSON of this one is made of the row before
        return replace(row, flagged=True)

    archive.rewrite(office.row.id, flagged)
    row = office.store.recording(office.row.id)
    assert row.flagged and row.hold is not None and office.agrees()
    office.in_the_end()

    def other_again(row: Recording) -> Recording:
        office.archive().change(replace(row, flagged=not row.flagged))
        return row

    with pytest.raises(ChangedMeanwhile, match="another process changes it; accepted: try again"):
        office.archive().rewrite(office.row.id, other_again)
    assert office.agrees()


def test_what_does_not_agree_is_read_again_without_a_turn(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process changes both, each time just before the metadata is read: that is no fault."""
    archive, times = office.archive(), 3
    read = archive.read_metadata

    def reading(id: str) -> Any:
        nonlocal times
        if times:
            times -= 1
            row = office.store.recording(id)
            office.archive().change(replace(row, flagged=not row.flagged))
        return read(id)

    with monkeypatch.context() as patch:
        patch.setattr(archive, "read_metadata", reading)
        assert wrong_beside(archive, office.row.id) == [] and times == 0
    row = office.store.recording(office.row.id)
    office.store.update_recording(replace(row, flagged=not row.flagged))
    office.bucket.locked.clear()
    ((name, problem),) = wrong_beside(office.archive(), office.row.id)
    assert name.endswith(".json") and problem == "says otherwise than the database: flagged"
    assert office.bucket.locked == []


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(rotation, "BREATH_S", 0)
    return keeping.archive(tmp_path)


def seal(kept: Archive, minutes: int = 0, *, to: Identity = ANN, close: bool = True) -> Recording:
    row = recording(minutes)
    kept.store.add_receipt(receipt(row))
    part = kept.open(row)
    kept.vault.create(row.id, keys(to))
    part.write_bytes(b"nobody reads this without its key")
    if not close:
        return row
    part.rename(Paths(kept).final(row.id, "sealed"))
    return kept.close(row)


def reads_json(kept: Archive, id: str, identity: Identity) -> bool:
    sealed = json.loads(Paths(kept).metadata(id).read_bytes())["sealed"]
    try:
        return CALLER.encode() in kept.vault.unseal(id, sealed, identity)
    except KeysError:
        return False


def test_all_are_for_the_new_ones_with_the_key_they_had(kept: Archive) -> None:
    """Holds survive; twice is nothing the second time, and needs no identity."""
    assert rotate(kept, ANN, keys(BEN)) == rotation.Rotation()
    rows = [seal(kept, minutes) for minutes in range(7)]
    held_one = replace(rows[-1], hold=HELD)
    kept.change(held_one)
    loose = recording(9).id  # a key without a row goes along
    kept.vault.create(loose, keys(ANN))
    ids = [*(row.id for row in rows), loose]
    before, steps = [kept.vault.key(id, ANN) for id in ids], list[tuple[int, int]]()
    done = rotate(kept, ANN, keys(BEN, EVE), lambda *step: steps.append(step))
    assert (done.sealed, done.already, done.failed) == (tuple(ids), 0, ())
    assert steps == [(number, 8) for number in range(1, 9)]
    assert [kept.vault.key(id, BEN) for id in ids] == before
    assert {kept.vault.recipients(id) for id in ids} == {(BEN.public, EVE.public)}
    for row in (*rows[:-1], held_one):
        assert reads_json(kept, row.id, EVE) and not reads_json(kept, row.id, ANN)
        assert kept.store.recording(row.id) == row
    assert CALLER.encode() not in bytes_under(Paths(kept).recordings) + bytes_under(Paths(kept).vault)
    state = bytes_under(Paths(kept).vault), kept.store.head()
    again = rotate(kept, ANN, keys(EVE, BEN))
    assert (again.sealed, again.already, again.failed) == ((), 8, ())
    assert (bytes_under(Paths(kept).vault), kept.store.head()) == state


def test_a_hold_that_the_metadata_alone_tells_stays(kept: Archive) -> None:
    """An older database came back, and nobody has called `rebuild` yet."""
    row = seal(kept)
    kept.change(replace(row, hold=HELD))
    path = Paths(kept).metadata(row.id)
    told = path.read_bytes()
    kept.change(row)
    path.write_bytes(told)
    assert rotate(kept, ANN, keys(BEN)).sealed == (row.id,)
    assert (json.loads(path.read_bytes())["hold"] or {})["ground"] == "criminal"
    assert [stay.id for stay in purge(kept, LATE, TERMS).held] == [row.id]


def test_what_cannot_be_opened_or_must_not_be_written_stays_as_it_was(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on. Once a key whose purge has begun is gone, nothing may write it again."""
    mine, other, damaged = seal(kept), seal(kept, 1, to=EVE), seal(kept, 2)
    purging, purged = seal(kept, 3), seal(kept, 4)
    Paths(kept).key(damaged.id).write_text("{}")
    begin_purge(kept, [purging.id])
    listed = kept.vault.ids()
    monkeypatch.setattr(kept.vault, "ids", lambda: listed)
    keeping.remove(keeping.archive(Paths(kept).base), purged.id, LATE)
    paths = [Paths(kept).key(row.id) for row in (other, purging)]
    before = [path.read_bytes() for path in paths]
    done = rotate(kept, ANN, keys(ANN, BEN))
    assert done.sealed == (mine.id,)
    failed = dict(done.failed)
    assert failed.keys() == {other.id, damaged.id}
    assert "is not for ann (" in failed[other.id] and "accepted: eve (" in failed[other.id]
    assert [path.read_bytes() for path in paths] == before and reads_json(kept, other.id, EVE)
    assert not Paths(kept).key(purged.id).exists()


def test_a_call_that_goes_on_is_for_the_new_ones_once_it_is_kept(kept: Archive) -> None:
    row = seal(kept, close=False)
    assert rotate(kept, ANN, keys(BEN)).sealed == (row.id,)
    assert rotate(kept, ANN, keys(BEN)).already == 1
    Paths(kept).part(row.id).rename(Paths(kept).final(row.id, "sealed"))
    kept.close(row)
    assert reads_json(kept, row.id, BEN) and not reads_json(kept, row.id, ANN)


def test_one_that_changes_meanwhile_is_sealed_all_the_same(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, rewriting, changed = seal(kept), kept.rewriting, list[Recording]()

    def changing(*how: Any) -> Any:
        if not changed:
            changed.append(replace(row, flagged=True))
            keeping.archive(Paths(kept).base).change(changed[0])
        return rewriting(*how)

    monkeypatch.setattr(kept, "rewriting", changing)
    assert rotate(kept, ANN, keys(BEN)).sealed == (row.id,)
    assert kept.store.recording(row.id).flagged and reads_json(kept, row.id, BEN)

"""What moves stays what it was: the same chain, the same rows, the same bytes; and it is there once.

Between files of this machine, into a database that hosts share and a store of objects, and back.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from retention import outbox
from retention.archive import Archive
from retention.erase import begin_purge, erase_row
from retention.files import Moved, Places, read_moved
from retention.marks import Mark, Marks
from retention.move import ArrivingShared, Done, MoveError, MoveTarget, Origin, move
from retention.objects.bucket import Bucket, BucketPlace
from retention.objects.object_files import ObjectBlobs, ObjectFiles
from retention.postgres.row_keys import FolderBlobs
from retention.postgres.schema import MOVED_AWAY, MOVING_IN
from retention.postgres.store import SealedStore
from retention.recording_files import Area, FileKind, LocalFiles
from retention.records import Special, Status
from retention.reserve import Reserve
from retention.rows.chain import read_head
from retention.rows.pages import Listing
from retention.rows.rows import Rows, StoreError
from retention.sqlite import Store
from retention.verify import verify
from tests import tiers
from tests.crashing import deaths, killed_before, steps
from tests.kept import ANN, Paths, archive, keep, keep_by, receipt, recording
from tests.moving import NOW, TRACE, all_rows, entries, moved, problems, settled, there
from tests.object_store import place_of
from tests.postgres import Server
from tests.s3 import Moto


@pytest.fixture
def here(tmp_path: Path) -> Archive:
    (tmp_path / "here").mkdir()
    return settled(tmp_path / "here")


def test_chain_and_rows_are_there_as_they_were_and_go_on(here: Archive, tmp_path: Path) -> None:
    here.store.keep_rejected_row({"id": 1, "hour": "2026-11-24T22", "receipts": 7})
    here.store.keep_clock_row({"id": 1, "seen": "{}", "suspended": None})
    here.store.keep_specials([Special(number=3, from_at=NOW, until_at=NOW)])
    outbox.collect(here.store, NOW)
    outbox.tell_alert(here.store, "the disk is full", None, NOW, NOW)
    database_here = tmp_path / "here" / "retention.db"
    chain, rows = entries(database_here), all_rows(database_here)
    assert all(rows.values())
    done = moved(here, tmp_path / "there")
    assert done.head == here.store.head()
    database_there = tmp_path / "there" / "retention.db"
    chain_there, rows_there = entries(database_there), all_rows(database_there)
    assert chain_there[:-1] == chain and chain_there[-1][2] == "access"
    traced = rows_there["accesses"].pop()
    assert rows_there == rows and traced[0] == len(rows["accesses"]) + 1
    theirs = archive(tmp_path / "there")
    assert outbox.due(theirs.store, NOW, 9) == outbox.events(here.store) != []
    (access,) = [one for number, one in theirs.store.numbered_accesses(limit=1)]
    detail = f"from {tmp_path / 'here' / 'retention.db'}"
    assert (access.action, access.detail, access.by) == ("migrate", detail, "A. Roux")
    assert theirs.store.knows(done.head) and problems(tmp_path / "there") == []
    for area in Area:
        assert sorted(theirs.files.names(area)) == sorted(here.files.names(area))
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "there").rglob("*"))
    assert read_head(tmp_path / "there" / "retention.head") == theirs.store.head()
    moved(theirs, tmp_path / "back")
    assert entries(tmp_path / "back" / "retention.db")[: len(chain)] == chain
    assert problems(tmp_path / "back") == []


def test_what_is_here_stays_as_it_was_says_where_it_went_and_takes_nothing_more(
    here: Archive, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    done = moved(here, tmp_path / "there")
    after = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} <= {"retention.moved", "retention.turn"}
    assert {path: after[path] for path in before} == before
    for store in (here.store, archive(tmp_path / "here").store):
        with pytest.raises(StoreError, match=r"its rows have moved to there; accepted: a configuration that"):
            store.add_access(TRACE)
    closed = [row for row in here.store.recordings() if row.status is Status.CLOSED and row.hold is None]
    assert done.until == min(row.expires_at for row in closed)
    note = read_moved(tmp_path / "here" / "retention.moved")
    assert note == Moved(to="there", at=NOW, until=done.until, done=True, database="retention.db")


def waits(here: Archive) -> None:
    assert here.store.places is not None
    reserve = Reserve(here.store.places.reserve(), calls=1)
    reserve.allocate()
    reserve.write([receipt(recording(9))])


UNSETTLED: dict[str, Callable[[Archive], object]] = {
    r"calls have not ended in it \(1\): start the agent once": lambda here: here.store.add_receipt(
        receipt(recording(9), ended_at=None)
    ),
    "must be erased, and is not: see `sipagent purge`": lambda here: os.close(
        here.marks.make(Mark(id=keep(here, recording(9)).id, at=NOW))
    ),
    r"recordings are half purged \(1\)": lambda here: begin_purge(here, [keep(here, recording(9)).id]),
    r"retention\.reserve: calls wait in it for the database": waits,
}


@pytest.mark.parametrize("said", UNSETTLED)
def test_what_must_be_over_before(here: Archive, tmp_path: Path, said: str) -> None:
    UNSETTLED[said](here)
    with pytest.raises(MoveError, match=said):
        moved(here, tmp_path / "there")
    assert not (tmp_path / "here" / "retention.moved").exists()
    assert Store(tmp_path / "there" / "retention.arriving").head().seq == 0


def test_nothing_in_clear_goes_where_only_what_is_sealed_may(here: Archive, tmp_path: Path) -> None:
    target = replace(there(tmp_path / "there"), sealed_only=True)
    with pytest.raises(MoveError, match=r"recordings are stored in clear \(3, the last of them 2026"):
        move(here, target, TRACE, None)


def test_what_is_there_of_others_or_of_another_move_is_left_alone(here: Archive, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with Store(tmp_path / "there" / "retention.arriving") as store:
        store.add_access(TRACE)
    with pytest.raises(MoveError, match="there: has other rows; accepted: a database without any"):
        moved(here, tmp_path / "there")
    there(tmp_path / "begun").rows.begin(Origin("other/retention.db", here.store.head()))
    with pytest.raises(MoveError, match=r"what comes from other/retention\.db is not all there yet"):
        moved(here, tmp_path / "begun")
    assert not (tmp_path / "here" / "retention.moved").exists()


def test_what_was_moved_is_not_moved_twice(here: Archive, tmp_path: Path) -> None:
    moved(here, tmp_path / "there")
    places = Places(tmp_path / "there" / "retention.db")
    before = places.database.read_bytes()
    places.database.rename(places.arriving)
    assert moved(here, tmp_path / "there").again
    assert places.database.read_bytes() == before


def move_between(here: Path, folder: Path) -> None:
    moved(archive(here), folder)


def test_it_is_killed_anywhere_and_goes_on(here: Archive, tmp_path: Path) -> None:
    """At each of the last steps, where it is done in one place and not yet in another, and at some before."""
    here.store.close()
    office = tmp_path / "office"
    source, folder = office / "here", office / "there"
    shutil.copytree(tmp_path / "here", source)
    before, rows = entries(source / "retention.db"), all_rows(source / "retention.db")
    traced = len(rows.pop("accesses")) + 1
    count = len(steps(partial(move_between, tmp_path / "here", tmp_path / "whole")))
    assert count > 60
    for done in deaths(office, partial(move_between, source, folder)):
        if count - len(done) > 20 and len(done) % tiers.depth(6, 2):
            continue
        if not (folder / "retention.db").exists():
            move_between(source, folder)
        assert entries(folder / "retention.db")[:-1] == before, done
        after = all_rows(folder / "retention.db")
        assert len(after.pop("accesses")) == traced and after == rows
        assert problems(folder) == [], done


def test_rows_that_came_since_it_was_killed_come_too(here: Archive, tmp_path: Path) -> None:
    """And what went goes there: also the sound that was copied."""
    gone = keep(here, recording(8))
    count = len(steps(lambda: moved(archive(tmp_path / "here"), tmp_path / "whole")))
    (tmp_path / "here" / "retention.moved").unlink()
    assert killed_before(count - 8, partial(move_between, tmp_path / "here", tmp_path / "there"))
    assert (tmp_path / "there" / "recordings" / f"{gone.id}.flac").exists()
    (tmp_path / "here" / "retention.moved").unlink()
    new = keep(here, recording(9))
    erase_row(here, gone.id, NOW)
    before = entries(tmp_path / "here" / "retention.db")
    moved(here, tmp_path / "there")
    assert entries(tmp_path / "there" / "retention.db")[:-1] == before
    theirs = archive(tmp_path / "there")
    assert theirs.store.recording(gone.id).status is Status.ERASED
    assert not Paths(theirs).final(gone.id, "flac").exists()
    assert Paths(theirs).final(new.id, "flac").exists() and problems(tmp_path / "there") == []


def arriving(database: str, folder: Path) -> ArrivingShared:
    return ArrivingShared(database, None, FolderBlobs(folder / "vault"), host="a")


def moved_in(source: Archive, database: str, folder: Path) -> Done:
    files = LocalFiles(folder / "recordings", folder / "vault", folder)
    with arriving(database, folder) as rows:
        return move(source, MoveTarget(name="postgresql://there", rows=rows, files=files), TRACE, "6 months")


def shared_archive(database: str, folder: Path) -> Archive:
    store = SealedStore(database, None, FolderBlobs(folder / "vault"), host="b")
    files = LocalFiles(folder / "recordings", folder / "vault", folder)
    return Archive(store, files, Marks(folder / "recordings"))


def test_into_a_shared_database_and_back_row_by_row(here: Archive, database: str, tmp_path: Path) -> None:
    """Whoever is connected there writes no more once it has come back."""
    folder, head = tmp_path / "there", here.store.head()
    database_here = tmp_path / "here" / "retention.db"
    chain, rows = entries(database_here), all_rows(database_here)
    assert moved_in(here, database, folder).head == head
    kept = shared_archive(database, folder)
    assert kept.store.knows(head) and kept.store.head().seq == head.seq + 1
    assert kept.store.recordings() == here.store.recordings()
    assert kept.store.receipts() == here.store.receipts()
    assert [*kept.store.each_approval()] == [*here.store.each_approval()]
    assert kept.store.accesses()[:-1] == here.store.accesses()
    left = "SELECT tgname FROM pg_trigger WHERE tgname IN (?, ?)"
    assert kept.store._read(left, [MOVED_AWAY.name, MOVING_IN.name]) == []
    assert kept.store.missing_guards() == [] and verify(kept).problems == []
    moved(kept, tmp_path / "back")
    assert entries(tmp_path / "back" / "retention.db")[: len(chain)] == chain
    after = all_rows(tmp_path / "back" / "retention.db")
    assert after.pop("accesses")[: len(rows["accesses"])] == rows.pop("accesses")
    assert after == rows and problems(tmp_path / "back") == []
    with pytest.raises(StoreError, match="its rows have moved to there; accepted: a configuration"):
        kept.store.add_access(TRACE)
    assert kept.store.recordings()


def test_nobody_writes_before_all_is_there_and_what_came_of_an_older_state_is_removed(
    here: Archive, database: str, tmp_path: Path
) -> None:
    """The first command makes the tables, and begins a chain: that is no use of the database."""
    folder = tmp_path / "there"
    shared_archive(database, folder).store.close()
    with arriving(database, folder) as rows:
        rows.clear()
        rows.begin(Origin(str(here.store.path), here.store.head()))
        for table in ("chain", "receipts", "approvals"):
            order = ("seq",) if table == "chain" else ("id",)
            rows.take(table, [*here.store.each(Listing(table=table, order=order))])
    with shared_archive(database, folder).store as another:
        with pytest.raises(StoreError, match="rows are coming, and not all there; accepted: `sipagent migr"):
            another.add_access(TRACE)
        assert another.accesses() == []
    keep(here, recording(9))
    moved_in(here, database, folder)
    kept = shared_archive(database, folder)
    assert kept.store.missing_guards() == [] and verify(kept).problems == []
    keep(kept, recording(10))
    assert verify(kept).problems == []
    (tmp_path / "other").mkdir()
    with pytest.raises(MoveError, match="postgresql://there: has other rows; accepted: a database without"):
        moved_in(settled(tmp_path / "other"), database, folder)


def test_it_goes_on_where_the_connection_was_lost(
    here: Archive, postgres: Server, database: str, tmp_path: Path
) -> None:
    """The server ends it, as it does when it goes down: then the same command goes on."""
    cut: list[str] = []

    def cutting(what: str, done: int, total: int) -> None:
        if what == "recordings" and not cut:
            cut.append(what)
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database.rpartition('/')[2]}'"
            )

    folder = tmp_path / "there"
    with arriving(database, folder) as rows:
        files = LocalFiles(folder / "recordings", folder / "vault", folder)
        move(here, MoveTarget(name="there", rows=rows, files=files), TRACE, None, cutting)
    assert cut and verify(shared_archive(database, folder)).problems == []


def objects(place: BucketPlace, rows: Rows, folder: Path) -> ObjectFiles:
    spool = LocalFiles(folder / "moving", folder / "moving" / "vault", folder)
    return ObjectFiles(Bucket(place), rows.objects, spool)


def test_into_a_shared_database_and_a_store_of_objects_it_goes_on_after_every_stop(
    tmp_path: Path, database: str, moto: Moto
) -> None:
    (tmp_path / "here").mkdir()
    here = archive(tmp_path / "here")
    for number in range(4):
        row = recording(number)
        here.vault.create(row.id, [ANN.public])
        keep_by(here, row, FileKind.SEALED, b"sealed " + row.id.encode() * 100)
    here.store.close()
    before = entries(tmp_path / "here" / "retention.db")
    place, told = place_of(moto, tmp_path), set[str]()

    def stop(what: str, done: int, total: int) -> None:
        if what not in told:
            told.add(what)
            raise KeyboardInterrupt

    for _ in range(20):
        with (
            suppress(KeyboardInterrupt),
            ArrivingShared(database, None, ObjectBlobs(Bucket(place)), host="a") as rows,
        ):
            files = objects(place, rows, tmp_path)
            target = MoveTarget(name="there", rows=rows, files=files, sealed_only=True)
            move(archive(tmp_path / "here"), target, TRACE, None, stop)
            break
    assert {"chain", "receipts", "recordings", "files", "comparing files"} <= told
    note = read_moved(tmp_path / "here" / "retention.moved")
    assert note is not None and note.done
    store = SealedStore(database, None, ObjectBlobs(Bucket(place)), host="a")
    kept = Archive(store, objects(place, store, tmp_path), Marks(tmp_path / "marks"))
    chain = [tuple(row.values()) for row in store._read("SELECT * FROM chain ORDER BY seq", [])]
    assert chain[:-1] == before
    assert [(one.where, one.problem) for one in verify(kept, deep=True).problems] == []
    store.close()

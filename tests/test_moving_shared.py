"""From a host's own database into one that hosts share, and back; nobody writes beside it."""

from pathlib import Path

import pytest

from retention.archive import Archive
from retention.marks import Marks
from retention.move import Done, MoveError, MoveTarget, Origin, move
from retention.move_shared import ArrivingShared
from retention.postgres.row_keys import FolderBlobs
from retention.postgres.schema import MOVED_AWAY, MOVING_IN
from retention.postgres.store import SealedStore
from retention.recording_files import LocalFiles
from retention.rows.rows import StoreError
from retention.verify import verify
from tests.kept import archive, keep, recording
from tests.moving import TRACE, all_rows, entries, moved, settled
from tests.postgres import Server


@pytest.fixture
def here(tmp_path: Path) -> Archive:
    (tmp_path / "here").mkdir()
    return settled(tmp_path / "here")


def arriving(database: str, folder: Path) -> ArrivingShared:
    return ArrivingShared(database, None, FolderBlobs(folder / "vault"), host="a")


def shared_store(database: str, folder: Path) -> SealedStore:
    return SealedStore(database, None, FolderBlobs(folder / "vault"), host="b")


def moved_in(source: Archive, database: str, folder: Path) -> Done:
    files = LocalFiles(folder / "recordings", folder / "vault", folder)
    with arriving(database, folder) as rows:
        return move(source, MoveTarget(name="postgresql://there", rows=rows, files=files), TRACE, "6 months")


def shared_archive(database: str, folder: Path) -> Archive:
    store = shared_store(database, folder)
    return Archive(
        store, LocalFiles(folder / "recordings", folder / "vault", folder), Marks(folder / "recordings")
    )


def test_the_chain_in_the_shared_database_is_the_same_and_goes_on(
    here: Archive, database: str, tmp_path: Path
) -> None:
    head = here.store.head()
    done = moved_in(here, database, tmp_path / "there")
    there = shared_archive(database, tmp_path / "there")
    assert done.head == head and there.store.knows(head)
    assert there.store.head().seq == head.seq + 1
    assert [(one.where, one.problem) for one in verify(there).problems] == []
    assert there.store.recordings() == here.store.recordings()
    assert there.store.receipts() == here.store.receipts()
    assert [*there.store.each_approval()] == [*here.store.each_approval()]
    assert there.store.accesses()[:-1] == here.store.accesses()
    keep(there, recording(9))
    assert verify(there).problems == []


def test_it_comes_back_row_by_row(here: Archive, database: str, tmp_path: Path) -> None:
    chain = entries(tmp_path / "here" / "retention.db")
    rows = all_rows(tmp_path / "here" / "retention.db")
    moved_in(here, database, tmp_path / "there")
    moved(shared_archive(database, tmp_path / "there"), tmp_path / "back")
    assert entries(tmp_path / "back" / "retention.db")[: len(chain)] == chain
    after = all_rows(tmp_path / "back" / "retention.db")
    assert after.pop("accesses")[: len(rows["accesses"])] == rows.pop("accesses")
    assert after == rows
    assert verify(archive(tmp_path / "back")).problems == []


def test_nobody_writes_into_it_before_all_is_there(here: Archive, database: str, tmp_path: Path) -> None:
    with arriving(database, tmp_path / "there") as rows:
        rows.begin(Origin(str(here.store.path), here.store.head()))
    with shared_store(database, tmp_path / "there") as another:
        with pytest.raises(
            StoreError, match="rows are coming, and not all there; accepted: `sipagent migrate`"
        ):
            another.add_access(TRACE)
        assert another.accesses() == []


def test_nobody_writes_where_it_came_from(here: Archive, database: str, tmp_path: Path) -> None:
    moved_in(here, database, tmp_path / "there")
    with shared_store(database, tmp_path / "there") as connected:
        connected.add_access(TRACE)
        moved(shared_archive(database, tmp_path / "there"), tmp_path / "back")
        with pytest.raises(StoreError, match="its rows have moved to there; accepted: a configuration"):
            connected.add_access(TRACE)
        assert connected.recordings()


def test_the_guards_of_a_move_are_gone_after_it(here: Archive, database: str, tmp_path: Path) -> None:
    moved_in(here, database, tmp_path / "there")
    with shared_store(database, tmp_path / "there") as store:
        assert store.missing_guards() == []
        left = "SELECT tgname FROM pg_trigger WHERE tgname IN (?, ?)"
        assert store._read(left, [MOVED_AWAY.name, MOVING_IN.name]) == []
        store.add_access(TRACE)


def test_what_came_from_an_older_state_is_removed_first(here: Archive, database: str, tmp_path: Path) -> None:
    with arriving(database, tmp_path / "there") as rows:
        rows.begin(Origin(str(here.store.path), here.store.head()))
        for table in ("chain", "receipts", "approvals"):
            order = ("seq",) if table == "chain" else ("id",)
            from retention.rows.pages import Listing

            rows.take(table, [*here.store.each(Listing(table=table, order=order))])
    keep(here, recording(9))
    moved_in(here, database, tmp_path / "there")
    there = shared_archive(database, tmp_path / "there")
    assert there.store.missing_guards() == []
    assert verify(there).problems == []


def test_a_database_that_is_in_use_is_left_alone(here: Archive, database: str, tmp_path: Path) -> None:
    with shared_store(database, tmp_path / "there") as store:
        store.add_access(TRACE)
    with pytest.raises(MoveError, match="postgresql://there: has other rows; accepted: a database without"):
        moved_in(here, database, tmp_path / "there")


def test_one_that_a_command_has_looked_at_is_not_in_use(here: Archive, database: str, tmp_path: Path) -> None:
    """The first command makes the tables, and begins a chain, which nothing is told in."""
    shared_store(database, tmp_path / "there").close()
    head = here.store.head()
    moved_in(here, database, tmp_path / "there")
    assert shared_store(database, tmp_path / "there").hash_of(head.seq) == head.hash


def test_it_goes_on_where_the_connection_was_lost(
    here: Archive, postgres: Server, database: str, tmp_path: Path
) -> None:
    """The server ends it, as it does when it goes down: then the same command goes on."""
    cut = False

    def cutting(what: str, done: int, total: int) -> None:
        nonlocal cut
        if what == "recordings" and not cut:
            cut = True
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database.rpartition('/')[2]}'"
            )

    with arriving(database, tmp_path / "there") as rows:
        files = LocalFiles(
            tmp_path / "there" / "recordings", tmp_path / "there" / "vault", tmp_path / "there"
        )
        move(here, MoveTarget(name="there", rows=rows, files=files), TRACE, None, cutting)
    assert cut
    assert verify(shared_archive(database, tmp_path / "there")).problems == []

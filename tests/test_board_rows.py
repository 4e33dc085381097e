"""One text that hosts change in turn: a real PostgreSQL, with lines that fall silent, and a standby."""

from __future__ import annotations

import select
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retention.postgres.board_rows import TABLE, TURN_MS, BoardAway, BoardRows
from retention.postgres.schema import STEPS
from tests.postgres import LOCKED, PASSWORD, Server, database_of, primary
from tests.relay import relayed

SOON_S = 5.0
MARK, SEEN = "a-call-that-nobody-may-find", "a-row-that-is-logged"


def counted(text: str | None, now: float) -> tuple[str, list[str], int]:
    """One more than before; the number is told to all."""
    number = int(text or 0) + 1
    return str(number), [f"n{number}"], number


def count(rows: BoardRows, within_s: float = SOON_S) -> int:
    return rows.change(counted, time.monotonic() + within_s)


def hear(rows: BoardRows, count: int) -> list[str]:
    """So many words, which may take a moment to come."""
    heard = rows.heard()
    while len(heard) < count:
        assert select.select([rows], [], [], SOON_S)[0], heard
        heard += rows.heard()
    return heard


@pytest.fixture
def rows(database: str) -> Iterator[BoardRows]:
    rows = BoardRows(database)
    yield rows
    rows.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that may be killed."""
    with primary("127.0.0.9") as server:
        yield server


def test_what_one_has_written_the_next_one_reads_and_both_are_told(database: str, rows: BoardRows) -> None:
    other = BoardRows(database)
    assert [count(rows), count(other), count(rows)] == [1, 2, 3]
    assert hear(rows, 3) == ["n1", "n2", "n3"]
    assert count(other) == 4
    assert hear(other, 4) == ["n1", "n2", "n3", "n4"] and hear(rows, 1) == ["n4"]
    other.close()


def test_the_tables_of_the_shared_database_hold_it_too() -> None:
    assert TABLE in STEPS[0].statements


def test_the_clock_is_the_database_s(rows: BoardRows) -> None:
    seen: list[float] = []
    for _ in range(2):
        seen.append(rows.change(lambda text, now: ("", [], now), time.monotonic() + SOON_S))
    assert abs(seen[0] - time.time()) < SOON_S and seen[0] < seen[1]


def test_many_words_come_whole_and_none_is_no_word(rows: BoardRows) -> None:
    words = [f"w{number:04}" for number in range(5000)]
    rows.change(lambda text, now: ("x'\\\"é", words, None), time.monotonic() + SOON_S)
    assert rows.change(lambda text, now: ("", [], text), time.monotonic() + SOON_S) == "x'\\\"é"
    assert hear(rows, len(words)) == words


def test_all_turns_count_whoever_takes_them(database: str, rows: BoardRows) -> None:
    def hammer() -> None:
        own = BoardRows(database)
        for _ in range(50):
            count(own)
        own.close()

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert count(rows) == 151


def test_what_fails_to_decide_changes_nothing(rows: BoardRows) -> None:
    def fails(text: str | None, now: float) -> tuple[str, list[str], None]:
        raise LookupError

    count(rows)
    with pytest.raises(LookupError):
        rows.change(fails, time.monotonic() + SOON_S)
    assert count(rows) == 2


def test_who_stands_still_loses_its_turn(database: str, rows: BoardRows) -> None:
    """As a machine does that is paused, or cut off, in the midst of it."""
    deciding, may_go_on = threading.Event(), threading.Event()
    lost: list[BoardAway] = []

    def slowly(text: str | None, now: float) -> tuple[str, list[str], None]:
        deciding.set()
        may_go_on.wait()
        return "lost", [], None

    def stand_still() -> None:
        other = BoardRows(database)
        try:
            other.change(slowly, time.monotonic() + 60)
        except BoardAway as away:
            lost.append(away)
        other.close()

    still = threading.Thread(target=stand_still)
    still.start()
    deciding.wait()
    before = time.monotonic()
    assert count(rows, 0.5) == 1
    assert time.monotonic() - before < TURN_MS / 1000 + 0.2
    may_go_on.set()
    still.join()
    assert count(rows) == 2 and "idle-in-transaction" in str(lost[0])


def test_nobody_waits_longer_than_he_says(postgres: Server, database: str) -> None:
    with relayed((postgres.host, postgres.port)) as line:
        address, port = line.address
        url = database.replace(f"{postgres.host}:{postgres.port}", f"{address}:{port}")
        rows = BoardRows(url)
        assert count(rows) == 1
        line.stall()
        before = time.monotonic()
        with pytest.raises(BoardAway, match="no answer in time"):
            count(rows, 0.2)
        assert 0.2 <= time.monotonic() - before < 0.4
        rows.close()
        with pytest.raises(BoardAway):
            BoardRows(f"{url}?connect_timeout=2")
        line.cut()
        with pytest.raises(BoardAway, match="refused"):
            BoardRows(url)


def test_a_long_transaction_elsewhere_makes_no_turn_slower(postgres: Server, database: str) -> None:
    """It keeps dead rows from being removed: found are those that live, however many there are."""

    rows = BoardRows(database)
    count(rows)

    def pages() -> int:
        """That are read to find the latest row, after 500 more turns."""
        for _ in range(500):
            count(rows)
        plan = postgres.execute(
            "EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM board_state ORDER BY revision DESC LIMIT 1",
            database_of(database),
        )
        return next(int(line.rsplit("=", 1)[1]) for (line,) in plan if "shared hit" in line)

    with postgres.connect(database_of(database)) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM board_state")
        assert max(pages() for _ in range(3)) < 50  # of 1500 dead rows
        reader.execute("ROLLBACK")
    assert postgres.execute("SELECT count(*) FROM board_state", database_of(database)) == [(1,)]
    rows.close()


def test_a_password_is_taken_and_told_to_nobody(postgres: Server, database: str) -> None:
    url = postgres.conninfo(database_of(database), LOCKED)
    rows = BoardRows(url, PASSWORD)
    assert count(rows) == 1
    rows.close()
    with pytest.raises(BoardAway) as raised:
        BoardRows(url, "wrong:" + PASSWORD)
    assert PASSWORD not in str(raised.value) and "password" in str(raised.value)


def test_a_crash_empties_it_and_no_log_or_copy_ever_held_it(server: Server) -> None:
    """Nor does a standby; where it becomes the primary, it begins anew."""
    url = server.database()
    rows = BoardRows(url)
    with server.standby("127.0.0.10") as standby:
        for _ in range(3):
            rows.change(lambda text, now: (MARK, [], None), time.monotonic() + SOON_S)
        server.execute(f"CREATE TABLE logged AS SELECT '{SEEN}'", database_of(url))
        server.checkpoint()
        standby.wait_replayed(server)
        backup = server.base_backup()
        for folder in (server.data / "pg_wal", standby.data, backup):
            assert holding(SEEN, folder) and holding(MARK, folder) == []
        shutil.rmtree(backup)
        elsewhere = url.replace(f"{server.host}:{server.port}", f"{standby.host}:{standby.port}")
        with pytest.raises(BoardAway, match=r"read-only|recovery"):
            BoardRows(elsewhere)
        server.kill()
        with pytest.raises(BoardAway):
            count(rows)
        rows.close()
        standby.promote()
        both = url.replace(
            f"{server.host}:{server.port}", f"{server.host}:{server.port},{standby.host}:{standby.port}"
        )
        after = BoardRows(both)
        assert count(after) == 1
        after.close()
    server.start()
    again = BoardRows(url)
    assert count(again) == 1
    again.close()


def holding(mark: str, folder: Path) -> list[str]:
    """The files that hold it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if mark.encode() in path.read_bytes()]

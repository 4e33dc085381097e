"""The board on a real PostgreSQL: one text that hosts change in turn, and the way of a host to it."""

from __future__ import annotations

import select
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from retention.postgres.board_rows import CONNECT_S, BoardAway, BoardRows
from sipagent.agent.board import AskAgain, Board, BoardAnswer, OperatorsOffered, Seek
from sipagent.agent.operators import LocalBoardClient
from sipagent.service.cluster import HostBoard
from sipagent.service.metrics import Metrics
from sipagent.service.supervisor import Sharing
from tests.configured import SMALL, read, with_keys
from tests.driving import RULES, Stage
from tests.postgres import LOCKED, PASSWORD, Server, database_of, primary
from tests.relay import Relay, relayed
from tests.tapping import PATIENCE_S, wait_for
from tests.test_metrics import Service

MARK, SEEN = "a-call-that-nobody-may-find", "a-row-that-is-logged"


def counted(text: str | None, now: float) -> tuple[str, list[str], int]:
    """One more than before; the number is told to all."""
    number = int(text or 0) + 1
    return str(number), [f"n{number}"], number


def count(rows: BoardRows, within_s: float = PATIENCE_S) -> int:
    return rows.change(counted, time.monotonic() + within_s)


def hear(rows: BoardRows, count: int) -> list[str]:
    """So many words, which may take a moment to come."""
    heard = rows.heard()
    while len(heard) < count:
        assert select.select([rows], [], [], PATIENCE_S)[0], heard
        heard += rows.heard()
    return heard


def through(line: Relay, database: str, postgres: Server) -> str:
    """The database's URL by way of a line that can be cut."""
    return database.replace(f"{postgres.host}:{postgres.port}", "{}:{}".format(*line.address))


@pytest.fixture
def rows(database: str) -> Iterator[BoardRows]:
    rows = BoardRows(database)
    yield rows
    rows.close()


# --- the text ---


def test_what_one_has_written_the_next_one_reads_and_both_are_told(database: str, rows: BoardRows) -> None:
    other = BoardRows(database)
    assert [count(rows), count(other), count(rows)] == [1, 2, 3]
    assert hear(rows, 3) == ["n1", "n2", "n3"]
    assert count(other) == 4
    assert hear(other, 4) == ["n1", "n2", "n3", "n4"] and hear(rows, 1) == ["n4"]
    other.close()


def test_the_clock_is_the_database_s_and_many_words_come_whole(rows: BoardRows) -> None:
    until = time.monotonic() + PATIENCE_S
    seen = [rows.change(lambda text, now: ("", [], now), until) for _ in range(2)]
    assert abs(seen[0] - time.time()) < PATIENCE_S and seen[0] < seen[1]
    words = [f"w{number:04}" for number in range(5000)]
    rows.change(lambda text, now: ("x'\\\"é", words, None), until)
    assert rows.change(lambda text, now: ("", [], text), until) == "x'\\\"é"
    assert hear(rows, len(words)) == words


def test_all_turns_count_whoever_takes_them(database: str, rows: BoardRows) -> None:
    def hammer(_: int) -> None:
        own = BoardRows(database)
        for _ in range(50):
            count(own)
        own.close()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(hammer, range(3)))
    assert count(rows) == 151


def test_who_stands_still_loses_its_turn(database: str) -> None:
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
            other.change(slowly, time.monotonic() + PATIENCE_S)
        except BoardAway as away:
            lost.append(away)
        other.close()

    still = threading.Thread(target=stand_still)
    still.start()
    deciding.wait()
    while True:  # on a busy machine the other one's turn may be lost later than ours is given up
        rows = BoardRows(database)
        try:
            assert count(rows) == 1
            break
        except BoardAway:
            rows.close()
    may_go_on.set()
    still.join()
    assert count(rows) == 2 and "idle-in-transaction" in str(lost[0])
    rows.close()


def test_nobody_waits_longer_than_he_says(postgres: Server, database: str) -> None:
    with relayed((postgres.host, postgres.port)) as line:
        rows = BoardRows(url := through(line, database, postgres))
        assert rows._connection.info.get_parameters()["connect_timeout"] == str(CONNECT_S)
        assert count(rows) == 1
        line.stall()
        with pytest.raises(BoardAway, match=r"no answer in 0\.\d+ s"):
            count(rows, 0.2)
        rows.close()
        line.cut()
        with pytest.raises(BoardAway, match="refused"):
            BoardRows(url)


def test_a_password_is_taken_and_told_to_nobody(postgres: Server, database: str) -> None:
    url = postgres.conninfo(database_of(database), LOCKED)
    rows = BoardRows(url, PASSWORD)
    assert count(rows) == 1
    rows.close()
    with pytest.raises(BoardAway) as raised:
        BoardRows(url, "wrong:" + PASSWORD)
    assert PASSWORD not in str(raised.value) and "password" in str(raised.value)


def test_a_crash_empties_it_and_no_log_or_copy_ever_held_it() -> None:
    """Nor does a standby; where it becomes the primary, it begins anew."""
    with primary("127.0.0.9") as server, server.standby("127.0.0.10") as standby:
        url, at, other = server.database(), *(f"{one.host}:{one.port}" for one in (server, standby))
        rows = BoardRows(url)
        for _ in range(3):
            rows.change(lambda text, now: (MARK, [], None), time.monotonic() + PATIENCE_S)
        server.execute(f"CREATE TABLE logged AS SELECT '{SEEN}'", database_of(url))
        server.checkpoint()
        standby.wait_replayed(server)
        backup = server.base_backup()
        for folder in (server.data / "pg_wal", standby.data, backup):
            assert holding(SEEN, folder) and holding(MARK, folder) == []
        shutil.rmtree(backup)
        with pytest.raises(BoardAway, match=r"read-only|recovery"):
            BoardRows(url.replace(at, other))
        server.kill()
        with pytest.raises(BoardAway):
            count(rows)
        rows.close()
        standby.promote()
        after = BoardRows(url.replace(at, f"{at},{other}"))
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


# --- a host's board: its own, or that of all, as the configuration says ---


class Host:
    """A board that workers of a host share: what is answered is in `said`."""

    def __init__(self, url: str, folder: Path, name: str, *operators: str) -> None:
        text = with_keys("cluster", f'host = "{name}"', with_keys("retention", f'database = "{url}"', SMALL))
        config = read(text, folder / "config.toml")
        self.board = HostBoard(config, LocalBoardClient(Board(operators)))
        self.heard = threading.Event()
        self.board.wake(self.heard.set)
        self.said: list[tuple[int, str, str]] = []  # to which worker, the call, who is offered
        self.again: list[str] = []  # calls that may ask again
        self.sharing = Sharing(RULES, self.board.client, self._say)

    def _say(self, index: int, answer: BoardAnswer) -> None:
        if isinstance(answer, AskAgain):
            self.again.append(answer.call)
        else:
            assert isinstance(answer, OperatorsOffered)
            self.said.append((index, answer.call, "".join(answer.uris)))

    @contextmanager
    def shares(self) -> Iterator[Host]:
        with self.board:
            yield self

    def seeks(self, call: str, worker: int = 0) -> str:
        """Who is offered to a worker's call."""
        before = len(self.said)
        self.sharing.heard(worker, Seek(call, (), 1), time.monotonic())
        self.until(lambda: len(self.said) > before)
        assert self.said[-1][:2] == (worker, call)
        return self.said[-1][2]

    def until(self, happened: Callable[[], object]) -> None:
        """What is due is done meanwhile."""
        until = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < until, (self.said, self.again)
            due = self.sharing.due()
            self.heard.wait(max(0.0, min(0.1, due - time.monotonic())) if due is not None else 0.1)
            self.heard.clear()
            self.sharing.tick(time.monotonic())


def test_a_host_by_itself_has_its_own_board(tmp_path: Path, stage: Stage) -> None:
    own = LocalBoardClient(Board(("A",)))
    with HostBoard(read(SMALL, tmp_path / "config.toml"), own) as board:
        assert board.client is own
        assert (board.shared, board.losses, board.lacks()) == (None, 0, [])
    assert not any("board" in name for name, _ in Service(stage, tmp_path).figures())


def test_workers_of_two_hosts_are_offered_an_operator_each(database: str, tmp_path: Path) -> None:
    """One whose caller waits hears when a worker of the other dies, and when the other's service ends. Each
    tells anew what a text does not know."""
    with Host(database, tmp_path, "b", "A", "B", "C").shares() as there:
        with Host(database, tmp_path, "a", "A", "B", "C").shares() as here:
            assert [here.seeks("1", worker=3), there.seeks("2", worker=5), here.seeks("4")] == ["A", "B", "C"]
            assert there.seeks("3", worker=5) == ""
            there.again.clear()
            here.sharing.gone(3, time.monotonic())
            there.until(lambda: there.again == ["3"])
            assert (there.seeks("3", worker=5), there.seeks("6")) == ("A", "")
            assert (here.board.shared, here.board.lacks()) == (True, [])
            there.again.clear()
        there.until(lambda: there.again == ["6"])
        assert there.seeks("6") == "C"
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("DELETE FROM board_state")
        assert there.seeks("7") == ""
    with psycopg.connect(database, autocommit=True) as other:
        sessions = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        wait_for(lambda: not other.execute(sessions).rowcount)


def test_a_board_that_is_away_is_said_by_log_status_and_figures(
    postgres: Server, database: str, tmp_path: Path, stage: Stage
) -> None:
    with relayed((postgres.host, postgres.port)) as line:
        line.cut()
        host = Host(through(line, database, postgres), tmp_path, "a", "A", "B")
        service = Service(stage, tmp_path)
        service.metrics = Metrics(stage.agent, service.purging, service.watch, board=host.board)
        with host.shares(), capture_logs() as logs:
            assert host.seeks("1") == "A"
            assert [one["event"] for one in logs] == ["alert"] and "Connection refused" in logs[0]["reason"]
            assert host.board.lacks() == ["the shared board of operators is away"]
            assert (service["sipagent_board_shared"], service["sipagent_board_losses_total"]) == (0, 1)
            line.flow()
            host.until(lambda: host.board.shared)
            assert logs[-1]["event"] == "board_shared" and host.board.lacks() == []
            assert service["sipagent_board_shared"] == 1


def test_two_agents_with_one_name_are_told_of(database: str, tmp_path: Path) -> None:
    """The one that comes later has the name; the first one goes on alone, and says why."""
    with Host(database, tmp_path, "a", "A", "B").shares() as first:
        assert first.seeks("1") == "A"
        with Host(database, tmp_path, "a", "A", "B").shares() as second, capture_logs() as logs:
            second.seeks("1")
            assert first.seeks("2") == "B"
            assert "another agent has the name of this host" in logs[-1]["reason"]

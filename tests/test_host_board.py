"""The operators' board of a host: its own, or that of all, as the configuration says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structlog.testing import capture_logs

from sipagent.agent.board import AskAgain, Board, BoardAnswer, BoardHeard, OperatorsOffered, Seek
from sipagent.agent.operators import LocalBoardClient
from sipagent.config.load import Config
from sipagent.service.cluster import HostBoard
from sipagent.service.control import Wake
from sipagent.service.metrics import Metrics
from sipagent.service.supervisor import Sharing
from tests.configured import SMALL, read, with_keys
from tests.driving import RULES, Stage
from tests.postgres import Server
from tests.relay import relayed
from tests.test_metrics import Service

SOON_S = 10.0


def configured(url: str, folder: Path, name: str = "a") -> Config:
    text = with_keys("retention", f'database = "{url}"', SMALL)
    return read(with_keys("cluster", f'host = "{name}"', text), folder / "config.toml")


class Host:
    """A board of its own thread: what is answered is in `said`."""

    def __init__(self, config: Config, *operators: str) -> None:
        self.board = HostBoard(config, LocalBoardClient(Board(operators)))
        self.heard = threading.Event()
        self.board.wake(self.heard.set)
        self.said: list[tuple[int, BoardAnswer]] = []
        self.again: list[str] = []  # calls that may ask again
        self.sharing = Sharing(RULES, self.board.client, self._say)

    def _say(self, index: int, answer: BoardAnswer) -> None:
        if isinstance(answer, AskAgain):
            self.again.append(answer.call)
        else:
            self.said.append((index, answer))

    @contextmanager
    def shares(self) -> Iterator[Host]:
        with self.board:
            yield self

    def until(self, wanted: int, again: int = 0) -> None:
        """Until so much has been answered, and so many calls may ask again; what is due is done."""
        until = time.monotonic() + SOON_S
        while len(self.said) < wanted or len(self.again) < again:
            assert time.monotonic() < until, (self.said, self.again)
            due = self.sharing.due()
            self.heard.wait(max(0.0, min(0.1, due - time.monotonic())) if due is not None else 0.1)
            self.heard.clear()
            self.sharing.tick(time.monotonic())


def test_a_host_by_itself_has_its_own_board(tmp_path: Path) -> None:
    own = LocalBoardClient(Board(("A",)))
    with HostBoard(read(SMALL, tmp_path / "config.toml"), own) as board:
        assert board.client is own
        assert (board.shared, board.losses, board.lacks()) == (None, 0, [])


def test_workers_of_two_hosts_are_offered_an_operator_each(database: str, tmp_path: Path) -> None:
    with (
        Host(configured(database, tmp_path, "a"), "A", "B").shares() as here,
        Host(configured(database, tmp_path, "b"), "A", "B").shares() as there,
    ):
        here.sharing.heard(3, Seek("1", (), 1), time.monotonic())
        here.until(1)
        there.sharing.heard(5, Seek("2", (), 1), time.monotonic())
        there.until(1)
        assert (here.said, there.said) == (
            [(3, OperatorsOffered("1", ("A",)))],
            [(5, OperatorsOffered("2", ("B",)))],
        )
        there.sharing.heard(5, Seek("3", (), 1), time.monotonic())
        there.until(2)
        there.again.clear()
        here.sharing.gone(3, time.monotonic())
        there.until(2, again=1)
        there.sharing.heard(5, Seek("3", (), 1), time.monotonic())
        there.until(3)
        assert there.said[1:] == [(5, OperatorsOffered("3", ())), (5, OperatorsOffered("3", ("A",)))]
        assert (here.board.shared, here.board.lacks()) == (True, [])


def test_a_board_that_is_away_is_said_by_log_status_and_figures(
    postgres: Server, database: str, tmp_path: Path, stage: Stage
) -> None:
    with relayed((postgres.host, postgres.port)) as line:
        address, port = line.address
        url = database.replace(f"{postgres.host}:{postgres.port}", f"{address}:{port}")
        line.cut()
        host = Host(configured(url, tmp_path), "A", "B")
        service = Service(stage, tmp_path)
        service.metrics = Metrics(stage.agent, service.purging, service.watch, board=host.board)
        with host.shares(), capture_logs() as logs:
            host.sharing.heard(0, Seek("1", (), 1), time.monotonic())
            host.until(1)
            assert host.said == [(0, OperatorsOffered("1", ("A",)))]
            assert [one["event"] for one in logs] == ["alert"]
            assert "Connection refused" in logs[0]["reason"]
            assert host.board.lacks() == ["the shared board of operators is away"]
            assert (service["sipagent_board_shared"], service["sipagent_board_losses_total"]) == (0, 1)
            line.flow()
            host.sharing.heard(0, Seek("2", (), 1), time.monotonic())
            while host.board.shared is not True:
                assert host.heard.wait(SOON_S)
                host.heard.clear()
                host.sharing.tick(time.monotonic())
            assert logs[-1]["event"] == "board_shared" and host.board.lacks() == []
            assert service["sipagent_board_shared"] == 1


def test_of_a_single_host_there_is_no_figure(stage: Stage, tmp_path: Path) -> None:
    assert not any("board" in name for name, _ in Service(stage, tmp_path).figures())


def test_the_agent_looks_at_its_board_when_it_is_told_to(stage: Stage) -> None:
    stage.agent.post_and_wake(BoardHeard())
    stage.turn()
    assert stage.alerts == []


def test_what_waits_for_signals_can_be_woken_from_another_thread() -> None:
    wake = Wake()
    try:
        for _ in range(3):
            wake.wake()
        wake.clear()
    finally:
        wake.close()
    wake.wake()  # too late: nobody waits


def test_two_agents_with_one_name_are_told_of(database: str, tmp_path: Path) -> None:
    """The one that comes later has the name; the first one goes on alone, and says why."""
    config = configured(database, tmp_path)
    with Host(config, "A", "B").shares() as first:
        first.sharing.heard(0, Seek("1", (), 1), time.monotonic())
        first.until(1)
        with Host(config, "A", "B").shares() as second, capture_logs() as logs:
            second.sharing.heard(0, Seek("1", (), 1), time.monotonic())
            second.until(1)
            first.sharing.heard(0, Seek("2", (), 1), time.monotonic())
            first.until(2)
            assert "another agent has the name of this host" in logs[-1]["reason"]
            assert first.said[1] == (0, OperatorsOffered("2", ("B",)))


def test_a_service_that_ends_takes_leave(database: str, tmp_path: Path) -> None:
    with Host(configured(database, tmp_path, "b"), "A").shares() as other:
        with Host(configured(database, tmp_path, "a"), "A").shares() as ending:
            ending.sharing.heard(0, Seek("1", (), 1), time.monotonic())
            ending.until(1)
            other.sharing.heard(0, Seek("2", (), 1), time.monotonic())
            other.until(1)
            assert other.said == [(0, OperatorsOffered("2", ()))]
            other.again.clear()
        other.until(1, again=1)
        other.sharing.heard(0, Seek("2", (), 1), time.monotonic())
        other.until(2)
        assert other.said[-1] == (0, OperatorsOffered("2", ("A",)))

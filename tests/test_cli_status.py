"""`sipagent status`: a running agent, asked by its figures."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipagent.config.load import HostPort
from sipagent.service.metrics import serving
from sipagent.service.storing import StoringFigures
from tests.configured import with_keys
from tests.driving import Stage, staged
from tests.office import CONFIG, Office, make_office
from tests.test_metrics import Service, SharedOrNot, one_turn


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    folder = tmp_path / "office"
    folder.mkdir()
    return make_office(folder, capsys)


@contextmanager
def asked(office: Office, service: Service) -> Iterator[None]:
    """The office's configuration leads to the service."""
    with serving(HostPort("127.0.0.1", 0), service.metrics) as (_, port):
        leads_to(office, port)
        yield


def leads_to(office: Office, port: int) -> None:
    config = with_keys("metrics", f'listen = "127.0.0.1:{port}"', CONFIG)
    (office.folder / "config.toml").write_text(config)


def test_it_says_how_the_agent_is(office: Office, stage: Stage, tmp_path: Path) -> None:
    service = Service(stage, tmp_path)
    service.watch._try()
    one_turn(service.purging)
    stage.invite()
    with asked(office, service):
        said = json.loads(office.run("status", "--json").out)
        shown = office.run("status")
    assert said["calls"] == 1
    assert said["calls_limit"] == stage.agent.limit
    assert said["registered"] is None
    assert said["recordings"] == said["held"] == said["overdue"] == said["unerased"] == 0
    assert said["purge_suspended"] == 0
    assert said["last_purge"].endswith("Z")
    assert said["free_bytes"] > 0
    assert shown.code == 0
    assert "1 of" in shown.out


def test_before_the_first_look_and_purge_it_says_what_it_knows(
    office: Office, stage: Stage, tmp_path: Path
) -> None:
    with asked(office, Service(stage, tmp_path)):
        said = json.loads(office.run("status", "--json").out)
        shown = office.run("status")
    assert said["recordings"] is said["last_purge"] is said["free_bytes"] is None
    assert shown.code == 0


@pytest.mark.parametrize(("shared", "shown"), [(True, "shared by all hosts"), (False, "away; this host")])
def test_of_several_hosts_it_says_if_their_board_is_one(
    office: Office, stage: Stage, tmp_path: Path, shared: bool, shown: str
) -> None:
    service = Service(stage, tmp_path)
    assert service.metrics._board is None
    with asked(office, service):
        assert json.loads(office.run("status", "--json").out)["board_shared"] is None
        assert "board" not in office.run("status").out
    service.metrics._board = SharedOrNot(shared)
    with asked(office, service):
        assert json.loads(office.run("status", "--json").out)["board_shared"] is shared
        assert shown in office.run("status").out


def test_of_a_store_of_objects_it_says_what_waits_for_it(
    office: Office, stage: Stage, tmp_path: Path
) -> None:
    class Stores:
        figures = StoringFigures(away=True, behind_s=7.2, waiting=64_000, unremoved=2)

    service = Service(stage, tmp_path)
    with asked(office, service):
        assert json.loads(office.run("status", "--json").out)["object_store_up"] is None
        assert "object store" not in office.run("status").out
    service.metrics._stored = Stores()  # type: ignore[assignment]
    with asked(office, service):
        said = json.loads(office.run("status", "--json").out)
        shown = office.run("status").out
    names = ("object_store_up", "uploads_waiting_bytes", "uploads_behind_s", "removals_pending")
    assert [said[name] for name in names] == [0, 64_000, 7, 2]
    assert "64.0 kB, the first for 7 s" in shown and "does not answer" in shown


def test_who_is_not_registered_is_a_failure(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        staged(tmp_path, monkeypatch, registers=True) as stage,
        asked(office, Service(stage, tmp_path)),
    ):
        before = office.run("status", "--json")
    assert before.code == 1
    assert json.loads(before.out)["registered"] is False


def test_without_figures_it_says_which_key(office: Office) -> None:
    assert "metrics.listen is absent" in office.fails(1, "status")


def test_who_does_not_answer_is_named(office: Office) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        leads_to(office, port)
        assert f"127.0.0.1:{port}: the agent does not answer" in office.fails(1, "status")


def test_somebody_else_is_not_taken_for_the_agent(office: Office) -> None:
    class Nobody:
        def collect(self) -> list[object]:
            return []

    with serving(HostPort("127.0.0.1", 0), Nobody()) as (_, port):  # type: ignore[arg-type]
        leads_to(office, port)
        assert "who answers is not the agent" in office.fails(1, "status")

"""Wherever it is started, nothing of that folder is imported: by no process, however it is installed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.configured import init_examples
from tests.conftest import AgentFactory
from tests.live.test_registering import registering
from tests.peers.agent import write_prompts
from tests.peers.installed import PATIENCE_S, Installed, hostile, installed, said, said_in
from tests.peers.kamailio import Kamailio
from tests.peers.process import Child

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", params=["editable", "wheel"])
def ours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return installed(tmp_path_factory.mktemp("installed"), editable=request.param == "editable")


def folder_named(name: str, tmp_path: Path) -> Path:
    """The folder to start in, made where it has to be."""
    if name == "root":
        return Path("/")
    folder = tmp_path / name
    if name == "init":
        init_examples(folder, None)
    elif name == "taken":  # by folders without code, which still are packages to Python
        (folder / "media").mkdir(parents=True)
        (folder / "json.py").write_text("raise RuntimeError('the current folder is imported')\n")
    else:
        hostile(folder)
    return folder


def run(ours: Installed, folder: Path, *words: str | Path, code: int = 0) -> str:
    return said(ours.program, *words, folder=folder, environment={**os.environ, "PYTHONPATH": ""}, code=code)


def test_it_is_this_installation_that_runs(ours: Installed) -> None:
    asked = [str(ours.python), "-P", "-c", "import sipagent, media; print(sipagent.__file__, media.__file__)"]
    paths = subprocess.run(asked, cwd="/", env={}, capture_output=True, text=True, check=True).stdout
    assert all(Path(path).is_relative_to(ours.packages) for path in paths.split())


@pytest.mark.parametrize("where", ["root", "init", "taken", "hostile"])
def test_all_processes_of_a_service(
    ours: Installed, where: str, tmp_path: Path, registrar: Kamailio, agent_factory: AgentFactory
) -> None:
    """Supervisor, the server that forks, resource tracker, workers, detector, account, Kamailio."""
    registrar.start()
    agent = registering(tmp_path, registrar, agent_factory, start=False)
    agent.rewrite(refusal={"engine": "embedding"})
    agent.program, agent.search_path = (ours.program,), ""
    agent.started_in = folder_named(where, tmp_path)
    agent.start(wait=None)
    agent.wait_for("ready", PATIENCE_S)
    started = {e["name"] for e in agent.log_events if e.get("event") == "child_started"}
    assert started == {"worker-0", "worker-1", "detector", "registrar"}
    assert agent.stop() == 0
    assert said_in(tmp_path / f"{where}.imported") == []


def test_commands(ours: Installed, tmp_path: Path) -> None:
    """`list` and `check` with its Kamailio, which is started for a moment, and what asks an engine."""
    config = tmp_path / "service" / "config.toml"
    init_examples(config.parent, None)
    write_prompts(config.parent / "prompts")
    config.write_text(config.read_text().replace("calls = 1 ", "calls = 3 "))
    folder = folder_named("hostile", tmp_path)
    assert "No recording" in run(ours, folder, "--config", config, "list")
    assert "kamailio" in run(ours, folder, "--config", config, "check")
    assert said_in(tmp_path / "hostile.imported") == []


def test_the_demo(ours: Installed, tmp_path: Path) -> None:
    """Its agent is a process of its own."""
    folder = folder_named("hostile", tmp_path)
    demo = Child([ours.program, "demo"], folder, env={"PYTHONPATH": ""})
    demo.wait_line(lambda line: "the agent answers" in line, PATIENCE_S, "call")
    demo.signal(signal.SIGINT)
    demo.wait(PATIENCE_S)
    assert said_in(tmp_path / "hostile.imported") == []

"""The program as users install it: by the wheel, with what the lock names and nothing else, or editable.

Wherever it is started, nothing of that folder is imported, by any of its processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from sipagent.cli.main import cli
from tests.configured import init_examples
from tests.conftest import AgentFactory
from tests.live.test_trunk import registering
from tests.peers.agent import write_prompts
from tests.peers.installed import PATIENCE_S, Installed, hostile, installed, said, said_in
from tests.peers.kamailio import Kamailio
from tests.peers.process import Child, free_ports
from tests.test_structure import ROOT, tracked
from tests.test_supply import locked

pytestmark = pytest.mark.live

WEB = ROOT / "sipagent/web"
ANSWERS = """\
[service]
name = "Allô Mairie"
controller = "Commune de Laon"
controller_contact = "mairie@laon.fr"
dpo_contact = "dpo@laon.fr"
[trunk]
listen = "127.0.0.1:{port}"
rtp_ports = "{rtp}-{last_rtp}"
allowed_sources = ["127.0.0.1/32"]
[operators]
extensions = ["sip:201@127.0.0.1:5070"]
[recording]
new_key = true
"""
# of modules that are for an extra, and say so
OPTIONAL = {"G722", "ctranslate2", "jax", "optax", "py_nanotts", "pyworld", "rfc3161_client", "scipy", "vosk"}
IMPORTS = """\
import importlib, json, pkgutil
lacking = {}
for package in ("sipagent", "media", "retention", "prompts"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if module.name.rpartition(".")[2] != "__main__":
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as absent:
                lacking[module.name] = absent.name
print(json.dumps(lacking))
"""


# --- the wheel, and what the lock names ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    names = [name for name in locked() if name != "pip"]
    return installed(tmp_path_factory.mktemp("wheel"), editable=False, beside=names)


def run(*words: str | Path, stdin: str = "") -> str:
    bare = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return said(*words, folder=Path("/"), environment=bare, stdin=stdin)


def test_the_wheel_has_all_that_it_asks_for_and_every_part(wheel: Installed) -> None:
    """Modules find what they import; commands, templates, style, scripts and library are as they are here."""
    asked = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    there = {canonicalize_name(name) for name in run(wheel.python, "-I", "-c", asked).split()}
    assert there == {*locked(), "sipagent"} - {"pip"}
    lacking: dict[str, str] = json.loads(run(wheel.python, "-I", "-c", IMPORTS))
    assert {name.partition(".")[0] for name in lacking.values()} <= OPTIONAL, lacking
    assert all(module.startswith("media.training.") for module in lacking), lacking
    help = run(wheel.program, "--help")
    assert all(f"\n  {command} " in help for command in cli.commands)
    page = Path(run(wheel.python, "-I", "-c", "import sipagent.web as w; print(w.__path__[0])").strip())
    files = [path for path in tracked() if path.is_relative_to(WEB) and path.suffix not in (".py", ".md")]
    assert {path.parent.name for path in files} >= {"static", "templates"}
    for path in files:
        assert (page / path.relative_to(WEB)).read_bytes() == path.read_bytes(), path


def test_init_and_run(wheel: Installed, tmp_path: Path, agent_factory: AgentFactory) -> None:
    """No checkout is needed for a configuration, for its prompts, and for a service that takes calls."""
    folder = tmp_path / "service"
    config, port, rtp = folder / "config.toml", free_ports(2), free_ports(100)
    answers = ANSWERS.format(port=port, rtp=rtp, last_rtp=rtp + 99)
    run(wheel.program, "init", "--no-passphrase", "--answers", "-", folder, stdin=answers)
    assert (folder / "prompts/fr/notice.wav").stat().st_size > 100_000
    assert "Allô Mairie" in config.read_text(encoding="utf-8")
    assert "No recording" in run(wheel.program, "--config", config, "list")
    agent = agent_factory(start=False)
    agent.config, agent.program, agent.search_path = config, (wheel.program,), ""
    agent.started_in = Path("/")
    agent.start(wait=None)
    agent.wait_for("ready", PATIENCE_S)
    assert agent.stop() == 0


# --- the folder in which it is started ---


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


def test_commands_and_the_demo(ours: Installed, tmp_path: Path) -> None:
    """`list` and `check` with its Kamailio, which is started for a moment, and what asks an engine."""
    asked = [str(ours.python), "-P", "-c", "import sipagent, media; print(sipagent.__file__, media.__file__)"]
    paths = subprocess.run(asked, cwd="/", env={}, capture_output=True, text=True, check=True).stdout
    assert all(Path(path).is_relative_to(ours.packages) for path in paths.split())
    config = tmp_path / "service" / "config.toml"
    init_examples(config.parent, None)
    write_prompts(config.parent / "prompts")
    config.write_text(config.read_text().replace("calls = 1 ", "calls = 3 "))
    folder, found = folder_named("hostile", tmp_path), {**os.environ, "PYTHONPATH": ""}
    for command, shows in (("list", "No recording"), ("check", "kamailio")):
        assert shows in said(ours.program, "--config", config, command, folder=folder, environment=found)
    demo = Child([ours.program, "demo"], folder, env={"PYTHONPATH": ""})
    demo.wait_line(lambda line: "the agent answers" in line, PATIENCE_S, "call")
    demo.signal(signal.SIGINT)
    demo.wait(PATIENCE_S)
    assert said_in(tmp_path / "hostile.imported") == []

"""The wheel in an environment with what the lock names and nothing else, used from `/`: the whole program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from sipagent.cli.main import cli
from tests.conftest import AgentFactory
from tests.peers.installed import PATIENCE_S, Installed, installed, said
from tests.peers.process import free_ports
from tests.test_lock import locked
from tests.test_structure import ROOT, tracked

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


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    names = [name for name in locked() if name != "pip"]
    return installed(tmp_path_factory.mktemp("wheel"), editable=False, beside=names)


def run(*words: str | Path, stdin: str = "") -> str:
    bare = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return said(*words, folder=Path("/"), environment=bare, stdin=stdin)


def test_the_lock_has_all_that_the_wheel_asks_for(ours: Installed) -> None:
    asked = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    there = {canonicalize_name(name) for name in run(ours.python, "-I", "-c", asked).split()}
    assert there == {*locked(), "sipagent"} - {"pip"}


def test_every_module_finds_what_it_imports(ours: Installed) -> None:
    lacking: dict[str, str] = json.loads(run(ours.python, "-I", "-c", IMPORTS))
    assert {name.partition(".")[0] for name in lacking.values()} <= OPTIONAL, lacking
    assert all(module.startswith("media.training.") for module in lacking), lacking


def test_every_command_is_there(ours: Installed) -> None:
    help = run(ours.program, "--help")
    assert all(f"\n  {command} " in help for command in cli.commands)


def test_all_that_the_page_is_made_of_is_there(ours: Installed) -> None:
    """Templates, style, scripts and the library that they bring along, as they are here."""
    ours_at = Path(run(ours.python, "-I", "-c", "import sipagent.web as w; print(w.__path__[0])").strip())
    files = [path for path in tracked() if path.is_relative_to(WEB) and path.suffix not in (".py", ".md")]
    assert {path.parent.name for path in files} >= {"static", "templates"}
    for path in files:
        assert (ours_at / path.relative_to(WEB)).read_bytes() == path.read_bytes(), path


def test_init_and_run(ours: Installed, tmp_path: Path, agent_factory: AgentFactory) -> None:
    """No checkout is needed for a configuration, for its prompts, and for a service that takes calls."""
    folder = tmp_path / "service"
    config, port, rtp = folder / "config.toml", free_ports(2), free_ports(100)
    answers = ANSWERS.format(port=port, rtp=rtp, last_rtp=rtp + 99)
    run(ours.program, "init", "--no-passphrase", "--answers", "-", folder, stdin=answers)
    assert (folder / "prompts/fr/notice.wav").stat().st_size > 100_000
    assert "Allô Mairie" in config.read_text(encoding="utf-8")
    assert "No recording" in run(ours.program, "--config", config, "list")
    agent = agent_factory(start=False)
    agent.config, agent.program, agent.search_path = config, (ours.program,), ""
    agent.started_in = Path("/")
    agent.start(wait=None)
    agent.wait_for("ready", PATIENCE_S)
    assert agent.stop() == 0

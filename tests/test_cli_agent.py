import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sipagent.config.errors import Finding, error, ok, warning
from tests.office import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Put a module of ours in place of the one that a command imports when it is called."""
    module = SimpleNamespace(**members)
    folder, _, last = f"sipagent.{name}".rpartition(".")
    monkeypatch.setitem(sys.modules, f"{folder}.{last}", module)
    monkeypatch.setattr(import_module(folder), last, module, raising=False)


@pytest.mark.parametrize("code", [0, 1])
def test_run_hands_over_and_gives_the_code(
    office: Office, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    seen = []

    def run(config: Any, *, log_json: bool, drain_s: float, systemd: object) -> int:
        seen.append((config.service.name, log_json, drain_s))
        return code

    stand_in(monkeypatch, "service.one_process", run=run)
    assert office.run("run", "--log-json", "--drain-s", "2.5").code == code
    assert office.run("run").code == code
    assert seen == [("Test", True, 2.5), ("Test", False, 60.0)]
    assert "--drain-s" in office.fails(2, "run", "--drain-s", "-1")


def test_run_refuses_an_example_where_a_network_can_call(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers, and whoever asks, would be told it."""
    stand_in(monkeypatch, "service.supervision", run=lambda *_, **__: 0, needed=lambda _: True)
    file = office.folder / "config.toml"
    named = file.read_text().replace('name = "Test"', 'name = "Test"\ndpo_contact = "dpo@example.org"')
    file.write_text(named)
    assert office.run("run").code == 0
    file.write_text(named.replace("127.0.0.1:5060", "0.0.0.0:5060"))
    said = office.fails(2, "run")
    assert (
        "service.dpo_contact: 'dpo@example.org' is the shipped example" in said and "accepted: yours" in said
    )


def test_run_refuses_a_place_that_is_half_restored(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "service.one_process", run=lambda *_, **__: 0)
    (office.folder / "retention.restoring").write_text("…")
    assert "a backup was begun to be put back here" in office.fails(1, "run")


@pytest.mark.parametrize("code", [0, 1])
def test_demo_needs_no_configuration(office: Office, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (office.folder / "config.toml").unlink()
    stand_in(monkeypatch, "demo", run=lambda: code)
    assert office.run("demo").code == code


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("python", "3.11")], 0),
        ([ok("python", "3.11"), warning("hours", "absent")], 0),
        ([warning("hours", "absent"), error("disk", "full")], 1),
    ],
)
def test_check_fails_on_an_error_alone(
    office: Office, monkeypatch: pytest.MonkeyPatch, findings: list[Finding], code: int
) -> None:
    stand_in(monkeypatch, "check.check", checks=lambda *_: findings)
    result = office.run("check")
    assert result.code == code
    for finding in findings:
        assert finding.level in result.out and finding.what in result.out and finding.detail in result.out
    result = office.run("check", "--json")
    assert result.code == code
    assert json.loads(result.out)[0] == {
        "level": findings[0].level,
        "what": findings[0].what,
        "detail": findings[0].detail,
    }


def test_check_asks_the_real_engine(office: Office) -> None:
    result = office.run("check", "--json")
    (engine,) = [line for line in json.loads(result.out) if line["what"] == "engine"]
    assert engine["level"] == "ok"
    assert re.match(r"2\.\d+.*, TLS: .*; \d+ legs, \d+ players, \d+ sockets, \d+ files: ", engine["detail"])
    assert result.code == 1  # there are no prompts


@pytest.mark.parametrize("command", ["run", "edge"])
def test_no_engine_is_one_line(office: Office, command: str) -> None:
    without = "import sys; sys.modules['pjsua2'] = None; from sipagent.__main__ import main; main()"
    named = ("--config", str(office.folder / "config.toml"))
    program = [sys.executable, "-c", without, *named, command]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "no SIP engine is installed; accepted: pjsua2-python" in done.stderr


def test_a_missing_prompt_is_one_line(office: Office) -> None:
    line = office.fails(2, "run")
    assert "config.toml: prompts: " in line and "accepted: a mono 16-bit PCM WAV" in line


def test_an_engine_that_cannot_start_is_one_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    from sipagent.pjsip import EngineError

    def run(config: Any, *, log_json: bool, drain_s: float, systemd: object) -> int:
        raise EngineError("127.0.0.1:5060 is in use")

    stand_in(monkeypatch, "service.one_process", run=run)
    assert "127.0.0.1:5060 is in use" in office.fails(1, "run")

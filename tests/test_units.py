"""The units for systemd: hardened, readable by systemd, and about commands that exist."""

import re
import subprocess
from pathlib import Path

import pytest

from sipagent.cli.main import cli
from sipagent.cli.program import SYSTEM_CONFIG
from sipagent.service.control import LAST_WORK_S
from sipagent.service.supervisor import GRACE_S

FOLDER = Path(__file__).parent.parent / "deploy/systemd"
UNITS = sorted(path.name for path in FOLDER.iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]
MOST = 20  # tenths of systemd's measure of what a service may do: 0 nothing, 100 everything
LENGTHS = {"s": 1, "min": 60, "h": 3600}


def settings(unit: str) -> dict[str, list[str]]:
    """What a unit sets, each key with all that is said for it."""
    found: dict[str, list[str]] = {}
    text = re.sub(r"\\\n\s*", "", (FOLDER / unit).read_text(encoding="utf-8"))
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def seconds(said: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([a-z]*)", said).groups()  # type: ignore[union-attr]
    return int(number) * LENGTHS[unit or "s"]


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_may_do_little_and_what_fails_is_told(unit: str) -> None:
    """By the template, under the name of what has failed."""
    told = settings(unit).get("OnFailure")
    assert told == (None if "@" in unit else ["sipagent-failed@%n.service"])
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST}", "--no-pager"]
    judged = subprocess.run([*command, FOLDER / unit], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-500:] + judged.stderr


def test_systemd_reads_all_of_them_without_a_complaint(tmp_path: Path) -> None:
    """In a root of its own, where the commands are: systemd looks for them."""
    named = [f"sipagent{one}.service" for one in ("", "-check", "-failed@", "-web")]
    assert sorted(["sipagent-check.timer", *named]) == UNITS
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for name in UNITS:
        (units / name).write_bytes((FOLDER / name).read_bytes())
    for needed in ("sysinit", "basic", "shutdown", "network-online", "multi-user", "timers", "time-sync"):
        (units / f"{needed}.target").write_text("[Unit]\n")
    for program in ("bin/kill", "bin/sh", "usr/bin/sipagent"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=one"]
    read = subprocess.run([*command, *UNITS], capture_output=True, text=True, check=False)
    assert (read.stderr, read.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("unit", "names"),
    [("sipagent", ["run"]), ("sipagent-check", ["check", "verify"]), ("sipagent-web", ["web"])],
)
def test_its_commands_and_options_exist(unit: str, names: list[str]) -> None:
    (line,) = settings(f"{unit}.service")["ExecStart"]
    commands = [said.split() for said in re.findall(r"/usr/bin/sipagent ([^;|']*)", line)]
    assert [next(word for word in words if word in cli.commands) for words in commands] == names
    for name, words in zip(names, commands, strict=True):
        known = {one for part in (cli, cli.commands[name]) for param in part.params for one in param.opts}
        assert {word for word in words if word.startswith("-")} <= known


def test_the_configuration_is_the_usual_one() -> None:
    service, check = (settings(f"{name}.service") for name in ("sipagent", "sipagent-check"))
    assert f"--config {SYSTEM_CONFIG} run" in service["ExecStart"][0]
    assert check["Environment"] == [f"SIPAGENT_CONFIG={SYSTEM_CONFIG}"]
    assert service["ConditionPathExists"] == check["ConditionPathExists"] == [str(SYSTEM_CONFIG)]
    page = settings("sipagent-web.service")
    assert f"--config {SYSTEM_CONFIG} web" in page["ExecStart"][0]
    assert page["ConditionPathExists"] == [str(SYSTEM_CONFIG)]


def test_systemd_waits_longer_than_calls_do() -> None:
    drain = next(one for one in cli.commands["run"].params if one.name == "drain_s")
    assert isinstance(drain.default, float)
    assert seconds(settings("sipagent.service")["TimeoutStopSec"][0]) > drain.default + GRACE_S + LAST_WORK_S


def test_the_page_may_do_what_the_check_may_that_it_has_run() -> None:
    """It is behind calls, and goes first where memory runs out; without the agent it starts all the same."""
    page, check = (settings(f"{name}.service") for name in ("sipagent-web", "sipagent-check"))
    sandbox = [key for key in check if key.startswith(("Protect", "Private", "Restrict", "SystemCall"))]
    assert len(sandbox) > 15
    assert {key: page[key] for key in sandbox} == {key: check[key] for key in sandbox}
    assert int(page["Nice"][0]) > 0 and int(page["OOMScoreAdjust"][0]) > 0
    assert "sipagent.service" in page["After"][0].split()
    assert not {"Requires", "Requisite", "BindsTo", "PartOf"} & page.keys()
    assert not any("sipagent" in wanted for wanted in page["Wants"])

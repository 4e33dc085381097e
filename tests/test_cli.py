"""The program as it is typed: commands, configuration, completion, pipes, `run` and `check`."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from sipagent import __version__
from sipagent.cli import program as usual
from sipagent.cli.main import WITHOUT_CONFIG, cli
from sipagent.config.errors import Finding, error, ok, warning
from tests.each import each
from tests.kept import Paths, receipt, recording
from tests.loopback import ROOT
from tests.office import CONFIG, Office

COMMANDS = (
    *("list", "show", "calls", "stats", "draws", "register"),
    *("export", "play", "note", "accesses"),
    *("purge", "delete", "hold", "release", "holds", "rebuild", "backup", "restore"),
    *("migrate", "verify", "stamp", "init", "keys", "user", "token", "check", "notice", "detect"),
    *("train-keyword", "enrol", "hours", "run", "web", "status", "hosts", "edge", "demo", "completion"),
)
LISTING = (
    *("list", "show", "calls", "stats", "draws", "register", "accesses", "holds"),
    *("purge", "delete", "rebuild", "verify", "check", "notice", "hours"),
)
TABLES = [(ROOT / page).read_text("utf-8") for page in ("docs/en/commands.md", "docs/fr/commandes.md")]


def options_of(name: str) -> set[str]:
    return {option for parameter in cli.commands[name].params for option in parameter.opts}


@each(COMMANDS)
def test_every_command_has_its_options_and_its_place_in_the_pages(name: str) -> None:
    assert tuple(cli.commands) == COMMANDS
    assert ("--config" in options_of(name)) is (name not in WITHOUT_CONFIG)
    assert name not in LISTING or "--json" in options_of(name)
    assert all(re.search(rf"^\| .*`sipagent {name}\b", page, re.MULTILINE) for page in TABLES)
    assert all(isinstance(p, click.Argument) or getattr(p, "help", "") for p in cli.commands[name].params)


@pytest.mark.parametrize("name", [*COMMANDS, "keys new", "keys list", "keys rotate"])
def test_every_command_has_help_with_an_example(office: Office, name: str) -> None:
    result = office.run(*name.split(), "--help")
    assert result.code == 0
    assert re.search(rf"Examples?:\n +.*sipagent (--config \S+ )?{name}\b", result.out), result.out


def test_help_version_and_errors_of_usage(office: Office) -> None:
    out = office.run("--help").out
    assert all(f"\n  {name} " in out for name in COMMANDS) and "..." not in out.partition("Commands:")[2]
    with pytest.raises(SystemExit) as exit:
        cli.main([])
    assert exit.value.code == 2 and "Usage:" in office.capture.readouterr().err
    assert "missing command" in office.fails(2)
    assert office.run("--version").out == f"sipagent {__version__}\n"
    assert "no such command 'lst'" in office.fails(2, "lst").lower()
    assert "missing argument" in office.fails(2, "show").lower()
    assert "unexpected extra argument" in office.fails(2, "list", "x").lower()


# --- the configuration ---


def test_configuration_errors_are_one_line(office: Office) -> None:
    config = office.folder / "config.toml"
    config.write_text(CONFIG.replace("127.0.0.1:5060", "nowhere"))
    assert "config.toml: trunk.listen: 'nowhere'" in office.fails(2, "list")
    config.unlink()
    assert "config.toml: no such file" in office.fails(2, "list")


@pytest.fixture
def places(office: Office, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder, and another one in place of /etc/sipagent; nothing is in either."""
    for name in ("here", "etc"):
        (office.folder / name).mkdir()
    monkeypatch.chdir(office.folder / "here")
    monkeypatch.setattr(usual, "SYSTEM_CONFIG", office.folder / "etc" / "config.toml")
    monkeypatch.delenv("SIPAGENT_CONFIG", raising=False)
    return office.folder


def hours_by(office: Office, *words: object) -> tuple[int, str]:
    """Exit code, and what `hours` prints; its configuration tells the time zone."""
    office.capture.readouterr()
    with pytest.raises(SystemExit) as exit:
        cli.main([*map(str, words)])
    out, err = office.capture.readouterr()
    assert isinstance(exit.value.code, int) and err.count("\n") <= 1
    return exit.value.code, out + err


def config_of(path: Path, zone: str) -> Path:
    path.write_text(CONFIG.replace("Europe/Paris", zone))
    return path


def test_where_a_configuration_is_found(
    office: Office, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is named counts before what lies about; after the command more than before it."""
    expected = "America/New_York", "Asia/Tokyo", "Africa/Cairo", "Pacific/Fiji", "Europe/Oslo"
    names = ("etc/config.toml", "here/config.toml", "env.toml", "1.toml", "2.toml")
    files = [config_of(places / name, zone) for name, zone in zip(names, expected, strict=True)]
    files[1].unlink()
    told = [hours_by(office, "hours")]
    config_of(files[1], expected[1])
    told.append(hours_by(office, "hours"))
    monkeypatch.setenv("SIPAGENT_CONFIG", str(files[2]))
    told.append(hours_by(office, "hours"))
    told.append(hours_by(office, "--config", files[3], "hours"))
    told.append(hours_by(office, "--config", files[3], "hours", "--config", files[4]))
    told.append(hours_by(office, "hours", "--config", files[3]))
    zones = [next((zone for zone in expected if zone in out), "") for _, out in told]
    assert zones == [*expected, expected[3]] and {code for code, _ in told} == {0}


def test_no_configuration_is_one_line(office: Office, places: Path) -> None:
    """One that is named is looked for nowhere else."""
    said = (
        f"sipagent: config.toml: no such file or directory; {places}/etc/config.toml: "
        "no such file or directory; accepted: either, or a path by --config or SIPAGENT_CONFIG\n"
    )
    assert hours_by(office, "hours") == (2, said)
    config_of(places / "here" / "config.toml", "Asia/Tokyo")
    said = "sipagent: gone.toml: no such file; accepted: a file that `sipagent init` wrote\n"
    for words in (("--config", "gone.toml", "hours"), ("hours", "--config", "gone.toml")):
        assert hours_by(office, *words) == (2, said)


def test_a_current_folder_that_may_not_be_looked_into(
    office: Office, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `sudo -u sipagent` in the folder of another user."""
    config_of(places / "etc" / "config.toml", "Asia/Tokyo")
    lstat = Path.lstat

    def forbidden(path: Path) -> os.stat_result:
        if path == Path("config.toml"):
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", forbidden)
    code, out = hours_by(office, "hours")
    assert code == 0 and "Asia/Tokyo" in out
    (places / "etc" / "config.toml").unlink()
    assert "config.toml: permission denied; " in hours_by(office, "hours")[1]


# --- in a process of its own ---


def program(office: Office, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"SIPAGENT_CONFIG": str(office.folder / "config.toml")}
    command = [sys.executable, "-m", "sipagent", *words]
    environment = os.environ | own | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(office: Office, shell: str) -> None:
    out = office.run("completion", shell).out
    assert "_SIPAGENT_COMPLETE" in out
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=out, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr
    assert "'tcsh' is not one of" in office.fails(2, "completion", "tcsh")


def test_completion_offers_commands_and_ids(office: Office) -> None:
    row, config = office.call(), office.folder / "config.toml"
    for words, place, offered, environment in (
        ("sipagent ex", "1", "plain,export", {}),
        ("sipagent show 2", "2", row.id, {}),
        (f"sipagent show --config {config} 2", "4", row.id, {"SIPAGENT_CONFIG": "/nowhere"}),
    ):
        asked = {"_SIPAGENT_COMPLETE": "bash_complete", "COMP_CWORD": place, "COMP_WORDS": words}
        assert offered in program(office, **asked, **environment).stdout


def left_after(office: Office, lines: int, *words: str) -> tuple[int | None, list[bytes], bytes]:
    """Exit code, what was read before the reader left, as `head` does, and stderr."""
    command = [sys.executable, "-m", "sipagent", "--config", str(office.folder / "config.toml"), *words]
    there, here = os.pipe()
    with subprocess.Popen(command, stdout=here, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(here)
        with os.fdopen(there, "rb") as reader:
            read = [reader.readline() for _ in range(lines)]
        _, said = process.communicate(timeout=60)
    return process.returncode, read, said


def test_a_reader_that_leaves_is_no_failure_and_no_success(office: Office) -> None:
    store = office.archive.store
    with store.write():
        for minutes in range(400):  # more than a pipe of one page takes
            store.add_receipt(receipt(recording(minutes)))
    for words in (("calls",), ("calls", "--json")):
        code, read, said = left_after(office, 1, *words)
        assert (code, said) == (0, b"") and read[0]
    code, read, said = left_after(office, 0, "calls", "--json")
    assert (code, said) == (0, b"")
    code, read, said = left_after(office, 100_000, "calls", "--json")
    assert (code, said) == (0, b"") and len(json.loads(b"".join(read))) == 400
    row = office.call()
    Paths(office.archive).final(row.id, "flac").write_bytes(b"another")
    code, _, said = left_after(office, 0, "verify")  # which finds that
    assert code == 1 and b"Traceback" not in said and b"BrokenPipe" not in said


# --- run, demo and check, with others in the place of what they hand over to ---


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Put a module of ours in place of the one that a command imports when it is called."""
    module = SimpleNamespace(**members)
    folder, _, last = f"sipagent.{name}".rpartition(".")
    monkeypatch.setitem(sys.modules, f"{folder}.{last}", module)
    monkeypatch.setattr(import_module(folder), last, module, raising=False)


@pytest.mark.parametrize("code", [0, 1])
def test_run_and_demo_hand_over_and_give_the_code(
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
    (office.folder / "retention.restoring").write_text("…")
    assert "a backup was begun to be put back here" in office.fails(1, "run")
    (office.folder / "config.toml").unlink()
    stand_in(monkeypatch, "demo", run=lambda: code)
    assert office.run("demo").code == code


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
    example = "service.dpo_contact: 'dpo@example.org' is the shipped example"
    assert example in said and "accepted: yours" in said


@pytest.mark.parametrize("command", ["run", "edge"])
def test_no_engine_is_one_line(office: Office, command: str) -> None:
    without = "import sys; sys.modules['pjsua2'] = None; from sipagent.__main__ import main; main()"
    named = ("--config", str(office.folder / "config.toml"), command)
    done = subprocess.run(
        [sys.executable, "-c", without, *named], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "no SIP engine is installed; accepted: pjsua2-python" in done.stderr


@pytest.mark.parametrize(
    ("findings", "code"),
    [
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
    told = [{"level": one.level, "what": one.what, "detail": one.detail} for one in findings]
    assert all(text in result.out for one in told for text in one.values())
    result = office.run("check", "--json")
    assert (result.code, json.loads(result.out)) == (code, told)


def test_check_asks_the_real_engine(office: Office) -> None:
    result = office.run("check", "--json")
    (engine,) = [line for line in json.loads(result.out) if line["what"] == "engine"]
    assert engine["level"] == "ok"
    assert re.match(r"2\.\d+.*, TLS: .*; \d+ legs, \d+ players, \d+ sockets, \d+ files: ", engine["detail"])
    assert result.code == 1  # there are no prompts

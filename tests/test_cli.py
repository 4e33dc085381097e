import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sipagent.cli import program as usual
from sipagent.cli.main import WITHOUT_CONFIG, cli
from tests.office import CONFIG, Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


ROOT = Path(__file__).parent.parent
COMMANDS = (
    *("list", "show", "calls", "stats", "draws", "register"),
    *("export", "play", "note", "accesses"),
    *("purge", "delete", "hold", "release", "holds", "rebuild", "backup", "restore"),
    *("migrate", "verify", "stamp"),
    *(
        "init",
        "keys",
        "user",
        "token",
        "check",
        "notice",
        "detect",
        "train-keyword",
        "enrol",
        "hours",
        "run",
        "web",
        "status",
        "hosts",
        "edge",
        "demo",
        "completion",
    ),
)


def test_the_commands_are_the_contract() -> None:
    assert tuple(cli.commands) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(office: Office, name: str) -> None:
    result = office.run(name, "--help")
    assert result.code == 0
    assert re.search(rf"Examples?:\n +.*sipagent (--config \S+ )?{name}\b", result.out), result.out
    assert all(isinstance(p, click.Argument) or getattr(p, "help", "") for p in cli.commands[name].params)


@pytest.mark.parametrize("page", ["docs/en/commands.md", "docs/fr/commandes.md"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table(name: str, page: str) -> None:
    assert re.search(rf"^\| .*`sipagent {name}\b", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    [
        *("list", "show", "calls", "stats", "draws", "register", "accesses", "holds"),
        *("purge", "delete", "rebuild", "verify", "check", "notice", "hours"),
    ],
)
def test_what_lists_has_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in cli.commands[name].params)


def test_help_names_every_command_uncut(office: Office) -> None:
    out = office.run("--help").out
    assert all(f"\n  {name} " in out for name in COMMANDS) and "..." not in out.partition("Commands:")[2]
    with pytest.raises(SystemExit) as exit:
        cli.main([])
    assert exit.value.code == 2 and "Usage:" in office.capture.readouterr().err
    assert "missing command" in office.fails(2)


def test_version(office: Office) -> None:
    from sipagent import __version__

    assert office.run("--version").out == f"sipagent {__version__}\n"


def test_usage_errors_are_one_line(office: Office) -> None:
    assert "no such command 'lst'" in office.fails(2, "lst").lower()
    assert "missing argument" in office.fails(2, "show").lower()
    assert "unexpected extra argument" in office.fails(2, "list", "x").lower()


def test_configuration_errors_are_one_line(office: Office) -> None:
    config = office.folder / "config.toml"
    config.write_text(config.read_text().replace("127.0.0.1:5060", "nowhere"))
    assert "config.toml: trunk.listen: 'nowhere'" in office.fails(2, "list")
    config.unlink()
    assert "config.toml: no such file" in office.fails(2, "list")


def test_the_configuration_from_the_environment(
    office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIPAGENT_CONFIG", str(office.folder / "config.toml"))
    with pytest.raises(SystemExit) as exit:
        cli.main(["list"])
    assert exit.value.code == 0 and "No recording" in capsys.readouterr().out


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
    files = [
        places / name for name in ("etc/config.toml", "here/config.toml", "env.toml", "1.toml", "2.toml")
    ]
    told = []
    for path, zone in zip(files, expected, strict=True):
        config_of(path, zone)
    files[1].unlink()
    told.append(hours_by(office, "hours"))
    config_of(files[1], expected[1])
    told.append(hours_by(office, "hours"))
    monkeypatch.setenv("SIPAGENT_CONFIG", str(files[2]))
    told.append(hours_by(office, "hours"))
    told.append(hours_by(office, "--config", files[3], "hours"))
    told.append(hours_by(office, "--config", files[3], "hours", "--config", files[4]))
    told.append(hours_by(office, "hours", "--config", files[3]))
    zones = [next((zone for zone in expected if zone in out), "") for _, out in told]
    assert zones == [*expected, expected[3]] and {code for code, _ in told} == {0}


def test_no_configuration_is_one_line_that_names_all_places(office: Office, places: Path) -> None:
    code, line = hours_by(office, "hours")
    assert code == 2
    assert line == (
        f"sipagent: config.toml: no such file or directory; {places}/etc/config.toml: "
        "no such file or directory; accepted: either, or a path by --config or SIPAGENT_CONFIG\n"
    )


def test_a_named_configuration_that_is_absent_is_looked_for_nowhere_else(
    office: Office, places: Path
) -> None:
    config_of(places / "here" / "config.toml", "Asia/Tokyo")
    for words in (("--config", "gone.toml", "hours"), ("hours", "--config", "gone.toml")):
        assert hours_by(office, *words) == (
            2,
            "sipagent: gone.toml: no such file; accepted: a file that `sipagent init` wrote\n",
        )


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


@pytest.mark.parametrize("name", sorted({*COMMANDS} - WITHOUT_CONFIG))
def test_the_configuration_may_be_named_after_every_command(name: str) -> None:
    assert any("--config" in parameter.opts for parameter in cli.commands[name].params)


def test_a_forbidden_file_is_one_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call()

    def forbidden(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert "recordings: Permission denied" in office.fails(1, "rebuild")
    assert row.id


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(office: Office, shell: str) -> None:
    out = office.run("completion", shell).out
    assert "_SIPAGENT_COMPLETE" in out
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=out, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr
    assert "'tcsh' is not one of" in office.fails(2, "completion", "tcsh")


def program(office: Office, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sipagent", *words],
        cwd=ROOT,
        env=os.environ | {"SIPAGENT_CONFIG": str(office.folder / "config.toml")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_completion_offers_commands_and_ids(office: Office) -> None:
    row = office.call()
    asked = {"_SIPAGENT_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    assert "plain,export" in program(office, COMP_WORDS="sipagent ex", **asked).stdout
    asked["COMP_CWORD"] = "2"
    assert row.id in program(office, COMP_WORDS="sipagent show 2", **asked).stdout
    other = {"SIPAGENT_CONFIG": "/nowhere", "COMP_CWORD": "4"}
    named = f"sipagent show --config {office.folder / 'config.toml'} 2"
    assert row.id in program(office, COMP_WORDS=named, **(asked | other)).stdout


def test_as_a_module(office: Office) -> None:
    done = program(office, "list")
    assert (done.returncode, done.stdout) == (0, "No recording matches.\n")
    done = program(office, "show", "x")
    assert (done.returncode, done.stderr) == (1, "sipagent: x: no such id\n")

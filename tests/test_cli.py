"""The program as it is typed: commands, configuration, completion, pipes, tables, new files, `run`."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from rich.console import Console

from sipagent import __version__
from sipagent.cli import program as usual
from sipagent.cli import terminal
from sipagent.cli.main import WITHOUT_CONFIG, cli
from sipagent.cli.program import new_file
from sipagent.cli.terminal import cell, coded, newest, steps, steps_of
from sipagent.config.errors import error, ok, warning
from sipagent.languages.labels import user_part
from tests.each import each
from tests.kept import Paths, receipt, recording
from tests.loopback import ROOT
from tests.office import CONFIG, Office

COMMANDS = (
    *("list", "show", "calls", "stats", "draws", "register", "sheet"),
    *("export", "play", "note", "accesses"),
    *("purge", "delete", "hold", "release", "holds", "rebuild", "backup", "restore"),
    *("migrate", "verify", "stamp", "receipt", "init", "keys", "user", "token", "check", "notice", "detect"),
    *(
        "train-keyword",
        "enrol",
        "hours",
        "today",
        "run",
        "web",
        "status",
        "events",
        "hosts",
        "edge",
        "demo",
        "completion",
    ),
)
LISTING = (
    *("list", "show", "calls", "stats", "draws", "register", "accesses", "holds"),
    *("purge", "delete", "rebuild", "verify", "check", "notice", "hours", "today", "events"),
)
TABLES = [(ROOT / page).read_text("utf-8") for page in ("docs/en/commands.md", "docs/fr/commandes.md")]


@each(COMMANDS)
def test_every_command_has_its_options_and_its_place_in_the_pages(name: str) -> None:
    assert tuple(cli.commands) == COMMANDS
    options = {option for parameter in cli.commands[name].params for option in parameter.opts}
    assert ("--config" in options) is (name not in WITHOUT_CONFIG)
    assert name not in LISTING or "--json" in options
    assert all(re.search(rf"^\| .*`sipagent {name}\b", page, re.MULTILINE) for page in TABLES)
    assert all(isinstance(p, click.Argument) or getattr(p, "help", "") for p in cli.commands[name].params)


def test_help_version_and_errors_of_usage(office: Office) -> None:
    for name in (*COMMANDS, "keys new", "keys list", "keys rotate"):
        result = office.run(*name.split(), "--help")
        assert re.search(rf"Examples?:\n +.*sipagent (--config \S+ )?{name}\b", result.out), result.out
    out = office.run("--help").out
    assert all(f"\n  {name} " in out for name in COMMANDS) and "..." not in out.partition("Commands:")[2]
    with pytest.raises(SystemExit) as exit:
        cli.main([])
    assert exit.value.code == 2 and "Usage:" in office.capture.readouterr().err
    assert office.run("--version").out == f"sipagent {__version__}\n"
    for words, said in (
        *(((), "missing command"), (("lst",), "no such command 'lst'"), (("show",), "missing argument")),
        (("list", "x"), "unexpected extra argument"),
    ):
        assert said in office.fails(2, *words).lower()


# --- the configuration ---


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


def test_no_configuration_or_a_wrong_one_is_one_line(
    office: Office, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is named is looked for nowhere else; a folder that may not be looked into has none, as after
    `sudo -u sipagent` in the folder of another user."""
    said = (
        f"sipagent: config.toml: no such file or directory; {places}/etc/config.toml: "
        "no such file or directory; accepted: either, or a path by --config or SIPAGENT_CONFIG\n"
    )
    assert hours_by(office, "hours") == (2, said)
    config_of(places / "here" / "config.toml", "Asia/Tokyo")
    said = "sipagent: gone.toml: no such file; accepted: a file that `sipagent init` wrote\n"
    for words in (("--config", "gone.toml", "hours"), ("hours", "--config", "gone.toml")):
        assert hours_by(office, *words) == (2, said)
    (office.folder / "config.toml").write_text(CONFIG.replace("127.0.0.1:5060", "nowhere"))
    assert "config.toml: trunk.listen: 'nowhere'" in office.fails(2, "list")
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


def test_completion_has_scripts_and_offers_commands_and_ids(office: Office) -> None:
    for shell in ("bash", "zsh", "fish"):
        out = office.run("completion", shell).out
        assert "_SIPAGENT_COMPLETE" in out
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=out, text=True, check=True)
    assert "'tcsh' is not one of" in office.fails(2, "completion", "tcsh")
    row, config = office.call(), str(office.folder / "config.toml")
    for words, place, offered, named in (
        ("sipagent ex", "1", "plain,export", config),
        ("sipagent show 2", "2", row.id, config),
        (f"sipagent show --config {config} 2", "4", row.id, "/nowhere"),
    ):
        asked = {"_SIPAGENT_COMPLETE": "bash_complete", "COMP_CWORD": place, "COMP_WORDS": words}
        environment = os.environ | asked | {"SIPAGENT_CONFIG": named}
        command = [sys.executable, "-m", "sipagent"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert offered in done.stdout


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
    for lines, *words in ((1, "calls"), (1, "calls", "--json"), (0, "calls", "--json")):
        code, read, said = left_after(office, lines, *words)
        assert (code, said) == (0, b"") and all(read)
    code, read, said = left_after(office, 100_000, "calls", "--json")
    assert (code, said) == (0, b"") and len(json.loads(b"".join(read))) == 400
    row = office.call()
    Paths(office.archive).final(row.id, "flac").write_bytes(b"another")
    code, _, said = left_after(office, 0, "verify")  # which finds that
    assert code == 1 and b"Traceback" not in said and b"BrokenPipe" not in said


# --- a file that is not finished has no name ---

KILLED = """
import os, signal, sys
from pathlib import Path
from sipagent.cli.program import new_file
with new_file(Path(sys.argv[1]), replace=False) as (descriptor, name):
    os.write(descriptor, b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def target(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a file is to go; on a file system that knows files without a name, and on one that does not."""
    if not request.param:
        really = os.open

        def refuse(path: Path | str, flags: int, *rest: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(path))
            return really(path, flags, *rest)

        monkeypatch.setattr(os, "open", refuse)
    return tmp_path / "copy.wav"


def test_it_has_its_name_when_it_is_whole_and_replaces_only_when_told(target: Path) -> None:
    for replace in (False, True):
        with new_file(target, replace=replace) as (descriptor, name):
            os.write(descriptor, b"whole")
            assert target.exists() == replace
            name()
        assert target.read_bytes() == b"whole" and target.stat().st_mode & 0o777 == 0o600
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="File exists"), new_file(target, replace=False) as (_, name):
        name()
    assert target.read_bytes() == b"precious" and list(target.parent.iterdir()) == [target]


def test_nothing_is_left_of_one_that_was_never_named(target: Path) -> None:
    with pytest.raises(ValueError, match="not today"), new_file(target, replace=False) as (descriptor, _):
        os.write(descriptor, b"half of it")
        raise ValueError("not today")
    with pytest.raises(OSError, match="No space left") as full, new_file(target, replace=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(target)
    with pytest.raises(FileNotFoundError), new_file(target.parent / "no" / "copy.wav", replace=False):
        pass
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL and list(target.parent.iterdir()) == []


# --- what a terminal shows, and what a pipe gets of that ---


def screen(*, is_terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=is_terminal, markup=False, highlight=False)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_cells_are_text_and_a_screen_gets_the_newest_rows() -> None:
    assert cell("[red]x\x1b[0m").plain == "[red]x\\x1b[0m"
    assert cell(None).plain == "–" and len(cell("A" * 10_000).plain) == 200
    assert (shown := coded("status", "closed")) and shown.style == "green"
    assert coded("status", None) is None
    users = ("sip:201@pbx.example.net", "201", None, "sip:@x")
    assert [*map(user_part, users)] == ["201", "201", None, "sip:@x"]
    rows, out = list(range(150)), screen(is_terminal=True)
    assert newest(rows, out, None) == rows[:100] and "The newest 100 of 150" in printed(out)
    assert newest(rows, out, 150) == newest(rows, screen(), None) == rows


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_takes_long_has_a_bar(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """A pipe gets nothing, not even the empty line that rich leaves: cron would send it by mail."""
    out = screen(is_terminal=is_terminal)
    monkeypatch.setattr(terminal, "console", lambda stderr: out)
    with steps(20) as step:
        step("chain", 10, 40)
        step("files", 3, 19)
    with steps_of("sealing", 20) as one:
        one(30, 40)
    shown = ("chain", "sealing", "75%") if is_terminal else ()
    assert [text for text in ("chain", "files", "sealing", "75%") if text in printed(out)] == [*shown]
    assert is_terminal or printed(out) == ""


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
    stand_in(monkeypatch, "service.supervision", run=lambda *_, **__: 0, needed=lambda _: True)
    file = office.folder / "config.toml"
    named = file.read_text().replace('name = "Test"', 'name = "Test"\ndpo_contact = "dpo@example.org"')
    file.write_text(named)
    assert office.run("run").code == 0
    file.write_text(named.replace("127.0.0.1:5060", "0.0.0.0:5060"))
    said = office.fails(2, "run")
    assert "service.dpo_contact: 'dpo@example.org' is the shipped example" in said and "yours" in said


@each(["run", "edge"])
def test_no_engine_is_one_line(command: str) -> None:
    without = "import sys; sys.modules['pjsua2'] = None; from sipagent.__main__ import main; main()"
    words = [sys.executable, "-c", without, "--config", str(ROOT / "config.toml"), command]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "no SIP engine is installed; accepted: pjsua2-python" in done.stderr


def test_check_fails_on_an_error_alone_and_asks_the_real_engine(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [one for one in json.loads(office.run("check", "--json").out) if one["what"] == "engine"]
    engine = told[0]  # what is known of its holes comes after it
    assert engine["level"] == "ok"
    assert re.match(r"2\.\d+.*, TLS: .*; \d+ legs, \d+ players, \d+ sockets, \d+ files: ", engine["detail"])
    for findings, code in (
        ([ok("python", "3.11"), warning("hours", "absent")], 0),
        ([warning("hours", "absent"), error("disk", "full")], 1),
    ):
        with monkeypatch.context() as patch:
            stand_in(patch, "check.check", checks=lambda *_, found=findings: found, EngineFacts=None)
            result, as_json = office.run("check"), office.run("check", "--json")
        told = [{"level": one.level, "what": one.what, "detail": one.detail} for one in findings]
        assert all(text in result.out for one in told for text in one.values())
        assert (result.code, as_json.code, json.loads(as_json.out)) == (code, code, told)

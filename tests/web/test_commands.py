"""What runs as a process of its own, one at a time, and what it says."""

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sipagent.web import background
from sipagent.web.background import Commands
from tests.office import Office

AT = datetime(2026, 11, 27, 20, 30, tzinfo=UTC)


@pytest.fixture
def asked(web_office: Office) -> Commands:
    return Commands(web_office.folder / "config.toml", lambda: AT)


def test_a_command_that_fails_or_says_too_much_is_told_in_its_line(
    asked: Commands, web_office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = asked.answer("verify", "--json")
    assert (answer.code, answer.json) == (1, None)
    assert "no database yet" in str(answer.problem) and not str(answer.problem).startswith("sipagent")
    answer = Commands(tmp_path / "gone.toml", lambda: AT).answer("check", "--json")
    assert answer.code == 2 and "no such file" in str(answer.problem)
    monkeypatch.setattr(background, "LONGEST", 10)
    web_office.call()
    answer = asked.answer("verify", "--json")
    assert answer.json is None and "too long" in str(answer.problem)


@pytest.mark.parametrize("said", ["{", "\\377", "[" * 5])
def test_what_cannot_be_read_is_told(
    asked: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    program = tmp_path / "odd"
    program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert asked.start("verify", "claire") and asked.wait(30)
    answer = asked.last("verify")
    assert answer is not None and (answer.by, answer.json) == ("claire", None)
    assert answer.problem == "`sipagent verify` ended with 0, and what it said cannot be read"


def test_what_cannot_be_started_or_nobody_foresaw_is_told(
    asked: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*words: str, **how: str) -> None:
        raise RuntimeError

    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    for problem in ("No such file or directory", "could not be run"):
        assert asked.start("check", "claire") and asked.wait(30)
        answer = asked.last("check")
        assert answer is not None and problem in str(answer.problem)
        monkeypatch.setattr(asked, "answer", fails)

"""The log where many processes write to one stderr."""

import io
import json
import os
import select
import socket
import subprocess
import sys
from typing import Any

import pytest
import structlog

from sipagent.logs import CUT, configure_log, whole_line

WRITERS, LINES = 4, 200
WRITE = """
import sys, structlog
from sipagent.logs import configure_log
configure_log(True, sys.argv[1])
for number in range(int(sys.argv[2])):
    structlog.get_logger().info("said", number=number, text="é" * 2000)
"""


def line(**event: Any) -> str:
    return whole_line(None, "info", event)


@pytest.mark.parametrize("text", ["a" * 100_000, "é" * 5000, "\\" * 4000, '"' * 3000])
def test_what_is_long_is_cut_and_says_so(text: str) -> None:
    said = line(event="x", text=text, other="short")
    assert len(said.encode()) < select.PIPE_BUF
    read = json.loads(said)
    assert read["text"].endswith(CUT) and text.startswith(read["text"].removesuffix(CUT))
    assert (read["event"], read["other"]) == ("x", "short")


def test_what_is_short_is_said_whole_and_many_long_ones_fit() -> None:
    assert json.loads(line(event="x", text="é" * 500)) == {"event": "x", "text": "é" * 500}
    read = json.loads(line(event="x", **{f"key{n}": "word " * 500 for n in range(20)}))
    assert read["event"] == "x" and len(read) == 21


def test_each_line_names_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_log(True, "worker-3")
    structlog.get_logger().info("said")
    configure_log(True)
    structlog.get_logger().info("said")
    many, one = (json.loads(said) for said in stderr.getvalue().splitlines())
    assert many["process"] == "worker-3" and "process" not in one


def test_a_log_that_nobody_reads_any_more_ends_nothing() -> None:
    """As in `sipagent run 2>&1 | tee log`, where Ctrl-C ends `tee` at once."""
    command = [sys.executable, "-c", WRITE, "worker-0", "100"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        child.stderr.close()
        assert child.wait(60) in {0, 120}  # 120: Python itself had something left to write


def test_processes_that_write_at_once_write_lines() -> None:
    """Into one pipe, as the supervisor and its children do."""
    with subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys\n{START}"], stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        said = [json.loads(one) for one in child.stderr]
    for writer in range(WRITERS):
        mine = [one["number"] for one in said if one["process"] == f"worker-{writer}"]
        assert mine == list(range(LINES))


START = f"""
code = {WRITE!r}
writers = [
    subprocess.Popen([sys.executable, "-c", code, f"worker-{{n}}", "{LINES}"]) for n in range({WRITERS})
]
for one in writers:
    one.wait()
"""


# --- systemd's journal ---

WARN = """
import structlog
from sipagent.logs import alert, configure_log
configure_log(True)
structlog.get_logger().info("said")
structlog.get_logger().warning("said", text="é" * 5000)
alert("a disk")
"""


def said_to(stream: str) -> list[str]:
    """What is logged into a socket, where JOURNAL_STREAM is this; `{}` is the socket's own."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        status = os.fstat(theirs.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": stream.format(f"{status.st_dev}:{status.st_ino}")}
        subprocess.run([sys.executable, "-c", WARN], stderr=theirs.fileno(), env=environment, check=True)
        theirs.close()
        with ours.makefile(encoding="utf-8") as lines:
            return lines.read().splitlines()


def test_the_journal_is_told_how_much_a_line_matters() -> None:
    said = said_to("{}")
    assert [one[:3] for one in said] == ["<6>", "<4>", "<3>"]
    assert [json.loads(one[3:])["level"] for one in said] == ["info", "warning", "error"]
    assert max(len(f"{one}\n".encode()) for one in said) <= select.PIPE_BUF


@pytest.mark.parametrize("stream", ["", "1:1", "{}0"])
def test_whoever_else_reads_is_not(stream: str) -> None:
    assert [json.loads(one)["level"] for one in said_to(stream)] == ["info", "warning", "error"]

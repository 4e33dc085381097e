"""A reader that leaves, as `head` does: a pipe that is closed while a command still writes into it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kept import Paths, receipt, recording
from tests.office import Office, make_office

MANY = 400  # lines of 200 characters and more: beyond what a pipe of one page takes
ROOT = Path(__file__).parent.parent


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def left_after(office: Office, lines: int, *words: str) -> tuple[int | None, list[bytes], bytes]:
    """Exit code, what was read before the reader left, and stderr, of a real process."""
    command = [sys.executable, "-m", "sipagent", "--config", str(office.folder / "config.toml"), *words]
    there, here = os.pipe()
    with subprocess.Popen(command, stdout=here, stderr=subprocess.PIPE, cwd=ROOT) as program:
        os.close(here)
        with os.fdopen(there, "rb") as reader:
            read = [reader.readline() for _ in range(lines)]
        _, said = program.communicate(timeout=60)
    return program.returncode, read, said


@pytest.mark.parametrize("words", [("calls",), ("calls", "--json"), ("list",), ("list", "--json")])
def test_a_reader_that_leaves_is_no_failure(office: Office, words: tuple[str, ...]) -> None:
    store = office.archive.store
    with store.write():
        for minutes in range(MANY):
            row = recording(minutes)
            store.add_recording(row)
            store.add_receipt(receipt(row))
    code, read, said = left_after(office, 1, *words)
    assert (code, said) == (0, b"") and read[0]
    code, read, said = left_after(office, 0, *words)
    assert (code, said) == (0, b"")


def test_whoever_reads_to_the_end_gets_all(office: Office) -> None:
    for minutes in range(20):
        office.archive.store.add_receipt(receipt(recording(minutes)))
    code, read, said = left_after(office, 10_000, "calls", "--json")
    assert (code, said) == (0, b"") and len(json.loads(b"".join(read))) == 20


def test_what_is_wrong_stays_wrong(office: Office) -> None:
    """The exit code is the command's own, whoever has read what it said."""
    row = office.call()
    Paths(office.archive).final(row.id, "flac").write_bytes(b"another")
    code, _, said = left_after(office, 0, "verify")
    assert code == 1 and b"Traceback" not in said and b"BrokenPipe" not in said

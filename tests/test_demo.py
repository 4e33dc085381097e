"""The demo: for real once, and what makes it fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from sipagent import demo
from sipagent.config.load import parse
from tests.loopback import ROOT


@pytest.mark.live
def test_the_demo_shows_both_calls_and_what_is_kept_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipagent", "demo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Both calls went as they must." in done.stdout
    for told in ("REC +33612345678", "NO REC +33612345678", "by dtmf", "by silence", "closed", "refused"):
        assert told in done.stdout, told
    first, _, rest = done.stdout.partition("presses 9 during the notice")
    assert [part.count("call_ended") for part in (first, rest.partition("What is kept")[0])] == [1, 1]


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("port", [1024, 9999, 10000, 20050, 29999, 39650, 60999, 65535])
def test_its_configuration_is_one(tmp_path: Path, language: str, port: int) -> None:
    """Whatever port is free."""
    config = parse(demo._config(port, "sip:201@127.0.0.1:5070", language), tmp_path / "config.toml")
    assert (config.service.language, config.trunk.listen.port) == (language, port)
    assert all(one.notice.exists() for one in config.prompt_sets())

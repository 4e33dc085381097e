"""The demo: for real once, and what makes it fail."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from sipagent import demo
from sipagent.config.load import parse
from sipagent.demo import CALLER_HZ, OPERATOR_HZ, DemoFailed
from sipagent.languages.choice import speaking
from sipagent.softphone.rtp import RATE, tone
from tests.loopback import ROOT

Json = dict[str, Any]


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


# --- the judge ---


class Told:
    """An agent that says what a test wants."""

    def __init__(self, calls: list[Json], recordings: list[Json]) -> None:
        self.calls, self.recordings = calls, recordings

    def rows(self, command: str) -> list[Json]:
        return self.calls if command == "calls" else self.recordings


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What a demo that went well leaves."""
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "one.json").write_text("{}")
    write(tmp_path, CALLER_HZ, OPERATOR_HZ)
    calls: list[Json] = [
        {"started_at": "2", "decision": "refused", "recording_id": None},
        {"started_at": "1", "decision": "allowed", "recording_id": "one"},
    ]
    return Told(calls, [{"id": "one", "status": "closed", "path": "recordings/one.wav"}])


def write(folder: Path, left: float, right: float) -> None:
    sound = np.stack([tone(left, 4.0), tone(right, 4.0)], axis=1)
    soundfile.write(folder / "recordings" / "one.wav", sound, RATE, subtype="PCM_16")


def judge(told: Told, folder: Path) -> None:
    demo._judge(told, folder)  # type: ignore[arg-type]


def test_what_makes_a_demo_fail_that_went_well(told: Told, tmp_path: Path) -> None:
    judge(told, tmp_path)
    for left, right, channel in ((700.0, OPERATOR_HZ, "left"), (CALLER_HZ, 700.0, "right")):
        write(tmp_path, left, right)
        with pytest.raises(DemoFailed, match=f"on the {channel} channel"):
            judge(told, tmp_path)
    write(tmp_path, CALLER_HZ, OPERATOR_HZ)
    (tmp_path / "recordings" / "two.part").write_bytes(b"")
    with pytest.raises(DemoFailed, match=r"two\.part"):
        judge(told, tmp_path)
    told.recordings.append({"id": "two", "status": "closed", "path": "recordings/two.wav"})
    with pytest.raises(DemoFailed, match="2 recordings are kept"):
        judge(told, tmp_path)
    told.calls[0]["decision"] = "not_allowed"
    with pytest.raises(DemoFailed, match="allowed and not_allowed"):
        judge(told, tmp_path)


# --- the rest ---


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("port", [1024, 9999, 10000, 20050, 29999, 39650, 60999, 65535])
def test_its_configuration_is_one(tmp_path: Path, language: str, port: int) -> None:
    """Whatever port is free."""
    config = parse(demo._config(port, "sip:201@127.0.0.1:5070", language), tmp_path / "config.toml")
    assert (config.service.language, config.trunk.listen.port) == (language, port)
    assert all(one.notice.exists() for one in config.prompt_sets())


def test_a_demo_that_fails_says_why_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DemoFailed("the operator's phone shows nothing")

    monkeypatch.setattr(demo, "_demo", fail)
    out = io.StringIO()
    assert demo.run(Console(file=out)) == 1
    assert "the operator's phone shows nothing" in out.getvalue()


def test_an_agent_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[service]\n")
    agent = demo.AgentProcess(config, lambda _: None)
    with pytest.raises(DemoFailed, match=r"not ready: .*config\.toml"):
        agent.wait_ready()
    assert agent.stop() == 2


def test_a_spectator_reads_the_log_in_the_language_of_the_demo() -> None:
    said = {"event": "decided", "call": "1", "level": "info", "decision": "refused", "by": "dtmf"}
    told = []
    for language in ("en", "fr"):
        out = io.StringIO()
        with speaking(language):
            demo._tell(Console(file=out), said)
        told.append(out.getvalue().replace("\u00a0", " ").strip())
    assert told == [
        "agent: decided: decision refused, by dtmf",
        "agent : décidé : décision refusé, par touche",
    ]

"""What `sipagent today` sets is what the next callers hear, behind the edge, without a restart."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import soundfile

from sipagent.softphone.rtp import RATE, tone
from tests.live import calls
from tests.live.calls import NOTICE_HZ
from tests.live.test_workers import Town
from tests.peers.agent import PROMPTS, RunningAgent

pytestmark = pytest.mark.live

MESSAGE_HZ, MESSAGE_S = 990, 0.8
CLOSED_HZ, _ = PROMPTS["closed"]
KEYS = {"prompts": {"messages": {"flood": "prompts/flood.wav"}}}


def with_message(agent: RunningAgent) -> Path:
    """Give it one."""
    path = agent.directory / "prompts/flood.wav"
    soundfile.write(path, tone(MESSAGE_HZ, MESSAGE_S), RATE, subtype="PCM_16")
    agent.rewrite(prompts=agent.tables["prompts"] | KEYS["prompts"])
    return path


def test_workers_behind_the_edge_are_told(tmp_path: Path) -> None:
    with ExitStack() as stack:
        town = Town(tmp_path / "agent", stack, desks=1)
        with_message(town.agent)
        town.start()
        stack.callback(town.agent.close)
        for words, hz in (("--message", "flood"), MESSAGE_HZ), (("--closed",), CLOSED_HZ):
            town.agent.cli("today", *words, "--until", "2h")
            assert any(first_tone(town) == hz for _ in range(12))  # calls: workers are told within seconds


def first_tone(town: Town) -> float:
    """What the next caller hears first."""
    call = town.callers[0].call(town.agent.uri())
    heard: list[float] = []

    def one() -> bool:
        tones = call.rtp.listen(0, call.loop.next_frame_ns()).tones()
        heard[:] = [hz for hz in (NOTICE_HZ, MESSAGE_HZ, CLOSED_HZ) if calls.tenths(tones, hz) > 1]
        return bool(heard)

    call.loop.wait_for(one, 20, "a prompt")
    call.end()
    return heard[0]

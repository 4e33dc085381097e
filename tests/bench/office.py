"""One agent with its phones, in a folder of its own, for a measurement."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from sipagent.softphone.phone import Answering, Loop, Phone
from sipagent.softphone.rtp import RATE, SteadyTone, tone
from tests.peers.agent import PROMPTS, RunningAgent
from tests.peers.kamailio import Kamailio

CALLER_HZ, OPERATOR_HZ = 440.0, 1000.0
NOTICE_S, WINDOW_S = 0.8, 0.5
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Office:
    """A running agent, and as many callers and operators as were asked for."""

    loop: Loop
    agent: RunningAgent
    callers: list[Phone]
    operators: list[Phone]

    def answering(self, **how: Any) -> None:
        """What all operators' phones do from now on; by default they are soon answered."""
        for phone in self.operators:
            phone.answer = Answering(**(how or {"after_s": 0.05}))


@contextmanager
def office(
    callers: int = 1, desks: int = 1, *, registered: bool = False, **overrides: Mapping[str, Any]
) -> Iterator[Office]:
    """Start it all, and end it all. `registered`: at a registrar; `overrides`: over its configuration."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-bench-")))
        loop = stack.enter_context(Loop())
        calling = [stack.enter_context(Phone(loop, f"+336123456{i:02}")) for i in range(callers)]
        called = [stack.enter_context(Phone(loop, str(201 + i))) for i in range(desks)]
        for phones, hz in ((calling, CALLER_HZ), (called, OPERATOR_HZ)):
            for phone in phones:
                phone.sound = lambda hz=hz: SteadyTone(hz)
        tables: dict[str, dict[str, Any]] = {
            "operators": {"extensions": [phone.uri for phone in called]},
            "refusal": {"window_s": WINDOW_S},
            "capacity": {"calls": desks},
            "trunk": _registered(folder, stack) if registered else {},
        }
        for table, keys in overrides.items():
            tables.setdefault(table, {}).update(keys)
        agent = RunningAgent(folder / "agent", tables)
        notice = folder / "agent/prompts/notice.wav"
        soundfile.write(notice, tone(PROMPTS["notice"][0], NOTICE_S), RATE, subtype="PCM_16")
        stack.callback(lambda: agent.close() if agent.started else None)
        agent.start(wait=None).wait_for("ready", START_S)
        place = Office(loop, agent, calling, called)
        place.answering()
        yield place


def _registered(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The keys of `[trunk]` for a registrar, which is started."""
    registrar = Kamailio(folder)
    stack.callback(registrar.stop)
    registrar.start()
    password = folder / "password"
    password.write_text(registrar.password)
    return {
        "uri": f"sip:{registrar.username}@127.0.0.1:{registrar.port}", "registrar": registrar.uri,
        "username": registrar.username, "password_file": str(password),
    }  # fmt: skip

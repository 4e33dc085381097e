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


@dataclass(frozen=True, slots=True)
class Office:
    """A running agent, as many callers and operators as were asked for, and the registrar if there is one."""

    loop: Loop
    agent: RunningAgent
    callers: list[Phone]
    operators: list[Phone]
    registrar: Kamailio | None


@contextmanager
def office(
    *, pairs: int = 1, registered: bool = False, notice_s: float = NOTICE_S, **overrides: Mapping[str, Any]
) -> Iterator[Office]:
    """Start it all, and end it all."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-bench-")))
        loop = stack.enter_context(Loop())
        callers = [stack.enter_context(Phone(loop, f"+3361234567{i}")) for i in range(pairs)]
        operators = [stack.enter_context(Phone(loop, str(201 + i))) for i in range(pairs)]
        for phones, hz in ((callers, CALLER_HZ), (operators, OPERATOR_HZ)):
            for phone in phones:
                phone.sound = lambda hz=hz: SteadyTone(hz)
                phone.answer = Answering(after_s=0.05)
        registrar = Kamailio(folder) if registered else None
        tables = _tables(folder, operators, registrar, overrides)
        if registrar:
            stack.callback(registrar.stop)
            registrar.start()
        agent = RunningAgent(folder / "agent", tables)
        notice = folder / "agent/prompts/notice.wav"
        soundfile.write(notice, tone(PROMPTS["notice"][0], notice_s), RATE, subtype="PCM_16")
        stack.callback(lambda: agent.close() if agent.started else None)
        agent.start()
        yield Office(loop, agent, callers, operators, registrar)


def _tables(
    folder: Path,
    operators: list[Phone],
    registrar: Kamailio | None,
    overrides: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {
        "operators": {"extensions": [phone.uri for phone in operators]},
        "refusal": {"window_s": WINDOW_S},
        "capacity": {"calls": len(operators)},
    }
    if registrar:
        password = folder / "password"
        password.write_text(registrar.password)
        tables["trunk"] = {
            "uri": f"sip:{registrar.username}@127.0.0.1:{registrar.port}", "registrar": registrar.uri,
            "username": registrar.username, "password_file": str(password),
        }  # fmt: skip
    for table, keys in overrides.items():
        tables.setdefault(table, {}).update(keys)
    return tables

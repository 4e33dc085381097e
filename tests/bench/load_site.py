"""What the load is put on: `sipagent run`, with as many processes as so many calls take, and all phones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

import soundfile

from sipagent.softphone.rtp import RATE, tone
from tests.bench.load_rtp import Generator
from tests.bench.load_sip import Callers, Operators
from tests.peers.agent import PROMPTS, ROOT, RunningAgent
from tests.peers.process import free_ports

SOUND = ROOT / "prompts/fr/notice.wav"
NOTICE_S, WINDOW_S = 0.8, 0.5
SET_UP_S = NOTICE_S + WINDOW_S + 2  # from INVITE to the bridge, with room
CALL_PORTS = 16  # of RTP, for each call
FEWEST_PORTS, MOST_PORTS = 32, 4200
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Site:
    """A running agent for `calls`, everybody's phones, and their sound."""

    agent: RunningAgent
    generator: Generator
    calls: int
    _stack: ExitStack
    _folder: Path

    def call(
        self, calls: int, seconds: float, rate: float, *, source: str = "127.0.0.1", again: bool = True
    ) -> Callers:
        """So many calls of `seconds` each, `rate` new ones a second."""
        callers = Callers(
            self._folder, self.agent.address, self.generator.ports[0],
            calls=calls, rate=rate, seconds=seconds, source=source, again=again,
        )  # fmt: skip
        self._stack.callback(callers.close)
        return callers

    @property
    def recorded(self) -> int:
        """How many recordings are in progress."""
        return sum(one.endswith(".part") for one in self.agent.files())

    def dropped(self) -> int:
        """RTP for which there was no room in a socket of the agent's."""
        first, _, last = self.agent.tables["trunk"]["rtp_ports"].partition("-")
        rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
        ours = range(int(first), int(last) + 1)
        return sum(int(row[12]) for row in rows if int(row[1].partition(":")[2], 16) in ours)


@contextmanager
def site(
    calls: int,
    voice: str | None = None,
    per_process: int | None = None,
    more: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[Site]:
    """Start it all, and end it all. `voice`: `refusal.in_call`, with a detector that hears speech.

    `per_process`: `capacity.calls_per_process`. `more`: other tables of the configuration.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-load-")))
        ports = min(max(FEWEST_PORTS, CALL_PORTS * (calls + 1)), MOST_PORTS)
        rtp, workers = free_ports(ports), free_ports(calls + 4)  # before all others: so many in a row
        # who spoke in the window might have refused: the bridge would wait for what the detector says
        generator = Generator(SOUND, folder, SET_UP_S if voice else 0.0)
        stack.callback(generator.close)
        operators = Operators(folder, generator.ports[1])
        stack.callback(operators.close)
        agent = RunningAgent(
            folder / "agent",
            {
                "operators": {"extensions": operators.uris(calls)},
                "refusal": {"window_s": WINDOW_S} | _voice(voice),
                "capacity": {"calls": calls} | ({"calls_per_process": per_process} if per_process else {}),
                "trunk": {"rtp_ports": f"{rtp}-{rtp + ports - 1}"},
                "edge": {"worker_ports": f"{workers}-{workers + calls + 3}"},
                **(more or {}),
            },
        )
        sound = tone(PROMPTS["notice"][0], NOTICE_S)
        soundfile.write(folder / "agent/prompts/notice.wav", sound, RATE, subtype="PCM_16")
        stack.callback(_end, agent)
        agent.start(wait=None).wait_for("ready", START_S)
        yield Site(agent, generator, calls, stack, folder)


def _voice(in_call: str | None) -> dict[str, object]:
    return {} if in_call is None else {"engine": "embedding", "in_call": in_call}


def _end(agent: RunningAgent) -> None:
    """Calls that are still up are not waited for: a second SIGTERM, which `close` sends, says so."""
    if agent.started and agent.child.running:
        agent.child.signal(SIGTERM)
        agent.wait_for("draining")
        agent.close()
